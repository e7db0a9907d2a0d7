"""Who holds which message until when.

Owns receipts and deadlines of the messages that are out. In memory only, on purpose: whoever
restarts the store holds nothing, so everything that was out may be claimed again. Must not know:
how messages are kept, what becomes of one whose lease has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Lease", "Leases"]

_T = TypeVar("_T")


@dataclass(slots=True)
class Lease(Generic[_T]):
    """One message that is out: `item` is the store's own handle of it."""

    receipt: str
    queue: str
    until: float
    item: _T


class Leases(Generic[_T]):
    """The leases of one store, by receipt and, in the order in which they end, by queue."""

    def __init__(self) -> None:
        self._by_receipt: dict[str, Lease[_T]] = {}
        self._by_queue: dict[str, dict[str, Lease[_T]]] = {}

    def grant(self, queue: str, items: list[_T], until: float) -> list[Lease[_T]]:
        """Lease `items` until then; each gets a receipt that nobody can guess."""
        chance = os.urandom(16 * len(items)).hex()
        leases = [
            Lease(chance[32 * i : 32 * i + 32], queue, until, item) for i, item in enumerate(items)
        ]
        for lease in leases:
            self._by_receipt[lease.receipt] = lease
        self._add(queue, leases)
        return leases

    def restore(self, lease: Lease[_T]) -> None:
        """Undo a `take`."""
        self._by_receipt[lease.receipt] = lease
        self._add(lease.queue, [lease])

    def _add(self, queue: str, leases: list[Lease[_T]]) -> None:
        mine = self._by_queue.setdefault(queue, {})
        last = mine[next(reversed(mine))].until if mine else float("-inf")
        mine.update((lease.receipt, lease) for lease in leases)
        if leases and leases[0].until < last:
            # A shorter lease, a clock put back, an undoing: seldom. Who ends first stays first.
            self._by_queue[queue] = dict(sorted(mine.items(), key=lambda entry: entry[1].until))

    def take(self, receipt: object) -> Lease[_T] | None:
        """End the lease with this receipt and return it; None if there is none (any more)."""
        lease = self._by_receipt.pop(receipt, None) if isinstance(receipt, str) else None
        if lease is not None:
            mine = self._by_queue[lease.queue]
            del mine[lease.receipt]
            if not mine:
                del self._by_queue[lease.queue]
        return lease

    def expired(self, queue: str, now: float) -> list[Lease[_T]]:
        """End and return the leases of `queue` that are over."""
        over = []
        for lease in self._by_queue.get(queue, {}).values():
            if lease.until > now:
                break
            over.append(lease)
        for lease in over:
            self.take(lease.receipt)
        return over

    def count(self, queue: str, now: float) -> int:
        """Return how many messages of `queue` are out at this time."""
        return sum(lease.until > now for lease in self._by_queue.get(queue, {}).values())

    def next_end(self, queue: str) -> float | None:
        """Return when the next lease of `queue` ends; None if nothing of it is out."""
        for lease in self._by_queue.get(queue, {}).values():
            return lease.until
        return None

    def of(self, queue: str) -> Iterator[Lease[_T]]:
        """The leases of `queue`, those that have ended unnoticed included."""
        yield from self._by_queue.get(queue, {}).values()
