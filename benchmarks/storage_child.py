"""A fresh process that works on one file of queues, as `storage` tells it.

Owns what has to be looked at from outside: the memory of a process, and its syncs. The latter are
counted by strace, which also sees which file they are of; `_mark` syncs a file whose name says what
begins.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from measure import ORDER, PRODUCERS, in_flight, memory, obey

from chatq import Queues, Rules
from chatq.queues.message import encode
from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.store import NewMessage

QUEUE = "drivers"
LENGTH = 10_000_000
WINDOW = 100
LEASE = 600.0


async def fill(path: str, n: int) -> int:
    """Store `n` messages, many in each transaction."""
    store = await SqliteStore.open(path, length=LENGTH)
    message = NewMessage("pickup", encode(ORDER, 10_000), (QUEUE,))
    for start in range(0, n, 10_000):
        await store.put([message] * min(10_000, n - start))
    await store.close()
    return n


async def use(path: str, n: int) -> dict[str, Any]:
    """Claim and acknowledge `n` messages; return what memory that took."""
    store = await SqliteStore.open(path, length=LENGTH)
    memory(forget_peak=True)
    for _ in range(n // WINDOW):
        claimed = await store.claim(QUEUE, WINDOW, LEASE, in_order=False)
        if not all(await store.ack(a.receipt for a in claimed.attempts)):
            raise RuntimeError("a receipt was not a current one")
    now, peak = memory(), memory(peak=True)
    await store.close()
    return {"now": now, "peak": peak}


async def sync(path: str, n: int, alone: int) -> dict[str, int]:
    """Store `n` messages by 100 producers, then claim `alone` and acknowledge each by itself."""
    async with await Queues.open(f"sqlite:///{path}", Rules(length=LENGTH)) as queues:
        _mark(path, "emit")
        await in_flight(n, PRODUCERS, lambda: queues.emit("pickup", ORDER, to=QUEUE))
        _mark(path, "claim")
        claimed = await queues.store.claim(QUEUE, alone, LEASE, in_order=False)
        _mark(path, "acknowledge")
        for attempt in claimed.attempts:
            await queues.store.ack([attempt.receipt])
        _mark(path, "close")
    return {"emitted": n, "acknowledged": len(claimed.attempts)}


def _mark(path: str, what: str) -> None:
    with open(Path(path).parent / f"mark-{what}", "wb") as file:
        os.fsync(file.fileno())


if __name__ == "__main__":
    asyncio.run(obey({"fill": fill, "use": use, "sync": sync}))
