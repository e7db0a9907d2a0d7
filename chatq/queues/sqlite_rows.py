"""The verbs of a SQLite store as statements within a transaction.

Owns what stores, settles and looks up. Must not know: threads, event loops, when a
transaction begins, ends or is synced.

The body of a message is kept once. Each of its queues has a narrow row, clustered by queue, so that
a claim reads neighbours whatever the backlog is, and a fan-out writes few pages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from .ids import make_id, number_in
from .sqlite_claims import Claims, whole
from .sqlite_memory import QueueState
from .store import Dead, Kept, Limits, NewMessage, Stats, full

__all__ = ["Rows"]

#: Sequence numbers are reserved in the file in blocks: a number is never used twice.
_BLOCK = 100_000
_NEVER = float("inf")


_BY_PLACE = itemgetter(0, 1)  # of a row of `pending`: its queue, its number
_SIZES = (128, 64, 32, 16, 8, 4, 2, 1)  # so that few different statements insert any number of rows


@cache
def _insert(table: str, places: str, size: int) -> str:
    return f"INSERT INTO {table} VALUES {', '.join([places] * size)}"


class Rows(Claims):
    """The verbs of `Store`, inside a transaction that the caller begins and ends.

    After it, call `committed` or `rolled_back`.
    """

    def __init__(self, db: sqlite3.Connection, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__(db, limits, clock)
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
        for batch in (self._new_bodies, self._new_rows, self._settled, self._bodies):
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
        if len(messages) == 1 and len(messages[0].queues) == 1 and messages[0].key is None:
            return [[self._put_one(messages[0], messages[0].queues[0])]]
        plan, room = self._plan(messages)
        for name, more in room.items():
            self._check_room(name, more)
        return [
            self._put_many(message, known) for message, known in zip(messages, plan, strict=True)
        ]

    def _put_one(self, message: NewMessage, name: str) -> str:
        """Put one message without a key into one queue: the usual case, kept fast."""
        queue = self._queues.get(name) or self._queue(name, make=True)
        assert queue is not None
        if queue.count >= self._limits.length:
            self._check_room(name, 1)
        seq = self._next
        if seq < self._last:
            self._next = seq + 1
        else:
            seq = self._reserve(1)
        self._new_bodies.append((seq, message.event, message.body, self._clock(), 1))
        self._add_row(queue, seq, seq, message)
        return make_id(self._name, seq)

    def _add_row(self, queue: QueueState, seq: int, body: int, message: NewMessage) -> None:
        self._new_rows.append((queue.id, seq, body, whole(message.expires)))
        if message.expires is not None:
            self._note_due(message.expires)
        if message.due is not None and message.due > self._clock():
            self._delayed.append((queue, whole(message.due), seq))
        self._grow(queue, 1)

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
            queue = self._queue(name, make=True)
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
            for seq, queue in enumerate(missing, first):
                numbers[queue.name] = seq
                self._add_row(queue, seq, first, message)
                if message.key is not None:
                    self._add_key(queue, message.key, seq, now)
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
        if self._new_rows:
            self._new_rows.sort(key=_BY_PLACE)  # neighbours in the file, one after the other
            self._insert("body", "(?, ?, ?, ?, ?)", self._new_bodies)
            self._insert("pending", "(?, ?, ?, 0, 0, ?, NULL, 0, 0)", self._new_rows)
            self._new_bodies.clear()
            self._new_rows.clear()
            for queue, due, seq in self._delayed:
                self._delay(queue, [(due, seq)])
            self._delayed.clear()
        if self._settled:
            for queue, numbers in self._settled.items():
                self._delete_rows("pending", queue, numbers)
            self._settled.clear()
            self._note_space()
        if self._bodies:
            self._execute_many("DELETE FROM body WHERE id IN", self._bodies)
            self._bodies.clear()

    def _insert(self, table: str, places: str, rows: list[tuple[Any, ...]]) -> None:
        # Many rows a statement: between two steps of a statement SQLite releases the interpreter's
        # lock, and a busy event loop makes this thread wait for it each time.
        start = 0
        for size in _SIZES:
            while len(rows) - start >= size:
                values = [value for row in rows[start : start + size] for value in row]
                self._db.execute(_insert(table, places, size), values)
                start += size

    def ack(self, receipts: list[str]) -> list[bool]:
        """See `Store.ack`."""
        return [self._ack(receipt) for receipt in receipts]

    def _ack(self, receipt: str) -> bool:
        lease = self._take(receipt)
        if lease is None:
            return False
        queue, out = self._queues[lease.queue], lease.item
        self._settled.setdefault(queue, []).append(out.seq)
        self._clear_ahead(queue, out.seq)
        self._clear(queue, out.seq)
        self._release_body(out.body, out.shared)
        self._grow(queue, -1)
        return True

    def extend(self, receipts: list[str], lease: float) -> list[bool]:
        """See `Store.extend`."""
        until = self._clock() + lease
        return [self._extend(receipt, until) for receipt in receipts]

    def _release_body(self, body: int, shared: bool) -> None:
        """Count one copy less of a body; delete it with its last."""
        if shared:
            self._db.execute("UPDATE body SET copies = copies - 1 WHERE id = ?", (body,))
            self._db.execute("DELETE FROM body WHERE id = ? AND copies < 1", (body,))
        else:
            self._bodies.append(body)

    def release(self, receipt: str, delay: float, counted: bool, sent: bool) -> bool:
        """See `Store.release`."""
        lease = self._take(receipt)
        if lease is None:
            return False
        queue, seq = self._queues[lease.queue], lease.item.seq
        if counted:  # somebody has answered
            self._clear(queue, seq)
        if counted or not sent:
            self._db.execute(
                "UPDATE pending SET attempts = attempts - ?, failures = failures + ?, "
                "suspect = suspect AND NOT ? WHERE queue = ? AND seq = ?",
                (not sent, counted, counted, queue.id, seq),
            )
        if delay > 0:
            self._clear_ahead(queue, seq)
            self._delay(queue, [(whole(self._clock() + delay), seq)])
        else:
            self._push_back(queue, seq)
        self._note_due(lease.item.expires or _NEVER)
        self.touched.add(queue.name)
        return True

    def bury(self, receipt: str, reason: str, sent: bool) -> bool:
        """See `Store.bury`."""
        lease = self._take(receipt)
        if lease is None:
            return False
        queue, out = self._queues[lease.queue], lease.item
        self._die(queue, [(out.seq, out.body, None)], reason, int(not sent))
        return True

    def peek(self, name: str, limit: int, after: str) -> list[Kept]:
        """See `Store.peek`."""
        queue = self._queue(name)
        if queue is None:
            return []
        rows = self._db.execute(
            "SELECT p.seq, b.event, b.data FROM pending p JOIN body b ON b.id = p.body "
            "WHERE p.queue = ? AND p.seq > ? ORDER BY p.seq LIMIT ?",
            (queue.id, number_in(after, self._name), limit),
        )
        return [Kept(make_id(self._name, seq), event, data) for seq, event, data in rows]

    def dead(self, name: str, limit: int) -> list[Dead]:
        """See `Store.dead`."""
        queue = self._queue(name)
        if queue is None:
            return []
        rows = self._db.execute(
            "SELECT d.seq, b.event, b.data, d.attempts, d.reason, d.died FROM dead d "
            "JOIN body b ON b.id = d.body WHERE d.queue = ? ORDER BY d.seq LIMIT ?",
            (queue.id, limit),
        )
        return [Dead(make_id(self._name, seq), *rest) for seq, *rest in rows]

    def redrive(self, name: str, ids: list[str] | None) -> int:
        """See `Store.redrive`."""
        queue = self._queue(name)
        if queue is None:
            return 0
        if ids is None:
            rows = self._db.execute("SELECT seq FROM dead WHERE queue = ?", (queue.id,)).fetchall()
            wanted = [seq for (seq,) in rows]
        else:
            wanted = [*dict.fromkeys(number_in(id, self._name) for id in ids)]
        now, moved = whole(self._clock()), []
        for seq in wanted:
            done = self._db.execute(
                "INSERT INTO pending SELECT queue, seq, body, attempts, 0, NULL, ?, 0, attempts "
                "FROM dead WHERE queue = ? AND seq = ?",
                (now, queue.id, seq),
            )
            if done.rowcount:
                self._db.execute("DELETE FROM dead WHERE queue = ? AND seq = ?", (queue.id, seq))
                moved.append((now, seq))
        self._delay(queue, moved)
        self._grow_dead(queue, -len(moved))
        self._grow(queue, len(moved))
        return len(moved)

    def stats(self, name: str) -> Stats | None:
        """See `Store.stats`."""
        queue = self._queue(name)
        if queue is None:
            return None
        now = self._clock()
        leased = self._leases.count(name, now)
        delayed = self._db.execute(
            "SELECT count(*) FROM retry WHERE queue = ? AND due > ?", (queue.id, now)
        ).fetchone()[0]
        born = self._db.execute(
            "SELECT b.born FROM pending p JOIN body b ON b.id = p.body WHERE p.queue = ? "
            "ORDER BY p.seq LIMIT 1",
            (queue.id,),
        ).fetchone()
        return Stats(
            ready=queue.count - leased - delayed,
            leased=leased,
            delayed=delayed,
            dead=queue.dead,
            oldest=None if born is None else max(0.0, now - born[0]),
        )
