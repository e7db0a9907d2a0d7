"""Snapshots of the state that a log leads to, in the log: so that its beginning can be removed.

Owns their form, where they are found, and what may be removed once there is a newer one. Must not
know: what is in a state, who asks for what.

A snapshot is some records of its kind and one that names them, so what was begun and not ended
counts for nothing. Keys are remembered for long and may be many, so each snapshot writes only those
that are new, and names the records that earlier ones have written; once in a while, all are written
anew. Records are removed up to the snapshot before the newest: whoever is just reading that one
still finds all that comes after it.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .nats_state import State
from .store import StoreError

__all__ = ["Log", "Told", "last", "remove", "take"]

_PART = 500_000  # bytes
_AGAIN = 10
#: After how many pieces keys are written anew, in one.
_PIECES = 64


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


class Told(NamedTuple):
    """What the last record of a snapshot says.

    `after`: the place of the last record in it, `newest`: the number of the newest message; `parts`
    and `keys`: where it is. Of keys, each piece has its places, and until when it is needed.
    """

    after: int
    newest: int
    parts: list[int]
    keys: list[tuple[list[int], float]]

    @classmethod
    def read(cls, data: bytes) -> Told:
        """Read such a record."""
        return cls(*json.loads(data))


async def last(log: Log) -> tuple[State, Told | None]:
    """Return the state of the newest snapshot, and what is told of that."""
    for _ in range(_AGAIN):  # it may be removed while it is read
        done = await log.last("snap.done")
        if done is None:
            return State(log.name), None
        told = Told.read(done[1])
        kept = await _read(log, told.parts)
        keys = [await _read(log, places) for places, _ in told.keys]
        if kept is not None and None not in keys:
            state = State.load(log.name, kept)
            for piece in keys:
                state.learn(piece)
            return state, told
    raise StoreError("the snapshots of the stream are gone before they can be read: try again")


async def take(log: Log, state: State, before: Told | None, now: float) -> Told:
    """Write a snapshot; `before`: what is told of the last one, `now`: what time it is."""
    pieces = [] if before is None else [piece for piece in before.keys if piece[1] > now]
    known = 0 if before is None else before.newest
    if len(pieces) >= _PIECES:
        pieces, known = [], 0
    after, newest, kept, keys = state.applied, state.newest, state.dump(), state.keys(known, now)
    parts = await _write(log, "snap.part", kept)
    if keys:
        pieces.append((await _write(log, "keys", keys), max(until for *_, until in keys)))
    told = Told(after, newest, parts, pieces)
    await log.append("snap.done", json.dumps(told).encode("ascii"))
    return told


async def remove(log: Log, state: State, before: Told, now: Told) -> bool:
    """Remove what is in the snapshot `before`, unless `now`, which is newer, needs it.

    Returns whether much of what is left is there for the sake of a few bodies.
    """
    end = before.after + 1
    needed = min(state.bodies, default=end)
    keys = [place for told in (before, now) for places, _ in told.keys for place in places]
    await log.purge(min(needed, end), "log")
    await log.purge(min([end, *keys]), "keys")
    await log.purge(end, "snap.*")
    return needed < end and len(state.bodies) < (state.applied - needed) / 4


async def _write(log: Log, kind: str, value: Any) -> list[int]:
    """Write this as records of a kind; return their places."""
    data = zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 1)
    size = min(_PART, log.largest // 2)
    return [
        await log.append(kind, data[start : start + size]) for start in range(0, len(data), size)
    ]


async def _read(log: Log, places: list[int]) -> Any:
    """Return what was written there; None if some of it is gone."""
    found = await asyncio.gather(*(log.fetch(place) for place in places))
    data = [part for part in found if part is not None]
    return json.loads(zlib.decompress(b"".join(data))) if len(data) == len(found) else None
