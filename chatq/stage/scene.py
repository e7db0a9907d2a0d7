"""A scene: a server, named clients, and the journal of what happened between them.

Owns the life of a scene: it serves the reader's own server on a free port, connects real clients
to it, waits until all is quiet, and closes everything in reverse order. Must not know: how a server
is instrumented (`server_tap`, `client_tap`), why a message did not arrive, how that is drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import socketio  # type: ignore[import-untyped]

from ..internals.begun import Begun
from ..internals.client_tap import NAME_HEADER, Client, connect_options, own_json
from ..internals.network import Network, check_network, serving_host
from ..internals.server_tap import ServerTap
from ..journal.accounting import Failure, Link, Recorder
from ..journal.activity import NotSettled, wait_for
from ..journal.facts import (
    OTHER_SERVER,
    SERVER,
    Connected,
    Disconnected,
    Froze,
    Killed,
    Rejected,
    Thawed,
)
from ..journal.journal import Journal
from ..views.table import one_line
from ..waiting import end_task
from .guard import Guard
from .names import Names
from .process import Process
from .programs import Programs
from .serving import serving

__all__ = ["HandlerRaised", "Scene"]


#: How long closing waits for handlers that still run, in seconds.
_LAST_HANDLERS = 0.2
#: The open stage of each server, so that opening it again closes the one before.
_open_stages: weakref.WeakKeyDictionary[socketio.AsyncServer, Scene] = weakref.WeakKeyDictionary()


#: For pytest: what is raised here is about the line of the test that asks.
__tracebackhide__ = True


class HandlerRaised(RuntimeError):
    """A handler or a background task raised an exception, or a packet could not be taken in;
    `errors`: all the exceptions, the first is the cause."""

    __module__ = "chatq"

    def __init__(self, text: str, errors: list[Exception]) -> None:
        super().__init__(text)
        self.errors = errors


class Scene:
    """A server, its clients and its processes, from `open` to `close`; see `Stage`."""

    app: Any
    journal: Journal
    url: str
    _open = False

    def __init__(
        self,
        sio: socketio.AsyncServer,
        app: Any = None,
        *,
        keep: int = 10_000,
        hide: Iterable[str] = (),
        network: Network = "sockets",
        hosts: Iterable[str] = (),
        secret: str | None = None,
    ) -> None:
        check_network(network)
        self._guard = Guard(hosts, secret, os.environ)
        self._serving = serving(sio, app, self._guard.check)
        self.sio, self.app = sio, self._serving.app
        self.journal = Journal(keep)
        self.url = ""
        self._network: Network = network
        self._recorder = Recorder(
            self.journal, frozenset([hide] if isinstance(hide, str) else hide)
        )
        self._recorder.activity.running = self._running
        self._clients: dict[str, Client] = {}
        self._programs = Programs(
            lambda: self.url, self._has_started, self._noticed, self._guard.address
        )
        self._recorder.server_at = lambda url: self._programs.server_at(url) or OTHER_SERVER
        self._unwatch: list[Callable[[], None]] = []
        self._listeners: list[Callable[[], None]] = []
        self._names = Names()
        self._tap: ServerTap | None = None
        self._begun: Begun
        self._closing: asyncio.Task[None] | None = None
        self._unseen: list[Failure] = []  # what had gone wrong when it closed

    # -- opening and closing --------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        sio: socketio.AsyncServer,
        app: Any = None,
        *,
        keep: int = 10_000,
        hide: Iterable[str] = (),
        network: Network = "sockets",
        hosts: Iterable[str] = (),
        secret: str | None = None,
    ) -> Self:
        """Return a new stage that serves `sio` on a free port of 127.0.0.1, or in memory.

        A stage that is still open on the same `sio` is closed first.
        """
        stage = cls(sio, app, keep=keep, hide=hide, network=network, hosts=hosts, secret=secret)
        return await stage.__aenter__()

    async def __aenter__(self) -> Self:
        if self._open:
            return self
        if self._closing is not None:
            raise RuntimeError("this stage was closed, and opens only once: make a new one")
        if before := _open_stages.get(self.sio):
            await before._end()
        self._begun = self._recorder.activity.background = Begun(self._recorder.background_raised)
        self._tap = ServerTap(self.sio, self._recorder, self._greet, self._begun)
        self._open = True
        try:
            self.url = await self._begun.task(
                self._serving.begin(serving_host(self._network)), self._begun.context
            )
        except BaseException:
            await self._end()
            raise
        _open_stages[self.sio] = self
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.close()
        else:  # that is the news
            await self._end()

    async def close(self) -> None:
        """Disconnect the clients, then stop the server. Closing twice is harmless.

        The journal can still be read; it does not include the disconnections of closing. Raises
        `HandlerRaised` if a handler has raised and `settle` was not there to say so.
        """
        try:
            await self._end()
        finally:
            unseen, self._unseen = self._unseen, []
            self._raise(unseen)

    async def _end(self) -> None:
        if self._closing is None and self._open:
            self._closing = asyncio.create_task(self._close())
        if self._closing is not None:
            await asyncio.shield(self._closing)  # finished even if the caller is cancelled

    async def _close(self) -> None:
        tap = self._tap
        assert tap is not None
        self._open, self._tap = False, None
        if _open_stages.get(self.sio) is self:
            del _open_stages[self.sio]
        with contextlib.suppress(NotSettled):
            await self._recorder.activity.quiet(_LAST_HANDLERS)
        self._recorder.journal = Journal(keep=1)  # for what happens from here on
        self._unseen = self._failures()
        async with contextlib.AsyncExitStack() as last:  # in reverse, whatever raises on the way
            last.callback(self._notify)
            last.push_async_callback(self._programs.remove_folder)
            for unwatch in self._unwatch:
                last.callback(unwatch)
            last.callback(tap.detach)
            last.push_async_callback(self._begun.end)
            last.push_async_callback(tap.tasks.cancel)  # of a client that was just connecting
            last.push_async_callback(self._end_serving)
            last.push_async_callback(tap.tasks.cancel)  # handlers that never end, connections
            last.push_async_callback(tap.shut_down)
            last.push_async_callback(self._hang_up, tap)
            last.push_async_callback(self._programs.end)

    async def _end_serving(self) -> None:
        # In the context of its beginning, where its own code may have set variables.
        await self._begun.task(self._serving.end(), self._begun.context)

    async def _hang_up(self, tap: ServerTap) -> None:
        orderly = True
        for client in [*self._clients.values()]:
            hanging_up = asyncio.create_task(client.hang_up())
            # Where a handler never ends, the library goes on without it.
            await end_task(hanging_up, 0.3, 0.3)
            if orderly:  # one after the other, unless a handler never ends
                try:
                    await tap.recorder.activity.quiet(within=0.2)
                except NotSettled:
                    orderly = False
        # What others raise is our own doing: the line is pulled from under them, or they read only
        # now what has waited for them.
        self._unseen += [failure for failure in self._failures() if failure[0] == "disconnect"]

    # -- clients --------------------------------------------------------------------------------

    async def clients(self, *names: str, **options: Any) -> list[Client]:
        """Connect one client for each name, one after the other, and return them in that order.

        `options` are those of `client`.
        """
        for name in names:
            Names.check(name)
        if len(set(names)) < len(names):
            raise ValueError(f"each client needs a name of its own, not {names}")
        return [await self.client(name, **options) for name in names]

    async def client(
        self, name: str, *, connect: bool = True, reconnection: bool = False, **options: Any
    ) -> Client:
        """Return a real `socketio.AsyncClient` called `name`, connected to the stage's server.

        `url=…`: it is connected to that server instead, and only its own side of that is recorded.
        It may be a process of this stage, which is found again when it was restarted.
        `connect=False`: it is not connected: add handlers, then `await client.connect()`.
        `reconnection=True`: it reconnects by itself. `options` are those of
        `socketio.AsyncClient.connect`, such as `transports` (default `["websocket"]`), `namespaces`
        and `auth`, and those of `socketio.AsyncClient` itself; its `serializer` is the server's,
        unless you say otherwise. A client of the same name is disconnected first.

        Raises `TypeError` or `ValueError` for a wrong or used name or option, `RuntimeError` if the
        stage is not open, what `connect` raises, and what `settle` raises if an earlier client of
        this name is not done.
        """
        self._check_open()
        self._names.check_client(name)
        dialling, own = connect_options(options)
        if json := own.pop("json", None):  # python-socketio would set it for everybody
            own["serializer"] = own_json(own.get("serializer", self.sio.packet_class), json)
        if dialling and not connect:
            given = ", ".join(dialling)
            raise TypeError(f"{name} is not connected yet: give {given} to its `connect`")
        own = {"reconnection": reconnection, "serializer": self.sio.packet_class, **own}
        if before := self._clients.pop(name, None):
            await before.hang_up()
            await self.settle()
        path = self._serving.socket_path
        client = Client(
            name, self.url, path, self._recorder, self._begun, self._programs.found, **own
        )
        client.own_headers |= self._guard.headers()
        self._clients[name] = client
        self._names.add_client(name)
        if connect:
            try:
                await client.connect(**dialling)
            except socketio.exceptions.ConnectionError as error:
                self._show_failures()  # the error of a `connect` handler says more
                error.add_note(self._not_in(client))
                raise
        return client

    def _not_in(self, client: Client) -> str:
        """Return why this client was not let in, as far as the server knows."""
        if client.link is None:
            where = client.dialled.get("socketio_path", self._serving.socket_path)
            return (
                f"{client.name} has not reached the server at /{where}/ of {client.eio.url}: if it "
                "is at another path, say so: stage.client(…, socketio_path=…)"
            )
        refused = [f for f in self.journal if isinstance(f, Rejected) and f.client == client.name]
        return "; ".join(
            f"{f.client} is refused in {f.namespace}: {f.reason}" for f in refused[-1:]
        )

    def _greet(self, environ: dict[str, Any]) -> Link:
        name = environ.get("HTTP_" + NAME_HEADER.upper().replace("-", "_"), "")
        client = self._clients.get(name)
        # A client of another stage may have the name of one that is on the line here.
        if client is not None and not (client.link and client.link.client_open):
            client.link = Link(name, self._recorder, watched=True)
            return client.link
        query = environ.get("QUERY_STRING", "")
        return self._names.greet(query, self._programs, self._recorder)

    # -- processes ------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Return whether this stage is not open: not yet, or no longer."""
        return not self._open

    @property
    def folder(self) -> Path:
        """A folder for files of this scene; closing the stage removes it."""
        self._check_open()
        return self._programs.folder

    async def process(
        self, name: str, program: str, *arguments: str, url: str | Process = ""
    ) -> Process:
        """Run the Python `program` in a real process, and return that.

            driver = await stage.process("driver", "import sys, socketio ...")
            await driver.line("ready")  # wait until it has printed that
            await stage.kill(driver)

        `sys.argv[1]` is the address to connect to: that of a relay of its own, which `cut` cuts, to
        the server at `url` (default: the stage's). The server knows it by `name`. `arguments` are
        the rest of `sys.argv`. It runs in `folder`. A process of the same name is killed first.

        If `url` is another process of this stage, or the address that it has printed, the relay
        leads to that process, also when it is restarted and listens on another port.

        Raises what `client` raises for a name, `SyntaxError` if `program` is no Python, and
        `ValueError` if the network of this stage is in memory.
        """
        self._check_open()
        if self._network == "memory":
            raise ValueError(
                f"the process {name!r} cannot reach a stage whose network is in memory: leave out "
                'network="memory"'
            )
        Names.check(name)
        if name not in self._programs:
            self._names.add_process(name)
        return await self._programs.start(name, program, arguments, url)

    def _has_started(self, process: Process) -> None:
        name = process.name
        process.on_kill = lambda: self._recorder.journal.append(Killed, name)
        process.listen(self._notify)

    async def restart(self, process: str | Process) -> Process:
        """Run the program of a process again, with the same arguments; if it runs, kill it first.

        Its relay keeps its target: if that is another process, this waits until it listens.
        """
        return await self._programs.restart(self._name(process), self.until)

    # -- waiting --------------------------------------------------------------------------------

    async def settle(self, within: float = 5.0) -> None:
        """Wait until nothing is under way: every packet has arrived, every handler has ended, and
        no task that they have begun has anything to do but to wait for time or for the outside.

        `within`: a deadline in seconds. Raises `NotSettled` naming what was still under way then,
        and `HandlerRaised` if a handler raised since the last time.
        """
        await self._recorder.activity.quiet(within)
        self._show_failures()

    def tasks(self) -> list[str]:
        """Return a line for each background task that the server or a client has begun and that has
        not ended: whose code it is, and what it waits for. `settle` waits for no task that waits
        for time to pass, or for the world outside.
        """
        self._check_open()
        return self._begun.told(self._begun.of_the_user())

    async def until(
        self, condition: Callable[[], object], what: str = "the condition", within: float = 5.0
    ) -> None:
        """Return when `condition()` is true; it is checked after every fact in the journal, every
        line of output of a process, and several times a second.

        `within`: a deadline in seconds. Raises `NotSettled` naming `what` when it has passed.
        """
        await wait_for(condition, self.listen, what, within)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every fact, every line of output of a process, every outcome of
        `run`, and when this stage has closed; return the function that ends this."""
        stop = self.journal.listen(listener)
        self._listeners.append(listener)

        def end() -> None:
            stop()
            self._listeners.remove(listener)

        return end

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def connected(self, client: str | Client | Process, namespace: str = "/") -> bool:
        """Return whether the server regards `client` as connected to `namespace`.

        False, too, for an unknown name: so one can wait for a guest to connect.
        """
        return namespace in self._inside(self._name(client))

    def _inside(self, name: str) -> set[str]:
        """Return the namespaces to which the server regards `name` as connected."""
        inside: set[str] = set()
        for fact in [*self.journal.standing(), *self.journal] if self._open else []:
            match fact:
                case Connected(client, namespace, server) if (client, server) == (name, SERVER):
                    inside.add(namespace)
                case Disconnected() | Rejected() if (fact.client, fact.server) == (name, SERVER):
                    inside.discard(fact.namespace)
        return inside

    def _running(self) -> Iterator[tuple[str, str]]:
        for event in self._tap.tasks.events() if self._tap else ():
            yield SERVER, event
        for client in self._clients.values():
            for event in client.tasks.events():
                yield client.name, event

    def _show_failures(self) -> None:
        self._raise(self._failures())

    def _failures(self) -> list[Failure]:
        """Return what has gone wrong since this was last asked."""
        failures, self._recorder.failures = self._recorder.failures, []
        return failures

    def _raise(self, failures: list[Failure]) -> None:
        if failures:
            text = "; ".join(told for _, told, _ in failures)
            raise HandlerRaised(
                one_line(text, 400), [error for *_, error in failures]
            ) from failures[0][2]

    # -- faults ---------------------------------------------------------------------------------

    async def freeze(self, client: str | Client | Process) -> None:
        """Suspend `client`: its connection stays open, but it reads and sends nothing."""
        if process := self._process(client):
            if process.code is None and not process.frozen:
                await process.freeze()
                self._recorder.journal.append(Froze, process.name)
        else:
            self._client(client).freeze()

    async def thaw(self, client: str | Client | Process) -> None:
        """Resume a frozen client."""
        if process := self._process(client):
            if process.frozen:
                self._recorder.journal.append(Thawed, process.name)
                process.thaw()
        else:
            self._client(client).thaw()

    async def cut(self, client: str | Client | Process) -> None:
        """Abort the connection of `client`, without a disconnect packet, as when its cable is cut.

        A process cannot connect again until `mend`.
        """
        if process := self._process(client):
            self._programs.cut(process.name)
            await self._noticed(process.name)
        else:
            self._client(client).cut()

    async def mend(self, process: str | Process) -> None:
        """Let a process connect again after `cut`."""
        self._programs.mend(self._name(process))

    async def kill(self, process: str | Process) -> None:
        """Kill a process (SIGKILL): it ends at once, and its machine closes what it had open."""
        found = self._process(process) or self._programs.process(process)
        await found.kill()
        await self._noticed(found.name)

    async def _noticed(self, name: str) -> None:
        """Return when the server has noticed that the connections of `name` have ended."""
        await self.until(
            lambda: not self._inside(name), f"the server to notice that {name} is gone"
        )

    def _process(self, client: str | Client | Process) -> Process | None:
        found = self._programs.processes().get(self._name(client))
        if isinstance(client, Process) and client is not found:
            raise LookupError(f"this {client.name!r} is not, or no longer, a process of this stage")
        return found

    def __repr__(self) -> str:
        names = getattr(self, "_names", [])  # of one that was refused, too
        state = "open" if self._open else "closed"
        return f"<Stage: {state}, clients: {', '.join(names) or 'none'}>"

    # -- names ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError("this stage is not open: stage = await Stage.open(sio)")

    def _name(self, client: str | Client | Process) -> str:
        return client if isinstance(client, str) else client.name

    def _client(self, client: str | Client | Process) -> Client:
        name = self._name(client)
        if name not in self._clients:
            known = [*self._clients] or "none"
            raise LookupError(f"no client is called {name!r}; there are {known}")
        if not isinstance(client, str) and client is not self._clients[name]:
            raise LookupError(f"this {name!r} is not, or no longer, a client of this stage")
        return self._clients[name]
