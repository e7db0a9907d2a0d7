"""A store on NATS JetStream, that any number of servers share.

Owns asking and answering: what goes into one record, who hears what of it, where bodies are kept,
and that the log does not grow without end. Must not know: the `nats` client, what asking does to
the messages, when a message is dead.

How several servers have the same queues, exactly
- Whatever is asked of a store becomes a record of one stream, and every server applies all records
  in their order (`nats_state`). So a receipt, a lease, a key, a length limit, the order of messages
  mean the same at all of them, and there is no owner that could die. A record is answered when it
  has come back out of the stream: then a quorum of nodes has it.
- What is asked while one record is on its way goes together into the next (group commit): a hundred
  producers share one round trip and one sync of each node's disk.
- A lease is in the log: it outlives the server that took it, and ends at its time. A store that is
  closed gives back what it still holds.
- A record whose fate is unknown (no quorum, no connection) is asked again under its number; if it
  came twice, it counts once. After `patience` whoever waits gets `Unconfirmed`: what they asked may
  have been done. For a message that means: emit it again, with a `key`, and there is one.

What JetStream has of its own and is not used, since the contract asks for more
- Its acknowledgements name a message, not an attempt: a stale one would settle the current attempt.
  Its consumers redeliver in an order of their own, by their node's clock, and one cannot take back
  an attempt that was never made, look at a queue in order, or keep a dead message's place.
- Its de-duplication looks at a window of the server's time, its lengths at a stream, not a queue.

What it relies on: servers that sync before they confirm. NATS does so with `jetstream {
sync_interval: always }` in its configuration, which those that `chatq` starts have. Without it, a
message that was confirmed is in the memory of a majority of the nodes, and lost if they lose their
power together. And a stream that nobody else writes to, purges or edits.

What it costs: every server reads what every other asks for, and keeps a few hundred bytes for each
message that waits, and for each key as long as it is remembered; bodies lie in the stream. Use
another stream (`nats://HOST/NAME`) for queues that other servers serve. The clocks of the servers
have to agree, to a small part of a lease. `stats`, `dead` and `peek` tell what was read so far.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from . import nats_snapshots as snapshots
from .nats_address import Address
from .nats_bodies import Bodies
from .nats_connection import PATIENCE, Unconfirmed
from .nats_log import NatsLog
from .nats_queue import Item
from .nats_record import Part, Record, encoded
from .nats_state import Granted, State
from .store import Attempt, Body, Claimed, Dead, Kept, NewMessage, QueueFull, Stats, StoreError

__all__ = ["NatsStore"]

_log = logging.getLogger("chatq")

#: How much goes together into one record, in bytes and in things asked.
_RECORD = 400_000
_TOGETHER = 2_000
#: After how many records, at least, a snapshot is taken.
_SNAPSHOT = 5_000
#: How many messages are moved out of old records at once.
_MOVED = 500
#: How many bytes of a record are neither what is asked nor bodies, at most.
_FRAME = 300
#: How long closing may wait for NATS, in seconds.
_GOODBYE = 1.0


@dataclass(slots=True)
class _Asked:
    """Something asked: a part of a record, or, without one, something to be looked up."""

    future: asyncio.Future[Any]
    part: Part | None
    when: float
    finish: Callable[[Any], Any]


@dataclass(slots=True)
class _Flight:
    """The record that is on its way, and who waits for it."""

    record: Record
    asked: list[_Asked]
    done: asyncio.Future[None]


class NatsStore:
    """Keeps messages in the log `log`; see `open`."""

    #: What is asked during a round trip waits so long for others before the next, in seconds.
    linger = 0.001

    def __init__(
        self,
        log: snapshots.Log,
        *,
        length: int = 1_000_000,
        key_memory: float = 24 * 3600.0,
        clock: Callable[[], float] = time.time,
        snapshot: int = _SNAPSHOT,
    ) -> None:
        self._log, self._length, self._key_memory, self._clock = log, length, key_memory, clock
        self._snapshot = snapshot
        self._server = os.urandom(8).hex()
        self._number = 0
        self._state = State(log.name)
        self._told: snapshots.Told | None = None  # of the last snapshot
        self._asked: deque[_Asked] = deque()
        self._flight: _Flight | None = None
        self._flushing: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cleaning = False
        self._mine: dict[str, None] = {}  # the receipts that this store has given out
        self._bodies = Bodies(log.fetch)
        self._listeners: list[Callable[[str], None]] = []
        self._wakes: dict[str, asyncio.TimerHandle] = {}
        self._broken = ""
        self._beginning: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        length: int = 1_000_000,
        key_memory: float = 24 * 3600.0,
        clock: Callable[[], float] = time.time,
        patience: float = PATIENCE,
    ) -> Self:
        """Return the store in a stream of the NATS servers at `url`.

        `url`: "nats://[user:password@]host1[:port][,host2…][/stream][?patience=seconds]";
        `length`: how many messages a queue takes; `key_memory`: for how many seconds keys are
        remembered; `clock`: gives the time in seconds since the epoch; `patience`: for how many
        seconds anything may go unconfirmed, if the `url` does not say.

        Raises `ValueError` for another `url`, `StoreError` if no server is reached, the login is
        wrong, there is no JetStream, no quorum, or the stream is somebody else's.
        """
        address = Address.parse(url)
        log = await NatsLog.open(address, patience=address.patience or patience)
        store = cls(log, length=length, key_memory=key_memory, clock=clock)
        try:
            await store.start()
        except BaseException:
            await log.close()
            raise
        return store

    async def start(self) -> None:
        """Read what is in the log."""
        self._state, self._told = await snapshots.last(self._log)
        await self._log.read(self._state.applied, self._came, self._hole)
        if self._beginning is not None:
            await self._beginning
        if self._broken:
            raise StoreError(self._broken)

    # -- the verbs --------------------------------------------------------------------------------

    def put(self, messages: Sequence[NewMessage]) -> asyncio.Future[list[list[str]]]:
        """See `Store.put`."""
        heads = [[m.event, m.queues, m.key, m.expires] for m in messages]
        return self._ask(["put", heads], bodies=[message.body for message in messages])

    def claim(
        self, queue: str, limit: int, lease: float, *, in_order: bool
    ) -> asyncio.Future[Claimed]:
        """See `Store.claim`."""
        chance = os.urandom(16).hex()
        return self._ask(
            ["claim", queue, limit, lease, in_order, chance],
            finish=lambda result: self._claimed(queue, *result),
        )

    def ack(self, receipts: Iterable[str]) -> asyncio.Future[list[bool]]:
        """See `Store.ack`."""
        return self._ask(["ack", [*map(_text, receipts)]])

    def release(
        self, receipt: str, delay: float = 0.0, *, counted: bool = True
    ) -> asyncio.Future[bool]:
        """See `Store.release`."""
        return self._ask(["release", _text(receipt), delay, counted])

    def bury(self, receipt: str, reason: str, *, counted: bool = True) -> asyncio.Future[bool]:
        """See `Store.bury`."""
        return self._ask(["bury", _text(receipt), reason, counted])

    def peek(self, queue: str, limit: int, after: str = "") -> asyncio.Future[list[Kept]]:
        """See `Store.peek`."""
        return self._look(
            lambda: self._kept(self._state.peek(queue, limit, self._state.number(after)))
        )

    def remove(self, queue: str, ids: Sequence[str]) -> asyncio.Future[list[bool]]:
        """See `Store.remove`."""
        return self._ask(["remove", queue, [*map(_text, ids)]])

    def dead(self, queue: str, limit: int = 100) -> asyncio.Future[list[Dead]]:
        """See `Store.dead`."""
        return self._look(lambda: self._died(self._state.dead(queue, limit)))

    def redrive(self, queue: str, ids: Iterable[str] | None = None) -> asyncio.Future[int]:
        """See `Store.redrive`."""
        return self._ask(["redrive", queue, None if ids is None else [*map(_text, ids)]])

    def stats(self, queue: str) -> asyncio.Future[Stats | None]:
        """See `Store.stats`."""
        return self._look(lambda: self._state.stats(queue, self._clock()))

    def listen(self, listener: Callable[[str], None]) -> None:
        """See `Store.listen`."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    # -- asking -----------------------------------------------------------------------------------

    def _ask(
        self,
        verb: list[Any] | None,
        *,
        bodies: list[Body] | None = None,
        finish: Callable[[Any], Any] = lambda result: result,
    ) -> asyncio.Future[Any]:
        if self._closing is not None:
            raise StoreError("the store is closed")
        return self._add(verb, bodies or [], finish)

    def _add(
        self,
        verb: list[Any] | None,
        bodies: list[Body],
        finish: Callable[[Any], Any] = lambda result: result,
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        try:
            part = None if verb is None else Part.of(verb, bodies)
            if part is not None and part.size + _FRAME > self._log.largest:
                raise ValueError(
                    f"{part.size} bytes are more than these servers take at once: raise their "
                    f"max_payload ({self._log.largest})"
                )
        except (AttributeError, TypeError, ValueError) as error:
            future.set_exception(StoreError(f"nothing was changed on NATS: {error}"))
            return future
        self._asked.append(_Asked(future, part, loop.time(), finish))
        if self._flight is None and self._flushing is None:
            self._flushing = loop.call_soon(self._flush)
        return future

    def _look(self, look: Callable[[], Any]) -> asyncio.Future[Any]:
        """Look something up once all that was asked before is done."""
        return self._ask(None, finish=lambda _: look())

    def _flush(self) -> None:
        """Write a record of what was asked, unless one is on its way."""
        self._flushing = None
        asked: list[_Asked] = []
        size = 0
        while self._asked and self._flight is None:
            each = self._asked[0]
            if self._broken:
                self._fail(self._asked.popleft(), StoreError(self._broken))
            elif not asked and self._at_once(each):
                self._asked.popleft()
            elif each.part is None or (asked and size + each.part.size > _RECORD):
                break
            else:
                asked.append(self._asked.popleft())
                size += each.part.size
                if len(asked) == _TOGETHER:
                    break
        if asked:
            self._take_off(asked)

    def _at_once(self, asked: _Asked) -> bool:
        """Answer what needs no record."""
        if asked.part is None:
            self._answer(asked, None)
            return True
        if asked.part.verb[0] == "claim":
            _, queue, _, _, in_order, _ = asked.part.verb
            ready, due = self._state.look(queue, self._clock(), in_order=in_order)
            if not ready:
                self._answer(asked, ([], due))
                return True
        return False

    def _take_off(self, asked: list[_Asked]) -> None:
        self._number += 1
        asked_parts = [each.part for each in asked if each.part is not None]
        record = Record(
            self._server,
            self._number,
            self._clock(),
            self._length,
            self._key_memory,
            [part.verb for part in asked_parts],
            [body for part in asked_parts for body in part.bodies],
        )
        flight = _Flight(record, asked, asyncio.get_running_loop().create_future())
        self._flight = flight
        self._spawn(self._fly(flight, encoded(record, asked_parts)))

    async def _fly(self, flight: _Flight, data: bytes) -> None:
        """See a record through to its answers."""
        loop = asyncio.get_running_loop()
        # Whoever has asked during the last flight has waited already.
        waited = loop.time() - min(each.when for each in flight.asked)
        patience = max(self._log.patience - waited, self._log.patience / 4)
        if self._closing is not None:
            patience = min(patience, _GOODBYE)
        writing = asyncio.ensure_future(self._log.append("log", data, patience))
        error: Exception | None = None
        try:
            async with asyncio.timeout(patience + 0.5):
                first: set[asyncio.Future[Any]] = {writing, flight.done}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if not flight.done.done():
                    place = writing.result()
                    if place == self._state.applied + 1:  # nobody else has written meanwhile
                        self._apply(place, flight.record)
                await flight.done  # or else it comes by itself
        except StoreError as problem:
            error = problem
        except TimeoutError:
            error = Unconfirmed("NATS took this, but what it did was not heard in time")
        except asyncio.CancelledError:
            error = Unconfirmed("closed while NATS was away: this may have been done")
            raise
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            if not writing.cancelled():
                writing.exception()
            self._landed(flight, error)

    def _landed(self, flight: _Flight, error: Exception | None) -> None:
        if self._flight is flight:
            self._flight = None
        for each in flight.asked if error is not None else ():
            self._fail(each, error or StoreError())
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None and self._flight is None and self._asked:
            # Somebody asked meanwhile, so more are likely to: they may share a record.
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_later(self.linger, self._flush)

    def _answer(self, asked: _Asked, result: Any) -> None:
        if isinstance(result, QueueFull):
            self._fail(asked, result)
            return
        try:
            finished = asked.finish(result)
        except Exception as error:
            self._fail(asked, StoreError(f"cannot be told: {error}"))
            return
        if asyncio.iscoroutine(finished):
            self._spawn(self._answer_later(asked, finished))
        elif not asked.future.done():
            asked.future.set_result(finished)

    async def _answer_later(self, asked: _Asked, finishing: Any) -> None:
        try:
            finished = await finishing
        except Exception as error:
            self._fail(asked, error)
        else:
            if not asked.future.done():
                asked.future.set_result(finished)

    def _fail(self, asked: _Asked, error: Exception) -> None:
        if not asked.future.done():
            asked.future.set_exception(error)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- what comes out of the log ----------------------------------------------------------------

    def _came(self, place: int, kind: str, data: bytes) -> None:
        if place <= self._state.applied:
            return
        if kind == "log":
            try:
                self._apply(place, Record.decoded(data))
            except Exception as error:
                self._break(f"cannot read the stream any further, at {place}: {error!r}")
                raise
        else:
            self._state.applied = place
            if kind == "snap.done":
                self._told = snapshots.Told.read(data)

    def _apply(self, place: int, record: Record) -> None:
        state = self._state
        answers = state.apply(place, record)
        if place in state.bodies:
            self._bodies.keep(place, record.bodies)
        for emptied in state.emptied:
            self._bodies.drop(emptied)
        state.emptied.clear()
        mine = record.server == self._server
        if answers is not None and mine:
            self._answered(record, answers)
        touched, state.touched = state.touched, set()
        for queue in touched:
            self._tell(queue)
        if self._listeners and not mine:
            for verb in record.verbs:
                if verb[0] == "claim":
                    self._watch(verb[1])
        if len(self._mine) > 1_000 + 2 * state.out:
            self._mine = {receipt: None for receipt in self._mine if state.holds(receipt)}
        if mine and not self._cleaning:
            # The more there is to write, the less often: what it costs each record stays the same.
            last = self._told.after if self._told is not None else 0
            due = last + max(self._snapshot, state.size // 16)
            if place >= due:
                self._cleaning = True
                self._spawn(self._clean())

    def _answered(self, record: Record, answers: list[Any]) -> None:
        flight = self._flight
        known = flight is not None and flight.record.number == record.number
        for verb, answer in zip(record.verbs, answers, strict=True):
            if verb[0] == "claim":
                self._mine.update((granted.receipt, None) for granted in answer[0])
                for granted in answer[0]:
                    if not known:  # nobody waits any more: it was never sent
                        self.release(granted.receipt, counted=False)
            elif verb[0] == "ack":
                for receipt in verb[1]:
                    self._mine.pop(receipt, None)
            elif verb[0] in ("release", "bury"):
                self._mine.pop(verb[1], None)
        if flight is not None and known:
            self._flight = None  # whoever hears an answer may ask at once
            for asked, answer in zip(flight.asked, answers, strict=True):
                self._answer(asked, answer)
            if not flight.done.done():
                flight.done.set_result(None)

    def _tell(self, queue: str) -> None:
        for listener in self._listeners:
            listener(queue)

    def _watch(self, queue: str) -> None:
        """Another server holds messages: somebody here shall look again when its leases end."""
        end = self._state.next_end(queue)
        if end is not None and queue not in self._wakes:
            wait = max(0.0, end - self._clock()) + 0.01
            loop = asyncio.get_running_loop()
            self._wakes[queue] = loop.call_later(wait, self._wake, queue)

    def _wake(self, queue: str) -> None:
        del self._wakes[queue]
        self._tell(queue)
        end = self._state.next_end(queue)
        if end is not None and end > self._clock():
            self._watch(queue)

    def _hole(self) -> None:
        """Records are gone that this server has not read: it slept for too long."""
        if self._closing is None and not self._broken:
            self._beginning = self._spawn(self._begin_again())

    async def _begin_again(self) -> None:
        _log.warning("this server has missed a part of the stream, and reads its last snapshot")
        before = self._state
        while True:
            try:
                self._state, self._told = await snapshots.last(self._log)
                if self._state.applied <= before.applied:
                    raise StoreError("records of the stream were removed by somebody else")
                await self._log.read(self._state.applied, self._came, self._hole)
            except Unconfirmed as error:
                _log.warning("cannot read the snapshot for now: %s", error)
            except StoreError as error:
                self._break(str(error))
                return
            else:
                break
        self._bodies.only(self._state.bodies)
        for queue in self._state.names():
            self._tell(queue)

    def _break(self, why: str) -> None:
        self._broken = f"the store on NATS does nothing more ({why}): open it again"
        _log.error("%s", self._broken)
        if self._flight is not None and not self._flight.done.done():
            self._flight.done.set_exception(StoreError(self._broken))

    # -- answers with bodies ----------------------------------------------------------------------

    def _with_bodies(self, items: Sequence[Item], make: Callable[[list[Body]], Any]) -> Any:
        """Return what `make` makes of the items' bodies; or, if they are not at hand, what does."""
        places = [(item.place, item.index) for item in items]
        if (at_hand := self._bodies.at_hand(places)) is not None:
            return make(at_hand)

        async def later() -> Any:
            return make(await self._bodies.get(places))

        return later()

    def _claimed(self, queue: str, granted: list[Granted], due: float | None) -> Any:
        facts = [(self._state.id(g.item), g.item.event, g.item.expires, *g[1:]) for g in granted]

        def make(bodies: list[Body]) -> Claimed:
            attempts = [
                Attempt(id, queue, event, body, number, spent, expires, receipt)
                for (id, event, expires, number, spent, receipt), body in zip(
                    facts, bodies, strict=True
                )
            ]
            return Claimed(attempts, due)

        made = self._with_bodies([g.item for g in granted], make)
        return self._or_give_back(made, granted) if asyncio.iscoroutine(made) else made

    async def _or_give_back(self, making: Any, granted: list[Granted]) -> Any:
        try:
            return await making
        except BaseException:
            if self._closing is None:
                for each in granted:
                    self.release(each.receipt, counted=False)
            raise

    def _kept(self, items: list[Item]) -> Any:
        facts = [(self._state.id(item), item.event) for item in items]
        return self._with_bodies(
            items,
            lambda bodies: [Kept(*fact, body) for fact, body in zip(facts, bodies, strict=True)],
        )

    def _died(self, items: list[Item]) -> Any:
        facts = [(self._state.id(i), i.event, i.attempts, i.reason, i.died) for i in items]
        return self._with_bodies(
            items,
            lambda bodies: [
                Dead(id, event, body, attempts, reason, died)
                for (id, event, attempts, reason, died), body in zip(facts, bodies, strict=True)
            ],
        )

    # -- that the log does not grow without end ---------------------------------------------------

    async def _clean(self) -> None:
        """Take a snapshot; remove what nobody needs who knows it, or the one before it."""
        try:
            before = self._told
            now = await snapshots.take(self._log, self._state, before, self._clock())
            if before is not None and await snapshots.remove(self._log, self._state, before, now):
                await self._move(before.after)
        except StoreError as error:
            _log.warning("the stream was not cleaned up for now: %s", error)
        finally:
            self._cleaning = False

    async def _move(self, last: int) -> None:
        """Write anew what lies in old records, so that those can be removed the next time."""
        copies = self._state.up_to(last, _MOVED)
        bodies = await self._bodies.get([*copies])
        size = 0
        moved: list[list[tuple[str, int]]] = []
        kept: list[Body] = []
        for numbers, body in zip(copies.values(), bodies, strict=True):
            size += len(body)
            if moved and size > _RECORD:
                break
            moved.append(numbers)
            kept.append(body)
        if moved and self._closing is None:
            await self._ask(["move", moved], bodies=kept)

    # -- closing ----------------------------------------------------------------------------------

    async def _close(self) -> None:
        for timer in self._wakes.values():
            timer.cancel()
        held = [receipt for receipt in self._mine if self._state.holds(receipt)]
        if held and not self._broken:
            self._add(["return", held], []).add_done_callback(_heard)
        try:
            async with asyncio.timeout(_GOODBYE):
                while self._asked or self._flight is not None:
                    last = self._add(None, [])  # answered when all before it is
                    last.add_done_callback(_heard)
                    await asyncio.wait([last])
        except TimeoutError:
            pass
        self._bodies.close()
        for task in [*self._tasks]:
            task.cancel()
        if self._tasks:
            await asyncio.wait({*self._tasks})
        while self._asked:
            self._fail(self._asked.popleft(), Unconfirmed("closed while NATS was away"))
        await self._log.close()


def _heard(future: asyncio.Future[Any]) -> None:
    """Whatever came of it: nobody waits for this any more."""
    if not future.cancelled():
        future.exception()


def _text(value: object) -> str:
    """Return a text as it is; anything else settles nothing."""
    return value if isinstance(value, str) else ""
