"""A reserve of disk space, so that queues can be drained though the disk is full.

Owns the file beside the store that keeps the space, and when it is given up. Must not know: SQLite,
what the space is used for.

To deliver a message and to delete it, a store has to write: a full disk would stop exactly what
makes room again. So a file of so many bytes is kept beside it while there is room. When the disk is
full it is removed, and what takes nothing more goes on with that space; new messages are refused
until the reserve could be made again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from .private import private

__all__ = ["Reserve", "is_full"]

#: Less free space than this is a full disk, whatever its errors are called, in bytes.
_FULL = 256_000
_BLOCK = b"\0" * 65_536
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Reserve:
    """The space beside the file `path`.

    `least`: how many bytes it has at least.
    """

    def __init__(self, path: Path, least: int = 1_000_000) -> None:
        self._path = Path(f"{path}-reserve")
        self._least = least
        #: How many bytes are kept now.
        self.size = 0
        #: Whether it was given up since it was last complete.
        self.used = False

    def keep(self, size: int = 0) -> bool:
        """Keep so many bytes, or the least; return False if the disk has not as much."""
        size = max(size, self._least)
        if self.size >= size:
            return True
        try:
            with open(self._path, "ab", opener=private) as file:
                _allocate(file.fileno(), size)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                return True  # nothing can be kept here: then it is as if there were none
            self.give_up()
            return False
        self.size, self.used = size, False
        return True

    def give_up(self) -> bool:
        """Free the space; return whether there was any."""
        had = self.size > 0 or self._path.exists()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.size, self.used = 0, True
        return had

    def close(self) -> None:
        """Keep the least alone, with which the store can be opened, whatever comes meanwhile."""
        with contextlib.suppress(OSError):
            if self.size > self._least:
                os.truncate(self._path, self._least)
                self.size = self._least


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    for _ in range(os.fstat(file).st_size, size, len(_BLOCK)):
        os.write(file, _BLOCK)


def is_full(folder: Path) -> bool:
    """Return whether the disk with this folder has (next to) no space left."""
    try:
        disk = os.statvfs(folder)
    except (AttributeError, OSError):
        return False
    return disk.f_bavail * disk.f_frsize < _FULL
