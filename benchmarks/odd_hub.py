"""A hub as `python -m chatq serve` is one, with a lease of its own and a clock that others set.

    python benchmarks/odd_hub.py CLOCK LEASE serve --port 0 …

Owns what is odd about it: `time.time` is ahead by the seconds in the file CLOCK (`WallClock.set`),
from before chatq is imported; a lease takes LEASE seconds.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path


class WallClock:
    """How far the clock on the wall is ahead, in seconds: in a file, for processes to share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def set(self, ahead: float) -> None:
        """Set the clock this far ahead of the real one; behind it, if it is negative."""
        self._shared[:] = struct.pack("d", ahead)

    @property
    def ahead(self) -> float:
        """How far it is ahead now."""
        return float(struct.unpack("d", self._shared[:])[0])


def command(clock: WallClock, lease: float, port: int, store: str, namespace: str) -> list[str]:
    """Return the command that starts such a hub."""
    odd = [sys.executable, __file__, str(clock.path), str(lease)]
    return [*odd, "serve", "--port", str(port), "--store", store, "--namespace", namespace]


def main() -> None:
    """Be that hub."""
    clock, lease = WallClock(Path(sys.argv[1])), float(sys.argv[2])
    real = time.time
    time.time = lambda: real() + clock.ahead
    from chatq.queues.rules import Rules

    defaults = Rules.__init__.__kwdefaults__
    assert defaults is not None
    defaults["lease"] = lease
    sys.argv = ["chatq", *sys.argv[3:]]
    runpy.run_module("chatq", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
