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
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..internals.engine import packets_waiting, unread_size
from ..waiting import pause_after
from .alarm import Alarm
from .in_flight import InFlight
from .rules import undeliverable
from .sender import POLLING, POLLING_WAIT, Sender
from .store import Attempt, StoreError
from .turns import Permit, Turns

__all__ = ["Consumers", "Subscription"]

_log = logging.getLogger("chatq")

#: How long a claim for a few messages waits for more room in the window, in seconds.
_WAIT_FOR_ROOM = 0.005
#: The most bytes that a client may have unread before it gets more, if the server measures that.
_UNREAD = 1_000_000
#: The most messages that are claimed before any was seen, so that nobody knows how large they are.
_UNKNOWN = 64
#: The back-off after a failure of the store, in seconds; doubled after each, up to the longest.
_BACK_OFF = 0.25
_LONGEST_BACK_OFF = 30.0


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


class Subscription(Sender):
    """Delivers messages of `queue` to the client `sid` of `sio`, from `start` to `stop`.

    `window`: the most messages in flight; `frame`: see `Sender`; `name`: of its client, for people.
    """

    window: int
    name: str

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
        super().__init__(in_flight, sio, namespace, sid, queue, frame)
        self.window, self.name = window, sid
        #: The messages that keep its client from beginning another, by receipt: see `pause`.
        self._paused: set[str] = set()
        self._turns = turns
        turns.join(self)
        #: How many messages of the size of the last ones a client may have unread.
        self._fit: int | None = None
        self._not_before = 0.0  # a suspect consumer claims nothing that others might
        self._consumers = consumers
        self._wake = asyncio.Event()
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None  # it waits for more room
        self._gathered = False  # it has waited
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
                if self._gathering is None and not self._wake.is_set():
                    self._idle()
        finally:
            self._idle()

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
            room = min(room, POLLING - polled)
            if room <= 0:  # no event says when it polls next
                self._alarm.set(in_flight.clock() + POLLING_WAIT)
                return False
        if self._waits_for_others():
            self._turns.had(self)  # its client's other queues need not wait for it
            return False
        if self._waits_for_room(room):
            return False
        if self.sent:  # the client works on the other half while the store claims
            room = min(room, (self.window + 1) // 2)
        if unread_size(self._sio, self.sid, self._namespace) is None:
            return await self._take_turn(room, polls=polled is not None)
        async with self._turns.sizing if self._fit is None else nullcontext():
            return await self._take_measured_turn(room, polls=polled is not None)

    async def _take_measured_turn(self, room: int, *, polls: bool) -> bool:
        """Do as `_take_turn`, if the client has little unread; and claim about so much."""
        if (unread_size(self._sio, self.sid, self._namespace) or 0) > _UNREAD:
            self._alarm.set(self._in_flight.clock() + POLLING_WAIT)  # no event says when it reads
            return False
        return await self._take_turn(min(room, self._fit or _UNKNOWN), polls=polls)

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
            now = in_flight.clock()
            if attempts:
                largest = max(len(attempt.body) for attempt in attempts)
                self._fit = max(1, min(8 * (self._fit or _UNKNOWN), _UNREAD // (largest + 1)))
            deliverable = [attempt for attempt in attempts if self._deliverable(attempt, now)]
            await self.send(deliverable, claimed_at, polls=polls)
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
            window = min(window, POLLING)
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
        gathered, self._gathered = self._gathered, False
        if gathered or room * 4 >= self.window or not self.sent:
            return False
        if self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(_WAIT_FOR_ROOM, self._end_wait_for_room)
        return True

    def _end_wait_for_room(self) -> None:
        # That the timer is over is not asked of the clock: a timer may ring before its own time.
        self._gathering, self._gathered = None, True
        self.wake()

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
            self.queue,
            limit,
            in_flight.rules.lease,
            in_order=in_order,
            alone=alone,
            to=self.name,
        )
        found_all = len(claimed.attempts) < limit and consumers.news == news
        consumers.drained = not in_order and found_all and not claimed.suspect
        if claimed.attempts and self.sid in consumers.by_sid:
            consumers.by_sid[self.sid] = consumers.by_sid.pop(self.sid)
        return claimed.attempts, claimed.due, claimed.suspect

    def _deliverable(self, attempt: Attempt, now: float) -> bool:
        """Return whether it may still be delivered; if not, it becomes a dead letter."""
        number = attempt.number - attempt.redriven
        rules = self._in_flight.rules
        why = undeliverable(attempt.failures, number, attempt.expires, rules, now)
        if why is not None:
            self._in_flight.bury(attempt, why)
        return why is None

    # -- sending ----------------------------------------------------------------------------------

    async def woken(self, until: float) -> None:
        """See `Sender.woken`."""
        self._alarm.set(until)
        await self._wake.wait()
        self._wake.clear()

    def survived(self) -> None:
        """See `Sender.survived`."""
        self._turns.changed()
        self.wake()
