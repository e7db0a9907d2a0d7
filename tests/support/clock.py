"""The time that a test sets, and moves."""

from __future__ import annotations


class Clock:
    """A clock that stands still: `now`, in seconds since the epoch, is for the test to change."""

    def __init__(self) -> None:
        self.now = 1_764_000_000.1234567  # real ones are no round numbers either

    def __call__(self) -> float:
        return self.now
