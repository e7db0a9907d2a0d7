"""State in memory beside a SQLite file, with an undo log for transactions that fail.

Owns leases, counts, and where the next claim of each queue begins; never the backlog. Must not
know: tables, statements, when a transaction begins or ends.

Each change appends its inverse to the undo log, or is counted apart until the commit.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from .leases import Lease, Leases
from .trail import Notes

__all__ = ["Memory", "Out", "QueueState"]


@dataclass(slots=True, eq=False)
class QueueState:
    """One queue. `back`: a heap of the numbers of released messages.

    `next`: the first number not claimed since the file was opened; `ahead`: the numbers from there
    on that are leased or released all the same, since a delay of theirs had ended; `suspects`: the
    numbers of suspect messages; `in_order`: it is claimed in order, so when a message has left it
    the next may be claimed.
    """

    id: int
    name: str
    count: int
    dead: int
    next: int = 0
    back: list[int] = field(default_factory=list)
    ahead: set[int] = field(default_factory=set)
    suspects: set[int] = field(default_factory=set)
    in_order: bool = False


@dataclass(slots=True)
class Out:
    """A leased message: its number, its body, whether other queues share that, when it expires."""

    seq: int
    body: int
    shared: bool
    expires: float | None


class Memory:
    """State beside a file; after a transaction call `committed` or `rolled_back`."""

    def __init__(self) -> None:
        #: Names of queues that may have something to claim now.
        self.touched: set[str] = set()
        self._queues: dict[str, QueueState] = {}
        self._leases: Leases[Out] = Leases()
        self._undo: list[Callable[[], object]] = []
        self._grown: dict[QueueState, int] = {}
        self._notes = Notes()

    def committed(self) -> None:
        """Forget the undo log: the transaction is in the file."""
        self._grown.clear()
        self._undo.clear()

    def rolled_back(self) -> None:
        """Undo all changes since the last commit: the transaction is not in the file."""
        for undo in reversed(self._undo):
            undo()
        for queue, n in self._grown.items():
            queue.count -= n
            self._note_empty(queue)
        self._grown.clear()
        self._undo.clear()
        self._notes.clear()

    def _grow(self, queue: QueueState, n: int) -> None:
        """Add `n` to the count of messages of a queue."""
        queue.count += n
        if queue.count in (0, n):
            self._note_empty(queue)
        if n > 0 or queue.in_order:
            self.touched.add(queue.name)
        self._grown[queue] = self._grown.get(queue, 0) + n

    def _take(self, receipt: str) -> Lease[Out] | None:
        lease = self._leases.take(receipt)
        if lease is not None:
            self._undo.append(lambda: self._leases.restore(lease))
        return lease

    def _push_back(self, queue: QueueState, seq: int) -> None:
        heapq.heappush(queue.back, seq)
        self._undo.append(lambda: self._remove_back(queue, seq))

    def _pop_back(self, queue: QueueState, seq: int | None = None) -> int:
        if seq is None:
            seq = heapq.heappop(queue.back)
        else:
            self._remove_back(queue, seq)
        self._undo.append(lambda: heapq.heappush(queue.back, seq))
        return seq

    def _remove_back(self, queue: QueueState, seq: int) -> None:
        queue.back.remove(seq)
        heapq.heapify(queue.back)

    def _set_next(self, queue: QueueState, seq: int) -> None:
        before, queue.next = queue.next, seq
        self._undo.append(lambda: setattr(queue, "next", before))

    def _grow_dead(self, queue: QueueState, n: int) -> None:
        def grow(n: int) -> None:
            queue.dead += n
            self._note_empty(queue)

        grow(n)
        self._undo.append(partial(grow, -n))

    def _note_empty(self, queue: QueueState) -> None:
        """Called when a queue may have become empty, or is so no more."""

    def _leave_back(self, queue: QueueState, numbers: set[int]) -> None:
        """Note that these messages are not released any more."""
        if not numbers.isdisjoint(queue.back):
            before = queue.back
            queue.back = sorted({*before} - numbers)
            self._undo.append(lambda: setattr(queue, "back", before))

    def _extend(self, receipt: str, until: float) -> bool:
        before = self._leases.extend(receipt, until)
        if before is not None:
            self._undo.append(lambda: self._leases.extend(receipt, before.until))
        return before is not None

    def _suspect(self, queue: QueueState, numbers: list[int]) -> None:
        """Note that these messages are suspect."""
        new = {*numbers} - queue.suspects
        queue.suspects |= new
        self._undo.append(lambda: queue.suspects.difference_update(new))

    def _clear(self, queue: QueueState, seq: int) -> None:
        """Note that this message is suspect no more."""
        if seq in queue.suspects:
            queue.suspects.remove(seq)
            self._undo.append(lambda: queue.suspects.add(seq))

    def _clear_ahead(self, queue: QueueState, seq: int) -> None:
        """Note that this message is neither leased nor released any more."""
        if seq in queue.ahead:
            queue.ahead.remove(seq)
            self._undo.append(lambda: queue.ahead.add(seq))
