"""The visual Turing test as web pages: what is at which path.

``/`` asks for a name, and again where answers are recorded under it; ``/study?rater=`` shows the images,
``/result?rater=`` says what came of it. The study page asks ``/state?rater=``, gets ``/image/TOKEN`` and posts to
``/answer``; it is told a :class:`.State` as JSON.
Handlers do their short work on the event loop, one after another, so a study needs no locks.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import jinja2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from synthreal.errors import UserError
from synthreal.metrics.significance import binomial_p
from synthreal.results.format import p_text
from synthreal.turing.answers import Choice
from synthreal.turing.gate import Gate
from synthreal.turing.pictures import EXAMPLES
from synthreal.turing.study import LONGEST_NAME, State, Study, name_of
from synthreal.turing.summary import finished, sentence, summarise

LARGEST_BODY = 4096
_PAGES = Path(__file__).parent / "pages"
_FOR_PEOPLE = ("/", "/study", "/result")  # what a browser shows; scripts ask for the rest
_ASSETS = {"turing.js": "text/javascript", "turing.css": "text/css"}


def application(study: Study, *, host: str) -> Starlette:
    """The pages of a study, behind the :class:`synthreal.turing.gate.Gate` of a server bound to ``host``."""
    pages = Pages(study)
    binomial_p(1, 1)  # imports scipy, for seconds: not when the first rater is through, while others wait for images
    return Starlette(
        routes=[
            *map(Route, _FOR_PEOPLE, (pages.welcome, pages.study_page, pages.result)),
            Route("/state", pages.state),
            Route("/answer", pages.answer, methods=["POST"]),
            Route("/image/{token}", pages.image),
            Route("/page/{name}", pages.asset),
        ],
        middleware=[Middleware(Gate, host=host)],
        exception_handlers={UserError: pages.failed},
    )


class Pages:
    """What answers the requests about one study."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_PAGES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["p"] = p_text

    async def welcome(self, request: Request) -> Response:
        """What this is, and who you are: with ``?rater=`` the study, unless somebody of this name has answered."""
        given = request.query_params.get("rater")
        if given is None:
            return self._page("welcome")
        try:
            rater = name_of(given)
        except UserError as error:
            return self._nameless(given, error)
        done = self.study.done(rater)
        if not done:
            return RedirectResponse(f"/study?{urlencode({'rater': rater})}", 303)
        return self._page("welcome", given=rater, done=done)

    async def study_page(self, request: Request) -> Response:
        """The page that shows one image after another; the result when there is none left."""
        given = request.query_params.get("rater", "")
        try:
            rater = name_of(given)
        except UserError as error:
            return self._nameless(given, error)
        state = self.study.state(rater)
        if state.token is None:
            return RedirectResponse(f"/result?{request.url.query}", 303)
        shown = {"real": self.study.examples(True), "synthetic": self.study.examples(False)}
        return self._page("study", rater=state.rater, shown=shown)

    async def result(self, request: Request) -> Response:
        """A rater's own matrix, and all raters' who are through."""
        try:
            rater = name_of(request.query_params.get("rater", ""))
        except UserError:
            return RedirectResponse("/", 303)
        state = self.study.state(rater)
        if state.token is not None:
            return RedirectResponse(f"/study?{request.url.query}", 303)
        through = finished(self.study.answers.all(), against=self.study.against)
        own = summarise(answer for answer in through if self.study.asked(answer, state.rater))["raters"][0]
        everyone = summarise(through)
        total = everyone["total"][self.study.against]
        return self._page("result", own=own, raters=everyone["raters"], total=total, sentence=sentence)

    async def state(self, request: Request) -> Response:
        """How far a rater is, and the token of the image to judge."""
        try:
            rater = name_of(request.query_params.get("rater", ""))
        except UserError as error:
            return _refused(400, str(error))
        return _told(self.study.state(rater))

    async def answer(self, request: Request) -> Response:
        """Take ``{"token", "answer"}``; the rater's new state, the same however often it is sent."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_BODY:
                return _refused(413, f"send at most {LARGEST_BODY} bytes")
        try:
            sent = json.loads(body)
            token, choice = sent["token"], sent["answer"]
        except (ValueError, TypeError, KeyError, RecursionError):
            token = choice = None
        if not isinstance(token, str) or choice not in get_args(Choice):
            return _refused(400, 'send {"token": ..., "answer": "real" or "synthetic"}')
        try:
            return _told(self.study.answer(token, choice))
        except KeyError:
            return _refused(404, "no such image; the server may have been started again")

    async def image(self, request: Request) -> Response:
        """An image as PNG, without a word on what it is."""
        try:
            return Response(self.study.png(request.path_params["token"]), media_type="image/png")
        except KeyError:
            return _refused(404, "no such image; the server may have been started again")

    async def asset(self, request: Request) -> Response:
        """The style and the script of the pages."""
        name = request.path_params["name"]
        if name not in _ASSETS:
            return _refused(404, "no such file")
        return Response((_PAGES / name).read_bytes(), media_type=_ASSETS[name])

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answers that cannot be read or written: a page where a person asked for one, else a line for the page."""
        if request.url.path not in _FOR_PEOPLE:
            return _refused(500, str(error))
        again = f"{request.url.path}?{request.url.query}"
        return self._page("error", status=500, reason=str(error), again=again)

    def _nameless(self, given: str, error: UserError) -> Response:
        return self._page("welcome", status=400, error=str(error), given=given[:LONGEST_NAME])

    def _page(self, name: str, *, status: int = 200, **context: Any) -> Response:
        image = self.study.pictures.image
        shared = {
            "against": self.study.against,
            "images": self.study.total,
            "examples": EXAMPLES,
            "image": image,
            "longest": LONGEST_NAME,
        }
        return HTMLResponse(self._templates.get_template(f"{name}.html.j2").render(**shared, **context), status)


def _told(state: State) -> JSONResponse:
    return JSONResponse(asdict(state))


def _refused(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status)
