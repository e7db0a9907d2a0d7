"""The bodies of messages that lie in a log: the newest at hand, the others fetched when needed.

Owns how many are kept in memory, and fetching each record once for all who want it. Must not know:
queues, what a record does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Sequence
from functools import partial

from .nats_record import Record
from .store import Body, StoreError

__all__ = ["Bodies"]


class Bodies:
    """The bodies in the records of a log, which `fetch` reads one at a time.

    A body is named by the place of its record and its number in that.
    """

    #: How many bytes are kept at hand.
    most = 64_000_000

    def __init__(self, fetch: Callable[[int], Awaitable[bytes | None]]) -> None:
        self._fetch = fetch
        self._kept: OrderedDict[int, tuple[int, list[Body]]] = OrderedDict()
        self._size = 0
        self._fetching: dict[int, asyncio.Task[list[Body]]] = {}

    def keep(self, place: int, bodies: list[Body]) -> None:
        """Have the bodies of this record at hand, for as long as there is room."""
        self.drop(place)
        size = 200 + sum(map(len, bodies))
        self._kept[place] = (size, bodies)
        self._size += size
        while self._size > self.most:
            self.drop(next(iter(self._kept)))

    def drop(self, place: int) -> None:
        """Nobody needs the bodies of this record any more."""
        size, _ = self._kept.pop(place, (0, []))
        self._size -= size

    def only(self, places: Container[int]) -> None:
        """Nobody needs the bodies of other records than these any more."""
        for place in [*self._kept]:
            if place not in places:
                self.drop(place)

    def at_hand(self, wanted: Sequence[tuple[int, int]]) -> list[Body] | None:
        """Return these bodies if all of them are at hand, else None."""
        if not all(place in self._kept for place, _ in wanted):
            return None
        return [self._kept[place][1][index] for place, index in wanted]

    async def get(self, wanted: Sequence[tuple[int, int]]) -> list[Body]:
        """Return these bodies, from the log where they are not at hand.

        Raises `StoreError` if one cannot be read.
        """
        found: dict[int, list[Body]] = {}
        coming: dict[int, asyncio.Task[list[Body]]] = {}
        for place, _ in wanted:
            if place in self._kept:
                found[place] = self._kept[place][1]
                continue
            if place not in self._fetching:
                self._fetching[place] = asyncio.create_task(self._fetched(place))
                self._fetching[place].add_done_callback(partial(self._has_fetched, place))
            coming[place] = self._fetching[place]
        for place, task in coming.items():
            found[place] = await asyncio.shield(task)
        return [found[place][index] for place, index in wanted]

    async def _fetched(self, place: int) -> list[Body]:
        data = await self._fetch(place)
        if data is None:
            raise StoreError(f"the record at {place} is gone: somebody has removed it")
        bodies = Record.decoded(data).bodies
        self.keep(place, bodies)  # its others are likely to be wanted next
        return bodies

    def _has_fetched(self, place: int, task: asyncio.Task[list[Body]]) -> None:
        del self._fetching[place]
        if not task.cancelled():
            task.exception()  # whoever waits for it hears of it

    def close(self) -> None:
        """Fetch nothing more."""
        for task in self._fetching.values():
            task.cancel()
