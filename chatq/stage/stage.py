"""One scene: a server, named clients, and the journal of what happened between them.

Owns the life of a scene: it serves the reader's own server on a free port, connects real clients
to it, waits until all is quiet, and closes everything in reverse order. Must not know: how a
server is watched (`server_tap`, `client`), why a message did not arrive (`explain`), how that is
drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar
from urllib.parse import parse_qs, urlencode

import socketio  # type: ignore[import-untyped]
from aiohttp import web

from ..queues.facts import Observer
from .client import NAME_HEADER, Client
from .composer import Cast, Draft
from .deliveries import Deliveries
from .drawing import Diagram
from .driving import Outcome, run
from .explain import Reason
from .journal import SERVER, Connected, Disconnected, Froze, Journal, Killed, Refused, Thawed
from .links import Link, Recorder
from .process import Folder, Process
from .queue_tap import QueueTap
from .relay import Relay
from .roster import Roster
from .server_tap import ServerTap
from .settle import NotSettled, wait_for
from .table import Table, one_line
from .view import View

if TYPE_CHECKING:
    from .panel import Panel

__all__ = ["HandlerRaised", "Stage"]

_T = TypeVar("_T")

#: The open stage of each server, so that opening it again closes the one before.
_open_stages: weakref.WeakKeyDictionary[socketio.AsyncServer, Stage] = weakref.WeakKeyDictionary()


class HandlerRaised(RuntimeError):
    """A handler ended with an exception; `errors` holds the exceptions, the first is the cause."""

    def __init__(self, text: str, errors: list[Exception]) -> None:
        super().__init__(text)
        self.errors = errors


class _Queues(Protocol):
    def watch(self, observer: Observer) -> Callable[[], None]: ...
    async def stats(self, queue: str) -> Any: ...


class Stage:
    """Serves a `socketio.AsyncServer` on 127.0.0.1 and watches who gets which message.

        stage = await Stage.open(sio)
        ada, bob = await stage.clients("ada", "bob")
        await sio.emit("news", "hello", skip_sid=ada.get_sid())
        await stage.settle()
        stage.deliveries()

    `sio`: your own server, made with `async_mode="aiohttp"`; handlers may be added before or
    after. `app`: your own `aiohttp.web.Application`, for pages beside the sockets; `sio` is
    attached to it unless you did. `keep`: how many facts the journal keeps.

    `async with Stage(sio) as stage` opens and closes it too. Raises `TypeError` for a server of
    another kind.
    """

    def __init__(
        self, sio: socketio.AsyncServer, app: web.Application | None = None, *, keep: int = 10_000
    ) -> None:
        if not isinstance(sio, socketio.AsyncServer):
            raise TypeError(
                f"a stage needs a socketio.AsyncServer, not {type(sio).__name__}: "
                'sio = socketio.AsyncServer(async_mode="aiohttp")'
            )
        if sio.async_mode != "aiohttp":
            raise TypeError(
                f"a stage serves with aiohttp, but this server was made for {sio.async_mode!r}: "
                'sio = socketio.AsyncServer(async_mode="aiohttp")'
            )
        self.sio = sio
        self.app = app if app is not None else web.Application()
        self.journal = Journal(keep)
        self.url = ""
        self._recorder = Recorder(self.journal)
        self._recorder.activity.running = self._running
        self._clients: dict[str, Client] = {}
        self._processes: dict[str, Process] = {}
        self._relays: dict[str, Relay] = {}
        self._folder: Folder | None = None
        self._queue_tap: QueueTap | None = None
        self._unwatch: list[Callable[[], None]] = []
        self._watched: list[_Queues] = []
        #: How each process was started: its program, its arguments, the address that it dials, and
        #: the name of the process that serves there.
        self._programs: dict[str, tuple[str, tuple[str, ...], str, str]] = {}
        self._line = asyncio.Lock()
        #: What came of the newest lines, see `run`.
        self.outcomes: deque[Outcome] = deque(maxlen=20)
        self._listeners: list[Callable[[], None]] = []
        #: By name, the newest connection of each; None: a process that has not dialled yet.
        self._guests: dict[str, Link | None] = {}
        self._names: list[str] = []
        self._tap: ServerTap | None = None
        self._runner: web.AppRunner | None = None
        self._closing: asyncio.Task[None] | None = None

    # -- opening and closing --------------------------------------------------------------------

    @classmethod
    async def open(
        cls, sio: socketio.AsyncServer, app: web.Application | None = None, *, keep: int = 10_000
    ) -> Self:
        """Return a new stage that serves `sio` on a free port of 127.0.0.1.

        A stage that is still open on the same `sio` is closed first.
        """
        stage = cls(sio, app, keep=keep)
        return await stage.__aenter__()

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            return self
        if self._closing is not None:
            raise RuntimeError("this stage was closed, and opens only once: make a new one")
        if before := _open_stages.get(self.sio):
            await before.close()
        if not any(r.canonical == "/socket.io/" for r in self.app.router.resources()):
            self.sio.attach(self.app)
        self._tap = ServerTap(self.sio, self._recorder, self._greet)
        self._runner = web.AppRunner(self.app, shutdown_timeout=0.3, access_log=None)
        try:
            await _in_empty_context(self._serve(self._runner))
        except BaseException:
            await self.close()
            raise
        _open_stages[self.sio] = self
        return self

    async def _serve(self, runner: web.AppRunner) -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect the clients, then stop the server. Closing twice is harmless.

        The journal stays, and what it explains; the goodbyes of closing are not part of it.
        """
        if self._closing is None and self._runner is not None:
            self._closing = asyncio.create_task(self._close())
        if self._closing is not None:
            await asyncio.shield(self._closing)  # once begun it is finished, whoever is cancelled

    async def _close(self) -> None:
        runner, tap = self._runner, self._tap
        assert runner is not None
        assert tap is not None
        self._runner = self._tap = None
        if _open_stages.get(self.sio) is self:
            del _open_stages[self.sio]
        self._recorder.journal = Journal(keep=1)  # for what happens from here on
        await asyncio.gather(*(process.kill() for process in self._processes.values()))
        await asyncio.gather(*(relay.close() for relay in self._relays.values()))
        await self._hang_up(tap)
        # Guests, and clients long silent. Engine.IO's own `disconnect` would wait until the other
        # side has read everything, and for handlers that may never end.
        closing = [asyncio.create_task(s.close(wait=False)) for s in self.sio.eio.sockets.values()]
        if closing:
            await asyncio.wait(closing, timeout=0.2)
        for task in closing:
            tap.tasks.add(task)
        self.sio.eio.sockets.clear()
        await self.sio.shutdown()
        # So that another stage can serve it, and close even if nobody came.
        self.sio.eio.start_service_task = True
        self.sio.eio.service_task_event = None
        await tap.tasks.cancel()  # handlers that never end, connections that nobody ended
        await runner.cleanup()
        await tap.tasks.cancel()  # what a client that was dialling just now has begun
        tap.detach()
        while self._unwatch:
            self._unwatch.pop()()
        if self._folder is not None:
            await self._folder.close()
        self._tell()

    async def _hang_up(self, tap: ServerTap) -> None:
        orderly = True
        for client in [*self._clients.values()]:
            goodbye = asyncio.create_task(client.hang_up())
            await asyncio.wait({goodbye}, timeout=0.3)
            goodbye.cancel()  # if a `disconnect` handler never ends, the library goes on without it
            await asyncio.wait({goodbye}, timeout=0.3)
            if orderly:  # one goodbye after the other, unless a handler never ends
                try:
                    await tap.recorder.activity.quiet(within=0.2)
                except NotSettled:
                    orderly = False

    # -- clients --------------------------------------------------------------------------------

    async def clients(self, *names: str, **options: Any) -> list[Client]:
        """Connect one client for each name, one after the other, and return them in that order.

        `options` are those of `client`.
        """
        for name in names:
            _check(name)
        if len(set(names)) < len(names):
            raise ValueError(f"each client needs a name of its own, not {names}")
        return [await self.client(name, **options) for name in names]

    async def client(
        self, name: str, *, connect: bool = True, reconnection: bool = False, **options: Any
    ) -> Client:
        """Return a real `socketio.AsyncClient` called `name`, connected to the stage's server.

        `connect=False` leaves the dialling to you: add handlers, then `await client.connect()`.
        `reconnection=True` lets it connect again by itself. `options` go to
        `socketio.AsyncClient.connect`: `transports` (default `["websocket"]`), `namespaces`,
        `auth`, ... A client of the same name is disconnected first.

        Raises `TypeError` or `ValueError` for a name that is not to be had, `RuntimeError` if the
        stage is not open, what `connect` raises, and what `settle` raises if an earlier client of
        this name is not done.
        """
        self._opened()
        _check(name)
        if name in (SERVER, "everyone") or name in self._guests:
            raise ValueError(f"a client cannot be called {name!r}: that name is not free")
        if before := self._clients.pop(name, None):
            await before.hang_up()
            await self.settle()
        client = Client(name, self.url, self._recorder, reconnection=reconnection)
        self._clients[name] = client
        if name not in self._names:
            self._names.append(name)
        if connect:
            try:
                await client.connect(**options)
            except socketio.exceptions.ConnectionError:
                self._show_failures()  # a `connect` handler that raised is the better answer
                raise
        return client

    def _greet(self, environ: dict[str, Any]) -> Link:
        name = environ.get("HTTP_" + NAME_HEADER.upper().replace("-", "_"), "")
        client = self._clients.get(name)
        if client is not None:
            client.link = Link(name, self._recorder.activity, watched=True)
            return client.link
        given = parse_qs(environ.get("QUERY_STRING", "")).get("name", [""])[0][:40].strip()
        if not given.isprintable() or given == "everyone":  # no name to be told apart by
            given = ""
        before = self._guests.get(given)
        # A process dials again under its name; so may a guest that has gone, as after a reload.
        back = before is not None and (not before.server_open or before.departed)
        if given not in self._relays and not back:
            number = len(self._guests) + 1
            while not given or given == SERVER or given in self._names:
                given, number = f"guest {number}", number + 1
            self._names.append(given)
        link = self._guests[given] = Link(given, self._recorder.activity, watched=False)
        return link

    # -- processes ------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether this stage is not open: not yet, or not any more."""
        return self._runner is None

    @property
    def folder(self) -> Path:
        """A folder for files of this scene; closing the stage removes it."""
        self._opened()
        if self._folder is None:
            self._folder = Folder()
        return self._folder.path

    async def process(self, name: str, program: str, *arguments: str, url: str = "") -> Process:
        """Run the Python `program` in a real process of its own, and return that.

            driver = await stage.process("driver", "import sys, socketio ...")
            await driver.line("ready")  # wait until it has printed that
            await stage.kill(driver)

        `sys.argv[1]` is the address that it dials: that of a cable of its own, which `cut` cuts, to
        the server at `url` (default: the stage's). The server knows it by `name`. `arguments` are
        the rest of `sys.argv`. It runs in `folder`. A process of the same name is killed first.

        If another process of this stage has printed `url`, the cable leads to that process, also
        when it is started again and listens on another port.

        Raises what `client` raises for a name, and `SyntaxError` if `program` is no Python.
        """
        self._opened()
        _check(name)
        if name not in self._relays:
            if name == SERVER or name in self._names:
                raise ValueError(f"a process cannot be called {name!r}: that name is not free")
            self._names.append(name)
            self._guests[name] = None
        server = next((p.name for p in self._processes.values() if url and p.address == url), "")
        return await self._start(name, program, arguments, url, server)

    async def _start(
        self, name: str, program: str, arguments: tuple[str, ...], url: str, server: str
    ) -> Process:
        if before := self._processes.pop(name, None):
            await before.kill()
        if cable := self._relays.pop(name, None):
            await cable.close()
            await self._noticed(name)
        relay = self._relays[name] = await Relay.open(partial(self._address, url, server))
        address = f"{relay.url}?{urlencode({'name': name})}"
        process = await Process.start(name, program, address, *arguments, folder=self.folder)
        process.on_kill = lambda: self._recorder.journal.append(Killed, name)
        process.listen(self._tell)
        self._processes[name] = process
        self._programs[name] = (program, arguments, url, server)
        return process

    def _address(self, url: str, server: str) -> str:
        """Where the server is now that was at `url`, and is run by the process called `server`."""
        process = self._processes.get(server)
        return process.address if process else url or self.url

    async def restart(self, process: str | Process) -> Process:
        """Run the program of a process anew, with the same arguments; if it runs, kill it first.

        Its cable leads where it led: if to another process, this waits until that has said where it
        listens.
        """
        name = self._name(process)
        if name not in self._programs:
            known = [*self._programs] or "none"
            raise LookupError(f"no process is called {name!r}; there are {known}")
        program, arguments, url, server = self._programs[name]
        if (serving := self._processes.get(server)) and serving is not self._processes.get(name):
            await self.until(lambda: serving.address or serving.code is not None, f"the {server}")
        return await self._start(name, program, arguments, url, server)

    def watch(self, queues: _Queues) -> None:
        """Note in the journal, too, what becomes of the messages of `queues` (a `chatq.Queues`).

        Opened again on the same store, they are watched again: the messages keep their numbers.
        """
        self._opened()
        assert self._tap is not None
        if self._queue_tap is None:
            self._queue_tap = QueueTap(self._recorder, self._tap.names)
        self._unwatch.append(queues.watch(self._queue_tap))
        self._watched.append(queues)

    async def stats(self) -> dict[str, Any]:
        """Return the `Stats` of every queue that is watched and was seen at work, by its name."""
        found: dict[str, Any] = {}
        for name in self._queues():
            for queues in reversed(self._watched):
                try:
                    found[name] = await queues.stats(name)
                    break
                except (LookupError, OSError, RuntimeError):
                    pass  # it is not a queue of these, or they are closed
        return found

    # -- driving ----------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Client | Process:
        """Return the client or the process called `name`. Raises `LookupError` if there is none."""
        if name in self._processes:
            return self._processes[name]
        return self._client(name)

    async def run(self, line: str, within: float = 5.0) -> Outcome:
        """Run one line of Python as a cell would, settle, and return what came of it.

            await stage.run("await sio.emit('news', 'hello', skip_sid=ada.get_sid())")

        In it, `sio` is the server, `stage` this stage, `queues` what it watches, and clients and
        processes are called by their names. Lines run one after the other; `outcomes` has the
        newest. Nothing is raised that the line, a handler or `settle` raises: the `Outcome` tells.
        `within`: a deadline in seconds.
        """
        async with self._line:
            self._opened()
            outcome = await run(
                line, self._meant(), partial(self._settle_if_open, min(within, 5.0)), within
            )
        self.outcomes.append(outcome)
        self._tell()
        return outcome

    def _meant(self) -> dict[str, Any]:
        """What the names in a line mean."""
        names = {**self._clients, **self._processes, "sio": self.sio, "stage": self}
        return {**names, "queues": self._watched[-1]} if self._watched else names

    def cast(self) -> Cast:
        """Return whom a line can name now."""
        inside = {name: [*client.namespaces] for name, client in self._clients.items()}
        return Cast(self._kinds(), inside, bool(self._watched))

    async def _settle_if_open(self, within: float) -> None:
        if self._runner is not None:  # the line may have closed it
            await self.settle(within)

    async def reset(self) -> None:
        """Begin the scene again: every client connects anew, as it did, so it is in no room; every
        process starts again; nothing is frozen, and the journal is empty.

        Whoever is refused is left out, as the journal then tells. Queues keep what waits in them.
        Raises `NotSettled` if a process that was connected does not come back.
        """
        self._opened()
        for client in self._clients.values():
            await client.hang_up()
        for name in self._programs:
            await self.kill(name)
        await self._recorder.activity.quiet(5.0)
        self._recorder.failures.clear()
        self.journal.forget()
        if self._queue_tap is not None:
            self._queue_tap.forget()
        for client in self._clients.values():
            with contextlib.suppress(socketio.exceptions.ConnectionError):
                await client.connect(**client.dialled)
        for name in self._programs:
            await self.restart(name)
        for name, process in self._processes.items():
            if self._guests[name] is not None:  # it has dialled this server before
                await self.until(partial(self._is_back, process), f"{name} to be connected again")
        await self.settle()

    def _is_back(self, process: Process) -> bool:
        return process.code is not None or bool(self._inside(process.name))

    def panel(self, question: str = "", **draft: Any) -> Panel:
        """Return the panel that drives this scene by hand; a notebook shows it as widgets.

        `question`: what it is to find out. `draft`: what its composer says first; the fields of
        `chatq.Draft`: `sender`, `event`, `data`, `target`, `who`, `namespace`. Raises `ImportError`
        if ipywidgets is not installed.
        """
        from .panel import Panel

        return Panel(self, question, Draft(**{"sender": SERVER, "event": "news", **draft}))

    # -- waiting --------------------------------------------------------------------------------

    async def settle(self, within: float = 5.0) -> None:
        """Return when nothing is under way any more: all that was sent has arrived, and every
        handler that started has ended.

        `within`: a deadline in seconds. Raises `NotSettled` naming what was still under way then,
        and `HandlerRaised` if a handler raised since the last time.
        """
        await self._recorder.activity.quiet(within)
        self._show_failures()

    async def until(
        self, condition: Callable[[], object], what: str = "the condition", within: float = 5.0
    ) -> None:
        """Return when `condition()` is true; it is asked again after every fact in the journal, and
        after every line that a process prints.

        `within`: a deadline in seconds. Raises `NotSettled` naming `what` when it has passed.
        """
        await wait_for(condition, self.listen, what, within)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every fact, after every line that a process prints, after every
        outcome of a line, and when this stage has closed; returns the function that ends this."""
        stop = self.journal.listen(listener)
        self._listeners.append(listener)

        def end() -> None:
            stop()
            self._listeners.remove(listener)

        return end

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def connected(self, client: str | Client | Process, namespace: str = "/") -> bool:
        """Whether the server counts `client` as connected to `namespace`.

        False, too, for a name that nobody has had yet: so one can wait for a guest to come.
        """
        return namespace in self._inside(self._name(client))

    def _inside(self, name: str) -> set[str]:
        """The namespaces that the server counts `name` as connected to."""
        inside: set[str] = set()
        for fact in [*self.journal.standing(), *self.journal] if self._runner else []:
            match fact:
                case Connected(client=client, namespace=namespace) if client == name:
                    inside.add(namespace)
                case Disconnected() | Refused() if fact.client == name:
                    inside.discard(fact.namespace)
        return inside

    def _running(self) -> Iterator[tuple[str, str]]:
        for event in self._tap.tasks.events() if self._tap else ():
            yield SERVER, event
        for client in self._clients.values():
            for event in client.tasks.events():
                yield client.name, event

    def _show_failures(self) -> None:
        failures = self._recorder.failures[:]
        self._recorder.failures.clear()
        if failures:
            told = "; ".join(
                f"{fact.client}'s handler of {fact.event!r} raised {fact.error}"
                for fact, _ in failures
            )
            raise HandlerRaised(
                one_line(told, 400), [error for _, error in failures]
            ) from failures[0][1]

    # -- faults ---------------------------------------------------------------------------------

    async def freeze(self, client: str | Client | Process) -> None:
        """Suspend `client`: its connection stays open, but it reads and answers nothing."""
        if process := self._process(client):
            if process.code is None and not process.frozen:
                await process.freeze()
                self._recorder.journal.append(Froze, process.name)
        else:
            self._client(client).freeze()

    async def thaw(self, client: str | Client | Process) -> None:
        """Let a frozen client go on where it stopped."""
        if process := self._process(client):
            if process.frozen:
                self._recorder.journal.append(Thawed, process.name)
                process.thaw()
        else:
            self._client(client).thaw()

    async def cut(self, client: str | Client | Process) -> None:
        """End the connection of `client` without a goodbye, as when its cable is cut.

        A process can dial in vain until `mend`.
        """
        if process := self._process(client):
            self._relays[process.name].cut()
            await self._noticed(process.name)
        else:
            self._client(client).cut()

    async def mend(self, process: str | Process) -> None:
        """Mend the cable of a process."""
        name = process if isinstance(process, str) else process.name
        if name not in self._relays:
            known = [*self._relays] or "none"
            raise LookupError(f"no process is called {name!r}; there are {known}")
        self._relays[name].mend()

    async def kill(self, process: str | Process) -> None:
        """Kill a process, as when the power fails: SIGKILL, and nothing of it runs any more."""
        found = self._process(process)
        if found is None:
            known = [*self._processes] or "none"
            raise LookupError(f"no process is called {process!r}; there are {known}")
        await found.kill()
        await self._noticed(found.name)

    async def _noticed(self, name: str) -> None:
        """Return when the server has noticed that the connections of `name` have ended."""
        await self.until(
            lambda: not self._inside(name), f"the server to notice that {name} is gone"
        )

    def _process(self, client: str | Client | Process) -> Process | None:
        found = self._processes.get(self._name(client))
        if isinstance(client, Process) and client is not found:
            raise LookupError(f"this {client.name!r} is not, or no longer, a process of this stage")
        return found

    # -- looking --------------------------------------------------------------------------------

    def view(self, upto: int | None = None, keep: int | None = None) -> View:
        """Return the scene as it is now, or as it was when `upto` facts had been written; it can be
        asked all that this stage can, and does not change. `keep`: only the newest so many facts.
        """
        over = self._closing is not None
        journal = self.journal
        if upto is not None or keep is not None:
            over = over and (upto is None or upto >= journal.written)
            journal = journal.part(journal.written if upto is None else upto, keep)
        return View(journal, self._kinds(), over, self._queues() if upto is None else ())

    def _queues(self) -> list[str]:
        return [*self._queue_tap.queues] if self._queue_tap else []

    def _kinds(self) -> dict[str, str]:
        kinds = dict.fromkeys(self._names, "client")
        return {
            **kinds,
            **dict.fromkeys(self._guests, "guest"),
            **dict.fromkeys(self._relays, "process"),
        }

    def deliveries(self, *events: str, last: int | None = None) -> Deliveries:
        """Return the table of messages by clients: a mark and a reason in each cell.

        `events`: only messages with these names; `last`: only the newest so many.
        """
        return self.view().deliveries(*events, last=last)

    def diagram(self, *events: str, rows: int = 60) -> Diagram:
        """Return the sequence diagram: SVG where there is a screen, text where there is none.

        `events`: only messages with these names; `rows`: the newest so many rows.
        """
        return self.view().diagram(*events, rows=rows)

    def roster(self) -> Roster:
        """Return the table of who is where now: each client's state, namespaces and rooms."""
        return self.view().roster()

    def why(self, client: str | Client | Process, message: str | int) -> str:
        """Say in one sentence why `client` did, or did not, get `message`.

        `message`: the name of an event (its last message counts) or a message's number in the
        table. Raises `LookupError` for a client or message that there is not.
        """
        return self.view().why(self._name(client), message)

    def reason(self, client: str | Client | Process, message: str | int) -> Reason:
        """Return the one `Reason` behind `why`, for programs. Raises the same `LookupError`."""
        return self.view().reason(self._name(client), message)

    def wire(self, client: str | Client) -> Table:
        """Return the frames that went over the wire of `client`, each with what it means."""
        client = self._client(client)
        return client.tape.show(client.name)

    def __repr__(self) -> str:
        state = "open" if self._runner else "closed"
        return f"<Stage: {state}, clients: {', '.join(self._names) or 'none'}>"

    # -- names ----------------------------------------------------------------------------------

    def _opened(self) -> None:
        if self._runner is None:
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


def _check(name: object) -> None:
    """Raise if `name` cannot be the name of a client."""
    if not isinstance(name, str):
        raise TypeError(f"a client cannot be called {name!r}: a name is a string")
    if not 0 < len(name) <= 40 or not name.isprintable():
        raise ValueError(
            f"a client cannot be called {name!r}: a name has 1 to 40 printable characters"
        )


async def _in_empty_context(work: Coroutine[Any, Any, _T]) -> _T:
    # What a handler prints is shown where its task's context points. An empty one points at the
    # cell that is running when it prints, not at the cell that opened the stage.
    return await asyncio.create_task(work, context=contextvars.Context())
