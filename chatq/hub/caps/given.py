"""What each client of the lab's hub was given: for receipts that name nothing, and for what is to
blame if a client is cut off.

Owns these lists. Pure but for the time it is told. Must not know: sockets, events, receipts.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .shelf import Copy, Shelf

__all__ = ["Given", "Live"]

#: The most messages that are remembered, live and from queues.
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int
    at: float
    shelf: Shelf
    id: str
    sender: str


class Live:
    """The latest messages that went to all clients, in one list for all of them."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self._sent: deque[_Sent] = deque(maxlen=_MOST)

    def add(self, at: float, shelf: Shelf, id: str, sender: str) -> None:
        """Add the message `id`, sent now; `sender`: the client that does not get it, or ""."""
        self._sent.append(_Sent(next(self.numbers), at, shelf, id, sender))

    def since(self, number: int, sid: str) -> Iterator[tuple[float, Shelf, str]]:
        """Yield what the client `sid` was sent, that came before the message with this number."""
        for sent in self._sent:
            if sent.number >= number and sent.sender != sid:
                yield sent.at, sent.shelf, sent.id


@dataclass(slots=True)
class Given:
    """What one client was given, live or from a queue, the oldest first."""

    live: Live
    sid: str
    since: int = field(init=False)
    from_queue: dict[str, tuple[float, Shelf]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.since = next(self.live.numbers)

    def add(self, at: float, shelf: Shelf, id: str) -> None:
        """Add a message that was handed on from a queue."""
        self.from_queue.pop(id, None)
        self.from_queue[id] = (at, shelf)
        if len(self.from_queue) > _MOST:
            del self.from_queue[next(iter(self.from_queue))]

    def waiting(
        self, shelf: Shelf, wanted: Callable[[Copy], bool] | None, after: float = 0.0
    ) -> list[str]:
        """Return the messages on `shelf` that it was given after that time and that are `wanted`
        still (None: all that are there), the oldest of the queue first."""
        given = [(at, of, id) for id, (at, of) in self.from_queue.items()]
        given += self.live.since(self.since, self.sid)
        found = {
            id: shelf.copies[id].number
            for at, of, id in given
            if of is shelf and at >= after and id in shelf.copies
        }
        right = [id for id in found if not wanted or wanted(shelf.copies[id])]
        return sorted(right, key=found.__getitem__)
