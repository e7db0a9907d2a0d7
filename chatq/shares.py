"""Shares of something that is scarce, between those who ask for it: nobody takes all of it.

Owns who may begin now, and whose turn is next. Must not know: what is shared, what is begun.

Each may have some of it at once. What goes beyond that waits for what the same one has begun; if
all of it is taken, it waits in a line in which each has one place, so that they take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

__all__ = ["Shares"]


@dataclass(slots=True)
class _Share:
    """What one has begun: how many things of which size. `wanting`: how many wait to begin, one
    after the other, the first of them for `waiting`."""

    count: int = 0
    size: int = 0
    wanting: int = 0
    order: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: asyncio.Future[None] | None = None


class Shares:
    """Lets each have begun at most `count` things, of together at most `size`, and all `total`.

    The only thing of somebody never waits for others if it is of at most `free`. One that is larger
    than all may be begins when there is nothing else.
    """

    def __init__(self, *, count: int, size: int, total: int, free: int) -> None:
        self._count, self._each, self._total, self._free = count, size, total, free
        self._size = 0  # of all that has begun
        self._shares: dict[str, _Share] = {}
        self._line: dict[str, None] = {}  # who waits for others, in the order of their turns

    @contextlib.asynccontextmanager
    async def turn(self, who: str, size: int) -> AsyncIterator[None]:
        """Wait until `who` may begin something of this size; within the context it has begun."""
        await self.begin(who, size)
        try:
            yield
        finally:
            self.end(who, size)

    async def begin(self, who: str, size: int) -> None:
        """Wait until `who` may begin something of this size; when that ends, call `end`."""
        if not self.begin_now(who, size):
            await self._wait(who, size)

    def begin_now(self, who: str, size: int) -> bool:
        """Begin something of this size, if `who` need not wait; return whether it has begun."""
        share = self._shares.get(who)
        if share is None:
            share = self._shares[who] = _Share()
        if share.wanting or not self._fits(who, share, size):
            self._forget(who, share)
            return False
        self._take(share, size)
        return True

    def end(self, who: str, size: int) -> None:
        """Note that something that `who` had begun has ended."""
        share = self._shares[who]
        share.count -= 1
        share.size -= size
        self._size -= size
        if share.waiting is not None and who not in self._line:  # else it waits for its turn
            _wake(share)
        self._forget(who, share)
        if self._line:
            self._next()

    def _take(self, share: _Share, size: int) -> None:
        share.count += 1
        share.size += size
        self._size += size

    def _fits(self, who: str, share: _Share, size: int) -> bool:
        if not share.count and size <= self._free:
            return True
        turn = not self._line or next(iter(self._line)) == who
        room = self._size + size <= self._total or not self._size
        return turn and room and self._within(share, size)

    def _within(self, share: _Share, size: int) -> bool:
        """Return whether this is within what each may have."""
        return not share.count or (share.count < self._count and share.size + size <= self._each)

    async def _wait(self, who: str, size: int) -> None:
        share = self._shares.setdefault(who, _Share())
        share.wanting += 1
        try:
            async with share.order:
                try:
                    while not self._fits(who, share, size):
                        if self._within(share, size):
                            self._line.setdefault(who)
                        share.waiting = asyncio.get_running_loop().create_future()
                        await share.waiting
                    self._take(share, size)
                finally:
                    share.waiting = None
                    self._line.pop(who, None)
        finally:
            share.wanting -= 1
            self._forget(who, share)
            self._next()  # there may be room for another

    def _forget(self, who: str, share: _Share) -> None:
        if not (share.count or share.wanting):
            del self._shares[who]

    def _next(self) -> None:
        """Wake the first in the line, if there may be room."""
        if self._line and self._size < self._total:
            _wake(self._shares[next(iter(self._line))])


def _wake(share: _Share) -> None:
    if share.waiting is not None and not share.waiting.done():
        share.waiting.set_result(None)
