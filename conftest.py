"""Fixtures for the tests of the library and of its plugins: one thread, the real samples, the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def ok(self) -> Ended:
        """Assert that the command succeeded; returns itself."""
        assert self.code == 0, self
        return self

    def complaint(self) -> str:
        """Assert that the command failed with one line about a mistake of the user; returns that line."""
        assert self.code == 2, self
        assert self.out == "", self
        assert self.err.startswith("synthreal: ") and self.err.endswith("\n") and self.err.count("\n") == 1, self
        return self.err.strip()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``gpu`` if there is no GPU."""
    if item.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, which is faster for small images, and full float32 precision on a GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def short_two_sample_tests() -> Iterator[None]:
    """Five training steps instead of 300, which take most of the time of an evaluation of toy images."""
    from synthreal.metrics import summary, twosample

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "two_sample_test", partial(twosample.two_sample_test, steps=5))
        yield


@pytest.fixture(scope="session")
def samples() -> Callable[[str], Path]:
    """``samples("unityeyes/100.json")``: a real sample; the test is skipped if it does not exist."""
    folder = Path(os.environ.get("SYNTHREAL_SAMPLES", Path(__file__).parents[1] / "shared" / "data"))

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"no real sample {name}; set SYNTHREAL_SAMPLES")
        return folder / name

    return find


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``cli("fit", "--plugin", ...)``: run the command line in this process."""
    from synthreal.cli import main

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["synthreal", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return run
