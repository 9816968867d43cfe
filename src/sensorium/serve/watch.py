"""The page of a run that trains: its learning curves, then its report, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from ..errors import InputError
from ..training.run_folder import HISTORY, PAGE, REPORT, read_history, read_report
from .app import PAGE as FILES
from .app import handle_errors, health
from .engine import finite
from .guard import LOOPBACK, Guard
from .limits import Limits, Refused
from .metrics import Metrics

INTERVAL = 1.0  # seconds between two looks at the files
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
_SHOWN = ("task", "split", "samples", "primary_metric", "metrics", "parameters", "train_seconds", "classes")

routes = APIRouter()
routes.get("/healthz")(health)


@routes.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(FILES / "watch.html")


@routes.get("/v1/run")
async def read_run(request: Request) -> JSONResponse:
    """What is known of the run now."""
    return JSONResponse(state_of(request.app.state.folder))


@routes.get("/v1/events")
async def events(request: Request) -> StreamingResponse:
    """What is known of the run, whenever it changes, as server-sent events."""
    return StreamingResponse(_events(request), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@routes.get("/report", include_in_schema=False)
async def report(request: Request) -> Response:
    """The report of the run, which is one file."""
    path = request.app.state.folder / PAGE
    if not path.is_file():
        raise Refused(404, "there is no report yet")
    return FileResponse(path, headers={"Content-Security-Policy": REPORT_POLICY})


def create_app(run: Path, *, token: str = "", hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """The application that shows a run; arguments as of :func:`sensorium.serve.app.create_app`."""
    app = FastAPI(title=f"sensorium: {run.resolve().name}", docs_url=None, redoc_url=None)
    app.state.folder = run
    app.include_router(routes)
    app.mount("/page", StaticFiles(directory=FILES), name="page")
    handle_errors(app)
    app.add_middleware(partial(Guard, limits=Limits(), metrics=Metrics(), token=token, hosts=hosts))
    return app


def state_of(folder: Path) -> dict[str, Any]:
    """The rows of ``metrics.csv``, and the figures of the report once it is there.

    >>> state_of(Path("nowhere"))
    {'name': 'nowhere', 'rows': [], 'report': None}
    """
    try:
        found = read_report(folder) if (folder / PAGE).is_file() else {}
    except InputError:
        found = {}
    figures = {name: found[name] for name in _SHOWN if name in found} or None
    return finite({"name": folder.resolve().name, "rows": read_history(folder), "report": figures})


def _version(folder: Path) -> list[float]:
    """Changes when one of the files changes."""
    paths = (folder / name for name in (HISTORY, REPORT, PAGE))
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]


async def _events(request: Request) -> AsyncIterator[str]:
    folder: Path = request.app.state.folder
    last: list[float] | None = None
    while not await request.is_disconnected():
        version = await asyncio.to_thread(_version, folder)
        if version != last:
            last = version
            yield f"data: {json.dumps(await asyncio.to_thread(state_of, folder))}\n\n"
        else:
            yield ": alive\n\n"  # finds out that the client has gone away
        await asyncio.sleep(INTERVAL)
