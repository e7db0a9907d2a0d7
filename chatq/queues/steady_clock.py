"""A clock that goes forward steadily, whatever is done to the clock on the wall.

Owns that one. Must not know: what is timed with it, whose times it has to reach.

A clock is set by time servers, by people, and by machines that are resumed; a lease must end all
the same. So the time on the wall is read once, and what has passed since is measured.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

__all__ = ["Steady", "steady"]

#: Counts on while a machine is suspended, where there is such a clock.
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


class Steady(ABC):
    """A clock in seconds since the epoch that never goes back."""

    @abstractmethod
    def __call__(self) -> float:
        """Return the time."""

    @abstractmethod
    def _go_forward(self, seconds: float) -> None:
        """Be ahead by so many seconds more from now on."""

    def reach(self, time: float) -> float:
        """Go on from `time` if this clock is behind it; return by how many seconds it was."""
        behind = max(0.0, time - self())
        self._go_forward(behind)
        return behind


def steady(clock: Callable[[], float]) -> Steady:
    """Return a clock in seconds since the epoch that never goes back, nor jumps.

    Of `time.time` only the time at this moment is taken. Of any other clock each step forward
    counts, since it may be moved by hand, and no step back.
    """
    if isinstance(clock, Steady):
        return clock
    return _Wall() if clock is time.time else _ForwardOnly(clock)


class _Wall(Steady):
    def __init__(self) -> None:
        self._start = time.time() - _passed()

    def __call__(self) -> float:
        return self._start + _passed()

    def _go_forward(self, seconds: float) -> None:
        self._start += seconds


class _ForwardOnly(Steady):
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._last, self._back = clock(), 0.0

    def __call__(self) -> float:
        with self._lock:  # a store reads it in its thread
            read = self._clock()
            self._back += max(0.0, self._last - read)  # by how much it was set back in all
            self._last = read
            return read + self._back

    def _go_forward(self, seconds: float) -> None:
        with self._lock:
            self._back += seconds


def _passed() -> float:
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)
