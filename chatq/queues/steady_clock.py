"""A clock that goes forward steadily, whatever is done to the clock on the wall.

Owns that one. Must not know: what is timed with it.

A clock is set by time servers, by people, and by machines that are resumed; a lease must end all
the same. So the time on the wall is read once, and what has passed since is measured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["steady"]

#: Counts on while a machine is suspended, where there is such a clock.
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def steady(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock in seconds since the epoch that never goes back, nor jumps.

    Of `time.time` only the time at this moment is taken. Of any other clock each step forward
    counts, since it may be moved by hand, and no step back.
    """
    if isinstance(clock, (_Wall, _ForwardOnly)):
        return clock
    return _Wall() if clock is time.time else _ForwardOnly(clock)


class _Wall:
    def __init__(self) -> None:
        self._start = time.time() - _passed()

    def __call__(self) -> float:
        return self._start + _passed()


class _ForwardOnly:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._last, self._back = clock(), 0.0

    def __call__(self) -> float:
        with self._lock:  # a store reads it in its thread
            read = self._clock()
            self._back += max(0.0, self._last - read)  # by how much it was set back in all
            self._last = read
            return read + self._back


def _passed() -> float:
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)
