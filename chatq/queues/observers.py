"""Notification of observers: facts of the queues go to any number of them.

Owns the observers, the count of work in progress, and which messages are in flight, for as long as
there is an observer; without one it keeps nothing. Must not know: what makes facts happen, what
they mean to an observer.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ..journal.facts import LEASE_ENDED, Queued, QueueFact, Returned, Settled, Tried
from .message import decode
from .store import Attempt, Body

__all__ = ["Observer", "Observers", "observed"]

_log = logging.getLogger("chatq")


class Observer(Protocol):
    """An observer of queues: metrics, a stage, a log; for `Queues.watch`.

        class Deliveries(chatq.Observer):
            def happened(self, fact: chatq.QueueFact) -> None:
                match fact:
                    case chatq.Settled(chatq.Queued(queue)):
                        settled.labels(queue).inc()

    Derive from it and define what you need, or define all three. They are called on the event loop,
    in the order of the facts, and have to return at once; they may use the queues by starting
    tasks, watch, and end any observation. What they raise is logged, and stops nothing, a
    cancellation included; only `KeyboardInterrupt` and `SystemExit` end the program, as always.
    """

    # `return`, since type checkers take a method of nothing but words for an abstract one.

    def happened(self, fact: QueueFact) -> None:
        """Called with each fact about a message or a consumer."""
        return

    def began(self) -> None:
        """Called when background work begins: claiming, sending, writing an acknowledgement."""
        return

    def ended(self) -> None:
        """Called when a piece of background work has ended."""
        return


def observed(queue: str, id: str, event: str, body: Body) -> Queued:
    """Return a message as observers get it; without its data if that cannot be read."""
    try:
        return Queued(queue, id, event, decode(body))
    except (ValueError, LookupError, RecursionError):
        return Queued(queue, id, event)


@dataclass(eq=False, slots=True)
class _Watch:
    """One observer, until it is `over`; `working`: the count of work under way that it knows."""

    observer: Observer
    working: int = 0
    over: bool = False


class Observers:
    """Notifies any number of observers; costs next to nothing while there is none."""

    any: bool

    def __init__(self) -> None:
        self._watches: list[_Watch] = []
        #: Whether there is an observer: else facts need not be made.
        self.any = False
        self._working = 0
        self._facts: deque[QueueFact] = deque()
        self._telling = False
        #: Observed messages in flight, with the client's sid, by receipt.
        self._in_flight: dict[str, tuple[Queued, str]] = {}

    def add(self, observer: Observer, before: Iterable[QueueFact]) -> Callable[[], None]:
        """Notify `observer` from now on, of `before` first; return the function that ends this.

        Raises `TypeError` for what is no observer, `RuntimeError` if it observes these queues
        already.
        """
        _check(observer)
        if any(observer is watch.observer for watch in self._watches):
            raise RuntimeError("this observer watches these queues already")
        watch = _Watch(observer)
        self._watches.append(watch)
        self.any = True
        for _ in range(self._working):
            _began(watch)
        for fact in before:
            if not watch.over:
                _call(observer.happened, fact)

        def end() -> None:
            if watch.over:
                return
            watch.over = True
            self._watches.remove(watch)
            for _ in range(watch.working):
                _call(observer.ended)
            if not self._watches:
                self.any = False
                self._in_flight.clear()

        return end

    # Whoever is notified may end an observation, its own too, or begin one.

    def began(self) -> None:
        """Notify that background work has begun."""
        self._working += 1
        for watch in tuple(self._watches):
            _began(watch)

    def ended(self) -> None:
        """Notify that a piece of background work has ended."""
        self._working -= 1
        for watch in tuple(self._watches):
            if watch.working and not watch.over:
                watch.working -= 1
                _call(watch.observer.ended)

    def notify(self, fact: QueueFact) -> None:
        """Notify all observers of a fact; all of them of one, before any of the next."""
        self._facts.append(fact)
        if self._telling:  # an observer has caused this one
            return
        self._telling = True
        try:
            while self._facts:
                fact = self._facts.popleft()
                for watch in tuple(self._watches):
                    if not watch.over:
                        _call(watch.observer.happened, fact)
        finally:
            self._telling = False

    def sending(self, attempts: list[Attempt], sid: str) -> None:
        """Notify that these attempts are about to be sent to the client `sid`."""
        for attempt in attempts if self._watches else ():
            message = observed(attempt.queue, attempt.id, attempt.event, attempt.body)
            self._in_flight[attempt.receipt] = (message, sid)
            self.notify(Tried(message, sid, attempt.number))

    def acknowledged(self, receipts: list[str], current: list[bool]) -> None:
        """Notify that these receipts were acknowledged, as settled or (not `current`) too late."""
        if self._in_flight:
            for receipt, settled in zip(receipts, current, strict=True):
                if not settled:
                    self.returned(receipt, LEASE_ENDED)
                elif known := self._in_flight.pop(receipt, None):
                    self.notify(Settled(*known))

    def returned(self, receipt: str, reason: str) -> Queued | None:
        """Notify why the attempt with this receipt has ended; return its message, if known."""
        if (known := self._in_flight.pop(receipt, None)) is None:
            return None
        self.notify(Returned(*known, reason))
        return known[0]


def _check(observer: object) -> None:
    """Raise `TypeError` for what is no observer."""
    for name in ("happened", "began", "ended"):
        method = getattr(observer, name, None)
        if not callable(method):
            raise TypeError(
                f"an observer has a method {name!r}, and {observer!r:.60} has none: derive it from "
                "chatq.Observer"
            )
        if inspect.iscoroutinefunction(method):
            raise TypeError(
                f"{name!r} of an observer is called, and not awaited: make it a plain function, "
                "which begins a task if it has to wait"
            )


def _began(watch: _Watch) -> None:
    if not watch.over:
        watch.working += 1
        _call(watch.observer.began)


def _call(callback: Callable[..., Any], *fact: QueueFact) -> None:
    try:
        result = callback(*fact)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError("an observer is called, and not awaited: what it returned never runs")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # also a CancelledError: nobody has cancelled the caller
        _log.exception("an observer of queues failed; the queues go on")
