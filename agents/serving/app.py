"""The server's answers: the page, and JSON for each thing that a run can be asked. Needs the package fastapi."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from agents.explaining.attribution import explain
from agents.serving.batching import Busy
from agents.serving.openapi import BODIES, listing
from agents.serving.requests import Limits, Refused, checked, fields_of, read_body, run_of, texts_of
from agents.serving.served_run import ServedRun
from agents.serving.writing import written
from utils.errors import GlassboxError

MAX_REQUESTS = 512  # at a time, so that their bodies fit into memory
HERE = Path(__file__).parent
# The browser itself refuses any request to another host, and any script but the page's own.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Service:
    """The endpoints over some runs."""

    def __init__(self, runs: Mapping[str, ServedRun], limits: Limits) -> None:
        self.runs, self.limits = runs, limits

    async def page(self) -> Response:
        return HTMLResponse((HERE / "page.html").read_bytes(), headers=HEADERS)

    async def script(self) -> Response:
        return Response((HERE / "page.js").read_bytes(), media_type="text/javascript", headers=HEADERS)

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(listing(request.app.openapi()), headers=HEADERS)

    async def health(self) -> dict[str, Any]:
        return {"status": "ok", "waiting": {name: run.batcher.waiting for name, run in self.runs.items()}}

    async def described(self) -> dict[str, Any]:
        return {"runs": [run.described() for run in self.runs.values()]}

    async def predict(self, request: Request) -> Response:
        body = await read_body(request.stream(), self.limits)
        checked(body, optional=("run", "text", "texts"))
        run = run_of(body, self.runs, "labels", "number", "text")
        lines = await run.predict(texts_of(body, run, self.limits))
        return JSONResponse({"run": run.name, "predictions": lines})

    async def words(self, request: Request) -> Response:
        body = await read_body(request.stream(), self.limits)
        checked(body, "text", optional=("run",))
        run = run_of(body, self.runs, "labels", "number")
        texts_of(body, run, self.limits)
        fields = fields_of(body["text"], run, "text", self.limits)
        scores = await run.batcher.alone(partial(explain, run.predictor, fields))
        words = [{"field": field, "word": word, "score": score} for field, word, score in scores]
        return JSONResponse({"run": run.name, "words": words})

    async def fill(self, request: Request) -> Response:
        body = await read_body(request.stream(), self.limits)
        checked(body, "text", optional=("run",))
        run = run_of(body, self.runs, "gaps")
        text, scorer = fields_of(body["text"], run, "text", self.limits)["text"], run.scorer
        if scorer.mask not in text:
            raise Refused(422, f"text: holds no {scorer.mask}, the gap to fill")
        return JSONResponse({"run": run.name, "gaps": await run.batcher.alone(partial(scorer.fill, text))})

    async def generate(self, request: Request) -> Response:
        body = await read_body(request.stream(), self.limits)
        checked(body, "text", optional=("run",))
        run = run_of(body, self.runs, "text")
        (record,) = texts_of(body, run, self.limits)
        return StreamingResponse(written(run, record.texts[0]), media_type="application/x-ndjson")


def build_app(runs: Mapping[str, ServedRun], limits: Limits | None = None) -> FastAPI:
    """The application; its batches run from its start to its end."""
    app = FastAPI(
        title="Glassbox",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda _: answering(runs.values()),
    )
    service = Service(runs, limits or Limits())
    for path, answer in (("/", service.page), ("/page.js", service.script), ("/docs", service.docs)):
        app.add_api_route(path, answer, include_in_schema=False)
    app.add_api_route("/health", service.health, summary="Whether the server answers, and how many texts wait")
    app.add_api_route("/runs", service.described, summary="The runs: their names, kinds, fields and labels")
    for path, (summary, body) in BODIES.items():
        answer = getattr(service, path[1:])
        app.add_api_route(path, answer, methods=["POST"], summary=summary, openapi_extra={"requestBody": body})
    for error in (Refused, Busy, GlassboxError, HTTPException, Exception):
        app.add_exception_handler(error, _refusal)
    return app


@asynccontextmanager
async def answering(runs: Iterable[ServedRun]) -> AsyncIterator[None]:
    """Answer batches during the block."""
    tasks = [asyncio.create_task(run.batcher.run()) for run in runs]
    yield
    for run, task in zip(runs, tasks, strict=True):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        run.batcher.close()


async def _refusal(_: Request, error: Exception) -> Response:
    """An error as JSON."""
    if isinstance(error, Busy):
        return JSONResponse({"error": f"too busy: {error}"}, 503, {"Retry-After": "1"})
    if isinstance(error, Refused):
        return JSONResponse({"error": str(error)}, error.status)
    if isinstance(error, HTTPException):  # an unknown path or method
        return JSONResponse({"error": f"{error.detail}; /docs lists what there is"}, error.status_code, error.headers)
    if isinstance(error, GlassboxError):
        return JSONResponse({"error": str(error)}, 422)
    return JSONResponse({"error": f"a bug in the server: {type(error).__name__}"}, 500)


class Door:
    """Counts requests, and refuses those beyond MAX_REQUESTS before their bodies are read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.accepted, self.answered = app, 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.accepted - self.answered >= MAX_REQUESTS:
            error = Busy(f"{MAX_REQUESTS} requests are being answered")
            await (await _refusal(Request(scope), error))(scope, receive, send)
            return
        self.accepted += 1
        try:
            await self.app(scope, receive, send)
        except Exception:  # a bug, answered with 500; not a cancelled request, which has no answer
            self.answered += 1
            raise
        self.answered += 1
