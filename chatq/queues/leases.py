"""Leases (visibility time-outs) of the messages in flight, by receipt and by queue.

Owns their receipts and ends. In memory only, on purpose: after a restart nothing is leased, so all
that was in flight may be claimed again. Must not know: how messages are kept, what becomes of one
whose lease has ended.
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
    """The lease of one message: `item` is the store's own handle of it; `until` in seconds."""

    receipt: str
    queue: str
    until: float
    item: _T


class Leases(Generic[_T]):
    """The leases of one store, by receipt and, in the order of their ends, by queue."""

    def __init__(self) -> None:
        self._by_receipt: dict[str, Lease[_T]] = {}
        self._by_queue: dict[str, dict[str, Lease[_T]]] = {}

    def grant(self, queue: str, items: list[_T], until: float) -> list[Lease[_T]]:
        """Lease `items` until this time; each gets a random receipt."""
        token = os.urandom(16 * len(items)).hex()
        leases = [
            Lease(token[32 * i : 32 * i + 32], queue, until, item) for i, item in enumerate(items)
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
        held = self._by_queue.setdefault(queue, {})
        last = held[next(reversed(held))].until if held else float("-inf")
        held.update((lease.receipt, lease) for lease in leases)
        if leases and leases[0].until < last:
            # Seldom: a shorter lease, a clock put back, a restored lease.
            self._by_queue[queue] = dict(sorted(held.items(), key=lambda entry: entry[1].until))

    def take(self, receipt: object) -> Lease[_T] | None:
        """End the lease with this receipt and return it; None if there is none (any more)."""
        lease = self._by_receipt.pop(receipt, None) if isinstance(receipt, str) else None
        if lease is not None:
            held = self._by_queue[lease.queue]
            del held[lease.receipt]
            if not held:
                del self._by_queue[lease.queue]
        return lease

    def extend(self, receipt: object, until: float) -> Lease[_T] | None:
        """Let this lease end at `until`; return it as it was, or None if there is none."""
        before = self.take(receipt)
        if before is not None:
            self.restore(Lease(before.receipt, before.queue, until, before.item))
        return before

    def expired(self, queue: str, now: float) -> list[Lease[_T]]:
        """End and return the leases of `queue` that are over at `now`."""
        over = []
        for lease in self._by_queue.get(queue, {}).values():
            if lease.until > now:
                break
            over.append(lease)
        for lease in over:
            self.take(lease.receipt)
        return over

    def __len__(self) -> int:
        """Return how many there are, including those that are over and not yet taken."""
        return len(self._by_receipt)

    def count(self, queue: str, now: float) -> int:
        """Return how many messages of `queue` are leased at `now`."""
        return sum(lease.until > now for lease in self._by_queue.get(queue, {}).values())

    def next_end(self, queue: str) -> float | None:
        """Return the earliest end of a lease of `queue`; None if nothing of it is leased."""
        for lease in self._by_queue.get(queue, {}).values():
            return lease.until
        return None

    def of(self, queue: str) -> Iterator[Lease[_T]]:
        """Yield the leases of `queue`, including those that are over and not yet taken."""
        yield from self._by_queue.get(queue, {}).values()
