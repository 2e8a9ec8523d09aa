"""Fixtures for the tests of the library and of its plugins: one thread, and the real samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small images on busy machines are slower with more; float32 stays float32 on a GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real samples; tests that need it are skipped where there is none."""
    folder = Path(os.environ.get("SYNTHREAL_SAMPLES", Path(__file__).parents[1] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real samples; set SYNTHREAL_SAMPLES")
    return folder
