"""The room of a SQLite store on its disk: the reserve that it goes on with when that is full.

Owns how much is kept in reserve beside the file, and how the log is written while there is none.
Must not know: what was asked, what is refused meanwhile.

All that is stored goes into the log first, and from there into the file. So the reserve is as large
as the log.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from .reserve import Reserve
from .sqlite_file import CHECKPOINT, CHECKPOINT_FULL, LARGEST_LOG

__all__ = ["Room"]

_log = logging.getLogger("chatq")

_MEGABYTE = 1_000_000
#: After about how many bytes to look at the size of the log.
_LOOK = 250_000


class Room:
    """The room for the store in the file `path`; each method gets its connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserve = Reserve(path)
        self._written = 0  # about how many bytes, since the size of the log was looked at

    @property
    def full(self) -> bool:
        """Whether the disk was full when it was last looked at: nothing more may be stored."""
        return self._reserve.used

    def opened(self, db: sqlite3.Connection) -> None:
        """Note that the file is open."""
        if self._reserve.used or not self._reserve.keep(self._needed()):
            self._drain(db)

    def look(self, db: sqlite3.Connection) -> None:
        """Look whether a full disk has room again."""
        if self._reserve.used and self._reserve.keep(self._needed()):
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")

    def written(self, db: sqlite3.Connection, size: int) -> None:
        """Let the reserve grow with the log, by about so many bytes; the size of that is looked at
        once it may have grown by much, since each look lets the event loop take the interpreter's
        lock."""
        self._written += size
        if self._written >= _LOOK and not self._reserve.used:
            self._written = 0
            if not self._reserve.keep(self._needed()):
                self._drain(db)

    def use(self, db: sqlite3.Connection) -> bool:
        """Give up the reserve, and go on with its space; return False if there was none."""
        if not self._reserve.give_up():
            return False
        _log.error("the disk is full: %s takes no messages, and uses its reserve", self._path)
        self._drain(db)
        return True

    def give_up(self) -> bool:
        """Give up the reserve to open the file; return False if there was none."""
        return self._reserve.give_up()

    def close(self) -> None:
        """Keep so much alone as it takes to open the file again."""
        self._reserve.close()

    def _needed(self) -> int:
        """Return how many bytes it takes to put all that is in the log into the file, and to go on
        from there."""
        try:
            size = os.stat(f"{self._path}-wal").st_size + _LOOK
            return min((size // _MEGABYTE + 1) * _MEGABYTE, LARGEST_LOG)
        except OSError:
            return _MEGABYTE

    def _drain(self, db: sqlite3.Connection) -> None:
        """From now on write in place where that is possible: the log is begun again soon."""
        with suppress(sqlite3.Error):
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_FULL}")
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
