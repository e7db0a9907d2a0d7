"""A client's Engine.IO connection: its unread packets, and its pending call-backs.

Owns the touches on the inside of `socketio.AsyncServer` and of its Engine.IO server that delivery
needs. Must not know: queues, messages, the hub's protocol.

Touches python-socketio 5.18 (`manager.callbacks`, `manager.eio_sid_from_sid`) and python-engineio
4.15 (`eio.sockets`, and of a socket `queue` and `upgraded`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["connection", "forget_callback", "packets_waiting"]


def connection(sio: Any, sid: str, namespace: str) -> Any:
    """Return the Engine.IO socket of a client; None if it is gone."""
    return sio.eio.sockets.get(sio.manager.eio_sid_from_sid(sid, namespace))


def packets_waiting(sio: Any, sid: str, namespace: str) -> int | None:
    """Return the number of packets that a polling client has not fetched; None for a client that
    does not poll, or is gone."""
    socket = connection(sio, sid, namespace)
    return None if socket is None or socket.upgraded else int(socket.queue.qsize())


def forget_callback(sio: Any, sid: str, callback: Callable[..., None]) -> None:
    """Remove the call-back of an emit whose packet acknowledgement does not matter any more.

    python-socketio keeps it until then, under a number that it does not return; the oldest come
    first, and one of those is usually meant.
    """
    callbacks: dict[int, Any] = sio.manager.callbacks.get(sid, {})
    for number, known in callbacks.items():
        if known is callback:
            del callbacks[number]
            return
