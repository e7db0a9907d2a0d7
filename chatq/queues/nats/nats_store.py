"""A store on NATS JetStream that any number of servers share: a replicated state machine.

Owns batching: the requests in one record, the record in flight, and the replies to it. Must not
know: the `nats` client, what a verb does to the messages, when a message is dead.

Replication
- Each request to a store becomes part of a record of one stream, and every server applies all
  records in their order (`state`). So a receipt, a lease, a key, a length limit, the order of
  messages mean the same at all replicas, and there is no owner that could fail. A request gets its
  result when its record has come back out of the stream: then a quorum of nodes has it.
- Requests that come while a record is in flight share the next one (group commit): a hundred
  producers share one round trip and one sync of each node's disk.
- A lease is in the log: it outlives the server that took it, and ends at its time. A store that is
  closed releases what it still holds.
- A record whose fate is unknown (no quorum, no connection) is sent again under its number; a
  duplicate counts once. After `patience` its requests raise `Unconfirmed`: they may have been
  executed. For a message that means: emit it again, with a `key`, and it is stored once.

Not used of JetStream, since the contract asks for more
- Its acknowledgements name a message, not an attempt: a stale one would settle the current attempt.
  Its consumers redeliver in an order of their own, by their node's clock, and one cannot take back
  an attempt that was never made, peek into a queue in order, or keep a dead letter's place.
- Its de-duplication has a window of the server's time, its length limit is for a stream.

Requirements: servers that sync before they confirm. NATS does so with `jetstream { sync_interval:
always }` in its configuration, which those that `chatq` starts have. Without it, a message that was
confirmed is in the memory of a majority of the nodes, and lost if they lose their power together.
And a stream that no other program writes to, purges or edits: a store whose stream was purged,
deleted, limited or replaced confirms nothing more, and every request raises `StreamGone`.

Cost: every server reads the records of all others, and keeps a few hundred bytes for each message,
and for each key as long as it is remembered; bodies stay in the stream. Use another stream
(`nats://HOST/NAME`) for queues that other servers serve. `stats`, `dead` and `peek` return what
this replica has read so far.

Time: each record has that of the server which wrote it, and a server whose clock is behind goes on
from there (`reach`), so nothing waits for a clock. One that starts an hour ahead takes all servers
along: leases end by that, once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

from ...waiting import Tasks
from ..alarm import Alarm
from ..record import Record
from ..requests import Request, request
from ..state import Granted
from ..steady_clock import steady
from ..store import Limits, QueueFull, Store, StoreError
from . import snapshots
from .address import Address
from .compaction import Compaction
from .connection import PATIENCE, Unconfirmed
from .encoding import Part, encoded
from .log import NatsLog
from .replica import Replica

__all__ = ["NatsStore"]

_log = logging.getLogger("chatq")

#: How many waiting messages a stream is made for: above that the log says so, once.
_MANY = 150_000
#: The largest batch, in bytes and in requests.
_BATCH_BYTES = 400_000
_BATCH_REQUESTS = 2_000
#: The least number of records between two snapshots.
_SNAPSHOT = 5_000
#: How far the clock may be behind those of other servers before the log says so, in seconds.
_BEHIND = 1.0
#: The most bytes of a record beside its verbs and bodies.
_OVERHEAD = 300
#: How long closing may wait for NATS, in seconds.
_CLOSE = 1.0


class _Asked(NamedTuple):
    """A pending request: `part` is its verb in a record; None for a look-up; `when`: loop time."""

    future: asyncio.Future[Any]
    request: Request
    part: Part | None
    when: float


@dataclass(slots=True)
class _Batch:
    """The record in flight, with its requests."""

    record: Record
    asked: list[_Asked]
    done: asyncio.Future[None]


class NatsStore(Store):
    """Keeps messages in the log `log`; see `open`."""

    #: The delay before a record of requests that came during a round trip, in seconds.
    linger: float = 0.001

    def __init__(
        self,
        log: snapshots.Log,
        *,
        clock: Callable[[], float] = time.time,
        snapshot: int = _SNAPSHOT,
        **limits: Any,
    ) -> None:
        super().__init__()
        self._log, self._limits, self._clock = log, Limits(**limits), steady(clock)
        self._server = os.urandom(8).hex()
        # Each server after another wait, so that most of the time one of them sweeps for all.
        self._many = False  # that is said already
        self._alarm = Alarm(self._clock, self.tick, 0.05 + int(self._server[:4], 16) / 0xFFFF)
        self._number = 0
        self._replica = Replica(
            log,
            self._spawn,
            applied=self._applied,
            restarted=self._restarted,
            broken=self._break,
        )
        self._compaction = Compaction(log, self._replica, self._add, self._clock, snapshot)
        self._asked: deque[_Asked] = deque()
        self._batch: _Batch | None = None
        self._flushing: asyncio.Handle | None = None
        self._tasks = Tasks()
        self._leased: dict[str, None] = {}  # the receipts of this store's own claims
        self._wakes: dict[str, Alarm] = {}
        self._broken: StoreError | None = None
        log.gone = self._give_up
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        patience: float = PATIENCE,
        create: bool = True,
        **limits: Any,
    ) -> Self:
        """Open the store in a stream of the NATS servers at `url`.

        `url`: "nats://[user:password@]host1[:port][,host2…][/stream][?patience=seconds]";
        `clock`: gives the time in seconds since the epoch; `patience`: the time-out of a request in
        seconds, if the `url` has none; `create`: whether to make a stream that is not there;
        `limits`: as the fields of `Limits`, the same at all servers
        of a stream.

        Raises `ValueError` for another `url`, `StoreError` if no server is reached, the login is
        wrong, there is no JetStream, no quorum, or the stream is another program's.
        """
        address = Address.parse(url)
        patience = address.patience or patience
        log = await NatsLog.open(address, patience=patience, create=create)
        store = cls(log, clock=clock, **limits)
        try:
            await store.start()
        except BaseException:
            await log.close()
            raise
        return store

    async def start(self) -> None:
        """Apply all records that are in the log now."""
        await self._replica.start()
        if self._broken:
            raise self._broken
        self._keep_up()
        self._alarm.set(self._replica.state.due(self._limits))

    # -- requests: those that come while a record is in flight share the next one -----------------

    def ask(self, verb: str, *arguments: Any) -> asyncio.Future[Any]:
        """See `Store.ask`."""
        if self._closing is not None:
            raise StoreError("the store is closed")
        return self._add(request(verb, *arguments))

    def _add(self, asked: Request) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        try:
            part = None if asked.verb is None else Part.of(asked.verb, asked.bodies)
            if part is not None and part.size + _OVERHEAD > self._log.largest:
                raise ValueError(
                    f"{part.size} bytes are more than these servers take at once: raise their "
                    f"max_payload ({self._log.largest})"
                )
        except (AttributeError, TypeError, ValueError) as error:
            future.set_exception(StoreError(f"nothing was changed on NATS: {error}"))
            return future
        self._asked.append(_Asked(future, asked, part, loop.time()))
        if self._batch is None and self._flushing is None:
            self._flushing = loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        """Write a record of the pending requests, unless one is in flight."""
        self._flushing = None
        asked: list[_Asked] = []
        size = 0
        while self._asked and self._batch is None:
            each = self._asked[0]
            if self._broken:
                _fail(self._asked.popleft(), self._broken)
            elif not asked and self._answer_at_once(each):
                self._asked.popleft()
            elif each.part is None or (asked and size + each.part.size > _BATCH_BYTES):
                break
            else:
                asked.append(self._asked.popleft())
                size += each.part.size
                if len(asked) == _BATCH_REQUESTS:
                    break
        if asked:
            self._write(asked)

    def _answer_at_once(self, asked: _Asked) -> bool:
        """Answer a request that needs no record: a look-up, or a claim of an empty queue; return
        whether it was one."""
        if asked.part is None:
            self._answer(asked, None)
            return True
        if asked.part.verb[0] == "claim":
            _, queue, _, _, in_order, _, _ = asked.part.verb
            ready, due = self._replica.state.look(queue, self._clock(), in_order=in_order)
            if not ready:
                self._answer(asked, ([], due, False))
                return True
        return False

    def _write(self, asked: list[_Asked]) -> None:
        self._number += 1
        parts = [each.part for each in asked if each.part is not None]
        record = Record(
            self._server,
            self._number,
            self._clock(),
            self._limits,
            [part.verb for part in parts],
            [body for part in parts for body in part.bodies],
        )
        self._batch = _Batch(record, asked, asyncio.get_running_loop().create_future())
        self._spawn(self._commit(self._batch, encoded(record, parts)))

    async def _commit(self, batch: _Batch, data: bytes) -> None:
        """Append a record to the log, and wait until it is applied."""
        # Requests that came while the last record was in flight have waited already.
        waited = asyncio.get_running_loop().time() - min(each.when for each in batch.asked)
        patience = max(self._log.patience - waited, self._log.patience / 4)
        if self._closing is not None:
            patience = min(patience, _CLOSE)
        writing = asyncio.ensure_future(self._log.append("log", data, patience))
        error: Exception | None = None
        try:
            async with asyncio.timeout(patience + 0.5):
                first: set[asyncio.Future[Any]] = {writing, batch.done}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if not batch.done.done():
                    place = writing.result()
                    if place == self._replica.state.applied + 1:  # no other server has written
                        self._replica.apply(place, batch.record)
                await batch.done  # else it is applied when it is read from the log
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
            self._finish(batch, error)

    def _finish(self, batch: _Batch, error: Exception | None) -> None:
        if self._batch is batch:
            self._batch = None
        if error is not None:
            for each in batch.asked:
                _fail(each, error)
        if self._flushing is None and self._batch is None and self._asked:
            # More requests are likely to come: they may share a record.
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_later(self.linger, self._flush)

    # -- replies ----------------------------------------------------------------------------------

    def _answer(self, asked: _Asked, result: Any) -> None:
        if isinstance(result, QueueFull):
            _fail(asked, result)
            return
        try:
            finished = self._replica.finish(asked.request, result, self._clock())
        except Exception as error:
            _fail(asked, StoreError(f"cannot be told: {error}"))
            return
        if asyncio.iscoroutine(finished):
            granted = result[0] if asked.part is not None else []  # only a claim needs bodies here
            self._spawn(self._answer_later(asked, finished, granted))
        elif not asked.future.done():
            asked.future.set_result(finished)

    async def _answer_later(
        self, asked: _Asked, finishing: Coroutine[Any, Any, Any], granted: list[Granted]
    ) -> None:
        try:
            finished = await finishing
        except BaseException as error:
            if self._closing is None:
                for each in granted:  # never sent
                    self.release(each.receipt, sent=False)
            if not isinstance(error, Exception):
                raise
            _fail(asked, error)
        else:
            if not asked.future.done():
                asked.future.set_result(finished)

    # -- applied records --------------------------------------------------------------------------

    def _keep_up(self) -> None:
        """Be no earlier than what is in the log: else what waits for a second would do so until the
        clock of this server is as late as that of the one which has written it."""
        behind = self._clock.reach(self._replica.state.now)
        if behind > _BEHIND:
            _log.warning("the clock is %g s behind the stream: it goes on from there", behind)

    def _applied(self, record: Record, answers: list[Any] | None) -> None:
        state, mine = self._replica.state, record.server == self._server
        if not mine:
            self._keep_up()
        if answers is not None and mine:
            self._answered(record, answers)
        for queue in state.take_touched():
            self.notify(queue)
        self.notify_expired(state.take_expired())
        self._alarm.set(state.due(self._limits))
        if self._listeners and not mine:
            for verb in record.verbs:
                if verb[0] == "claim":
                    self._wake_at_end(verb[1])
        if len(self._leased) > 1_000 + 2 * state.out:
            self._leased = {receipt: None for receipt in self._leased if state.holds(receipt)}
        if state.size > _MANY and not self._many:
            self._many = True
            _log.warning(
                "%d messages wait in this stream, and every server keeps all of them in memory and "
                "applies every record: use several streams (nats://HOST/NAME) for more",
                state.size,
            )
        if mine and self._compaction.due:
            self._spawn(self._compaction.run())

    def _answered(self, record: Record, answers: list[Any]) -> None:
        batch = self._batch
        known = batch is not None and batch.record.number == record.number
        for verb, answer in zip(record.verbs, answers, strict=True):
            if verb[0] == "claim":
                self._leased.update((granted.receipt, None) for granted in answer[0])
                for granted in answer[0]:
                    if not known:  # its request has timed out: it was never sent
                        self.release(granted.receipt, sent=False)
            elif verb[0] == "ack":
                for receipt in verb[1]:
                    self._leased.pop(receipt, None)
            elif verb[0] in ("release", "bury"):
                self._leased.pop(verb[1], None)
        if batch is not None and known:
            self._batch = None  # call-backs of the replies may send new requests
            for asked, answer in zip(batch.asked, answers, strict=True):
                self._answer(asked, answer)
            if not batch.done.done():
                batch.done.set_result(None)

    def _wake_at_end(self, queue: str) -> None:
        """Notify listeners when the leases of another server in this queue end."""
        end = self._replica.state.next_end(queue)
        if end is not None and queue not in self._wakes:
            self._wakes[queue] = Alarm(self._clock, partial(self._wake, queue), least=0.01)
            self._wakes[queue].set(end)

    def _wake(self, queue: str) -> None:
        del self._wakes[queue]
        self.notify(queue)
        end = self._replica.state.next_end(queue)
        if end is not None and end > self._clock():
            self._wake_at_end(queue)

    def tick(self) -> None:
        """See `Store.tick`."""
        self.ask("sweep").add_done_callback(self._swept)

    def _swept(self, sweeping: asyncio.Future[Any]) -> None:
        if not sweeping.cancelled() and sweeping.exception() and self._closing is None:
            self._alarm.set(self._replica.state.due(self._limits))  # NATS is away: tried again

    def _restarted(self) -> None:
        self._keep_up()
        for queue in self._replica.state.names():
            self.notify(queue)
        self._replica.state.take_expired()  # what it was before has told of them, or nobody does
        self._alarm.set(self._replica.state.due(self._limits))

    def _break(self, why: str) -> None:
        self._give_up(StoreError(f"the store on NATS does nothing more ({why}): open it again"))

    def _give_up(self, problem: StoreError) -> None:
        """Do nothing more: all requests, those under way too, raise this."""
        if self._broken is not None:
            return
        self._broken = problem
        _log.error("%s", problem)
        if self._batch is not None and not self._batch.done.done():
            self._batch.done.set_exception(problem)
        for queue in self._replica.state.names():  # whoever waits asks, and hears it
            self.notify(queue)

    # -- closing ----------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task, getattr(work, "__name__", "").strip("_").replace("_", " "))
        return task

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._alarm.cancel()
        for alarm in self._wakes.values():
            alarm.cancel()
        held = [receipt for receipt in self._leased if self._replica.state.holds(receipt)]
        if held and not self._broken:
            self._add(Request(["return", held], _nothing)).add_done_callback(_ignore_error)
        try:
            async with asyncio.timeout(_CLOSE):
                while self._asked or self._batch is not None:
                    last = self._add(Request(None, _nothing))  # answered after all before it
                    last.add_done_callback(_ignore_error)
                    await asyncio.wait([last])
        except TimeoutError:
            pass
        await self._replica.close()
        if refusing := await self._tasks.cancel():
            _log.error("closed, but this goes on: %s", ", ".join(refusing))
        while self._asked:
            _fail(self._asked.popleft(), Unconfirmed("closed while NATS was away"))
        await self._log.close()


def _nothing(*_: object) -> None:
    """Return nothing: the result of a request whose result is not used."""


def _fail(asked: _Asked, error: Exception) -> None:
    if not asked.future.done():
        asked.future.set_exception(error)


def _ignore_error(future: asyncio.Future[Any]) -> None:
    """Mark the exception of a future that is not awaited as retrieved."""
    if not future.cancelled():
        future.exception()
