"""One consumer of one queue: it keeps at most a prefetch window of messages in flight to a client.

Owns what is in flight to this client, and when it gets more. Must not know: how messages are kept,
what an acknowledgement means for a message, how a message travels.

Serial on purpose: one task claims and sends, so new messages do not overtake those that waited. A
consumer that let a lease end is suspect, and gets one message at a time until it acknowledges
again, so that a frozen client does not use up the attempts of a whole queue. So is the message, and
is sent alone, to whatever consumer: what ends its consumers takes no other message with it. A lease
does not end with a connection that was cut: the client may still be at work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..internals.engine import packets_waiting
from ..waiting import pause_after
from .alarm import Alarm
from .frame import DELIVERIES, cut, delivery, pack
from .in_flight import Holder, InFlight
from .message import attachments, decode
from .rules import undeliverable
from .store import Attempt, StoreError
from .turns import Permit, Turns

__all__ = ["Consumers", "Subscription"]

_log = logging.getLogger("chatq")

#: Python's polling client loses everything if it finds more than 16 packets waiting; a few of them
#: are left to other senders. How long to wait until it has fetched them, in seconds.
_POLLING = 12
_POLLING_WAIT = 0.05
#: How long a claim for a few messages waits for more room in the window, in seconds.
_WAIT_FOR_ROOM = 0.005
#: The back-off after a failure of the store, in seconds; doubled after each, up to the longest.
_BACK_OFF = 0.25
_LONGEST_BACK_OFF = 30.0
#: The most events that are emitted side by side.
_TOGETHER = 64


@dataclass(slots=True)
class Consumers:
    """The subscriptions to one queue, by sid, round robin: the one served longest ago is first, and
    claims first when there is something new.

    `gone`: called with one whose client has left; `news`: how often there was something to claim;
    `drained`: a claim found less than its limit, and there was nothing new since, so an
    acknowledgement need not cause a claim.
    """

    gone: Callable[[Subscription], None]
    by_sid: dict[str, Subscription] = field(default_factory=dict)
    news: int = 0
    drained: bool = False

    def wake(self) -> None:
        """Wake all consumers: there may be something to claim."""
        self.news += 1
        self.drained = False
        for subscription in self.by_sid.values():
            subscription.news()


class Subscription(Holder):
    """Delivers messages of `queue` to the client `sid` of `sio`, from `start` to `stop`.

    `window`: the most messages in flight; `frame`: the most messages in one event; 0: each is an
    event of its own.
    """

    window: int
    frame: int
    suspect: bool

    def __init__(
        self,
        in_flight: InFlight,
        consumers: Consumers,
        sio: Any,
        namespace: str,
        sid: str,
        queue: str,
        window: int,
        frame: int,
        turns: Turns,
    ) -> None:
        super().__init__(in_flight, sio, namespace, sid, queue)
        self.window, self.frame = window, frame
        #: The messages that keep its client from beginning another, by receipt: see `pause`.
        self._paused: set[str] = set()
        self._turns = turns
        turns.join(self)
        self._not_before = 0.0  # a suspect consumer claims nothing that others might
        self._consumers = consumers
        self._wake = asyncio.Event()
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._alarm = Alarm(in_flight.clock, self.wake, least=0.001)
        self._task: asyncio.Task[None] | None = None

    # -- start, stop, wake ------------------------------------------------------------------------

    def start(self) -> asyncio.Task[None]:
        """Start the task that claims and sends, and return it."""
        self._task = asyncio.create_task(self._run())
        self.wake()
        return self._task

    @property
    def started(self) -> bool:
        """Return whether it claims and sends: not while its client's connect handler runs."""
        return self._task is not None

    async def stop(self) -> None:
        """Claim nothing more; return when the current claim is sent or released."""
        self.end()
        if self._task is not None:
            await asyncio.wait({self._task})  # cancelling one cancels the other neither way

    def end(self) -> None:
        """Claim nothing more."""
        self.stopped = True
        self._turns.leave(self)
        self._wake.set()
        if self._task is None:
            self._idle()
        self._alarm.cancel()
        if self._gathering is not None:
            self._gathering.cancel()

    def wake(self) -> None:
        """Make the task look for something to do."""
        if not self._busy and not self.stopped and self.started:
            self._busy = True
            self._in_flight.observers.began()
        self._wake.set()

    def _idle(self) -> None:
        if self._busy:
            self._busy = False
            self._in_flight.observers.ended()

    def answered(self) -> None:
        """See `Holder.answered`."""
        self._turns.changed()
        if not self._consumers.drained or self.suspect or self._paused:
            self.wake()

    def pause(self, receipt: str) -> None:
        """Send nothing more while the message with this receipt is in flight."""
        if receipt not in self._paused:
            self._paused.add(receipt)
            self._consumers.wake()  # others may have relied on this one to look at the clock

    def expect(self) -> None:
        """Claim what is about to be put, if there is nothing else to do: in the same transaction,
        so that a message that comes by itself costs one sync less."""
        if not (self._busy or self.suspect or self._paused) and len(self.sent) < self.window:
            self.wake()

    def news(self) -> None:
        """Look again for something to do: what was next may have gone to another consumer."""
        self.wake()

    async def _run(self) -> None:
        failures = 0
        try:
            while not self.stopped:
                await self._wake.wait()
                self._wake.clear()
                try:
                    while not self.stopped and await self._claim_and_send():
                        pass
                    failures = 0
                except Exception as error:
                    if isinstance(error, StoreError):
                        _log.error("%s gets nothing of queue %r: %s", self.sid, self.queue, error)
                    else:
                        _log.exception("%s gets nothing of queue %r for now", self.sid, self.queue)
                    failures += 1
                    pause = pause_after(failures, _BACK_OFF, _LONGEST_BACK_OFF)
                    self._alarm.set(self._in_flight.clock() + pause)
                waits = self._gathering is not None and self._gathering.when() > self._now()
                if not waits and not self._wake.is_set():
                    self._idle()
        finally:
            self._idle()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # -- claiming ---------------------------------------------------------------------------------

    async def _claim_and_send(self) -> bool:
        """Claim and send once; return whether there may be more to do at once."""
        in_flight = self._in_flight
        if not self.connected:
            self._consumers.gone(self)
            return False
        polled = packets_waiting(self._sio, self.sid, self._namespace)
        room = self._room(polled)
        if room <= 0:
            if self.sent:  # no claim is made that would return when the first lease ends
                self._alarm.set(next(iter(self.sent.values())).until)
            return False
        if polled is not None:
            room = min(room, _POLLING - polled)
            if room <= 0:  # no event says when it polls next
                self._alarm.set(in_flight.clock() + _POLLING_WAIT)
                return False
        if self._waits_for_others():
            self._turns.had(self)  # its client's other queues need not wait for it
            return False
        if self._waits_for_room(room):
            return False
        if self.sent:  # the client works on the other half while the store claims
            room = min(room, (self.window + 1) // 2)
        return await self._take_turn(room, polls=polled is not None)

    async def _take_turn(self, room: int, *, polls: bool) -> bool:
        """Claim at most `room` messages and send them, if it is this one's turn; return whether
        there may be more to do at once."""
        in_flight, turns = self._in_flight, self._turns
        claimed_at = in_flight.clock()
        permit = turns.permit(self, claimed_at)
        if permit is Permit.NOTHING:
            ends = [next(iter(self.sent.values())).until] if self.sent else []
            ends += [until] if (until := turns.until(claimed_at)) is not None else []
            self._alarm.set(min(ends, default=None))
            return False
        alone = permit is Permit.ANY
        turns.begin(self)
        try:
            attempts, due, suspect = await self.claim(room, alone=alone)
            self._alarm.set(due)
            if alone:
                turns.had(self)
            elif suspect:
                turns.wants(self, claimed_at)
            deliverable = [attempt for attempt in attempts if self._deliverable(attempt)]
            await self._send(deliverable, claimed_at, polls=polls)
        finally:
            turns.end(self)
        # A suspect message may have been all, and not deliverable.
        return len(attempts) == room or (suspect and not self.sent)

    def _room(self, polled: int | None) -> int:
        before = self.suspect
        self.lapse()
        if self.suspect and not before:
            self._consumers.wake()  # those that wait for others wait no more for this one
        window = self.window
        if polled is not None and not self.frame:
            window = min(window, _POLLING)
        self._paused = {r for r in self._paused if self._in_flight.holder(r) is not None}
        if self._paused:
            return 0
        return (1 if self.suspect else window) - len(self.sent)

    def _waits_for_others(self) -> bool:
        """Return whether to leave what there is to consumers that are not suspect, for a lease: the
        client may be frozen, and what it gets again and again has no attempts left in the end."""
        others = self.suspect and [c for c in self._consumers.by_sid.values() if not c.suspect]
        if not others:
            self._not_before = 0.0
            return False
        now = self._in_flight.clock()
        if self._not_before == 0.0:
            self._not_before = now + self._in_flight.rules.lease
            for other in others:
                other.wake()
        if now < self._not_before:
            self._alarm.set(self._not_before)
            return True
        self._not_before = 0.0
        return False

    def _waits_for_room(self, room: int) -> bool:
        """Return whether to wait a moment for more room: a claim costs a disk sync."""
        if self._gathering is not None and self._gathering.when() <= self._now():
            self._gathering = None
            return False
        if room * 4 >= self.window or not self.sent:
            return False
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_WAIT_FOR_ROOM, self.wake)
        return True

    async def claim(self, limit: int, *, alone: bool) -> tuple[list[Attempt], float | None, bool]:
        """Lease at most `limit` messages; if there are any, go to the end of the round robin.

        `alone`: nothing else is in flight to this client, so a suspect message may be. Returns
        them, the earliest time at which a lease or a delay ends (seconds since the epoch), and
        whether the claim was cut short by a suspect message.
        """
        in_flight, consumers, in_order = self._in_flight, self._consumers, self.window == 1
        in_flight.flush()  # in the same transaction
        news = consumers.news
        claimed = await in_flight.store.claim(
            self.queue, limit, in_flight.rules.lease, in_order=in_order, alone=alone
        )
        found_all = len(claimed.attempts) < limit and consumers.news == news
        consumers.drained = not in_order and found_all and not claimed.suspect
        if claimed.attempts and self.sid in consumers.by_sid:
            consumers.by_sid[self.sid] = consumers.by_sid.pop(self.sid)
        return claimed.attempts, claimed.due, claimed.suspect

    def _deliverable(self, attempt: Attempt) -> bool:
        """Return whether it may still be delivered; if not, it becomes a dead letter."""
        in_flight = self._in_flight
        number = attempt.number - attempt.redriven
        why = undeliverable(
            attempt.failures, number, attempt.expires, in_flight.rules, in_flight.clock()
        )
        if why is not None:
            in_flight.bury(attempt, why)
        return why is None

    # -- sending ----------------------------------------------------------------------------------

    async def _send(self, attempts: list[Attempt], claimed_at: float, *, polls: bool) -> None:
        """Send claimed messages, each by itself or in frames; release what is too late."""
        sent = 0
        for groups in self._side_by_side(attempts, polls=polls):
            if polls:
                await self._wait_for_poll(groups[0])
            if not self._may_send(claimed_at):
                await self._in_flight.unsent(attempts[sent:])
                return
            sent += sum(map(len, groups))
            if len(groups) == 1:
                await self._emit(groups[0], claimed_at)
            else:
                await asyncio.gather(*(self._emit(group, claimed_at) for group in groups))

    def _side_by_side(
        self, attempts: list[Attempt], *, polls: bool
    ) -> Iterator[list[list[Attempt]]]:
        """Yield what is emitted side by side: groups of messages, each of which is one event.

        python-socketio makes a task of each emit, and waits for it; that costs less together. The
        attachments of an event are packets of their own, so such a one is by itself.
        """
        if self.frame:
            yield from ([group] for group in cut(attempts, self.frame))
            return
        together: list[list[Attempt]] = []
        for attempt in attempts:
            alone = polls or isinstance(attempt.body, bytes)
            if together and (alone or len(together) == _TOGETHER):
                yield together
                together = []
            together.append([attempt])
            if alone:
                yield together
                together = []
        if together:
            yield together

    async def _emit(self, group: list[Attempt], claimed_at: float) -> None:
        """Emit these messages as one event; give back those that cannot be sent."""
        if not self._may_send(claimed_at):  # its client has left since the other events were begun
            await self._in_flight.unsent(group)
            return
        for attempt in group:  # here: observers are notified in the context of the emit
            self.hold(attempt, claimed_at)
        emit = self._emit_frame if self.frame else self._emit_one
        try:
            await emit(group)
        except Exception as error:
            if len(group) == 1:
                await self._unsendable(group[0], error)
                return
            for attempt in group:  # one message is to blame: send each by itself
                try:
                    await emit([attempt])
                except Exception as its_own:
                    await self._unsendable(attempt, its_own)

    async def _emit_one(self, group: list[Attempt]) -> None:
        [attempt] = group
        callback = partial(self._acknowledged, attempt.receipt)
        self.sent[attempt.receipt].callback = callback
        await self._sio.emit(
            attempt.event,
            (decode(attempt.body), delivery(attempt)),
            to=self.sid,
            namespace=self._namespace,
            callback=callback,
            ignore_queue=True,  # the client is connected here: no other server need get it
        )

    async def _emit_frame(self, frame: list[Attempt]) -> None:
        await self._sio.emit(
            DELIVERIES,
            pack(frame),
            to=self.sid,
            namespace=self._namespace,
            ignore_queue=True,
        )

    def _may_send(self, claimed_at: float) -> bool:
        """Return whether claimed messages may still be sent: not when half their lease is over."""
        half = claimed_at + self._in_flight.rules.lease / 2
        return not self.stopped and self.connected and self._in_flight.clock() < half

    async def _wait_for_poll(self, attempts: list[Attempt]) -> None:
        """Wait until a polling client has room for these (or is gone, or polls no more)."""
        woken = False
        while not self.stopped and self.connected:
            waiting = packets_waiting(self._sio, self.sid, self._namespace)
            if not waiting:
                break
            packets = 1 + sum(attachments(attempt.body) for attempt in attempts)
            if waiting + packets <= _POLLING:
                break
            self._alarm.set(self._in_flight.clock() + _POLLING_WAIT)
            await self._wake.wait()
            self._wake.clear()
            woken = True
        if woken:  # it was meant for the next claim
            self.wake()

    async def _unsendable(self, attempt: Attempt, error: Exception) -> None:
        _log.error("%s cannot be sent message %s: %r", self.sid, attempt.id, error)
        why = f"cannot be sent: {type(error).__name__}: {error}"
        try:
            await self._in_flight.give_back(attempt.receipt, attempt.failures + 1, why, None)
        except StoreError as problem:  # its lease will end; the others still have to be sent
            _log.error("message %s could not be given back: %s", attempt.id, problem)

    def _acknowledged(self, receipt: str, *answer: Any) -> None:
        """Handle a packet acknowledgement; only one that carries the receipt acknowledges."""
        if (sent := self.sent.get(receipt)) is not None:
            sent.callback = None
            if len(answer) == 1 and answer[0] == receipt:
                self._in_flight.acknowledged(receipt)
            elif sent.suspect:  # the client has survived it: others need not wait for its answer
                sent.suspect = False
                self._turns.changed()
                self.wake()
