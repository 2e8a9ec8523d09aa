"""A small visual Turing test whose images reveal their kind, and a real server for it."""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from PIL import Image

from synthreal.spec import ImageSpec
from synthreal.turing.answers import FILE, Answers
from synthreal.turing.pictures import ImagePool
from synthreal.turing.study import Study

IMAGE = ImageSpec(channels=1, height=6, width=9, meaning="one grey level")
POOL = 40


def levels(start: int) -> torch.Tensor:
    """Image i has the level ``start + i`` everywhere: real images start at 0, synthetic images at 100."""
    return torch.arange(start, start + POOL, dtype=torch.uint8)[:, None, None, None].expand(POOL, 1, 6, 9).contiguous()


def level(png: bytes) -> int:
    """The level of such an image in its PNG file."""
    with Image.open(BytesIO(png)) as picture:
        return int(picture.getpixel((0, 0))[0])


def is_real(png: bytes) -> bool:
    """Whether such an image is real."""
    return level(png) < 100


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Site:
    """A study served by uvicorn on a thread at ``host``; requests go to 127.0.0.1."""

    def __init__(self, study: Study, port: int = 0, host: str = "127.0.0.1") -> None:
        from synthreal.turing.server import listen, server_of

        self.study = study
        self.listener = listen(host, port)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = server_of(study, host=host)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request; ``_`` in the names of headers stands for ``-``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            reply = connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def state(self, rater: str) -> dict[str, Any]:
        return self.ask("GET", f"/state?rater={quote(rater)}").json

    def answer(self, token: object, answer: object, **headers: str) -> Reply:
        sent = json.dumps({"token": token, "answer": answer}).encode()
        return self.ask("POST", "/answer", sent, **{"Content_Type": "application/json", **headers})

    def close(self) -> None:
        """Stop serving; a second time does nothing."""
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.listener.close()


def small_study(folder: Path, *, against: str = "refined", images: int = 3, seed: int = 0) -> Study:
    """A study in a folder; a second one there is the same study on a restarted server."""
    pool, answers = ImagePool(levels(0), levels(100), IMAGE), Answers(folder / FILE)
    return Study(pool, answers, against=against, images=images, seed=seed)


def run_through(study: Study, rater: str, correct: int) -> None:
    """Give a rater's remaining answers; of all answers the first ``correct`` are correct."""
    state = study.state(rater)
    while state.token is not None:
        real = is_real(study.png(state.token))
        state = study.answer(state.token, "real" if real == (state.done < correct) else "synthetic")


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of the folder's turing.jsonl."""
    path = folder / FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
