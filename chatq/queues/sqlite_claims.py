"""Claims of a SQLite store: which messages of a queue are next, and their leases.

Owns the order of messages, delays and what ends a lease. Must not know: threads, event loops, when
a transaction begins, ends or is synced, what an answer does.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any, overload

from ..fast import loads_own
from .ids import make_id
from .leases import Lease
from .sqlite_memory import Out, QueueState
from .sqlite_upkeep import Upkeep
from .store import Attempt, Claimed
from .trail import LEASE_ENDED, SENT

__all__ = ["Claims", "whole"]

#: How many attempts may be broken off, most likely by the end of the server, before a message is
#: suspect: one that ends its consumer each time would take along whatever is claimed with it. (More
#: than a healthy consumer meets, and well below what makes it a dead letter.)
_BROKEN_OFF = 20
_NEVER = float("inf")

_Row = list[Any]  # as `_COLUMNS`
_COLUMNS = (
    "seq, body, attempts, failures, expires, event, "
    "iif(typeof(data) = 'blob', NULL, data), copies, redriven, due"
)
_FROM = "FROM pending p JOIN body b ON b.id = p.body WHERE p.queue = ?"


@overload
def whole(time: float) -> float: ...
@overload
def whole(time: None) -> None: ...
def whole(time: float | None) -> float | None:
    """Return this time in whole milliseconds: SQLite's JSON carries no more than 15 digits."""
    return None if time is None else math.floor(time * 1000) / 1000


class Claims(Upkeep):
    """The queues of a file, and who has which of their messages; see `Rows`."""

    def claim(
        self, name: str, limit: int, lease: float, in_order: bool, alone: bool, to: str = ""
    ) -> Claimed:
        """See `Store.claim`."""
        queue = self._queue(name)
        if queue is None:
            return Claimed([])
        queue.in_order = queue.in_order or in_order
        now = self._clock()
        if ended := self._leases.expired(name, now):
            self._end_leases(queue, ended)
        if in_order:
            rows, due, suspect = self._oldest(queue, now, alone)
        else:
            rows, due, suspect = self._next_rows(queue, limit, now, alone)
        granted = self._lease(queue, rows, now + lease, to) if rows else []
        if len(rows) < limit and due is None and not (in_order or suspect):
            self.touched.discard(name)  # what was put in this transaction is claimed already
        ends = [time for time in (due, self._leases.next_end(name)) if time is not None]
        return Claimed(granted, min(ends, default=None), suspect)

    def _end_leases(self, queue: QueueState, ended: list[Lease[Out]]) -> None:
        """Put back messages whose leases have ended: each has failed, and is suspect."""
        for lease in ended:
            self._undo.append(partial(self._leases.restore, lease))
            self._push_back(queue, lease.item.seq)
            self._note_due(lease.item.expires or _NEVER)
        numbers = [lease.item.seq for lease in ended]
        self._notes.note(LEASE_ENDED, queue.name, numbers)
        self._suspect(queue, numbers)
        self._execute_many(
            "UPDATE pending SET failures = failures + 1, suspect = 1 WHERE queue = ? AND seq",
            numbers,
            queue.id,
        )

    def _oldest(
        self, queue: QueueState, now: float, alone: bool
    ) -> tuple[list[_Row], float | None, bool]:
        """Return the oldest message, unless it is leased, delayed, or suspect and not `alone`; when
        its delay ends; and whether it is suspect."""
        rows = self._read("ORDER BY p.seq LIMIT 1", queue.id)
        if not rows or any(out.item.seq == rows[0][0] for out in self._leases.of(queue.name)):
            return [], None, False
        seq, due = rows[0][0], rows[0][-1]
        if due is not None and due > now:
            return [], due, False
        suspect = seq in queue.suspects
        if suspect and not alone:
            return [], None, True
        if due is not None:
            self._end_delays(queue, [(due, seq)])
        elif seq in queue.back:
            self._pop_back(queue, seq)
        elif seq >= queue.next:
            self._set_next(queue, seq + 1)
        return rows, None, suspect

    def _next_rows(
        self, queue: QueueState, limit: int, now: float, alone: bool
    ) -> tuple[list[_Row], float | None, bool]:
        """Return released messages, then due ones, then the rest; when the next delay ends; and
        whether a suspect one is next."""
        again: list[int] = []

        def may_follow(seq: int) -> bool:  # a suspect message is alone
            lonely = seq in queue.suspects or (len(again) == 1 and again[0] in queue.suspects)
            return len(again) < limit and (not lonely or (alone and not again))

        while queue.back and may_follow(queue.back[0]):
            again.append(self._pop_back(queue))
        query = "SELECT due, seq FROM retry WHERE queue = ? ORDER BY due, seq LIMIT ?"
        waiting = self._db.execute(query, (queue.id, limit - len(again) + 1)).fetchall()
        over: list[tuple[float, int]] = []
        if not queue.back:
            for due, seq in waiting:
                if due > now or not may_follow(seq):
                    break
                over.append((due, seq))
                again.append(seq)
        if over:
            self._end_delays(queue, over)
        rows: list[_Row] = []
        if again:
            found = {
                row[0]: row
                for row in self._read(
                    "AND p.seq IN (SELECT value FROM json_each(?))", queue.id, json.dumps(again)
                )
            }
            rows = [found[seq] for seq in again]
        later = waiting[len(over) :]
        suspect = not queue.suspects.isdisjoint(
            [*again, *queue.back[:1], *(seq for due, seq in later[:1] if due <= now)]
        )
        if len(rows) < limit and not suspect:
            fresh = self._read(
                "AND p.seq >= ? AND p.due IS NULL"
                " AND p.seq NOT IN (SELECT value FROM json_each(?)) ORDER BY p.seq LIMIT ?",
                queue.id,
                queue.next,
                json.dumps([*queue.ahead]),
                limit - len(rows),
            )
            # If these were all, the next claim begins at the next number to be put.
            following = self._next
            for row in fresh:
                if row[2] - row[8] - row[3] >= _BROKEN_OFF:
                    self._suspect(queue, [row[0]])
                if not may_follow(row[0]):
                    following = row[0]
                    break
                again.append(row[0])
                rows.append(row)
            else:
                following = rows[-1][0] + 1 if len(rows) == limit else self._next
            self._set_next(queue, following)
            suspect = not queue.suspects.isdisjoint([*again, following])
        return rows, later[0][0] if later else None, suspect

    def _read(self, which: str, *values: Any) -> list[_Row]:
        """Read messages of a queue in one step of one statement: see `Rows._insert`."""
        query = f"SELECT json_group_array(json_array({_COLUMNS})) FROM (SELECT * {_FROM} {which})"
        rows: list[_Row] = loads_own(self._db.execute(query, values).fetchone()[0])
        for row in rows:
            if row[6] is None:  # JSON cannot carry bytes
                body = self._db.execute("SELECT data FROM body WHERE id = ?", (row[1],))
                row[6] = body.fetchone()[0]
        return rows

    def _lease(self, queue: QueueState, rows: list[_Row], until: float, to: str) -> list[Attempt]:
        numbers = [row[0] for row in rows]
        self._execute_many(
            "UPDATE pending SET attempts = attempts + 1, due = NULL WHERE queue = ? AND seq",
            numbers,
            queue.id,
        )
        self._notes.note(SENT, queue.name, numbers, to)
        outs = [Out(row[0], row[1], row[7] > 1, row[4]) for row in rows]
        leases = self._leases.grant(queue.name, outs, until)
        self._undo.append(lambda: [self._leases.take(lease.receipt) for lease in leases])
        return [
            Attempt(
                make_id(self._name, seq),
                queue.name,
                event,
                data,
                attempts + 1,
                failures,
                expires,
                lease.receipt,
                seq in queue.suspects,
                redriven,
            )
            for (seq, _, attempts, failures, expires, event, data, _, redriven, _), lease in zip(
                rows, leases, strict=True
            )
        ]

    def _delay(self, queue: QueueState, entries: list[tuple[float, int]]) -> None:
        self._db.execute("UPDATE meta SET seen = ?", (self._clock(),))
        rows = [(queue.id, due, seq) for due, seq in entries]
        self._db.executemany("INSERT INTO retry VALUES (?, ?, ?)", rows)
        self._db.executemany(
            "UPDATE pending SET due = ? WHERE queue = ? AND seq = ?",
            [(due, id, seq) for id, due, seq in rows],
        )

    def _end_delays(self, queue: QueueState, entries: list[tuple[float, int]]) -> None:
        self._db.executemany(
            "DELETE FROM retry WHERE queue = ? AND due = ? AND seq = ?",
            [(queue.id, due, seq) for due, seq in entries],
        )
        ahead = {seq for _, seq in entries if seq >= queue.next}
        if ahead:
            queue.ahead |= ahead
            self._undo.append(lambda: queue.ahead.difference_update(ahead))
