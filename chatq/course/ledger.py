"""A database that says of each statement when it begins and when it has ended.

Owns which calls are statements: a commit is one, and what SQLite does by itself is none. Must not
know: what becomes of the program at a statement.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable
from typing import Any, Self

__all__ = ["TABLES", "Ledger"]

#: The tables of lesson 08: what has been dealt with, and what was put down.
TABLES = """
CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS doorstep (package TEXT);
"""


def _nothing(statement: str) -> object:
    """Do nothing about a statement."""
    return None


class Ledger(sqlite3.Connection):
    """A database; `begins` and `ended` are called with the text of each statement."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self.begins: Callable[[str], object] = _nothing
        self.ended: Callable[[str], object] = _nothing
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()
        super().__init__(*given, **options)

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor, whose statements are noted, too."""
        cursor = super().cursor(_Cursor)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        """Close, with all cursors: one that is not read to its end would keep the file locked."""
        for cursor in [*self._cursors]:
            cursor.close()
        super().close()

    def execute(self, *given: Any) -> Any:
        """Execute a statement."""
        return self.cursor().execute(*given)

    def executemany(self, *given: Any) -> Any:
        """Execute a statement with each of several rows."""
        return self.cursor().executemany(*given)

    def executescript(self, *given: Any) -> Any:
        """Execute several statements, which count as one."""
        return self.cursor().executescript(*given)

    def commit(self) -> None:
        """Commit."""
        self.begins("commit")
        super().commit()
        self.ended("commit")

    def __exit__(self, *error: Any) -> Any:
        if error[0] is not None:
            return super().__exit__(*error)
        self.begins("commit")
        result = super().__exit__(*error)
        self.ended("commit")
        return result


class _Cursor(sqlite3.Cursor):
    connection: Ledger

    def execute(self, *given: Any) -> Self:
        self.connection.begins(given[0])
        super().execute(*given)
        self.connection.ended(given[0])
        return self

    def executemany(self, *given: Any) -> Self:
        self.connection.begins(given[0])
        super().executemany(*given)
        self.connection.ended(given[0])
        return self

    def executescript(self, *given: Any) -> Self:
        self.connection.begins(given[0])
        super().executescript(*given)
        self.connection.ended(given[0])
        return self
