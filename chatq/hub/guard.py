"""What every client of a hub has to keep to, whatever protocol it speaks.

Owns the token, the packets that are let in, how much a client may ask for and leave unread, and the
one line that is logged for a refusal: never a payload, a receipt or a token. Must not know: queues,
what the events of a protocol mean.

Everything here that reaches into python-socketio and python-engineio is at the end of the file.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import socketio  # type: ignore[import-untyped]
from aiohttp import web
from engineio.async_drivers.aiohttp import (  # type: ignore[import-untyped]
    WebSocket as _EngineWebSocket,
)
from engineio.exceptions import QueueEmpty  # type: ignore[import-untyped]
from engineio.payload import Payload  # type: ignore[import-untyped]

__all__ = ["WIRE", "Guard", "Handler", "error", "server", "take_many"]

_log = logging.getLogger("chatq.hub")
#: The logger of python-socketio and python-engineio in a hub.
WIRE = "chatq.wire"

#: The largest message on the wire, in bytes; a message's data is limited below that.
BUFFER = 1_200_000
#: Whether messages on a websocket are compressed one by one.
COMPRESSION = False
#: How many binary attachments one event may have.
ATTACHMENTS = 100
#: How many events may be under way before no more are read from websockets, and how many of one
#: client before they are refused.
READING, UNDER_WAY = 500, 5_000
#: How many packets a polling client is given in one answer: a Python client takes no more.
POLLED = 16
#: How many packets a client may leave unread before it is cut off.
UNREAD = 5_000
#: Refusals logged for one client, and of packets that nobody asked for an answer to, within
#: `_PERIOD` seconds; what is more is counted, not told.
_LINES, _PERIOD = 20, 10.0

Handler = Callable[..., Awaitable[Any]]


def error(code: str, message: str) -> dict[str, Any]:
    """Return what a client is answered whose request cannot be done."""
    return {"error": {"code": code, "message": message}}


class Guard:
    """Stands before the handlers of `namespace` of `sio`; `token`: what clients have to give."""

    def __init__(self, sio: socketio.AsyncServer, namespace: str, token: str | None) -> None:
        self.sio, self.namespace = sio, namespace
        self._token = token
        self._under_way: dict[str, int] = {}
        self._all = 0
        self._told: dict[str, _Few] = {}
        sio.on("connect", self._connect, namespace=namespace)

    async def _connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        if self._token is not None:
            given = auth.get("token") if isinstance(auth, dict) else None
            known = isinstance(given, str) and hmac.compare_digest(
                given.encode("utf-8", "replace"), self._token.encode()
            )
            if not known:
                what = "wrong" if given else "no"
                _log.warning("refused a client: %s token", what)
                raise socketio.exceptions.ConnectionRefusedError(
                    f"{what} token: connect with auth: {{token: …}}",
                    error("forbidden", f"{what} token"),
                )

    def on(self, event: str, handler: Handler) -> None:
        """Let `handler(sid, *arguments)` answer `event`; "*": `handler(event, sid, *arguments)`."""
        first = event == "*"

        async def guarded(*arguments: Any) -> Any:
            name, sid = arguments[:2] if first else (event, arguments[0])
            if self._under_way.get(sid, 0) >= UNDER_WAY:
                return self.refuse(sid, name, "limit", f"{UNDER_WAY} events are under way already")
            if self.unread(sid) > UNREAD:
                _log.warning("cut off a client that reads nothing")
                await self.sio.disconnect(sid, namespace=self.namespace)
                return None
            self._under_way[sid] = self._under_way.get(sid, 0) + 1
            self._all += 1
            if self._all >= READING:
                self.sio.eio.reading.clear()
            try:
                return await handler(*arguments)
            except Exception as problem:
                _log.exception("%s failed: %s", _shown(name), type(problem).__name__)
                return error("unavailable", "the hub could not do that; it is still running")
            finally:
                self._all -= 1
                if self._all < READING:
                    self.sio.eio.reading.set()
                self._under_way[sid] -= 1
                if not self._under_way[sid]:
                    del self._under_way[sid]

        self.sio.on(event, guarded, namespace=self.namespace)

    def on_leave(self, handler: Callable[[str], Awaitable[None]]) -> None:
        """Let `handler(sid)` hear of every client that leaves."""

        async def left(sid: str, _reason: Any = None) -> None:
            self._told.pop(sid, None)
            try:
                await handler(sid)
            except Exception:
                _log.exception("clearing up after a client failed")

        self.sio.on("disconnect", left, namespace=self.namespace)

    def refuse(
        self, sid: str, event: object, code: str, message: str, logged: str = ""
    ) -> dict[str, Any]:
        """Log one line, and return the answer; `logged`: words for the line that quote nothing."""
        few = self._told.get(sid) or _Few()
        if self.connected(sid):
            self._told[sid] = few
        if few.may():
            _log.warning("refused %s: %s%s", _shown(event), code, f": {logged}" if logged else "")
        return error(code, message)

    def connected(self, sid: str) -> bool:
        """Whether the client is still there: what it has emitted may be taken up later."""
        return bool(self.sio.manager.is_connected(sid, self.namespace))

    def unread(self, sid: str) -> int:
        """Return how many packets wait for this client to read them."""
        socket = _socket(self.sio, self.namespace, sid)
        return int(socket.queue.qsize()) if socket is not None else 0

    async def read(self, sid: str) -> None:
        """Return when the client has been given all that was emitted to it."""
        socket = _socket(self.sio, self.namespace, sid)
        if socket is not None:
            await socket.queue.join()

    def slow(self) -> list[str]:
        """Return the clients that leave too much unread to be given more."""
        participants = self.sio.manager.get_participants(self.namespace, None)
        return [sid for sid, _ in participants if self.unread(sid) > UNREAD // 5]


class _Few:
    """Says yes so many times in a period."""

    def __init__(self) -> None:
        self._since, self._count = time.monotonic(), 0

    def may(self, *_: object) -> bool:
        now = time.monotonic()
        if now - self._since > _PERIOD:
            if self._count > _LINES:
                _log.warning("… and %d refusals more", self._count - _LINES)
            self._since, self._count = now, 0
        self._count += 1
        return self._count <= _LINES


def _shown(event: object) -> str:
    """An event's name, so that it stays on its line of the log."""
    name = event if isinstance(event, str) and event.isprintable() else "an event"
    return name[:40]


def server() -> socketio.AsyncServer:
    """Return the Socket.IO server of a hub, that no packet stops."""
    quiet = logging.getLogger(WIRE)
    quiet.setLevel(logging.ERROR)
    quiet.filters = [_Few().may]
    sio = socketio.AsyncServer(
        async_mode="aiohttp",
        max_http_buffer_size=BUFFER,
        serializer=_Packet,
        json=_Json,
        logger=quiet,
        engineio_logger=quiet,
        http_compression=COMPRESSION,
    )
    # The driver is a dictionary that all servers of the process share: this one gets its own.
    sio.eio._async = {**sio.eio._async, "websocket": _WebSocket}
    sio.eio.reading = asyncio.Event()
    sio.eio.reading.set()

    async def connect(eio_sid: str, environ: Any) -> None:
        await sio._handle_eio_connect(eio_sid, environ)
        socket = sio.eio.sockets[eio_sid]
        socket.poll = partial(_poll, socket, socket.poll)

    async def disconnect(eio_sid: str, reason: Any) -> None:
        socket = sio.eio.sockets.get(eio_sid)
        if socket is not None and reason == sio.eio.reason.CLIENT_DISCONNECT:
            # Or else the poll of a client that has said goodbye would hang until the time-out, and
            # with it the client's process.
            socket.queue.put_nowait(None)
        await sio._handle_eio_disconnect(eio_sid, reason)

    sio.eio.on("connect", connect)
    sio.eio.on("disconnect", disconnect)
    return sio


def take_many() -> None:
    """Let polling clients send many packets at once, to all servers of this process.

    A browser that emits a hundred times while it still polls sends them in one request: of more
    than 16, none would be read, and nobody told. Their size is limited anyway.
    """
    Payload.max_decode_packets = 10_000


# -- inside python-socketio and python-engineio -------------------------------------------------


class _Json:
    """The JSON module of the wire."""

    # A number that clients of python-socketio refuse to read is none: no message may hold it.
    _decode = json.JSONDecoder(parse_int=lambda n: int(n) if len(n) <= 100 else math.inf).decode
    _encode = json.JSONEncoder(separators=(",", ":")).encode

    @classmethod
    def loads(cls, text: str) -> Any:
        try:
            return cls._decode(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    @classmethod
    def dumps(cls, value: Any, **_: Any) -> str:
        return cls._encode(value)


class _Packet(socketio.packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet that is refused unless it can be what it says it is."""

    json = _Json
    attachments: list[bytes]

    def decode(self, encoded_packet: Any) -> int:
        if not isinstance(encoded_packet, str):
            raise ValueError("an attachment of no event")
        count = int(super().decode(encoded_packet))
        kind, data = self.packet_type, self.data
        event = kind in (socketio.packet.EVENT, socketio.packet.BINARY_EVENT)
        answer = kind in (socketio.packet.ACK, socketio.packet.BINARY_ACK)
        if (event or answer) and not isinstance(data, list):
            raise ValueError("an event without a list of arguments")
        if event:
            if not data or not isinstance(data[0], str):
                raise ValueError("an event without a name")
            if data[0] in ("connect", "disconnect", "connect_error", "*"):
                data[0] = f"{data[0]} (reserved)"  # or else our own handlers would be called
        binary = kind in (socketio.packet.BINARY_EVENT, socketio.packet.BINARY_ACK)
        if binary and not 0 < count <= ATTACHMENTS:
            raise ValueError("no attachments, or too many")
        return count

    def add_attachment(self, attachment: Any) -> bool:
        size = sum(len(known) for known in self.attachments) + len(attachment)
        try:
            if not isinstance(attachment, bytes) or size > BUFFER:
                raise ValueError("no attachment, or more than an event may have")
            return bool(super().add_attachment(attachment))
        except (ValueError, LookupError, TypeError, RecursionError):
            # The event ends here: or else this client's next messages would be taken for parts.
            self.attachments = []
            self.data = ["attachments (broken)"]
            return True


class _WebSocket(_EngineWebSocket):  # type: ignore[misc]
    """The websocket of a client: what is no packet ends it at once, not after the ping time-out."""

    async def __call__(self, environ: Any) -> Any:
        request = environ["aiohttp.request"]
        # What a frozen client has not read when the connection is closed, it never will.
        self._sock = web.WebSocketResponse(
            max_msg_size=BUFFER, compress=COMPRESSION, timeout=0.5, heartbeat=None
        )
        await self._sock.prepare(request)
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def wait(self) -> Any:
        await self.server.reading.wait()
        message = await self._sock.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise OSError("the client has gone")
        data = message.data
        if data in ("", b"", "1", "4") or (isinstance(data, str) and data[0] not in "0123456"):
            raise OSError("a goodbye, or no packet")
        return data


async def _poll(socket: Any, poll: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """What is sent to a client next; to one that polls, not more than it can take."""
    if socket.upgraded:
        return await poll()
    queue, patience = socket.queue, socket.server.ping_interval + socket.server.ping_timeout
    packets: list[Any] = []
    try:
        packet = await asyncio.wait_for(queue.get(), patience)
    except (TimeoutError, asyncio.CancelledError):
        raise QueueEmpty from None
    queue.task_done()
    # Counted while they are taken: more may have come since somebody looked.
    while packet is not None:
        packets.append(packet)
        if len(packets) == POLLED or not queue.qsize():
            return packets
        packet = queue.get_nowait()
        queue.task_done()
    if packets:  # the end, which has to be met again
        queue.put_nowait(None)
    return packets


def _socket(sio: socketio.AsyncServer, namespace: str, sid: str) -> Any:
    return sio.eio.sockets.get(sio.manager.eio_sid_from_sid(sid, namespace))
