"""Admission control for the clients of a hub: token, flow control, rate-limited log of refusals.

Owns the token, the limits of unread packets, and the one line that is logged for a refusal: never a
payload, a receipt or a token. Must not know: queues, what the events
of a protocol mean.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import socketio  # type: ignore[import-untyped]

from ..internals.engine import connection
from ..internals.hub_server import end_connection
from ..queues.error_codes import error
from .door import Door

__all__ = ["Gate", "Handler", "RateLimit"]

_log = logging.getLogger("chatq.hub")

#: The most unread packets of a client, and bytes of them, before it is cut off.
UNREAD, UNREAD_SIZE = 5_000, 20_000_000
#: The most lines logged within `_PERIOD` seconds, for one connection and for bad packets, and for
#: all connections; further ones are only counted.
_LINES, _ALL_LINES, _PERIOD = 20, 200, 10.0

Handler = Callable[..., Awaitable[Any]]


class Gate:
    """Wraps the handlers of `namespace` of `sio`; `token`: what clients have to send as auth."""

    sio: Any
    namespace: str

    def __init__(self, sio: socketio.AsyncServer, namespace: str, token: str | None) -> None:
        self.sio, self.namespace = sio, namespace
        self._token = token
        self._door = Door()
        self._limits: WeakKeyDictionary[Any, RateLimit] = WeakKeyDictionary()  # by connection
        self._limit = RateLimit(_ALL_LINES)
        sio.on("connect", self._connect, namespace=namespace)

    async def _connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        if self._token is not None:
            given = auth.get("token") if isinstance(auth, dict) else None
            known = isinstance(given, str) and hmac.compare_digest(
                given.encode("utf-8", "replace"), self._token.encode()
            )
            if not known:
                what = "wrong" if given else "no"
                if self._limit_of(sid).may() and self._limit.may():
                    _log.warning("refused a client: %s token", what)
                await self._door.refused(_address(environ))
                raise socketio.exceptions.ConnectionRefusedError(
                    f"{what} token: connect with auth: {{token: …}}",
                    error("forbidden", f"{what} token"),
                )

    def on(self, event: str, handler: Handler) -> None:
        """Register `handler(sid, *arguments)`; for "*" it is `handler(event, sid, *arguments)`."""
        first = event == "*"

        async def guarded(*arguments: Any) -> Any:
            name, sid = arguments[:2] if first else (event, arguments[0])
            client = connection(self.sio, sid, self.namespace)
            if client is not None and _unread(client, UNREAD, UNREAD_SIZE):
                if self._limit.may():
                    _log.warning("cut off a client that reads nothing")
                await end_connection(client, at_once=True)
                return None
            try:
                return await handler(*arguments)
            except Exception as problem:
                _log.exception("%s failed: %s", _shown(name), type(problem).__name__)
                return error("unavailable", "the hub could not do that; it is still running")

        self.sio.on(event, guarded, namespace=self.namespace)

    def on_leave(self, handler: Callable[[str], Awaitable[None]]) -> None:
        """Register `handler(sid)` for clients that disconnect."""

        async def left(sid: str, _reason: Any = None) -> None:
            try:
                await handler(sid)
            except Exception:
                _log.exception("clearing up after a client failed")

        self.sio.on("disconnect", left, namespace=self.namespace)

    def refuse(
        self, sid: str, event: object, code: str, message: str, logged: str = ""
    ) -> dict[str, Any]:
        """Log one line, if the rate limit allows it, and return the reply.

        `logged`: a text for the line, which must not quote data.
        """
        if self._limit_of(sid).may() and self._limit.may():
            _log.warning("refused %s: %s%s", _shown(event), code, f": {logged}" if logged else "")
        return error(code, message)

    def _limit_of(self, sid: str) -> RateLimit:
        """Return the limit of a connection, which stays the same if its client leaves the namespace
        and joins it again."""
        client = connection(self.sio, sid, self.namespace)
        return self._limits.setdefault(client, RateLimit()) if client else RateLimit()

    def connected(self, sid: str) -> bool:
        """Return whether the client is still connected: its event may be handled later."""
        return bool(self.sio.manager.is_connected(sid, self.namespace))

    def unread(self, sid: str) -> int:
        """Return the number of packets that this client has not read."""
        client = connection(self.sio, sid, self.namespace)
        return int(client.queue.qsize()) if client is not None else 0

    async def read(self, sid: str) -> None:
        """Return when the client has read all that was emitted to it."""
        client = connection(self.sio, sid, self.namespace)
        if client is not None:
            await client.queue.join()

    async def reads(self, sid: str) -> None:
        """Return when the client has little unread, or is gone."""
        client = connection(self.sio, sid, self.namespace)
        if client is not None and client.queue.size:
            await client.queue.few()

    def slow(self) -> list[str]:
        """Return the clients with so many unread packets that they get no more."""
        participants = self.sio.manager.get_participants(self.namespace, None)
        clients = [(sid, connection(self.sio, sid, self.namespace)) for sid, _ in participants]
        most = UNREAD // 5, UNREAD_SIZE // 5
        return [sid for sid, client in clients if client is not None and _unread(client, *most)]


class RateLimit:
    """A rate limit of the log: at most `lines` in a period, then one with the count of the
    suppressed ones."""

    def __init__(self, lines: int = _LINES) -> None:
        self._lines = lines
        self._since, self._count = time.monotonic(), 0

    def may(self, *_: object) -> bool:
        """Return whether one more line may be logged now."""
        now = time.monotonic()
        if now - self._since > _PERIOD:
            if self._count > self._lines:
                _log.warning("… and %d refusals more", self._count - self._lines)
            self._since, self._count = now, 0
        self._count += 1
        return self._count <= self._lines


def _unread(client: Any, packets: int, size: int) -> bool:
    """Return whether a connection has more unread than so many packets, or of this size."""
    return bool(client.queue.qsize() > packets or client.queue.size > size)


def _address(environ: Any) -> str:
    """Return the address that a client connects from."""
    return environ["aiohttp.request"].remote or ""


def _shown(event: object) -> str:
    """Return an event's name, cut to one line of the log."""
    name = event if isinstance(event, str) and event.isprintable() else "an event"
    return name[:40]
