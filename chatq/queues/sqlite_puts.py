"""How a SQLite store keeps what is put, and how the writes of a transaction are batched.

Owns the numbers of messages, limits and keys when they are put, and the batches. Must not know:
threads, event loops, when a transaction begins, ends or is synced, who claims.

Statements write many rows at a time: between two steps of a statement SQLite releases the
interpreter's lock, and a busy event loop makes this thread wait for it each time.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from .ids import make_id
from .sqlite_claims import Claims, whole
from .sqlite_memory import QueueState
from .store import Body, Limits, NewMessage, full
from .trail import ACKNOWLEDGED

__all__ = ["Puts"]

#: Sequence numbers are reserved in the file in blocks: a number is never used twice.
_BLOCK = 100_000
#: The most messages that one statement stores, if none has more than `_LIGHT` bytes; a heavier one
#: counts as several: sqlite3 keeps what was bound last to each statement that it has in its cache.
_LONGEST_RUN, _LIGHT = 128, 512
_PLAIN = (None, None, None)  # key, expires, due of a message to be kept as it is
_BODY = "(?, ?, ?, ?, ?)"  # a row of `body`
_BY_PLACE = itemgetter(0, 1)  # of a row of `pending`: its queue, its number
_SIZES = (128, 64, 32, 16, 8, 4, 2, 1)  # so that few different statements insert any number of rows


@cache
def _insert(table: str, places: str, size: int) -> str:
    return f"INSERT INTO {table} VALUES {', '.join([places] * size)}"


#: The rows of a run: a queue, and its first and last number.
_ROWS_OF_RUN = """
INSERT INTO pending SELECT ?, id, id, 0, 0, NULL, NULL, 0, 0 FROM body WHERE id BETWEEN ? AND ?
"""


class _Run:
    """Messages put into `queue` one after the other at the time `born`, from the number `first` on:
    their rows of `body` in `values`, flat. There is `room` for so many more."""

    __slots__ = ("born", "first", "queue", "room", "values")

    def __init__(self, queue: QueueState, first: int, born: float, room: int) -> None:
        self.queue, self.first, self.born, self.room = queue, first, born, room
        self.values: list[Any] = []

    def __len__(self) -> int:
        return len(self.values) // 5


class Puts(Claims):
    """What is put into the file `db`, and the batched writes; see `Rows`."""

    def __init__(self, db: sqlite3.Connection, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__(db, limits, clock)
        self._run: _Run | None = None  # what is put now
        self._runs: list[_Run] = []
        self._new_bodies: list[tuple[Any, ...]] = []
        self._new_rows: list[tuple[Any, ...]] = []
        self._delayed: list[tuple[QueueState, float, int]] = []  # of the new rows
        #: Acknowledged messages to be deleted: numbers by queue, and bodies that are not shared.
        self._settled: dict[QueueState, list[int]] = {}
        self._bodies: list[int] = []
        self._last = self._next

    def rolled_back(self) -> None:
        """See `Memory.rolled_back`; batched writes are dropped, too."""
        super().rolled_back()
        self._run = None
        for batch in (self._runs, self._new_bodies, self._new_rows, self._settled, self._bodies):
            batch.clear()
        self._delayed.clear()

    def _reserve(self, n: int) -> int:
        """Return the first of `n` numbers that no message has had."""
        first: int = self._next
        if first + n > self._last:
            self._last = first + n + _BLOCK
            self._db.execute("UPDATE meta SET next = ?", (self._last,))
            self._undo.append(lambda: setattr(self, "_last", self._next))
        self._next = first + n
        return first

    def put(self, messages: Sequence[NewMessage]) -> list[list[str]]:
        """See `Store.put`."""
        if self._are_plain(messages):
            return [[self.put_one(m.event, m.body, m.queues[0])] for m in messages]
        self._end_run()
        plan, room = self._plan(messages)
        for name, more in room.items():
            queue = self._queues.get(name)
            if queue is None or queue.count + more > self._limits.length:
                self._check_room(name, more)
        return [
            self._put_many(message, known) for message, known in zip(messages, plan, strict=True)
        ]

    def _are_plain(self, messages: Sequence[NewMessage]) -> bool:
        """Return whether each goes to one queue, which has room for it, and to be kept as it is."""
        for message in messages:
            if len(message[2]) > 1 or message[3:] != _PLAIN:
                return False
        if len(messages) == 1:
            return True  # `put_one` looks whether there is room
        for name, n in Counter(message.queues[0] for message in messages).items():
            queue = self._queue(name)
            there = queue.count if queue is not None else 0
            if there + n > self._limits.length - _LONGEST_RUN:
                return False  # there may be a run, too
        return True

    def put_one(self, event: str, body: Body, queue: str) -> str:
        """See `Store.put_one`: the usual case, kept fast."""
        run, places = self._run, len(body) // _LIGHT + 1
        if run is None or run.queue.name != queue or run.room < places:
            run = self._begin_run(queue)
        seq = self._next
        if seq < self._last:
            self._next = seq + 1
        else:
            self._reserve(1)
        run.room -= places
        run.values += (seq, event, body, run.born, 1)
        return f"{self._name}-{seq}"

    def _begin_run(self, name: str) -> _Run:
        self._end_run()
        queue = self._queues.get(name) or self._queue(name, make=True)
        assert queue is not None
        if queue.count >= self._limits.length:
            self._check_room(name, 1)
        room = min(_LONGEST_RUN, self._limits.length - queue.count)
        self._run = _Run(queue, self._next, self._clock(), room)
        return self._run

    def _end_run(self) -> None:
        """Count what was put in the last run, and leave it to be written."""
        run, self._run = self._run, None
        if run is None:
            return
        n = len(run)
        if n == 1:
            self._new_bodies.append(tuple(run.values))
            self._new_rows.append((run.queue.id, run.first, run.first, None))
        elif n:
            self._runs.append(run)
        self._grow(run.queue, n)

    def _check_room(self, name: str, more: int) -> None:
        """Raise `QueueFull` if this queue has no room for so many messages."""
        queue = self._queue(name)
        lacking = (queue.count if queue is not None else 0) + more - self._limits.length
        if lacking > 0:
            self.write()
            if queue is None or not self._make_room(queue, lacking):
                raise full(name, self._limits.length)

    def _plan(self, messages: Sequence[NewMessage]) -> tuple[list[dict[str, int]], dict[str, int]]:
        """Return for each message the numbers it already has by its key, and for each queue how
        many messages it would grow by; before anything is written."""
        plan: list[dict[str, int]] = []
        room: dict[str, int] = {}
        new_keys: set[tuple[str, str]] = set()
        now = self._clock()
        for message in messages:
            known: dict[str, int] = {}
            for name in message.queues:
                if message.key is not None:
                    seq = self._seen(self._queue(name), message.key, now)
                    if seq is not None:
                        known[name] = seq
                    if seq is not None or (name, message.key) in new_keys:
                        continue
                    new_keys.add((name, message.key))
                room[name] = room.get(name, 0) + 1
            plan.append(known)
        return plan, room

    def _put_many(self, message: NewMessage, known: dict[str, int]) -> list[str]:
        """Put a message into those of its queues that do not know its key: one body, many rows."""
        now, numbers = self._clock(), dict(known)
        missing: list[QueueState] = []
        for name in message.queues:
            if name in numbers:
                continue
            queue = self._queues.get(name) or self._queue(name, make=True)
            assert queue is not None
            if message.key is not None:
                seen = self._seen(queue, message.key, now)
                if seen is not None:  # put by the same call
                    numbers[name] = seen
                    continue
            missing.append(queue)
        if missing:
            first = self._reserve(len(missing))
            body = (first, message.event, message.body, now, len(missing))
            self._new_bodies.append(body)
            expires = whole(message.expires)
            for seq, queue in enumerate(missing, first):
                numbers[queue.name] = seq
                self._new_rows.append((queue.id, seq, first, expires))
                self._grow(queue, 1)
                if message.key is not None:
                    self._add_key(queue, message.key, seq, now)
            if message.expires is not None:
                self._note_due(message.expires)
            if message.due is not None and message.due > now:
                due = whole(message.due)
                self._delayed += [(queue, due, seq) for seq, queue in enumerate(missing, first)]
        return [make_id(self._name, numbers[name]) for name in message.queues]

    def _seen(self, queue: QueueState | None, key: str, now: float) -> int | None:
        """Return the number of the message with this key; None if none is known in this queue."""
        if queue is None:
            return None
        query = "SELECT seq FROM key WHERE queue = ? AND key = ? AND until > ?"
        row = self._db.execute(query, (queue.id, key, now)).fetchone()
        return None if row is None else int(row[0])

    def write(self) -> None:
        """Write the batches; to be called before a verb that reads, and before the commit."""
        self._end_run()
        for run in self._runs:
            self._db.execute(_insert("body", _BODY, len(run)), run.values)
            last = run.first + len(run) - 1
            self._db.execute(_ROWS_OF_RUN, (run.queue.id, run.first, last))
        self._runs.clear()
        if self._new_rows:
            self._new_rows.sort(key=_BY_PLACE)  # neighbours in the file, one after the other
            self._insert_bodies()
            self._insert("pending", "(?, ?, ?, 0, 0, ?, NULL, 0, 0)", self._new_rows)
            self._new_bodies.clear()
            self._new_rows.clear()
            for queue, due, seq in self._delayed:
                self._delay(queue, [(due, seq)])
            self._delayed.clear()
        if self._settled:
            for queue, numbers in self._settled.items():
                self._notes.note(ACKNOWLEDGED, queue.name, numbers)
                self._delete_rows("pending", queue, numbers)
            self._settled.clear()
            self._note_space()
        if self._bodies:
            self._execute_many("DELETE FROM body WHERE id", self._bodies)
            self._bodies.clear()

    def _insert_bodies(self) -> None:
        light = []
        for row in self._new_bodies:
            if len(row[2]) < _LIGHT:
                light.append(row)
            else:
                self._db.execute(_insert("body", _BODY, 1), row)
        self._insert("body", _BODY, light)

    def _insert(self, table: str, places: str, rows: list[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            self._db.execute(_insert(table, places, 1), rows[0])
            return
        start = 0
        for size in _SIZES:
            while len(rows) - start >= size:
                values = [value for row in rows[start : start + size] for value in row]
                self._db.execute(_insert(table, places, size), values)
                start += size
