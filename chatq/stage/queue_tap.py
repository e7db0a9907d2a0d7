"""How the queues of a stage are watched.

Owns the names of what queues know by ids: each stored message gets a number in the journal, each
consumer its name. Must not know: how queues work, the stage, reasons, pictures.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..queues.facts import (
    Died,
    Lapsed,
    QueueFact,
    Redriven,
    Returned,
    Sent,
    Settled,
    Stored,
    Subscribed,
    Unsubscribed,
)
from . import journal
from .links import Recorder, cause

__all__ = ["QueueTap"]

_LAPSED = "its lease ended"
_WORK = ("queue", "queues", "")


class QueueTap:
    """Writes what happens in queues into the journal of `recorder`; `names`: clients by sid."""

    def __init__(self, recorder: Recorder, names: Mapping[str, str]) -> None:
        self._recorder, self._names = recorder, names
        #: The queues that were seen at work, in that order.
        self.queues: dict[str, None] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._dead: set[tuple[str, str]] = set()
        # To whom each is out: a name, and the connection, since a name comes back on another one.
        self._out: dict[int, tuple[str, str]] = {}

    def forget(self) -> None:
        """Know no message any more, as the journal does: what still waits is met anew."""
        self._numbers.clear()
        self._dead.clear()
        self._out.clear()

    def began(self) -> None:
        """See `Observer.began`."""
        self._recorder.activity.begin(_WORK)

    def ended(self) -> None:
        """See `Observer.ended`."""
        self._recorder.activity.end(_WORK)

    def happened(self, fact: QueueFact) -> None:
        """See `Observer.happened`."""
        self.queues[fact.queue] = None
        write = self._recorder.journal.append
        match fact:
            case Subscribed(queue, sid):
                write(journal.Subscribed, self._names.get(sid, "?"), queue)
            case Unsubscribed(queue, sid):
                write(journal.Unsubscribed, self._names.get(sid, "?"), queue)
            case Stored(queue, id, event, data):
                self._number(queue, id, event, data, journal.SERVER)
            case Sent(queue, id, event, data, attempt, sid):
                cause.set(None)  # what was stored earlier comes of nothing that was seen
                number = self._number(queue, id, event, data, journal.EARLIER)
                name = self._names.get(sid, "?")
                if before := self._out.get(number):  # its connection, or the queues, had ended
                    write(journal.Returned, number, before[0], _LAPSED)
                self._out[number] = (name, sid)
                write(journal.Tried, number, name, attempt)
                cause.set(number)  # of what the pump's task emits next
            case Settled(queue, id, sid):
                if over := self._over(queue, id, sid):
                    write(journal.Settled, *over)
            case Returned(queue, id, sid, reason, delay):
                if over := self._over(queue, id, sid):
                    when = f", again in {delay:.1f} s" if delay else ""
                    why = f"refused: {reason}{when}"
                    write(journal.Returned, *over, why)
            case Lapsed(queue, id, sid):
                if over := self._over(queue, id, sid):
                    write(journal.Returned, *over, _LAPSED)
            case Died(queue, id, reason):
                if (known := (queue, id)) in self._numbers:
                    number = self._numbers[known]
                    if before := self._out.pop(number, None):
                        write(journal.Returned, number, before[0], _LAPSED)
                    self._dead.add(known)
                    write(journal.Died, number, reason)
            case Redriven(queue, ids):
                for known in sorted(self._dead, key=lambda known: self._numbers[known]):
                    if known[0] == queue and (ids is None or known[1] in ids):
                        self._dead.discard(known)
                        write(journal.Redriven, self._numbers[known])

    def _over(self, queue: str, id: str, sid: str) -> tuple[int, str] | None:
        """The message is out no more: return its number, and whose it was; None: another has it."""
        number = self._numbers.get((queue, id), 0)
        name, holder = self._out.get(number, ("", None))
        if holder != sid:
            return None
        del self._out[number]
        return number, name

    def _number(self, queue: str, id: str, event: str, data: object, sender: str) -> int:
        """Return the message's number; it is written down when it is met first."""
        number = self._numbers.get((queue, id))
        if number is None:
            emitted = self._recorder.emitted
            number = emitted(sender, event, data, "", recipients=(), queue=queue)
            self._numbers[queue, id] = number
        return number
