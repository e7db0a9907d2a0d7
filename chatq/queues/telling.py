"""What whoever watches is told of queues.

Owns who watches, how much is at work, and whose the messages are that are out. Must not know: what
the facts mean, what makes them happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .facts import Lapsed, Observer, QueueFact, Sent, Settled
from .message import decode
from .store import Attempt

__all__ = ["Telling"]


class Telling:
    """Tells one observer at a time; costs next to nothing while there is none."""

    def __init__(self) -> None:
        self._observer: Observer | None = None
        self._working = 0
        self._out: dict[str, tuple[str, str, str]] = {}  # queue, id and sid by receipt

    def watch(self, observer: Observer, before: Iterable[QueueFact]) -> Callable[[], None]:
        """Tell `observer` from now on, of `before` first; returns the function that ends this."""
        if self._observer is not None:
            raise RuntimeError("somebody watches these queues already")
        self._observer = observer
        for _ in range(self._working):
            observer.began()
        for fact in before:
            observer.happened(fact)

        def end() -> None:
            self._observer = None
            self._out.clear()
            for _ in range(self._working):
                observer.ended()

        return end

    @property
    def watched(self) -> bool:
        """Whether there is anybody to be told."""
        return self._observer is not None

    def began(self) -> None:
        """Work began that goes on by itself."""
        self._working += 1
        if self._observer is not None:
            self._observer.began()

    def ended(self) -> None:
        """A piece of such work has ended."""
        self._working -= 1
        if self._observer is not None:
            self._observer.ended()

    def tell(self, fact: QueueFact) -> None:
        """Tell a fact."""
        if self._observer is not None:
            self._observer.happened(fact)

    def sent(self, attempt: Attempt, sid: str) -> None:
        """Tell that this attempt is about to be sent to the client `sid`."""
        if self._observer is not None:
            queue, id, number = attempt.queue, attempt.id, attempt.number
            self._out[attempt.receipt] = (queue, id, sid)
            data = decode(attempt.body)
            self.tell(Sent(queue, id, attempt.event, data, number, sid))

    def acknowledged(self, receipts: list[str], current: list[bool]) -> None:
        """Tell what became of the attempts with these receipts: settled, or too late."""
        if self._out:
            for receipt, settled in zip(receipts, current, strict=True):
                self.over(receipt, Settled if settled else Lapsed)

    def over(
        self, receipt: str, kind: Callable[..., QueueFact], *more: Any
    ) -> tuple[str, str, str] | None:
        """Tell what ended the attempt with this receipt; return its queue, id and client."""
        if self._observer is None or (known := self._out.pop(receipt, None)) is None:
            return None
        self._observer.happened(kind(*known, *more))
        return known
