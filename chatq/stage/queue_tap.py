"""The observer of a stage's queues: it writes their facts into the journal.

Owns the translation of ids: each stored message gets a number in the journal, each consumer its
name. Must not know: how queues work, the stage, reasons, pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from ..journal.accounting import Recorder, cause
from ..journal.activity import Work
from ..journal.facts import (
    EARLIER,
    LEASE_ENDED,
    SERVER,
    Died,
    MessageRef,
    Queued,
    QueueFact,
    Redriven,
    Returned,
    Settled,
    Stored,
    Subscribed,
    Tried,
    Unsubscribed,
)

__all__ = ["QueueTap"]

_WORK: Work = ("queue", "queues", "")


class QueueTap:
    """Writes facts of queues into the journal of `recorder`; `names`: clients by sid."""

    def __init__(self, recorder: Recorder, names: Mapping[str, str]) -> None:
        self._recorder, self._names = recorder, names
        #: The queues of which there were facts, in that order.
        self.queues: dict[str, None] = {}
        self._numbers: dict[MessageRef, int] = {}
        # By sid, not by name: a client has another sid after a reconnection.
        self._in_flight: dict[int, str] = {}

    def forget(self) -> None:
        """Forget all messages, as the journal does: those still queued get new numbers."""
        self._numbers.clear()
        self._in_flight.clear()

    def began(self) -> None:
        """See `Observer.began`."""
        self._recorder.activity.begin(_WORK)

    def ended(self) -> None:
        """See `Observer.ended`."""
        self._recorder.activity.end(_WORK)

    def happened(self, fact: QueueFact) -> None:
        """See `Observer.happened`."""
        write = self._recorder.journal.append
        match fact:
            case Subscribed(sid, queue) | Unsubscribed(sid, queue):
                self.queues[queue] = None
                write(type(fact), self._name(sid), queue)
            case Stored(message):
                self._number(message, SERVER)
            case Tried(message, sid, attempt):
                cause.set(None)  # a message stored before the stage opened has no cause
                number = self._number(message, EARLIER)
                self._returned(number)  # its connection, or the queues, had ended
                self._in_flight[number] = sid
                write(Tried, number, self._name(sid), attempt)
                cause.set(number)  # of the next emit, which carries the message
            case Settled(message, sid) | Returned(message, sid):
                number = self._numbers.get(message, 0)
                if self._in_flight.get(number) == sid:  # else it is in flight to another
                    del self._in_flight[number]
                    reason = (fact.reason,) if isinstance(fact, Returned) else ()
                    write(type(fact), number, self._name(sid), *reason)
            case Died(message, reason):
                if number := self._numbers.get(message, 0):
                    self._returned(number)
                    write(Died, number, reason)
            case Redriven(message):
                if number := self._numbers.get(message, 0):
                    write(Redriven, number)
            case _:
                assert_never(fact)

    def _returned(self, number: int) -> None:
        if (sid := self._in_flight.pop(number, None)) is not None:
            self._recorder.journal.append(Returned, number, self._name(sid), LEASE_ENDED)

    def _name(self, sid: str) -> str:
        return self._names.get(sid, "?")

    def _number(self, message: MessageRef, sender: str) -> int:
        """Return the message's number; the first time, record it as emitted."""
        assert isinstance(message, Queued)
        self.queues[message.queue] = None
        number = self._numbers.get(message)
        if number is None:
            number = self._recorder.emitted(
                sender, message.event, message.data, "", recipients=(), queue=message.queue
            )
            self._numbers[message] = number
        return number
