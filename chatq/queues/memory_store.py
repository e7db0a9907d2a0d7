"""A store in memory: the specification, as short as it can be said.

Owns the meaning of the contract in `store`, for queues whose messages may die with the process:
tests, lessons, experiments. A claim looks at every message of its queue. Must not know: files,
sockets, when a message is dead.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from .leases import Leases
from .store import Attempt, Claimed, Dead, Kept, NewMessage, QueueFull, Stats, StoreError, full

__all__ = ["MemoryStore"]


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _at_once(
    verb: Callable[Concatenate[MemoryStore, _P], _T],
) -> Callable[Concatenate[MemoryStore, _P], asyncio.Future[_T]]:
    """Let `verb` take effect when it is called, and answer when it is awaited."""

    def asked(self: MemoryStore, /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        if self.closed:
            raise StoreError("the store is closed")
        answer: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(verb(self, *args, **kwargs))
        except QueueFull as error:
            answer.set_exception(error)
        return answer

    functools.update_wrapper(asked, verb)
    return asked


@dataclass(slots=True)
class _Item:
    """One message in one queue. `back`: it was given back, to be claimed from then on."""

    order: int
    id: str
    message: NewMessage
    born: float
    expires: float | None
    attempts: int = 0
    spent: int = 0
    back: float | None = None
    delayed: bool = False
    out: bool = False
    reason: str = ""
    died: float = 0.0


class MemoryStore:
    """Keeps messages in memory. `clock` gives the time in seconds since the epoch."""

    def __init__(
        self,
        *,
        length: int = 1_000_000,
        key_memory: float = 24 * 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._length, self._key_memory, self._clock = length, key_memory, clock
        self._name = os.urandom(4).hex()
        self._order = itertools.count(1)
        self._items: dict[str, dict[str, _Item]] = {}
        self._dead: dict[str, dict[str, _Item]] = defaultdict(dict)
        self._keys: dict[tuple[str, str], tuple[str, float]] = {}
        self._leases: Leases[_Item] = Leases()
        self._listeners: list[Callable[[str], None]] = []
        self.closed = False

    @_at_once
    def put(self, messages: Sequence[NewMessage]) -> list[list[str]]:
        """See `Store.put`."""
        now = self._clock()
        self._keys = {k: v for k, v in self._keys.items() if v[1] > now} if self._keys else {}
        ids: list[list[str]] = []
        new: list[tuple[str, _Item]] = []
        keys: dict[tuple[str, str], tuple[str, float]] = {}
        for message in messages:
            ids.append([])
            for queue in message.queues:
                key = (queue, message.key or "")
                seen = (keys.get(key) or self._keys.get(key)) if message.key else None
                if seen is None:
                    order = next(self._order)
                    item = _Item(order, f"{self._name}-{order}", message, now, message.expires)
                    new.append((queue, item))
                    seen = (item.id, now + self._key_memory)
                    if message.key:
                        keys[key] = seen
                ids[-1].append(seen[0])
        for queue in {queue for queue, _ in new}:
            more = sum(name == queue for name, _ in new)
            if len(self._items.get(queue, ())) + more > self._length:
                raise full(queue, self._length)
        self._keys |= keys
        for queue, item in new:
            self._items.setdefault(queue, {})[item.id] = item
        for queue in {queue for queue, _ in new}:
            self._tell(queue)
        return ids

    @_at_once
    def claim(self, queue: str, limit: int, lease: float, *, in_order: bool) -> Claimed:
        """See `Store.claim`."""
        now = self._clock()
        for ended in self._leases.expired(queue, now):
            self._give_back(ended.item, now)
        items = [item for item in self._items.get(queue, {}).values() if not item.out]
        if in_order:
            everything = self._items.get(queue, {}).values()
            items = sorted(everything, key=lambda item: item.order)[:1]
        ready = [i for i in items if not i.out and (i.back is None or i.back <= now)]
        ready.sort(key=_turn)
        chosen = ready[: 1 if in_order else limit]
        for item in chosen:
            item.attempts += 1
            item.back, item.delayed, item.out = None, False, True
        granted = self._leases.grant(queue, chosen, now + lease)
        attempts = [
            Attempt(
                i.id,
                queue,
                i.message.event,
                i.message.body,
                i.attempts,
                i.spent,
                i.expires,
                lease.receipt,
            )
            for i, lease in zip(chosen, granted, strict=True)
        ]
        times = [i.back for i in items if i.back is not None and i.back > now]
        if (end := self._leases.next_end(queue)) is not None:
            times.append(end)
        return Claimed(attempts, min(times, default=None))

    @_at_once
    def ack(self, receipts: Iterable[str]) -> list[bool]:
        """See `Store.ack`."""
        removed = [self._remove(receipt) for receipt in receipts]
        for queue in {gone[0] for gone in removed if gone}:  # with `in_order`, the next is free now
            self._tell(queue)
        return [gone is not None for gone in removed]

    @_at_once
    def release(self, receipt: str, delay: float = 0.0, *, counted: bool = True) -> bool:
        """See `Store.release`."""
        lease = self._leases.take(receipt)
        if lease is None:
            return False
        lease.item.attempts -= not counted
        self._give_back(lease.item, self._clock() + delay, delayed=delay > 0)
        self._tell(lease.queue)
        return True

    @_at_once
    def bury(self, receipt: str, reason: str, *, counted: bool = True) -> bool:
        """See `Store.bury`."""
        removed = self._remove(receipt)
        if removed is None:
            return False
        queue, item = removed
        item.reason, item.died = reason, self._clock()
        item.attempts -= not counted
        self._dead[queue][item.id] = item
        return True

    @_at_once
    def peek(self, queue: str, limit: int, after: str = "") -> list[Kept]:
        """See `Store.peek`."""
        first = self._number(after)
        items = [i for i in self._items.get(queue, {}).values() if i.order > first]
        items.sort(key=lambda item: item.order)
        return [Kept(i.id, i.message.event, i.message.body) for i in items[:limit]]

    @_at_once
    def remove(self, queue: str, ids: Sequence[str]) -> list[bool]:
        """See `Store.remove`."""
        items = [self._items.get(queue, {}).pop(id, None) for id in ids]
        for lease in [*self._leases.of(queue)]:
            if lease.item in items:
                self._leases.take(lease.receipt)
        return [item is not None for item in items]

    @_at_once
    def dead(self, queue: str, limit: int = 100) -> list[Dead]:
        """See `Store.dead`."""
        items = sorted(self._dead[queue].values(), key=lambda item: item.order)
        return [
            Dead(i.id, i.message.event, i.message.body, i.attempts, i.reason, i.died)
            for i in items[:limit]
        ]

    @_at_once
    def redrive(self, queue: str, ids: Iterable[str] | None = None) -> int:
        """See `Store.redrive`."""
        wanted = [*self._dead[queue]] if ids is None else [i for i in ids if i in self._dead[queue]]
        for id in dict.fromkeys(wanted):
            item = self._dead[queue].pop(id)
            item.spent, item.expires = item.attempts, None
            self._give_back(item, self._clock(), delayed=True)
            self._items[queue][id] = item
        if wanted:
            self._tell(queue)
        return len(dict.fromkeys(wanted))

    @_at_once
    def stats(self, queue: str) -> Stats | None:
        """See `Store.stats`."""
        if queue not in self._items:
            return None
        now, items = self._clock(), self._items[queue].values()
        leased = self._leases.count(queue, now)
        delayed = sum(i.back is not None and i.back > now for i in items)
        return Stats(
            ready=len(items) - leased - delayed,
            leased=leased,
            delayed=delayed,
            dead=len(self._dead[queue]),
            oldest=now - min(i.born for i in items) if items else None,
        )

    def listen(self, listener: Callable[[str], None]) -> None:
        """See `Store.listen`."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """See `Store.close`."""
        self.closed = True

    def _remove(self, receipt: str) -> tuple[str, _Item] | None:
        lease = self._leases.take(receipt)
        if lease is None:
            return None
        lease.item.out = False
        return lease.queue, self._items[lease.queue].pop(lease.item.id)

    def _number(self, id: str) -> int:
        """Return the place of the message with this id in the order of `put`; 0 for no id."""
        return int(id.removeprefix(f"{self._name}-")) if id else 0

    def _give_back(self, item: _Item, when: float, *, delayed: bool = False) -> None:
        item.out, item.back, item.delayed = False, when, delayed

    def _tell(self, queue: str) -> None:
        for listener in self._listeners:
            listener(queue)


def _turn(item: _Item) -> tuple[float, ...]:
    """Whose turn it is: given back at once, given back after a delay, never out."""
    if item.back is None:
        return (2, item.order)
    return (1, item.back, item.order) if item.delayed else (0, item.order)
