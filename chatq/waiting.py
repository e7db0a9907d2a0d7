"""Waiting without polling: for one turn of the event loop, an `asyncio.Event`, a time, tasks.

Owns these waits, and how long to wait after failures. Must not know: the callers, and what they
wait for.

An `await` gives the event loop no turn if what it waits for is there already: an event that is set,
a future or (since Python 3.12) a `gather` of futures that are done, a lock that is free. So a loop
that only needs a turn asks for one.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any, TypeVar

__all__ = [
    "Tasks",
    "detached",
    "end_task",
    "every",
    "give_way",
    "passed",
    "pause_after",
    "set_within",
]

_T = TypeVar("_T")
#: How long a task that was cancelled may take to end, in seconds.
_CANCELLED = 1.0


async def give_way() -> None:
    """Return after all call-backs that are ready now on the event loop have run."""
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    loop.call_soon(_set, turn)
    await turn


def _set(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # the waiter may have been cancelled
        turn.set_result(None)


async def passed(seconds: float) -> None:
    """Wait for so many seconds, come what may; with none left, for a turn of the event loop."""
    await set_within(asyncio.Event(), seconds)


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until `event` is set, for at most `seconds`; returns nothing, and raises no time-out."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def pause_after(failures: int, first: float, longest: float, random: Random | None = None) -> float:
    """Return the seconds to wait after so many failures: `first`, doubled with each, up to
    `longest`.

    `random`: the source of a jitter between half of that and all of it, so that those that failed
    together do not try again together; None: no jitter.
    """
    wait = min(longest, first * 2.0 ** min(failures - 1, 60))
    return wait if random is None else wait * (0.5 + 0.5 * random.random())


def every(seconds: float, call: Callable[[], object]) -> Callable[[], None]:
    """Call `call` again and again, every so many seconds; return the function that ends this."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def due() -> None:
        nonlocal timer
        timer = loop.call_later(seconds, due)
        call()

    timer = loop.call_later(seconds, due)
    return lambda: timer.cancel()


def detached(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Begin `work` as a task in an empty context.

    In Jupyter, a print is shown under the cell that its task's context points at: of an empty one
    that is the cell which then runs, not the one that began the task.
    """
    return asyncio.create_task(work, context=contextvars.Context())


async def end_task(task: asyncio.Task[Any], within: float, cancelled: float = _CANCELLED) -> None:
    """Wait for a task, for at most `within` seconds, then cancel it, and wait for at most
    `cancelled` seconds until it has ended."""
    if within > 0:
        await asyncio.wait({task}, timeout=within)
    task.cancel()
    await asyncio.wait({task}, timeout=cancelled)


class Tasks(dict[Any, str]):
    """Tasks that nobody awaits and that have not ended, each with what it is at ("": unsaid).

    Whoever has begun them ends them, too, by `end`, or by `cancel` at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fewer = asyncio.Event()

    def add(self, task: Any, what: str = "", then: Callable[[Any], object] | None = None) -> None:
        """Keep `task` until it has ended, and `then(task)` has been called."""
        if task not in self:
            task.add_done_callback(lambda done: self._ended(done, then))
        self[task] = what

    def _ended(self, task: Any, then: Callable[[Any], object] | None) -> None:
        try:
            if then is not None:
                then(task)
        finally:
            self.pop(task, None)
            self._fewer.set()

    async def end(self, within: float) -> list[str]:
        """Wait until all have ended, also those that begin meanwhile; after `within` seconds,
        cancel those that have not. Returns what these were at."""
        try:
            async with asyncio.timeout(within):
                while self:
                    self._fewer.clear()
                    await self._fewer.wait()
        except TimeoutError:
            pass
        left = self._told(self)
        await self.cancel()
        return left

    async def cancel(self, within: float = _CANCELLED) -> list[str]:
        """Cancel all but the task that asks for it, and return when they have ended.

        Returns what those were at that refuse, and run on after `within` seconds: a handler that
        swallows its cancellation would go on for ever.
        """
        others = {*self} - {asyncio.current_task()}
        if not others:
            return []
        for task in others:
            task.cancel()
        ended, refusing = await asyncio.wait(others, timeout=within)
        for task in ended:
            if not task.cancelled():
                task.exception()  # taken note of: it has nowhere else to go
        return self._told(refusing)

    def _told(self, tasks: Iterable[Any]) -> list[str]:
        return sorted({self.get(task) or "a background task" for task in tasks})
