"""The state as it was at one record, read in slices while later records are applied.

Owns the form of a state in a snapshot, and keeping what a later record changes. Must not know:
records, where a snapshot is written, event loops.

Only references are copied at the start. Whoever changes a message calls `keep` before: that notes
the form it has in the snapshot and, before the first change in a queue, which messages are in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from .ordering import Item, Queue

__all__ = ["SLICE", "Frozen"]

#: How many messages, dead letters, queues or keys are encoded at once: a few milliseconds.
SLICE = 500


class Frozen:
    """What there is now: the messages up to number `newest` in `queues`, the `dead`, the `empty`
    queues, each with since when; `head`: the rest of the state."""

    def __init__(
        self,
        head: dict[str, Any],
        newest: int,
        queues: Iterable[Queue],
        dead: Iterable[Item],
        empty: Mapping[str, float],
    ) -> None:
        self._head, self._newest = head, newest
        self._queues, self._dead = [*queues], [*dead]
        self._empty = [*empty], [*empty.values()]
        self._items: dict[str, Sequence[Item]] = {}  # of queues that were changed, or read already
        self._before: dict[int, list[Any]] = {}  # the form of each message that was changed

    def keep(self, item: Item) -> None:
        """Note what this message is: it will be changed now."""
        if item.number <= self._newest and item.number not in self._before:
            self._before[item.number] = item.kept()
            self._items_of(item.queue)

    def lines(self) -> Iterator[Any]:
        """Yield the state as JSON values, each of a size that is quickly encoded; `head` first."""
        yield self._head
        line: list[Any] = []
        left = SLICE
        for queue in self._queues:
            items = (item for item in self._items_of(queue) if item.number <= self._newest)
            while True:
                part = [*islice(items, left)]
                line.append([queue.name, queue.first, self._runs(part)])
                left -= max(1, len(part))
                if left:
                    break
                yield ["queues", line]
                line, left = [], SLICE
            self._items[queue.name] = ()
        yield ["queues", line]
        for start in range(0, len(self._dead), SLICE):
            part = self._dead[start : start + SLICE]
            yield ["dead", [[item.queue.name, self._kept(item)] for item in part]]
        empty = zip(*self._empty, strict=True)
        while some := [*islice(empty, SLICE)]:
            yield ["empty", some]

    def _items_of(self, queue: Queue) -> Sequence[Item]:
        if queue.name not in self._items:
            self._items[queue.name] = [*queue.items.values()]
        return self._items[queue.name]

    def _kept(self, item: Item) -> list[Any]:
        return self._before.get(item.number) or item.kept()

    def _runs(self, items: list[Item]) -> list[list[Any]]:
        found: list[list[Any]] = []
        for kept in map(self._kept, items):
            if found and Item.follows(kept, found[-1]):
                found[-1][6] += 1
            else:
                found.append(kept)
        return found
