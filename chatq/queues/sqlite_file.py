"""The SQLite file of a store, as it is opened: whose it is, its settings, its tables.

Owns how a connection is made, that a new file is for its owner alone, and that a file which is not
ours is left as it was. Must not know: threads, requests, what is in the tables.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from . import sqlite_schema
from .private import make_private
from .sqlite_schema import Kind

__all__ = ["CHECKPOINT", "CHECKPOINT_FULL", "LARGEST_LOG", "connect", "identity"]

_log = logging.getLogger("chatq")

#: After how many pages in the log they are put into the file: 16 MB; while the disk is full, less.
CHECKPOINT, CHECKPOINT_FULL = 4000, 50
#: What the log, and the reserve, take for long at most, in bytes: a large put may need more.
LARGEST_LOG = 17_000_000
#: How many prepared statements are kept: there are some for each number of rows.
_STATEMENTS = 400


def connect(path: Path, kind: Kind, clock: Callable[[], float]) -> sqlite3.Connection:
    """Open the file `path`, which is created if it does not exist, for this process alone.

    `kind`: its use; `clock`: gives the time in seconds since the epoch. Raises `StoreError` if the
    file is another program's, of another kind or of a newer version, `sqlite3.Error` if it cannot
    be opened.
    """
    shm = Path(f"{path}-shm")
    without_shm = path.exists() and not shm.exists()
    if path.exists():
        # A connection that may write would change a file that is not ours on closing.
        read_only = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(read_only, uri=True, timeout=0)) as db:
            sqlite_schema.check(db, path, kind)
    make_private(path)
    db = sqlite3.connect(
        path.absolute(),
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )
    try:
        _prepare(db, path, kind, clock)
    except BaseException:
        db.close()
        raise
    if without_shm:  # made by the read-only connection; an exclusive one needs none
        shm.unlink(missing_ok=True)
    return db


def _prepare(db: sqlite3.Connection, path: Path, kind: Kind, clock: Callable[[], float]) -> None:
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    empty = sqlite_schema.check(db, path, kind)
    if empty:
        db.execute(f"PRAGMA auto_vacuum = {sqlite_schema.INCREMENTAL}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA cache_size = -8000")  # KiB
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
    db.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
    db.execute("BEGIN EXCLUSIVE")
    if empty:
        sqlite_schema.mark(db, kind)
    if back := sqlite_schema.prepare(db, empty=empty, now=clock()):
        _log.warning(
            "the clock is %g s behind the times in %s: all of them were moved back by as much",
            back,
            path,
        )
    db.execute("COMMIT")


def identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the inode of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
