"""Idempotency keys, remembered for a time, so that a message put twice is stored once.

Owns how long each is known, and which of them a snapshot has to write. Must not know: messages,
records, where keys are kept.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Keys"]


class Keys:
    """The number of the message for each key of each queue; times in seconds since the epoch."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, float]] = {}  # the newest are last

    def get(self, queue: str, key: str, now: float) -> int | None:
        """Return the number of the message that was put with this key; None if it is not known."""
        known = self._known.get((queue, key))
        return known[0] if known is not None and known[1] > now else None

    def add(self, queue: str, key: str, number: int, until: float) -> None:
        """Remember this key until this time."""
        self._known.pop((queue, key), None)
        self._known[queue, key] = (number, until)

    def forget(self, now: float) -> None:
        """Drop the keys that have expired at `now`."""
        while self._known:
            key = next(iter(self._known))
            if self._known[key][1] > now:
                break
            del self._known[key]

    def since(self, number: int, now: float) -> list[list[Any]]:
        """Return [queue, key, number, until] of each key that is remembered at `now` and belongs to
        a message with a higher number."""
        found: list[list[Any]] = []
        for key, (each, until) in reversed(self._known.items()):
            if each <= number:
                break
            if until > now:
                found.append([*key, each, until])
        return found[::-1]
