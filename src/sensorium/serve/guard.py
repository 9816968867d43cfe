"""What a request must pass before anything of it is read: its host, its token, its size, a place among the others."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from .limits import Limits, Refused
from .metrics import Metrics

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """The outermost layer of the application.

    Args:
        application: what it guards.
        limits: of requests.
        metrics: what is counted.
        token: that a client must name in ``Authorization: Bearer …``; empty: none.
        hosts: the names by which the server may be called; empty: any. On loopback, another name means that a page of
            another site has had its address changed to ours (DNS rebinding).
    """

    def __init__(
        self, application: Application, *, limits: Limits, metrics: Metrics, token: str, hosts: tuple[str, ...]
    ) -> None:
        self._application, self._limits, self._metrics = application, limits, metrics
        self._token, self._hosts = token, hosts
        self._taken = 0
        metrics.observe_requests(lambda: self._taken)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                known = {name for name, _ in message["headers"]}
                extra = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in known)]
            await send(message)

        computes = scope["method"] == "POST"
        try:
            self._check(scope, computes=computes)
            self._taken += computes
            try:
                await self._application(scope, self._counted(receive), send_with_headers)
            finally:
                self._taken -= computes
        except Refused as refused:
            await _answer(refused, send_with_headers)
        finally:
            route = scope.get("route")
            self._metrics.count(getattr(route, "path", "other"), status, time.monotonic() - began)

    def _check(self, scope: Scope, *, computes: bool) -> None:
        """Refuse what may not come in.

        Raises:
            Refused: why.
        """
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = _name_of(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            raise Refused(421, f"this server is not called {host!r}; it answers to {', '.join(self._hosts)}")
        origin = headers.get("origin")
        if computes and origin is not None and origin.partition("://")[2] != headers.get("host"):
            raise Refused(403, f"requests from pages of {origin} are not answered")
        if self._token and is_guarded(scope["path"]) and not self._is_known(headers):
            raise Refused(401, "name the token: Authorization: Bearer …")
        if not computes:
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._limits.body:
            raise Refused(413, self._too_large())
        if self._taken >= self._limits.queue:
            raise Refused(503, f"{self._taken} requests are being answered; try again", retry_after=1)

    def _is_known(self, headers: Mapping[str, str]) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(token.strip().encode("latin-1"), self._token.encode())
        return scheme.lower() == "bearer" and same

    def _counted(self, receive: Receive) -> Receive:
        """``receive``, which refuses a body that turns out to be too large."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limits.body:
                raise Refused(413, self._too_large())
            return message

        return counted

    def _too_large(self) -> str:
        return f"the request has more than {self._limits.body / 1e6:g} MB; send less at a time"


def is_guarded(path: str) -> bool:
    """Whether a path needs the token: all but the page's own files and the sign of life.

    >>> is_guarded("/v1/predict"), is_guarded("/metrics"), is_guarded("/"), is_guarded("/healthz")
    (True, True, False, False)
    """
    return path.startswith("/v1/") or path in ("/metrics", "/openapi.json", "/report")


def _name_of(host: str) -> str:
    """The name in a ``Host`` header, without the port.

    >>> _name_of("localhost:8000"), _name_of("[::1]:8000"), _name_of("::1")
    ('localhost', '::1', '::1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


async def _answer(refused: Refused, send: Send) -> None:
    body = json.dumps({"error": refused.reason}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refused.headers}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
