"""The end of processes that are not our children, as the system knows it."""

import os
import select

__all__ = ["gone"]


def gone(pid, within=10):
    """Return whether the process has ended, or does so in that many seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within)[0])
    finally:
        os.close(handle)
