"""Instrumentation of a python-socketio server: what happens there becomes facts in the journal.

Owns what has to be wrapped of a `socketio.AsyncServer` for that. Must not know: clients of ours,
the stage, reasons, pictures.

Each tap wraps one method of one server object, records facts and counts of work under way, and
calls the original; `detach` removes them all. Taps are on the hot path: no tap does work that only
a reader of the journal needs.

Touches python-socketio 5.18 and python-engineio 4.15: the methods named in `ServerTap._attach`, and
the handlers, rooms, call-backs and sockets that these are about.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import socketio  # type: ignore[import-untyped]
from socketio import packet as socketio_packet

from ..journal.accounting import Link, Recorder, Sending, Tasks, cause, read, sending
from ..journal.activity import Work
from ..journal.facts import (
    SERVER,
    Acknowledged,
    Connected,
    Disconnected,
    Fact,
    Joined,
    Left,
    Received,
    Rejected,
)
from ..journal.journal import preview
from .begun import Begun, whose
from .dispatch import listens
from .wrapping import Wrapped

__all__ = ["ServerTap"]

#: The number of clients that have left whose names are kept, for emits to their sids.
_REMEMBERED = 1_000
_EMIT: Work = ("emit", SERVER, "")
#: How the text of a packet begins that is no acknowledgement.
_TELLING = {
    str(kind)
    for kind in range(len(socketio_packet.packet_names))
    if kind not in (socketio_packet.ACK, socketio_packet.BINARY_ACK)
}


class ServerTap:
    """Instruments one `socketio.AsyncServer` until `detach`.

    `greet` is called with the WSGI environ of a new connection, and returns its `Link`; `begun`:
    the tasks that the server and its clients have begun.
    """

    tasks: Tasks

    def __init__(
        self,
        sio: socketio.AsyncServer,
        recorder: Recorder,
        greet: Callable[[dict[str, Any]], Link],
        begun: Begun,
    ) -> None:
        self.sio = sio
        self._begun = begun
        self.recorder = recorder
        self.greet = greet
        self.links: dict[str, Link] = {}  # by the id of the Engine.IO connection
        self.names: dict[str, str] = {}  # by sid; kept for a while when the client has left
        self.tasks = Tasks()
        self._closed: deque[str] = deque()
        self._left: deque[str] = deque()
        self._by_sid: dict[str, Link] = {}
        self._emitting = 0
        #: Emits that were sent to the clients of this server, and not yet to other servers.
        self._queued: set[int] = set()
        self._handler_began = False
        self._let_in: set[tuple[str, str]] = set()  # sid and namespace of those that were told so
        self._wrapped = Wrapped()
        self._attach()

    def _attach(self) -> None:
        sio, manager, wrapped = self.sio, self.sio.manager, self._wrapped
        wrapped.method(manager, "emit", self._on_emit)
        if hasattr(manager, "_handle_emit"):  # a client manager shared with other servers
            wrapped.method(manager, "_handle_emit", self._on_emit_elsewhere)
        wrapped.method(manager, "_generate_ack_id", self._on_ack_id)
        wrapped.method(manager, "trigger_callback", self._on_callback)
        wrapped.method(manager, "basic_enter_room", self._on_enter_room)
        wrapped.method(manager, "basic_leave_room", self._on_leave_room)
        wrapped.method(sio, "_handle_connect", self._on_connect)
        wrapped.method(sio, "_handle_disconnect", self._on_client_disconnect)
        wrapped.method(sio, "disconnect", self._on_disconnect)
        wrapped.method(sio, "_handle_event_internal", self._on_event_handler)
        wrapped.method(sio.eio, "send_packet", self._on_engine_packet)
        wrapped.method(sio.eio, "start_background_task", self._on_task)
        wrapped.handlers(
            sio.eio,
            {
                "connect": self._on_engine_connect,
                "message": self._on_engine_message,
                "disconnect": self._on_engine_disconnect,
            },
        )

    def detach(self) -> None:
        """Remove all taps."""
        self._wrapped.undo()

    async def shut_down(self) -> None:
        """End all connections, and the server, so that another stage can serve it.

        Also those of guests and of silent clients: Engine.IO's own `disconnect` would wait until
        the other side has read everything, and for handlers that may never end.
        """
        engine = self.sio.eio
        sockets = [*engine.sockets.values()]
        closing = [asyncio.create_task(socket.close(wait=False)) for socket in sockets]
        if closing:
            await asyncio.wait(closing, timeout=0.2)
        for task in closing:
            self.tasks.add(task)
        engine.sockets.clear()
        await self.sio.shutdown()
        engine.start_service_task = True  # else the next stage would not close without clients
        engine.service_task_event = None

    # -- emits and acknowledgements -------------------------------------------------------------

    async def _on_emit(
        self,
        original: Any,
        event: Any,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: Any = None,
        **more: Any,
    ) -> None:
        room = to or room
        if namespace in self.recorder.hidden:
            token = sending.set(Sending(None))  # it may be a part of another emit
            try:
                await original(event, data, namespace, room, skip_sid, callback, **more)
            finally:
                sending.reset(token)
            return
        skipped = skip_sid if isinstance(skip_sid, list) else [skip_sid]
        links = self.links
        recipients = [
            links[eio_sid]
            for sid, eio_sid in self.sio.manager.get_participants(namespace, room)
            if sid not in skipped and eio_sid in links
        ]
        rooms, clients = self._addressed(room, namespace)
        message = self._emitting = self.recorder.emitted(
            SERVER,
            event,
            data,
            namespace,
            rooms,
            clients,
            self._addressed(skipped, namespace)[1],
            tuple([link.name for link in recipients]),
        )
        # The library queues all packets before it first awaits, so `_emitting` holds until then.
        self.recorder.activity.begin(_EMIT)
        now = Sending(message)
        token = sending.set(now)  # for the tasks that send it
        try:
            await original(event, data, namespace, room, skip_sid, callback, **more)
        except Exception:  # it could not be encoded, so nothing was queued
            if message not in self._queued:  # else only other servers did not get it
                self.recorder.journal.retract(message)
            raise
        finally:
            now.message = None
            sending.reset(token)
            self._queued.discard(message)
            self.recorder.activity.end(_EMIT)

    async def _on_emit_elsewhere(self, original: Any, shared: dict[str, Any]) -> None:
        """Record an emit of another server to clients of this one, as an emit of this one."""
        namespace, room, skipped = shared["namespace"], shared["room"], shared["skip_sid"]
        if shared["host_id"] == self.sio.manager.host_id:  # recorded already, by `_on_emit`
            message = self._emitting
            await original(shared)
            self._queued.add(message)
            return
        # An address without clients here may be the sid of a client of another server.
        if room is not None and not any(self.sio.manager.get_participants(namespace, room)):
            await original(shared)
            return
        data = shared["data"]
        if shared.get("binary"):
            attachments = [base64.b64decode(each) for each in data[1:]]
            data = socketio_packet.Packet.reconstruct_binary(data[0], attachments)

        async def emit_unchanged(*_: Any) -> None:
            await original(shared)

        work: Work = ("packet", f"{SERVER} from another server", "")
        self.recorder.activity.begin(work)  # so that settling after the fact waits for this
        try:
            await self._on_emit(
                emit_unchanged, shared["event"], tuple(data), namespace, room, skip_sid=skipped
            )
        finally:
            self.recorder.activity.end(work)

    def _addressed(
        self, room: Any, namespace: str
    ) -> tuple[tuple[str | int, ...], tuple[str, ...]]:
        """Split addresses into rooms and clients, both by name."""
        if room is None:
            return (), ()
        names = self.names
        addresses = room if isinstance(room, (list, tuple)) else (room,)
        valid = self.sio.manager.rooms.get(namespace, {}).get(None, ())
        return (
            tuple([_room(a) for a in addresses if a not in names]),
            tuple(
                [
                    names[a] if a in valid else f"a sid of {names[a]} not valid here"
                    for a in addresses
                    if a in names
                ]
            ),
        )

    def _on_ack_id(self, original: Any, sid: str, callback: Any) -> int:
        number: int = original(sid, callback)
        if link := self._by_sid.get(sid):
            link.acks[sid, number] = self._emitting
        return number

    async def _on_callback(self, original: Any, sid: str, number: int, data: Any) -> None:
        link = self._by_sid.get(sid)
        message = link.acks.pop((sid, number), None) if link else None
        if link and message is not None:
            args = tuple(data) if isinstance(data, list) else (data,)
            self.recorder.journal.append(Acknowledged, message, link.name, preview(args))
        try:
            await original(sid, number, data)
        except Exception as error:
            self.recorder.raised(SERVER, "acknowledgement", error)

    # -- connections ----------------------------------------------------------------------------

    async def _on_engine_connect(self, original: Any, eio_sid: str, environ: Any) -> Any:
        self.links[eio_sid] = self.greet(environ)
        self.tasks.add(asyncio.current_task())  # over a websocket, it serves the whole connection
        connection = self.sio.eio.sockets[eio_sid]
        upgrade = partial(self._on_upgrade, connection._upgrade_websocket)
        connection._upgrade_websocket = upgrade
        return await original(eio_sid, environ)

    async def _on_upgrade(self, original: Any, environ: Any) -> Any:
        self.tasks.add(asyncio.current_task())  # from here on, it serves the connection
        return await original(environ)

    async def _on_engine_disconnect(self, original: Any, eio_sid: str, *reason: Any) -> Any:
        by_client = reason[:1] == (self.sio.eio.reason.CLIENT_DISCONNECT,)
        if by_client:  # then this is the task of a request
            self.tasks.add(asyncio.current_task())
        try:
            return await self._run_as("disconnect", original(eio_sid, *reason))
        finally:
            if link := self.links.get(eio_sid):
                link.server_closed()
                self._closed.append(eio_sid)  # handlers of its last packets may not have begun
                if len(self._closed) > 100:
                    del self.links[self._closed.popleft()]
            if by_client and (connection := self.sio.eio.sockets.get(eio_sid)):
                connection.queue.put_nowait(None)  # ends a poll that waits

    async def _on_connect(self, original: Any, *args: Any) -> None:
        await self._run_as("connect", original(*args))

    async def _on_client_disconnect(
        self, original: Any, eio_sid: str, namespace: Any, reason: Any = None
    ) -> None:
        sid = self.sio.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        reason = reason or self.sio.reason.CLIENT_DISCONNECT
        if reason == self.sio.reason.CLIENT_DISCONNECT:  # then this is the task of a request
            self.tasks.add(asyncio.current_task(), "disconnect")
        self._disconnected(sid, namespace or "/", reason)
        await self._run_as("disconnect", original(eio_sid, namespace, reason))

    async def _on_disconnect(
        self, original: Any, sid: str, namespace: Any = None, **more: Any
    ) -> None:
        self._disconnected(sid, namespace or "/", self.sio.reason.SERVER_DISCONNECT)
        await self._begun.within(original(sid, namespace, **more))

    def _disconnected(self, sid: str, namespace: str, reason: str) -> None:
        if (sid, namespace) in self._let_in:
            self._let_in.remove((sid, namespace))
            self._note(Disconnected, self.names[sid], namespace, reason)

    async def _run_as(self, event: str, handling: Any) -> Any:
        work = ("handler", SERVER, event)
        self.recorder.activity.begin(work)
        try:
            return await self._begun.within(handling)
        except Exception as error:
            self.recorder.raised(SERVER, event, error)
            raise  # the library logs it
        finally:
            self.recorder.activity.end(work)

    def _verdict(self, link: Link, kind: int, namespace: str, data: Any) -> None:
        """Note who was let in and who was not, when the server says so to the client."""
        if kind == socketio_packet.CONNECT:
            self._let_in.add((data["sid"], namespace))
            self._note(Connected, link.name, namespace)
        # `always_connect=True` refuses by a goodbye that carries the reason.
        elif data is not None and kind in (
            socketio_packet.CONNECT_ERROR,
            socketio_packet.DISCONNECT,
        ):
            reason = data.get("message", data) if isinstance(data, dict) else data
            # Anybody may ask for any name: what is kept of a long one is its beginning.
            self._note(Rejected, link.name, namespace[:200], str(reason)[:200])

    def _note(self, kind: type[Fact], name: str, namespace: str, *rest: Any) -> None:
        if namespace not in self.recorder.hidden:
            self.recorder.journal.append(kind, name, namespace, *rest)

    def _on_enter_room(
        self, original: Any, sid: str, namespace: str, room: Any, eio_sid: Any = None
    ) -> None:
        new = not self._inside(sid, namespace, room)
        original(sid, namespace, room, eio_sid)
        if room is None:  # the library's room of all clients: this is where a sid is first seen
            if link := self.links.get(eio_sid):
                self._by_sid[sid] = link
                self.names[sid] = link.name
                link.departed = False
        elif new and room != sid and sid in self.names:
            self._note(Joined, self.names[sid], namespace, _room(room))

    def _on_leave_room(self, original: Any, sid: str, namespace: str, room: Any) -> None:
        inside = self._inside(sid, namespace, room)
        original(sid, namespace, room)
        if room is None:
            if link := self._by_sid.pop(sid, None):
                link.departed = link not in self._by_sid.values()
                self._left.append(sid)
                self._let_in.discard((sid, namespace))
                if len(self._left) > _REMEMBERED:
                    del self.names[self._left.popleft()]
        elif inside and room != sid and sid in self.names:
            gone = (sid, namespace) not in self._let_in
            self._note(Left, self.names[sid], namespace, _room(room), gone)

    def _inside(self, sid: str, namespace: str, room: Any) -> bool:
        return sid in self.sio.manager.rooms.get(namespace, {}).get(room, ())

    def _on_engine_packet(self, original: Any, eio_sid: str, packet: Any) -> Any:
        if link := self.links.get(eio_sid):
            number = sending.get().message
            link.sent_down(self._unseen(link, packet.data) if number is None else number)
        return original(eio_sid, packet)

    def _unseen(self, link: Link, data: Any) -> int | None:
        """Record what this packet says that no emit is known of: who is let in; or an emit that
        came past `_on_emit`, as by somebody who has replaced that method, as one to this client
        alone. Return the number of its message; None: it is no event."""
        packets = self.sio.packet_class
        if packets.uses_binary_events and data[:1] not in _TELLING:
            return None  # the usual case, kept fast: an acknowledgement, or an attachment
        try:
            packet = packets(encoded_packet=data)
        except Exception:  # whatever it is: a class of the reader's own reads it
            return None
        namespace = packet.namespace or "/"
        if packet.packet_type not in (socketio_packet.EVENT, socketio_packet.BINARY_EVENT):
            self._verdict(link, packet.packet_type, namespace, packet.data)
            return None
        if namespace in self.recorder.hidden:
            return None
        event, *arguments = packet.data
        to = (link.name,)
        return self.recorder.emitted(
            SERVER, event, tuple(arguments), namespace, clients=to, recipients=to
        )

    # -- messages from clients ------------------------------------------------------------------

    async def _on_engine_message(self, original: Any, eio_sid: str, data: Any) -> Any:
        link = self.links.get(eio_sid)
        if link is None:
            return await original(eio_sid, data)
        number, incoming = link.read_up(), link.to_server
        self._handler_began = False
        waited, failed = eio_sid in self.sio._binary_packet, None
        read.set(incoming.message() if waited else number)  # for the task of its handler
        try:
            return await original(eio_sid, data)
        except Exception as error:
            emit = self.recorder.emit(number)
            # Attachments from a client that is not in the namespace any more, or is leaving it, are
            # lost, as is all else from it.
            if emit is None or self._is_in(eio_sid, emit.namespace):
                failed = error
            raise  # the library logs it
        finally:
            waits = eio_sid in self.sio._binary_packet
            if waited or waits or failed:
                incoming.taken(number, failed, waited=waited, waits=waits)
            if self._handler_began:  # the packet counts as on the way until its task ends
                self._handler_began = False
            else:
                link.arrived_up()

    def _is_in(self, eio_sid: str, namespace: str) -> bool:
        manager = self.sio.manager
        sid = manager.sid_from_eio_sid(eio_sid, namespace)
        return bool(manager.is_connected(sid, namespace))

    def _on_task(self, original: Any, target: Any, *args: Any, **more: Any) -> Any:
        begin = original if whose.get() is self._begun else partial(self._begun.call, original)
        task = begin(target, *args, **more)
        if target is self.sio._handle_event_internal:
            self._handler_began = True
            if not task.done():  # or else it has begun, and ended, at once
                self.tasks[task] = str(_event(args[3]))  # removed in `_on_event_handler`
        else:
            self.tasks.add(task)
        return task

    async def _on_event_handler(self, original: Any, *args: Any) -> None:
        _, _, eio_sid, data, namespace, _ = args
        link = self.links.get(eio_sid)
        if link is None:
            self.tasks.pop(asyncio.current_task(), None)
            await original(*args)
            return
        event = _event(data)
        message: int | None = None
        if namespace in self.recorder.hidden:
            pass
        elif not link.watched:
            rest = tuple(data[1:]) if isinstance(data, list) else data
            message = self.recorder.emitted(link.name, event, rest, namespace)
        else:
            message = read.get()
        if message is not None:
            handled = listens(self.sio, event, namespace)
            self.recorder.journal.append(Received, message, SERVER, handled)
        token = cause.set(message)
        try:
            await original(*args)
        except Exception as error:
            # Swallowed here, shown at settle: the library's task is not awaited.
            self.recorder.raised(SERVER, str(event), error)
        finally:
            if self.sio.async_handlers:
                link.arrived_up()
                self.tasks.pop(asyncio.current_task(), None)
            else:  # no task of its own: the connection's task handles the next message
                cause.reset(token)


def _room(name: Any) -> str | int:
    # Plain values only. A number stays one: to the library, the rooms 17 and "17" are two.
    return name if isinstance(name, (str, int)) else str(name)


def _event(data: Any) -> Any:
    """Return the event of a packet's data; "" if the data has none."""
    return data[0] if isinstance(data, list) and data else ""
