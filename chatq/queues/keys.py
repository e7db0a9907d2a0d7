"""Idempotency keys, remembered for a time, so that a message put twice is stored once.

Owns how long each is known, how many are, and which of them a snapshot has to write. Must not know:
messages, records, where keys are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

__all__ = ["Keys"]


class Keys:
    """The number of the message for each key of each queue; times in seconds since the epoch."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, float]] = {}  # the newest are last
        #: The highest message number whose key was forgotten since there were too many.
        self.floor = 0

    def get(self, queue: str, key: str, now: float) -> int | None:
        """Return the number of the message that was put with this key; None if it is not known."""
        known = self._known.get((queue, key))
        return known[0] if known is not None and known[1] > now else None

    def add(self, queue: str, key: str, number: int, until: float) -> None:
        """Remember this key until this time."""
        self._known.pop((queue, key), None)
        if number > self.floor:
            self._known[queue, key] = (number, until)

    def forget(self, now: float, limit: int) -> None:
        """Drop keys that have expired at `now`, at most `limit`."""
        for _ in range(limit):
            first = self.first_end()
            if first is None or first > now:
                break
            del self._known[next(iter(self._known))]

    def shrink(self, most: int, now: float) -> None:
        """Drop the oldest keys until there are at most `most`."""
        while len(self._known) > most:
            number, until = self._known.pop(next(iter(self._known)))
            if until > now:  # else it is in no snapshot either
                self.floor = number

    def first_end(self) -> float | None:
        """Return when the oldest key expires; None if there is none."""
        return next(iter(self._known.values()))[1] if self._known else None

    def since(self, number: int, now: float) -> Iterator[list[Any]]:
        """Yield [queue, key, number, until] of each key that is remembered at `now` and belongs to
        a message with a higher number; as they are now, whatever is changed before they are read.
        """
        names, known = [*self._known], [*self._known.values()]
        start = bisect_right(known, number, key=itemgetter(0))
        wanted = zip(islice(names, start, None), islice(known, start, None), strict=True)
        return ([*key, each, until] for key, (each, until) in wanted if until > now)
