"""The answer to a client that asks to redrive dead letters.

Owns the form of that request, and that no id is given in vain without a word. Must not know: who
asks and may, how many may ask at once, packets.
"""

from __future__ import annotations

from typing import Any

from .administration import Administration

__all__ = ["redriven"]


async def redriven(queues: Administration, queue: str, ids: Any) -> dict[str, Any]:
    """Redrive dead letters of `queue`, all (None) or those with these ids; answer how many, and
    which of the ids are none of its dead letters: the others are redriven all the same.

    Raises `TypeError` for what is no list of ids, else as `Queues.redrive`.
    """
    if ids is None:
        return {"queue": queue, "redriven": await queues.redrive(queue)}
    if not (isinstance(ids, list) and all(isinstance(id, str) for id in ids)):
        raise TypeError("ids is a list of the ids of dead messages")
    dead = await queues.store.are_dead(queue, ids)
    missing = [id for id, there in zip(ids, dead, strict=True) if not there]
    done = await queues.redrive(queue, ids)
    return {"queue": queue, "redriven": done, "missing": [*dict.fromkeys(missing)]}
