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

__all__ = ["ServerListener", "listen_to_server"]

#: The attribute of a server that holds its listeners.
_LISTENERS = "chatq listeners"


class ServerListener(Protocol):
    """Listens to the clients of a server."""

    def answered(self, sid: str, callback: Callable[..., object] | None, answer: list[Any]) -> bool:
        """Called with each packet acknowledgement of `sid`, and with the call-back that has its
        number; returns True if it is for something else, and that call-back must not get it."""

    def left(self, sid: str, *, goodbye: bool) -> None:
        """Called when a client leaves; `goodbye`: it has said so, its connection was not cut."""


def listen_to_server(sio: Any, namespace: str, listener: ServerListener) -> Callable[[], None]:
    """Call `listener` for the clients of `namespace` of `sio`; return the function that ends it."""
    listeners: list[tuple[str, ServerListener]] | None = vars(sio).get(_LISTENERS)
    if listeners is None:
        listeners = vars(sio)[_LISTENERS] = []
        _intercept(sio, listeners)
    entry = (namespace, listener)
    listeners.append(entry)
    return lambda: listeners.remove(entry) if entry in listeners else None


def _intercept(sio: Any, listeners: list[tuple[str, ServerListener]]) -> None:
    """Replace the two methods, for good: others may have replaced them since."""
    handle_ack, trigger_event = sio._handle_ack, sio._trigger_event

    async def answered(eio_sid: str, namespace: str | None, id: int, data: Any) -> None:
        where = namespace or "/"
        sid = sio.manager.sid_from_eio_sid(eio_sid, where)
        callback = sio.manager.callbacks.get(sid, {}).get(id)
        for name, listener in listeners:
            if name == where and listener.answered(sid, callback, data):
                return
        await handle_ack(eio_sid, namespace, id, data)

    async def happened(event: str, namespace: str, *arguments: Any) -> Any:
        if event == "disconnect":
            sid, goodbye = arguments[0], arguments[1:] == (sio.reason.CLIENT_DISCONNECT,)
            for name, listener in [*listeners]:
                if name == namespace:
                    listener.left(sid, goodbye=goodbye)
        return await trigger_event(event, namespace, *arguments)

    sio._handle_ack, sio._trigger_event = answered, happened
