"""Quiescence: counts of the work under way, and waiting until there is none.

Owns those counts: packets on the way, handlers that run, connections that only one side has closed.
Must not know: sockets, clients, the journal.

Counting is enough, since all runs in one process, and each piece of work begins before the one that
causes it ends: a message is counted before the `emit` that sends it returns, its handler is counted
before the message stops being on the way. So the sum cannot reach zero while anything is still
going to happen. No polling, no sleeps: waiters are woken when the sum reaches zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

__all__ = ["Activity", "NotSettled", "Work", "wait_for"]

#: A kind of work under way: its kind, the name of who does it, and the event or "".
Work = tuple[str, str, str]

_SENTENCES = {
    "packet": "{n} on the way to {who} or being handled there",
    "handler": "{who}: the handler of {event!r} has not returned",
    "queue": "{who}: messages are being claimed, sent or settled",
    "goodbye": "{who}: one side has hung up, the other does not know it yet",
}


class NotSettled(TimeoutError):
    """The deadline passed while work was still under way; the message says which."""


class Activity:
    """Counts of the work under way; `quiet` waits until there is none."""

    total: int

    def __init__(self) -> None:
        self.counts: dict[Work, int] = {}
        self.total = 0
        #: Called, when a deadline has passed, for the handlers that have not returned.
        self.running: Callable[[], Iterable[tuple[str, str]]] = tuple
        self._waiting: list[asyncio.Future[None]] = []

    def begin(self, work: Work, n: int = 1) -> None:
        """Count `n` more of `work`."""
        counts = self.counts
        counts[work] = counts[work] + n if work in counts else n
        self.total += n

    def end(self, work: Work, n: int = 1) -> None:
        """Count `n` fewer of `work`; wake the waiters of `quiet` at zero."""
        counts = self.counts
        left = counts.get(work, 0) - n
        if left:
            counts[work] = left
        else:
            counts.pop(work, None)
        self.total -= n
        if not self.total and self._waiting:
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting.clear()

    def describe(self) -> str:
        """Return one line about the work under way."""
        handlers = sorted(set(self.running()))
        lines = [_SENTENCES["handler"].format(who=who, event=event) for who, event in handlers]
        lines += [
            _SENTENCES[kind].format(who=who, event=event, n=_packets(n))
            for (kind, who, event), n in sorted(self.counts.items())
        ]
        return "; ".join(lines) or "nothing"

    async def quiet(self, within: float) -> None:
        """Return when nothing is under way.

        `within`: the deadline in seconds. Raises `NotSettled`, which says what still was.
        """
        try:
            async with asyncio.timeout(within):
                while self.total:  # an earlier waiter may have begun something new
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.append(future)
                    await future
        except TimeoutError:
            raise NotSettled(f"not settled after {within:g} s: {self.describe()}") from None


async def wait_for(
    condition: Callable[[], object],
    listen: Callable[[Callable[[], None]], Callable[[], None]],
    what: str,
    within: float,
) -> None:
    """Return when `condition()` is true.

    `listen(call-back)` registers a call-back for changes, after which the condition is checked
    again, and returns the function that unregisters it. Raises `NotSettled` naming `what` if that
    takes longer than `within` seconds.
    """
    if condition():
        return
    changed = asyncio.Event()
    stop = listen(changed.set)
    try:
        async with asyncio.timeout(within):
            while not condition():
                changed.clear()
                await changed.wait()
    except TimeoutError:
        raise NotSettled(f"waited {within:g} s in vain for {what}") from None
    finally:
        stop()


def _packets(n: int) -> str:
    return "1 packet is" if n == 1 else f"{n} packets are"
