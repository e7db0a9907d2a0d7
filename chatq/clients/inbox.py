"""De-duplication of redeliveries: the ids of the messages that a consumer has handled.

Owns the memory of ids: in the process, in a file, or in the consumer's own transaction. Must not
know: sockets, receipts, handlers.

Its place decides what holds when the process is killed
- in memory: a message whose acknowledgement got lost with a connection is skipped when it is
  redelivered. A new process knows no ids.
- in a file of its own: a new process knows them, except that of the message being handled.
- in the consumer's database: what the handler writes there and the id are committed together, or
  neither is. The effect happens exactly once, whenever the process is killed. (The transaction is
  as long as the handler, and others who write to the same SQLite file wait for it, even for a
  process that is suspended in its handler: keep handlers short.)

It is bounded: with each new id the oldest beyond `keep` is forgotten. A redelivery after `keep`
other messages is handled again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol

from ..queues.private import make_private
from ..queues.sqlite_schema import check_foreign
from ..queues.store import StoreError

__all__ = ["Inbox", "open_inbox"]

_TABLE = "CREATE TABLE IF NOT EXISTS chatq_inbox (number INTEGER PRIMARY KEY, id TEXT UNIQUE)"
_SEEN = "SELECT 1 FROM chatq_inbox WHERE id = ?"
_REMEMBER = "INSERT INTO chatq_inbox (id) VALUES (?)"
_FORGET = "DELETE FROM chatq_inbox WHERE number <= ?"
_FORGET_EVERY = 64  # deleting that many rows costs hardly more than deleting one
_LONGEST_LOCK = 1.0  # seconds; it blocks the event loop
_TOO_EARLY = (
    "the handler has ended the inbox's transaction: leave COMMIT and `with connection:` to the "
    "consumer, else the effect may happen twice when the process is killed"
)


class Inbox(Protocol):
    """The ids of handled messages; for each: `begin`, then the handler, then `done` or `undo`."""

    def begin(self, id: str) -> bool:
        """Begin with this message; return False, without beginning, if it was handled before."""
        ...

    def done(self, id: str) -> str:
        """Remember this id; return "", or a problem although the handler has succeeded."""
        ...

    def undo(self) -> None:
        """Undo `begin`: the handler has failed."""
        ...

    def close(self) -> None:
        """Close a file that `open_inbox` has opened."""
        ...


def open_inbox(where: str | Path | sqlite3.Connection | None, keep: int) -> Inbox:
    """Open the inbox in memory (None), in the SQLite file with this name, or in the database of
    this connection, within its transactions.

    Raises `ValueError` for a `keep` below 1 or a connection with `autocommit=False`, `StoreError`
    if it cannot be opened.
    """
    if keep < 1:
        raise ValueError(f"an inbox keeps 1 id or more, not {keep!r}")
    if where is None:
        return _Memory(keep)
    try:
        if isinstance(where, sqlite3.Connection):
            return _Transaction(where, keep)
        return _File(Path(where), keep)
    except sqlite3.Error as error:
        raise StoreError(f"cannot keep an inbox in {where}: {error}") from None


class _Memory:
    """Ids in memory, in the order of handling; see `Inbox`."""

    def __init__(self, keep: int) -> None:
        self._ids: dict[str, None] = {}
        self._keep = keep

    def begin(self, id: str) -> bool:
        return id not in self._ids

    def done(self, id: str) -> str:
        self._ids[id] = None
        if len(self._ids) > self._keep:
            del self._ids[next(iter(self._ids))]
        return ""

    def undo(self) -> None:
        pass

    def close(self) -> None:
        pass


class _File:
    """Ids in a file of their own; see `Inbox`. A commit is not synced: a process that is killed
    loses nothing, a machine that loses power only the last ids."""

    def __init__(self, path: Path, keep: int) -> None:
        self._path, self._keep = path, keep
        make_private(path)
        self._db = sqlite3.connect(path, timeout=_LONGEST_LOCK, isolation_level=None)
        try:
            check_foreign(self._db, path)
            if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_TABLE)
        except BaseException:
            self._db.close()
            raise

    def begin(self, id: str) -> bool:
        return self._db.execute(_SEEN, (id,)).fetchone() is None

    def done(self, id: str) -> str:
        try:
            _remember(self._db, id, self._keep)
        except sqlite3.Error as error:
            return f"a handled message could not be remembered in {self._path}: {error}"
        return ""

    def undo(self) -> None:
        pass

    def close(self) -> None:
        self._db.close()


class _Transaction:
    """Ids in the consumer's own database; each message is one transaction; see `Inbox`."""

    def __init__(self, db: sqlite3.Connection, keep: int) -> None:
        if getattr(db, "autocommit", None) is False:
            raise ValueError(
                "an inbox begins and commits transactions itself: open the connection without "
                "autocommit=False"
            )
        self._db, self._keep, self._begun = db, keep, False
        self._check()
        db.execute(_TABLE)

    def _check(self) -> None:
        if self._db.in_transaction:
            raise RuntimeError(
                "the inbox's connection is in a transaction already: give the consumer a "
                "connection that nobody else uses"
            )

    def begin(self, id: str) -> bool:
        self._check()
        self._db.execute("BEGIN IMMEDIATE")  # one of several processes with this message waits
        self._begun = True
        if self._db.execute(_SEEN, (id,)).fetchone() is None:
            return True
        self.undo()
        return False

    def done(self, id: str) -> str:
        together = self._db.in_transaction
        if not together:
            self._db.execute("BEGIN IMMEDIATE")
        _remember(self._db, id, self._keep)
        self._db.execute("COMMIT")
        self._begun = False
        return "" if together else _TOO_EARLY

    def undo(self) -> None:
        begun, self._begun = self._begun, False
        if begun and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # SQLite has rolled back by itself

    def close(self) -> None:
        pass  # it is the caller's


def _remember(db: sqlite3.Connection, id: str, keep: int) -> None:
    number = db.execute(_REMEMBER, (id,)).lastrowid or 0
    if number % _FORGET_EVERY == 0 and number > keep:
        db.execute(_FORGET, (number - keep,))
