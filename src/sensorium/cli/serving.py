"""The commands that serve: a trained run over HTTP, and the page of a run that trains."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cyclopts import Parameter

from ..errors import InputError
from .options import Words
from .program import command

TOKEN = "SENSORIUM_TOKEN"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What a request may cost.

    Attributes:
        queue: Requests at a time; further ones are answered with 503 and Retry-After.
        timeout: Seconds that a request may take.
        megabytes: The size of a request.
        unpacked_megabytes: What one file may unpack to.
        megapixels: Of a picture, or of a frame of a film.
        seconds: The length of sound.
        examples: Of a request.
        latency: Milliseconds that an example may wait for others, to be answered together with them.
    """

    queue: int = 256
    timeout: float = 60
    megabytes: float = 64
    unpacked_megabytes: float = 256
    megapixels: float = 50
    seconds: float = 600
    examples: int = 1000
    latency: float = 5


@command(
    9,
    "sensorium serve runs/birds",
    "sensorium serve runs/birds --port 9000 --queue 64 --timeout 10",
    f"{TOKEN}=… sensorium serve runs/birds --host 0.0.0.0",
)
def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: Words = (),
    device: str = "auto",
    options: ServeOptions = ServeOptions(),
) -> None:
    """Serve a trained run over HTTP: predictions, attention and embeddings, and a page to try it.

    Where the environment has SENSORIUM_TOKEN, clients must name it: Authorization: Bearer TOKEN.

    Args:
        run: Run folder.
        host: The address to listen at; by default only this machine can connect.
        port: The port to listen at; 0 is any that is free.
        name: A name by which the server is called, such as that of a proxy in front of it; repeatable. By default only
            those of this machine, or with --host any.
        device: Where it is computed: cpu, cuda, cuda:1 or the like; by default on a GPU where there is one.
    """
    _check_installed()
    from ..serve.app import create_app
    from ..serve.guard import LOOPBACK
    from ..serve.limits import Limits
    from ..serve.server import hosts_of, run_server

    limits = Limits(
        body=round(options.megabytes * 1e6),
        unpacked=round(options.unpacked_megabytes * 1e6),
        pixels=round(options.megapixels * 1e6),
        seconds=options.seconds,
        examples=options.examples,
        time=options.timeout,
        queue=options.queue,
        latency=options.latency / 1000,
    )
    token = os.environ.get(TOKEN, "")
    hosts = hosts_of(host, name)
    application = create_app(run, limits=limits, token=token, hosts=hosts, device=device)
    if host not in LOOPBACK and not token:
        print(f"note: anybody who reaches this machine may use it; set {TOKEN} to a secret", file=sys.stderr)
    run_server(application, host=host, port=port, time=limits.time, started=lambda url: _say(run, url))


@command(3, "sensorium watch runs/birds")
def watch(run: Path, *, host: str = "127.0.0.1", port: int = 8001) -> None:
    """Show a run while it trains: its learning curves and then its report, live in the browser.

    Args:
        run: Run folder, which may not be there yet.
        host: The address to listen at; by default only this machine can connect.
        port: The port to listen at; 0 is any that is free.
    """
    _check_installed()
    from ..serve.server import hosts_of, run_server
    from ..serve.watch import create_app

    application = create_app(run, token=os.environ.get(TOKEN, ""), hosts=hosts_of(host))
    run_server(application, host=host, port=port, time=1, started=lambda url: _say(run, url))


def _say(run: Path, url: str) -> None:
    print(f"{run}: {url} (Ctrl-C ends it)", flush=True)


def _check_installed() -> None:
    for library in ("fastapi", "uvicorn", "multipart", "prometheus_client"):
        if find_spec(library) is None:
            raise InputError(f"{library} is not installed; pip install 'sensorium[serve]'")
