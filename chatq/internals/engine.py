"""A client's Engine.IO connection: its packets, and its pending call-backs.

Owns the touches on the inside of `socketio.AsyncServer` and of its Engine.IO server that delivery
needs. Must not know: queues, messages, the hub's protocol.

Touches python-socketio 5.18 (`packet_class`, `logger`, `_send_packet`, `manager.callbacks`,
`manager.eio_sid_from_sid`, `manager._generate_ack_id`) and python-engineio 4.15 (`eio.sockets`,
`eio.logger`, `eio.send`, `eio.send_packet`, and of a socket `queue`, `upgraded`, `closing`,
`closed`, `last_ping`, `check_ping_timeout` and `send`).
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from typing import Any

import socketio  # type: ignore[import-untyped]
from engineio.async_server import AsyncServer as EngineServer  # type: ignore[import-untyped]
from engineio.async_socket import AsyncSocket  # type: ignore[import-untyped]
from engineio.packet import MESSAGE  # type: ignore[import-untyped]
from engineio.packet import Packet as EnginePacket
from socketio.async_pubsub_manager import AsyncPubSubManager  # type: ignore[import-untyped]
from socketio.packet import EVENT, Packet  # type: ignore[import-untyped]

__all__ = [
    "connection",
    "forget_callback",
    "give_up",
    "packets_waiting",
    "text_sender",
    "unread_size",
]


def connection(sio: Any, sid: str, namespace: str) -> Any:
    """Return the Engine.IO socket of a client; None if it is gone."""
    return sio.eio.sockets.get(sio.manager.eio_sid_from_sid(sid, namespace))


def packets_waiting(sio: Any, sid: str, namespace: str) -> int | None:
    """Return the number of packets that a polling client has not fetched; None for a client that
    does not poll, or is gone."""
    socket = connection(sio, sid, namespace)
    return None if socket is None or socket.upgraded else int(socket.queue.qsize())


def unread_size(sio: Any, sid: str, namespace: str) -> int | None:
    """Return the size of what a client has not read, in bytes; None on a server that does not
    measure it (a hub's does), or if the client is gone."""
    socket = connection(sio, sid, namespace)
    return None if socket is None else getattr(socket.queue, "size", None)


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


def text_sender(
    sio: Any, sid: str, namespace: str
) -> Callable[[str, Callable[..., None] | None], None] | None:
    """Return a function that sends an event to this client, given its name and arguments as the
    text of a JSON list, and the call-back for its packet acknowledgement, if it has one.

    What it queues is what `sio.emit` would, without making a task, encoding the data again and
    looking for bytes in them. None where that may not be the same: if the client polls, has left or
    owes an answer to a ping, if anybody has replaced a step of an emit or logs it, or if the server
    does not write JSON. Good until the event loop's next turn.
    """
    socket = connection(sio, sid, namespace)
    if socket is None or not socket.upgraded or socket.closing or socket.closed:
        return None
    if socket.last_ping or not _emits_as_usual(sio, socket):
        return None
    start = f"{EVENT}" if namespace == "/" else f"{EVENT}{namespace},"
    number, put = sio.manager._generate_ack_id, socket.queue.put_nowait

    def send(text: str, callback: Callable[..., None] | None) -> None:
        asked = "" if callback is None else number(sid, callback)
        put(EnginePacket(MESSAGE, f"{start}{asked}{text}"))

    return send


def _emits_as_usual(sio: Any, socket: Any) -> bool:
    """Return whether `sio.emit` does what the libraries' own code does, and nothing else."""
    manager = (socketio.AsyncManager, AsyncPubSubManager)
    return (
        _is_own(sio, ["emit", "_send_packet"], socketio.AsyncServer)
        and _is_own(sio.manager, ["emit", "_generate_ack_id"], *manager)
        and _is_own(sio.eio, ["send", "send_packet"], EngineServer)
        and _is_own(socket, ["send"], AsyncSocket)
        and sio.packet_class.encode is Packet.encode
        and _writes_json(sio.packet_class.json)
        and not sio.logger.isEnabledFor(logging.INFO)
        and not sio.eio.logger.isEnabledFor(logging.INFO)
    )


def _is_own(thing: Any, methods: list[str], *classes: Any) -> bool:
    """Return whether these methods of `thing` are those of one of `classes`."""
    return vars(thing).keys().isdisjoint(methods) and any(
        all(getattr(type(thing), name) is getattr(each, name) for name in methods)
        for each in classes
    )


@functools.lru_cache(maxsize=8)
def _writes_json(module: Any) -> bool:
    """Return whether this module, which stands for `json` at a server, writes plain JSON."""
    sample = {"a_name": [1, -2.5, True, None, 'text \u00e9 " \\'], "": {}}
    try:
        return bool(json.loads(module.dumps(sample, separators=(",", ":"))) == sample)
    except Exception:  # whatever it is, it is not that
        return False


async def give_up(sio: Any, sid: str, namespace: str = "/") -> None:
    """Let the server find that this client has not answered its last ping in time."""
    socket = connection(sio, sid, namespace)
    socket.last_ping = 1.0  # long ago
    await socket.check_ping_timeout()
