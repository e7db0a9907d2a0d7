"""What a store of queues has to do, and the values that go in and out of it.

Owns the seam between the rules (`policy`, `queues`) and the engines that keep messages: a protocol
of few verbs, its values and its errors. Must not know: sockets, consumers, when a message is dead.

The contract, which every engine's test checks
- `put` returns when the messages are on stable storage; if it raises, nothing was stored.
- `claim` leases messages: each is out of everybody's reach until its lease ends. It counts an
  attempt, on stable storage, before anybody sees the message; so whoever gets it a second time,
  after whatever crash, is told so.
- A receipt is random, belongs to one attempt, and settles it once: `ack` deletes the message,
  `release` gives it back, `bury` puts it among the dead. A receipt of an attempt that is not the
  current one changes nothing.
- Order: those given back and due come first, then the rest in the order of `put`. With `in_order`
  nothing overtakes: the oldest message comes first, or nothing while it waits or is leased.
- Nothing else ever deletes a message.
- Verbs take effect in the order in which they are called, awaited or not; a closed store does
  nothing more, and says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = [
    "Attempt",
    "Claimed",
    "Dead",
    "Kept",
    "NewMessage",
    "QueueFull",
    "Stats",
    "Store",
    "StoreError",
    "full",
]

#: A message's body as it is kept: JSON as text, or bytes if there are bytes in it.
Body = str | bytes


class StoreError(OSError):
    """The store cannot be opened, or could not do what was asked: nothing was changed by that."""


class QueueFull(RuntimeError):
    """A queue has reached its length limit: nothing was stored."""


def full(queue: str, length: int) -> QueueFull:
    """Return the error for a queue that would become longer than `length`."""
    return QueueFull(
        f"queue {queue!r} may hold {length} messages and takes no more; nothing was stored"
    )


class NewMessage(NamedTuple):
    """A message to be put: once into each of `queues`; `expires` in seconds since the epoch."""

    event: str
    body: Body
    queues: tuple[str, ...]
    key: str | None = None
    expires: float | None = None


class Attempt(NamedTuple):
    """One leased message: its `number`th attempt, of which the first `spent` no longer count."""

    id: str
    queue: str
    event: str
    body: Body
    number: int
    spent: int
    expires: float | None
    receipt: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was leased; `due`: when, in seconds since the epoch, time alone may bring more."""

    attempts: list[Attempt]
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it lies in its queue, claimed or not."""

    id: str
    event: str
    body: Body


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that is not delivered any more, and why; `died` in seconds since the epoch."""

    id: str
    event: str
    body: Body
    attempts: int
    reason: str
    died: float


@dataclass(frozen=True, slots=True)
class Stats:
    """How many messages of a queue may be claimed now, are leased, wait for a time, or are dead.

    `oldest` is the age in seconds of the oldest that is not dead; None if there is none.
    """

    ready: int = 0
    leased: int = 0
    delayed: int = 0
    dead: int = 0
    oldest: float | None = None


class Store(Protocol):
    """Keeps the messages of all queues. All times are in seconds."""

    def put(self, messages: Sequence[NewMessage]) -> Awaitable[list[list[str]]]:
        """Store all messages or none; return the id of each in each of its queues.

        A `key` that a queue has seen before stores nothing there, and gives the id of that time.
        Raises `QueueFull` and `StoreError`.
        """
        ...

    def claim(self, queue: str, limit: int, lease: float, *, in_order: bool) -> Awaitable[Claimed]:
        """Lease at most `limit` messages of `queue` for `lease` seconds."""
        ...

    def ack(self, receipts: Iterable[str]) -> Awaitable[list[bool]]:
        """Delete the messages with these receipts; tell for each whether it was a current one."""
        ...

    def release(self, receipt: str, delay: float = 0.0, *, counted: bool = True) -> Awaitable[bool]:
        """Give a message back, to be claimed after `delay` seconds.

        `counted=False`: it was never sent, so this was no attempt.
        """
        ...

    def bury(self, receipt: str, reason: str, *, counted: bool = True) -> Awaitable[bool]:
        """Put a message among the dead of its queue; `counted` as for `release`."""
        ...

    def peek(self, queue: str, limit: int, after: str = "") -> Awaitable[list[Kept]]:
        """Return the oldest messages of `queue`, claimed or not, put after the one with that id.

        Changes nothing: for consumers that keep no receipts. The dead are not among them.
        """
        ...

    def remove(self, queue: str, ids: Sequence[str]) -> Awaitable[list[bool]]:
        """Delete the messages of `queue` with these ids, claimed or not; tell which were there.

        A receipt of such a message settles nothing any more. The dead stay.
        """
        ...

    def dead(self, queue: str, limit: int = 100) -> Awaitable[list[Dead]]:
        """Return the oldest dead messages of `queue`."""
        ...

    def redrive(self, queue: str, ids: Iterable[str] | None = None) -> Awaitable[int]:
        """Give dead messages (all, or those with these ids) back to their queue; return how many.

        They keep their ids and the count of their attempts, but the attempts do not weigh any more,
        and they do not expire again.
        """
        ...

    def stats(self, queue: str) -> Awaitable[Stats | None]:
        """Count; None for a queue that nothing was ever put into."""
        ...

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the name of a queue that may have something to claim now."""
        ...

    def close(self) -> Awaitable[None]:
        """Finish what was asked, then let go. Closing twice is harmless."""
        ...
