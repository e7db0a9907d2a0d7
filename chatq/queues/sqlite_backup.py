"""A copy of a store's SQLite file while it is used.

Owns the copy: that it is whole, on disk, and in nobody's way. Must not know: who uses the store,
what is in it.

SQLite copies page after page, and what is changed meanwhile is changed in the copy, too; so the
copy is the file as it is at the end. It gets its name then, and not before.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from .private import make_private

__all__ = ["back_up"]

#: Pages copied at once, of 4 KiB.
_PAGES = 256


def back_up(db: sqlite3.Connection, path: Path, between: Callable[[], None]) -> None:
    """Copy the database into the file `path`; `between` is called after each slice of it.

    Raises `FileExistsError` if there is such a file, other `OSError` or `sqlite3.Error` if it
    cannot be written, and what `between` raises; then there is no such file.
    """
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    if path.exists():
        raise FileExistsError(f"there is a file {path} already")
    try:
        make_private(part)
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = OFF")  # it is synced as a whole
            db.backup(copy, pages=_PAGES, progress=lambda *_: between())
        _sync(part)
        _give_name(part, path)
        _sync(path.parent)
    finally:
        for left in (part, Path(f"{part}-journal"), Path(f"{part}-wal"), Path(f"{part}-shm")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _give_name(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # fails if somebody else has made such a file meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.rename(part, path)


def _sync(path: Path) -> None:
    if os.name != "posix" and path.is_dir():
        return
    file = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)
