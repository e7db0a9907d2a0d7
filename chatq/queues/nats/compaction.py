"""Compaction of the stream: a snapshot now and then, so that the records before it can be removed.

Owns when it is taken, what is removed, and moving bodies out of old records. Must not know: the
form of a snapshot, the callers of the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ..requests import Request
from ..store import Body, StoreError
from . import snapshots
from .replica import Replica

__all__ = ["Compaction"]

_log = logging.getLogger("chatq")

#: The most messages, and bytes, that are moved out of old records at once.
_MESSAGES, _BYTES = 500, 400_000


class Compaction:
    """Compacts `log`, which `replica` replays; `ask` writes a record, `clock` gives the time.

    `every`: the least number of records between two snapshots.
    """

    def __init__(
        self,
        log: snapshots.Log,
        replica: Replica,
        ask: Callable[[Request], asyncio.Future[Any]],
        clock: Callable[[], float],
        every: int,
    ) -> None:
        self._log, self._replica, self._ask = log, replica, ask
        self._clock, self._every = clock, every
        self._running = False

    @property
    def due(self) -> bool:
        """Return whether to `run` now: the larger the state, the less often, so that the cost for
        each record stays the same."""
        replica = self._replica
        last = replica.manifest.after if replica.manifest is not None else 0
        wait = max(self._every, replica.state.size // 16)
        return not self._running and replica.state.applied >= last + wait

    async def run(self) -> None:
        """Take a snapshot; remove the records that neither it nor the one before it needs."""
        self._running = True
        log, replica = self._log, self._replica
        try:
            before, state = replica.manifest, replica.state

            def is_last() -> bool:
                return replica.manifest is before and replica.state is state

            now = await snapshots.take(log, state, before, self._clock(), is_last)
            if before is not None and await snapshots.remove(log, replica.state, before, now):
                await self._move(before.after)
        except StoreError as error:
            _log.warning("the stream was not compacted for now: %s", error)
        finally:
            self._running = False

    async def _move(self, last: int) -> None:
        """Copy bodies from records up to `last` into a new one, so that those can be removed."""
        copies = self._replica.state.up_to(last, _MESSAGES)
        bodies = await self._replica.bodies.get([*copies])
        size = 0
        moved: list[list[tuple[str, int]]] = []
        kept: list[Body] = []
        for numbers, body in zip(copies.values(), bodies, strict=True):
            size += len(body)
            if moved and size > _BYTES:
                break
            moved.append(numbers)
            kept.append(body)
        if moved:
            await self._ask(Request(["move", moved], lambda state, result, now: None, kept))
