"""What a client of a hub has not read yet, by its size.

Owns that size, and the wait until it is small. Must not know: what is in a packet, who the client
is, what follows of it.

A client that does not read is not read either: what it asks for is answered with more to read.

Touches python-engineio 4.15 (`eio.create_queue`, of a packet `data`), and asyncio's `Queue`
(`_put`, `_get`, which are there to be replaced).
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["ENOUGH", "Unread"]

#: The size of unread packets, in bytes, from which on nothing more is read from that client.
ENOUGH = 1_000_000
#: What a packet costs beside its data, about, in bytes.
_PACKET = 200


class Unread(asyncio.Queue[Any]):
    """The queue of packets for one client; `size`: of their data, in bytes, about."""

    size: int = 0
    _few: asyncio.Event | None = None
    _ended: bool = False

    def _put(self, item: Any) -> None:
        self.size += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.size -= _size(item)
        if self.size < ENOUGH and self._few is not None:
            self._few.set()
        return item

    async def few(self) -> None:
        """Return when there is little in it, or nothing more will be read."""
        while self.size >= ENOUGH and not self._ended:
            if self._few is None:
                self._few = asyncio.Event()
            self._few.clear()
            await self._few.wait()

    def end(self) -> None:
        """Note that nothing more will be read."""
        self._ended = True
        if self._few is not None:
            self._few.set()


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)  # None stands for the end
    return _PACKET + (len(data) if isinstance(data, (str, bytes)) else 0)
