"""The Socket.IO server of a hub, hardened against malformed packets and slow clients.

Owns the checks of packets, websockets and polls that the libraries do not make. Must not know:
queues, tokens, what the events of a protocol mean.

Touches python-socketio 5.18 (`Packet.decode`, `Packet.add_attachment`, `_binary_packet`,
`_handle_connect`, `_handle_eio_connect`, `_handle_eio_disconnect`, `_handle_eio_message`,
`_handle_event`, `_handle_event_internal`) and python-engineio 4.15 (`eio._async`, `eio.sockets`, of
a socket `close`, `closed`, `poll`, `queue`, `upgraded`, `upgrading`;
`async_drivers.aiohttp.WebSocket`, `Payload.max_decode_packets`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable
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

from ..pace import Pace
from ..shares import Shares
from ..waiting import passed
from .hub_requests import check_requests
from .unread import ENOUGH, Unread

__all__ = ["BUFFER", "POLLED", "WIRE", "end_connection", "hub_server", "take_many", "written"]

#: The logger of python-socketio and python-engineio in a hub.
WIRE = "chatq.wire"
_log = logging.getLogger("chatq.hub")
#: The largest message on the wire, in bytes; a message's data is limited below that.
BUFFER = 1_200_000
#: Whether messages on a websocket are compressed one by one.
COMPRESSION = False
#: The most binary attachments of one event.
ATTACHMENTS = 100
#: The most packets in one response to a poll: a Python client takes no more.
POLLED = 16
#: About how many bytes are written to a client at once, before it is looked again what is next.
WRITTEN = 256_000
#: The most requests of one client that are under way; it is read no further until one has ended.
REQUESTS = 200
#: From which size on packets are decoded one at a time, in bytes; and of which kinds they may be:
#: events and answers, also with attachments.
LARGE, LARGE_KINDS = 150_000, "2356"
#: The most bytes of all attachments whose events are not complete.
HALF_SENT = 32_000_000
#: After a large packet, everything else may go on for so many times as long as it took to decode,
#: at most for so many seconds; the store's thread, too, which cannot meanwhile.
_REST, _LONGEST_REST = 2.0, 0.05
#: How often a connection may join namespaces at once, and in how many seconds once more; and
#: after how many seconds it ends if it has joined none.
_JOINS, _JOINED = (20, 0.5, 10.0), 45.0
#: How often it may be refused before it is ended.
_REFUSALS = 10
#: How long a client that moves to a websocket may take for each step, in seconds.
_UPGRADE = 10.0
#: The packet of Engine.IO, and the codes of a websocket (1005: none was given), that say goodbye.
_GOODBYE, _ON_PURPOSE = "1", {1000, 1001, 1005}
#: What is logged of a packet that is larger than `BUFFER`.
TOO_BIG = aiohttp.WSCloseCode.MESSAGE_TOO_BIG
TOO_LARGE = f"a packet of more than {BUFFER} bytes"


def hub_server(logs: Callable[[Any], bool]) -> socketio.AsyncServer:
    """Return the Socket.IO server of a hub.

    It takes requests of every origin: whoever serves it checks that. `logs`: whether one more line
    may be logged; also the filter of the libraries' own records.
    """
    quiet = logging.getLogger(WIRE)
    quiet.setLevel(logging.ERROR)
    quiet.filters = [logs]
    sio = _Server(
        async_mode="aiohttp",
        max_http_buffer_size=BUFFER,
        cors_allowed_origins="*",  # whoever serves it has looked at the origin before
        namespaces="*",  # whoever serves it says of which there is nothing
        serializer=_Packet,
        json=_Json,
        logger=quiet,
        engineio_logger=quiet,
        http_compression=COMPRESSION,
    )
    # The driver is a dictionary that all servers of the process share: this one gets a copy.
    sio.eio._async = {**sio.eio._async, "websocket": _WebSocket}
    sio.eio.create_queue = Unread

    def too_large() -> None:
        if logs(None):
            _log.warning("ended a connection: %s", TOO_LARGE)

    sio.eio.too_large = too_large
    check_requests(sio.eio, BUFFER, too_large, end_connection)

    async def connect(eio_sid: str, environ: Any) -> None:
        await sio._handle_eio_connect(eio_sid, environ)
        socket = sio.eio.sockets[eio_sid]
        socket.poll = partial(_poll, socket)
        socket.goodbye = False
        sio.connections[eio_sid] = _Connection(sio, eio_sid)

    async def disconnect(eio_sid: str, reason: Any) -> None:
        socket = sio.eio.sockets.get(eio_sid)
        if socket is not None:
            if socket.goodbye:
                reason = sio.eio.reason.CLIENT_DISCONNECT
            if reason == sio.eio.reason.CLIENT_DISCONNECT:
                # Else the poll of a client that has disconnected would hang until the time-out, and
                # with it the client's process.
                socket.queue.put_nowait(None)
            socket.queue.end()
        if eio_sid in sio.connections:
            sio.connections.pop(eio_sid).timer.cancel()
        sio.forget_half_sent(eio_sid)
        await sio._handle_eio_disconnect(eio_sid, reason)

    sio.eio.on("connect", connect)
    sio.eio.on("disconnect", disconnect)
    return sio


class _Server(socketio.AsyncServer):  # type: ignore[misc]
    """A server that reads no more of a client while that has much under way, or unread, or goes in
    and out of namespaces; and that decodes one large packet at a time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._under_way = Shares(count=REQUESTS, size=2 * BUFFER, total=20 * BUFFER, free=BUFFER)
        self._decoding = asyncio.Lock()
        self._rest_until = 0.0  # before that, no other large packet is decoded
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: dict[str, _Connection] = {}  # by the ids that Engine.IO gives
        self._size: list[int] = []  # of the packet that is being read
        #: The size of the attachments of events that are not complete; what has waited longest for
        #: another is first.
        self._half_sent: dict[str, int] = {}

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is None or socket.closed:
            return
        begun = self._binary_packet.get(eio_sid)
        size = len(data) + (sum(map(len, begun.attachments)) if begun is not None else 0)
        if socket.queue.size >= ENOUGH:
            await socket.queue.few()
        if data[:1] == "0":
            await self.connections[eio_sid].joins.turn()
        if not self._under_way.begin_now(eio_sid, size):
            await self._under_way.begin(eio_sid, size)
        # Until `_handle_event` is called by the library nothing waits, so this is still the packet.
        self._size = mine = [size]
        try:
            if isinstance(data, str) and size > LARGE and begun is None:
                if data[:1] not in LARGE_KINDS:
                    raise ValueError("a packet of this kind is not so large")
                async with self._decoding:
                    await passed(self._rest_until - time.perf_counter())
                    began, self._size = time.perf_counter(), mine
                    await super()._handle_eio_message(eio_sid, data)
                    took = time.perf_counter() - began
                    self._rest_until = began + took + _REST * min(took, _LONGEST_REST)
            else:
                await super()._handle_eio_message(eio_sid, data)
        finally:
            if mine:
                self._under_way.end(eio_sid, size)
            if begun is not None or eio_sid in self._binary_packet:
                await self._note_half_sent(eio_sid)

    def forget_half_sent(self, eio_sid: str) -> None:
        """Forget an event that is not complete: its connection has ended."""
        self._half_sent.pop(eio_sid, None)
        self._binary_packet.pop(eio_sid, None)

    async def _note_half_sent(self, eio_sid: str) -> None:
        """Note how much there is of an event that is not complete; end others that do not go on, if
        all of them are too large together."""
        self._half_sent.pop(eio_sid, None)
        packet = self._binary_packet.get(eio_sid)
        if packet is not None and eio_sid in self.connections:
            self._half_sent[eio_sid] = sum(map(len, packet.attachments))
        while sum(self._half_sent.values()) > HALF_SENT:
            first = next(iter(self._half_sent))
            del self._half_sent[first]
            await end_connection(self.eio.sockets.get(first), at_once=True)

    async def _handle_connect(self, eio_sid: str, namespace: str, data: Any) -> None:
        await super()._handle_connect(eio_sid, namespace, data)
        known = self.connections.get(eio_sid)
        if known is None:
            return
        if self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is not None:
            known.timer.cancel()
            return
        known.refusals += 1
        if known.refusals == _REFUSALS:
            await end_connection(self.eio.sockets.get(eio_sid))

    async def _handle_event(self, eio_sid: str, namespace: str, id: Any, data: Any) -> None:
        size = self._size.pop()
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        task = asyncio.create_task(self._handle(sid, eio_sid, size, namespace or "/", id, data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(
        self, sid: str, eio_sid: str, size: int, namespace: str, id: Any, data: Any
    ) -> None:
        try:
            if self.manager.is_connected(sid, namespace):
                await self._handle_event_internal(self, sid, eio_sid, data, namespace, id)
        finally:
            self._under_way.end(eio_sid, size)


class _Connection:
    """What is to be known of a connection: the pace of its joining of namespaces, how often that
    was refused, and the timer that ends it if it joins none."""

    def __init__(self, sio: _Server, eio_sid: str) -> None:
        self.joins = Pace(*_JOINS)
        self.refusals = 0
        self._sio, self._eio_sid = sio, eio_sid
        self._ending: asyncio.Task[None] | None = None
        self.timer = asyncio.get_running_loop().call_later(_JOINED, self._end)

    def _end(self) -> None:
        self._ending = asyncio.create_task(end_connection(self._sio.eio.sockets.get(self._eio_sid)))


async def written(sio: Any, within: float) -> None:
    """Return when all that is to be sent to clients has been written; after so long, in seconds,
    anyway: some may not read."""
    unread = [socket.queue for socket in sio.eio.sockets.values() if socket.queue.qsize()]
    if unread:
        waiting = [asyncio.create_task(queue.join()) for queue in unread]
        await asyncio.wait(waiting, timeout=within)


async def end_connection(socket: Any, *, at_once: bool = False) -> None:
    """End a client's connection when what is unread has been written, or `at_once`; None: it has
    ended already."""
    if socket is None:
        return
    await socket.close(wait=False, abort=at_once, reason=socket.server.reason.SERVER_DISCONNECT)
    socket.queue.end()
    socket.queue.put_nowait(None)  # a websocket is closed then, whether or not the client does
    if at_once and socket.upgraded:
        socket.transport.abort()


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


class _Response(web.WebSocketResponse):
    """A websocket that says why it is closed, if a packet is too large; then `too_big` is set."""

    too_big = False

    async def close(
        self, *, code: int = aiohttp.WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        if code == TOO_BIG and not message:
            message, self.too_big = TOO_LARGE.encode(), True
        return await super().close(code=code, message=message, drain=drain)


class _WebSocket(_EngineWebSocket):  # type: ignore[misc]
    """The websocket of a client: a frame that is no packet ends it at once, not after the ping
    time-out."""

    def __init__(self, handler: Any, server: Any) -> None:
        super().__init__(handler, server)
        self.server = server  # so does Engine.IO, since 4.13.2

    async def __call__(self, environ: Any) -> Any:
        request = environ["aiohttp.request"]
        # On closing, do not wait for a frozen client to read.
        self._sock = _Response(
            max_msg_size=BUFFER, compress=COMPRESSION, timeout=0.5, heartbeat=None
        )
        await self._sock.prepare(request)
        self.handler.__self__.transport = request.transport
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def wait(self) -> Any:
        socket = self.handler.__self__
        try:
            # A client that moves here from polling has to go on, or goes on polling.
            message = await self._sock.receive(None if socket.upgraded else _UPGRADE)
            socket.goodbye = _is_goodbye(message)
            return _data(message)
        except OSError:
            if self._sock.too_big:
                self.server.too_large()
            socket.upgrading = False
            raise

    async def close(self) -> None:
        self.handler.__self__.queue.end()  # nothing more will be written
        await super().close()


def _is_goodbye(message: aiohttp.WSMessage) -> bool:
    """Return whether a client ends its connection on purpose: who has died, or was cut off, closes
    no websocket. A Python client may do so before its disconnect packet is written (on 3.11)."""
    if message.type == aiohttp.WSMsgType.CLOSE:
        return message.data in _ON_PURPOSE
    return bool(message.data == _GOODBYE)


def _data(message: aiohttp.WSMessage) -> Any:
    """Return what is in a message; raise `OSError` for what ends a connection."""
    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        raise OSError("the client has gone")
    data = message.data
    if data in ("", b"", "1", "4") or (isinstance(data, str) and data[0] not in "0123456"):
        raise OSError("a goodbye, or no packet")
    return data


async def _poll(socket: Any) -> list[Any]:
    """Return the packets to send to a client next: to one that polls at most `POLLED`, and to any
    no more than `WRITTEN` bytes beside the first, since what is taken is unread no more."""
    queue, patience = socket.queue, socket.server.ping_interval + socket.server.ping_timeout
    packets: list[Any] = []
    try:
        packet = await asyncio.wait_for(queue.get(), patience)
    except (TimeoutError, asyncio.CancelledError):
        raise QueueEmpty from None
    queue.task_done()
    unread = queue.size
    # Counted while they are taken: more may come meanwhile.
    while packet is not None:
        packets.append(packet)
        most = len(packets) == POLLED and not socket.upgraded
        if most or not queue.qsize() or unread - queue.size > WRITTEN:
            return packets
        packet = queue.get_nowait()
        queue.task_done()
    if packets:  # the end mark, for the next poll
        queue.put_nowait(None)
    return packets
