"""A trial of an answer as the consumer of a queue, with invariants on the work done.

Owns queues on a trial's server with a clock that is moved by hand, and the invariants on work: what
was done how often, what is still queued, what is a dead letter. Must not know: which exercise it
is.
"""

from __future__ import annotations

import asyncio
import pickle
from functools import partial
from typing import Any, Self

from ..internals.client_tap import Client
from ..queues.memory import MemoryStore
from ..queues.queues import Queues
from ..queues.receipts import EVENTS
from ..queues.rules import Rules
from ..queues.store import Limits
from ..stage.scene import HandlerRaised
from .invariants import Wrong, listing, times
from .sandbox import replaced
from .trial import Trial

__all__ = ["Clock", "Errands", "on_a_quick_line"]

_QUEUE, _EVENT = "drivers", "pickup"


async def _kept() -> None:
    """Close nothing: the store is opened again at once."""


class Clock:
    """A clock that is moved by hand, in seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class _Store(MemoryStore):
    """A store in memory, as it is found again by the next process where this one is killed."""

    def kept(self) -> bytes:
        return pickle.dumps((self._state, self._bodies))

    def take(self, kept: bytes) -> None:
        self._state, self._bodies = pickle.loads(kept)


class Errands:
    """The queue `drivers` on a server of its own, and checks of its consumer; see `open`."""

    trial: Trial
    queues: Queues
    clock: Clock

    def __init__(self, trial: Trial, queues: Queues, clock: Clock) -> None:
        self.trial, self.queues, self.clock = trial, queues, clock

    def kept(self) -> bytes:
        """Return what is in the queues now, for another process to go on with."""
        return self.queues.store.kept()  # type: ignore[attr-defined, no-any-return]

    async def restart(self) -> None:
        """Close the queues, and open new ones on the same store; nobody consumes them yet."""
        store = self.queues.store
        with replaced(store, "close", _kept):
            await self.queues.close(within=0)
        for event in EVENTS:
            self.trial.sio.handlers["/"].pop(event, None)
        self.queues = Queues(store, self.queues.rules, clock=self.clock, random=self.trial.random)
        self._begin()

    def _begin(self) -> None:
        self.trial.closing.append(partial(self.queues.close, within=0))
        self.queues.attach(self.trial.sio)
        self.trial.stage.watch(self.queues)

    @classmethod
    async def open(
        cls, trial: Trial, rules: Rules, *, now: float = 0.0, kept: bytes | None = None
    ) -> Self:
        """Serve queues in memory with these rules, for an answer that is a client's.

        `now`: what the clock shows; `kept`: what the queues go on with.
        """
        await trial.host()
        clock = Clock()
        clock.now = now
        limits = {name: getattr(rules, name) for name in Limits._fields}
        store = _Store(clock=clock, **limits)
        if kept is not None:
            store.take(kept)
        errands = cls(trial, Queues(store, rules, clock=clock, random=trial.random), clock)
        errands._begin()
        return errands

    async def settle(self, *expected: type[Exception]) -> None:
        """Wait until all is quiet; a handler may have raised these errors."""
        try:
            await self.trial.settle()
        except HandlerRaised as raised:
            if not all(isinstance(error, expected) for error in raised.errors):
                raise

    async def put(self, *packages: str) -> None:
        """Put packages into the queue, to be delivered as `pickup`."""
        for package in packages:
            await self.queues.emit(_EVENT, package, to=_QUEUE)

    async def put_at_once(self, *packages: str) -> None:
        """Put packages into the queue in one call, so that they are there at the same time."""
        message = self.queues.message
        await self.queues.emit_many([message(_EVENT, one, to=_QUEUE) for one in packages])

    async def go_to(self, client: Client, window: int = 16) -> None:
        """Let `client` consume the queue."""
        await self.queues.subscribe(client.get_sid(), _QUEUE, window=window)

    def later(self, seconds: float) -> None:
        """Move the clock by so many seconds."""
        self.clock.now += seconds
        self.queues.tick()

    # -- invariants -------------------------------------------------------------------------------

    def done(
        self, what: str, client: str, done: list[Any], expected: list[Any], why: str = ""
    ) -> None:
        """Require that `client` has done this work, in any order, each item as often as expected;
        `why`: an explanation if it has not."""
        for item in [*expected, *done]:
            wanted, count = expected.count(item), done.count(item)
            if count != wanted:
                raise Wrong(
                    message=f"{what}: {item!r}",
                    client=client,
                    expected=f"does it {times(wanted)}",
                    got=f"did it {times(count)}" if count else "never did it" + self._deaf(),
                    why=why or f"what was done: {listing(done)}",
                )
        self.trial.proved.append(f"{what}: {client} has done all, and nothing too often")

    def _deaf(self) -> str:
        return self.trial.deaf(_EVENT)

    async def answered(self, what: str, client: str) -> None:
        """Require that `client` has acknowledged its work: nothing is in flight."""
        if (await self.queues.stats(_QUEUE)).leased:
            raise Wrong(
                message=f"{what}, and the work is done",
                client=client,
                expected="answers for it at once, with its receipt",
                got="no answer that counts: until the lease ends the queue waits for one, and then "
                "sends it again",
            )

    async def not_left_out(self, client: str) -> None:
        """Require that `client` has negatively acknowledged failures: nothing is in flight."""
        if out := (await self.queues.stats(_QUEUE)).leased:
            raise Wrong(
                message="what failed, and was tried once",
                client=client,
                expected="is given back at once, so that it can be tried again soon",
                got=f"{out} still out to {client}, without a word, until the lease ends",
            )

    async def left(self) -> int:
        """Return how many messages the queue keeps that are not dead; none if nothing was sent."""
        try:
            stats = await self.queues.stats(_QUEUE)
        except LookupError:
            return 0
        return stats.ready + stats.leased + stats.delayed

    async def all_answered(self, client: str) -> None:
        """Require that the queue keeps nothing for `client`, in a generated scene."""
        if await self.left():
            raise Wrong(
                client=client,
                expected="answers for what is done, with its receipt",
                got="no answer that counts: the queue keeps it, to send it again",
            )

    async def empty(self, client: str) -> None:
        """Require that `client` has acknowledged everything: the queue is empty."""
        if left := await self.left():
            raise Wrong(
                message=f"what the queue {_QUEUE!r} still keeps",
                client=client,
                expected="has answered for each delivery, so nothing is kept",
                got=f"{left} kept, to be sent again",
                why="without the receipt of the current attempt a message comes again and again",
            )
        self.trial.proved.append(f"{client} has answered for all: the queue keeps nothing")

    async def dead(self, client: str, expected: dict[Any, str]) -> None:
        """Require that exactly these messages are dead letters, for these reasons.

        `expected`: the reason of each, by its data.
        """
        reasons = {one.data: one.reason for one in await self.queues.dead(_QUEUE)}
        for item in [*expected, *reasons]:
            if reasons.get(item) != expected.get(item):
                raise Wrong(
                    message=f"after the last attempt: {item!r}",
                    client=client,
                    expected=_fate(expected.get(item)),
                    got=_fate(reasons.get(item)),
                )
        self.trial.proved.append(f"dead, and for the right reason: {listing([*expected])}")


def on_a_quick_line(client: Client) -> None:
    """Let what `client` answers by an event reach the queues before its `emit` returns: so it may
    be, and whoever answers before the work has answered."""
    emit, cut = client.emit, client.cut
    severed: list[Any] = []

    async def emits(
        event: Any, data: Any = None, namespace: Any = None, callback: Any = None
    ) -> None:
        if event not in EVENTS or callback is not None or client.link in severed:
            await emit(event, data, namespace, callback)
            return
        there = asyncio.Event()
        await emit(event, data, namespace, lambda *_: there.set())
        await there.wait()

    def is_cut() -> None:
        severed.append(client.link)
        cut()

    client.__dict__.update(emit=emits, cut=is_cut)


def _fate(reason: str | None) -> str:
    return "is not among the dead" if reason is None else f"is dead, and the reason is {reason!r}"
