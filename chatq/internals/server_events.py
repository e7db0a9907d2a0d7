"""Interception of what clients say to a user's server: packet acknowledgements, and goodbyes.

Owns the two methods of the server through which these pass. Must not know: queues, receipts, the
handlers of the server.

python-socketio finds the call-back of a packet acknowledgement by a number that begins at 1 on each
connection. So an acknowledgement that is late, since its connection has ended meanwhile, reaches
the call-back of another packet on the next connection. Listeners are asked first, therefore.

Touches python-socketio 5.18: `_handle_ack`, `_trigger_event`, `manager.callbacks` and
`manager.sid_from_eio_sid`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .wrapping import kept_on

__all__ = ["ServerEvents", "ServerListener"]


class ServerListener(Protocol):
    """Listens to the clients of a server."""

    def answered(self, sid: str, callback: Callable[..., object] | None, answer: list[Any]) -> bool:
        """Called with each packet acknowledgement of `sid`, and with the call-back that has its
        number; returns True if it is for something else, and that call-back must not get it."""

    def left(self, sid: str, *, goodbye: bool) -> None:
        """Called when a client leaves; `goodbye`: it has said so, its connection was not cut."""


class ServerEvents:
    """Replaces the two methods of `sio`, for good: others may have replaced them since; see `of`.

    A listener hears of the clients of one namespace.
    """

    def __init__(self, sio: Any) -> None:
        self._sio, self._listeners = sio, list[tuple[str, ServerListener]]()
        self._handle_ack, self._trigger_event = sio._handle_ack, sio._trigger_event
        sio._handle_ack, sio._trigger_event = self._answered, self._happened

    @classmethod
    def of(cls, sio: Any) -> ServerEvents:
        """Return those of this server, made when they are first asked for."""
        return kept_on(sio, cls)

    def listen(self, namespace: str, listener: ServerListener) -> Callable[[], None]:
        """Call `listener` for the clients of `namespace`; return the function that ends it."""
        entry = (namespace, listener)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    def _of(self, namespace: str) -> list[ServerListener]:
        return [listener for name, listener in self._listeners if name == namespace]

    async def _answered(self, eio_sid: str, namespace: str | None, id: int, data: Any) -> None:
        manager, where = self._sio.manager, namespace or "/"
        sid = manager.sid_from_eio_sid(eio_sid, where)
        callback = manager.callbacks.get(sid, {}).get(id)
        if not any(each.answered(sid, callback, data) for each in self._of(where)):
            await self._handle_ack(eio_sid, namespace, id, data)

    async def _happened(self, event: str, namespace: str, *arguments: Any) -> Any:
        if event == "disconnect":
            sid, goodbye = arguments[0], arguments[1:] == (self._sio.reason.CLIENT_DISCONNECT,)
            for listener in self._of(namespace):
                listener.left(sid, goodbye=goodbye)
        return await self._trigger_event(event, namespace, *arguments)
