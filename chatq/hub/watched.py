"""Files that are read again when they have changed, while a hub runs.

Owns when a file has changed. Must not know: what is in it, what is done then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Watched"]

_Mark = tuple[tuple[int, int, int, int] | None, ...]


class Watched:
    """Some files that belong together, as they are now."""

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self._known = self._last = _marks(paths)

    def changed(self) -> bool:
        """Return whether one of them is another than when this was last so.

        They have to be the same twice: a file that is being written is left alone.
        """
        last, self._last = self._last, _marks(self.paths)
        if self._last != last or self._last == self._known:
            return False
        self._known = self._last
        return True


def _marks(paths: Iterable[Path]) -> _Mark:
    return tuple(_mark(path) for path in paths)


def _mark(path: Path) -> tuple[int, int, int, int] | None:
    """Return what is another when a file was written, replaced or removed; None: it is not there,
    or no file, but a pipe, say, which can be read once."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
