"""How a python-socketio server and its clients are watched.

Owns every touch on the inside of python-socketio: this is the one file to read when a new version
of it comes out (`tests/test_taps.py` names the attributes it needs). It turns what happens into
facts for the journal and into counts for settling. Must not know: the stage, reasons, pictures.

How a send finds its receipt. A connection delivers in order, so each direction of a connection
has one queue of message numbers for each namespace: a number goes in when the library is about to
queue the packet, and comes out when the other side takes the packet in.

How facts get names. A client of ours says its name in a header of its first request.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import socket
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import engineio  # type: ignore[import-untyped]
import socketio  # type: ignore[import-untyped]
from engineio import packet as engineio_packet
from socketio import packet as socketio_packet

from .journal import (
    SERVER,
    Acknowledged,
    Connected,
    Disconnected,
    Emitted,
    Froze,
    HungUp,
    Joined,
    Journal,
    Left,
    Raised,
    Received,
    Refused,
    Thawed,
    preview,
)
from .settle import Activity, Work
from .wire import Tape

__all__ = ["NAME_HEADER", "Client", "Link", "Recorder", "ServerTap", "cancel"]

NAME_HEADER = "X-Chatq-Name"

#: The number of the message whose handler is running here.
_cause: contextvars.ContextVar[int | None] = contextvars.ContextVar("chatq_cause", default=None)


class Recorder:
    """Where the taps of one stage write: the journal, the activity, and the handlers' errors."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.activity = Activity()
        self.failures: list[tuple[Raised, Exception]] = []

    def raised(self, who: str, event: str, error: Exception) -> None:
        """Note that a handler ended with `error`; settling will show it."""
        fact = Raised(who, event, f"{type(error).__name__}: {error}", _cause.get())
        self.failures.append((fact, error))
        self.journal.append(fact)

    def emitted(self, sender: str, event: object, data: object, namespace: str, **to: Any) -> int:
        """Note an emit; returns the number of its message."""
        # A tuple is several arguments and None is no argument, as in python-socketio.
        args = data if isinstance(data, tuple) else () if data is None else (data,)
        number = self.journal.number()
        self.journal.append(
            Emitted(
                number, sender, str(event), preview(args), namespace, cause=_cause.get(), **to
            )
        )
        return number


class Link:
    """One connection: what is on the way over it, and which of its two ends are still there."""

    def __init__(self, name: str, activity: Activity, *, watched: bool) -> None:
        self.name = name
        self.activity = activity
        #: False for a client of somebody else: only the server's end of it can be seen.
        self.watched = watched
        self.to_client: dict[str, deque[int]] = defaultdict(deque)
        self.to_server: dict[str, deque[int]] = defaultdict(deque)
        self.acks: dict[tuple[str, int], int] = {}
        self.server_open = True
        self.client_open = False
        self.frozen = False
        self._leaving = False
        self._down = self._up = 0
        self._down_work: Work = ("packet", name, "")
        self._up_work: Work = ("packet", f"{SERVER} from {name}", "")
        self._goodbye: Work = ("goodbye", name, "")

    def client_opened(self) -> None:
        """The client's end is there."""
        self.client_open = True
        if not self.server_open:
            self.leaving()

    def sent_down(self) -> None:
        """The server queued a packet for the client."""
        if self.client_open:
            self._down += 1
            if not self.frozen:
                self.activity.begin(self._down_work)

    def arrived_down(self) -> None:
        """The client read a packet."""
        if self._down:
            self._down -= 1
            if not self.frozen:
                self.activity.end(self._down_work)

    def sent_up(self) -> None:
        """The client queued a packet for the server."""
        if self.server_open:
            self._up += 1
            self.activity.begin(self._up_work)

    def arrived_up(self) -> None:
        """The server read a packet."""
        if self._up:
            self._up -= 1
            self.activity.end(self._up_work)

    def server_closed(self) -> None:
        """The server's end is gone: it reads nothing any more."""
        if self.server_open:
            self.server_open = False
            self.activity.end(self._up_work, self._up)
            self._up = 0
            self.leaving()

    def client_closed(self) -> None:
        """The client's end is gone: it reads nothing any more."""
        if self.client_open:
            self.freeze(False)
            self.client_open = False
            self.activity.end(self._down_work, self._down)
            self._down = 0
            self.leaving()

    def leaving(self) -> None:
        """The connection is ending: under way from now until both ends know it."""
        begun, self._leaving = self._leaving, self.server_open or self.client_open
        if self._leaving == begun or self.frozen or not self.watched:
            return
        count = self.activity.begin if self._leaving else self.activity.end
        count(self._goodbye)

    def freeze(self, frozen: bool) -> None:
        """A frozen client takes nothing in: what waits for it is not under way until it thaws."""
        if frozen == self.frozen or not self.client_open:
            return
        self.frozen = frozen
        count = self.activity.end if frozen else self.activity.begin
        count(self._down_work, self._down)
        if self._leaving:
            count(self._goodbye)


class ServerTap:
    """Watches one `socketio.AsyncServer` until `detach`.

    `greet` is given the WSGI environ of a new connection; it returns the link for it.
    """

    def __init__(
        self,
        sio: socketio.AsyncServer,
        recorder: Recorder,
        greet: Callable[[dict[str, Any]], Link],
    ) -> None:
        self.sio = sio
        self.recorder = recorder
        self.greet = greet
        self.links: dict[str, Link] = {}  # by the id of the Engine.IO connection
        self.names: dict[str, str] = {}  # by sid; kept when the client has left
        self.tasks: set[asyncio.Future[Any]] = set()
        self._by_sid: dict[str, Link] = {}
        self._emitting = 0
        self._undo: list[Callable[[], None]] = []
        self._attach()

    def _attach(self) -> None:
        sio, manager = self.sio, self.sio.manager
        self._wrap(manager, "emit", self._on_emit)
        self._wrap(manager, "_generate_ack_id", self._on_ack_id)
        self._wrap(manager, "trigger_callback", self._on_callback)
        self._wrap(manager, "connect", self._on_connected)
        self._wrap(manager, "basic_enter_room", self._on_enter_room)
        self._wrap(manager, "basic_leave_room", self._on_leave_room)
        self._wrap(sio, "_handle_connect", self._on_connect)
        self._wrap(sio, "_handle_disconnect", self._on_disconnect)
        self._wrap(sio, "_handle_event", self._on_event)
        self._wrap(sio, "_handle_event_internal", self._on_event_handler)
        self._wrap(sio, "_trigger_event", self._on_trigger_event)
        self._wrap(sio, "_send_packet", self._on_packet)
        self._wrap(sio.eio, "send_packet", self._on_engine_packet)
        self._wrap(sio.eio, "start_background_task", self._on_task)
        self._wrap_engine("connect", self._on_engine_connect)
        self._wrap_engine("message", self._on_engine_message)
        self._wrap_engine("disconnect", self._on_engine_disconnect)

    def _wrap(self, target: Any, name: str, tap: Any) -> None:
        original = getattr(target, name)
        before = vars(target).get(name)

        def undo() -> None:
            if before is None:
                delattr(target, name)
            else:
                setattr(target, name, before)

        setattr(target, name, functools.partial(tap, original))
        self._undo.append(undo)

    def _wrap_engine(self, event: str, tap: Any) -> None:
        original = self.sio.eio.handlers[event]
        self.sio.eio.on(event, functools.partial(tap, original))
        self._undo.append(lambda: self.sio.eio.on(event, original))

    def detach(self) -> None:
        """Give the server back as it was."""
        while self._undo:
            self._undo.pop()()

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
        skipped = skip_sid if isinstance(skip_sid, list) else [skip_sid]
        links = [
            self.links[eio_sid]
            for sid, eio_sid in self.sio.manager.get_participants(namespace, to or room)
            if sid not in skipped and eio_sid in self.links
        ]
        rooms, clients = self._addressed(to or room)
        message = self._emitting = self.recorder.emitted(
            SERVER,
            event,
            data,
            namespace,
            rooms=rooms,
            clients=clients,
            skipped=tuple([self.names[sid] for sid in skipped if sid in self.names]),
            recipients=tuple([link.name for link in links]),
        )
        for link in links:
            if link.client_open:
                link.to_client[namespace].append(message)
        # The library queues all packets before it first lets go, so `_emitting` holds until then.
        await original(event, data, namespace, room, skip_sid, callback, to, **more)

    def _addressed(self, room: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if room is None:
            return (), ()
        rooms: Sequence[Any] = room if isinstance(room, (list, tuple, set)) else [room]
        names = self.names
        return (
            tuple([str(r) for r in rooms if r not in names]),
            tuple([names[r] for r in rooms if r in names]),
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
            self.recorder.journal.append(Acknowledged(message, link.name, preview(args)))
        try:
            await original(sid, number, data)
        except Exception as error:
            self.recorder.raised(SERVER, "acknowledgement", error)

    # -- coming and going -----------------------------------------------------------------------

    async def _on_engine_connect(self, original: Any, eio_sid: str, environ: Any) -> Any:
        self.links[eio_sid] = self.greet(environ)
        return await original(eio_sid, environ)

    async def _on_engine_disconnect(self, original: Any, eio_sid: str, *reason: Any) -> Any:
        link = self.links.get(eio_sid)
        if link is None:
            return await original(eio_sid, *reason)
        work: Work = ("handler", SERVER, "disconnect")
        self.recorder.activity.begin(work)
        try:
            return await original(eio_sid, *reason)
        finally:
            link.server_closed()
            self.links.pop(eio_sid, None)
            self.recorder.activity.end(work)

    async def _on_connect(
        self, original: Any, eio_sid: str, namespace: Any, data: Any
    ) -> None:
        await self._guard("connect", original(eio_sid, namespace, data))

    async def _on_disconnect(self, original: Any, *args: Any, **more: Any) -> None:
        await self._guard("disconnect", original(*args, **more))

    async def _guard(self, event: str, work: Any) -> None:
        try:
            await work
        except Exception as error:
            self.recorder.raised(SERVER, event, error)
            raise

    async def _on_connected(self, original: Any, sid: str, namespace: str) -> Any:
        result = await original(sid, namespace)
        if sid in self.names:
            self.recorder.journal.append(Connected(self.names[sid], namespace))
        return result

    def _on_enter_room(
        self, original: Any, sid: str, namespace: str, room: Any, eio_sid: Any = None
    ) -> None:
        inside = self.sio.manager.rooms.get(namespace, {}).get(room, ())
        news = sid not in inside
        original(sid, namespace, room, eio_sid)
        if room is None:
            if link := self.links.get(eio_sid):
                self._by_sid[sid] = link
                self.names[sid] = link.name
        elif news and room != sid and sid in self.names:
            self.recorder.journal.append(Joined(self.names[sid], namespace, str(room)))

    def _on_leave_room(self, original: Any, sid: str, namespace: str, room: Any) -> None:
        inside = sid in self.sio.manager.rooms.get(namespace, {}).get(room, ())
        original(sid, namespace, room)
        if room is None:
            self._by_sid.pop(sid, None)
        elif inside and room != sid and sid in self.names:
            self.recorder.journal.append(Left(self.names[sid], namespace, str(room)))

    def _on_trigger_event(self, original: Any, event: str, namespace: str, *args: Any) -> Any:
        if event == "disconnect" and args and args[0] in self.names:
            reason = str(args[1]) if len(args) > 1 else ""
            self.recorder.journal.append(Disconnected(self.names[args[0]], namespace, reason))
        return original(event, namespace, *args)

    def _on_packet(self, original: Any, eio_sid: str, packet: Any) -> Any:
        # `always_connect=True` refuses by a goodbye that carries the reason.
        refused = packet.packet_type == socketio_packet.CONNECT_ERROR or (
            packet.packet_type == socketio_packet.DISCONNECT and packet.data is not None
        )
        if refused and (link := self.links.get(eio_sid)):
            reason = packet.data
            reason = reason.get("message", reason) if isinstance(reason, dict) else reason
            self.recorder.journal.append(Refused(link.name, packet.namespace or "/", str(reason)))
        return original(eio_sid, packet)

    def _on_engine_packet(self, original: Any, eio_sid: str, packet: Any) -> Any:
        if link := self.links.get(eio_sid):
            link.sent_down()
        return original(eio_sid, packet)

    # -- messages from clients ------------------------------------------------------------------

    async def _on_engine_message(self, original: Any, eio_sid: str, data: Any) -> Any:
        link = self.links.get(eio_sid)
        activity = self.recorder.activity
        work: Work = ("reading", SERVER, "")
        activity.begin(work)
        if link:
            link.arrived_up()
        try:
            return await original(eio_sid, data)
        finally:
            activity.end(work)

    async def _on_event(
        self, original: Any, eio_sid: str, namespace: Any, number: Any, data: Any
    ) -> None:
        namespace = namespace or "/"
        link = self.links.get(eio_sid)
        sid = self.sio.manager.sid_from_eio_sid(eio_sid, namespace)
        event = data[0] if isinstance(data, list) and data else None
        if link is None or event is None:
            return await original(eio_sid, namespace, number, data)
        message = self._message(link, namespace, data)
        if message is None or not self.sio.manager.is_connected(sid, namespace):
            return await original(eio_sid, namespace, number, data)  # the library drops it
        handled = _listens(self.sio, event, namespace)
        self.recorder.journal.append(Received(message, SERVER, handled))
        if not self.sio.async_handlers:
            return await self._handle(message, original, eio_sid, namespace, number, data)
        self.recorder.activity.begin(("handler", SERVER, str(event)))
        await self._handle(message, original, eio_sid, namespace, number, data)

    async def _handle(self, message: int, original: Any, *args: Any) -> None:
        token = _cause.set(message)  # the task that the library starts for the handler inherits it
        try:
            await original(*args)
        finally:
            _cause.reset(token)

    def _message(self, link: Link, namespace: str, data: list[Any]) -> int | None:
        if link.watched:
            waiting = link.to_server[namespace]
            return waiting.popleft() if waiting else None
        return self.recorder.emitted(
            link.name, data[0], tuple(data[1:]), namespace, recipients=(SERVER,)
        )

    async def _on_event_handler(self, original: Any, *args: Any) -> None:
        event = str(args[3][0])
        try:
            await original(*args)
        except Exception as error:
            # Swallowed here, shown at settle: nobody awaits the library's task.
            self.recorder.raised(SERVER, event, error)
        finally:
            if self.sio.async_handlers and _cause.get() is not None:
                self.recorder.activity.end(("handler", SERVER, event))

    def _on_task(self, original: Any, *args: Any, **more: Any) -> Any:
        task = original(*args, **more)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class Client(socketio.AsyncClient):  # type: ignore[misc]
    """A `socketio.AsyncClient` with a name, watched by a stage.

    It connects to the stage's server over a websocket unless told otherwise, and it does not
    connect again by itself unless made with `reconnection=True`.
    """

    def __init__(self, name: str, url: str, recorder: Recorder, **options: Any) -> None:
        self.name = name
        self.tape = Tape()
        self.link: Link | None = None
        self.tasks: set[asyncio.Future[Any]] = set()
        self._url = url
        self._recorder = recorder
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._emitting = 0
        self.tape.gate = self._gate  # type: ignore[method-assign]
        options = {"reconnection": False, "handle_sigint": False, **options}
        super().__init__(http_session=self.tape.session, **options)

    def __repr__(self) -> str:
        return f"<client {self.name}>"

    def _engineio_client_class(self) -> Any:
        def make(**options: Any) -> _EngineClient:
            return _EngineClient(self, **options)

        return make

    async def connect(
        self,
        url: Any = "",
        headers: Any = None,
        auth: Any = None,
        transports: Any = None,
        **options: Any,
    ) -> None:
        """Connect as `socketio.AsyncClient.connect` does.

        `url` defaults to the stage's server, `transports` to ["websocket"].
        """
        connecting = super().connect(
            url or self._url,
            headers={**(headers or {}), NAME_HEADER: self.name},
            auth=auth,
            transports=transports or ["websocket"],
            **options,
        )
        # In an empty context, what handlers print later belongs to the cell that then runs, not
        # to the cell that connected.
        await asyncio.create_task(connecting, context=contextvars.Context())

    async def emit(
        self, event: Any, data: Any = None, namespace: Any = None, callback: Any = None
    ) -> None:
        """Emit to the server, as `socketio.AsyncClient.emit` does."""
        namespace = namespace or "/"
        if self.link and namespace in self.namespaces:
            message = self._emitting = self._recorder.emitted(
                self.name, event, data, namespace, recipients=(SERVER,)
            )
            if self.link.server_open:
                self.link.to_server[namespace].append(message)
        await super().emit(event, data, namespace, callback)

    async def disconnect(self) -> None:
        """Disconnect from the server, as `socketio.AsyncClient.disconnect` does."""
        if self.connected:
            self._recorder.journal.append(HungUp(self.name))
        await super().disconnect()

    def _generate_ack_id(self, namespace: str, callback: Any) -> int:
        number: int = super()._generate_ack_id(namespace, callback)
        if self.link:
            self.link.acks[namespace, number] = self._emitting
        return number

    async def _handle_eio_connect(self) -> None:
        if self.link:
            self.link.client_opened()
        await super()._handle_eio_connect()

    async def _handle_eio_message(self, data: Any) -> None:
        try:
            await super()._handle_eio_message(data)
        finally:
            self._recorder.activity.end(("reading", self.name, ""))

    async def _handle_eio_disconnect(self, *reason: Any) -> None:
        work: Work = ("handler", self.name, "disconnect")
        self._recorder.activity.begin(work)
        if self.link:
            self.link.client_closed()
        try:
            await super()._handle_eio_disconnect(*reason)
        finally:
            self._recorder.activity.end(work)

    async def _handle_event(self, namespace: Any, id: Any, data: Any) -> None:
        link = self.link
        waiting = link.to_client[namespace or "/"] if link else None
        if not waiting:
            return await super()._handle_event(namespace, id, data)  # type: ignore[no-any-return]
        message = waiting.popleft()
        event = data[0]
        handled = _listens(self, event, namespace or "/")
        self._recorder.journal.append(Received(message, self.name, handled))
        _cause.set(message)  # the library runs each message in a task of its own
        work: Work = ("handler", self.name, event)
        self._recorder.activity.begin(work)
        try:
            await super()._handle_event(namespace, id, data)
        except Exception:
            pass  # noted by `_trigger_event`, shown at settle: nobody awaits the library's task
        finally:
            self._recorder.activity.end(work)

    async def _handle_ack(self, namespace: Any, id: Any, data: Any) -> None:
        if self.link:
            message = self.link.acks.pop((namespace or "/", id), None)
            if message is not None:
                fact = Acknowledged(message, SERVER, preview(tuple(data)))
                self._recorder.journal.append(fact)
        try:
            await super()._handle_ack(namespace, id, data)
        except Exception as error:
            self._recorder.raised(self.name, "acknowledgement", error)

    async def _trigger_event(self, event: str, namespace: Any, *args: Any) -> Any:
        try:
            return await super()._trigger_event(event, namespace, *args)
        except Exception as error:
            self._recorder.raised(self.name, event, error)
            if event not in self.reserved_events:
                raise
            return None

    # -- faults ---------------------------------------------------------------------------------

    async def _gate(self) -> None:
        while not self._thawed.is_set():
            try:
                await self._thawed.wait()
            except asyncio.CancelledError:
                # Engine.IO's time-out for a silent server. A frozen process has no clock either;
                # whoever ends the client thaws it first.
                if self._thawed.is_set():
                    raise

    def freeze(self) -> None:
        """Stop taking anything in, as a suspended process does: not even a ping is answered."""
        link = self._websocket("freeze")
        if self._thawed.is_set():
            self._thawed.clear()
            link.freeze(True)
            self._recorder.journal.append(Froze(self.name))

    def thaw(self) -> None:
        """Go on where `freeze` stopped."""
        if not self._thawed.is_set():
            self._recorder.journal.append(Thawed(self.name))
            if self.link:
                self.link.freeze(False)
            self._thawed.set()

    def cut(self) -> None:
        """End the connection without a goodbye, as a process that dies does."""
        self._websocket("cut").leaving()
        assert self.eio.ws is not None
        wire: Any = self.eio.ws.get_extra_info("socket")
        wire.shutdown(socket.SHUT_RDWR)

    def _websocket(self, what: str) -> Link:
        if self.link is None or not self.connected:
            raise RuntimeError(f"cannot {what} {self.name}: it is not connected")
        if self.transport() != "websocket":
            raise RuntimeError(
                f"cannot {what} {self.name}: it polls, so there is no connection to {what}; "
                'connect it with transports=["websocket"]'
            )
        return self.link

    async def hang_up(self) -> None:
        """Disconnect in well under a second, whatever state the client is in."""
        self.thaw()
        if self._reconnect_task:
            await self.shutdown()
        if self.eio.state == "connected" and self.eio.transport() == "polling":
            # A polling client's own `disconnect` waits for the answer to its open poll.
            for task in (self.eio.read_loop_task, self.eio.write_loop_task):
                if task:
                    task.cancel()
            await self.eio.disconnect(abort=True)
        elif self.eio.state == "connected":
            await self.disconnect()
        await cancel(self.tasks)  # handlers that never end


class _EngineClient(engineio.AsyncClient):  # type: ignore[misc]
    """Engine.IO's client; it counts the packets that its Socket.IO client sends and reads."""

    def __init__(self, owner: Client, **options: Any) -> None:
        super().__init__(**options)
        self._owner = owner

    def send(self, data: Any) -> Any:
        if self._owner.link and self.state == "connected":
            self._owner.link.sent_up()
        return super().send(data)

    def start_background_task(self, target: Any, *args: Any, **more: Any) -> Any:
        task = super().start_background_task(target, *args, **more)
        self._owner.tasks.add(task)
        task.add_done_callback(self._owner.tasks.discard)
        return task

    def _receive_packet(self, pkt: Any) -> Any:
        if pkt.packet_type == engineio_packet.MESSAGE and self._owner.link:
            # Counted here, where it is read: its handler's task has not begun yet.
            self._owner._recorder.activity.begin(("reading", self._owner.name, ""))
            self._owner.link.arrived_down()
        return super()._receive_packet(pkt)


async def cancel(tasks: set[asyncio.Future[Any]]) -> None:
    """Cancel those of `tasks` that are not done, and wait until they have ended."""
    running = [task for task in tasks if not task.done() and task is not asyncio.current_task()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def _listens(side: Any, event: str, namespace: str) -> bool:
    """Whether a handler of this server or client listens to `event`."""
    if side._get_event_handler(event, namespace, ())[0] is not None:
        return True
    handler = side._get_namespace_handler(namespace, ())[0]
    if handler is None:
        return False
    own = type(handler).trigger_event
    generic = (socketio.AsyncNamespace.trigger_event, socketio.AsyncClientNamespace.trigger_event)
    return own not in generic or hasattr(handler, f"on_{event}")
