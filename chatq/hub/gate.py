"""Admission control for the clients of a hub: tokens, flow control, rate-limited log of refusals.

Owns who is let in with which token, the limits of unread packets, and the one line that is logged
for a refusal: never a payload, a receipt or a token. Must not know: queues, what the events of a
protocol mean.
"""

from __future__ import annotations

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
from .tokens import Holder, Right, Tokens

__all__ = ["Gate", "Handler", "RateLimit"]

_log = logging.getLogger("chatq.hub")

#: The most unread packets of a client, and bytes of them, before it is cut off.
UNREAD, UNREAD_SIZE = 5_000, 20_000_000
#: The most lines logged within `_PERIOD` seconds, for one connection and for bad packets, and for
#: all connections; further ones are only counted.
_LINES, _ALL_LINES, _PERIOD = 20, 200, 10.0

Handler = Callable[..., Awaitable[Any]]


class Gate:
    """Wraps the handlers of `namespace` of `sio`; `tokens()`: those of which clients have to send
    one as auth; None: none is asked for."""

    sio: Any
    namespace: str

    def __init__(
        self,
        sio: socketio.AsyncServer,
        namespace: str,
        tokens: Callable[[], Tokens | None] | None = None,
    ) -> None:
        self.sio, self.namespace = sio, namespace
        self._tokens = tokens or (lambda: None)
        self._holders: dict[str, Holder] = {}  # by sid
        self._door = Door()
        self._limits: WeakKeyDictionary[Any, RateLimit] = WeakKeyDictionary()  # by connection
        self._limit = RateLimit(_ALL_LINES)
        self._joined: Callable[[str], Awaitable[None]] | None = None
        sio.on("connect", self._connect, namespace=namespace)

    async def _connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        if (tokens := self._tokens()) is not None:
            await self._check_token(sid, environ, auth, tokens)
        if self._joined is not None:
            await self._joined(sid)

    async def _check_token(self, sid: str, environ: Any, auth: Any, tokens: Tokens) -> None:
        given = auth.get("token") if isinstance(auth, dict) else None
        holder = tokens.find(given)
        if holder is None:
            what = "wrong" if given else "no"
            if self._may_log(sid):
                _log.warning("refused a client at %s: %s token", _address(environ), what)
            await self._door.refused(_address(environ))
            raise socketio.exceptions.ConnectionRefusedError(
                f"{what} token: connect with auth: {{token: …}}",
                error("forbidden", f"{what} token"),
            )
        self._holders[sid] = holder

    @property
    def asks(self) -> bool:
        """Return whether a token is asked for, and so `check` has to be."""
        return self._tokens() is not None

    def check(self, sid: str, right: Right, queue: str) -> None:
        """Raise `PermissionError` if this client may not do that to a queue ("": to all)."""
        holder = self._holders.get(sid)
        if holder is None or not holder.may(right, queue):
            who = f"the token of {holder.name}" if holder and holder.name else "this client's token"
            what = {"publish": "publishing to", "consume": "consuming", "manage": "looking after"}
            which = f"queue {queue!r:.120}" if queue else "all queues"
            raise PermissionError(f"{who} does not permit {what[right]} {which}")

    async def cut_off_strangers(self) -> None:
        """Cut off who has come in with a token that is known no more, or permits something else.

        They get no disconnect packet, so that they connect again, and hear why if they may not.
        """
        tokens = self._tokens()
        for sid, holder in [*self._holders.items()]:
            if tokens is not None and holder in tokens:
                continue
            self._holders.pop(sid, None)
            _log.info(
                "cut off a client%s: its token is gone, or permits something else now", _of(holder)
            )
            await end_connection(connection(self.sio, sid, self.namespace), at_once=True)

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

    def on_join(self, handler: Callable[[str], Awaitable[None]]) -> None:
        """Register `handler(sid)` for clients that were let in."""
        self._joined = handler

    def on_leave(self, handler: Callable[[str, str], Awaitable[None]]) -> None:
        """Register `handler(sid, reason)` for clients that disconnect: the library's reason."""

        async def left(sid: str, reason: str = "") -> None:
            self._holders.pop(sid, None)
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
        if self._may_log(sid):
            who, why = _of(self._holders.get(sid)), f": {logged}" if logged else ""
            _log.warning("refused %s%s: %s%s", _shown(event), who, code, why)
        return error(code, message)

    def _may_log(self, sid: str) -> bool:
        """Return whether one more line about this client may be logged now. The limit is that of
        its connection, also if it leaves the namespace and joins it again."""
        client = connection(self.sio, sid, self.namespace)
        limit = self._limits.setdefault(client, RateLimit()) if client else RateLimit()
        return limit.may() and self._limit.may()

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


def _of(holder: Holder | None) -> str:
    """Return whose token it is, if the file says so."""
    return f" of {holder.name}" if holder is not None and holder.name else ""


def _shown(event: object) -> str:
    """Return an event's name, cut to one line of the log."""
    name = event if isinstance(event, str) and event.isprintable() else "an event"
    return name[:40]
