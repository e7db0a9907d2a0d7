"""The stage: a scene with the look-ups of who got which message and why, and with lines to run.

Owns those look-ups, and the running of lines. Must not know: how a scene is served and closed
(`scene`), why a message did not arrive (`explain`), how that is drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import socketio  # type: ignore[import-untyped]

from ..internals.client_tap import Client
from ..internals.network import Network
from ..journal.facts import SERVER
from ..panel.composer import Cast, Draft
from ..panel.line import Outcome, run
from ..queues.observers import Observer
from ..views.table import Table
from ..views.view import Lookups, View
from ..views.wire import wire_table
from .process import Process
from .queue_tap import QueueTap
from .scene import Scene

if TYPE_CHECKING:
    from ..panel.cards import NodeLike
    from ..panel.panel import Panel

__all__ = ["Stage"]


class _Queues(Protocol):
    def watch(self, observer: Observer) -> Callable[[], None]: ...
    async def stats(self, queue: str) -> Any: ...


class _Cluster(Protocol):
    @property
    def nodes(self) -> Sequence[NodeLike]: ...


class Stage(Scene, Lookups):
    """Serves a `socketio.AsyncServer` on 127.0.0.1, and records who gets which message.

        stage = await Stage.open(sio)
        ada, bob = await stage.clients("ada", "bob")
        await sio.emit("news", "hello", skip_sid=ada.get_sid())
        await stage.settle()
        stage.deliveries()

    `sio`: your own server, made with `async_mode="asgi"` or `"aiohttp"`; handlers may be added
    before or after. `app`: your own application, if there is one: any ASGI application (of FastAPI,
    Starlette, Quart, a `socketio.ASGIApp`), or an `aiohttp.web.Application`; `sio` may be in it
    already, and is served beside it otherwise. `keep`: the most facts in the journal; `hide`:
    namespaces of which nothing is recorded, such as "/admin". `network`: "sockets", those of this
    machine, or "memory", where no port is taken: for many scenes in one process, which is all that
    can reach it. `hosts`: names under which it is reached from elsewhere, as through a proxy,
    besides those of this machine (and those in CHATQ_ALLOW_HOST). `secret`: what every request has
    to present, where other users of this machine are not to reach it; its clients and processes do
    so by themselves, a browser asks for it, and others send it as `X-Chatq-Secret`.

    `async with Stage(sio) as stage` opens and closes it, too. Raises `TypeError` for a server or an
    application of another kind, `ValueError` for a network, host or secret that is none,
    `ModuleNotFoundError` if uvicorn is needed and not installed; and when it opens, `RuntimeError`
    if the ASGI application does not start.
    """

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
        super().__init__(
            sio, app, keep=keep, hide=hide, network=network, hosts=hosts, secret=secret
        )
        self.journal.tell_kinds(self._kinds)
        self._queue_tap: QueueTap | None = None
        self._watched: list[_Queues] = []
        self._nats: _Cluster | None = None
        self._line = asyncio.Lock()
        #: The outcomes of the newest lines, see `run`.
        self.outcomes: deque[Outcome] = deque(maxlen=20)

    async def _close(self) -> None:
        await super()._close()
        kinds = self._kinds()
        self.journal.tell_kinds(lambda: kinds)  # who keeps the journal need not keep all the rest

    def watch(self, queues: _Queues) -> None:
        """Record facts of `queues` (a `chatq.Queues`) in the journal, too.

        Queues that are opened again on the same store are to be watched again: their messages keep
        their numbers.
        """
        self._check_open()
        assert self._tap is not None
        if self._queue_tap is None:
            self._queue_tap = QueueTap(self._recorder, self._tap.names)
        self._unwatch.append(queues.watch(self._queue_tap))
        self._watched.append(queues)

    async def stats(self) -> dict[str, Any]:
        """Return the `Stats` of every watched queue of which there are facts, by its name."""
        found: dict[str, Any] = {}
        for name in self._queues():
            for queues in reversed(self._watched):
                try:
                    found[name] = await queues.stats(name)
                    break
                except (LookupError, OSError, RuntimeError):
                    pass  # it is not a queue of these, or they are closed
        return found

    def __getitem__(self, name: str) -> Client | Process:
        """Return the client or the process called `name`. Raises `LookupError` if there is none."""
        if process := self._programs.processes().get(name):
            return process
        return self._client(name)

    async def run(self, line: str, within: float = 5.0) -> Outcome:
        """Run one line of Python as a cell would, settle, and return its outcome.

            await stage.run("await sio.emit('news', 'hello', skip_sid=ada.get_sid())")

        In it, `sio` is the server, `stage` this stage, `queues` the watched queues, and clients and
        processes have their names. Lines run one after the other; `outcomes` has the newest. What
        the line, a handler or `settle` raises is not raised, but in the `Outcome`. `within`: a
        deadline in seconds.
        """
        async with self._line:
            self._check_open()
            outcome = await run(
                line, self._namespace(), partial(self._settle_if_open, min(within, 5.0)), within
            )
        self.outcomes.append(outcome)
        self._notify()
        return outcome

    def _namespace(self) -> dict[str, Any]:
        """Return the names that a line can use, with their values."""
        names = {**self._clients, **self._programs.processes(), "sio": self.sio, "stage": self}
        names |= {} if self._nats is None else {"nats": self._nats}
        return {**names, "queues": self._watched[-1]} if self._watched else names

    def cast(self) -> Cast:
        """Return the names that a line can use now."""
        inside = {name: [*client.namespaces] for name, client in self._clients.items()}
        outside = {
            name: client.link.server
            for name, client in self._clients.items()
            if client.link and client.link.server != SERVER and client.namespaces
        }
        return Cast(self._kinds(), inside, bool(self._watched), outside)

    async def _settle_if_open(self, within: float) -> None:
        if self._open:  # the line may have closed it
            await self.settle(within)

    async def reset(self) -> None:
        """Reset the scene: every client reconnects with the same arguments, so it is in no room;
        every process is restarted; nothing is frozen, and the journal is empty.

        A client that is refused stays disconnected, as the journal then shows. Queues keep their
        messages. Raises `NotSettled` if a process that was connected does not connect again.
        """
        self._check_open()
        for client in [*self._clients.values()]:
            await client.hang_up()
        for name in self._programs:
            await self.kill(name)
        await self._recorder.activity.quiet(5.0)
        self._recorder.failures.clear()
        self._recorder.other_servers.clear()
        self.journal.forget()
        if self._queue_tap is not None:
            self._queue_tap.forget()
        clients = [*self._clients.values()]
        elsewhere = [one for one in clients if isinstance(one.dialled.get("url"), Process)]
        await self._dial_again(one for one in clients if one not in elsewhere)
        for name in self._programs:
            await self.restart(name)
        await self._dial_again(elsewhere)
        for name, process in self._programs.processes().items():
            if self._names.guests[name] is not None:  # it had connected to this server before
                await self.until(partial(self._is_back, process), f"{name} to be connected again")
        await self.settle()

    async def _dial_again(self, clients: Iterable[Client]) -> None:
        for client in clients:
            with contextlib.suppress(socketio.exceptions.ConnectionError, ValueError):
                await client.connect(**client.dialled)

    def _is_back(self, process: Process) -> bool:
        return process.code is not None or bool(self._inside(process.name))

    def panel(self, question: str = "", nats: _Cluster | None = None, **draft: Any) -> Panel:
        """Return the panel that drives this scene by hand; a notebook shows it as widgets.

        `question`: its title. `nats`: the cluster below the queues: its nodes have buttons then,
        and lines call it `nats`. `draft`: the first message of its composer, by the fields of
        `chatq.Draft`: `sender`, `event`, `data`, `target`, `who`, `namespace`. Raises `ImportError`
        if ipywidgets is not installed.
        """
        from ..panel.panel import Panel

        self._nats, nodes = nats, () if nats is None else nats.nodes
        return Panel(self, question, Draft(**{"sender": SERVER, "event": "news", **draft}), nodes)

    def view(self, upto: int | None = None, keep: int | None = None) -> View:
        """Return a snapshot of the scene, now or as it was after `upto` facts, with the same
        look-ups as this stage. `keep`: only the newest so many facts.
        """
        over = self._closing is not None
        journal = self.journal
        if upto is not None or keep is not None:
            newest = upto is None or upto >= journal.written
            journal = journal.part(journal.written if upto is None else upto, keep)
            return View(journal, self._kinds(), over and newest, self._queues() if newest else ())
        activity = self._recorder.activity
        under_way = activity.describe() if self._open and activity.total else ""
        return View(journal, self._kinds(), over, self._queues(), under_way)

    def _queues(self) -> list[str]:
        return [*self._queue_tap.queues] if self._queue_tap else []

    def _kinds(self) -> dict[str, str]:
        return {
            **dict.fromkeys(self._recorder.other_servers, "server"),
            **dict.fromkeys(self._names, "client"),
            **dict.fromkeys(self._names.guests, "guest"),
            **dict.fromkeys(self._programs, "process"),
        }

    def wire(self, client: str | Client) -> Table:
        """Return the table of the frames on the wire of `client`, each with its meaning."""
        client = self._client(client)
        client.check_recorded("show its frames")
        return wire_table(client.tape.frames, client.name, client.packet_class)
