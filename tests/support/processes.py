"""Whether a process is gone, asked of the system."""

import os
import select

__all__ = ["gone"]


def gone(pid, within=10):
    """Whether the process has ended, or does so in that many seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within)[0])
    finally:
        os.close(handle)
