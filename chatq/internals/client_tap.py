"""A `socketio.AsyncClient` with a name, which records facts at its end of the connection.

Owns what has to be overridden of a `socketio.AsyncClient` for that, and the faults a client can
have: frozen, cut off. Must not know: the server's tap, the stage, reasons, pictures.

It sends its name in a header of its first request, so that the server's tap knows it, too.

Touches python-socketio 5.18 and python-engineio 4.15: the methods that `Client` and `_EngineClient`
override, and the connection's state, queue, tasks and websocket.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import engineio  # type: ignore[import-untyped]
import socketio  # type: ignore[import-untyped]
from engineio import packet as engineio_packet
from socketio import packet as socketio_packet

from ..journal.accounting import Link, Recorder, Sending, Tasks, cause, read, sending
from ..journal.activity import Work
from ..journal.facts import SERVER, Acknowledged, Ended, Froze, HungUp, Received, Thawed
from ..journal.journal import preview
from ..waiting import give_way
from .begun import Begun
from .dispatch import listens
from .network import cut
from .other_server_tap import OtherServer
from .tape import Tape

__all__ = ["NAME_HEADER", "Client", "connect_options", "own_json"]

NAME_HEADER = "X-Chatq-Name"
#: For how long a client that hangs up waits for a server that does not read, in seconds.
_UNREAD = 2.0


def connect_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into those of `socketio.AsyncClient.connect`, and those of the class itself.

    Raises `TypeError` for what is neither.
    """
    of_connect = _parameters(socketio.AsyncClient.connect)
    # What the class does not know it hands on to Engine.IO.
    of_client = (
        _parameters(socketio.AsyncClient) | _parameters(engineio.AsyncClient) | {"engineio_logger"}
    )
    for name in options:
        if name not in of_connect | of_client:
            raise TypeError(
                f"a client has no option {name!r}: it takes those of socketio.AsyncClient and of "
                "its `connect`"
            )
    dialling = {name: value for name, value in options.items() if name in of_connect}
    return dialling, {name: value for name, value in options.items() if name not in of_connect}


def own_json(serializer: Any, json: Any) -> Any:
    """Return a class of packets with a module `json` of their own; `serializer`: a class, or one of
    python-socketio's names for it."""
    if serializer == "msgpack":
        from socketio.msgpack_packet import MsgPackPacket  # type: ignore[import-untyped]

        serializer = MsgPackPacket
    packet_class = socketio_packet.Packet if serializer == "default" else serializer
    return type(packet_class.__name__, (packet_class,), {"json": json})


def _parameters(function: Any) -> set[str]:
    return {*inspect.signature(function).parameters} - {"self", "kwargs"}


class Client(socketio.AsyncClient):  # type: ignore[misc]
    """A `socketio.AsyncClient` with a name, watched by a stage.

    By default it connects to the stage's server over a websocket, and does not reconnect by itself
    (`reconnection=True` changes that). Of a connection to another server its own end is recorded.
    """

    tape: Tape
    tasks: Tasks

    def __init__(
        self,
        name: str,
        url: str,
        path: str,
        recorder: Recorder,
        begun: Begun,
        find: Callable[[Any], Awaitable[Any]],
        **options: Any,
    ) -> None:
        self.name = name
        #: Returns the present address of what is given as a url in place of an address.
        self._find = find
        self.begun = begun
        self.tape = Tape()
        #: Of its newest connection; None: of that nobody has told yet whose server it is.
        self.link: Link | None = None
        self.tasks = Tasks()
        self.recorder = recorder
        self._url, self._path = url, path
        #: Headers for the stage's server, and for no other; and those of the present connection.
        self.own_headers: dict[str, str] = {}
        self.presented: dict[str, str] = {}
        self.dialled: dict[str, Any] = {}
        #: The namespaces that the server has ended: what it sends there afterwards is not read, as
        #: by a browser's client. (How much still arrives depends on turns of the event loop.)
        self._left: set[str] = set()
        #: Whether its frames are recorded: those of an HTTP session of the reader's own are not.
        self.recorded = options.get("http_session") is None
        # The library's SIGINT handler would take Jupyter's "interrupt" away from the kernel.
        options = {"reconnection": False, "handle_sigint": False, **options}
        super().__init__(**options)

    def __repr__(self) -> str:
        return f"<client {self.name}>"

    def _engineio_client_class(self) -> Any:
        def make(**options: Any) -> _EngineClient:
            return _EngineClient(self, **options)

        return make

    async def connect(
        self,
        url: Any = None,
        headers: Any = None,
        auth: Any = None,
        transports: Any = None,
        **options: Any,
    ) -> None:
        """Connect as `socketio.AsyncClient.connect` does.

        `url` may be a process, too, whose address is looked up each time. It defaults to the
        stage's server, `transports` to ["websocket"], `wait_timeout` to 5: on a busy machine, the
        library's one second is short. Raises `ValueError` for an empty `url`, or a process that
        has printed no address.
        """
        if url == "":
            raise ValueError(f"{self.name} cannot connect to an empty url: has its server begun?")
        self.tape.dead = False
        self._left.clear()
        given = {"url": url, "headers": headers, "auth": auth, "transports": transports}
        known = {name: value for name, value in given.items() if value is not None}
        #: The arguments of the last `connect`, but for those that were left out.
        self.dialled = {**known, **options}
        options.setdefault("wait_timeout", 5)
        if url is None:  # the stage's server may be at a path of its own
            options.setdefault("socketio_path", self._path)
        self.presented = self.own_headers if url is None else {}
        connecting = super().connect(
            url or self._url,
            headers=self._named(headers),
            auth=auth,
            transports=transports or ["websocket"],
            **options,
        )
        work: Work = ("connecting", self.name, "")
        self.recorder.activity.begin(work)  # also when it connects again by itself
        try:
            dialling = self.begun.task(connecting)
            self.tasks.add(dialling)
            await dialling
        finally:
            self.recorder.activity.end(work)

    async def _get_real_value(self, value: Any) -> Any:
        # Here, so that the library keeps what was given, and asks again when it reconnects.
        return await self._find(await super()._get_real_value(value))

    def start_background_task(self, target: Any, *args: Any, **more: Any) -> Any:
        """Begin a task, as `socketio.AsyncClient.start_background_task` does."""
        return self.begun.call(super().start_background_task, target, *args, **more)

    def _named(self, headers: Any) -> Any:
        """Return these headers with the one for the client's name; like these, they may be a
        function that is asked at each connection."""
        if not callable(headers):
            return {**(headers or {}), **self.presented, NAME_HEADER: self.name}

        async def named() -> dict[str, str]:
            given = headers()
            return {
                **(await given if inspect.isawaitable(given) else given),
                **self._named(None),
            }

        return named

    async def disconnect(self) -> None:
        """Disconnect from the server, as `socketio.AsyncClient.disconnect` does.

        Raises `RuntimeError` while the client is frozen.
        """
        if self.tape.frozen:
            raise RuntimeError(
                f"{self.name} is frozen and cannot say goodbye: thaw it first, or cut it"
            )
        if self.eio.state == "connected":
            self.recorder.journal.append(HungUp, self.name)
        await super().disconnect()

    async def emit(
        self, event: Any, data: Any = None, namespace: Any = None, callback: Any = None
    ) -> None:
        """Emit to the server, as `socketio.AsyncClient.emit` does.

        Raises `RuntimeError` while the client is frozen.
        """
        if self.tape.frozen and cause.get() is None:  # a running handler may end
            raise RuntimeError(f"{self.name} is frozen and cannot emit {event!r}: thaw it first")
        link, namespace = self.link, namespace or "/"
        absent = namespace not in self.namespaces
        if link is None or absent or namespace in self.recorder.hidden:
            await super().emit(event, data, namespace, callback)  # which raises if it is absent
            return
        message = self.recorder.emitted(
            self.name, event, data, namespace, recipients=link.recipients
        )
        if callback is not None:
            callback = self._recording(message, link.server, callback)
        now = Sending(message)
        token = sending.set(now)
        try:
            await super().emit(event, data, namespace, callback)
        except Exception:  # it could not be encoded, so it was not queued
            self.recorder.journal.retract(message)
            raise
        finally:
            now.message = None
            sending.reset(token)

    def _recording(self, message: int, server: str, callback: Any) -> Any:
        """Return a call-back that records the acknowledgement of `message` by `server`, then calls
        `callback`."""

        async def record(*data: Any) -> None:
            self.recorder.journal.append(Acknowledged, message, server, preview(data))
            result = callback(*data)
            if inspect.iscoroutine(result):
                await result

        return record

    async def _handle_eio_connect(self) -> None:
        if self.link is None:  # no server of a stage has greeted it
            self.link = OtherServer(self, self.recorder, self.eio.url)
        self.link.client_opened()
        await super()._handle_eio_connect()

    async def _handle_eio_message(self, data: Any) -> None:
        link, number = self.link, read.get()
        waited = self._binary_packet is not None
        if link and waited:
            read.set(link.to_client.message())
        failed = None
        try:
            await super()._handle_eio_message(data)
        except Exception as error:  # other handlers' errors are caught below
            failed = error
            if number is None and (link is None or link.server == SERVER):
                self.recorder.raised(self.name, "acknowledgement", error)
        finally:
            if link:
                waits = self._binary_packet is not None
                if waited or waits or failed:
                    link.to_client.taken(number, failed, waited=waited, waits=waits)
                link.arrived_down()

    async def _handle_eio_disconnect(self, *reason: Any) -> None:
        work: Work = ("handler", self.name, "disconnect")
        self.recorder.activity.begin(work)
        if self.link:
            self.link.client_closed(*reason[:1])
            self.recorder.journal.append(Ended, self.name)
        try:
            await self._run_as("disconnect", super()._handle_eio_disconnect(*reason))
        finally:
            self.recorder.activity.end(work)

    async def _handle_event(self, namespace: Any, id: Any, data: Any) -> None:
        if (namespace or "/") in self._left:
            return
        message = read.get()
        if message is None:
            await super()._handle_event(namespace, id, data)
            return
        event = str(data[0])
        handled = listens(self, data[0], namespace or "/")
        self.recorder.journal.append(Received, message, self.name, handled)
        cause.set(message)  # the library runs each message in a task of its own
        task: Any = asyncio.current_task()
        self.tasks[task] = event
        try:
            await super()._handle_event(namespace, id, data)
        except Exception as error:
            # Swallowed here, shown at settle: the library's task is not awaited.
            self.recorder.raised(self.name, event, error)
        finally:
            del self.tasks[task]

    async def _handle_connect(self, namespace: Any, data: Any) -> None:
        self._left.discard(namespace or "/")
        handling = super()._handle_connect(namespace, data)
        await self._run_as("connect", handling, asyncio.current_task())

    async def _handle_disconnect(self, namespace: Any) -> None:
        self._left.add(namespace or "/")
        handling = super()._handle_disconnect(namespace)
        await self._run_as("disconnect", handling, asyncio.current_task())

    async def _handle_error(self, *args: Any) -> None:
        await self._run_as("connect_error", super()._handle_error(*args), asyncio.current_task())

    async def _run_as(self, event: str, handling: Any, task: Any = None) -> None:
        if task is not None:  # the library's own, not that of the caller of `disconnect`
            self.tasks.add(task, event)
        try:
            await self.begun.within(handling)
        except Exception as error:
            self.recorder.raised(self.name, event, error)

    # -- faults ---------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop reading, as a suspended process does: not even a ping is answered.

        Raises `RuntimeError` if it is not connected over a websocket, or has an HTTP session of its
        own.
        """
        self.check_recorded("freeze it")
        link = self._websocket("freeze")
        if not self.tape.frozen:
            self.tape.freeze(True)
            link.freeze(True)
            self.recorder.journal.append(Froze, self.name)

    def thaw(self) -> None:
        """Resume reading after `freeze`."""
        if self.tape.frozen:
            self.recorder.journal.append(Thawed, self.name)
            if self.link:
                self.link.freeze(False)
            self.tape.freeze(False)

    def cut(self) -> None:
        """End the connection without a disconnect packet, as a process that dies does.

        Raises `RuntimeError` if it is not connected over a websocket.
        """
        link = self._websocket("cut")
        wire: Any = self.eio.ws.get_extra_info("socket")
        if self.tape.frozen:  # then what waits for it is never read
            self.tape.dead = True
            link.freeze(False)
            self.tape.freeze(False)
        link.leaving()
        if wire is not None:  # else the server has closed it already
            cut(wire)

    def check_recorded(self, what: str) -> None:
        """Raise `RuntimeError` if its frames are not recorded, and so cannot be held back."""
        if not self.recorded:
            raise RuntimeError(
                f"cannot {what}: {self.name} has an http_session of its own, whose frames nobody "
                "sees: leave that out"
            )

    def _websocket(self, what: str) -> Link:
        # It may wait at the door of a namespace still.
        if self.link is None or self.eio.state != "connected":
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
            # The first step of that task would reset its stop flag: let it run before.
            await give_way()
            await self.shutdown()
        if self.eio.state == "connected":
            await self.disconnect()
        await self.tasks.cancel()  # handlers that never end
        if (ws := self.eio.ws) is not None and not ws.closed:
            ws._response.close()  # Engine.IO does not after a time-out of its own
        if self.eio.http is not None and not self.eio.http.closed:  # a connection that was refused
            await self.eio.http.close()


class _EngineClient(engineio.AsyncClient):  # type: ignore[misc]
    """Engine.IO's client, which counts the packets that its Socket.IO client sends and reads, and
    writes what is queued before it closes the line, as a browser's client does.

    Engine.IO's own closes beside its writer: whether a goodbye leaves depends on how many turns of
    the event loop that needs, one more on Python 3.11 than on later ones.
    """

    http: Any  # the session that it uses, or None
    url = ""  # the address that it has dialled last

    def __init__(self, owner: Client, **options: Any) -> None:
        super().__init__(**options)
        self._owner = owner
        self._closing = False

    async def connect(self, url: str, *args: Any, **options: Any) -> None:
        self._closing, self.url = False, url
        if self.state == "disconnected":
            self._owner.link = None
        self.queue = self.create_queue()  # packets of a line that broke never count as written
        if self.http is None or self.http.closed:  # Engine.IO would open one that is not recorded
            self.http = self._owner.tape.session()
        await super().connect(url, *args, **options)

    def send(self, data: Any) -> Any:
        if self._owner.link and self.state == "connected":
            self._owner.link.sent_up(sending.get().message)
        return super().send(data)

    async def _send_request(self, method: str, url: str, headers: Any = None, **more: Any) -> Any:
        # Of a client that polls, Engine.IO sends the headers of a connection with the first alone.
        headers = {**(headers or {}), **self._owner.presented}
        return await super()._send_request(method, url, headers=headers, **more)

    async def _send_packet(self, pkt: Any) -> None:
        if not self._closing:
            await super()._send_packet(pkt)

    async def disconnect(self, abort: bool = False, reason: Any = None) -> None:
        polls = self.current_transport == "polling"
        loops = (self.read_loop_task, self.write_loop_task) if polls and not abort else ()
        try:
            if self.state == "connected" and not abort:
                if polls:
                    if self.read_loop_task is not asyncio.current_task():
                        self.read_loop_task.cancel()  # it would poll a session that has ended
                    await self._send_packet(engineio_packet.Packet(engineio_packet.CLOSE))
                await self._written()
        finally:  # also if whoever hangs up waits no longer for a server that does not answer
            # Engine.IO's own goodbye, which may or may not leave, is not needed: a websocket has
            # its closing frame, and a client that polls has said it above.
            self._closing = self.state == "connected"
            # Of a poll that is open, Engine.IO's own waits for the response, for half a minute.
            await super().disconnect(abort=abort or polls, reason=reason)
            for loop in loops:
                if loop:
                    loop.cancel()

    async def _written(self) -> None:
        """Return when all that is queued has been written, or never will be: the writer has ended,
        or the server has read nothing for `_UNREAD` seconds."""
        written = asyncio.ensure_future(self.queue.join())
        ends = {written, self.write_loop_task} if self.write_loop_task else {written}
        try:
            await asyncio.wait(ends, timeout=_UNREAD, return_when=asyncio.FIRST_COMPLETED)
        finally:
            written.cancel()

    def _receive_packet(self, pkt: Any) -> Any:
        if pkt.packet_type == engineio_packet.MESSAGE and self._owner.link:
            read.set(self._owner.link.read_down())  # for the task that handles it
        return super()._receive_packet(pkt)
