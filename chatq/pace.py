"""The pace at which somebody may do something: so often at once, then once in so many seconds.

Owns the clock of that (a token bucket). Must not know: what is done, what follows of being late.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .waiting import passed

__all__ = ["Pace"]


class Pace:
    """Allows something `at_once` times, and again once in `interval` seconds; nobody is told to
    wait for more than `longest` seconds.

    `clock`: gives seconds, which only pass.
    """

    def __init__(
        self,
        at_once: int,
        interval: float,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spare, self._interval, self._clock = at_once * interval, interval, clock
        self._longest = longest
        self._due = clock() - self._spare

    def next(self) -> float:
        """Take one; return for how many seconds to wait before it is done."""
        now = self._clock()
        due = max(self._due, now - self._spare) + self._interval
        self._due = min(due, now + self._longest)
        return max(0.0, self._due - now)

    async def turn(self) -> None:
        """Take one; return when it may be done: at once, without a turn of the event loop, if that
        is now."""
        if late := self.next():
            await passed(late)

    @property
    def fresh(self) -> bool:
        """Return whether all may be done at once again, so that this need not be remembered."""
        return self._due <= self._clock() - self._spare
