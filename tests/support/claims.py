"""Claims from a store, for tests that want all there is."""

from __future__ import annotations

from typing import Any

from chatq.queues.store import Attempt

QUEUE = "drivers"


async def claim(
    store: Any, limit: int = 10, lease: float = 30.0, *, queue: str = QUEUE, in_order: bool = False
) -> list[Attempt]:
    """Claim, again where a suspect message came alone."""
    attempts: list[Attempt] = []
    while len(attempts) < limit:
        more = await store.claim(queue, limit - len(attempts), lease, in_order=in_order)
        attempts += more.attempts
        if not (more.suspect and more.attempts):
            break
    return attempts
