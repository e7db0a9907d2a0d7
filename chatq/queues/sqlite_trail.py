"""The trail of messages in a SQLite file: a row for each transaction in which anything happened.

Owns its table: what is written, found and deleted there. Must not know: what the notes mean, when
a transaction begins or ends.

The id of a row counts the notes up to it, so that those that are too many are found by it.
"""

from __future__ import annotations

import sqlite3

from ..fast import dumps, loads_own
from .store import Step
from .trail import KEPT, Notes, steps

__all__ = ["SqliteTrail"]

#: So many notes come between two deletions of the oldest.
_SLICE = 1_000


class SqliteTrail:
    """The trail in the file `db`, of what is in `notes`."""

    def __init__(self, db: sqlite3.Connection, notes: Notes) -> None:
        self._db, self._notes = db, notes
        self._end = int(db.execute("SELECT ifnull(max(id), 0) FROM trail").fetchone()[0])

    @property
    def end(self) -> int:
        """The id of the last row."""
        return self._end

    def write(self, now: float) -> None:
        """Write what is noted; if the transaction fails, call `back_to` with the `end` before."""
        page = self._notes.take(now)
        if page is None:
            return
        before, self._end = self._end, self._end + page.size
        self._db.execute(
            "INSERT INTO trail VALUES (?, ?, ?, ?, ?)",
            (self._end, now, page.first, page.last, dumps(page.entries)),
        )
        if before // _SLICE != self._end // _SLICE:
            self._db.execute("DELETE FROM trail WHERE id <= ?", (self._end - KEPT,))

    def back_to(self, end: int) -> None:
        """Take it that the last row is this one."""
        self._end = end

    def of(self, number: int) -> tuple[Step, ...]:
        """Return what is known of a message, oldest first."""
        rows = self._db.execute(
            "SELECT at, entries FROM trail WHERE first <= ? AND last >= ? ORDER BY id",
            (number, number),
        )
        return tuple(step for at, text in rows for step in steps(at, loads_own(text), number))
