"""The verbs of a SQLite store as statements within a transaction.

Owns what stores, settles and looks up. Must not know: threads, event loops, when a
transaction begins, ends or is synced.

The body of a message is kept once. Each of its queues has a narrow row, clustered by queue, so that
a claim reads neighbours whatever the backlog is, and a fan-out writes few pages.
"""

from __future__ import annotations

from .ids import make_id, number_in
from .sqlite_claims import whole
from .sqlite_memory import Out, QueueState
from .sqlite_puts import Puts
from .store import Dead, Fate, Kept, Stats
from .trail import FAILED, REDRIVEN, RETURNED, fate_of_ended

__all__ = ["Rows"]

_NEVER = float("inf")


class Rows(Puts):
    """The verbs of `Store`, inside a transaction that the caller begins and ends.

    After it, call `committed` or `rolled_back`.
    """

    def ack(self, receipts: list[str]) -> list[bool]:
        """See `Store.ack`."""
        taken = [self._leases.take(receipt) for receipt in receipts]
        leases = [lease for lease in taken if lease is not None]

        def undo() -> None:
            for lease in leases:
                self._leases.restore(lease)

        self._undo.append(undo)
        settled: dict[str, list[Out]] = {}
        for lease in leases:
            settled.setdefault(lease.queue, []).append(lease.item)
        for name, outs in settled.items():
            self._settle(self._queues[name], outs)
        return [lease is not None for lease in taken]

    def _settle(self, queue: QueueState, outs: list[Out]) -> None:
        """Delete messages of one queue that were leased."""
        self._settled.setdefault(queue, []).extend([out.seq for out in outs])
        if queue.ahead or queue.suspects:
            for out in outs:
                self._clear_ahead(queue, out.seq)
                self._clear(queue, out.seq)
        for out in outs:
            self._release_body(out.body, out.shared)
        self._grow(queue, -len(outs))

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
        self._notes.note(FAILED if counted else RETURNED, queue.name, (seq,))
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

    def are_dead(self, name: str, ids: list[str]) -> list[bool]:
        """See `Store.are_dead`."""
        queue = self._queue(name)
        one = "SELECT 1 FROM dead WHERE queue = ? AND seq = ?"
        return [
            queue is not None
            and bool(self._db.execute(one, (queue.id, number_in(id, self._name))).fetchone())
            for id in ids
        ]

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
        self._notes.note(REDRIVEN, queue.name, [seq for _, seq in moved])
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

    def where(self, id: str) -> Fate | None:
        """See `Store.where`."""
        seq, now = number_in(id, self._name), self._clock()
        if not 0 < seq < self._next:
            return None
        self.write_trail()
        steps = self._trail.of(seq)
        # Queue by queue, since the rows of each are together: there are more messages than queues.
        row = self._db.execute(
            "SELECT q.name, p.attempts, p.failures, p.due, p.expires, p.redriven, b.event, b.born "
            "FROM queue q CROSS JOIN pending p ON p.queue = q.id AND p.seq = ? "
            "JOIN body b ON b.id = p.body",
            (seq,),
        ).fetchone()
        if row is not None:
            name, attempts, failures, due, expires, redriven, event, born = row
            ends = (each.until for each in self._leases.of(name) if each.item.seq == seq)
            until, state = next(ends, 0.0), "leased"
            if until <= now:
                until, state = due or 0.0, "delayed"
            end = until if until > now else None
            state = state if end else "ready"
            counts = (attempts, failures, born, end, expires)
            return Fate(id, state, name, event, *counts, steps=steps, redriven=redriven)
        row = self._db.execute(
            "SELECT q.name, b.event, d.attempts, b.born, d.expires, d.reason FROM queue q "
            "CROSS JOIN dead d ON d.queue = q.id AND d.seq = ? JOIN body b ON b.id = d.body",
            (seq,),
        ).fetchone()
        if row is None:
            return fate_of_ended(id, steps)
        name, event, attempts, born, expires, reason = row
        return Fate(id, "dead", name, event, attempts, None, born, None, expires, reason, steps)
