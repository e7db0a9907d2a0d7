"""Who consumes which queue, and what is out to whom.

Owns the consumers of each queue, the leases that they hold, and what an answer does. Must not know:
servers and their events, how messages are kept, when one client gets more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from ..turn import give_way, set_within
from .facts import Died, Lapsed, Observer, Returned, Subscribed, Unsubscribed
from .policy import Rules, back_off, verdict
from .pump import Pump
from .store import Attempt, Claimed, Stats, Store
from .telling import Telling

__all__ = ["Dispatch"]

_log = logging.getLogger("chatq")

#: How long packet acknowledgements are gathered, to be written together, in seconds.
_GATHER = 0.01
_LONGEST_REASON = 500  # characters


@dataclass(slots=True)
class _Line:
    """The consumers of one queue, by sid: who was served longest ago comes first, and so asks first
    when there is something new.

    `news`: how often there was; `drained`: a claim found less than it asked for, and there was no
    news since, so whoever has answered need not ask whether there is more.
    """

    pumps: dict[str, Pump] = field(default_factory=dict)
    news: int = 0
    drained: bool = False


class Dispatch:
    """Moves messages from `store` to the consumers of their queues, by one pump for each."""

    def __init__(
        self, store: Store, rules: Rules, clock: Callable[[], float], random: Random
    ) -> None:
        self.rules, self.clock = rules, clock
        self.telling = Telling()
        self.began, self.ended = self.telling.began, self.telling.ended
        #: Since when nothing new begins: the queues are being closed, or are.
        self.closing = False
        self._store, self._random = store, random
        self._pumps: dict[tuple[str, str], Pump] = {}  # by sid and queue
        self._lines: dict[str, _Line] = {}  # by queue
        self._holders: dict[str, Pump] = {}  # by receipt
        self._answers: list[str] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._leaving: dict[Pump, asyncio.TimerHandle] = {}
        self._swept = 64
        self._tasks: set[asyncio.Future[Any]] = set()
        self._quiet: asyncio.Event | None = None  # while closing: set when nothing is out
        self._closed = False
        store.listen(self._notify)

    # -- what queues ask for ----------------------------------------------------------------------

    async def subscribe(
        self, sio: Any, namespace: str, sid: str, queue: str, window: int, frame: int
    ) -> Stats:
        """Give a client what is in `queue`, or change how much of it at once."""
        self._sweep()
        pump = self._pumps.get((sid, queue))
        if pump is None:
            pump = Pump(self, sio, namespace, sid, queue, window, frame)
            self._pumps[sid, queue] = pump
            self.telling.tell(Subscribed(queue, sid))
            self._lines.setdefault(queue, _Line()).pumps[sid] = pump
            try:
                stats = await self._store.stats(queue)
            except BaseException:
                self.gone(pump)
                raise
            if not pump.stopped:
                pump.start()
        else:
            pump.window, pump.frame = window, frame
            pump.wake()
            stats = await self._store.stats(queue)
        return stats or Stats()

    async def unsubscribe(self, sid: str, queue: str) -> bool:
        """Give this client no more of `queue`; tell whether it was given any."""
        pump = self._pumps.get((sid, queue))
        if pump is None:
            return False
        self.telling.tell(Unsubscribed(queue, sid))
        self.gone(pump)
        await pump.stop()
        return True

    def subscriptions(self, sid: str) -> list[str]:
        """Return the queues that `sid` consumes."""
        return [queue for name, queue in self._pumps if name == sid]

    def consumed(self, queue: str) -> bool:
        """Whether somebody consumes `queue`."""
        return queue in self._lines

    async def received(self, sid: str, receipts: list[str]) -> bool:
        """Settle the messages with these receipts; tell whether all of them were this client's, and
        current."""
        mine = [receipt for receipt in receipts if self._may_answer(sid, receipt)]
        for receipt in mine:
            self._settled(receipt)
        if not mine:
            return not receipts
        current = await self._store.ack(mine)
        self.telling.acknowledged(mine, current)
        return all(current) and len(mine) == len(receipts)

    async def failed(self, sid: str, receipt: str, reason: str, delay: float | None) -> bool:
        """Give a message back, or bury it; tell whether the receipt was this client's, and
        current."""
        if not self._may_answer(sid, receipt):
            return False
        counted = self._holders[receipt].out[receipt].counted
        return await self._failed(receipt, counted, reason or "refused by its consumer", delay)

    def watch(self, observer: Observer) -> Callable[[], None]:
        """See `Queues.watch`."""
        return self.telling.watch(
            observer, [Subscribed(pump.queue, pump.sid) for pump in self._pumps.values()]
        )

    def tick(self) -> None:
        """Look at the clock now."""
        for pump in self._pumps.values():
            pump.wake()

    async def _failed(self, receipt: str, counted: int, reason: str, delay: float | None) -> bool:
        wait = back_off(counted, self.rules, self._random)
        if wait is not None and delay is not None:
            wait = delay
        reason = _tidy(reason)
        known = self.telling.over(receipt, Returned, reason, wait)
        self._settled(receipt)
        if wait is None:
            if known:
                self.telling.tell(Died(*known[:2], reason))
            return await self._store.bury(receipt, reason)
        return await self._store.release(receipt, wait)

    async def close(self, within: float) -> None:
        """Send nothing more, and wait for the answers to what is out."""
        pumps = [*self._pumps.values()]
        for pump in pumps:
            pump.end()
        if pumps:
            await asyncio.gather(*(pump.stop() for pump in pumps))
        self._quiet = asyncio.Event()
        for receipt, pump in [*self._holders.items()]:
            if not pump.connected:
                self.forget(receipt)
        if self._holders:
            await set_within(self._quiet, within)
        self.flush()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        self._closed = True

    # -- what pumps ask for -----------------------------------------------------------------------

    async def claim(self, pump: Pump, limit: int) -> Claimed:
        """Lease messages for a pump, which then stands last in the line of its queue."""
        queue, in_order = pump.queue, pump.window == 1
        line = self._lines.get(queue) or _Line()
        if pump.doubtful:
            # Its client may be frozen: those that are not in doubt ask first, or it would be given
            # again and again what it lets lie, until that has no attempts left.
            for other in line.pumps.values():
                if not other.doubtful:
                    other.wake()
            await give_way()
        self.flush()  # in the same transaction
        news = line.news
        claimed = await self._store.claim(queue, limit, self.rules.lease, in_order=in_order)
        line.drained = not in_order and len(claimed.attempts) < limit and line.news == news
        if claimed.attempts and pump.sid in line.pumps:
            line.pumps[pump.sid] = line.pumps.pop(pump.sid)
        return claimed

    def deliverable(self, attempts: list[Attempt]) -> list[Attempt]:
        """Return those that may still be delivered; the others are buried, and hold up nobody."""
        now, good = self.clock(), []
        for attempt in attempts:
            why = verdict(attempt.number - attempt.spent, attempt.expires, self.rules, now)
            if why is None:
                good.append(attempt)
            else:
                self.telling.tell(Died(attempt.queue, attempt.id, why))
                burying = asyncio.ensure_future(
                    self._store.bury(attempt.receipt, why, counted=False)
                )
                self.began()
                self._tasks.add(burying)
                burying.add_done_callback(self._buried)
        return good

    def _buried(self, task: asyncio.Future[bool]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("not buried, and to be looked at again: %s", error)
        self.ended()

    def hold(self, attempt: Attempt, pump: Pump) -> None:
        """Note that this attempt is out to this pump's client."""
        self._holders[attempt.receipt] = pump
        if pump.stopped and pump not in self._leaving:
            self._let_go(pump)
        self.telling.sent(attempt, pump.sid)

    def forget(self, receipt: str) -> None:
        """Note that the lease with this receipt has ended."""
        self.telling.over(receipt, Lapsed)
        self._holders.pop(receipt, None)
        self._look_if_quiet()

    async def unsent(self, attempts: list[Attempt]) -> None:
        """Give back what was claimed and never sent."""
        await asyncio.gather(*(self._store.release(a.receipt, counted=False) for a in attempts))

    async def unsendable(self, attempt: Attempt, why: str) -> None:
        """Try a message later that could not be sent; after its last attempt it is dead."""
        await self._failed(attempt.receipt, attempt.number - attempt.spent, why, None)

    def gone(self, pump: Pump) -> None:
        """Let go of a pump whose client has left, or has unsubscribed."""
        pump.end()
        if self._pumps.get((pump.sid, pump.queue)) is pump:
            del self._pumps[pump.sid, pump.queue]
            line = self._lines[pump.queue]
            del line.pumps[pump.sid]
            if not line.pumps:
                del self._lines[pump.queue]
            self._let_go(pump)
        self._notify(pump.queue)  # somebody may be waiting for what this one would have done next

    def _let_go(self, pump: Pump) -> None:
        """What a pump that has ended has out may be answered until its lease ends."""
        self._leaving.pop(pump, None)
        pump.lapse()
        if pump.out:
            until = next(iter(pump.out.values())).until - self.clock()
            loop = asyncio.get_running_loop()
            self._leaving[pump] = loop.call_later(max(0.0, until), self._let_go, pump)

    def answered(self, receipt: str) -> None:
        """Settle a message that was answered by a packet acknowledgement; many in one go."""
        self._settled(receipt)
        if self._closed:  # too late: it is delivered again
            return
        if not self._answers:
            self.began()
        self._answers.append(receipt)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_GATHER, self.flush)

    def flush(self) -> None:
        """Write down what was answered by packet acknowledgements so far."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._answers:
            receipts, self._answers = self._answers, []
            task = asyncio.ensure_future(self._store.ack(receipts))
            self._tasks.add(task)
            task.add_done_callback(partial(self._flushed, receipts))

    def _flushed(self, receipts: list[str], task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("acknowledged, but to be delivered again: %s", error)
        elif not task.cancelled():
            self.telling.acknowledged(receipts, task.result())
        self.ended()

    # -- within ------------------------------------------------------------------------------------

    def _may_answer(self, sid: str, receipt: str) -> bool:
        """Whether the message is out to this client, or to one that is gone and that this one, of
        the same queue, stands in for."""
        pump = self._holders.get(receipt)
        if pump is None:
            return False
        return pump.sid == sid or (not pump.connected and (sid, pump.queue) in self._pumps)

    def _settled(self, receipt: str) -> None:
        pump = self._holders.pop(receipt, None)
        if pump is not None:
            line = self._lines.get(pump.queue)
            pump.settled(receipt, more=line is None or not line.drained)
            if pump.stopped:  # it claims no more, but somebody in line may, once this is done
                asyncio.get_running_loop().call_soon(self._notify, pump.queue)
        self._look_if_quiet()

    def _look_if_quiet(self) -> None:
        if self._quiet is not None and not self._holders:
            self._quiet.set()

    def _notify(self, queue: str) -> None:
        if line := self._lines.get(queue):
            line.news += 1
            line.drained = False
            for pump in line.pumps.values():
                pump.wake()

    def _sweep(self) -> None:
        """Let go of pumps whose clients have left; now and then, so that it costs next to nothing.

        (A pump that has something to send finds out by itself.)
        """
        if len(self._pumps) >= self._swept:
            for pump in [*self._pumps.values()]:
                if not pump.connected:
                    self.gone(pump)
            self._swept = max(64, 2 * len(self._pumps))


def _tidy(reason: str) -> str:
    """Return this text from anywhere as a store can keep it."""
    return reason[:_LONGEST_REASON].encode("utf-8", "replace").decode("utf-8")
