"""The contract of a store of queues: its verbs, their values and errors.

Owns the interface between delivery and the engines that keep messages. Must not know: sockets,
consumers, when a message is dead.

The contract, which the same test checks for every engine
- `put` returns when the messages are on stable storage; if it raises, nothing was stored.
- `claim` leases messages: no other claim gets them until the lease ends. It numbers the attempt, on
  stable storage, before it returns the message; so a redelivery is marked as one after any crash.
- A receipt is random, belongs to one attempt, and settles it once: `ack` deletes the message,
  `release` returns it to its queue, `bury` makes it a dead letter; `extend` renews its lease. A
  receipt of an attempt that is not the current one changes nothing.
- An attempt has failed, and counts against the limit, when its lease has ended, or when it is
  released as `counted`; not when the store is closed or its process dies meanwhile.
- A message whose lease has ended is suspect until somebody answers it: it is claimed alone, for a
  consumer that has nothing else, so that what ends its consumers takes no other message with it.
- Order: released messages that are due come first, then the rest in the order of `put`. With
  `in_order` nothing overtakes: the oldest message comes first, or nothing while that is delayed or
  leased.
- What nobody reads ends by `Limits`, as time passes: a message whose `expires` is over, and which
  is not leased, is a dead letter, whether or not anybody consumes its queue; it takes no room in it
  for a `put` either. Dead letters, keys, and queues with nothing in them are dropped in their time.
- Nothing else but `ack`, `remove`, `purge`, `delete` and `discard` ever deletes a message.
- Verbs take effect in the order in which they are called, awaited or not; a closed store raises.
- An answer takes a turn of the event loop at least, so that whoever asks in a loop lets others run.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Attempt",
    "Claimed",
    "Dead",
    "Fate",
    "Kept",
    "Limits",
    "NewMessage",
    "QueueFull",
    "Stats",
    "Step",
    "Store",
    "StoreError",
    "full",
]

#: An encoded message body: JSON as text, or bytes if there are bytes in it.
Body = str | bytes


class QueuesClosed(RuntimeError):
    """The queues were closed, and do nothing any more."""


class StoreError(OSError):
    """The store cannot be opened, or could not execute a verb: nothing was changed."""


class QueueFull(RuntimeError):
    """A queue has reached its length limit: nothing was stored."""


def full(queue: str, length: int) -> QueueFull:
    """Return the error for a queue that would become longer than `length`."""
    return QueueFull(
        f"queue {queue!r} may hold {length} messages and takes no more; nothing was stored"
    )


class Limits(NamedTuple):
    """The limits of what a store keeps; times in seconds: see `Rules`."""

    length: int = 1_000_000
    key_memory: float = 24 * 3600.0
    keys: int = 1_000_000
    dead_length: int = 10_000
    dead_memory: float = 14 * 24 * 3600.0
    queue_memory: float = 7 * 24 * 3600.0

    @property
    def empty_memory(self) -> float:
        """For how long a queue with nothing in it is known: no shorter than its keys."""
        return max(self.queue_memory, self.key_memory)


class NewMessage(NamedTuple):
    """A message to be put: once into each of `queues`; `expires` in seconds since the epoch, and
    `due`, the time before which it is not claimed (None: at once)."""

    event: str
    body: Body
    queues: tuple[str, ...]
    key: str | None = None
    expires: float | None = None
    due: float | None = None


class Attempt(NamedTuple):
    """A delivery attempt of a leased message: the attempt `number`; of those before it, `failures`
    count against the limit; `expires` in seconds since the epoch; `suspect`: the lease of one has
    ended, and nobody has answered since; `redriven`: the number of its last attempt before it was
    redriven (0: it was not)."""

    id: str
    queue: str
    event: str
    body: Body
    number: int
    failures: int
    expires: float | None
    receipt: str
    suspect: bool = False
    redriven: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The result of a claim; `due`: the earliest time at which a lease or a delay of this queue
    ends, in seconds since the epoch; `suspect`: this is all for now, since a suspect message is
    here, or is next."""

    attempts: list[Attempt]
    due: float | None = None
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A message in its queue, leased or not."""

    id: str
    event: str
    body: Body


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter: a message not delivered any more; `died` in seconds since the epoch."""

    id: str
    event: str
    body: Body
    attempts: int
    reason: str
    died: float


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of a queue: messages that may be claimed now, are leased, delayed, or dead.

    `oldest` is the age in seconds of the oldest that is not dead; None if there is none.
    """

    ready: int = 0
    leased: int = 0
    delayed: int = 0
    dead: int = 0
    oldest: float | None = None


class Step(NamedTuple):
    """A step on the way of a message: `at` in seconds since the epoch, `what` as in `trail`,
    in which queue; `detail`: to whom it was sent, or why it is dead."""

    at: float
    what: str
    queue: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a message is, or how it has ended.

    `state`: "ready", "leased", "delayed" or "dead" of one that is there; of one that has ended,
    what ended it: "acknowledged", "removed", "purged", "queue deleted", "discarded", "dropped" (a
    dead letter that was too old, or one too many); "forgotten", if that is not known any more.
    `queue`: None if that is not known either; `attempts` and what follows: of one that is there;
    `failures`: since it was redriven, if it was; `redriven`: how many of the attempts were before
    that (of a dead letter perhaps None); `until`: when its lease or its delay ends; times in
    seconds since the epoch. `steps`: its way since its first attempt, as far as it is still known.
    """

    id: str
    state: str
    queue: str | None
    event: str | None = None
    attempts: int | None = None
    failures: int | None = None
    put: float | None = None
    until: float | None = None
    expires: float | None = None
    reason: str = ""
    steps: tuple[Step, ...] = ()
    redriven: int | None = None


class Store(ABC):
    """Keeps the messages of all queues; all times are in seconds.

    An engine implements `ask` and `close`; the verbs are the same for all. All verbs may raise
    `StoreError`.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[str], None]] = []
        self._mourners: list[Callable[[str, str, str], None]] = []

    @abstractmethod
    def ask(self, verb: str, *arguments: Any) -> asyncio.Future[Any]:
        """Execute a verb, after all verbs asked before; the future gets its result.

        Raises `StoreError` if the store is closed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish all pending verbs, then release all resources. Closing twice is harmless."""

    def put(self, messages: Sequence[NewMessage]) -> asyncio.Future[list[list[str]]]:
        """Store all messages or none; return the ids of each, one for each of its queues.

        If a queue remembers the `key` of a message, nothing is stored there, and the id is that of
        the first. Raises `QueueFull` and `StoreError`.
        """
        return self.ask("put", messages)

    def put_one(self, event: str, body: Body, queue: str) -> asyncio.Future[str]:
        """Store a message that has neither a key nor times; return its id. Raises as `put`."""
        return self.ask("put_one", event, body, queue)

    def claim(
        self,
        queue: str,
        limit: int,
        lease: float,
        *,
        in_order: bool,
        alone: bool = True,
        to: str = "",
    ) -> asyncio.Future[Claimed]:
        """Lease at most `limit` messages of `queue` for `lease` seconds.

        `alone`: the consumer has no other message, so the next may be a suspect one; `to`: its
        name, for `where`.
        """
        return self.ask("claim", queue, limit, lease, in_order, alone, to)

    def extend(self, receipts: Iterable[str], lease: float) -> asyncio.Future[list[bool]]:
        """Let the leases with these receipts end in `lease` seconds; return which were current."""
        return self.ask("extend", [*receipts], lease)

    def ack(self, receipts: Iterable[str]) -> asyncio.Future[list[bool]]:
        """Delete the messages with these receipts; return for each whether it was current."""
        return self.ask("ack", [*receipts])

    def release(
        self, receipt: str, delay: float = 0.0, *, counted: bool = True, sent: bool = True
    ) -> asyncio.Future[bool]:
        """Put a message back into its queue, to be claimed after `delay` seconds.

        `counted=False`: nobody has tried to handle it, so this is no failure. `sent=False`: it was
        never sent either, so this was no attempt at all. Returns whether the receipt was current.
        """
        return self.ask("release", receipt, delay, counted and sent, sent)

    def bury(self, receipt: str, reason: str, *, sent: bool = True) -> asyncio.Future[bool]:
        """Make a message a dead letter of its queue; `sent` and result as for `release`."""
        return self.ask("bury", receipt, reason, sent)

    def peek(self, queue: str, limit: int, after: str = "") -> asyncio.Future[list[Kept]]:
        """Return the oldest messages of `queue`, leased or not, put after the one with id `after`.

        Changes nothing. Delayed and expired ones are among them, dead letters are not.
        """
        return self.ask("peek", queue, limit, after)

    def remove(self, queue: str, ids: Sequence[str]) -> asyncio.Future[list[bool]]:
        """Delete the messages of `queue` with these ids, leased or not; return which existed.

        A receipt of such a message settles nothing any more. Dead letters stay.
        """
        return self.ask("remove", queue, [*ids])

    def dead(self, queue: str, limit: int = 100) -> asyncio.Future[list[Dead]]:
        """Return the oldest dead letters of `queue`, at most `limit`."""
        return self.ask("dead", queue, limit)

    def redrive(self, queue: str, ids: Iterable[str] | None = None) -> asyncio.Future[int]:
        """Put dead letters (all, or those with these ids) back into their queue; return how many.

        They keep their ids and the numbers of their attempts, but have no failures any more, and do
        not expire again.
        """
        return self.ask("redrive", queue, None if ids is None else [*ids])

    def are_dead(self, queue: str, ids: Iterable[str]) -> asyncio.Future[list[bool]]:
        """Return of each of these ids whether it is that of a dead letter of `queue`."""
        return self.ask("are_dead", queue, [*ids])

    def where(self, id: str) -> asyncio.Future[Fate | None]:
        """Return where the message with this id is, or how it has ended.

        None: there never was one here. How messages have ended is known of the last ones, about
        100,000 steps of them in a file, 20,000 in memory; on NATS of those in the log since the
        snapshot with which this server has begun.
        """
        return self.ask("where", id)

    def stats(self, queue: str) -> asyncio.Future[Stats | None]:
        """Return the counts of `queue`; None if nothing was ever put into it."""
        return self.ask("stats", queue)

    def names(self) -> asyncio.Future[list[str]]:
        """Return the names of all queues that are known, sorted."""
        return self.ask("names")

    def purge(self, queue: str, limit: int) -> asyncio.Future[int]:
        """Delete the oldest messages of `queue`, leased or not, at most `limit`; return how many.

        A receipt of such a message settles nothing any more. Dead letters and keys stay.
        """
        return self.ask("purge", queue, limit)

    def discard(self, queue: str, ids: Iterable[str] | None = None) -> asyncio.Future[int]:
        """Delete dead letters of `queue` (all, or those with these ids); return how many."""
        return self.ask("discard", queue, None if ids is None else [*ids])

    def delete(self, queue: str, limit: int) -> asyncio.Future[int | None]:
        """Delete at most `limit` messages and dead letters of `queue`; return how many.

        Once nothing is left, forget the queue with its keys, and return None. So call this until it
        does.
        """
        return self.ask("delete", queue, limit)

    async def backup(self, path: str | Path) -> None:
        """Copy all there is into a new file `path`: at least what was confirmed before this call.

        Raises `StoreError` if it cannot be written, or this store is no file.
        """
        raise StoreError(
            "only queues in a SQLite file have a backup: a memory: store ends with its process, a "
            "stream of NATS is backed up with `nats stream backup`"
        )

    def tick(self) -> None:
        """Look at the clock now, instead of when a timer is due: end what is over by it."""
        self.ask("sweep").add_done_callback(_retrieved)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the name of a queue in which there may be more to claim than before.

        That is after `put` (unless all of it has been claimed together with it), `release` and
        `redrive`; after `ack`, `bury` and `remove` only in a queue that is claimed in order, where
        the next message is free then. Not when a lease or a delay ends, but where another server
        has the lease: `Claimed.due` says when to claim again.
        """
        self._listeners.append(listener)

    def mourn(self, mourner: Callable[[str, str, str], None]) -> None:
        """Call `mourner` with the queue, id and event of each message that has expired unclaimed.

        (One whose time was over when it was claimed is buried by whoever has claimed it.)
        """
        self._mourners.append(mourner)

    def notify(self, queue: str) -> None:
        """Call the listeners with this queue; for the engine."""
        for listener in self._listeners:
            listener(queue)

    def notify_expired(self, expired: Iterable[tuple[str, str, str]]) -> None:
        """Call the mourners with the queue, id and event of these messages; for the engine."""
        for message in expired:
            for mourner in self._mourners:
                mourner(*message)


def _retrieved(future: asyncio.Future[Any]) -> None:
    """Mark an exception as retrieved: what could not be swept now is swept later."""
    if not future.cancelled():
        future.exception()
