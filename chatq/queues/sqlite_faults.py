"""Errors of SQLite: their meaning for a store, and their words.

Owns the distinction of a full disk from a failing one. Must not know: what was asked, what is done
about it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .reserve import is_full

__all__ = ["lacks_room", "lacks_room_to_open", "no_room", "not_opened"]

_MAYBE_FULL = ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHM", "SQLITE_CANTOPEN")
_MAYBE_FULL_TO_OPEN = ("SQLITE_IOERR", "SQLITE_CANTOPEN")


def lacks_room(error: Exception, path: Path) -> bool:
    """Return whether this is an error of a full disk, with the store at `path` on it.

    (A failed sync is none: what is on the disk then, nobody knows.)
    """
    name = str(getattr(error, "sqlite_errorname", ""))
    return name == "SQLITE_FULL" or (name.startswith(_MAYBE_FULL) and is_full(path.parent))


def lacks_room_to_open(error: Exception, path: Path) -> bool:
    """Return whether the store at `path` cannot be opened since the disk is full."""
    name = str(getattr(error, "sqlite_errorname", ""))
    maybe = name.startswith(_MAYBE_FULL_TO_OPEN)
    return name == "SQLITE_FULL" or (maybe and is_full(path.absolute().parent))


def no_room(path: Path) -> str:
    """Return what to say of a request that has no room."""
    return (
        f"the disk is full: nothing was changed in {path}, and it takes no messages until there is "
        "room again; those in it are delivered all the same"
    )


def not_opened(error: sqlite3.Error, path: Path, *, here: bool) -> str:
    """Return why the store at `path` cannot be opened; `here`: it is open in this process."""
    if "locked" in str(error):
        if here:
            return f"{path} is open in this program already: close that one first"
        return (
            f"{path} is in use by another process: one at a time may own it; stop the other, or "
            "give this one a file of its own"
        )
    if lacks_room_to_open(error, path):
        return (
            f"cannot open {path}, since the disk is full: make room on it, then open it again; it "
            "was left as it is"
        )
    if isinstance(error, sqlite3.OperationalError):
        return f"cannot open {path}: {error}"
    return (
        f"{path} is damaged or not an SQLite file ({error}); it was left as it is: restore a copy, "
        "or give another file"
    )
