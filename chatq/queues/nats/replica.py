"""This server's replica of the queues: the last snapshot, and the records after it applied.

Owns the replicated state, the bodies beside it, and starting over when records were missed. Must
not know: the callers of the store, what a verb does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..record import Record
from ..requests import Request, WithBodies
from ..state import State
from ..store import StoreError
from . import snapshots
from .bodies import Bodies
from .connection import Unconfirmed
from .encoding import decoded

__all__ = ["Replica"]

_log = logging.getLogger("chatq")


class Replica:
    """Applies the records of `log`, from `start` on.

    `applied(record, answers)` is called after each record; the answers are None for a duplicate.
    `restarted()` is called when the state was replaced, since records were missed;
    `broken(reason)` when nothing more can be read. `spawn` runs a coroutine in the background.
    """

    state: State
    bodies: Bodies

    def __init__(
        self,
        log: snapshots.Log,
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
        *,
        applied: Callable[[Record, list[Any] | None], None],
        restarted: Callable[[], None],
        broken: Callable[[str], None],
    ) -> None:
        self._log, self._spawn = log, spawn
        self._applied, self._restarted, self._broken = applied, restarted, broken
        self.state = State(log.name)
        #: The manifest of the last snapshot.
        self.manifest: snapshots.Manifest | None = None
        self.bodies = Bodies(log.fetch)
        self._starting_over: Any = None
        self._closed = False

    async def start(self) -> None:
        """Return when all that is in the log now has been applied."""
        self.state, self.manifest = await snapshots.last(self._log)
        await self._log.read(self.state.applied, self._read, self._hole)
        if self._starting_over is not None:
            await self._starting_over

    async def close(self) -> None:
        """Fetch nothing more, and do not start over."""
        self._closed = True
        await self.bodies.close()

    def apply(self, place: int, record: Record) -> None:
        """Apply the record at `place`."""
        state = self.state
        answers = state.apply(place, record)
        if place in state.bodies:
            self.bodies.keep(place, record.bodies)
        for emptied in state.take_emptied():
            self.bodies.drop(emptied)
        self._applied(record, answers)

    def finish(self, asked: Request, result: Any, now: float) -> Any:
        """Return the reply to a request; or, if bodies have to be fetched, a coroutine for it."""
        finished = asked.finish(self.state, result, now)
        if not isinstance(finished, WithBodies):
            return finished
        if (at_hand := self.bodies.at_hand(finished.places)) is not None:
            return finished.make(at_hand)

        async def fetched() -> Any:
            return finished.make(await self.bodies.get(finished.places))

        return fetched()

    def _read(self, place: int, kind: str, data: bytes) -> None:
        if place <= self.state.applied:
            return
        if kind == "log":
            try:
                self.apply(place, decoded(data))
            except Exception as error:
                self._broken(f"cannot read the stream any further, at {place}: {error!r}")
                raise
        else:
            self.state.applied = place
            if kind == "snap.done":
                self.manifest = snapshots.Manifest.read(data)

    def _hole(self) -> None:
        """Start over: records that this server has not read are gone."""
        if not self._closed:
            self._starting_over = self._spawn(self._start_over())

    async def _start_over(self) -> None:
        _log.warning("this server has missed a part of the stream, and reads its last snapshot")
        before = self.state
        while not self._closed:
            try:
                self.state, self.manifest = await snapshots.last(self._log)
                if self.state.applied <= before.applied:
                    raise StoreError("records of the stream were removed by somebody else")
                await self._log.read(self.state.applied, self._read, self._hole)
            except Unconfirmed as error:
                _log.warning("cannot read the snapshot for now: %s", error)
            except StoreError as error:
                self._broken(str(error))
                return
            else:
                self.bodies.only(self.state.bodies)
                self._restarted()
                return
