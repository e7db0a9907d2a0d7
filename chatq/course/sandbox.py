"""A sandbox that keeps an answer from blocking, stopping or flooding its program.

Owns its limits: code that blocks is ended, calls that would stop the program are refused, output is
cut short, Python's warnings are collected, databases are closed. Must not know: exercises, servers,
verdicts.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import io
import signal
import sqlite3
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterator
from types import CoroutineType
from typing import Any, NoReturn

__all__ = ["Blocked", "Fence", "contained", "ends_what_blocks", "refuse", "replaced"]

#: How long an answer may block the event loop, and how often that is looked at, in seconds.
_BLOCKING, _TICK = 2.0, 0.1
#: How many characters it may print.
_PRINTED = 2_000
#: How many frames are noted of who has made a coroutine.
_ORIGINS = 5


class Blocked(BaseException):
    """The answer blocks the event loop. No `Exception`, so that the answer does not catch it."""


def refuse(what: str) -> Callable[..., NoReturn]:
    """Return a function that raises `RuntimeError`: the answer must not do `what`."""

    def refusing(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(f"{what}: that is not for an answer to do")

    return refusing


async def contained(
    who: str, work: Coroutine[Any, Any, Any], note: Callable[[RuntimeError], None] | None = None
) -> Any:
    """Await `work`; an exception that would end the program becomes a `RuntimeError` that names
    `who`; `note` is called with that."""
    cause: BaseException
    try:
        return await work
    except SystemExit as error:
        cause, what = error, f"{who} called sys.exit({error.code!r})"
    except Blocked as blocked:
        cause, what = blocked, f"{who} never gives way: {blocked}"
    except KeyboardInterrupt as stopped:
        cause, what = stopped, f"{who} was interrupted"
    replaced = RuntimeError(what)
    if note:
        note(replaced)
    raise replaced from cause


class Fence:
    """The sandbox, while it is entered; `unheard`: Python's warnings, `troubles`: errors of
    background tasks."""

    def __init__(self) -> None:
        self.unheard: list[warnings.WarningMessage] = []
        self.troubles: list[RuntimeError] = []
        self._pipes: list[_Limited] = []
        self._databases: weakref.WeakSet[sqlite3.Connection] = weakref.WeakSet()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Fence:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            # What an earlier check has left is held for as long, and so cannot be heard in this.
            stack.callback(_unbegun().clear)
            self.unheard = stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            stack.callback(
                sys.set_coroutine_origin_tracking_depth, sys.get_coroutine_origin_tracking_depth()
            )
            sys.set_coroutine_origin_tracking_depth(_ORIGINS)
            budget = [_PRINTED]
            for name in ("stdout", "stderr"):
                pipe = _Limited(getattr(sys, name), budget)
                self._pipes.append(pipe)
                stack.enter_context(replaced(sys, name, pipe))
            stop = refuse("loop.stop() ends the program that the check runs in")
            stack.enter_context(replaced(loop, "stop", stop))
            # `for task in asyncio.all_tasks(): task.cancel()` would end the notebook's own.
            others, all_tasks = asyncio.all_tasks(), asyncio.all_tasks

            def own_tasks(*given: Any) -> set[Any]:
                return all_tasks(*given) - others

            stack.enter_context(replaced(asyncio, "all_tasks", own_tasks))
            stack.enter_context(replaced(asyncio.tasks, "all_tasks", own_tasks))
            stack.enter_context(replaced(sqlite3, "connect", self._connecting(sqlite3.connect)))
            stack.callback(loop.set_task_factory, loop.get_task_factory())
            loop.set_task_factory(self._task)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _connecting(self, connect: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(connect)
        def noting(*given: Any, **options: Any) -> Any:
            if len(given) < 6:  # `factory` is the sixth
                options.setdefault("factory", _Database)
            database = connect(*given, **options)
            with contextlib.suppress(TypeError):  # a factory may make what cannot be noted
                self._databases.add(database)
            return database

        return noting

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Drop what is printed: it was shown when the answer was tried for the first time."""
        with contextlib.ExitStack() as stack:
            for name in ("stdout", "stderr"):
                stack.enter_context(replaced(sys, name, io.StringIO()))
            yield

    def close_databases(self) -> None:
        """Close what the answer has opened and not closed, as is done when a program ends."""
        for database in [*self._databases]:
            with contextlib.suppress(sqlite3.Error):  # it may be at work, in another thread
                database.close()

    @property
    def cut(self) -> int:
        """The number of characters that were not printed."""
        return sum(pipe.cut for pipe in self._pipes)

    def _task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        """Return a task in which `sys.exit()` ends the task only."""
        if not asyncio.iscoroutine(work):
            return asyncio.Task(work, loop=loop, **options)  # which says what is wrong with it
        task: asyncio.Task[Any] = asyncio.Task(self._contain(work), loop=loop, **options)
        task.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began
        return task

    async def _contain(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await contained("a task of the answer", work, self.troubles.append)


def _unbegun() -> list[Any]:
    """Return all coroutines that have not begun yet."""
    return [
        one
        for one in gc.get_objects()
        if type(one) is CoroutineType and inspect.getcoroutinestate(one) == inspect.CORO_CREATED
    ]


class _Database(sqlite3.Connection):
    """A connection that can be referred to without keeping it open."""


class _Limited:
    """A stream that drops output beyond `budget` characters."""

    def __init__(self, stream: Any, budget: list[int]) -> None:
        self._stream, self._budget, self.cut = stream, budget, 0

    def write(self, text: str) -> int:
        """Write the part of `text` that is left in the budget."""
        shown = text[: self._budget[0]]
        self._budget[0] -= len(shown)
        self.cut += len(text) - len(shown)
        if shown:
            self._stream.write(shown)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def replaced(target: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute within this context."""
    own = name in vars(target)
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        if own:
            setattr(target, name, before)
        else:
            delattr(target, name)


@contextlib.contextmanager
def ends_what_blocks() -> Iterator[None]:
    """Raise `Blocked` in code that blocks the event loop for too long; where there are signals."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    loop = asyncio.get_running_loop()
    beat: asyncio.TimerHandle
    missed = 0

    # Counted in ticks, since a computer that sleeps, or stalls, blocks for any time without the
    # answer: then no tick comes, or one.
    def tick(*_: object) -> None:
        nonlocal missed
        missed += 1
        if missed * _TICK >= _BLOCKING:
            missed = 0
            raise Blocked(f"the answer has kept everything else waiting for {_BLOCKING:g} s")

    def alive() -> None:
        nonlocal beat, missed
        missed = 0
        beat = loop.call_later(_TICK, alive)

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
    alive()
    try:
        yield
    finally:
        beat.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
