"""The Socket.IO server of a hub, hardened against malformed packets and slow clients.

Owns the checks of packets, websockets and polls that the libraries do not make. Must not know:
queues, tokens, what the events of a protocol mean.

Touches python-socketio 5.18 (`Packet.decode`, `Packet.add_attachment`, `_handle_eio_connect`,
`_handle_eio_disconnect`) and python-engineio 4.15 (`eio._async`, `eio.sockets`, of a socket `poll`,
`queue`, `upgraded`; `async_drivers.aiohttp.WebSocket`, `Payload.max_decode_packets`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
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

__all__ = ["BUFFER", "POLLED", "WIRE", "hub_server", "take_many"]

#: The logger of python-socketio and python-engineio in a hub.
WIRE = "chatq.wire"
#: The largest message on the wire, in bytes; a message's data is limited below that.
BUFFER = 1_200_000
#: Whether messages on a websocket are compressed one by one.
COMPRESSION = False
#: The most binary attachments of one event.
ATTACHMENTS = 100
#: The most packets in one response to a poll: a Python client takes no more.
POLLED = 16


def hub_server(logs: Callable[[logging.LogRecord], bool]) -> socketio.AsyncServer:
    """Return the Socket.IO server of a hub.

    It takes requests of every origin: whoever serves it checks that. `logs`: the filter of the
    libraries' own log records.
    """
    quiet = logging.getLogger(WIRE)
    quiet.setLevel(logging.ERROR)
    quiet.filters = [logs]
    sio = socketio.AsyncServer(
        async_mode="aiohttp",
        max_http_buffer_size=BUFFER,
        cors_allowed_origins="*",  # whoever serves it has looked at the origin before
        serializer=_Packet,
        json=_Json,
        logger=quiet,
        engineio_logger=quiet,
        http_compression=COMPRESSION,
    )
    # The driver is a dictionary that all servers of the process share: this one gets a copy.
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
            # Else the poll of a client that has disconnected would hang until the time-out, and
            # with it the client's process.
            socket.queue.put_nowait(None)
        await sio._handle_eio_disconnect(eio_sid, reason)

    sio.eio.on("connect", connect)
    sio.eio.on("disconnect", disconnect)
    return sio


def take_many() -> None:
    """Accept many packets in one request of a polling client, at all servers of this process.

    A browser that emits a hundred times while it still polls sends them in one request: of more
    than 16, none would be read, without an error. Their size is limited anyway.
    """
    Payload.max_decode_packets = 10_000


class _Json:
    """The JSON module of the wire."""

    # Clients of python-socketio refuse integers of more than 100 digits: no message may hold one.
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
    """A Socket.IO packet whose decoding raises `ValueError` unless it is well-formed."""

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
                data[0] = f"{data[0]} (reserved)"  # else our own handlers would be called
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
            # The event ends here: else this client's next messages would be taken for attachments.
            self.attachments = []
            self.data = ["attachments (broken)"]
            return True


class _WebSocket(_EngineWebSocket):  # type: ignore[misc]
    """The websocket of a client: a frame that is no packet ends it at once, not after the ping
    time-out."""

    def __init__(self, handler: Any, server: Any) -> None:
        super().__init__(handler, server)
        self.server = server  # so does Engine.IO, since 4.13.2

    async def __call__(self, environ: Any) -> Any:
        request = environ["aiohttp.request"]
        # On closing, do not wait for a frozen client to read.
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
    """Return the packets to send to a client next; to one that polls, at most `POLLED`."""
    if socket.upgraded:
        return await poll()
    queue, patience = socket.queue, socket.server.ping_interval + socket.server.ping_timeout
    packets: list[Any] = []
    try:
        packet = await asyncio.wait_for(queue.get(), patience)
    except (TimeoutError, asyncio.CancelledError):
        raise QueueEmpty from None
    queue.task_done()
    # Counted while they are taken: more may come meanwhile.
    while packet is not None:
        packets.append(packet)
        if len(packets) == POLLED or not queue.qsize():
            return packets
        packet = queue.get_nowait()
        queue.task_done()
    if packets:  # the end mark, for the next poll
        queue.put_nowait(None)
    return packets
