"""The free space of a store's SQLite file, and how it is given back to the disk.

Owns when to look at it, and how much is given at once. Must not know: queues, messages, when a
transaction begins or ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from .sqlite_schema import INCREMENTAL

__all__ = ["Space"]

#: How long after messages were deleted to look whether their space can be given back, and how long
#: after a slice of it to give the next, in seconds.
_SPACE, _NEXT_SPACE = 1.0, 0.1
#: The most pages that are given back at once, and that stay free in any case (of 4 KiB).
_PAGES = 256
_NEVER = float("inf")


class Space:
    """The free space in the file `db`; `clock`: gives the time in seconds since the epoch."""

    #: When to look at it, in seconds since the epoch.
    due: float

    def __init__(self, db: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self.due = _NEVER
        self._db, self._clock = db, clock
        self._shrinks = db.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL

    def note(self, wait: float = _SPACE) -> None:
        """Note that space may have become free in the file."""
        if self._shrinks and self.due == _NEVER:
            self.due = self._clock() + wait

    def give_back(self, *, at_once: bool) -> None:
        """Give some of the free space of the file back, outside of any transaction.

        A part stays free for what comes next, so that the file does not grow again at once.
        `at_once`: the disk is full, so give less, which takes less to write, and cut the file.
        """
        if self._clock() < self.due:
            return
        slice = _PAGES // 8 if at_once else _PAGES
        self.due = _NEVER
        pages, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count")
        )
        more = free - max(_PAGES, pages // 4)
        if more > 0:
            # As a script: each page is a step, and after each this thread would have to wait for
            # the interpreter's lock.
            self._db.executescript(f"PRAGMA incremental_vacuum({min(more, slice)})")
            if more <= slice or at_once:  # the file is cut by the checkpoint
                self._db.executescript("PRAGMA wal_checkpoint(PASSIVE)")
            self.note(_NEXT_SPACE)
        elif at_once:  # the log has had its largest size ever since
            self._db.executescript("PRAGMA wal_checkpoint(TRUNCATE)")
