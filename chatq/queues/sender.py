"""How claimed messages travel to the client of one consumer: as events, alone or in frames.

Owns what is sent in one event, and the call-backs for packet acknowledgements. Must not know: when
a client gets more, how messages are kept.

A message of text is sent as the text that was stored, where that is what an emit would send (see
`text_sender`). Else python-socketio emits it.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..fast import dumps
from ..internals.engine import packets_waiting, text_sender
from .frame import DELIVERIES, cut, delivery, entry, pack
from .in_flight import Holder, InFlight
from .message import attachments, decode
from .store import Attempt, StoreError

__all__ = ["POLLING", "POLLING_WAIT", "Sender"]

_log = logging.getLogger("chatq")

#: Python's polling client loses everything if it finds more than 16 packets waiting; a few of them
#: are left to other senders. How long to wait until it has fetched them, in seconds.
POLLING = 12
POLLING_WAIT = 0.05
#: The most events that are sent at once, and emitted side by side.
_TOGETHER = 64


class Sender(Holder):
    """A consumer to which messages are sent: `frame`, the most of them in one event; 0: each is an
    event of its own."""

    frame: int

    def __init__(
        self, in_flight: InFlight, sio: Any, namespace: str, sid: str, queue: str, frame: int
    ) -> None:
        super().__init__(in_flight, sio, namespace, sid, queue)
        self.frame = frame

    @abstractmethod
    def wake(self) -> None:
        """Called when there may be something to do that was passed over."""

    @abstractmethod
    async def woken(self, until: float) -> None:
        """Wait until it is woken, at this time at the latest."""

    @abstractmethod
    def survived(self) -> None:
        """Called when the client has answered a suspect message with something else than its
        receipt, so others need not wait for the acknowledgement."""

    async def send(self, attempts: list[Attempt], claimed_at: float, *, polls: bool) -> None:
        """Send messages that were claimed at this time; release those for which it is too late.

        `polls`: the client polls for its packets.
        """
        sent = 0
        for groups in self._side_by_side(attempts, polls=polls):
            if polls:
                await self._wait_for_poll(groups[0])
            if not self._may_send(claimed_at):
                await self._in_flight.unsent(attempts[sent:])
                return
            sent += sum(map(len, groups))
            if self._send_text(groups, claimed_at):
                continue
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

    def _send_text(self, groups: list[list[Attempt]], claimed_at: float) -> bool:
        """Send these groups as text, which costs less than an emit; return False if they have to be
        emitted. (Messages with bytes have a group of their own, or a frame with others.)"""
        send = text_sender(self._sio, self.sid, self._namespace)
        if send is None or any(isinstance(attempt.body, bytes) for attempt in groups[0]):
            return False
        if self.frame:
            [frame] = groups
            self.hold(frame, claimed_at)
            send(dumps([DELIVERIES, pack(frame)]), None)
        else:
            self.hold([attempt for [attempt] in groups], claimed_at)
            for [attempt] in groups:
                send(entry(attempt), self._callback(attempt.receipt))
        return True

    def _callback(self, receipt: str) -> Callable[..., None]:
        """Return the call-back for the packet acknowledgement of a message in flight."""
        callback = self.sent[receipt].callback = partial(self._acknowledged, receipt)
        return callback

    async def _emit(self, group: list[Attempt], claimed_at: float) -> None:
        """Emit these messages as one event; give back those that cannot be sent."""
        if not self._may_send(claimed_at):  # its client has left since the other events were begun
            await self._in_flight.unsent(group)
            return
        self.hold(group, claimed_at)  # here: observers are notified in the context of the emit
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
        await self._sio.emit(
            attempt.event,
            (decode(attempt.body), delivery(attempt)),
            to=self.sid,
            namespace=self._namespace,
            callback=self._callback(attempt.receipt),
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
        waited = False
        while not self.stopped and self.connected:
            waiting = packets_waiting(self._sio, self.sid, self._namespace)
            if not waiting:
                break
            packets = 1 + sum(attachments(attempt.body) for attempt in attempts)
            if waiting + packets <= POLLING:
                break
            await self.woken(self._in_flight.clock() + POLLING_WAIT)
            waited = True
        if waited:  # what has woken it was meant for the next claim
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
                self.survived()
