"""One consumer's pump: it keeps at most a window of messages on their way to one client.

Owns what is out to this consumer, and when it gets more. Must not know: how messages are kept, what
the answers mean for a message.

Serial on purpose: one task claims and sends, so live messages and those that waited cannot cross.
A lease that ends is not an answer: whoever let one end gets two messages at a time until it answers
again, so that a frozen client does not use up the attempts of a whole queue. Two, so that one which
is never answered, by whomever, and comes first again each time, does not keep away the next: its
answer ends the doubt. The lease does not end with the connection: a client that is gone may still
be at work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from .frame import DELIVERIES, cut, delivery, pack
from .message import attachments, decode
from .policy import Rules
from .store import Attempt, Claimed, StoreError

__all__ = ["Out", "Pump", "Source"]

_log = logging.getLogger("chatq")

#: Python's polling client loses everything if it finds more than 16 packets waiting; a few of them
#: are left to others than us. How long to wait until it has asked for them, in seconds.
_POLLING = 12
_POLLING_WAIT = 0.05
#: How long a claim for a few messages waits for more of the window to come free, in seconds.
_GATHER = 0.005
#: How many messages may be out to a client that has let a lease end, until it answers.
_DOUBTFUL = 2
#: How long to wait after a failure of the store, in seconds; doubled after each, up to the longest.
_AGAIN = 0.25
_LONGEST_AGAIN = 30.0


@dataclass(slots=True)
class Out:
    """A message that is out: when its lease ends, the count of its attempts, and what
    python-socketio is to call when its packet is acknowledged (None: nothing any more)."""

    until: float
    counted: int
    callback: Callable[..., None] | None = None


class Source(Protocol):
    """Where a pump gets messages from, and whom it tells what happens to them."""

    rules: Rules
    clock: Callable[[], float]

    async def claim(self, pump: Pump, limit: int) -> Claimed:
        """Lease messages of this pump's queue."""

    def deliverable(self, attempts: list[Attempt]) -> list[Attempt]:
        """Return those that may still be delivered."""

    async def unsent(self, attempts: list[Attempt]) -> None:
        """Take back what was claimed and never sent."""

    async def unsendable(self, attempt: Attempt, why: str) -> None:
        """Take back what could not be sent; that was an attempt."""

    def hold(self, attempt: Attempt, pump: Pump) -> None:
        """This attempt is out to this pump's client."""

    def forget(self, receipt: str) -> None:
        """The lease with this receipt has ended."""

    def answered(self, receipt: str) -> None:
        """The client has dealt with the message with this receipt."""

    def gone(self, pump: Pump) -> None:
        """This pump's client has left."""

    def began(self) -> None:
        """A pump is at work."""

    def ended(self) -> None:
        """A pump waits for something to do."""


class Pump:
    """Moves messages of `queue` to the client `sid`, from `start` to `stop`.

    `frame`: how many messages may travel in one event; 0: each as an event of its own.
    """

    def __init__(
        self,
        source: Source,
        sio: Any,
        namespace: str,
        sid: str,
        queue: str,
        window: int,
        frame: int,
    ) -> None:
        self.sid, self.queue = sid, queue
        self.window, self.frame = window, frame
        self.stopped = False
        self._source, self._sio, self._namespace = source, sio, namespace
        #: Unanswered messages by receipt.
        self.out: dict[str, Out] = {}
        #: Whether it has let a lease end, and not answered since.
        self.doubtful = False
        self._wake = asyncio.Event()
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())
        self.wake()

    async def stop(self) -> None:
        """Claim nothing more; return when what is being claimed is sent or given back."""
        self.end()
        if self._task is not None:
            await self._task

    def end(self) -> None:
        """Claim nothing more."""
        self.stopped = True
        self._wake.set()
        if self._task is None:
            self._rest()
        for timer in (self._gathering, self._timer):
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """There may be something to do."""
        if not self._busy and not self.stopped:
            self._busy = True
            self._source.began()
        self._wake.set()

    def _rest(self) -> None:
        if self._busy:
            self._busy = False
            self._source.ended()

    @property
    def connected(self) -> bool:
        """Whether the client is still there, as far as the server knows."""
        return bool(self._sio.manager.is_connected(self.sid, self._namespace))

    def settled(self, receipt: str, *, more: bool = True) -> None:
        """This message was answered; `more`: there may be others for its place."""
        out = self.out.pop(receipt, None)
        if out is not None:
            if out.callback is not None:  # answered by an event, or not at all
                self._not_called_back(out.callback)
            if more or self.doubtful:
                self.wake()
            self.doubtful = False

    def _not_called_back(self, callback: Callable[..., None]) -> None:
        # python-socketio keeps a callback until its packet is acknowledged, and tells nobody under
        # which number; the oldest are first, and those are usually meant.
        callbacks: dict[int, Any] = self._sio.manager.callbacks.get(self.sid, {})
        for number, known in callbacks.items():
            if known is callback:
                del callbacks[number]
                return

    async def _run(self) -> None:
        again = _AGAIN
        try:
            while not self.stopped:
                await self._wake.wait()
                self._wake.clear()
                try:
                    while not self.stopped and await self._round():
                        pass
                    again = _AGAIN
                except Exception as error:
                    self._complain(error)
                    self._wake_at(self._source.clock() + again)
                    again = min(2 * again, _LONGEST_AGAIN)
                gathers = self._gathering is not None and self._gathering.when() > self._now()
                if not gathers and not self._wake.is_set():
                    self._rest()
        finally:
            self._rest()

    def _complain(self, error: Exception) -> None:
        if isinstance(error, StoreError):
            _log.error("%s gets nothing of queue %r: %s", self.sid, self.queue, error)
        else:
            _log.exception("%s gets nothing of queue %r for now", self.sid, self.queue)

    async def _round(self) -> bool:
        """Claim and send once; tell whether there may be more to do at once."""
        if not self.connected:
            self._source.gone(self)
            return False
        room = self._room()
        if room <= 0:
            if self.out:  # nobody else may say when the first of these leases has ended
                self._wake_at(next(iter(self.out.values())).until)
            return False
        if (waiting := self._packets()) is not None:
            room = min(room, _POLLING - waiting)
            if room <= 0:  # it takes nothing just now, and who knows when it will
                self._wake_at(self._source.clock() + _POLLING_WAIT)
                return False
        if self._gather(room):
            return False
        if self.out:  # the other half goes on meanwhile: nobody need wait for the store
            room = min(room, (self.window + 1) // 2)
        # What cannot be sent by then is given back, well before its lease has ended.
        until = self._source.clock() + self._source.rules.lease / 2
        claimed = await self._source.claim(self, room)
        self._wake_at(claimed.due)
        send = self._send_frames if self.frame else self._send
        await send(self._source.deliverable(claimed.attempts), until)
        return len(claimed.attempts) == room

    def lapse(self) -> bool:
        """Let go of messages whose leases have ended; tell whether there were any."""
        now = self._source.clock()
        ended = []
        for receipt, out in self.out.items():
            if out.until > now:
                break
            ended.append(receipt)
        for receipt in ended:
            self.settled(receipt)
            self._source.forget(receipt)
        return bool(ended)

    def _room(self) -> int:
        self.doubtful = self.lapse() or self.doubtful
        window = self.window
        if not self.frame and self._packets() is not None:
            window = min(window, _POLLING)
        if self.doubtful:
            window = min(_DOUBTFUL, window)
        return window - len(self.out)

    def _packets(self) -> int | None:
        """How many packets wait for the next question of a client that polls; None: it does not."""
        connection = self._sio.manager.eio_sid_from_sid(self.sid, self._namespace)
        socket = self._sio.eio.sockets.get(connection)
        if socket is None or socket.upgraded:
            return None
        return int(socket.queue.qsize())

    async def _can_send(self, attempts: list[Attempt], until: float) -> bool:
        """Wait until a client that polls can take these; False if they are not to be sent now."""
        woken = False
        while not self.stopped and self.connected:
            waiting = self._packets()
            if not waiting:
                break
            packets = 1 + sum(attachments(attempt.body) for attempt in attempts)
            if waiting + packets <= _POLLING:
                break
            self._wake_at(self._source.clock() + _POLLING_WAIT)
            await self._wake.wait()
            self._wake.clear()
            woken = True
        if woken:  # it was for the next round
            self.wake()
        return not self.stopped and self.connected and self._source.clock() < until

    def _gather(self, room: int) -> bool:
        """Whether to wait a moment for more room: a claim costs a sync of the disk."""
        if self._gathering is not None and self._gathering.when() <= self._now():
            self._gathering = None
            return False
        if room * 4 >= self.window or not self.out:
            return False
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_GATHER, self.wake)
        return True

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wake_at(self, due: float | None) -> None:
        """Look again when time alone may have brought something."""
        if self._timer is not None and (due is None or self._timer_due != due):
            self._timer.cancel()
            self._timer = None
        if due is not None and self._timer is None:
            self._timer_due = due
            wait = max(0.0, due - self._source.clock()) + 0.001
            self._timer = asyncio.get_running_loop().call_later(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        self.wake()

    async def _send(self, attempts: list[Attempt], until: float) -> None:
        for n, attempt in enumerate(attempts):
            if not await self._can_send([attempt], until):
                await self._source.unsent(attempts[n:])
                return
            callback = partial(self._answered, attempt.receipt)
            self._hold(attempt).callback = callback
            try:
                await self._sio.emit(
                    attempt.event,
                    (decode(attempt.body), delivery(attempt)),
                    to=self.sid,
                    namespace=self._namespace,
                    callback=callback,
                    ignore_queue=True,  # this client is here: no other server need hear of it
                )
            except Exception as error:
                await self._unsendable(attempt, error)

    async def _send_frames(self, attempts: list[Attempt], until: float) -> None:
        sent = 0
        for frame in cut(attempts, self.frame):
            if not await self._can_send(frame, until):
                await self._source.unsent(attempts[sent:])
                return
            sent += len(frame)
            for attempt in frame:
                self._hold(attempt)
            try:
                await self._emit_frame(frame)
            except Exception:  # one of them: it shall not take the others with it
                for attempt in frame:
                    try:
                        await self._emit_frame([attempt])
                    except Exception as error:
                        await self._unsendable(attempt, error)

    async def _emit_frame(self, frame: list[Attempt]) -> None:
        await self._sio.emit(
            DELIVERIES,
            pack(frame),
            to=self.sid,
            namespace=self._namespace,
            ignore_queue=True,
        )

    async def _unsendable(self, attempt: Attempt, error: Exception) -> None:
        _log.error("%s cannot be sent message %s: %r", self.sid, attempt.id, error)
        await self._source.unsendable(attempt, f"cannot be sent: {type(error).__name__}: {error}")

    def _hold(self, attempt: Attempt) -> Out:
        until = self._source.clock() + self._source.rules.lease
        out = self.out[attempt.receipt] = Out(until, attempt.number - attempt.spent)
        self._source.hold(attempt, self)
        return out

    def _answered(self, receipt: str, *answer: Any) -> None:
        """A packet acknowledgement came. Only one that carries the receipt means anything."""
        if receipt in self.out:
            self.out[receipt].callback = None
            if len(answer) == 1 and answer[0] == receipt:
                self._source.answered(receipt)
