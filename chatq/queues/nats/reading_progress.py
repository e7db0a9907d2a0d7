"""Lines in the log that say how far a long reading has come.

Owns how often. Must not know: what is read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["Progress"]

_log = logging.getLogger("chatq")

#: The least time between two lines, in seconds.
_EVERY = 1.0


class Progress:
    """How many of `total` things, called `what`, have been read; `clock` gives seconds."""

    def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._total, self._clock = what, total, clock
        self._told = clock()

    def reached(self, count: int) -> None:
        """Say that so many have been read, if it is time."""
        now = self._clock()
        if now - self._told >= _EVERY:
            self._told = now
            _log.info("reading the stream: %d of %d %s", count, self._total, self._what)
