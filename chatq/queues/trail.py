"""The trail of messages: notes of what has become of each, of the last that were worked on.

Owns the form of these notes, and how many are kept. Must not know: where messages are, files, what
a verb does.

Once a message has ended, nothing but its trail says how. In a file it is kept in pages, one for
each transaction in which anything happened, since a row for each message would cost about as much
as its claim; and a page names a run of numbers by its ends. It takes no index: whoever looks for a
message reads the pages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .store import Fate, Step

__all__ = ["ENDS", "KEPT", "Notes", "Page", "Trail", "fate_of_ended", "steps"]

#: So many notes are kept in a file, and in memory: each of a message, or in a file of a run.
KEPT, KEPT_IN_MEMORY = 100_000, 20_000

SENT = "sent"
FAILED, RETURNED, LEASE_ENDED = "failed", "given back", "lease ended"
DIED, REDRIVEN = "dead", "redriven"
ACKNOWLEDGED, REMOVED, PURGED, DELETED = "acknowledged", "removed", "purged", "queue deleted"
DISCARDED, DROPPED = "discarded", "dropped"
#: After these there is nothing left of a message: it was done, or somebody deleted it. `DROPPED`:
#: a dead letter was too old, or there were too many of them.
ENDS = {ACKNOWLEDGED, REMOVED, PURGED, DELETED, DISCARDED, DROPPED}


class Page(NamedTuple):
    """What happened at a time to messages with numbers from `first` to `last`; `size`: in so many
    notes.

    `entries`: lists of what happened, in which queue, to whom or why, and the first and the last of
    the numbers, or else a list of them.
    """

    at: float
    first: int
    last: int
    size: int
    entries: list[list[Any]]


#: What happened, in which queue, to whom or why, and the numbers.
Entry = tuple[str, str, str, list[int]]


class Notes:
    """The notes of one transaction."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def note(self, what: str, queue: str, numbers: Sequence[int], detail: str = "") -> None:
        """Note what happened to these messages; `detail`: to whom they were sent, or why."""
        if self.entries:
            last = self.entries[-1]
            if last[0] == what and last[1] == queue and last[2] == detail:
                last[3].extend(numbers)
                return
        if numbers:
            self.entries.append((what, queue, detail, [*numbers]))

    def clear(self) -> None:
        """Forget them: the transaction has failed."""
        self.entries.clear()

    def take(self, at: float) -> Page | None:
        """Return the page of what happened since the last call; None if nothing did."""
        if not self.entries:
            return None
        entries, self.entries = self.entries, []
        first, last, size = entries[0][3][0], 0, 0
        written: list[list[Any]] = []
        for what, queue, detail, numbers in entries:
            least, most, n = min(numbers), max(numbers), len(numbers)
            first, last = min(first, least), max(last, most)
            # No number is in an entry twice: between two of a kind comes one of another.
            if most - least + 1 == n:
                written.append([what, queue, detail, least, most])
                size += 1
            else:
                written.append([what, queue, detail, numbers])
                size += n
        return Page(at, first, last, size, written)


class Trail:
    """The notes of a store in memory."""

    def __init__(self) -> None:
        self.notes = Notes()
        self._kept: deque[tuple[float, Entry]] = deque()
        self._size = 0

    def turn(self, at: float) -> None:
        """Keep what was noted of the last record, which has this time."""
        for entry in self.notes.entries:
            self._kept.append((at, entry))
            self._size += len(entry[3])
        self.notes.clear()
        while self._size > KEPT_IN_MEMORY and len(self._kept) > 1:
            self._size -= len(self._kept.popleft()[1][3])

    def of(self, number: int) -> tuple[Step, ...]:
        """Return what is known of a message, oldest first."""
        return tuple(
            Step(at, what, queue, detail)
            for at, (what, queue, detail, numbers) in self._kept
            for _ in range(numbers.count(number))
        )


def steps(at: float, entries: Sequence[Sequence[Any]], number: int) -> Iterator[Step]:
    """Yield what the entries of a page say of a message."""
    for what, queue, detail, *numbers in entries:
        if len(numbers) == 2:
            if numbers[0] <= number <= numbers[1]:
                yield Step(at, what, queue, detail)
        else:
            for _ in range(numbers[0].count(number)):
                yield Step(at, what, queue, detail)


def fate_of_ended(id: str, trail: tuple[Step, ...]) -> Fate:
    """Return the fate of a message that is nowhere any more."""
    for step in reversed(trail):
        if step.what in ENDS:
            return Fate(id, step.what, step.queue, steps=trail)
    return Fate(id, "forgotten", trail[-1].queue if trail else None, steps=trail)
