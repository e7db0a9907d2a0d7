"""`emit` inside a transaction of the user's own SQLite database.

Owns the table `chatq_outbox`, and the statement that puts a message into it. Must not know: who
reads the table, how messages are sent, event loops.

A message is a row like any other of the user's transaction, so it is there if, and only if, that is
committed. SQLite writes one transaction after the other, so the order of the numbers is that of the
commits.
"""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from ..queues.rules import Rules
from ..queues.steady_clock import steady
from .envelope import Envelope, seal

__all__ = ["TABLE", "emit_in_transaction", "insert", "outbox_insert", "readers"]

#: Creates the table in the database `schema`.
TABLE = """CREATE TABLE IF NOT EXISTS {schema}.chatq_outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, event TEXT NOT NULL, expires REAL,
    rejected TEXT, body NOT NULL
)"""
_INSERT = "INSERT INTO {schema}.chatq_outbox (key, event, expires, body) VALUES (?, ?, ?, ?)"
_PAYLOAD = Rules().payload
_clock = steady(time.time)  # as the outboxes of this process: nothing expires by a clock set back


class Reader(Protocol):
    """Who reads such a table, in this process."""

    def expect(self) -> None:
        """Look for a commit soon; may be called in any thread."""


class Readers:
    """Those who are told when a message was put in this process; for any thread."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, reader: Reader) -> None:
        with self._lock:
            self._all.add(reader)

    def discard(self, reader: Reader) -> None:
        with self._lock:
            self._all.discard(reader)

    def tell(self) -> None:
        with self._lock:
            readers = [*self._all]
        for reader in readers:
            reader.expect()


readers = Readers()


def emit_in_transaction(
    db: Any,
    event: str,
    data: Any = None,
    *,
    to: str | Sequence[str],
    key: str | None = None,
    ttl: float | None = None,
    delay: float | None = None,
    schema: str = "main",
    payload: int = _PAYLOAD,
) -> str:
    """Store a message for the queue `to`, or several, in the transaction of the connection `db`,
    and return its key. An `Outbox.inside` that database sends it once that is committed.

        with db:  # a sqlite3.Connection
            db.execute("INSERT INTO orders VALUES (?, ?)", (17, "pizza"))
            chatq.emit_in_transaction(db, "pickup", {"order": 17}, to="drivers")

    It is stored if, and only if, the rest of the transaction is: after a rollback, also of a
    savepoint around it, and after a crash before the commit it has never existed. May be called in
    any thread and any process that may use `db`, a `sqlite3.Connection` or another of DB-API 2;
    where statements are awaited, or the connection is an ORM's, execute `outbox_insert`.

    `key`, `ttl`, `delay`: as for `Outbox.emit`, the times from now. `schema`: the name of the
    database in which it is stored, if `db` has attached several; the outbox has to be inside that
    one. `payload`: the largest data as JSON, in bytes; as in the `Rules` of who gets it.

    Raises what `Outbox.emit` does for a message that no server accepts, `RuntimeError` if no
    transaction has begun and the connection begins none by itself, and what `db` raises (of sqlite3
    an `OperationalError` if the database is locked). Then nothing was stored.
    """
    if inspect.isawaitable(db) or not callable(getattr(db, "cursor", None)):
        raise TypeError(
            f"a message is stored by a connection of DB-API 2, like sqlite3.connect(…), not by "
            f"{type(db).__name__}: execute chatq.outbox_insert(…) with that"
        )
    envelope = seal(event, data, to, key, ttl, delay, payload, _clock())
    if _would_commit_at_once(db):
        raise RuntimeError(
            "the connection is in no transaction, so the message would be committed on its own: "
            "execute BEGIN first, then all that belongs together"
        )
    cursor = db.cursor()
    try:
        # First the insert: to create a table that is there reads the database, and SQLite waits for
        # no lock to go on from reading to writing.
        try:
            cursor.execute(*insert(envelope, schema))
        except Exception as error:
            if "no such table" not in str(error):
                raise
            cursor.execute(TABLE.format(schema=_quoted(schema)))
            cursor.execute(*insert(envelope, schema))
    finally:
        cursor.close()
    readers.tell()
    return envelope.key


def outbox_insert(
    event: str,
    data: Any = None,
    *,
    to: str | Sequence[str],
    key: str | None = None,
    ttl: float | None = None,
    delay: float | None = None,
    schema: str = "main",
    payload: int = _PAYLOAD,
) -> tuple[str, tuple[Any, ...]]:
    """Return the statement of `emit_in_transaction`, and its parameters, for any other driver.

        await db.execute(*chatq.outbox_insert("pickup", order, to="drivers"))  # aiosqlite

    Execute it in a transaction of yours. The table has to be there: `Outbox.inside` creates it.
    Arguments and errors as of `emit_in_transaction`.
    """
    statement = insert(seal(event, data, to, key, ttl, delay, payload, _clock()), schema)
    readers.tell()
    return statement


def insert(envelope: Envelope, schema: str = "main") -> tuple[str, tuple[Any, ...]]:
    """Return the statement that stores a message in the database `schema`, and its parameters."""
    key, event, body, expires = envelope
    return _INSERT.format(schema=_quoted(schema)), (key, event, expires, body)


def _quoted(schema: str) -> str:
    return '"' + schema.replace('"', '""') + '"'


def _would_commit_at_once(db: Any) -> bool:
    """Return whether an INSERT would be committed for itself; False if that cannot be known."""
    if getattr(db, "in_transaction", None) is not False:
        return False
    autocommit = getattr(db, "autocommit", None)  # a bool, or that `isolation_level` decides
    if isinstance(autocommit, bool):
        return autocommit
    return getattr(db, "isolation_level", None) is None
