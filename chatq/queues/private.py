"""Files for their owner alone, from their first byte.

Owns the mode of new files. Must not know: what is in them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["make_private", "private"]


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read and write, if there is none.

    SQLite gives those that it makes beside it (`-wal`, `-shm`, `-journal`) the same mode. The mode
    of a file that is there is somebody's choice, and stays.
    """
    with contextlib.suppress(OSError):  # whoever opens it says why it cannot be
        # Where a link leads nowhere yet, the file is made at its end.
        os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def private(path: str, flags: int) -> int:
    """Open a file, for `open(…, opener=private)`: a new one is its owner's alone."""
    return os.open(path, flags, 0o600)
