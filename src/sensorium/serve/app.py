"""The routes of the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ..errors import InputError
from ..models.perceiver import Perceiver
from .engine import Embed, Engine, Explain, Operation, Outcome, Predict, finite
from .guard import LOOPBACK, Guard
from .limits import Limits, Refused
from .metrics import Metrics
from .schema import BODY, RESPONSES, schema
from .uploads import Part, Uploads, open_json

PAGE = Path(__file__).parent / "page"
_NAMED = ("file", "error")  # the parts of an answer that name files
_LOG = logging.getLogger(__name__)

routes = APIRouter()
Top = Annotated[int, Query(ge=1, le=100_000, description="how many classes to name")]
CrossAttend = Annotated[int, Query(description="whose map: the number of a cross-attend; -1: the last one")]
_computes: dict[str, Any] = {"openapi_extra": BODY, "responses": RESPONSES, "response_class": JSONResponse}


@routes.post("/v1/predict", **_computes)
async def predict(request: Request, top: Top = 3) -> Response:
    """What the model says of each example, as ``sensorium predict`` does."""
    return await _answered(request, Predict(top))


@routes.post("/v1/explain", **_computes)
async def explain(request: Request, top: Top = 3, cross_attend: CrossAttend = -1) -> Response:
    """What the model says of each example; each signal as it reads it, and how much it attends to each part of it."""
    return await _answered(request, Explain(top, cross_attend))


@routes.post("/v1/embed", **_computes)
async def embed(request: Request) -> Response:
    """A vector for each example: the mean of the latents."""
    return await _answered(request, Embed())


@routes.get("/v1/schema")
async def read_schema(request: Request) -> JSONResponse:
    """What the model takes, what it answers, and the limits of requests."""
    return JSONResponse(finite(schema(request.app.state.engine)))


@routes.get("/healthz")
async def health() -> JSONResponse:
    """The server is alive."""
    return JSONResponse({"status": "ok"})


@routes.get("/metrics")
async def read_metrics(request: Request) -> Response:
    """What was counted, for Prometheus."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4")


@routes.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html")


def create_app(
    run: str | Path | Perceiver,
    *,
    limits: Limits | None = None,
    token: str = "",
    hosts: tuple[str, ...] = LOOPBACK,
    device: str = "auto",
) -> FastAPI:
    """The application of a trained run, for any server of ASGI.

    Args:
        run: a run or weights folder, or a model.
        limits: of requests.
        token: that clients must name; empty: none.
        hosts: the names by which the server may be called; empty: any.
        device: where it is computed, as of :func:`sensorium.predict`.

    Raises:
        InputError: there is no model or device.
    """
    limits, metrics = limits or Limits(), Metrics()
    engine = Engine(run, limits=limits, metrics=metrics, device=device)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(title=f"sensorium: {engine.name}", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.engine, app.state.metrics = engine, metrics
    app.include_router(routes)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    handle_errors(app)
    app.add_middleware(partial(Guard, limits=limits, metrics=metrics, token=token, hosts=hosts))
    return app


def handle_errors(app: FastAPI) -> None:
    """Every error is answered with ``{"error": …}``, in one line."""

    def one_line(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": " ".join(reason.split())}, status, headers)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return one_line(error.status, error.reason, error.headers)

    @app.exception_handler(InputError)
    async def bad_input(_: Request, error: InputError) -> JSONResponse:
        return one_line(422, str(error))

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> JSONResponse:
        return one_line(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def bad_option(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return one_line(422, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(MemoryError)
    async def too_large(_: Request, error: MemoryError) -> JSONResponse:
        return one_line(503, "there is not enough memory for this; send less", {"Retry-After": "5"})

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:
        _LOG.error("a defect: %s", error, exc_info=error)
        return one_line(500, f"{type(error).__name__} (a defect of the server)")


async def _answered(request: Request, operation: Operation) -> Response:
    """The answer to a request, within its time; nothing more is done for a client that has gone away."""
    engine: Engine = request.app.state.engine
    try:
        async with asyncio.timeout(engine.limits.time):
            form = await _form(request)
            return await _unless_gone(request, _answer_form(engine, form, operation))
    except TimeoutError:
        raise Refused(408, f"it took longer than {engine.limits.time:g} seconds; send less at a time") from None
    finally:
        await request.close()


async def _form(request: Request) -> list[Part] | bytes:
    """The parts of a form, or the body of JSON.

    Raises:
        Refused: it is neither.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return await request.body()
    if kind != "multipart/form-data":
        raise Refused(415, "send a form (multipart/form-data) or JSON (application/json)")
    limits: Limits = request.app.state.engine.limits
    form = await request.form(max_files=limits.examples, max_fields=limits.examples, max_part_size=limits.body)
    return [
        Part(field, value.filename or "", value.file) if isinstance(value, UploadFile) else Part(field, "", value)
        for field, value in form.multi_items()
    ]


async def _answer_form(engine: Engine, form: list[Part] | bytes, operation: Operation) -> Response:
    model, description = engine.model, engine.description
    if isinstance(form, bytes):
        outcome = await engine.answers(lambda: open_json(form, model.inputs, description), operation)
        return _response(outcome)
    uploads = Uploads(form, model.inputs, description)
    try:
        outcome = await engine.answers(uploads.open, operation)
        return _response(outcome, uploads)
    except InputError as error:
        raise InputError(uploads.renamed(str(error))) from None
    finally:
        uploads.close()


def _response(outcome: Outcome, uploads: Uploads | None = None) -> Response:
    answers, notes = outcome.answers, list(outcome.notes)
    if uploads is not None:
        rename = uploads.renamed
        notes = [rename(note) for note in notes]
        answers = [answer | {name: rename(answer[name]) for name in _NAMED if name in answer} for answer in answers]
    return JSONResponse(finite({"answers": answers, "notes": notes}))


async def _unless_gone(request: Request, answering: Coroutine[Any, Any, Response]) -> Response:
    """The result, unless the client goes away before: then the work for it is cancelled."""
    work = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        return Response(status_code=499)  # nobody reads it
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Returns when the client has gone away; the body is read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
