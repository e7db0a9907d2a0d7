"""A timer for what ends as time passes, in queues that nobody may be looking at.

Owns when the timer of one store rings. Must not know: what is due, stores.

There is one for a whole store, set to the earliest end of all: no queue is looked at in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]

#: The longest wait in seconds: an event loop's timers stand still while the machine is suspended.
_LONGEST = 60.0


class Alarm:
    """Calls `ring` when it is time.

    `clock`: gives the time in seconds since the epoch; `least`: the shortest wait in seconds, so
    that what ends one after the other is dealt with together.
    """

    __slots__ = ("_clock", "_least", "_ring", "_timer", "_when")

    def __init__(
        self, clock: Callable[[], float], ring: Callable[[], object], least: float = 0.05
    ) -> None:
        self._clock, self._ring, self._least = clock, ring, least
        self._when: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float | None) -> None:
        """Ring at `when` (seconds since the epoch) instead of when was said before; None: never."""
        if when == self._when:
            return
        self.cancel()
        if when is not None:
            self._when = when
            wait = min(max(when - self._clock(), self._least), _LONGEST)
            self._timer = asyncio.get_running_loop().call_later(wait, self._over)

    def cancel(self) -> None:
        """Ring no more, until it is set again."""
        self._when = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        when = self._when
        self.cancel()
        if when is not None and when > self._clock():
            self.set(when)
        else:
            self._ring()
