"""When is nothing under way any more?

Owns the answer, as counts of what was begun and has not ended: a message on its way, a handler
that runs, a goodbye that only one side knows of. Must not know: sockets, clients, the journal.

Why counting is enough. Everything lives in one process, and each piece of work is begun before
the one that causes it ends: a message is counted before the `emit` that sends it returns, its
handler is counted before the message stops being on its way. So the sum cannot touch zero while
anything is still going to happen, and one look at it replaces any number of rounds of markers.
No polling, no sleeps: whoever waits is woken when the sum reaches zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

__all__ = ["Activity", "NotSettled", "Work", "wait_for"]

#: What is under way: its kind, who is at it, and the event if there is one.
Work = tuple[str, str, str]

_SENTENCES = {
    "packet": "{n} on the way to {who} or being handled there",
    "handler": "{who}: the handler of {event!r} has not returned",
    "queue": "{who}: messages are being claimed, sent or settled",
    "goodbye": "{who}: one side has hung up, the other does not know it yet",
}


class NotSettled(TimeoutError):
    """The deadline passed while something was still under way; the message says what."""


class Activity:
    """Counts what is under way; `quiet` waits until that is nothing."""

    def __init__(self) -> None:
        self.counts: dict[Work, int] = {}
        self.total = 0
        #: Asked, when the deadline has passed, for the handlers that have not returned.
        self.running: Callable[[], Iterable[tuple[str, str]]] = tuple
        self._waiting: list[asyncio.Future[None]] = []

    def begin(self, work: Work, n: int = 1) -> None:
        """Count `n` more of `work`."""
        counts = self.counts
        counts[work] = counts[work] + n if work in counts else n
        self.total += n

    def end(self, work: Work, n: int = 1) -> None:
        """Count `n` fewer of `work`; whoever waits for quiet is woken at zero."""
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
        """Say in one line what is under way."""
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
                while self.total:  # what a future wakes may have begun something new
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
    """Return when `condition()` is true; it is asked again whenever `listen` reports a change.

    Raises `NotSettled` naming `what` if that takes longer than `within` seconds.
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
