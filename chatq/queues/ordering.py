"""One queue of the state machine: the state of each message, and which one is claimed next.

Owns the order of messages, and their form in a snapshot. Must not know: records, how receipts are
made, other queues, where bodies are kept.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Any

__all__ = ["BACK", "DEAD", "DELAYED", "FRESH", "GONE", "OUT", "Item", "Queue", "by_number"]

#: The states of a message: never claimed, released, delayed, leased, dead letter, deleted.
FRESH, BACK, DELAYED, OUT, DEAD, GONE = range(6)


class Item:
    """One message in one queue; its body is the `index`th of the record at `place`."""

    attempts: int
    back: float
    born: float
    died: float
    event: str
    expires: float | None
    index: int
    number: int
    place: int
    queue: Queue
    reason: str
    receipt: str
    redriven: int
    state: int
    until: float

    __slots__ = (
        "attempts",
        "back",
        "born",
        "died",
        "event",
        "expires",
        "failures",
        "index",
        "number",
        "place",
        "queue",
        "reason",
        "receipt",
        "redriven",
        "state",
        "suspect",
        "until",
    )

    def __init__(
        self,
        number: int,
        queue: Queue,
        place: int,
        index: int,
        event: str,
        born: float,
        expires: float | None,
    ) -> None:
        self.number, self.queue, self.place, self.index = number, queue, place, index
        self.event, self.born, self.expires = event, born, expires
        self.attempts = self.failures = self.redriven = 0
        self.suspect = False
        self.state = FRESH
        self.back = self.until = self.died = 0.0
        self.receipt = self.reason = ""

    def ready(self, now: float) -> bool:
        """Return whether it may be claimed at `now`."""
        return self.state in (FRESH, BACK) or (self.state == DELAYED and self.back <= now)

    def waits(self, now: float) -> bool:
        """Return whether it is delayed beyond `now`."""
        return self.state == DELAYED and self.back > now

    def over(self, now: float) -> bool:
        """Return whether it has expired at `now`, and may be answered by nobody any more."""
        if self.expires is None or self.expires > now or self.state in (DEAD, GONE):
            return False
        return self.state != OUT or self.until <= now

    def kept(self) -> list[Any]:
        """Return its form in a snapshot; for a message never claimed, a run of length 1."""
        first = [self.number, self.place, self.index, self.event, self.born, self.expires]
        if self.state == FRESH and not self.attempts:
            return [*first, 1]
        more: list[Any] = [self.attempts, self.failures, self.suspect, self.state]
        more += [self.back, self.until, self.receipt, self.redriven]
        return first + more + ([self.died, self.reason] if self.state == DEAD else [])

    @staticmethod
    def follows(kept: list[Any], run: list[Any]) -> bool:
        """Return whether it extends `run`: messages of one record that were never claimed."""
        n = run[6]
        return len(kept) == len(run) == 7 and kept[:6] == [
            run[0] + n,
            run[1],
            run[2] + n,
            *run[3:6],
        ]

    @classmethod
    def read(cls, queue: Queue, kept: list[Any]) -> Iterator[Item]:
        """Yield the items of one entry of a snapshot."""
        number, place, index, *rest = kept[:6]
        if len(kept) == 7:
            for n in range(kept[6]):
                yield cls(number + n, queue, place, index + n, *rest)
            return
        item = cls(number, queue, place, index, *rest)
        item.attempts, item.failures, item.suspect, item.state = kept[6:10]
        item.back, item.until, item.receipt, item.redriven = kept[10:14]
        if len(kept) > 14:
            item.died, item.reason = kept[14:]
        yield item


class Queue:
    """One queue. Entries of `fresh`, `back`, `waiting` and `order` may be stale: the item's state
    decides.

    `first`: the number of its first message; `out`: the leased items by receipt, in the order in
    which the leases end; `dead`: its dead letters, in the order of their deaths.
    """

    name: str

    __slots__ = (
        "back",
        "dead",
        "early",
        "first",
        "fresh",
        "items",
        "name",
        "order",
        "out",
        "waiting",
    )

    def __init__(self, name: str, first: int) -> None:
        self.name, self.first = name, first
        self.items: dict[int, Item] = {}
        self.dead: dict[int, Item] = {}
        self.fresh: deque[Item] = deque()
        self.back: list[int] = []
        self.waiting: list[tuple[float, int]] = []
        self.out: dict[str, Item] = {}
        self.order: deque[int] = deque()  # of all that were put
        self.early: list[int] = []  # of those that were redriven

    def add(self, item: Item) -> None:
        """Add an item that is new, or read from a snapshot; in the order of `items`."""
        self.items[item.number] = item
        if self.order and item.number < self.order[-1]:
            heapq.heappush(self.early, item.number)
        else:
            self.order.append(item.number)
        if item.state == FRESH:
            self.fresh.append(item)
        elif item.state == BACK:
            heapq.heappush(self.back, item.number)
        elif item.state == DELAYED:
            heapq.heappush(self.waiting, (item.back, item.number))
        elif item.state == OUT:
            self.lease(item)

    def oldest(self) -> Item | None:
        """Return the item that was put first, whatever its state; None if there is none."""
        while self.order and self.order[0] not in self.items:
            self.order.popleft()
        while self.early and self.early[0] not in self.items:
            heapq.heappop(self.early)
        numbers = [*self.early[:1], *([self.order[0]] if self.order else [])]
        return self.items[min(numbers)] if numbers else None

    def first_fresh(self) -> Item | None:
        """Return the oldest item that was never claimed."""
        while self.fresh and self.fresh[0].state != FRESH:
            self.fresh.popleft()
        return self.fresh[0] if self.fresh else None

    def first_back(self) -> Item | None:
        """Return the oldest released item."""
        return _first(self.back, lambda number: self._in_state(number, BACK))

    def first_waiting(self) -> Item | None:
        """Return the delayed item that is due first."""
        return _first(self.waiting, self._waits)

    def _waits(self, entry: tuple[float, int]) -> Item | None:
        item = self._in_state(entry[1], DELAYED)
        return item if item is not None and item.back == entry[0] else None

    def first_end(self) -> Item | None:
        """Return the leased item whose lease ends first."""
        return next(iter(self.out.values()), None)

    def lease(self, item: Item) -> None:
        """Add an item to the leased ones."""
        last = self.out[next(reversed(self.out))].until if self.out else item.until
        self.out[item.receipt] = item
        if item.until < last:  # a shorter lease, another server's clock
            self.out = dict(sorted(self.out.items(), key=lambda entry: entry[1].until))

    def remove(self, item: Item) -> None:
        """Take an item out of the queue; now and then drop stale entries of the lists."""
        del self.items[item.number]
        if not self.items:  # many queues have few messages: nothing stays of the last one
            for entries in (self.order, self.early, self.fresh, self.back, self.waiting):
                entries.clear()
        elif len(self.order) > 2 * len(self.items) + 64:
            self.order = deque(number for number in self.order if number in self.items)
            self.fresh = deque(item for item in self.fresh if item.state == FRESH)
            self.back = sorted({number for number in self.back if self._in_state(number, BACK)})
            self.waiting = sorted({entry for entry in self.waiting if self._waits(entry)})

    def _in_state(self, number: int, state: int) -> Item | None:
        item = self.items.get(number)
        return item if item is not None and item.state == state else None

    def give_back(self, item: Item, when: float, *, delayed: bool) -> None:
        """Make an item claimable again; if `delayed`, not before `when`."""
        if delayed:
            item.state, item.back = DELAYED, when
            heapq.heappush(self.waiting, (when, item.number))
        else:
            item.state, item.back = BACK, when
            heapq.heappush(self.back, item.number)


def _first(heap: list[Any], valid: Any) -> Item | None:
    while heap:
        item: Item | None = valid(heap[0])
        if item is not None:
            return item
        heapq.heappop(heap)
    return None


def by_number(item: Item) -> int:
    """Return the sort key for the order in which messages were put."""
    return item.number
