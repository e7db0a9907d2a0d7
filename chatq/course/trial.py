"""The trial of one answer: servers with the answer in them, and named clients.

Owns the tools of an exercise's scene. Must not know: which exercise it is, who must have got what,
what a notebook shows.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from traceback import walk_tb
from typing import Any

import socketio  # type: ignore[import-untyped]

from ..internals.client_events import around_handlers
from ..internals.client_tap import Client
from ..internals.dispatch import listens
from ..internals.network import Network
from ..journal.facts import SERVER, Disconnected, Raised, Received
from ..stage.stage import Stage
from .blame import place
from .clues import Clues
from .invariants import Invariants, Wrong, listing
from .sandbox import Fence, contained, refuse

__all__ = ["NotDone", "Trial"]


#: An error in a handler is part of the verdict: the library's own log of it is dropped.
_SILENT = logging.getLogger("chatq.course")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SERVER = {"async_mode": "aiohttp", "logger": _SILENT, "engineio_logger": _SILENT}


class NotDone(Exception):
    """The answer is still the stub."""


class Trial(Invariants):
    """One trial of `answer` inside `fence`; `folder`: for its files; `random`: seeded, the same for
    every try; `network`: that of its stages."""

    answer: Any
    folder: Path
    random: Random

    #: For how many seconds to wait until all is quiet.
    patience: float = 5.0

    def __init__(
        self, answer: Any, folder: Path, fence: Fence, network: Network = "sockets"
    ) -> None:
        super().__init__()
        self.answer, self.folder, self.random = answer, folder, Random(17)
        self._network: Network = network
        self._fence = fence
        self.sio: socketio.AsyncServer
        #: What the answer has returned last, to a side that it was given.
        self.returned: Any = None
        #: The servers and clients with the answer in them.
        self.sides: list[Any] = []
        #: Each with the function that restores its server.
        self._stages: list[tuple[Stage, Callable[[], None]]] = []
        #: Fixed sids, since a verdict may show one, and must not vary.
        self._sids = (f"sid-{n}" for n in count(1))
        #: What is seen of its mistakes; whether it makes its servers itself.
        self.clues, self.makes = Clues(self.sides), False
        #: Called on closing, before the servers are closed.
        self.closing: list[Callable[[], Awaitable[object]]] = []

    async def serve(self, *given: Any, **options: Any) -> Stage:
        """Open a stage on a new server with the answer in it; `given`: the answer's further
        arguments; `options`: of the server. The answer may be a coroutine function."""
        self.sio = socketio.AsyncServer(**_SERVER, **options)
        self.sio.eio.generate_id = partial(next, self._sids)
        restore = _protect(self.sio)
        try:
            await self._equip(self.sio, *given)
        finally:
            restore()
        return await self._open(self.sio)

    async def made(self, *given: Any) -> Stage:
        """Open a stage on a server that the answer makes; `given`: its arguments."""
        self.makes = True
        with self.clues.registering():
            made = self.answer(*given)
            if inspect.isawaitable(made):
                made = await made
        if made is None and not getattr(getattr(self.answer, "__code__", None), "co_names", ()):
            raise NotDone  # it uses no name at all
        if not isinstance(made, socketio.AsyncServer):
            missing = "" if made is not None else self._what_to_return()
            raise Wrong(
                expected="returns a socketio.AsyncServer",
                got=f"returns {made!r:.200}",
                note=missing,
            )
        if made in self.sides:
            raise Wrong(expected="returns a new server each time", got="returned the same twice")
        made.logger = made.eio.logger = _SILENT
        self.sides.append(made)
        around_handlers(made, partial(self._handles, made))
        return await self._open(made)

    def _what_to_return(self) -> str:
        self.clues.all_elsewhere = True
        made = [one.side for one in self.clues.elsewhere]
        name = self.clues.name_of(made[-1]) if made else ""
        return f"`return {name or 'the server'}` is missing as the last line of the answer"

    async def host(self) -> Stage:
        """Open a stage on a new server without the answer in it: the answer is a client's."""
        return await self._open(socketio.AsyncServer(**_SERVER))

    async def _open(self, sio: socketio.AsyncServer) -> Stage:
        self.sio = sio
        self.stage = await Stage.open(self.sio, network=self._network)
        self._stages.append((self.stage, _protect(self.sio)))
        return self.stage

    async def equipped(self, name: str, *given: Any) -> Client:
        """Return a client with the answer in it, not connected yet; `given`: the answer's further
        arguments."""
        client = await self.stage.client(name, connect=False)
        client.logger = client.eio.logger = _SILENT
        await self._equip(client, *given)
        return client

    async def _equip(self, side: Any, *given: Any) -> None:
        """Let the answer register its handlers at a server or a client."""
        before = _registered(side)
        self.sides.append(side)
        with self.clues.registering(side):
            result = self.answer(side, *given)
            if inspect.isawaitable(result):
                result = await result
        self.returned = result
        if _registered(side) == before:
            if self.clues.elsewhere:
                self._elsewhere(side)
            if not callable(result):
                raise NotDone
        around_handlers(side, partial(self._handles, side))

    def _elsewhere(self, side: Any) -> None:
        """Raise `Wrong`: the answer has registered its handlers, but not at `side`."""
        self.clues.all_elsewhere = True
        mine = "server" if isinstance(side, socketio.AsyncServer) else "client"
        other = type(self.clues.elsewhere[0].side).__name__
        raise Wrong(
            expected=f"registers its handlers at the {mine} that it is given",
            got=f"handlers were registered at another one than the one given, which is never asked "
            f"(socketio.{other})",
            where=self.clues.elsewhere[0].line,
            note="the answer makes none of its own, and uses none from outside: take its parameter",
        )

    async def _handles(
        self, side: Any, work: Any, event: str, namespace: str, given: tuple[Any, ...]
    ) -> Any:
        """Let a handler work, and see what comes of it."""
        try:
            result = await contained("the handler", work)
        except TypeError as error:
            self.clues.misfit(side, error, event, namespace, given)
            raise
        self.clues.result(event, result)
        return result

    async def clients(
        self,
        *names: str,
        hears: Collection[str] = (),
        namespaces: Collection[str] = ("/",),
        **options: Any,
    ) -> list[Client]:
        """Connect clients with handlers of these events that do nothing; raises `Wrong` if one is
        refused."""
        clients = []
        for name in names:
            client = await self._hearing(name, hears, namespaces)
            await self.enters(client, namespaces, **options)
            clients.append(client)
        return clients

    async def knock(
        self,
        name: str,
        hears: Collection[str] = (),
        namespaces: Collection[str] = ("/",),
        **options: Any,
    ) -> tuple[Client, dict[str, str]]:
        """Connect a client that may be refused; return it, and the reasons by namespace."""
        client = await self._hearing(name, hears, namespaces)
        return client, await self.knocks(client, namespaces, **options)

    async def _hearing(
        self, name: str, hears: Collection[str], namespaces: Collection[str]
    ) -> Client:
        client = await self.stage.client(name, connect=False)
        for namespace in namespaces:
            for event in hears:
                client.on(event, lambda *_: None, namespace=namespace)
        return client

    async def enters(
        self, client: Client, namespaces: Collection[str] = ("/",), **options: Any
    ) -> None:
        """Connect this client; raises `Wrong` if it is refused."""
        name, refusals = client.name, await self.knocks(client, namespaces, **options)
        for namespace in [*refusals, *namespaces]:
            if not self.stage.connected(name, namespace):
                raise Wrong(
                    message=f"{name} dials",
                    client=name,
                    expected=f"is let in to {namespace}",
                    got=f"is refused: {refusals.get(namespace, 'the server does not answer')}",
                )

    async def knocks(
        self, client: Client, namespaces: Collection[str] = ("/",), **options: Any
    ) -> dict[str, str]:
        """Connect this client, which may be refused; return the reasons by namespace."""
        refusals: dict[str, str] = {}

        def note(namespace: str, why: Any = "") -> None:
            refusals[namespace] = str(why.get("message", why) if isinstance(why, dict) else why)

        for namespace in namespaces:
            client.on("connect_error", partial(note, namespace), namespace=namespace)
        dialling = asyncio.create_task(
            client.connect(namespaces=[*namespaces], **{"wait_timeout": 3, **options})
        )

        def look() -> None:
            # If a handler of `connect` raised, nobody answers: waiting for it would be in vain.
            if any(isinstance(fact, Raised) for fact in self.stage.journal):
                dialling.cancel()

        unheard = self.stage.listen(look)
        try:
            await dialling
        except socketio.exceptions.ConnectionError:
            await self.settle()  # if a handler raised, that says more
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) and this.cancelling():
                raise  # by whoever tries the answer
            await self.settle()
        finally:
            unheard()
        return refusals

    async def says(self, client: Client, event: str, *data: Any) -> None:
        """Emit this from `client` to the server, and settle; raises `Wrong` without a handler."""
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
        """Emit this from `client`, and return what the server's handler returns."""
        answers: list[Any] = []
        await client.emit(event, data, callback=lambda *given: answers.append(given))
        await self.settle()
        return answers[0][0] if answers and len(answers[0]) == 1 else None

    def lost(self, error: BaseException) -> Wrong | None:
        """Return a counter-example if `error` only means that a client's connection has ended."""
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
        """See `Invariants.deaf`; the text also names the events that have handlers."""
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
        await self.stage.settle(self.patience)

    def trouble(self) -> RuntimeError | None:
        """Return the first error of the answer's background tasks since the last call, if any."""
        troubles, self._fence.troubles[:] = [*self._fence.troubles], []
        return troubles[0] if troubles else None

    async def close(self) -> None:
        """Close everything; what cannot be closed raises after the rest is closed."""
        async with AsyncExitStack() as stack:
            stack.callback(self._fence.close_databases)
            stack.callback(self.clues.close)
            for stage, restore in self._stages:
                stack.push_async_callback(stage.close)
                stack.callback(restore)
            for close in reversed(self.closing):
                stack.push_async_callback(close)

    async def stop(self) -> None:
        """Stop the server, as if its program had ended; another may be served after it."""
        stage, restore = self._stages.pop()
        restore()
        await stage.close()
        for handlers in stage.sio.handlers.values():
            handlers.clear()
        gc.collect()  # so that what only the answer held, as a file, is closed
        self._fence.close_databases()


def _registered(side: socketio.AsyncServer | socketio.AsyncClient) -> tuple[Any, ...]:
    events = [(space, *handlers) for space, handlers in side.handlers.items()]
    return (sorted(events), sorted(side.namespace_handlers))


def _protect(sio: socketio.AsyncServer) -> Callable[[], None]:
    """Keep an answer from stopping the server; return the function that restores it."""
    eio, manager, handlers = sio.eio, sio.manager, sio.handlers
    sio.shutdown = eio.shutdown = refuse("shutdown() stops the server that the check is using")

    def restore() -> None:
        sio.eio, sio.manager, sio.handlers = eio, manager, handlers
        for one in (sio, eio):
            vars(one).pop("shutdown", None)

    return restore
