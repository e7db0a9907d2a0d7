"""The timers that asyncio tasks set, noted while somebody looks.

Owns which timer of a task is the newest, and whether only time has woken a task. Must not know:
whose tasks they are.

Touches asyncio's event loops: every timer is set by `call_at` or `call_later`.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .tasks import sleeps
from .wrapping import Wrapped

__all__ = ["Timers"]


class Timers:
    """The newest timer of each task, of those that were set while somebody has them noted.

    A loop that waits for a moment, and again, may be woken more often than the event loop makes a
    turn in which nobody is: whoever waits until all are at rest tells by its timers that only time
    has woken it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._readers, self._wrapped = loop, 0, Wrapped()
        self._newest: weakref.WeakKeyDictionary[Any, asyncio.TimerHandle]
        self._newest = weakref.WeakKeyDictionary()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the timers that tasks set."""
        if not self._readers:
            self._wrapped.method(self._loop, "call_at", self._on_call)
            self._wrapped.method(self._loop, "call_later", self._on_call)  # for other event loops
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._wrapped.undo()
                self._newest.clear()

    def _on_call(self, original: Any, *args: Any, **more: Any) -> asyncio.TimerHandle:
        timer: asyncio.TimerHandle = original(*args, **more)
        if task := asyncio.current_task():
            self._newest[task] = timer
        return timer

    def of(self, task: Any) -> asyncio.TimerHandle | None:
        """Return the newest timer of this task, if one was noted."""
        return self._newest.get(task)

    def woke(self, task: Any) -> bool:
        """Return whether this task, which is about to run, was woken by time."""
        return sleeps(task) or self._is_over(self.of(task))

    def goes_on(self, task: Any, before: asyncio.TimerHandle | None) -> bool:
        """Return whether this task waits for time, or has gone on because the time of its timer
        `before` is over, and has set another."""
        return sleeps(task) or (self._is_over(before) and self.of(task) is not before)

    def _is_over(self, timer: asyncio.TimerHandle | None) -> bool:
        return timer is not None and timer.when() <= self._loop.time()
