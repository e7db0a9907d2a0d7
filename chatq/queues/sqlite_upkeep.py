"""The upkeep of a SQLite file: which queues are in memory, and what ends as time passes.

Owns loading a queue and letting it go, counts, taking messages out of a queue, dead letters and
keys. Must not know: threads, event loops, when a transaction begins, ends or
is synced, who claims.

What is over is found by indexes on its time, so that no queue is looked at in vain, and ended in
slices, so that nobody waits for long.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

from .ids import make_id, number_in
from .leases import Lease
from .rules import EXPIRED
from .sqlite_memory import Memory, Out, QueueState
from .sqlite_space import Space
from .sqlite_trail import SqliteTrail
from .store import Limits
from .trail import DELETED, DIED, DISCARDED, DROPPED, PURGED, REMOVED

__all__ = ["News", "Upkeep"]

#: The most messages, dead letters, keys and queues that end in one transaction, of each.
_SWEEP = 250
#: How much later than it might be what nobody waits for is dropped, in seconds: all of it together.
_LATER = 60.0
#: How long nothing is swept after a transaction has failed, in seconds.
_REST = 1.0
#: The most queues in memory; those without consumers beyond that are in the file alone.
_QUEUES = 10_000
_NEVER = float("inf")

_Gone = tuple[int, int, float | None]  # a row of `pending` to be taken out: seq, body, due


class News(NamedTuple):
    """News for the event loop: queues with something to claim, the queue, id and event of messages
    that have expired, and when there is something to sweep."""

    touched: set[str]
    expired: list[tuple[str, str, str]]
    due: float | None


class Upkeep(Memory):
    """The queues of the file `db`, with the end of everything; see `Rows`."""

    def __init__(self, db: sqlite3.Connection, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__()
        self._db, self._limits, self._clock = db, limits, clock
        self._name, self._next = db.execute("SELECT name, next FROM meta").fetchone()
        self._keys = int(db.execute("SELECT count(*) FROM key").fetchone()[0])
        self._space = Space(db, clock)
        self._trail = SqliteTrail(db, self._notes)
        self._taken_up = 0  # queues, since it was seen to that they are not too many
        #: Queues in memory in which nothing is left, since when.
        self._emptied: dict[QueueState, float] = {}
        self._expired: list[tuple[str, str, str]] = []
        #: When there is something to sweep, in seconds since the epoch.
        self.due = self._next_due(-1.0)

    def rolled_back(self) -> None:
        """See `Memory.rolled_back`; and rest, in case that it was because of the upkeep."""
        super().rolled_back()
        self._expired.clear()
        self.due = self._clock() + _REST

    def take_news(self) -> News:
        """Return what the event loop has to hear of since the last call."""
        news = News(self.touched, self._expired, None if self.due == _NEVER else self.due)
        self.touched, self._expired = set(), []
        return news

    def write_trail(self, *, full: bool = False) -> None:
        """Write what has become of messages; before the commit. `full`: there is no room for it."""
        if full:
            self._notes.clear()
            return
        self._undo.append(partial(self._trail.back_to, self._trail.end))
        self._trail.write(self._clock())

    # -- queues -----------------------------------------------------------------------------------

    def _queue(self, name: str, *, make: bool = False) -> QueueState | None:
        found = self._queues.get(name)
        if found is not None:
            return found
        query = "SELECT id, pending, dead, emptied FROM queue WHERE name = ?"
        row = self._db.execute(query, (name,)).fetchone()
        if row is None:
            if not make:
                return None
            made = self._db.execute("INSERT INTO queue (name) VALUES (?) RETURNING id", (name,))
            found = QueueState(made.fetchone()[0], name, 0, 0)
        else:
            found = QueueState(row[0], name, *self._counted(*row[:3]))
            self._note_empty(found, row[3])
            # SQLite itself would read all messages of the queue.
            query = "SELECT seq FROM pending INDEXED BY suspects WHERE queue = ? AND suspect"
            found.suspects = {seq for (seq,) in self._db.execute(query, (found.id,))}
        self._queues[name] = found
        self._taken_up += 1
        self._undo.append(lambda: self._queues.pop(name, None))
        return found

    def _counted(self, id: int, pending: int | None, dead: int | None) -> tuple[int, int]:
        """Return the number of messages of a queue, and of its dead letters.

        The counts written when the queue was let go are valid until it is used. After a crash there
        are none, and the rows are counted.
        """
        if pending is None or dead is None:
            return self._count("pending", id), self._count("dead", id)
        self._db.execute(
            "UPDATE queue SET pending = NULL, dead = NULL, emptied = NULL WHERE id = ?", (id,)
        )
        return pending, dead

    def _count(self, table: str, queue: int) -> int:
        query = f"SELECT count(*) FROM {table} WHERE queue = ?"
        return int(self._db.execute(query, (queue,)).fetchone()[0])

    def sum_up(self) -> None:
        """Write the next free number and the counts; before the file is closed."""
        self._db.execute("UPDATE meta SET next = ?", (self._next,))
        self._write_counts(self._queues.values())

    def _write_counts(self, queues: Iterable[QueueState]) -> None:
        self._db.executemany(
            "UPDATE queue SET pending = ?, dead = ?, emptied = ? WHERE id = ?",
            [(queue.count, queue.dead, self._emptied.get(queue), queue.id) for queue in queues],
        )

    def _let_go(self, queues: Sequence[QueueState]) -> None:
        """Write the counts of these queues, and forget them until they are used again."""
        self._write_counts(queues)
        for queue in queues:
            since = self._emptied.pop(queue, None)
            del self._queues[queue.name]
            self._undo.append(partial(self._take_up, queue, since))

    def _take_up(self, queue: QueueState, since: float | None) -> None:
        self._queues[queue.name] = queue
        if since is not None:
            self._emptied[queue] = since

    def let_some_go(self) -> None:
        """Let go of some queues if there are too many in memory; before the commit."""
        if len(self._queues) > _QUEUES:
            oldest = [*islice(self._queues.values(), self._taken_up + _SWEEP)]
            self._let_go([queue for queue in oldest if self._idle(queue)])
            for queue in oldest:
                if queue.name in self._queues:  # in use: after all others now
                    self._queues[queue.name] = self._queues.pop(queue.name)
        self._taken_up = 0

    def _idle(self, queue: QueueState) -> bool:
        busy = queue.back or queue.ahead or (queue.in_order and queue.count)
        return not busy and next(self._leases.of(queue.name), None) is None

    def _note_empty(self, queue: QueueState, since: float | None = None) -> None:
        """See `Memory._note_empty`; `since`: when it was seen to be empty, if not now."""
        self._emptied.pop(queue, None)
        if not queue.count and not queue.dead:
            self._emptied[queue] = self._clock() if since is None else since
            self._note_due(self._clock() + _LATER)

    def names(self) -> list[str]:
        """See `Store.names`."""
        return [name for (name,) in self._db.execute("SELECT name FROM queue ORDER BY name")]

    # -- messages ---------------------------------------------------------------------------------

    def _take_out(self, queue: QueueState, rows: Sequence[_Gone]) -> None:
        """Take messages out of a queue, leased or not; their bodies stay."""
        gone = {seq for seq, *_ in rows}
        for lease in [each for each in self._leases.of(queue.name) if each.item.seq in gone]:
            self._take(lease.receipt)
        self._leave_back(queue, gone)
        delayed = [(queue.id, due, seq) for seq, _, due in rows if due is not None]
        self._db.executemany("DELETE FROM retry WHERE queue = ? AND due = ? AND seq = ?", delayed)
        self._delete_rows("pending", queue, gone)
        for seq in gone:
            self._clear_ahead(queue, seq)
            self._clear(queue, seq)
        self._grow(queue, -len(gone))
        self._note_space()

    def _delete_rows(self, table: str, queue: QueueState, numbers: Iterable[int]) -> None:
        self._execute_many(f"DELETE FROM {table} WHERE queue = ? AND seq", [*numbers], queue.id)

    def _execute_many(self, statement: str, numbers: list[int], *before: Any) -> None:
        """Execute a statement that ends with the column in which these numbers are."""
        first, last = min(numbers, default=0), max(numbers, default=0)
        if last - first + 1 == len({*numbers}):  # a range, which costs half
            self._db.execute(f"{statement} BETWEEN ? AND ?", (*before, first, last))
        else:
            values = json.dumps(numbers)
            self._db.execute(f"{statement} IN (SELECT value FROM json_each(?))", (*before, values))

    def _release_bodies(self, bodies: list[int]) -> None:
        """Count one copy less of each of these bodies; delete those that have none any more."""
        shares = [(body,) for body in bodies]
        self._db.executemany("UPDATE body SET copies = copies - 1 WHERE id = ?", shares)
        self._execute_many("DELETE FROM body WHERE copies < 1 AND id", bodies)

    def remove(self, name: str, ids: list[str]) -> list[bool]:
        """See `Store.remove`."""
        queue = self._queue(name)
        if queue is None:
            return [False for _ in ids]
        numbers = [number_in(id, self._name) for id in ids]
        return [self._remove(queue, REMOVED, "seq = ?", number, 1) > 0 for number in numbers]

    def purge(self, name: str, limit: int, what: str = PURGED) -> int:
        """See `Store.purge`; `what` is noted of these messages."""
        queue = self._queue(name)
        return 0 if queue is None else self._remove(queue, what, "seq > ?", -1, limit)

    def _remove(self, queue: QueueState, what: str, which: str, *values: int) -> int:
        query = f"SELECT seq, body, due FROM pending WHERE queue = ? AND {which} ORDER BY seq"
        rows = self._db.execute(f"{query} LIMIT ?", (queue.id, *values)).fetchall()
        if rows:
            self._notes.note(what, queue.name, [seq for seq, *_ in rows])
            self._take_out(queue, rows)
            self._release_bodies([body for _, body, _ in rows])
        return len(rows)

    def delete(self, name: str, limit: int) -> int | None:
        """See `Store.delete`."""
        queue = self._queue(name)
        if queue is None:
            return None
        done = self.purge(name, limit, DELETED)
        done += self._drop_first(queue, limit - done, DELETED)
        if done:
            return done
        query = "DELETE FROM key WHERE (queue, key) IN (SELECT queue, key FROM key WHERE queue = ?"
        keys = self._db.execute(f"{query} LIMIT ?)", (queue.id, limit)).rowcount
        self._grow_keys(-keys)
        if keys:
            return 0
        self._db.execute("DELETE FROM queue WHERE id = ?", (queue.id,))
        since = self._emptied.pop(queue, None)
        del self._queues[name]
        self._undo.append(lambda: self._take_up(queue, since))
        return None

    # -- dead letters -----------------------------------------------------------------------------

    def _die(self, queue: QueueState, rows: Sequence[_Gone], reason: str, uncounted: int) -> None:
        """Make messages dead letters; drop the first ones if the queue has too many."""
        now = self._clock()
        self._notes.note(DIED, queue.name, [seq for seq, *_ in rows], reason)
        self._execute_many(
            "INSERT INTO dead SELECT queue, seq, body, attempts - ?, expires, ?, ? FROM pending "
            "WHERE queue = ? AND seq",
            [seq for seq, *_ in rows],
            uncounted,
            reason,
            now,
            queue.id,
        )
        self._grow_dead(queue, len(rows))  # first: so that it is never empty
        self._take_out(queue, rows)
        if queue.dead > self._limits.dead_length:
            self._drop_first(queue, min(queue.dead - self._limits.dead_length, 2 * _SWEEP))
        self._note_due(now + self._limits.dead_memory + _LATER)

    def discard(self, name: str, ids: list[str] | None) -> int:
        """See `Store.discard`."""
        queue = self._queue(name)
        if queue is None:
            return 0
        if ids is None:
            return self._drop_first(queue, queue.dead, DISCARDED)
        query = "SELECT seq, body FROM dead WHERE queue = ? AND seq = ?"
        wanted = dict.fromkeys(number_in(id, self._name) for id in ids)
        found = [self._db.execute(query, (queue.id, seq)).fetchone() for seq in wanted]
        return self._drop(queue, [row for row in found if row is not None], DISCARDED)

    def _drop_first(self, queue: QueueState, limit: int, what: str = DROPPED) -> int:
        query = "SELECT seq, body FROM dead WHERE queue = ? ORDER BY died, seq LIMIT ?"
        return self._drop(queue, self._db.execute(query, (queue.id, limit)).fetchall(), what)

    def _drop(self, queue: QueueState, rows: Sequence[tuple[int, int]], what: str = DROPPED) -> int:
        if rows:
            self._notes.note(what, queue.name, [seq for seq, _ in rows])
            self._delete_rows("dead", queue, [seq for seq, _ in rows])
            self._release_bodies([body for _, body in rows])
            self._grow_dead(queue, -len(rows))
            self._note_space()
        return len(rows)

    # -- keys -------------------------------------------------------------------------------------

    def _add_key(self, queue: QueueState, key: str, seq: int, now: float) -> None:
        """Remember a key that is not known; forget the oldest if there are too many."""
        old = self._db.execute("DELETE FROM key WHERE queue = ? AND key = ?", (queue.id, key))
        until = now + self._limits.key_memory
        self._db.execute("INSERT INTO key VALUES (?, ?, ?, ?)", (queue.id, key, seq, until))
        self._grow_keys(1 - old.rowcount)
        if self._keys > self._limits.keys:
            self._forget_keys("ORDER BY until, seq", min(self._keys - self._limits.keys, _SWEEP))
        self._note_due(until + _LATER)

    def _forget_keys(self, which: str, *values: float) -> None:
        done = self._db.execute(
            f"DELETE FROM key WHERE (queue, key) IN (SELECT queue, key FROM key {which} LIMIT ?)",
            values,
        )
        self._grow_keys(-done.rowcount)

    def _grow_keys(self, n: int) -> None:
        self._keys += n
        self._undo.append(lambda: setattr(self, "_keys", self._keys - n))

    # -- what ends as time passes -----------------------------------------------------------------

    def sweep_due(self) -> None:
        """End what is over, if it is time to; at the beginning of a transaction."""
        if self._clock() >= self.due:
            self.sweep()

    def sweep(self) -> None:
        """End what is over, of each kind no more than is quickly done."""
        now = self._clock()
        # In the order of the index: many may expire at the same time.
        query = "WHERE p.expires <= ? ORDER BY p.expires LIMIT ?"
        over, held = self._over(now, query, now, _SWEEP + 1 + len(self._leases))
        self._expire(over[:_SWEEP])
        old = self._db.execute(
            "SELECT q.name, d.seq, d.body FROM dead d CROSS JOIN queue q ON q.id = d.queue "
            "WHERE d.died <= ? ORDER BY d.died LIMIT ?",
            (now - self._limits.dead_memory, _SWEEP),
        ).fetchall()
        for queue, rows in self._by_queue(old):
            self._drop(queue, [(seq, body) for _, seq, body in rows])
        self._let_empty_go(now)
        self._forget_queues(now - self._limits.empty_memory)
        self._forget_keys("WHERE until <= ?", now, _SWEEP)
        self.due = now if len(over) > _SWEEP else self._next_due(now)
        self._note_due(min((lease.until for lease in held), default=_NEVER))

    def _over(
        self, now: float, which: str, *values: Any
    ) -> tuple[list[tuple[Any, ...]], list[Lease[Out]]]:
        """Return expired messages (queue, seq, body, due, event), and the leases of others that may
        still be answered."""
        rows = self._db.execute(
            "SELECT q.name, p.seq, p.body, p.due, b.event FROM pending p "
            f"CROSS JOIN queue q ON q.id = p.queue CROSS JOIN body b ON b.id = p.body {which}",
            values,
        ).fetchall()
        leases = {
            (name, lease.item.seq): lease
            for name in {row[0] for row in rows}
            for lease in self._leases.of(name)
            if lease.until > now
        }
        over = [row for row in rows if row[:2] not in leases]
        return over, [leases[row[:2]] for row in rows if row[:2] in leases]

    def _expire(self, over: list[tuple[Any, ...]]) -> None:
        for queue, rows in self._by_queue(over):
            self._die(queue, [(seq, body, due) for _, seq, body, due, _ in rows], EXPIRED, 0)
            self._expired += [
                (queue.name, make_id(self._name, seq), event) for _, seq, _, _, event in rows
            ]

    def _by_queue(
        self, rows: list[tuple[Any, ...]]
    ) -> Iterable[tuple[QueueState, list[tuple[Any, ...]]]]:
        for name, group in groupby(sorted(rows, key=itemgetter(0)), itemgetter(0)):
            queue = self._queue(name)
            assert queue is not None
            yield queue, [*group]

    def _make_room(self, queue: QueueState, n: int) -> bool:
        """Make room for `n` messages in a full queue; return False if too few have expired.

        (Only while more have expired, in all queues, than one sweep takes.)
        """
        now = self._clock()
        if now < self.due:
            return False
        query = "WHERE p.queue = ? AND +p.expires <= ? ORDER BY p.seq LIMIT ?"
        over, _ = self._over(now, query, queue.id, now, n + len(self._leases))
        if len(over) < n:
            return False
        self._expire(over[:n])
        return True

    def _let_empty_go(self, now: float) -> None:
        """Let go of queues with nothing in them, so that many that come and go take no memory."""
        some = islice(self._emptied.items(), _SWEEP)
        old = [queue for queue, since in some if since + _LATER <= now]
        known = [queue for queue in old if self._queues.get(queue.name) is queue]
        self._let_go(known)
        for queue in old:  # one that is not known was made in a transaction that has failed
            self._emptied.pop(queue, None)

    def _forget_queues(self, emptied: float) -> None:
        query = "SELECT id FROM queue WHERE emptied <= ? ORDER BY emptied LIMIT ?"
        old = [id for (id,) in self._db.execute(query, (emptied, _SWEEP))]
        if old:
            self._execute_many("DELETE FROM queue WHERE id", old)

    def _next_due(self, now: float) -> float:
        """Return when there is something to sweep, once it was done at `now`."""
        limits = self._limits
        row = self._db.execute(
            "SELECT (SELECT min(expires) FROM pending WHERE expires > ?), "
            "(SELECT min(died) FROM dead), "
            "(SELECT min(emptied) FROM queue WHERE emptied IS NOT NULL), "
            "(SELECT min(until) FROM key)",
            (now,),
        ).fetchone()
        expires, *old = (_NEVER if time is None else time for time in row)
        memories = (limits.dead_memory, limits.empty_memory, 0.0)
        times = [time + memory for time, memory in zip(old, memories, strict=True)]
        times += [since + _LATER for since in islice(self._emptied.values(), 1)]
        # What is over already was more than one sweep takes: the next goes on at once.
        later = [time if time <= now else time + _LATER for time in times]
        return min(expires, self._space.due, *later)

    def _note_space(self) -> None:
        """Note that space may have become free in the file."""
        self._space.note()
        self._note_due(self._space.due)

    @property
    def has_space(self) -> bool:
        """Whether some of the file's space may be given back by now."""
        return self._space.due < _NEVER

    def give_space_back(self, *, at_once: bool) -> None:
        """See `Space.give_back`."""
        self._space.give_back(at_once=at_once)
        self._note_due(self._space.due)

    def _note_due(self, when: float) -> None:
        if when < self.due:
            self.due = when
