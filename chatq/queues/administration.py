"""Administration of queues: what is in them, dead letters, clearing, deleting, copying.

Owns these requests. Must not know: consumers (but whether there is one), servers, the hub's
protocol, how messages are kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path

from ..journal.facts import Redriven
from .dead_message import DeadMessage
from .delivery import Deliverer
from .message import decode
from .observers import observed
from .rules import Rules
from .store import Fate, Kept, QueuesClosed, Stats, Store

__all__ = ["Administration"]

#: The most messages deleted in one transaction.
_SLICE = 2_000


class Administration:
    """The part of `Queues` for whoever looks after them."""

    store: Store
    rules: Rules

    def __init__(self, store: Store, rules: Rules, delivery: Deliverer) -> None:
        self.store, self.rules, self._delivery = store, rules, delivery

    async def stats(self, queue: str) -> Stats:
        """Return the counts of `queue`: ready, leased, delayed and dead messages.

        Raises `LookupError` for a queue that never had a message, and has no consumer.
        """
        self._delivery.in_flight.flush()
        stats = await self.store.stats(queue)
        if stats is None:
            if not self._delivery.consumed(queue):
                raise LookupError(f"nobody has put anything into a queue {queue!r:.120}")
            stats = Stats()
        return stats

    async def used(self, queue: str) -> bool:
        """Return whether anything was ever put into `queue`."""
        return await self.store.stats(queue) is not None

    async def dead(self, queue: str, limit: int = 100) -> list[DeadMessage]:
        """Return the oldest dead letters of `queue`, at most `limit`."""
        return [
            DeadMessage(d.id, d.event, decode(d.body), d.attempts, d.reason, d.died, len(d.body))
            for d in await self.store.dead(queue, limit)
        ]

    async def redrive(self, queue: str, ids: Iterable[str] | None = None) -> int:
        """Put dead letters back into `queue`: all, or those with these ids. Returns how many.

        They keep their ids, and are delivered as `redelivered` if they were ever sent.
        """
        self._check_open()
        wanted = None if ids is None else tuple(ids)
        if self._delivery.observers.any:  # notified before one of them is delivered
            for dead in await self.store.dead(queue, self.rules.length):
                if wanted is None or dead.id in wanted:
                    message = observed(queue, dead.id, dead.event, dead.body)
                    self._delivery.observers.notify(Redriven(message))
        return await self.store.redrive(queue, wanted)

    async def discard(self, queue: str, ids: Iterable[str] | None = None) -> int:
        """Delete dead letters of `queue` for good: all, or those with these ids. Returns how many.

        Those that nobody discards go by themselves: `Rules.dead_memory`, `Rules.dead_length`.
        """
        self._check_open()
        return await self.store.discard(queue, ids)

    async def where(self, id: str) -> Fate:
        """Return where the message with this id is, or how it has ended: see `Fate`.

        Raises `LookupError` if there never was one here. That one has ended is known for good; how,
        of the last ones: `Store.where` says of how many.
        """
        self._check_open()
        self._delivery.in_flight.flush()
        fate = await self.store.where(id)
        if fate is None:
            raise LookupError(
                f"these queues have never had a message {id!r:.120}: an id is what `emit` "
                "returned, and `peek` shows"
            )
        return fate

    def consumers(self, queue: str) -> list[tuple[str, int]]:
        """Return who consumes `queue` at the servers of this program: names, as `subscribe` was
        given them, and how many messages are in flight to each."""
        return self._delivery.consumers(queue)

    async def names(self) -> list[str]:
        """Return the names of all queues, sorted.

        A queue with nothing in it is still known for `Rules.queue_memory`.
        """
        self._check_open()
        return await self.store.names()

    async def purge(self, queue: str) -> int:
        """Delete all messages that wait in `queue`, also those in flight. Returns how many.

        An answer to one in flight changes nothing any more. Consumers stay, as do dead letters
        (see `discard`), and keys: a message emitted again with one of them is still known. It goes
        on in slices, oldest first, while others use the queue; what is emitted meanwhile may be
        deleted, too.
        """
        self._check_open()
        self._delivery.in_flight.flush()
        purged = 0
        while slice := await self.store.purge(queue, _SLICE):
            purged += slice
        return purged

    async def delete(self, queue: str) -> int:
        """Delete `queue`, as if nothing had ever been put into it. Returns how many it had.

        With it go all messages, also those in flight (an answer to one changes nothing any more),
        dead letters, and keys. Its consumers stay subscribed: what is emitted from then on makes
        the queue anew, with ids that never were, and goes to them. In slices, like `purge`.
        """
        self._check_open()
        self._delivery.in_flight.flush()
        deleted = 0
        while (slice := await self.store.delete(queue, _SLICE)) is not None:
            deleted += slice
        return deleted

    def peek(self, queue: str, limit: int, after: str = "") -> Awaitable[list[Kept]]:
        """Return the oldest messages of `queue`, leased or not, put after the one with id `after`.

        Changes nothing. Delayed and expired ones are among them, dead letters are not, nor what was
        acknowledged; bodies are JSON. Raises `StoreError`.
        """
        self._delivery.in_flight.flush()
        return self.store.peek(queue, limit, after)

    def remove(self, queue: str, ids: Sequence[str]) -> Awaitable[list[bool]]:
        """Delete the messages of `queue` with these ids, leased or not; return which existed."""
        return self.store.remove(queue, ids)

    async def backup(self, path: str | Path) -> None:
        """Copy these queues into a new SQLite file `path`, while they are used.

        All that was confirmed before this call is in it, and more that comes while it is written;
        it gets its name once it is whole and synced. To restore it, open it in the place of the
        file; what was acknowledged since is delivered again.

        Raises `StoreError` if there is such a file, it cannot be written (then there is none), or
        these queues are in no SQLite file.
        """
        self._check_open()
        self._delivery.in_flight.flush()
        await self.store.backup(path)

    def _check_open(self) -> None:
        if self._delivery.closing:
            raise QueuesClosed("these queues are closed: open them again")
