"""How the queues of a stage are watched.

Owns the names of what queues know by ids: each stored message gets a number in the journal, each
consumer its name. Must not know: how queues work, the stage, reasons, pictures.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import journal, queue_facts
from .links import Recorder, cause
from .queue_facts import QueueFact

__all__ = ["QueueTap"]

_WORK = ("queue", "queues", "")


class QueueTap:
    """Writes what happens in queues into the journal of `recorder`; `names`: clients by sid."""

    def __init__(self, recorder: Recorder, names: Mapping[str, str]) -> None:
        self._recorder, self._names = recorder, names
        self._numbers: dict[tuple[str, str], int] = {}
        self._dead: set[tuple[str, str]] = set()
        self._out: dict[int, str] = {}

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
            case queue_facts.Subscribed(queue, sid):
                write(journal.Subscribed, self._names.get(sid, "?"), queue)
            case queue_facts.Stored(queue, id, event, data):
                self._number(queue, id, event, data)
            case queue_facts.Sent(queue, id, event, data, attempt, sid):
                number, name = self._number(queue, id, event, data), self._names.get(sid, "?")
                if before := self._out.get(number):  # its connection, or the queues, had ended
                    write(journal.Returned, number, before, "its lease ended")
                self._out[number] = name
                write(journal.Tried, number, name, attempt)
                cause.set(number)  # of what the pump's task emits next
            case queue_facts.Settled(queue, id, _):
                write(journal.Settled, *self._ended(queue, id))
            case queue_facts.Returned(queue, id, _, reason, delay):
                when = f", again in {delay:.1f} s" if delay else ""
                write(journal.Returned, *self._ended(queue, id), f"refused: {reason}{when}")
            case queue_facts.Lapsed(queue, id, _):
                write(journal.Returned, *self._ended(queue, id), "its lease ended")
            case queue_facts.Died(queue, id, reason):
                if (known := (queue, id)) in self._numbers:
                    number = self._numbers[known]
                    if before := self._out.pop(number, None):
                        write(journal.Returned, number, before, "its lease ended")
                    self._dead.add(known)
                    write(journal.Died, number, reason)
            case queue_facts.Redriven(queue, ids):
                for known in sorted(self._dead, key=lambda known: self._numbers[known]):
                    if known[0] == queue and (ids is None or known[1] in ids):
                        self._dead.discard(known)
                        write(journal.Redriven, self._numbers[known])

    def _ended(self, queue: str, id: str) -> tuple[int, str]:
        number = self._numbers[queue, id]
        return number, self._out.pop(number)

    def _number(self, queue: str, id: str, event: str, data: object) -> int:
        """Return the message's number; it is written down when it is met first."""
        number = self._numbers.get((queue, id))
        if number is None:
            number = self._recorder.emitted(
                journal.SERVER, event, data, "", recipients=(), queue=queue
            )
            self._numbers[queue, id] = number
        return number
