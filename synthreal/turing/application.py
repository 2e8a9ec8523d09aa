"""The web application of a visual Turing test.

``/`` asks for a name, ``/study?rater=`` shows the images, ``/result?rater=`` shows the result. The script of the study
page reads ``/state?rater=`` (a :class:`synthreal.turing.study.State` as JSON) and ``/image/TOKEN``, and posts to
``/answer``. Handlers run one after another on the event loop, so a study needs no locks.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from synthreal.errors import UserError
from synthreal.metrics.significance import binomial_p
from synthreal.results.tables import p_text
from synthreal.turing.answers import Choice
from synthreal.turing.pictures import EXAMPLES
from synthreal.turing.study import LONGEST_NAME, InvalidNameError, Study, UnknownImageError
from synthreal.turing.summary import finished_answers, sentence, summarise

LARGEST_BODY = 4096  # bytes
SLOWEST_BODY = 10  # seconds
PAGES = Path(__file__).parent / "pages"
VISIBLE = ("/", "/study", "/result")  # paths whose errors are pages; scripts request the others
ASSETS = {"turing.js": "text/javascript", "turing.css": "text/css"}


class PostedAnswer(BaseModel):
    """The body of ``POST /answer``."""

    token: str
    answer: Choice


def application(study: Study, middleware: list[Middleware]) -> Starlette:
    """The application of a study behind the middleware."""
    handlers = _Handlers(study)
    binomial_p(1, 1)  # imports scipy now, which takes seconds, and not when the first rater has finished
    return Starlette(
        routes=[
            Route("/", handlers.welcome),
            Route("/study", handlers.study_page),
            Route("/result", handlers.result),
            Route("/state", handlers.state),
            Route("/answer", handlers.answer, methods=["POST"]),
            Route("/image/{token}", handlers.image),
            Route("/page/{name}", handlers.asset),
        ],
        middleware=middleware,
        exception_handlers={UserError: handlers.failed},
    )


class _Handlers:
    """The request handlers of one study."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGES), autoescape=True, undefined=jinja2.StrictUndefined
        )
        self._templates.filters["p"] = p_text
        shared = {"against": study.against, "images": study.total, "examples": EXAMPLES, "longest": LONGEST_NAME}
        self._templates.globals.update(shared, image=study.pool.image)

    async def welcome(self, request: Request) -> Response:
        """The first page; with ``?rater=`` a redirect to the study, unless the name already has answers."""
        if "rater" not in request.query_params:
            return self._page("welcome")
        state = self.study.state(request.query_params["rater"])
        if state.done:
            return self._page("welcome", given=state.rater, done=state.done)
        return RedirectResponse(f"/study?{urlencode({'rater': state.rater})}", 303)

    async def study_page(self, request: Request) -> Response:
        state = self.study.state(request.query_params.get("rater", ""))
        if state.token is None:
            return RedirectResponse(f"/result?{request.url.query}", 303)
        shown = {"real": self.study.examples(True), "synthetic": self.study.examples(False)}
        return self._page("study", rater=state.rater, shown=shown)

    async def result(self, request: Request) -> Response:
        state = self.study.state(request.query_params.get("rater", ""))
        if state.token is not None:
            return RedirectResponse(f"/study?{request.url.query}", 303)
        answers = self.study.answers.read()
        own = summarise(self.study.answers_of(state.rater, answers))["raters"][0]
        everyone = summarise(finished_answers(answers, against=self.study.against))
        total = everyone["total"][self.study.against]
        return self._page("result", own=own, raters=everyone["raters"], total=total, sentence=sentence)

    async def state(self, request: Request) -> Response:
        return JSONResponse(asdict(self.study.state(request.query_params.get("rater", ""))))

    async def answer(self, request: Request) -> Response:
        """Store ``{"token", "answer"}`` and return the rater's new state; repeated requests change nothing."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _error(415, "send JSON")  # which a form of another site cannot
        body = b""
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                async for part in request.stream():
                    body += part
                    if len(body) > LARGEST_BODY:
                        return _error(413, f"send at most {LARGEST_BODY} bytes")
        except (ClientDisconnect, TimeoutError):
            return _error(408, f"send the answer within {SLOWEST_BODY} s")
        try:
            posted = PostedAnswer.model_validate_json(body)
            return JSONResponse(asdict(self.study.answer(posted.token, posted.answer)))
        except ValidationError:
            return _error(400, 'send {"token": ..., "answer": "real" or "synthetic"}')

    async def image(self, request: Request) -> Response:
        return Response(self.study.png(request.path_params["token"]), media_type="image/png")

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSETS:
            return _error(404, "no such file")
        return Response((PAGES / name).read_bytes(), media_type=ASSETS[name])

    async def failed(self, request: Request, error: Exception) -> Response:
        """The first page again after an invalid name, an error page otherwise; JSON for scripts."""
        status = 400 if isinstance(error, InvalidNameError) else 404 if isinstance(error, UnknownImageError) else 500
        if request.url.path not in VISIBLE:
            return _error(status, str(error))
        if status == 400:
            given = request.query_params.get("rater", "")[:LONGEST_NAME]
            return self._page("welcome", status=400, error=str(error), given=given)
        return self._page("error", status=500, reason=str(error), again=f"{request.url.path}?{request.url.query}")

    def _page(self, name: str, *, status: int = 200, **context: Any) -> Response:
        return HTMLResponse(self._templates.get_template(f"{name}.html.j2").render(context), status)


def _error(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status)
