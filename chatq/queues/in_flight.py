"""Messages in flight, and the effect of acknowledgements and of leases that end.

Owns the attempts that were sent to clients, and what becomes of a message that was acknowledged,
negatively acknowledged, or neither in time. Must not know: servers and their events, how messages
are kept, when a client gets more.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from ..internals.engine import forget_callback
from ..journal.facts import LEASE_ENDED, Died
from ..waiting import Tasks, set_within
from .alarm import Alarm
from .observers import Observers, observed
from .rules import Rules, back_off
from .store import Attempt, Store

__all__ = ["Holder", "InFlight", "Sent"]

_log = logging.getLogger("chatq")

#: How long packet acknowledgements are collected, to be written in one transaction, in seconds.
_COLLECT = 0.01
#: How long whatever is asked of the store may take when the queues are closed, in seconds.
_STORE = 5.0
_LONGEST_REASON = 500  # characters


@dataclass(slots=True)
class Sent:
    """An attempt in flight: the end of its lease, how many attempts have failed before, whether its
    message is suspect, and the call-back of python-socketio for its packet acknowledgement (None:
    none pending)."""

    until: float
    failures: int
    suspect: bool
    number: int  # of what was sent to this consumer, in that order
    callback: Callable[..., None] | None = None


class Holder(ABC):
    """A consumer, and the messages in flight to it.

    A consumer that has answered nothing while a lease ran out is suspect until it answers.
    """

    sid: str
    queue: str
    suspect: bool

    def __init__(self, in_flight: InFlight, sio: Any, namespace: str, sid: str, queue: str) -> None:
        self.sid, self.queue = sid, queue
        self.stopped = False
        #: Unanswered attempts by receipt, in the order in which their leases end.
        self.sent: dict[str, Sent] = {}
        self.suspect = False
        self._sent = self._answered = 0  # the numbers of the newest message that was
        self._in_flight, self._sio, self._namespace = in_flight, sio, namespace

    @abstractmethod
    def answered(self) -> None:
        """Called when one of its messages is in flight no more: its window has room again."""

    @property
    def connected(self) -> bool:
        """Return whether the client is still there, as far as the server knows."""
        return bool(self._sio.manager.is_connected(self.sid, self._namespace))

    def hold(self, attempts: list[Attempt], claimed_at: float) -> None:
        """Note that these attempts go to this client; their leases run since `claimed_at`."""
        until = claimed_at + self._in_flight.rules.lease
        for number, attempt in enumerate(attempts, self._sent + 1):
            self.sent[attempt.receipt] = Sent(until, attempt.failures, attempt.suspect, number)
        self._sent += len(attempts)
        self._in_flight.hold(attempts, self)

    def settled(self, receipts: list[str]) -> None:
        """Remove these messages, which it has answered, from those in flight."""
        numbers = [sent.number for receipt in receipts if (sent := self._forget(receipt))]
        if numbers:
            self._answered = max(self._answered, *numbers)
            self.alive()

    def _forget(self, receipt: str) -> Sent | None:
        sent = self.sent.pop(receipt, None)
        if sent is not None and sent.callback is not None:  # answered by an event, or not at all
            forget_callback(self._sio, self.sid, sent.callback)
        return sent

    def alive(self) -> None:
        """Note that it has answered, be it too late."""
        self.answered()
        self.suspect = False

    def lapse(self) -> None:
        """Remove the messages whose leases have ended.

        Has this consumer answered one that was sent to it after such a message, and is still there,
        then that message is to blame, not what may have ended or frozen it: nobody is suspect.
        (What it has answered before may have come before the one that has ended it.)
        """
        now = self._in_flight.clock()
        ended, there = [], self.connected
        for receipt, sent in self.sent.items():
            if sent.until > now:
                break
            ended.append((receipt, there and self._answered > sent.number))
        for receipt, lives in ended:
            self._forget(receipt)
            self._in_flight.lapsed(receipt, suspect=not lives)
        if ended:
            self.answered()
            self.suspect = self.suspect or not all(lives for _, lives in ended)


class InFlight:
    """All messages in flight from `store`, by receipt.

    `rules`: the limits; `clock`: gives the time in seconds since the epoch; `random`: the source of
    the jitter of the back-off; `freed(queue)`: called when a consumer that has ended acknowledges,
    so that another one may get the next message.
    """

    store: Store
    rules: Rules
    clock: Callable[[], float]
    observers: Observers
    tasks: Tasks

    def __init__(
        self,
        store: Store,
        rules: Rules,
        clock: Callable[[], float],
        random: Random,
        freed: Callable[[str], None],
    ) -> None:
        self.store, self.rules, self.clock = store, rules, clock
        self.observers = Observers()
        self._random, self._freed = random, freed
        self._holders: dict[str, Holder] = {}
        #: Consumers that have ended, by sid, until their last lease ends.
        self._leaving: dict[str, dict[Holder, Alarm]] = {}
        self._acknowledged: list[str] = []
        self._flushing: asyncio.TimerHandle | None = None
        #: Running subscriptions, and requests to the store.
        self.tasks = Tasks()
        self._quiet: asyncio.Event | None = None  # while closing: set when nothing is in flight
        self._closed = False

    # -- sending ----------------------------------------------------------------------------------

    def hold(self, attempts: list[Attempt], holder: Holder) -> None:
        """Note that these attempts are in flight to this consumer."""
        for attempt in attempts:
            self._holders[attempt.receipt] = holder
        if holder.stopped and holder not in self._leaving.get(holder.sid, {}):
            self.let_go(holder)
        self.observers.sending(attempts, holder.sid)

    async def unsent(self, attempts: list[Attempt]) -> None:
        """Release attempts that were never sent: they were none."""
        await asyncio.gather(*(self.store.release(a.receipt, sent=False) for a in attempts))

    def bury(self, attempt: Attempt, reason: str) -> None:
        """Make an attempt that may not be delivered a dead letter, in the background."""
        if self.observers.any:
            message = observed(attempt.queue, attempt.id, attempt.event, attempt.body)
            self.observers.notify(Died(message, reason))
        burying = asyncio.ensure_future(self.store.bury(attempt.receipt, reason, sent=False))
        self.observers.began()
        self.tasks.add(burying, f"message {attempt.id}, dead ({reason})", self._buried)

    def _buried(self, task: asyncio.Future[bool]) -> None:
        if not task.cancelled() and (error := task.exception()):
            _log.error("not buried, and to be looked at again: %s", error)
        self.observers.ended()

    # -- acknowledgements -------------------------------------------------------------------------

    def may_answer(self, sid: str, receipt: str, consumes: Callable[[str, str], bool]) -> bool:
        """Return whether this client may acknowledge: the message is in flight to it, or to a
        client that is gone while this one `consumes` the same queue."""
        holder = self._holders.get(receipt)
        if holder is None:
            return False
        return holder.sid == sid or (not holder.connected and consumes(sid, holder.queue))

    async def received(self, receipts: list[str]) -> list[bool]:
        """Acknowledge the messages with these receipts; return which of them were current."""
        self._settled(receipts)
        current = await self.store.ack(receipts)
        self.observers.acknowledged(receipts, current)
        return current

    async def failed(self, receipt: str, reason: str, delay: float | None) -> bool:
        """Negatively acknowledge a message in flight: see `give_back`."""
        failures = self._holders[receipt].sent[receipt].failures + 1
        return await self.give_back(receipt, failures, reason, delay)

    async def give_back(
        self, receipt: str, failures: int, reason: str, delay: float | None
    ) -> bool:
        """Release a message for redelivery after `delay` seconds (None: after the back-off); after
        its last attempt make it a dead letter. Return whether the receipt was current.

        `failures`: those of its attempts so far, this one included.
        """
        wait = back_off(failures, self.rules, self._random)
        if wait is not None and delay is not None:
            wait = delay
        reason = _tidy(reason)
        again = f", again in {wait:.1f} s" if wait else ""
        message = self.observers.returned(receipt, f"refused: {reason}{again}")
        self._settled([receipt])
        if wait is None:
            if message is not None:
                self.observers.notify(Died(message, reason))
            return await self.store.bury(receipt, reason)
        return await self.store.release(receipt, wait)

    async def released(self, receipts: list[str], why: str, *, begun: bool) -> list[bool]:
        """Release messages in flight without counting a failure; return which were current.

        `begun`: somebody may have begun to handle them; else this was no attempt at all.
        """
        for receipt in receipts:
            self.observers.returned(receipt, why)
        self._settled(receipts)
        return [
            *await asyncio.gather(
                *(self.store.release(r, counted=False, sent=begun) for r in receipts)
            )
        ]

    def release_soon(self, receipts: list[str], why: str) -> None:
        """Release messages that may have been begun, in the background."""
        self.observers.began()
        task = asyncio.ensure_future(self.released(receipts, why, begun=True))
        self.tasks.add(task, f"messages given back ({why})", self._released)

    def _released(self, task: asyncio.Future[Any]) -> None:
        if not task.cancelled() and (error := task.exception()):
            _log.error("not released, and leased for a while yet: %s", error)
        self.observers.ended()

    async def extend(self, receipts: list[str]) -> list[bool]:
        """Let the leases of these messages in flight run anew; return which were current."""
        until = self.clock() + self.rules.lease
        for receipt in receipts:  # before the store answers: it must not lapse meanwhile
            if (holder := self._holders.get(receipt)) is not None:
                holder.sent[receipt].until = until
                holder.sent[receipt] = holder.sent.pop(receipt)  # in the order of their ends
        current = await self.store.extend(receipts, self.rules.lease)
        for receipt, is_current in zip(receipts, current, strict=True):
            if not is_current:  # it is somebody else's now, and takes none of this one's window
                self.observers.returned(receipt, LEASE_ENDED)
                self._settled([receipt])
        return current

    def holder(self, receipt: str) -> Holder | None:
        """Return the consumer to which the message with this receipt is in flight, if any."""
        return self._holders.get(receipt)

    def left_by(self, sid: str) -> list[str]:
        """Return the receipts of what is in flight to this client's consumers that have ended."""
        return [receipt for holder in self._leaving.get(sid, {}) for receipt in holder.sent]

    def acknowledged(self, receipt: str) -> None:
        """Acknowledge a message by its packet acknowledgement; those of a short time are written in
        one transaction."""
        self._settled([receipt])
        if self._closed:  # too late: it is redelivered
            return
        if not self._acknowledged:
            self.observers.began()
        self._acknowledged.append(receipt)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_COLLECT, self.flush)

    def flush(self) -> None:
        """Write the packet acknowledgements collected so far."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._acknowledged:
            receipts, self._acknowledged = self._acknowledged, []
            task = asyncio.ensure_future(self.store.ack(receipts))
            self.tasks.add(task, "acknowledgements", partial(self._flushed, receipts))

    def _flushed(self, receipts: list[str], task: asyncio.Future[Any]) -> None:
        if not task.cancelled() and (error := task.exception()):
            _log.error("acknowledged, but to be delivered again: %s", error)
        elif not task.cancelled():
            self.observers.acknowledged(receipts, task.result())
        self.observers.ended()

    def _settled(self, receipts: list[str]) -> None:
        """Forget messages in flight that were answered."""
        answered: dict[Holder, list[str]] = {}
        for receipt in receipts:
            if (holder := self._taken(receipt)) is not None:
                answered.setdefault(holder, []).append(receipt)
        for holder, theirs in answered.items():
            holder.settled(theirs)
        self._check_quiet()

    def _taken(self, receipt: str) -> Holder | None:
        """Forget a message in flight, and return its consumer, if any."""
        holder = self._holders.pop(receipt, None)
        if holder is not None and holder.stopped:
            # It claims no more, but another consumer may, once this is done.
            asyncio.get_running_loop().call_soon(self._freed, holder.queue)
        return holder

    # -- leases end -------------------------------------------------------------------------------

    def lapsed(self, receipt: str, *, suspect: bool = True) -> None:
        """Note that the lease with this receipt has ended without an acknowledgement."""
        self.observers.returned(receipt, LEASE_ENDED)
        self._taken(receipt)
        if not suspect:  # else the store says so itself, when it is claimed next
            self.store.release(receipt).add_done_callback(_ignore)
        self._check_quiet()

    def tick(self) -> None:
        """See `Queues.tick`."""
        for holder in [holder for leaving in self._leaving.values() for holder in leaving]:
            self.let_go(holder)

    def let_go(self, holder: Holder) -> None:
        """Keep what an ended consumer has in flight until it is acknowledged or its lease ends."""
        leaving = self._leaving.setdefault(holder.sid, {})
        alarm = leaving.pop(holder, None)
        holder.lapse()
        if holder.sent:
            alarm = alarm or Alarm(self.clock, partial(self.let_go, holder), least=0.001)
            leaving[holder] = alarm
            alarm.set(next(iter(holder.sent.values())).until)
        elif not leaving:
            del self._leaving[holder.sid]

    async def close(self, within: float) -> None:
        """Wait for what is being sent, then at most `within` seconds for acknowledgements."""
        await self._end()
        self._quiet = asyncio.Event()
        for receipt, holder in [*self._holders.items()]:
            if not holder.connected:
                self.lapsed(receipt)
        if self._holders:
            await set_within(self._quiet, within)
        if self._holders:
            _log.info("closed with %d messages out, which come again", len(self._holders))
        self._closed = True  # an answer that comes from here on is too late
        self.flush()
        await self._end()
        for leaving in self._leaving.values():
            for alarm in leaving.values():
                alarm.cancel()
        self._leaving.clear()

    async def _end(self) -> None:
        """Wait for what is under way, which the store may hold up; say what was left."""
        if left := await self.tasks.end(_STORE):
            _log.error(
                "the store has not answered for %g s while the queues are closed; what it has not "
                "done comes again: %s",
                _STORE,
                "; ".join(left),
            )

    def _check_quiet(self) -> None:
        if self._quiet is not None and not self._holders:
            self._quiet.set()


def _ignore(task: asyncio.Future[Any]) -> None:
    """Take note of an error that changes nothing: the lease has ended all the same."""
    if not task.cancelled():
        task.exception()


def _tidy(reason: str) -> str:
    """Return a reason that a client gave, cut to length and without lone surrogates."""
    return reason[:_LONGEST_REASON].encode("utf-8", "replace").decode("utf-8")
