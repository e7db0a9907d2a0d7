"""Quiescence: counts of the work under way, and waiting until there is none.

Owns those counts: packets on the way, handlers that run, connections that only one side has closed.
Must not know: sockets, clients, the journal, how tasks are told apart.

All runs in one process, and each piece of work that is counted begins before the one that causes it
ends: a message is counted before the `emit` that sends it returns, its handler is counted before
the message stops being on the way. So waiters are woken when the sum reaches zero. What a handler
leaves to a task of its own is not counted: then the tasks must have nothing left to do, either, and
some turns of the event loop must pass in which nothing begins.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..waiting import give_way, set_within

__all__ = ["Activity", "Background", "NotSettled", "Work", "wait_for"]

#: For pytest: what is raised here is about the line of the test that asks.
__tracebackhide__ = True
#: How many turns of the event loop have to be quiet. In one, what is on its way between two sockets
#: of this machine arrives (in memory, too: `internals.memory_socket`); in the next, the task that
#: reads it is about to run.
_TURNS = 3
#: How often to look at a condition that nothing has to do with what is observed, in seconds.
_LOOK = 0.05

#: A kind of work under way: its kind, the name of who does it, and the event or "".
Work = tuple[str, str, str]

_SENTENCES = {
    "packet": "{n} on the way to {who} or being handled there",
    "handler": "{who}: the handler of {event!r} has not returned",
    "queue": "{who}: messages are being claimed, sent or settled",
    "emit": "{who}: an emit has not returned",
    "connecting": "{who} is connecting",
    "goodbye": "{who}: one side has hung up, the other does not know it yet",
}


class NotSettled(TimeoutError):
    """Work is still under way, when a deadline has passed, or a question cannot be answered for it;
    the message says which."""

    __module__ = "chatq"


class Background(Protocol):
    """The tasks begun by those whose work is counted."""

    def looking(self) -> AbstractContextManager[object]:
        """Look, from here on, at what they do in `turns`."""

    async def turns(self, wanted: int, interrupted: Callable[[], object]) -> list[Any]:
        """Return after so many turns of the event loop, or more, in each of which all of them come
        to wait; or after the first in which one has gone on, or `interrupted`: those that have."""

    def busy(self) -> list[Any]:
        """Return those that have something to do."""

    def told(self, tasks: Iterable[Any]) -> list[str]:
        """Return a line for each of these tasks."""


class Activity:
    """Counts of the work under way; `quiet` waits until there is none."""

    total: int

    def __init__(self) -> None:
        self.counts: dict[Work, int] = {}
        self.total = 0
        #: Called, when a deadline has passed, for the handlers that have not returned.
        self.running: Callable[[], Iterable[tuple[str, str]]] = tuple
        self.background: Background | None = None
        self._restless: list[Any] = []  # the tasks that have gone on in the last turn
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
        if not lines and self.background is not None:
            told = self.background.told({*self.background.busy(), *self._restless})
            lines = [f"a background task: {line}" for line in told]
        return "; ".join(lines) or "nothing"

    async def quiet(self, within: float) -> None:
        """Return when nothing is under way.

        `within`: the deadline in seconds. Raises `NotSettled`, which says what still was.
        """
        looking = self.background.looking() if self.background else contextlib.nullcontext()
        try:
            with looking:
                async with asyncio.timeout(within):
                    await self._is_quiet()
        except TimeoutError:
            background = self.background
            if not (self.total or self._restless or (background and background.busy())):
                return  # there was only no time to see whether it stays so
            raise NotSettled(f"not settled after {within:g} s: {self.describe()}") from None

    async def _is_quiet(self) -> None:
        self._restless = []
        while True:
            while self.total:  # an earlier waiter may have begun something new
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future
            self._restless = await self._turns()
            if not self.total and not self._restless:
                return

    async def _turns(self) -> list[Any]:
        """Give everybody some turns, up to the first in which something happens; return which
        tasks have gone on."""
        if self.background is not None:
            return await self.background.turns(_TURNS, lambda: self.total)
        for _ in range(_TURNS):
            await give_way()
            if self.total:
                break
        return []


async def wait_for(
    condition: Callable[[], object],
    listen: Callable[[Callable[[], None]], Callable[[], None]],
    what: str,
    within: float,
) -> None:
    """Return when `condition()` is true.

    `listen(call-back)` registers a call-back for changes, after which the condition is checked
    again, and returns the function that unregisters it. It may depend on more than that: it is
    checked several times a second, too. A question about a message that was not emitted yet, or has
    not arrived (a plain `LookupError`, or `NotSettled`), is as good as false. Raises `NotSettled`
    naming `what` if that takes longer than `within` seconds.
    """
    unanswered: Exception | None = None

    def holds() -> object:
        nonlocal unanswered
        unanswered = None
        try:
            return condition()
        except (LookupError, NotSettled) as error:
            if type(error) not in (LookupError, NotSettled):  # a mistake, as of a dict's key
                raise
            unanswered = error
            return False

    if holds():
        return
    changed = asyncio.Event()
    stop = listen(changed.set)
    try:
        async with asyncio.timeout(within):
            while not holds():
                changed.clear()
                await set_within(changed, _LOOK)
    except TimeoutError:
        raise NotSettled(f"waited {within:g} s in vain for {what}") from unanswered
    finally:
        stop()


def _packets(n: int) -> str:
    return "1 packet is" if n == 1 else f"{n} packets are"
