"""What went over the wire, and what it means.

Owns the tape of one client (the newest frames of its connection, both ways) and the reading of
Engine.IO and Socket.IO frames in plain words. Must not know: the stage, the journal.

The tape records below Engine.IO, where aiohttp hands frames to the socket, so it shows what was
really sent. Ids and times are struck out when frames are shown, never when they are sent.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
from socketio.packet import Packet  # type: ignore[import-untyped]

from .table import Table

__all__ = ["Frame", "Tape", "meaning"]

TO_SERVER, TO_CLIENT = "→", "←"

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
#: A ping and its pong; how often that came depends on the time, so it is one row.
_HEARTBEAT = ("⇄", "2 … 3", "Engine.IO heartbeat: ping and pong, once or more")


class Frame(NamedTuple):
    """One frame: its direction, seen from the client, and what was in it."""

    direction: str
    data: str | bytes


class Tape:
    """The newest `keep` frames of one client; `show()` puts them in a table."""

    def __init__(self, keep: int = 200) -> None:
        self.frames: deque[tuple[str, str | bytes]] = deque(maxlen=keep)
        self.frozen = False
        #: The client died while it was frozen: what was held back is never read.
        self.dead = False
        self._thawed = asyncio.Event()

    def freeze(self, frozen: bool) -> None:
        """Hold back the frames that arrive from now on, or let them through again."""
        self.frozen = frozen
        if frozen:
            self._thawed.clear()
        else:
            self._thawed.set()

    def session(self) -> aiohttp.ClientSession:
        """Return an HTTP session whose requests, answers and websocket frames are recorded."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._request)
        trace.on_request_end.append(self._answer)
        trace.on_request_chunk_sent.append(self._sent)
        trace.on_response_chunk_received.append(self._received)
        # aiohttp calls this argument, so a partial serves where its type asks for a class.
        socket: Any = partial(_Socket, self)
        return aiohttp.ClientSession(ws_response_class=socket, trace_configs=[trace])

    async def held_back(self) -> None:
        """Return when the client is not frozen any more."""
        while self.frozen:
            try:
                await self._thawed.wait()
            except asyncio.CancelledError:
                # Engine.IO's time-out for a silent server. A frozen process has no clock either;
                # whoever ends the client thaws it first.
                if not self.frozen:
                    raise

    async def _request(self, _: object, __: SimpleNamespace, request: Any) -> None:
        asked = "connection: upgrade" if request.url.query.get("transport") == "websocket" else ""
        query = request.url.query
        shown = "&".join(f"{key}={query[key]}" for key in ("EIO", "transport") if key in query)
        line = f"{request.method} {request.url.path}?{shown}"
        self.frames.append((TO_SERVER, f"{line} {asked}".strip()))

    async def _answer(self, _: object, __: SimpleNamespace, answer: Any) -> None:
        self.frames.append((TO_CLIENT, f"HTTP {answer.response.status} {answer.response.reason}"))

    async def _sent(self, _: object, __: SimpleNamespace, sent: Any) -> None:
        self._split(TO_SERVER, sent.chunk)

    async def _received(self, _: object, __: SimpleNamespace, received: Any) -> None:
        self._split(TO_CLIENT, received.chunk)

    def _split(self, direction: str, body: bytes) -> None:
        # One polling body holds several packets, separated by a control character.
        for part in body.decode("utf-8", "replace").split("\x1e"):
            if part and part != "OK":
                self.frames.append((direction, part))

    def show(self, who: str) -> Table:
        """Return the frames as a table: direction, frame, meaning; heartbeats in one row."""
        rows: list[tuple[str, str, str]] = []
        for frame in map(Frame._make, self.frames):
            if not isinstance(frame.data, (str, bytes)):
                continue  # the websocket's own closing frames
            text = _strike_out(frame.data)
            row = (frame.direction, text, meaning(text, frame.direction))
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


class _Socket(aiohttp.ClientWebSocketResponse):
    """aiohttp's own websocket; it shows each frame to the tape."""

    def __init__(self, tape: Tape, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tape = tape

    async def receive(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 (aiohttp's)
        message = await super().receive(timeout)
        tape = self._tape
        if tape.frozen:
            await tape.held_back()
        if tape.dead:
            await self.close()
            return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)
        tape.frames.append((TO_CLIENT, message.data))
        return message

    def send_str(self, data: str, compress: int | None = None) -> Any:
        if not self.closed:  # a closed websocket drops what it is given
            self._tape.frames.append((TO_SERVER, data))
        return super().send_str(data, compress)

    def send_bytes(self, data: Any, compress: int | None = None) -> Any:
        if not self.closed:
            self._tape.frames.append((TO_SERVER, bytes(data)))
        return super().send_bytes(data, compress)


def _strike_out(data: str | bytes) -> str:
    if isinstance(data, bytes):
        return f"<{len(data)} bytes>"
    text = re.sub(r'("sid":\s*")[^"]*"', r'\1…"', data)
    text = re.sub(r'"[0-9a-f]{8}-\d+"|"[0-9a-f]{32}"', '"…"', text)  # ids of messages, receipts
    return text if len(text) <= 160 else f"{text[:159]}…"


def meaning(frame: str, direction: str) -> str:
    """Say in plain words what one frame, as text, tells the other side."""
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
