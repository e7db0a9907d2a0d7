"""The syncs of a program, as the kernel sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import needs
from places import SUPPORT


def syncs(script: str, path: Path) -> list[int]:
    """Run a program with `path` as its argument; return how many syncs it made before, between and
    after the lines that it printed and flushed. Needs strace."""
    log = path.with_suffix(".strace")
    command = [needs.path("strace"), "-f", "-o", str(log), "-e", "trace=fsync,fdatasync,write"]
    paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [*command, sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = [0]
    for line in log.read_text().splitlines():
        if ' write(1, "' in line and 'write(1, "\\n"' not in line:  # its end may come by itself
            counts.append(0)
        counts[-1] += "fdatasync(" in line or "fsync(" in line
    assert len(counts) == 1 + len(done.stdout.splitlines())
    return counts
