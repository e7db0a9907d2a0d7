"""A cache of message bodies in a log: the newest in memory, the others fetched when needed.

Owns how many are cached, and fetching each record once for all callers. Must not know: queues, what
a record does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Sequence
from functools import partial

from ...waiting import Tasks
from ..store import Body, StoreError
from .encoding import decoded

__all__ = ["Bodies"]


class Bodies:
    """The bodies in the records of a log; `fetch` reads one record.

    A body is given as (place of its record, index in that).
    """

    #: How many bytes are cached.
    most = 64_000_000

    def __init__(self, fetch: Callable[[int], Awaitable[bytes | None]]) -> None:
        self._fetch = fetch
        self._cached: OrderedDict[int, tuple[int, list[Body]]] = OrderedDict()
        self._size = 0
        self._fetching: dict[int, asyncio.Task[list[Body]]] = {}
        self._tasks = Tasks()

    def keep(self, place: int, bodies: list[Body]) -> None:
        """Cache the bodies of this record; the oldest records go when there is no room."""
        self.drop(place)
        size = 200 + sum(map(len, bodies))
        self._cached[place] = (size, bodies)
        self._size += size
        while self._size > self.most:
            self.drop(next(iter(self._cached)))

    def drop(self, place: int) -> None:
        """Drop the bodies of this record from the cache."""
        size, _ = self._cached.pop(place, (0, []))
        self._size -= size

    def only(self, places: Container[int]) -> None:
        """Drop the bodies of all records but these from the cache."""
        for place in [*self._cached]:
            if place not in places:
                self.drop(place)

    def at_hand(self, wanted: Sequence[tuple[int, int]]) -> list[Body] | None:
        """Return these bodies if all of them are cached, else None."""
        if not all(place in self._cached for place, _ in wanted):
            return None
        return [self._cached[place][1][index] for place, index in wanted]

    async def get(self, wanted: Sequence[tuple[int, int]]) -> list[Body]:
        """Return these bodies, from the log where they are not cached.

        Raises `StoreError` if one cannot be read.
        """
        found: dict[int, list[Body]] = {}
        pending: dict[int, asyncio.Task[list[Body]]] = {}
        for place, _ in wanted:
            if place in self._cached:
                found[place] = self._cached[place][1]
                continue
            if place not in self._fetching:
                self._fetching[place] = asyncio.create_task(self._fetched(place))
                self._tasks.add(
                    self._fetching[place],
                    f"the record at {place}",
                    partial(self._fetch_done, place),
                )
            pending[place] = self._fetching[place]
        for place, task in pending.items():
            found[place] = await asyncio.shield(task)
        return [found[place][index] for place, index in wanted]

    async def _fetched(self, place: int) -> list[Body]:
        data = await self._fetch(place)
        if data is None:
            raise StoreError(f"the record at {place} is gone: somebody has removed it")
        bodies = decoded(data).bodies
        self.keep(place, bodies)  # the others of this record are likely to be needed next
        return bodies

    def _fetch_done(self, place: int, task: asyncio.Future[list[Body]]) -> None:
        del self._fetching[place]
        if not task.cancelled():
            task.exception()  # marked as retrieved: the waiting callers raise it

    async def close(self) -> None:
        """Cancel all fetches."""
        await self._tasks.cancel()
