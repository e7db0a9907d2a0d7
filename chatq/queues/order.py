"""The order of the events of one connection, although handlers wait.

Owns who goes next. Must not know: events, queues, the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

__all__ = ["Order"]


class Order:
    """Lets the events of one connection take effect in the order in which they came."""

    def __init__(self) -> None:
        self._line = asyncio.Lock()  # fair: nobody overtakes one who waits for it
        self._under_way: set[asyncio.Future[None]] = set()

    @contextlib.asynccontextmanager
    async def turn(self, *, alone: bool = False) -> AsyncIterator[Callable[[], None]]:
        """Wait until all earlier events have gone on or ended; if `alone`, until they have ended.

        Yields the function by which this one goes on: it lets the next one come.
        """
        await self._line.acquire()
        ended = asyncio.get_running_loop().create_future()
        first = True

        def go_on() -> None:
            nonlocal first
            if first:
                first = False
                self._line.release()

        try:
            if not alone:
                self._under_way.add(ended)
            elif self._under_way:
                await asyncio.wait(self._under_way)
            yield go_on
        finally:
            self._under_way.discard(ended)
            ended.set_result(None)
            go_on()
