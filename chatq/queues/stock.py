"""All messages of the state machine, and how each of them ends.

Owns which messages, dead letters, keys, queues and bodies there are, and what becomes of them when
they are settled or their time is over. Must not know: what a verb does, records, who claims, where
bodies are.

As deterministic as `state`, whose base this is: what ends, and in which order, depends on nothing
but the records, also for a server that has begun with a snapshot.
"""

from __future__ import annotations

import heapq
from itertools import chain, islice
from typing import Any

from .frozen import Frozen
from .ids import make_id
from .keys import Keys
from .ordering import DEAD, GONE, OUT, Item, Queue
from .rules import EXPIRED
from .store import Limits
from .trail import DIED, DROPPED, Trail

__all__ = ["Stock"]

#: The most messages, dead letters, keys and queues that end with one record, of each.
_SWEEP = 1_000
#: How much later than it might be what nobody waits for is dropped, in seconds: all of it together.
_LATER = 60.0


class Stock:
    """The messages of all queues; `name` is the prefix of their ids."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: The number of messages (dead letters too) whose body is in the record at each place.
        self.bodies: dict[int, int] = {}
        self._emptied: list[int] = []
        self._touched: set[str] = set()
        #: The queues that this server claims in order: not replicated, in no snapshot.
        self._in_order: set[str] = set()
        self._kept = 0  # messages
        self._queues: dict[str, Queue] = {}
        self._receipts: dict[str, Item] = {}
        self.keys = Keys()
        #: A heap of when to look whether a message has expired; its entries may be stale.
        self._ends: list[tuple[float, int, Item]] = []
        self._crowded = 64  # entries of that heap: then the stale ones are dropped
        self._dead: dict[int, Item] = {}  # of all queues, in the order of their deaths
        self._empty: dict[str, float] = {}  # since when, in that order
        self._expired: list[tuple[str, str, str]] = []
        self._now, self._limits = 0.0, Limits()  # of the record that is applied
        self._frozen: Frozen | None = None
        #: Of what this server has applied: not replicated, in no snapshot.
        self.trail = Trail()

    def id(self, item: Item) -> str:
        """Return the id of a message."""
        return make_id(self.name, item.number)

    def take_touched(self) -> list[str]:
        """Return the queues in which there may be more to claim since the last call."""
        touched, self._touched = self._touched, set()
        return sorted(touched)  # a set of text has another order in each process

    def take_expired(self) -> list[tuple[str, str, str]]:
        """Return queue, id and event of the messages that have expired since the last call."""
        expired, self._expired = self._expired, []
        return expired

    def take_emptied(self) -> list[int]:
        """Return the places whose bodies have become unused since the last call."""
        emptied, self._emptied = self._emptied, []
        return emptied

    def names(self) -> list[str]:
        """Return the names of all queues, sorted."""
        return sorted(self._queues)

    @property
    def size(self) -> int:
        """The number of messages, dead letters included."""
        return self._kept

    @property
    def out(self) -> int:
        """The number of leased messages, those whose leases ended since the last claim included."""
        return len(self._receipts)

    def holds(self, receipt: str) -> bool:
        """Return whether this receipt belongs to a current lease."""
        return receipt in self._receipts

    # -- one message ------------------------------------------------------------------------------

    def _note(self, what: str, item: Item, detail: str = "") -> None:
        self.trail.notes.note(what, item.queue.name, (item.number,), detail)

    def _note_left(self, name: str) -> None:
        """Note that a message has left this queue: with `in_order`, the next may be claimed now."""
        if name in self._in_order:
            self._touched.add(name)

    def _take(self, receipt: str) -> Item | None:
        """End the lease with this receipt and return its item; None if it is not current."""
        item = self._receipts.pop(receipt, None)
        if item is not None:
            self._will_change(item)
            del item.queue.out[receipt]
        return item

    def _give_back(self, item: Item, when: float, *, delayed: bool) -> None:
        item.queue.give_back(item, when, delayed=delayed)
        self._note_end(item)

    def _delete_one(self, item: Item, what: str) -> None:
        """Delete a message, leased or not; `what` is noted of it."""
        self._note(what, item)
        if item.state == OUT:
            self._take(item.receipt)
        self._forget(item)
        self._note_left(item.queue.name)

    def _forget(self, item: Item) -> None:
        self._will_change(item)
        self._kept -= 1
        item.queue.remove(item)
        item.state = GONE
        self._release_body(item.place)
        self._note_empty(item.queue)

    # -- what ends as time passes -----------------------------------------------------------------

    def _sweep(self, now: float) -> None:
        """End what is over at `now`; of each kind, no more than is quickly done."""
        limits, left = self._limits, _SWEEP
        while left and self._ends and self._ends[0][0] <= now:
            when, number, item = heapq.heappop(self._ends)
            if item.state in (DEAD, GONE) or item.expires is None:
                continue
            # Whatever was noted before: all servers end the same ones, in the same order.
            end = max(item.expires, item.until) if item.state == OUT else item.expires
            if end > when:
                heapq.heappush(self._ends, (end, number, item))
            elif item.over(now):
                self._expire(item, now)
                left -= 1
        for item in [*islice(self._dead.values(), _SWEEP)]:
            if item.died + limits.dead_memory > now:
                break
            self._drop(item)
        for name, since in [*islice(self._empty.items(), _SWEEP)]:
            if since + limits.empty_memory > now:
                break
            self._forget_queue(name)
        self.keys.forget(now, _SWEEP)

    def due(self, limits: Limits) -> float | None:
        """Return when there is something to sweep; None if time alone ends nothing."""
        later = [item.died + limits.dead_memory for item in islice(self._dead.values(), 1)]
        later += [since + limits.empty_memory for since in islice(self._empty.values(), 1)]
        later += [end for end in [self.keys.first_end()] if end is not None]
        # What was over already was more than one sweep takes: the next goes on at once.
        times = [time if time <= self._now else time + _LATER for time in later]
        return min([*times, *(when for when, *_ in self._ends[:1])], default=None)

    def _note_end(self, item: Item) -> None:
        """Note when to look whether this message has expired."""
        if item.expires is None:
            return
        heapq.heappush(self._ends, (item.expires, item.number, item))
        if len(self._ends) > self._crowded:
            living = {n: item for _, n, item in self._ends if item.state not in (DEAD, GONE)}
            self._ends = [(i.expires, n, i) for n, i in living.items() if i.expires is not None]
            heapq.heapify(self._ends)
            self._crowded = 64 + 2 * len(self._ends)

    def _expire(self, item: Item, now: float) -> None:
        if item.state == OUT:
            self._take(item.receipt)
        self._expired.append((item.queue.name, self.id(item), item.event))
        self._die(item, EXPIRED, now)

    def _die(self, item: Item, reason: str, now: float) -> None:
        """Make a message a dead letter; drop the first ones if its queue has too many."""
        self._will_change(item)
        queue = item.queue
        queue.remove(item)
        self._note(DIED, item, reason)
        item.state, item.reason, item.died = DEAD, reason, now
        queue.dead[item.number] = self._dead[item.number] = item
        for first in [*islice(queue.dead.values(), _SWEEP)]:
            if len(queue.dead) <= self._limits.dead_length:
                break
            self._drop(first)
        self._note_left(queue.name)

    def _drop(self, item: Item, what: str = DROPPED) -> None:
        """Forget a dead letter; `what` is noted of it."""
        self._note(what, item)
        self._will_change(item)
        del item.queue.dead[item.number], self._dead[item.number]
        self._kept -= 1
        item.state = GONE
        self._release_body(item.place)
        self._note_empty(item.queue)

    def _note_empty(self, queue: Queue) -> None:
        if not queue.items and not queue.dead:
            self._empty.pop(queue.name, None)
            self._empty[queue.name] = self._now

    def _forget_queue(self, name: str) -> None:
        del self._queues[name]
        self._empty.pop(name, None)
        self._in_order.discard(name)

    def _release_body(self, place: int) -> None:
        left = self.bodies[place] - 1
        if left:
            self.bodies[place] = left
        else:
            del self.bodies[place]
            self._emptied.append(place)

    # -- snapshots --------------------------------------------------------------------------------

    def _will_change(self, item: Item) -> None:
        """To be called before anything is changed of a message that may be in what is frozen, its
        place in the queue included."""
        if self._frozen is not None:
            self._frozen.keep(item)

    def thaw(self) -> None:
        """Keep nothing more for what was frozen."""
        self._frozen = None

    def add(self, kind: str, part: list[Any]) -> None:
        """Add a line of what was frozen; all of them but the first one, in their order."""
        if kind == "queues":
            for name, first, runs in part:
                queue = self._queues.setdefault(name, Queue(name, first))
                for item in chain.from_iterable(Item.read(queue, kept) for kept in runs):
                    self._add(item)
                    queue.add(item)
                    self._note_end(item)
                    if item.state == OUT:
                        self._receipts[item.receipt] = item
        elif kind == "dead":
            for name, kept in part:
                [item] = Item.read(self._queues[name], kept)
                self._add(item)
                item.queue.dead[item.number] = self._dead[item.number] = item
        else:
            self._empty.update(part)

    def _add(self, item: Item) -> None:
        self.bodies[item.place] = self.bodies.get(item.place, 0) + 1
        self._kept += 1
