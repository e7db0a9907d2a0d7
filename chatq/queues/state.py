"""The state machine of all queues: the one statement of what each verb does to the messages.

Owns what a record (verbs, a time, chance) does to them; it is deterministic, without a clock,
randomness, or an order other than that of the records. Must not know: NATS, event loops, where
bodies are.

The store in memory is this machine, NATS replays a log with it, SQLite is judged against it. On
NATS every server applies every record in the order of the log, so all replicas have the same
results, and each uses those of its own records. So a result may depend on nothing that is not in
the log: a change of behaviour here needs a new version of the stream.

A message costs a few hundred bytes here; its body stays in the log.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple
from urllib.parse import unquote

from .frozen import Frozen
from .ids import make_id, number_in
from .ordering import DEAD, DELAYED, OUT, Item, Queue, by_number
from .record import Record
from .stock import Stock
from .store import Fate, QueueFull, Stats, full
from .trail import (
    ACKNOWLEDGED,
    DELETED,
    DISCARDED,
    FAILED,
    LEASE_ENDED,
    PURGED,
    REDRIVEN,
    REMOVED,
    RETURNED,
    SENT,
    fate_of_ended,
)

__all__ = ["Granted", "State"]

#: How many servers' last record numbers are remembered; those that wrote longest ago go first.
_SERVERS = 1_000


class Granted(NamedTuple):
    """A leased item, with what an `Attempt` says of it."""

    item: Item
    attempts: int
    failures: int
    receipt: str
    suspect: bool
    redriven: int


class State(Stock):
    """All queues, after the record at `applied`; `name` is the prefix of message ids."""

    applied: int

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.applied = 0
        self._number = 0
        self._servers: OrderedDict[str, int] = OrderedDict()

    # -- records ----------------------------------------------------------------------------------

    def apply(self, place: int, record: Record) -> list[Any] | None:
        """Apply a record; return the results of its verbs. None: it is a duplicate."""
        self.applied = place
        if record.number <= self._servers.get(record.server, 0):
            return None
        self._servers[record.server] = record.number
        self._servers.move_to_end(record.server)
        if len(self._servers) > _SERVERS:
            self._servers.popitem(last=False)
        self._now, self._limits = record.now, record.limits
        self._sweep(record.now)
        answers: list[Any] = []
        first = 0  # of the bodies of the next verb
        for verb, *parts in record.verbs:
            if verb == "put":
                answers.append(self._put(place, first, record, parts[0]))
                first += len(parts[0])
            elif verb == "move":
                self._move(place, first, parts[0])
                answers.append(None)
                first += len(parts[0])
            else:
                answers.append(_VERBS[verb](self, record.now, *parts))
        if self.trail.notes.entries:
            self.trail.turn(record.now)
        return answers

    def _put(
        self, place: int, first: int, record: Record, messages: list[Any]
    ) -> list[list[str]] | QueueFull:
        """`messages`: lists of event, queues, key, expiry, delay's end."""
        now = record.now
        ids: list[list[str]] = []
        new: list[tuple[str, int, int, Any]] = []
        keys: dict[tuple[str, str], int] = {}
        number = self._number
        for index, message in enumerate(messages):
            ids.append([])
            for name in message[1]:
                seen = None
                if message[2]:
                    key = (name, message[2])
                    seen = keys.get(key) or self._seen(*key, now)
                if seen is None:
                    number += 1
                    new.append((name, number, first + index, message))
                    seen = number
                    if message[2]:
                        keys[key] = number
                ids[-1].append(make_id(self.name, seen))
        more: dict[str, int] = {}
        for name, *_ in new:
            more[name] = more.get(name, 0) + 1
        for name, count in more.items():
            known = self._queues.get(name)
            more_than = (len(known.items) if known else 0) + count - record.limits.length
            if more_than > 0 and (known is None or not self._make_room(known, more_than, now)):
                return full(name, record.limits.length)
        self._number = number
        for key, number in keys.items():
            self.keys.add(*key, number, now + record.limits.key_memory)
        self.keys.shrink(record.limits.keys, now)
        for name, number, index, (event, _, _, expires, due) in new:
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = Queue(name, number)
            self._empty.pop(name, None)
            item = Item(number, queue, place, index, event, now, expires)
            if due is not None and due > now:
                item.state, item.back = DELAYED, due
            queue.add(item)
            self._note_end(item)
        self._kept += len(new)
        if new:
            self.bodies[place] = self.bodies.get(place, 0) + len(new)
        self._touched.update(more)
        return ids

    def _seen(self, name: str, key: str, now: float) -> int | None:
        """Return the number of the message with this key; None if none is known in this queue."""
        queue = self._queues.get(name)
        number = self.keys.get(name, key, now)
        # A queue that was deleted and made anew knows no keys of its former life.
        return None if queue is None or number is None or number < queue.first else number

    def _make_room(self, queue: Queue, n: int, now: float) -> bool:
        """Make room for `n` messages in a full queue; return False if too few have expired.

        (Only while more have expired, in all queues, than one sweep takes.)
        """
        if not self._ends or self._ends[0][0] > now:
            return False
        over = [*islice((item for item in queue.items.values() if item.over(now)), n)]
        if len(over) < n:
            return False
        for item in over:
            self._expire(item, now)
        return True

    def _claim(
        self,
        now: float,
        name: str,
        limit: int,
        lease: float,
        in_order: bool,
        alone: bool,
        seed: str,
    ) -> tuple[list[Granted], float | None, bool]:
        """`seed`: randomness from which the receipts are derived, and after a space who claims."""
        queue = self._queues.get(name)
        if queue is None:
            return [], None, False
        self._note_in_order(name, in_order)
        while (ended := queue.first_end()) is not None and ended.until <= now:
            self._take(ended.receipt)
            ended.failures += 1
            ended.suspect = True
            self._note(LEASE_ENDED, ended)
            self._give_back(ended, now, delayed=False)
        if in_order:
            queue.first_back(), queue.first_waiting(), queue.first_fresh()  # drops stale entries
            limit = 1
        granted = []
        to = unquote(seed.partition(" ")[2])
        for turn, item in enumerate(self._next_items(queue, limit, now, in_order, alone)):
            self._will_change(item)
            item.attempts += 1
            item.state, item.until = OUT, now + lease
            text = f"{seed} {turn}".encode("ascii")
            item.receipt = hashlib.blake2b(text, digest_size=16).hexdigest()
            self._receipts[item.receipt] = item
            queue.lease(item)
            facts = (item.attempts, item.failures, item.receipt, item.suspect, item.redriven)
            granted.append(Granted(item, *facts))
        if granted:
            self.trail.notes.note(SENT, name, [each.item.number for each in granted], to)
        following = self._next_item(queue, now, in_order)
        suspect = any(item.suspect for item in (*granted, following) if item is not None)
        if following is None and queue.first_waiting() is None and not in_order:
            self._touched.discard(name)  # what was put in this record is claimed already
        return granted, self._due(queue, now, in_order), suspect

    def _next_items(
        self, queue: Queue, limit: int, now: float, in_order: bool, alone: bool
    ) -> Iterator[Item]:
        """Yield the items that are claimed next, a suspect one by itself; each has to be leased
        before the next one is asked for."""
        for n in range(limit):
            item = self._next_item(queue, now, in_order)
            if item is None or (item.suspect and (n or not alone)):
                return
            yield item
            if item.suspect:
                return

    def _next_item(self, queue: Queue, now: float, in_order: bool) -> Item | None:
        """Return the released item that is next, or a delayed one that is due, or a new one; or the
        oldest with `in_order`, if that is ready."""
        if in_order:
            oldest = queue.oldest()
            return oldest if oldest is not None and oldest.ready(now) else None
        item = queue.first_back()
        if item is None:
            item = queue.first_waiting()
            if item is not None and item.back > now:
                item = None
        return item or queue.first_fresh()

    def look(self, name: str, now: float, *, in_order: bool) -> tuple[bool, float | None]:
        """Return whether a claim would find something, and the earliest time at which a lease or a
        delay ends."""
        queue = self._queues.get(name)
        if queue is None:
            return False, None
        self._note_in_order(name, in_order)
        if in_order:
            oldest = queue.oldest()
            ready = oldest is not None and oldest.ready(now)
        else:
            waiting = queue.first_waiting()
            ready = (
                queue.first_back() is not None
                or queue.first_fresh() is not None
                or (waiting is not None and waiting.back <= now)
            )
        end = queue.first_end()
        ready = ready or (end is not None and end.until <= now)
        return ready, self._due(queue, now, in_order)

    def _due(self, queue: Queue, now: float, in_order: bool) -> float | None:
        first = queue.oldest() if in_order else queue.first_waiting()
        times = [first.back] if first is not None and first.waits(now) else []
        if (end := queue.first_end()) is not None:
            times.append(end.until)
        return min(times, default=None)

    def _note_in_order(self, name: str, in_order: bool) -> None:
        if in_order:
            self._in_order.add(name)

    def next_end(self, name: str) -> float | None:
        """Return the earliest end of a lease of this queue; None if nothing of it is leased."""
        queue = self._queues.get(name)
        end = queue.first_end() if queue is not None else None
        return None if end is None else end.until

    def _ack(self, now: float, receipts: list[str]) -> list[bool]:
        done = []
        for receipt in receipts:
            item = self._take(receipt)
            done.append(item is not None)
            if item is not None:
                self.trail.notes.note(ACKNOWLEDGED, item.queue.name, (item.number,))
                self._forget(item)
                self._note_left(item.queue.name)
        return done

    def _extend(self, now: float, receipts: list[str], lease: float) -> list[bool]:
        done = []
        for receipt in receipts:
            item = self._take(receipt)
            done.append(item is not None)
            if item is not None:
                item.until = now + lease
                self._receipts[receipt] = item
                item.queue.lease(item)
        return done

    def _release(self, now: float, receipt: str, delay: float, counted: bool, sent: bool) -> bool:
        item = self._take(receipt)
        if item is None:
            return False
        self._note(FAILED if counted else RETURNED, item)
        item.attempts -= not sent
        item.failures += counted
        item.suspect = item.suspect and not counted
        self._give_back(item, now + delay, delayed=delay > 0)
        self._touched.add(item.queue.name)
        return True

    def _return(self, now: float, receipts: list[str]) -> None:
        """Release all these: their server is closing."""
        for receipt in receipts:
            self._release(now, receipt, 0.0, False, True)

    def _bury(self, now: float, receipt: str, reason: str, sent: bool) -> bool:
        item = self._take(receipt)
        if item is None:
            return False
        item.attempts -= not sent
        self._die(item, reason, now)
        return True

    def _remove(self, now: float, name: str, ids: list[str]) -> list[bool]:
        queue = self._queues.get(name)
        done = []
        for id in ids:
            item = queue.items.get(number_in(id, self.name)) if queue is not None else None
            done.append(item is not None)
            if item is not None:
                self._delete_one(item, REMOVED)
        return done

    def _purge(self, now: float, name: str, limit: int, what: str = PURGED) -> int:
        queue = self._queues.get(name)
        done = 0
        while queue is not None and done < limit and (item := queue.oldest()) is not None:
            self._delete_one(item, what)
            done += 1
        return done

    def _discard(self, now: float, name: str, ids: list[str] | None) -> int:
        queue = self._queues.get(name)
        if queue is None:
            return 0
        wanted = [*queue.dead] if ids is None else [number_in(id, self.name) for id in ids]
        chosen = [queue.dead[number] for number in dict.fromkeys(wanted) if number in queue.dead]
        for item in chosen:
            self._drop(item, DISCARDED)
        return len(chosen)

    def _delete(self, now: float, name: str, limit: int) -> int | None:
        queue = self._queues.get(name)
        if queue is None:
            return None
        done = self._purge(now, name, limit, DELETED)
        for item in [*islice(queue.dead.values(), limit - done)]:
            self._drop(item, DELETED)
            done += 1
        if not done:
            self._forget_queue(name)
        return done or None

    def _redrive(self, now: float, name: str, ids: list[str] | None) -> int:
        queue = self._queues.get(name)
        if queue is None:
            return 0
        wanted = [*queue.dead] if ids is None else [number_in(id, self.name) for id in ids]
        moved = 0
        for number in dict.fromkeys(wanted):
            item = queue.dead.get(number)
            if item is None:
                continue
            self._will_change(item)
            del queue.dead[number], self._dead[number]
            self._empty.pop(name, None)
            item.failures, item.suspect, item.expires = 0, False, None
            item.redriven = item.attempts
            item.reason, item.died = "", 0.0
            queue.items[number] = item
            heapq.heappush(queue.early, number)
            self._give_back(item, now, delayed=True)
            self._note(REDRIVEN, item)
            moved += 1
        if moved:
            self._touched.add(name)
        return moved

    def _move(self, place: int, first: int, numbers: list[list[Any]]) -> None:
        """Note that bodies were moved into the record at `place`; `numbers`: for each body, the
        [queue, number] of every message that has it."""
        for index, copies in enumerate(numbers):
            for name, number in copies:
                queue = self._queues.get(name)
                item = (queue.items.get(number) or queue.dead.get(number)) if queue else None
                if item is not None:
                    self._will_change(item)
                    self._release_body(item.place)
                    item.place, item.index = place, first + index
                    self.bodies[place] = self.bodies.get(place, 0) + 1

    # -- reading ----------------------------------------------------------------------------------

    @property
    def newest(self) -> int:
        """The message number of the last message that was put."""
        return self._number

    def stats(self, name: str, now: float) -> Stats | None:
        """See `Store.stats`."""
        queue = self._queues.get(name)
        if queue is None:
            return None
        oldest = queue.oldest()
        leased = sum(item.until > now for item in queue.out.values())
        waiting = (queue.items.get(number) for when, number in {*queue.waiting} if when > now)
        delayed = {item.number for item in waiting if item is not None and item.waits(now)}
        return Stats(
            ready=len(queue.items) - leased - len(delayed),
            leased=leased,
            delayed=len(delayed),
            dead=len(queue.dead),
            oldest=None if oldest is None else max(0.0, now - oldest.born),
        )

    def where(self, id: str, now: float) -> Fate | None:
        """See `Store.where`."""
        number = number_in(id, self.name)
        if not 0 < number <= self._number:
            return None
        steps = self.trail.of(number)
        for queue in self._queues.values():
            item = queue.items.get(number) or queue.dead.get(number)
            if item is not None:
                until, state, event = None, "ready", item.event
                if item.state == DEAD:
                    state = "dead"
                elif item.state == OUT and item.until > now:
                    state, until = "leased", item.until
                elif item.waits(now):
                    state, until = "delayed", item.back
                counts = (item.attempts, item.failures, item.born, until, item.expires)
                more = (item.reason, steps, item.redriven)
                return Fate(id, state, queue.name, event, *counts, *more)
        return fate_of_ended(id, steps)

    def are_dead(self, name: str, ids: list[str]) -> list[bool]:
        """See `Store.are_dead`."""
        queue = self._queues.get(name)
        return [queue is not None and number_in(id, self.name) in queue.dead for id in ids]

    def dead(self, name: str, limit: int) -> list[Item]:
        """Return the oldest dead letters of a queue, at most `limit`."""
        queue = self._queues.get(name)
        return heapq.nsmallest(limit, queue.dead.values(), by_number) if queue else []

    def peek(self, name: str, limit: int, after: int) -> list[Item]:
        """Return the oldest messages of a queue with a number above `after`, at most `limit`."""
        queue = self._queues.get(name)
        if queue is None:
            return []
        later = (item for item in queue.items.values() if item.number > after)
        return heapq.nsmallest(limit, later, by_number)

    def up_to(self, place: int, limit: int) -> dict[tuple[int, int], list[tuple[str, int]]]:
        """Return the bodies in records up to `place`, each with the messages that have it.

        A body is given as (place, index), a message as (queue, number); at most `limit` messages.
        """
        everything = (
            item
            for queue in self._queues.values()
            for item in chain(queue.items.values(), queue.dead.values())
        )
        found: dict[tuple[int, int], list[tuple[str, int]]] = {}
        for item in islice((item for item in everything if item.place <= place), limit):
            found.setdefault((item.place, item.index), []).append((item.queue.name, item.number))
        return found

    @property
    def now(self) -> float:
        """The time of the last record, in seconds since the epoch."""
        return self._now

    # -- snapshots --------------------------------------------------------------------------------

    def freeze(self) -> Frozen:
        """Return the state without the keys as it is now, to be read while records are applied;
        `thaw` ends that. One at a time."""
        head = {
            "applied": self.applied,
            "now": self._now,
            "number": self._number,
            "servers": [*self._servers.items()],
            "keys": self.keys.floor,
            "size": self._kept,
        }
        self._frozen = Frozen(
            head, self._number, self._queues.values(), self._dead.values(), self._empty
        )
        return self._frozen

    @classmethod
    def begin(cls, name: str, head: dict[str, Any]) -> State:
        """Return a state with the first line of what was frozen; `add` adds the others."""
        state = cls(name)
        state.applied, state._number = head["applied"], head["number"]
        state._now = head["now"]
        state._servers = OrderedDict(head["servers"])
        state.keys.floor = head["keys"]
        return state


_VERBS: dict[str, Callable[..., Any]] = {
    "claim": State._claim,
    "ack": State._ack,
    "extend": State._extend,
    "release": State._release,
    "return": State._return,
    "bury": State._bury,
    "remove": State._remove,
    "redrive": State._redrive,
    "purge": State._purge,
    "discard": State._discard,
    "delete": State._delete,
    "sweep": lambda state, now: None,  # whatever the record is, what is over ends first
}
