"""Notification of observers: facts of the queues go to any number of them.

Owns the observers, the count of work in progress, and which messages are in flight, for as long as
there is an observer; without one it keeps nothing. Must not know: what makes facts happen, what
they mean to an observer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from ..journal.facts import LEASE_ENDED, Queued, QueueFact, Returned, Settled, Tried
from .message import decode
from .store import Attempt

__all__ = ["Observer", "Observers"]

_log = logging.getLogger("chatq")


class Observer(Protocol):
    """An observer of queues: metrics, a stage, a log.

    Called on the event loop, in the order of the facts. What an observer raises is logged, and
    stops nothing.
    """

    def happened(self, fact: QueueFact) -> None:
        """Called with each fact about a message or a consumer."""

    def began(self) -> None:
        """Called when background work begins: claiming, sending, writing an acknowledgement."""

    def ended(self) -> None:
        """Called when a piece of background work has ended."""


class Observers:
    """Notifies any number of observers; costs next to nothing while there is none."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        #: Whether there is an observer: else facts need not be made.
        self.any = False
        self._working = 0
        #: Observed messages in flight, with the client's sid, by receipt.
        self._in_flight: dict[str, tuple[Queued, str]] = {}

    def add(self, observer: Observer, before: Iterable[QueueFact]) -> Callable[[], None]:
        """Notify `observer` from now on, of `before` first; return the function that ends this.

        Raises `RuntimeError` if it observes these queues already.
        """
        if any(observer is known for known in self._observers):
            raise RuntimeError("this observer watches these queues already")
        self._observers.append(observer)
        self.any = True
        for _ in range(self._working):
            _call(observer.began)
        for fact in before:
            _call(observer.happened, fact)

        def end() -> None:
            if observer in self._observers:
                self._observers.remove(observer)
                for _ in range(self._working):
                    _call(observer.ended)
            if not self._observers:
                self.any = False
                self._in_flight.clear()

        return end

    def began(self) -> None:
        """Notify that background work has begun."""
        self._working += 1
        for observer in self._observers:
            _call(observer.began)

    def ended(self) -> None:
        """Notify that a piece of background work has ended."""
        self._working -= 1
        for observer in self._observers:
            _call(observer.ended)

    def tell(self, fact: QueueFact) -> None:
        """Notify all observers of a fact."""
        for observer in tuple(self._observers):
            _call(observer.happened, fact)

    def sending(self, attempt: Attempt, sid: str) -> None:
        """Notify that this attempt is about to be sent to the client `sid`."""
        if self._observers:
            message = Queued(attempt.queue, attempt.id, attempt.event, decode(attempt.body))
            self._in_flight[attempt.receipt] = (message, sid)
            self.tell(Tried(message, sid, attempt.number))

    def acknowledged(self, receipts: list[str], current: list[bool]) -> None:
        """Notify that these receipts were acknowledged, as settled or (not `current`) too late."""
        if self._in_flight:
            for receipt, settled in zip(receipts, current, strict=True):
                if not settled:
                    self.returned(receipt, LEASE_ENDED)
                elif known := self._in_flight.pop(receipt, None):
                    self.tell(Settled(*known))

    def returned(self, receipt: str, reason: str) -> Queued | None:
        """Notify why the attempt with this receipt has ended; return its message, if known."""
        if (known := self._in_flight.pop(receipt, None)) is None:
            return None
        self.tell(Returned(*known, reason))
        return known[0]


def _call(callback: Callable[..., None], *fact: QueueFact) -> None:
    try:
        callback(*fact)
    except Exception:
        _log.exception("an observer of queues failed; the queues go on")
