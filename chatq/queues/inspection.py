"""What whoever looks after queues may ask, answered as JSON: what is in them, what became of it.

Owns these requests with their answers, which `python -m chatq queues` shows and a hub sends: their
form is in PROTOCOL.md. Must not know: who asks and may, packets, tables.

A body is given only to who asks for it (`bodies`): who counts messages need not read them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any

from .message import check_queue, decode
from .queues import Queues
from .redriving import redriven
from .store import Stats

__all__ = ["CHANGES", "Inspection"]

#: The requests that change something.
CHANGES = {"redrive", "purge"}
#: The most queues of one list, of how many it is made, and how many are looked at at once,
#: so that whoever uses the queues is not held up.
QUEUES, LOOKED_AT, AT_ONCE = 1_000, 2_000, 100
#: The most messages of one answer, and the most bytes of their bodies beside the first.
MESSAGES, BYTES = 1_000, 800_000

Consumers = Callable[[str], Iterable[tuple[str, int]]]


class Inspection:
    """Answers what is asked about `queues`; `requests`: by name, with the names of what each takes.

    `consumers(queue)`: who consumes it, and how many messages are out to each; None: nobody knows,
    since somebody else serves these queues.
    """

    requests: dict[str, tuple[Callable[..., Awaitable[dict[str, Any]]], set[str]]]

    def __init__(self, queues: Queues, consumers: Consumers | None) -> None:
        self._queues, self._consumers = queues, consumers
        self.requests = {
            "list": (self.list, {"limit"}),
            "stats": (self._stats, {"queue"}),
            "peek": (self._peek, {"queue", "limit", "after", "bodies"}),
            "dead": (self._dead, {"queue", "limit", "bodies"}),
            "redrive": (self._redrive, {"queue", "ids"}),
            "purge": (self._purge, {"queue"}),
            "where": (self._where, {"id"}),
        }

    async def ask(self, request: str, asked: Any) -> dict[str, Any]:
        """Answer one request. Raises as `Queues` does, `TypeError` for a form that it has not."""
        handler, parameters = self.requests[request]
        if not isinstance(asked, dict):
            raise TypeError(f"{request} takes one object")
        if unknown := asked.keys() - parameters:
            known = ", ".join(sorted(parameters))
            raise TypeError(f"{request} takes {known}, not {sorted(unknown)[0]!r:.60}")
        return await handler(**asked)

    async def list(self, limit: Any = QUEUES) -> dict[str, Any]:
        """Return the counts of queues, at most `limit`: first those in which anything is."""
        _check_limit(limit, QUEUES)
        names = await self._queues.names()
        some: list[dict[str, Any]] = []
        for start in range(0, min(len(names), LOOKED_AT), AT_ONCE):
            slice = names[start : start + AT_ONCE]
            found = await asyncio.gather(*(self._queues.store.stats(name) for name in slice))
            some += [
                self._about(name, stats)
                for name, stats in zip(slice, found, strict=True)
                if stats is not None  # else it was deleted meanwhile
            ]
        if len(some) > limit:
            some.sort(key=_idle)
            some = sorted(some[:limit], key=lambda about: str(about["queue"]))
        return {"queues": some, "more": len(names) - len(some)}

    def _about(self, queue: str, stats: Stats) -> dict[str, Any]:
        if self._consumers is None:
            return {"queue": queue, **asdict(stats), "consumers": None}
        consumers = [{"name": name, "out": out} for name, out in self._consumers(queue)]
        return {"queue": queue, **asdict(stats), "consumers": consumers}

    async def _stats(self, queue: Any = None) -> dict[str, Any]:
        check_queue(queue)
        return self._about(queue, await self._queues.stats(queue))

    async def _peek(
        self, queue: Any = None, limit: Any = 100, after: Any = "", bodies: Any = False
    ) -> dict[str, Any]:
        await self._check(queue, limit)
        if not isinstance(after, str):
            raise TypeError("after is the id of a message")
        if after:
            await self._check_was_in(queue, after)
        shown: list[dict[str, Any]] = []
        for kept in _of_size(await self._queues.peek(queue, limit, after), bodies):
            about = {"id": kept.id, "event": kept.event, "size": len(kept.body)}
            shown.append({**about, "data": decode(kept.body)} if bodies else about)
        return {"queue": queue, "messages": shown}

    async def _dead(
        self, queue: Any = None, limit: Any = 100, bodies: Any = False
    ) -> dict[str, Any]:
        await self._check(queue, limit)
        shown: list[dict[str, Any]] = []
        for dead in _of_size(await self._queues.store.dead(queue, limit), bodies):
            about = {"id": dead.id, "event": dead.event, "attempts": dead.attempts}
            about |= {"reason": dead.reason, "died": dead.died, "size": len(dead.body)}
            shown.append({**about, "data": decode(dead.body)} if bodies else about)
        return {"queue": queue, "dead": shown}

    async def _redrive(self, queue: Any = None, ids: Any = None) -> dict[str, Any]:
        await self._check(queue, 1)
        return await redriven(self._queues, queue, ids)

    async def _check_was_in(self, queue: str, id: str) -> None:
        """Raise `LookupError` if `queue` never had this message. (No word on other queues, which
        whoever asks may not be permitted to look into.)"""
        fate = await self._queues.store.where(id)
        if fate is None or fate.queue not in (queue, None):
            raise LookupError(f"queue {queue!r:.120} has never had a message {id!r:.120}")

    async def _purge(self, queue: Any = None) -> dict[str, Any]:
        await self._check(queue, 1)
        return {"queue": queue, "purged": await self._queues.purge(queue)}

    async def _where(self, id: Any = None) -> dict[str, Any]:
        if not isinstance(id, str):
            raise TypeError("where takes the id of a message")
        fate = await self._queues.where(id)
        return {**asdict(fate), "steps": [step._asdict() for step in fate.steps]}

    async def _check(self, queue: Any, limit: Any) -> None:
        check_queue(queue)
        _check_limit(limit, MESSAGES)
        await self._queues.stats(queue)  # raises for an unknown queue


def _check_limit(limit: Any, most: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= most:
        raise ValueError(f"limit is a whole number from 1 to {most}, not {limit!r:.40}")


def _idle(about: dict[str, Any]) -> bool:
    """Return whether there is nothing to be seen of a queue."""
    counts = (about[name] for name in ("ready", "leased", "delayed", "dead"))
    return not any(counts) and not about["consumers"]


def _of_size(messages: Iterable[Any], bodies: bool) -> Iterable[Any]:
    """Yield messages; if their bodies are asked for, no more than go into one answer."""
    size = 0
    for n, message in enumerate(messages):
        size += len(message.body)
        if bodies and n and size > BYTES:
            return
        yield message
