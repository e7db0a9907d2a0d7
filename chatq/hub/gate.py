"""Admission control for the clients of a hub: token, flow control, rate-limited log of refusals.

Owns the token, the limits of events under way and of unread packets, and the one line that is
logged for a refusal: never a payload, a receipt or a token. Must not know: queues, what the events
of a protocol mean.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import socketio  # type: ignore[import-untyped]

from ..internals.engine import connection
from ..queues.error_codes import error

__all__ = ["Gate", "Handler", "RateLimit"]

_log = logging.getLogger("chatq.hub")

#: The events under way at which websockets are read no more, and those of one client at which more
#: are refused.
READING, UNDER_WAY = 500, 5_000
#: The most unread packets of a client before it is cut off.
UNREAD = 5_000
#: The most lines logged within `_PERIOD` seconds, for one client and for bad packets; further ones
#: are only counted.
_LINES, _PERIOD = 20, 10.0

Handler = Callable[..., Awaitable[Any]]


class Gate:
    """Wraps the handlers of `namespace` of `sio`; `token`: what clients have to send as auth."""

    sio: Any
    namespace: str

    def __init__(self, sio: socketio.AsyncServer, namespace: str, token: str | None) -> None:
        self.sio, self.namespace = sio, namespace
        self._token = token
        self._under_way: dict[str, int] = {}
        self._all = 0
        self._limits: dict[str, RateLimit] = {}
        self._joined: Callable[[str], Awaitable[None]] | None = None
        sio.on("connect", self._connect, namespace=namespace)

    async def _connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        if self._token is not None:
            given = auth.get("token") if isinstance(auth, dict) else None
            known = isinstance(given, str) and hmac.compare_digest(
                given.encode("utf-8", "replace"), self._token.encode()
            )
            if not known:
                what = "wrong" if given else "no"
                _log.warning("refused a client: %s token", what)
                raise socketio.exceptions.ConnectionRefusedError(
                    f"{what} token: connect with auth: {{token: …}}",
                    error("forbidden", f"{what} token"),
                )
        if self._joined is not None:
            await self._joined(sid)

    def on(self, event: str, handler: Handler) -> None:
        """Register `handler(sid, *arguments)`; for "*" it is `handler(event, sid, *arguments)`."""
        first = event == "*"

        async def guarded(*arguments: Any) -> Any:
            name, sid = arguments[:2] if first else (event, arguments[0])
            if self._under_way.get(sid, 0) >= UNDER_WAY:
                return self.refuse(sid, name, "limit", f"{UNDER_WAY} events are under way already")
            if self.unread(sid) > UNREAD:
                _log.warning("cut off a client that reads nothing")
                await self.sio.disconnect(sid, namespace=self.namespace)
                return None
            self._under_way[sid] = self._under_way.get(sid, 0) + 1
            self._all += 1
            if self._all >= READING:
                self.sio.eio.reading.clear()
            try:
                return await handler(*arguments)
            except Exception as problem:
                _log.exception("%s failed: %s", _shown(name), type(problem).__name__)
                return error("unavailable", "the hub could not do that; it is still running")
            finally:
                self._all -= 1
                if self._all < READING:
                    self.sio.eio.reading.set()
                self._under_way[sid] -= 1
                if not self._under_way[sid]:
                    del self._under_way[sid]

        self.sio.on(event, guarded, namespace=self.namespace)

    def on_join(self, handler: Callable[[str], Awaitable[None]]) -> None:
        """Register `handler(sid)` for clients that were let in."""
        self._joined = handler

    def on_leave(self, handler: Callable[[str, str], Awaitable[None]]) -> None:
        """Register `handler(sid, reason)` for clients that disconnect: the library's reason."""

        async def left(sid: str, reason: str = "") -> None:
            self._limits.pop(sid, None)
            try:
                await handler(sid, reason)
            except Exception:
                _log.exception("clearing up after a client failed")

        self.sio.on("disconnect", left, namespace=self.namespace)

    def refuse(
        self, sid: str, event: object, code: str, message: str, logged: str = ""
    ) -> dict[str, Any]:
        """Log one line, if the rate limit allows it, and return the reply.

        `logged`: a text for the line, which must not quote data.
        """
        limit = self._limits.get(sid) or RateLimit()
        if self.connected(sid):
            self._limits[sid] = limit
        if limit.may():
            _log.warning("refused %s: %s%s", _shown(event), code, f": {logged}" if logged else "")
        return error(code, message)

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

    def slow(self) -> list[str]:
        """Return the clients with so many unread packets that they get no more."""
        participants = self.sio.manager.get_participants(self.namespace, None)
        return [sid for sid, _ in participants if self.unread(sid) > UNREAD // 5]


class RateLimit:
    """A rate limit of the log: at most so many lines in a period, then one with the count of the
    suppressed ones."""

    def __init__(self) -> None:
        self._since, self._count = time.monotonic(), 0

    def may(self, *_: object) -> bool:
        """Return whether one more line may be logged now."""
        now = time.monotonic()
        if now - self._since > _PERIOD:
            if self._count > _LINES:
                _log.warning("… and %d refusals more", self._count - _LINES)
            self._since, self._count = now, 0
        self._count += 1
        return self._count <= _LINES


def _shown(event: object) -> str:
    """Return an event's name, cut to one line of the log."""
    name = event if isinstance(event, str) and event.isprintable() else "an event"
    return name[:40]
