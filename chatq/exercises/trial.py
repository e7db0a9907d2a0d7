"""The scene in which one answer is tried, and the invariants that are judged on its journal.

Owns what a scene may ask: servers with the answer in them, named clients, and who must have got
what. Must not know: which exercise it is, what a notebook shows.
"""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from traceback import walk_tb
from typing import Any

import socketio  # type: ignore[import-untyped]

from ..stage.client import Client
from ..stage.deliveries import cell, label, route
from ..stage.explain import Message, sentence
from ..stage.journal import SERVER, Disconnected, Received, preview
from ..stage.server_tap import listens
from ..stage.stage import Stage
from .blame import place
from .guard import contained, refuse

__all__ = ["NotDone", "Trial", "Wrong", "listing", "times"]


#: An error in a handler is told in the verdict: the library's own traceback of it goes nowhere.
_SILENT = logging.getLogger("chatq.exercises")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SERVER = {"async_mode": "aiohttp", "logger": _SILENT, "engineio_logger": _SILENT}


class NotDone(Exception):
    """The answer is the stub that it was."""


class Wrong(Exception):
    """The first counter-example, as lines: what was expected of whom, and what came instead."""

    def __init__(self, **told: str) -> None:
        super().__init__(told)
        self.told = tuple(f"{name:9} {text}" for name, text in told.items() if text)


class Trial:
    """One try of `answer`; `folder`: for its files; `random`: seeded, the same for every try."""

    def __init__(self, answer: Any, folder: Path) -> None:
        self.answer, self.folder, self.random = answer, folder, Random(17)
        self.stage: Stage
        self.sio: socketio.AsyncServer
        #: The servers and clients with the answer in them.
        self.sides: list[Any] = []
        #: What was shown so far.
        self.proved: list[str] = []
        #: Each with the function that takes its server back from the answer.
        self._stages: list[tuple[Stage, Callable[[], None]]] = []
        #: A verdict may show a sid, and has to read the same each time.
        self._sids = (f"sid-{n}" for n in count(1))
        #: Called first when it is closed: what works on the servers.
        self.closing: list[Callable[[], Awaitable[object]]] = []

    async def serve(self, *given: Any, **options: Any) -> Stage:
        """Open a stage on a new server with the answer in it; `given`: what else it is called with;
        `options`: of the server. The answer may be a coroutine function."""
        self.sio = socketio.AsyncServer(**_SERVER, **options)
        self.sio.eio.generate_id = partial(next, self._sids)
        take_back = _lend(self.sio)
        try:
            await self._equip(self.sio, *given)
        finally:
            take_back()
        return await self._open(self.sio)

    async def made(self, *given: Any) -> Stage:
        """Open a stage on a server that the answer makes; `given`: what it is called with."""
        made = self.answer(*given)
        if inspect.isawaitable(made):
            made = await made
        if made is None and not getattr(getattr(self.answer, "__code__", None), "co_names", ()):
            raise NotDone  # it does not even name anything
        if not isinstance(made, socketio.AsyncServer):
            raise Wrong(expected="returns a socketio.AsyncServer", got=f"returns {made!r:.200}")
        if made in self.sides:
            raise Wrong(expected="returns a new server each time", got="returned the same twice")
        made.logger = made.eio.logger = _SILENT
        self.sides.append(made)
        _survive_exit(made)
        return await self._open(made)

    async def host(self) -> Stage:
        """Open a stage on a new server without the answer in it: the answer is a client's."""
        return await self._open(socketio.AsyncServer(**_SERVER))

    async def _open(self, sio: socketio.AsyncServer) -> Stage:
        self.sio = sio
        self.stage = await Stage.open(self.sio)
        self._stages.append((self.stage, _lend(self.sio)))
        return self.stage

    async def equipped(self, name: str, *given: Any) -> Client:
        """Return a client with the answer in it, not connected yet; `given`: what else the answer
        is called with."""
        client = await self.stage.client(name, connect=False)
        client.logger = client.eio.logger = _SILENT
        await self._equip(client, *given)
        return client

    async def _equip(self, side: Any, *given: Any) -> None:
        """Have the answer register its handlers at a server or a client."""
        before = _registered(side)
        self.sides.append(side)
        result = self.answer(side, *given)
        if inspect.isawaitable(result):
            await result
        if _registered(side) == before:
            raise NotDone
        _survive_exit(side)

    async def clients(
        self,
        *names: str,
        hears: Collection[str] = (),
        namespaces: Collection[str] = ("/",),
        **options: Any,
    ) -> list[Client]:
        """Connect clients that listen to these events, and acknowledge them with nothing; each of
        them has to be let in."""
        clients = []
        for name in names:
            client, refusals = await self.knock(name, hears, namespaces, **options)
            for namespace in [*refusals, *namespaces]:
                if not self.stage.connected(name, namespace):
                    raise Wrong(
                        message=f"{name} dials",
                        client=name,
                        expected=f"is let in to {namespace}",
                        got=f"is refused: {refusals.get(namespace, 'the server does not answer')}",
                    )
            clients.append(client)
        return clients

    async def knock(
        self,
        name: str,
        hears: Collection[str] = (),
        namespaces: Collection[str] = ("/",),
        **options: Any,
    ) -> tuple[Client, dict[str, str]]:
        """Let one client dial that may be refused; return it, and by namespace the reason that it
        was told."""
        client = await self.stage.client(name, connect=False)
        refusals: dict[str, str] = {}

        def note(namespace: str, why: Any = "") -> None:
            refusals[namespace] = str(why.get("message", why) if isinstance(why, dict) else why)

        for namespace in namespaces:
            for event in hears:
                client.on(event, lambda *_: None, namespace=namespace)
            client.on("connect_error", partial(note, namespace), namespace=namespace)
        try:
            await client.connect(namespaces=[*namespaces], **{"wait_timeout": 3, **options})
        except socketio.exceptions.ConnectionError:
            await self.settle()  # if a handler raised, that is the better answer
        return client, refusals

    async def says(self, client: Client, event: str, *data: Any) -> None:
        """Let `client` emit this to the server, and wait until all is quiet; a handler of the
        answer has to listen to it."""
        before = self.stage.journal.messages
        await client.emit(event, data)
        await self.settle()
        for fact in self.stage.journal:
            if isinstance(fact, Received) and fact.client == SERVER and fact.message > before:
                if fact.handled:
                    continue
                raise Wrong(
                    message=f"{client.name} emits {event!r}",
                    client=client.name,
                    expected="a handler of the server takes it",
                    got="the packet came, and nothing happened" + self.deaf(event),
                )

    async def asks(self, client: Client, event: str, *data: Any) -> Any:
        """Let `client` emit this, and return what the server's handler answers."""
        answers: list[Any] = []
        await client.emit(event, data, callback=lambda *given: answers.append(given))
        await self.settle()
        return answers[0][0] if answers and len(answers[0]) == 1 else None

    def lost(self, error: BaseException) -> Wrong | None:
        """If `error` says only that a client of the scene could not go on, since its connection
        has ended, return that."""
        if place(error) or not isinstance(error, (socketio.exceptions.SocketIOError, RuntimeError)):
            return None
        clients = [f.f_locals.get("self") for f, _ in walk_tb(error.__traceback__)]
        for client in clients:
            if isinstance(client, Client) and not client.connected:
                ends = [f for f in self.stage.journal if isinstance(f, Disconnected)]
                why = [f.reason for f in ends if f.client == client.name][-1:]
                return Wrong(
                    message=f"{client.name} goes on",
                    client=client.name,
                    expected="is still connected",
                    got="its connection has ended" + "".join(f": {one}" for one in why),
                )
        return None

    def deaf(self, event: str, namespace: str = "/") -> str:
        """If no handler of the answer listens to `event` there, say so, and to what they do."""
        if any(listens(side, event, namespace) for side in self.sides):
            return ""
        known = [
            name if space == namespace else f"{name} in {space}"
            for side in self.sides
            for space, handlers in side.handlers.items()
            for name in handlers
            if name not in ("connect", "disconnect", "connect_error")
        ]
        others = f", only to {listing([*dict.fromkeys(known)])}" if known else ""
        where = "" if namespace == "/" else f" in {namespace}"
        return f"; no handler listens to {event!r}{where}{others}"

    async def settle(self) -> None:
        """Wait until all is quiet."""
        await self.stage.settle()

    async def close(self) -> None:
        """Close what was opened; if something cannot be closed, the rest is, and it is raised."""
        async with AsyncExitStack() as stack:
            for stage, take_back in self._stages:
                stack.push_async_callback(stage.close)
                stack.callback(take_back)
            for close in reversed(self.closing):
                stack.push_async_callback(close)

    async def stop(self) -> None:
        """Stop the server, as a program that has ended; another may be served after it."""
        stage, take_back = self._stages.pop()
        take_back()
        await stage.close()
        for handlers in stage.sio.handlers.values():
            handlers.clear()
        gc.collect()  # so that what only the answer held, as a database, is closed

    # -- invariants -------------------------------------------------------------------------------

    def got(
        self,
        event: str,
        who: Iterable[str],
        what: str,
        *,
        since: int = 0,
        data: Any = ...,
        namespace: str = "/",
    ) -> None:
        """Exactly `who` must have got an `event` from the server, each once; `what`: in words, what
        was said; `since`: look only at messages with a higher number. `data`: what must be in it
        (`...`: anything); `namespace`: where they must have got it, and nowhere else."""
        wanted = {*who}
        sent = self._sent(event, since)
        for name in self.stage.view().kinds:
            times = sum(
                isinstance(fact, Received) and fact.client == name and fact.handled
                for message in sent
                for fact in self._received(message)
            )
            if times != (name in wanted):
                message = next((m for m in reversed(sent) if self._concerns(m, name, times)), None)
                self._wrong(what, name, name in wanted, times, message, event, since)
            if times:
                self._said(what, name, sent, data, namespace)
        once = "each once" if len(wanted) > 1 else "once"
        told = f"{_list(wanted)}, {once}, and nobody else" if wanted else "nobody"
        self.proved.append(f"{what} reaches {told}")

    def _said(self, what: str, name: str, sent: list[Message], data: Any, namespace: str) -> None:
        """What `name` got, once, must be this, and there."""
        (message,) = [
            m for m in sent if any(f.client == name and f.handled for f in self._received(m))
        ]
        emitted = message.emitted
        told = f"{what}: {label(message)} ({route(message)})"
        if emitted.namespace != namespace:
            got = f"gets it in {emitted.namespace}"
            raise Wrong(message=told, client=name, expected=f"gets it in {namespace}", got=got)
        if data is not ... and emitted.data != (wanted := preview((data,))):
            raise Wrong(message=told, client=name, expected=f"gets {wanted}", got=emitted.data)

    def _concerns(self, message: Message, name: str, times: int) -> bool:
        return not times or any(fact.client == name for fact in self._received(message))

    def _sent(self, event: str, since: int) -> list[Message]:
        return [
            m
            for m in self.stage.view().messages
            if m.emitted.event == event and m.emitted.sender == SERVER and m.emitted.message > since
        ]

    def _received(self, message: Message) -> list[Received]:
        number = message.emitted.message
        return [f for f in self.stage.journal if isinstance(f, Received) and f.message == number]

    def _wrong(
        self,
        what: str,
        name: str,
        should: bool,
        count: int,
        message: Message | None,
        event: str,
        since: int,
    ) -> None:
        expected = "gets it, once" if should else "does not get it"
        if message is None:
            raise Wrong(
                message=f"{what}: {event!r}",
                client=name,
                expected=expected,
                got=f"the server emits no {event!r} at all" + self._instead(since),
            )
        mark = cell(message.verdicts.get(name)).replace("✓", "gets it")
        raise Wrong(
            message=f"{what}: {label(message)} ({route(message)})",
            client=name,
            expected=expected,
            got=self._too_often(name, event, since) if count > 1 else mark,
            why=sentence(message, name),
        )

    def _instead(self, since: int) -> str:
        """What the server emits, and what clients say that it does not listen to."""
        new = [m.emitted for m in self.stage.view().messages if m.emitted.message > since]
        sent = [*dict.fromkeys(one.event for one in new if one.sender == SERVER)]
        said = dict.fromkeys((m.event, m.namespace) for m in new if m.sender != SERVER)
        deaf = [told for one in said if (told := self.deaf(*one))]
        return (f"; it emits {listing(sent)}" if sent else "") + "".join(deaf[:1])

    def _too_often(self, name: str, event: str, since: int) -> str:
        got = [
            message.emitted.data
            for message in self._sent(event, since)
            for fact in self._received(message)
            if fact.client == name and fact.handled
        ]
        if len({*got}) == 1:
            return f"gets it {times(len(got))}"
        return f"gets {len(got)}, not one: {', '.join(got)}"

    async def told(
        self,
        client: Client,
        event: str,
        data: Any,
        expected: Any,
        what: str,
        *,
        namespace: str = "/",
    ) -> None:
        """`client` emits `event`, and what the handler returns to it must be `expected`."""
        answers: list[Any] = []

        def note(*answer: Any) -> None:
            answers.append(answer[0] if len(answer) == 1 else answer or None)

        await client.emit(event, data, namespace=namespace, callback=note)
        await self.settle()
        if not answers:
            raise Wrong(
                message=what,
                client=client.name,
                expected=repr(expected),
                got=f"no answer: the server has no handler for {event!r}" + self.deaf(event),
            )
        self.equal(what, client.name, answers[0], expected)

    def equal(self, what: str, client: str, got: Any, expected: Any, why: str = "") -> None:
        """What `client` was told must be this."""
        if got != expected:
            raise Wrong(
                message=what, client=client, expected=repr(expected), got=repr(got), why=why
            )
        self.proved.append(f"{what}: {client} is told {expected!r}")

    def in_order(self, what: str, client: str, got: list[Any], expected: list[Any]) -> None:
        """`client` must have got these, each once, in this order."""
        for item in expected:
            count = got.count(item)
            if count != 1:
                raise Wrong(
                    message=f"{what}: {item!r}",
                    client=client,
                    expected="gets it, once",
                    got="never got it" if not count else f"got it {times(count)}",
                    why=f"what came: {listing(got)}",
                )
        if extra := [item for item in got if item not in expected]:
            self.nothing(what, client, extra, among=got)
        for n, item in enumerate(expected):
            if got[n] != item:
                raise Wrong(
                    message=f"{what}: {item!r}",
                    client=client,
                    expected=f"gets it as number {n + 1}",
                    got=f"number {got.index(item) + 1}",
                    why=f"what came: {listing(got)}",
                )
        self.proved.append(f"{what}: {client} gets {len(expected)}, each once, in order")

    def nothing(
        self, what: str, client: str, got: list[Any], *, among: list[Any] | None = None
    ) -> None:
        """`client` must not have got any of these; `among`: all that it got."""
        if got:
            raise Wrong(
                message=f"{what}: {got[0]!r}",
                client=client,
                expected="does not get it",
                got="got it",
                why=f"what came: {listing(among or got)}",
            )
        self.proved.append(f"{what}: {client} gets nothing")


def listing(got: list[Any]) -> str:
    """Return what is in the list, as text."""
    return ", ".join(map(repr, got)) or "nothing"


def times(count: int) -> str:
    """Return how often, in words."""
    return ("never", "once", "twice")[count] if count < 3 else f"{count} times"


def _list(names: Collection[str]) -> str:
    return " and ".join(", ".join(sorted(names)).rsplit(", ", 1))


def _registered(side: socketio.AsyncServer | socketio.AsyncClient) -> tuple[Any, ...]:
    events = [(space, *handlers) for space, handlers in side.handlers.items()]
    return (sorted(events), sorted(side.namespace_handlers))


def _survive_exit(side: Any) -> None:
    """`sys.exit()` in a handler, of a server or a client, would end the notebook's kernel."""
    original = side._trigger_event

    async def trigger(*args: Any, **options: Any) -> Any:
        return await contained("the handler", original(*args, **options))

    side._trigger_event = trigger


def _lend(sio: socketio.AsyncServer) -> Callable[[], None]:
    """Keep an answer from stopping the server, which is the trial's to do; returns the function
    that takes the server back as it was."""
    eio, manager, handlers = sio.eio, sio.manager, sio.handlers
    sio.shutdown = eio.shutdown = refuse("shutdown() stops the server that the check is using")

    def take_back() -> None:
        sio.eio, sio.manager, sio.handlers = eio, manager, handlers
        for one in (sio, eio):
            vars(one).pop("shutdown", None)

    return take_back
