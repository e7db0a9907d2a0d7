"""What happens to the messages of queues, as facts for whoever watches.

Owns the facts and the seam over which they are told. Must not know: who tells, who listens.

Facts carry the queues' own ids; whoever draws them gives them names. Nothing of this is made when
nobody watches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "Died",
    "Lapsed",
    "Observer",
    "QueueFact",
    "Redriven",
    "Returned",
    "Sent",
    "Settled",
    "Stored",
    "Subscribed",
    "Unsubscribed",
]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The client `sid` consumes `queue` from now on."""

    queue: str
    sid: str


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The client `sid` was told to consume `queue` no more; who has left is not told of."""

    queue: str
    sid: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A message is on stable storage; if its id was told before, its key was seen before."""

    queue: str
    id: str
    event: str
    data: Any


@dataclass(frozen=True, slots=True)
class Sent:
    """The `attempt`th attempt is about to be sent to the client `sid`."""

    queue: str
    id: str
    event: str
    data: Any
    attempt: int
    sid: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The client answered with the receipt: the message is dealt with, and deleted."""

    queue: str
    id: str
    sid: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The client refused the message: it is tried again after `delay` seconds; None: never."""

    queue: str
    id: str
    sid: str
    reason: str
    delay: float | None


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The lease ended without an answer: others may get the message."""

    queue: str
    id: str
    sid: str


@dataclass(frozen=True, slots=True)
class Died:
    """The message is not delivered any more."""

    queue: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """Dead messages were given back to their queue: those with these ids, or all (None)."""

    queue: str
    ids: tuple[str, ...] | None


QueueFact = (
    Subscribed | Unsubscribed | Stored | Sent | Settled | Returned | Lapsed | Died | Redriven
)


class Observer(Protocol):
    """Who watches queues."""

    def happened(self, fact: QueueFact) -> None:
        """Something has happened to a message."""

    def began(self) -> None:
        """Work began that goes on by itself: claiming, sending, writing down an answer."""

    def ended(self) -> None:
        """A piece of that work has ended."""
