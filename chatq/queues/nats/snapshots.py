"""Snapshots of the replicated state, in the log itself, so that older records can be removed.

Owns their form, where they are found, and what may be removed once there is a newer one. Must not
know: what is in a state, the callers of the store.

A snapshot is several records and a manifest that names them; one without a manifest is ignored.
Its records are a compressed text, each line of which is JSON: between two lines others have their
turn, both where it is written and where it is read.
Keys are remembered for long and may be many, so each snapshot writes only the new ones, and names
the records of keys that earlier ones have written; once in a while, all are written again. Records
are removed up to the snapshot before the newest: a server that is just reading that one still finds
all records after it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

from ...waiting import give_way
from ..frozen import SLICE
from ..state import State
from ..store import StoreError
from .reading_progress import Progress
from .stream import StreamGone

__all__ = ["Log", "Manifest", "last", "remove", "take"]

_PART = 500_000  # bytes
_BITE = 8_000  # bytes that are decompressed at once
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
        state = await _load(log, manifest)
        if state is not None:
            return state, manifest
    raise StoreError("the snapshots of the stream are gone before they can be read: try again")


async def _load(log: Log, manifest: Manifest) -> State | None:
    """Return the state of this snapshot; None if a part of it is gone."""
    try:
        lines = _read(log, manifest.parts)
        head = await anext(lines)
        state, progress = State.begin(log.name, head), Progress("messages", head["size"])
        async for kind, part in lines:
            state.add(kind, part)
            progress.reached(state.size)
        for places, _ in manifest.keys:
            async for keys in _read(log, places):
                for key in keys:
                    state.keys.add(*key)
    except _Gone:
        return None
    return state


async def take(
    log: Log,
    state: State,
    before: Manifest | None,
    now: float,
    is_last: Callable[[], bool] = lambda: True,
) -> Manifest:
    """Write a snapshot; return its manifest. `before`: the last manifest, `now`: the time;
    `is_last`: says whether `before` still is that, when all is written.

    It is of the state as it is now, whatever is applied meanwhile. One at a time. Raises
    `StoreError` if another server was quicker: what this one needs may be removed already.
    """
    pieces = [] if before is None else [piece for piece in before.keys if piece[1] > now]
    known = 0 if before is None else before.newest
    if len(pieces) >= _PIECES:
        pieces, known = [], 0
    after, newest, frozen = state.applied, state.newest, state.freeze()
    keys = _Keys(state.keys.since(known, now))
    try:
        parts = await _write(log, "snap.part", frozen.lines())
    finally:
        state.thaw()
    if places := await _write(log, "keys", keys.lines()):
        pieces.append((places, keys.until))
    manifest = Manifest(after, newest, parts, pieces)
    if not is_last():
        raise StoreError("another server has written a snapshot meanwhile")
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


class _Gone(Exception):
    """A record of a snapshot is gone."""


class _Keys:
    """Keys to be written; `until`: the time until which those written are needed."""

    def __init__(self, keys: Iterator[list[Any]]) -> None:
        self._keys, self.until = keys, 0.0

    def lines(self) -> Iterator[list[list[Any]]]:
        while part := [*islice(self._keys, SLICE)]:
            self.until = max(self.until, *(until for *_, until in part))
            yield part


async def _write(log: Log, kind: str, lines: Iterable[Any]) -> list[int]:
    """Write values as records of a kind; return their places, none for no value."""
    size = min(_PART, log.largest // 2)
    places: list[int] = []
    compressor, data, written = zlib.compressobj(1), bytearray(), False
    for line in lines:
        data += compressor.compress(json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
        written = True
        while len(data) >= size:
            places.append(await log.append(kind, bytes(data[:size])))
            del data[:size]
        await give_way()
    if written:
        data += compressor.flush()
    while data:
        places.append(await log.append(kind, bytes(data[:size])))
        del data[:size]
    return places


async def _read(log: Log, places: list[int]) -> AsyncIterator[Any]:
    """Yield the values in these records; raise `_Gone` if one of them is gone."""
    decompressor, rest = zlib.decompressobj(), b""
    for place in places:
        data = await log.fetch(place)
        if data is None:
            raise _Gone
        for start in range(0, len(data), _BITE):
            text = rest + decompressor.decompress(data[start : start + _BITE])
            *lines, rest = text.split(b"\n")
            for line in lines:
                yield json.loads(line)
                await give_way()
