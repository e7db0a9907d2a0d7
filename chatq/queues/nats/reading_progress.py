"""Lines in the log that say how far a long reading has come.

Owns how often. Must not know: what is read.
"""

from __future__ import annotations

import logging
import time

__all__ = ["Progress"]

_log = logging.getLogger("chatq")

#: The least time between two lines, in seconds.
_EVERY = 1.0


class Progress:
    """How many of `total` things, called `what`, have been read."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._told = time.monotonic()

    def reached(self, count: int) -> None:
        """Say that so many have been read, if it is time."""
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            _log.info("reading the stream: %d of %d %s", count, self._total, self._what)
