"""Interception of the events of a user's `socketio.AsyncClient`, before and after its handlers.

Owns the one method through which all events of a client pass. Must not know: the listeners, and
what they are for.

python-socketio has one handler for each event, and `connect` and `disconnect` are the user's, who
may set them at any time, or write a namespace class. So no handler is set for them: all events pass
through one method of the client, which is replaced.

Touches python-socketio 5.18: `_trigger_event` of clients and servers, the event
`__disconnect_final`, and `connection_namespaces`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

__all__ = [
    "CONNECTED",
    "DISCONNECTED",
    "FAILED",
    "GIVEN_UP",
    "Listener",
    "around_handlers",
    "listen",
    "listen_no_more",
    "listeners",
]

#: A connection has begun; it has ended, with a reason; the client will not reconnect by itself; it
#: could not connect.
CONNECTED, DISCONNECTED, GIVEN_UP = "connect", "disconnect", "__disconnect_final"
FAILED = "connect_error"


class Listener(Protocol):
    """Listens to the events of one namespace of a client."""

    @property
    def namespace(self) -> str:
        """The namespace."""

    async def before(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Called before the client's own handler; returns True if that one must not get it."""

    def after(self, event: str) -> None:
        """Called after the client's own handler has ended: it may have to authenticate first."""

    def left_out(self) -> None:
        """Called when the client connects, or cannot, and the namespace is not among those that it
        was told to connect to."""


def listeners(client: Any) -> list[Listener]:
    """Return the listeners of `client`, in the order in which they were added."""
    events = _Events.of(client)
    return [*events.listeners] if events else []


def listen(client: Any, listener: Listener) -> None:
    """Add a listener to the events of `client`."""
    (_Events.of(client) or _Events(client)).listeners.append(listener)


def listen_no_more(client: Any, listener: Listener) -> None:
    """Remove a listener; with the last one the client's method is restored."""
    events = _Events.of(client)
    if events and listener in events.listeners:
        events.listeners.remove(listener)
        events.end_if_idle()


def around_handlers(side: Any, around: Callable[..., Awaitable[Any]]) -> None:
    """Run every handler of a server or a client inside `around`, from now on.

    It is given the work, the event, the namespace, and what the handler is called with.
    """
    original = side._trigger_event

    async def trigger(event: str, namespace: str, *arguments: Any) -> Any:
        work = original(event, namespace, *arguments)
        return await around(work, event, namespace, arguments)

    side._trigger_event = trigger


class _Events:
    """Replaces `_trigger_event` of one client."""

    def __init__(self, client: Any) -> None:
        self.listeners: list[Listener] = []
        self._client, self._original = client, client._trigger_event
        client._trigger_event = self._trigger

    @classmethod
    def of(cls, client: Any) -> _Events | None:
        """Return that of `client`; None if there is none."""
        found = getattr(client._trigger_event, "__self__", None)
        return found if isinstance(found, _Events) else None

    def end_if_idle(self) -> None:
        if not self.listeners and self._client._trigger_event == self._trigger:
            self._client._trigger_event = self._original

    def _of(self, namespace: str) -> list[Listener]:
        return [each for each in self.listeners if each.namespace == namespace]

    async def _trigger(self, event: str, namespace: str, *arguments: Any) -> Any:
        for listener in self._of(namespace):
            if await listener.before(event, arguments):
                return None
        try:
            return await self._original(event, namespace, *arguments)
        finally:
            for listener in self._of(namespace):
                listener.after(event)
            if event in (CONNECTED, FAILED):
                for listener in self.listeners:
                    if listener.namespace not in self._client.connection_namespaces:
                        listener.left_out()
