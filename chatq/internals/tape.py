"""A recording of one client's newest frames, both ways, below Engine.IO.

Owns the recording, where aiohttp hands frames to the socket, so it shows what was really sent; and
the holding back of frames while a client is frozen. Must not know: the stage, the journal, what a
frame means.

Touches aiohttp 3.14: `ClientSession(ws_response_class=…)`, `TraceConfig` and the methods of
`ClientWebSocketResponse` that frames go through.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp

__all__ = ["TO_CLIENT", "TO_SERVER", "Frame", "Tape"]

TO_SERVER, TO_CLIENT = "→", "←"


class Frame(NamedTuple):
    """One frame: its direction, seen from the client, and its payload."""

    direction: str
    data: str | bytes


class Tape:
    """The newest `keep` frames of one client, each as direction and payload."""

    frozen: bool

    def __init__(self, keep: int = 200) -> None:
        self.frames: deque[tuple[str, str | bytes]] = deque(maxlen=keep)
        self.frozen = False
        #: Whether the client died while it was frozen: what was held back is never read.
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
        # aiohttp only calls this argument, so a partial will do instead of a class.
        socket: Any = partial(_Socket, self)
        return aiohttp.ClientSession(ws_response_class=socket, trace_configs=[trace])

    async def held_back(self) -> None:
        """Return when the client is not frozen any more."""
        while self.frozen:
            try:
                await self._thawed.wait()
            except asyncio.CancelledError:
                # Engine.IO's time-out for a silent server: a frozen process has no clock either.
                # (Ending the client thaws it first.)
                if not self.frozen:
                    raise

    async def _request(self, _: object, __: SimpleNamespace, request: Any) -> None:
        header = "connection: upgrade" if request.url.query.get("transport") == "websocket" else ""
        query = request.url.query
        shown = "&".join(f"{key}={query[key]}" for key in ("EIO", "transport") if key in query)
        line = f"{request.method} {request.url.path}?{shown}"
        self.frames.append((TO_SERVER, f"{line} {header}".strip()))

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


class _Socket(aiohttp.ClientWebSocketResponse):
    """aiohttp's own websocket, which records each frame on the tape."""

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
        if not self.closed:  # a closed websocket drops it
            self._tape.frames.append((TO_SERVER, data))
        return super().send_str(data, compress)

    def send_bytes(self, data: Any, compress: int | None = None) -> Any:
        if not self.closed:
            self._tape.frames.append((TO_SERVER, bytes(data)))
        return super().send_bytes(data, compress)
