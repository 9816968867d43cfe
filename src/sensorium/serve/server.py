"""Runs an application until it is told to stop: what was taken is answered, then the program ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from .guard import LOOPBACK

_GRACE = 5  # seconds beyond a request's time, when the server ends


def run_server(application: Any, *, host: str, port: int, time: float, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        application: of ASGI.
        host: the address to listen at.
        port: 0: any that is free.
        time: seconds that a request may take, which are waited for at the end.
        started: called with the address when the server listens.

    Raises:
        InputError: the address or the port cannot be had.
    """
    import uvicorn

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot listen ({error.strerror or error}); choose another --port") from None
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, timeout_graceful_shutdown=round(time + _GRACE)
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signals that it has caught once more when it is done: to end by them is right for us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    name = f"[{host}]" if ":" in host else host
    started(f"http://{name}:{listener.getsockname()[1]}")
    server.run(sockets=[listener])


def hosts_of(host: str) -> tuple[str, ...]:
    """The names by which a server at an address may be called; empty: any.

    >>> hosts_of("127.0.0.1"), hosts_of("0.0.0.0")
    (('127.0.0.1', 'localhost', '::1'), ())
    """
    return LOOPBACK if host in LOOPBACK else ()
