"""Snapshots of the state that a log leads to, in the log: so that its beginning can be removed.

Owns their form, where they are found, and what may be removed once there is a newer one. Must not
know: what is in a state, who asks for what.

A snapshot is some records of its kind and one that names them, so what was begun and not ended
counts for nothing. Records are removed up to the snapshot before the newest: whoever is just
reading that one still finds all that comes after it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from .nats_state import State
from .store import StoreError

__all__ = ["Log", "last", "remove", "take", "taken_after"]

_PART = 500_000  # bytes
_AGAIN = 10


class Log(Protocol):
    """What a store needs of a log."""

    name: str
    largest: int

    @property
    def patience(self) -> float:
        """For how many seconds anything may go unconfirmed."""

    async def append(self, kind: str, payload: bytes, patience: float | None = None) -> int:
        """Write a record."""

    async def fetch(self, place: int) -> bytes | None:
        """Read one record."""

    async def last(self, kind: str) -> tuple[int, bytes] | None:
        """Read the last record of a kind."""

    async def purge(self, before: int, kind: str | None = None) -> None:
        """Remove records."""

    async def read(
        self, after: int, record: Callable[[int, str, bytes], None], hole: Callable[[], None]
    ) -> None:
        """Read all records from a place on."""

    async def close(self) -> None:
        """Let go."""


async def last(log: Log) -> tuple[State, tuple[int, int]]:
    """Return the state of the newest snapshot, and after which places the last two were taken."""
    for _ in range(_AGAIN):  # it may be removed while it is read
        done = await log.last("snap.done")
        if done is None:
            return State(log.name), (0, 0)
        told = json.loads(done[1])
        found = [await log.fetch(place) for place in told["parts"]]
        data = [part for part in found if part is not None]
        if len(data) == len(found):
            kept: Any = json.loads(zlib.decompress(b"".join(data)))
            return State.load(log.name, kept), (told["before"], told["after"])
    raise StoreError("the snapshots of the stream are gone before they can be read: try again")


async def take(log: Log, state: State, before: int) -> None:
    """Write a snapshot; `before`: after which place the last one was taken."""
    after = state.applied
    data = zlib.compress(json.dumps(state.dump(), separators=(",", ":")).encode("ascii"), 1)
    size = min(_PART, log.largest // 2)
    places = [
        await log.append("snap.part", data[start : start + size])
        for start in range(0, len(data), size)
    ]
    told = {"after": after, "before": before, "parts": places}
    await log.append("snap.done", json.dumps(told).encode("ascii"))


def taken_after(data: bytes) -> int:
    """Return after which place a snapshot was taken, from the record that ends it."""
    return int(json.loads(data)["after"])


async def remove(log: Log, state: State, before: int) -> bool:
    """Remove what is in the snapshot that was taken after the place `before`.

    Returns whether much of what is left is there for the sake of a few bodies.
    """
    needed = min(state.bodies, default=before + 1)
    await log.purge(min(needed, before + 1))
    if needed > before:
        return False
    await log.purge(before + 1, "snap.*")
    return len(state.bodies) < (state.applied - needed) / 4
