"""Snapshots of the replicated state, in the log itself, so that older records can be removed.

Owns their form, where they are found, and what may be removed once there is a newer one. Must not
know: what is in a state, the callers of the store.

A snapshot is several records and a manifest that names them; one without a manifest is ignored.
Keys are remembered for long and may be many, so each snapshot writes only the new ones, and names
the records of keys that earlier ones have written; once in a while, all are written again. Records
are removed up to the snapshot before the newest: a server that is just reading that one still finds
all records after it.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..state import State
from ..store import StoreError
from .stream import StreamGone

__all__ = ["Log", "Manifest", "last", "remove", "take"]

_PART = 500_000  # bytes
_ATTEMPTS = 10
#: The most pieces of keys before all are written again, in one.
_PIECES = 64


class Log(Protocol):
    """The interface of the log: `NatsLog`, or one in a test."""

    name: str
    largest: int
    #: Called once when the stream is not the one it was.
    gone: Callable[[StreamGone], None]

    @property
    def patience(self) -> float:
        """The time-out of a request, in seconds."""

    async def append(self, kind: str, payload: bytes, patience: float | None = None) -> int:
        """Write a record; return its place."""

    async def fetch(self, place: int) -> bytes | None:
        """Return the record at a place; None if it is gone."""

    async def last(self, kind: str) -> tuple[int, bytes] | None:
        """Return the last record of a kind, with its place; None if there is none."""

    async def purge(self, before: int, kind: str | None = None) -> None:
        """Remove the records (of a kind) before a place."""

    async def read(
        self, after: int, record: Callable[[int, str, bytes], None], hole: Callable[[], None]
    ) -> None:
        """Call `record` with all records after a place; `hole` if some are missing."""

    async def close(self) -> None:
        """Close the log."""


class Manifest(NamedTuple):
    """The manifest of a snapshot: its last record.

    `after`: the place of the last record applied to it, `newest`: the number of the newest message;
    `parts`: the places of the state; `keys`: the pieces of keys, each as places, and the time until
    which it is needed.
    """

    after: int
    newest: int
    parts: list[int]
    keys: list[tuple[list[int], float]]

    @classmethod
    def read(cls, data: bytes) -> Manifest:
        """Return the manifest in a record."""
        return cls(*json.loads(data))


async def last(log: Log) -> tuple[State, Manifest | None]:
    """Return the state of the newest snapshot, and its manifest.

    Raises `StoreError` if it is removed again and again while it is read.
    """
    for _ in range(_ATTEMPTS):  # it may be removed while it is read
        done = await log.last("snap.done")
        if done is None:
            return State(log.name), None
        manifest = Manifest.read(done[1])
        kept = await _read(log, manifest.parts)
        keys = [await _read(log, places) for places, _ in manifest.keys]
        if kept is not None and None not in keys:
            state = State.load(log.name, kept)
            for piece in keys:
                for key in piece:
                    state.keys.add(*key)
            return state, manifest
    raise StoreError("the snapshots of the stream are gone before they can be read: try again")


async def take(log: Log, state: State, before: Manifest | None, now: float) -> Manifest:
    """Write a snapshot; return its manifest. `before`: the last manifest, `now`: the time."""
    pieces = [] if before is None else [piece for piece in before.keys if piece[1] > now]
    known = 0 if before is None else before.newest
    if len(pieces) >= _PIECES:
        pieces, known = [], 0
    after, newest, kept = state.applied, state.newest, state.dump()
    keys = state.keys.since(known, now)
    parts = await _write(log, "snap.part", kept)
    if keys:
        pieces.append((await _write(log, "keys", keys), max(until for *_, until in keys)))
    manifest = Manifest(after, newest, parts, pieces)
    await log.append("snap.done", json.dumps(manifest).encode("ascii"))
    return manifest


async def remove(log: Log, state: State, before: Manifest, now: Manifest) -> bool:
    """Remove the records that the snapshot `before` contains, unless the newer `now` needs them.

    Returns whether many of the records left are only needed for a few bodies.
    """
    end = before.after + 1
    needed = min(state.bodies, default=end)
    keys = [place for manifest in (before, now) for places, _ in manifest.keys for place in places]
    await log.purge(min(needed, end), "log")
    await log.purge(min([end, *keys]), "keys")
    await log.purge(end, "snap.*")
    return needed < end and len(state.bodies) < (state.applied - needed) / 4


async def _write(log: Log, kind: str, value: Any) -> list[int]:
    """Write a value as records of a kind; return their places."""
    data = zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 1)
    size = min(_PART, log.largest // 2)
    return [
        await log.append(kind, data[start : start + size]) for start in range(0, len(data), size)
    ]


async def _read(log: Log, places: list[int]) -> Any:
    """Return the value in these records; None if one of them is gone."""
    found = await asyncio.gather(*(log.fetch(place) for place in places))
    data = [part for part in found if part is not None]
    return json.loads(zlib.decompress(b"".join(data))) if len(data) == len(found) else None
