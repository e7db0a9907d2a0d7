"""The frames on the wire of a client, in plain words.

Owns the decoding of Engine.IO and Socket.IO frames into words, and their table. Must not know: the
stage, the journal, how frames are recorded.

Ids are replaced by "…" when frames are shown, never when they are sent.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any

from socketio.packet import Packet  # type: ignore[import-untyped]

from ..internals.tape import TO_CLIENT, TO_SERVER, Frame
from .table import Table

__all__ = ["meaning", "wire_table"]

_ENGINE_IO = {
    "1": "close: the sender ends the connection",
    "2": "ping: are you there?",
    "3": "pong: I am here",
    "5": "upgrade: from now on over the websocket",
    "6": "noop: nothing, it only ends a waiting poll",
    "2probe": "ping on the websocket: does this way work too?",
    "3probe": "pong on the websocket: it does",
}


_PING = (TO_CLIENT, "2", "Engine.IO ping: are you there?")
_PONG = (TO_SERVER, "3", "Engine.IO pong: I am here")
#: A ping and its pong; their number depends on the time, so they are one row.
_HEARTBEAT = ("⇄", "2 … 3", "Engine.IO heartbeat: ping and pong, once or more")


def wire_table(
    frames: Iterable[tuple[str, str | bytes]], who: str, packet_class: Any = Packet
) -> Table:
    """Return the frames of client `who`: direction, frame, meaning; heartbeats in one row.

    `packet_class`: the class of its Socket.IO packets. Those of another serializer are shown as
    python-socketio's own would write them.
    """
    rows: list[tuple[str, str, str]] = []
    for frame in map(Frame._make, frames):
        if not isinstance(frame.data, (str, bytes)):
            continue  # the websocket's own closing frames
        text, size = _written(frame.data, packet_class)
        text = _without_ids(text)
        said = meaning(text, frame.direction)
        row = (frame.direction, f"<{size} bytes> {text[1:]}" if size else text, said)
        if row == _PONG and rows and rows[-1] == _PING:
            rows[-1] = _HEARTBEAT
            if rows[-2:-1] == [_HEARTBEAT]:
                rows.pop()
        else:
            rows.append(row)
    return Table(
        headers=("", "frame", "what it means"),
        rows=rows,
        caption=f"on the wire of {who} ({TO_SERVER} to the server, {TO_CLIENT} to {who})",
    )


def _written(data: str | bytes, packet_class: Any) -> tuple[str | bytes, int]:
    """Return a frame as the library's own serializer would write it, and how many bytes it has; as
    it is, and 0, if it needs no translation, or has none."""
    polled = isinstance(data, str) and data.startswith("b")
    if packet_class.uses_binary_events or not (polled or isinstance(data, bytes)):
        return data, 0
    try:
        raw = data if isinstance(data, bytes) else base64.b64decode(data[1:])
        packet = packet_class(encoded_packet=raw)
        text = Packet(packet.packet_type, packet.data, packet.namespace, packet.id).encode()
    except Exception:  # whatever it is: a class of the reader's own reads it
        return data, 0
    return f"4{text if isinstance(text, str) else text[0]}", len(raw)


def _without_ids(data: str | bytes) -> str:
    if isinstance(data, bytes):
        return f"<{len(data)} bytes>"
    text = re.sub(r'("sid":\s*")[^"]*"', r'\1…"', data)
    text = re.sub(r'"[0-9a-f]{8}-\d+"|"[0-9a-f]{32}"', '"…"', text)  # ids of messages, receipts
    return text if len(text) <= 160 else f"{text[:159]}…"


def meaning(frame: str, direction: str) -> str:
    """Return the meaning of one frame, given as text, in plain words."""
    if frame.startswith(("GET ", "POST ")):
        verb, _, rest = frame.partition(" ")
        if "upgrade" in rest:
            return "HTTP: may this connection become a websocket?"
        return "HTTP: is there anything for me?" if verb == "GET" else "HTTP: here is something"
    if frame.startswith("HTTP "):
        return "yes: from here on a websocket" if "101" in frame else "the HTTP answer"
    if frame.startswith(("<", "b")):
        return "the bytes that belong to the message before"
    if frame in _ENGINE_IO:
        return f"Engine.IO {_ENGINE_IO[frame]}"
    if frame.startswith("0"):
        return "Engine.IO open: your connection's id, and how often we ping"
    if frame.startswith("4"):
        return f"Socket.IO {_socketio(frame[1:], direction)}"
    return "not a frame of Engine.IO version 4"


def _socketio(text: str, direction: str) -> str:
    try:
        packet = Packet(encoded_packet=text)
    except (ValueError, TypeError, IndexError, RecursionError):
        return "message (cut short here, so not read)" if text.endswith("…") else "message (broken)"
    where = packet.namespace or "/"
    at = "" if where == "/" else f" in {where}"
    match packet.packet_type:
        case 0:
            if direction == TO_SERVER:
                return f"connect: may I enter the namespace {where}?"
            return f"connect: welcome to {where}, this is your sid there"
        case 1:
            return f"disconnect: goodbye to {where}"
        case 2 | 5:
            name = packet.data[0] if packet.data and isinstance(packet.data, list) else "?"
            asks = "" if packet.id is None else f", please acknowledge as number {packet.id}"
            return f"event{at}: {name!r}{asks}"
        case 3 | 6:
            return f"acknowledgement{at} of number {packet.id}"
        case _:
            return f"connect error: {where} refuses you"
