"""A small study, and a real server for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from small_study import Site, lines, small_study

from synthreal.turing.study import Study


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Study]:
    """``make(images=3, ...)``: a study in the test's folder; a second one is the same study on a restarted server."""
    return lambda folder=tmp_path, **more: small_study(folder, **more)


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[], list[dict[str, object]]]:
    """The lines of the test's turing.jsonl."""
    return partial(lines, tmp_path)


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """``serve(study)``: its :class:`Site`, closed after the test."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    sites: list[Site] = []

    def start(study: Study, port: int = 0, host: str = "127.0.0.1") -> Site:
        sites.append(Site(study, port, host))
        return sites[-1]

    yield start
    for site in sites:
        site.close()
