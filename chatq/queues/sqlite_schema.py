"""The tables and indexes of a store's SQLite file.

Owns their form, and what files of older versions of chatq are turned into. Must not know: what is
kept in them, threads, event loops.

A new file gives its space back in slices (`auto_vacuum = INCREMENTAL`). One that was made before
cannot: SQLite decides that with the first table. It reuses its space, and its size stays, unless
somebody runs `PRAGMA auto_vacuum = 2; VACUUM` on it while it is closed.
"""

from __future__ import annotations

import math
import os
import sqlite3
from pathlib import Path
from typing import Literal

from .store import StoreError

__all__ = ["INCREMENTAL", "Kind", "check", "check_foreign", "mark", "prepare"]

#: The value of `PRAGMA auto_vacuum` of a file that gives its space back in slices.
INCREMENTAL = 2

Kind = Literal["queues", "outbox"]
_APPLICATIONS: dict[Kind, int] = {  # in the header of the file: "chaq", "chob"
    "queues": 0x63686171,
    "outbox": 0x63686F62,
}
_VERSION = 3
_HELD: dict[Kind, str] = {"queues": "queues", "outbox": "an outbox"}
#: Tables of chatq that are no store, in a file of their own or in one of its user.
_INSIDE = {
    "chatq_inbox": "the inbox of a consumer (ids of messages that it has handled)",
    "chatq_outbox": "an outbox inside a database (chatq.Outbox.inside)",
}
#: How many tables of another program are named.
_NAMED = 3

_TABLES = """
CREATE TABLE meta (name TEXT NOT NULL, next INTEGER NOT NULL, seen REAL NOT NULL DEFAULT 0);
CREATE TABLE queue (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, pending INTEGER, dead INTEGER
);
CREATE TABLE body (
    id INTEGER PRIMARY KEY, event TEXT NOT NULL, data NOT NULL, born REAL NOT NULL,
    copies INTEGER NOT NULL
);
CREATE TABLE pending (
    queue INTEGER NOT NULL, seq INTEGER NOT NULL, body INTEGER NOT NULL, attempts INTEGER NOT NULL,
    failures INTEGER NOT NULL, expires REAL, due REAL, suspect INTEGER NOT NULL DEFAULT 0,
    redriven INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (queue, seq)
) WITHOUT ROWID;
CREATE INDEX suspects ON pending (queue) WHERE suspect;
CREATE TABLE retry (
    queue INTEGER NOT NULL, due REAL NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (queue, due, seq)
) WITHOUT ROWID;
CREATE TABLE dead (
    queue INTEGER NOT NULL, seq INTEGER NOT NULL, body INTEGER NOT NULL, attempts INTEGER NOT NULL,
    expires REAL, reason TEXT NOT NULL, died REAL NOT NULL, PRIMARY KEY (queue, seq)
) WITHOUT ROWID;
CREATE TABLE key (
    queue INTEGER NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX key_until ON key (until);
"""
#: What turns a file of the first version into one of the second.
_SECOND = """
ALTER TABLE pending RENAME COLUMN spent TO failures;
UPDATE pending SET failures = attempts - failures;
ALTER TABLE pending ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0;
CREATE INDEX suspects ON pending (queue) WHERE suspect;
ALTER TABLE meta ADD COLUMN seen REAL NOT NULL DEFAULT 0;
"""
#: What turns that into one of the third.
_THIRD = "ALTER TABLE pending ADD COLUMN redriven INTEGER NOT NULL DEFAULT 0"
_ENDS = """
CREATE TABLE IF NOT EXISTS trail (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    entries TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS pending_expires ON pending (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS dead_died ON dead (died);
CREATE INDEX IF NOT EXISTS dead_of_queue ON dead (queue, died);
CREATE INDEX IF NOT EXISTS queue_emptied ON queue (emptied) WHERE emptied IS NOT NULL;
"""
#: A queue whose counts are not written was in use when its process was killed.
_FOUND_EMPTY = """
UPDATE queue SET emptied = ?, pending = 0, dead = 0
WHERE emptied IS NULL AND (pending IS NULL OR (pending = 0 AND dead = 0))
AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.queue = queue.id)
AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.queue = queue.id)
"""


def check(db: sqlite3.Connection, path: Path, kind: Kind) -> bool:
    """Return whether the file is empty. Raises `StoreError` if it is no store of this kind."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    empty = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    for other, known in _APPLICATIONS.items():
        if application == known and other != kind:
            raise StoreError(
                f"{path} holds {_HELD[other]}, not {_HELD[kind]}: give another file; it was left "
                "as it is"
            )
    if application != _APPLICATIONS[kind] and (application or not empty):
        raise StoreError(
            f"{path} {_what(db)}; it was left as it is: give the file that holds {_HELD[kind]}, or "
            "begin one under a name that is free"
        )
    if version > _VERSION:
        raise StoreError(
            f"{path} was written by a newer chatq (version {version} of the file, this one reads "
            f"{_VERSION}); it was left as it is: install that chatq"
        )
    if not empty:
        db.execute("SELECT name, next FROM meta").fetchone()
    return empty


def _what(db: sqlite3.Connection) -> str:
    """Return what a file is that is none of ours."""
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    ours = [what for name, what in _INSIDE.items() if name in names]
    theirs = [name for name in names if name not in _INSIDE]
    if ours and not theirs:
        return f"has {' and '.join(ours)} in it, and no queues"
    shown = [*map("{!r:.40}".format, theirs[:_NAMED]), *(["…"] if theirs[_NAMED:] else [])]
    tables = f" (with the tables {', '.join(shown)})" if theirs else ""
    return f"is a database of another program{tables}" + "".join(f", with {one}" for one in ours)


def check_foreign(db: sqlite3.Connection, path: Path) -> None:
    """Raise `StoreError` if the file is a store, and so no database of another program."""
    if db.execute("PRAGMA application_id").fetchone()[0] in _APPLICATIONS.values():
        raise StoreError(
            f"{path} is a file of chatq, not a database of yours: give another; it was left as it "
            "is"
        )


def mark(db: sqlite3.Connection, kind: Kind) -> None:
    """Write into the file what it is."""
    db.execute(f"PRAGMA application_id = {_APPLICATIONS[kind]}")
    db.execute(f"PRAGMA user_version = {_VERSION}")


def prepare(db: sqlite3.Connection, *, empty: bool, now: float) -> float:
    """Make what is missing in the file, in a transaction of the caller; `empty`: all of it.

    `now`: the time, from which on a queue is known to be empty. If the clock was set back since the
    file was written, all times in it are moved back; returns by how many seconds.
    """
    if empty:
        _run(db, _TABLES)
        db.execute("INSERT INTO meta VALUES (?, 1, 0)", (os.urandom(4).hex(),))
    else:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if older := (_SECOND, _THIRD)[version - 1 :]:
            for statements in older:
                _run(db, statements)
            db.execute(f"PRAGMA user_version = {_VERSION}")
    if "emptied" not in {row[1] for row in db.execute("PRAGMA table_info(queue)")}:
        db.execute("ALTER TABLE queue ADD COLUMN emptied REAL")
    _run(db, _ENDS)
    back = _set_back(db, now)
    db.execute(_FOUND_EMPTY, (now,))
    return back


def _set_back(db: sqlite3.Connection, now: float) -> float:
    """Move all times in the file back if the clock was set back since, and return by how many
    seconds: or else what waits for a second would do so until it is as late again."""
    seen = db.execute(
        "SELECT max(seen, ifnull((SELECT born FROM body ORDER BY id DESC), 0)) FROM meta"
    )
    back = float(math.ceil(seen.fetchone()[0] - now))
    if back <= 1:
        return 0.0
    for table, time in (
        ("meta", "seen"),
        ("body", "born"),
        ("pending", "due"),
        ("pending", "expires"),
        ("retry", "due"),
        ("dead", "died"),
        ("queue", "emptied"),
        ("key", "until"),
        ("trail", "at"),
    ):
        db.execute(f"UPDATE {table} SET {time} = round({time} - ?, 3)", (back,))
    return back


def _run(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        db.execute(statement)
