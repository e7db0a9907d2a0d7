"""A server that queues are attached to: whose handlers are there, and who may do what.

Owns the queues' handlers on a python-socketio server, which put no other out of work, and the
questions to the application. Must not know: what a request does, how messages are kept.

An event is the queues' if it has the form that the protocol gives it: one object, with a receipt
(or a queue) in it. Others go on to the handler that would get them without the queues. So a
catch-all still gets a `received` of the application's own; a second handler for the very same event
is refused, since nobody could say whose an event is.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import socketio  # type: ignore[import-untyped]

from ..internals.connecting import Connecting, is_here
from ..internals.dispatch import next_handler
from .error_codes import AuthorizationFailed, error
from .receipts import EVENTS

__all__ = ["Attachment", "Authorize", "Handler"]

_log = logging.getLogger("chatq")

Authorize = Callable[[str, str], bool | Awaitable[bool]]
Handler = Callable[..., Awaitable[Any]]

#: What shows that an event is meant for the queues: its object has one of these.
_MARKS = {
    "received": ("receipt", "receipts"),
    "failed": ("receipt",),
    "released": ("receipt", "receipts"),
    "working": ("receipt", "receipts"),
    "publish": ("queue", "messages"),
    "subscribe": ("queue",),
    "unsubscribe": ("queue",),
}


class Attachment:
    """The queues' place on `sio`, in `namespace`.

    `authorize(sid, queue)`: whether a client may consume a queue; None: all may. `closed()`:
    whether the queues are. `served`: whether clients ask by themselves, so that their requests, and
    not the application, meet the errors of `authorize`.
    """

    sio: Any
    namespace: str

    def __init__(
        self,
        sio: socketio.AsyncServer,
        namespace: str,
        authorize: Authorize | None,
        closed: Callable[[], bool],
        *,
        served: bool = False,
    ) -> None:
        self.sio, self.namespace = sio, namespace
        self._authorize, self._closed, self._served = authorize, closed, served
        self._connecting = Connecting.of(sio)
        self._listeners: list[_Listener] = []

    def has(self, sid: str) -> bool:
        """Return whether this client is connected, or its connect handler runs."""
        here = is_here(self.sio, sid, self.namespace)
        return here or (sid, self.namespace) in self._connecting

    # -- handlers ---------------------------------------------------------------------------------

    def listen(self, handlers: Mapping[str, Handler]) -> None:
        """Add handlers, by event. Raises `ValueError` if that would put another out of work; then
        none is added."""
        listeners = [_Listener(self, event, handler) for event, handler in handlers.items()]
        for listener in listeners:
            self._check_free(listener.event)
        for listener in listeners:
            self.sio.on(listener.event, listener.handle, namespace=self.namespace)
        self._listeners = listeners

    def _check_free(self, event: str) -> None:
        known = self.sio.handlers.get(self.namespace, {}).get(event)
        owner = getattr(known, "__self__", None)
        left = isinstance(owner, _Listener)  # then it may be replaced, if its queues are closed
        if isinstance(owner, _Listener) and not owner.closed:
            raise ValueError(
                f"other queues are attached to {self.namespace} already: close those first"
            )
        other = next_handler(self.sio, event, self.namespace, known if left else None)
        if other is not None and other.meant:
            raise ValueError(
                f"this server has {other.words} already: rename that event, attach in another "
                f"namespace, or {_instead(event)}"
            )

    def check(self) -> None:
        """Raise `RuntimeError` if other handlers have come for the events of the queues."""
        for listener in self._listeners:
            event = listener.event
            if self.sio.handlers.get(self.namespace, {}).get(event) != listener.handle:
                raise RuntimeError(
                    f"the queues' handler of {event!r} in {self.namespace} was replaced by "
                    f"another: rename that event, or {_instead(event)}"
                )
            other = next_handler(self.sio, event, self.namespace, listener.handle)
            if other is not None and other.meant:
                raise RuntimeError(
                    f"{other.words} has come since the queues were attached, and gets nothing that "
                    f"is meant for them: rename that event, or {_instead(event)}"
                )

    @property
    def closed(self) -> bool:
        """Return whether the queues are closed."""
        return self._closed()

    # -- authorization ----------------------------------------------------------------------------

    async def may_consume(self, sid: str, queue: str) -> None:
        """Raise `PermissionError` if this client may not consume `queue`."""
        if not await self._asked(self._authorize, sid, queue):
            raise PermissionError(f"this client may not consume queue {queue!r}")

    async def may_publish(self, authorize: Authorize | None, sid: str, queue: str) -> None:
        """Raise `PermissionError` if this client may not publish to `queue`, as `authorize` says
        (None: as who may consume it)."""
        if not await self._asked(authorize or self._authorize, sid, queue):
            raise PermissionError(f"this client may not publish to queue {queue!r}")

    async def _asked(self, authorize: Authorize | None, sid: str, queue: str) -> bool:
        if authorize is None:
            return True
        try:
            allowed = authorize(sid, queue)
            return bool(await allowed if inspect.isawaitable(allowed) else allowed)
        except Exception as problem:
            if not self._served:
                raise
            _log.exception("it is not known whether a client may use queue %r", queue)
            raise AuthorizationFailed("the server could not tell whether that is allowed") from (
                problem
            )


class _Listener:
    """The queues' handler of one event."""

    def __init__(self, attachment: Attachment, event: str, handler: Handler) -> None:
        self.event = event
        self._attachment, self._handler = attachment, handler

    @property
    def closed(self) -> bool:
        return self._attachment.closed

    async def handle(self, sid: str, *arguments: Any) -> Any:
        """Handle an event that has the protocol's form; hand others on, if there is somebody."""
        if not self._is_meant(arguments):
            sio, namespace = self._attachment.sio, self._attachment.namespace
            if other := next_handler(sio, self.event, namespace, self.handle):
                return await other(sid, *arguments)
        try:
            return await self._handler(sid, *arguments)
        except Exception as problem:
            _log.exception("%s failed: %s", self.event, type(problem).__name__)
            return error("unavailable", "the server could not do that; it is still running")

    def _is_meant(self, arguments: tuple[Any, ...]) -> bool:
        asked = arguments[0] if len(arguments) == 1 else None
        return isinstance(asked, dict) and any(mark in asked for mark in _MARKS[self.event])


def _instead(event: str) -> str:
    if event in EVENTS:
        call = "extend" if event == "working" else event
        return f"attach with listen=False and call `queues.{call}` in it"
    return "attach without serve=True"
