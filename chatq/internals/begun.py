"""The asyncio tasks that the code of one stage has begun, and whether they have something to do.

Owns which tasks these are, and what each of them waits for. Must not know: servers, clients, the
journal.

A task is begun in a copy of the context of whoever begins it. So what is begun in the context of a
stage's server or client, and what that begins, and so on, is known by a variable of the context.
Python 3.11 does not tell the context of a task: there, a task factory notes who has begun it.

Touches asyncio's event loops: `run_in_executor`, `call_exception_handler`, and the task factory.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

from ..waiting import give_way
from .tasks import is_about_to_run, named, own_steps, told, waiter
from .timers import Timers
from .wrapping import Wrapped, kept_on

__all__ = ["Begun", "whose"]

Result = TypeVar("Result")
#: Those among which a task is that is begun here.
whose: ContextVar[Begun | None] = ContextVar("chatq_begun", default=None)
#: The variables by which ipykernel knows the cell that something belongs to.
_OF_A_CELL = {"parent_header", "shell_parent", "shell_parent_ident"}
#: A thread of an executor is taken for one that waits when the process has used less than so much
#: processor time in so many seconds, or when it has taken so long. On a busy machine, work of a
#: moment takes seconds.
_IDLE, _IN_A_THREAD, _AT_MOST = 0.02, 1.0, 4.0
#: How long tasks that were cancelled may take to end, in seconds.
_CANCELLED = 0.5


class Begun:
    """The tasks begun by `task`, or in a `call`, and by any of these tasks.

    `raised` is called for each of them that has raised, if nobody has asked for that, with what
    the task is. `context`: that of the reader when it was made, so that what is set there holds in
    the server, too.
    """

    context: contextvars.Context

    def __init__(self, raised: Callable[[str, Exception], None]) -> None:
        loop = asyncio.get_running_loop()
        if sys.version_info < (3, 12):
            kept_on(loop, _Factory)
        #: What threads of executors do for these tasks, and since when.
        self._threads: dict[asyncio.Future[Any], float] = {}
        #: When the process was last seen at work, and its processor time then.
        self._seen = (0.0, 0.0)
        #: Tasks that wait for the others to come to rest.
        self._resting: set[asyncio.Task[Any] | None] = set()
        self._wrapped = Wrapped()
        self._raised = raised
        self._wrapped.method(loop, "run_in_executor", self._on_run_in_executor)
        self._wrapped.method(loop, "call_exception_handler", self._on_exception)
        self.context = self._context()

    async def end(self) -> None:
        """Cancel those that have not ended, and wait for them for a moment."""
        self._wrapped.undo()
        self._raised = _nobody  # tasks that are kept know these, and so would keep all the rest
        left = [*self._running()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CANCELLED)

    def _context(self) -> contextvars.Context:
        """Return a copy of the context, but for what says which cell of a notebook runs: a print is
        shown under the cell that the context points at, and without one under the newest."""
        context = contextvars.Context()
        for var, value in contextvars.copy_context().items():
            if var.name not in _OF_A_CELL and not var.name.startswith("chatq_"):
                context.run(var.set, value)
        context.run(whose.set, self)
        return context

    def task(
        self, work: Coroutine[Any, Any, Result], context: contextvars.Context | None = None
    ) -> asyncio.Task[Result]:
        """Begin `work` as one of these tasks, in `context`, or in a copy of the present one."""
        return asyncio.create_task(work, context=context or self._context())

    def call(self, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """Call this function; what it begins is one of these tasks."""
        if whose.get() is self:  # the usual case, kept fast
            return function(*args, **more)
        token = whose.set(self)
        try:
            return function(*args, **more)
        finally:
            whose.reset(token)

    async def within(self, work: Awaitable[Result]) -> Result:
        """Await `work`, which may be in a task of the reader's; what it begins is one of these
        tasks."""
        if whose.get() is self:
            return await work
        token = whose.set(self)
        try:
            return await work
        finally:
            whose.reset(token)

    def _on_run_in_executor(self, original: Any, *args: Any) -> Any:
        future = original(*args)
        if whose.get() is self:
            self._threads[future] = time.monotonic()
            future.add_done_callback(lambda done: self._threads.pop(done, None))
        return future

    def _on_exception(self, original: Any, context: dict[str, Any]) -> None:
        """Take note of an exception that nobody has asked for, as asyncio tells it when the task is
        forgotten."""
        task: Any = context.get("future")
        error = context.get("exception")
        known = isinstance(task, asyncio.Task) and _begun_by(task) is self
        if known and isinstance(error, Exception):
            self._raised(named(task), error)
        original(context)

    def _running(self) -> Iterator[asyncio.Task[Any]]:
        """Yield those that have not ended, but for those that ask."""
        current = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not current and task not in self._resting and _begun_by(task) is self:
                yield task

    def looking(self) -> AbstractContextManager[object]:
        """Look, from here on, at the timers that they set: see `turns`."""
        return kept_on(asyncio.get_running_loop(), Timers).noted()

    async def turns(self, wanted: int, interrupted: Callable[[], object]) -> list[Any]:
        """Return after so many turns of the event loop, or more, in each of which all of them come
        to wait: for time, for the outside, for each other, or for a call that the event loop is
        about to make; or after the first turn that is `interrupted`, or in which some have gone on,
        or are new. Return these; not those that only time has woken, and that wait for time again.

        What a thread of an executor does for them is done by them, unless it rests or takes long:
        then it is taken for one that waits for the outside, as for the next item of a queue.
        """
        timers = kept_on(asyncio.get_running_loop(), Timers)
        running = [*self._running()]
        before: dict[Any, Any] = {}

        def has_gone_on(task: Any) -> bool:
            future, timer = before.get(task, (task, None))
            return waiter(task) is not future and not timers.goes_on(task, timer)

        for _ in range(wanted):
            before = {task: (waiter(task), timers.of(task)) for task in running}
            running = await self._turn(timers)
            restless = [*filter(has_gone_on, running)]
            if restless or interrupted():
                return restless
        return []

    async def _turn(self, timers: Timers) -> list[Any]:
        """Return after a turn of the event loop, or more, when all of them wait: those that have
        not ended."""
        current = asyncio.current_task()
        self._resting.add(current)
        try:
            await give_way()
            while True:
                running = [*self._running()]
                if any(is_about_to_run(t) and not timers.woke(t) for t in running):
                    await give_way()
                elif left := self._thread_time():
                    done = asyncio.FIRST_COMPLETED
                    await asyncio.wait([*self._threads], timeout=left, return_when=done)
                else:
                    return running
        finally:
            self._resting.discard(current)

    def _thread_time(self) -> float:
        """Return for how many seconds to wait for threads; 0: for none."""
        if not self._threads:
            return 0.0
        now, used = time.monotonic(), time.process_time()
        if used - self._seen[1] > _IDLE:
            self._seen = (now, used)
        newest = max(self._threads.values())
        until = min(max(newest, self._seen[0]) + _IN_A_THREAD, newest + _AT_MOST)
        return max(0.0, until - now)

    def busy(self) -> list[Any]:
        """Return those that have something to do; a future stands for what a thread does."""
        about_to_run = [task for task in self._running() if is_about_to_run(task)]
        return [*about_to_run, *(self._threads if self._thread_time() else ())]

    def of_the_user(self) -> list[asyncio.Task[Any]]:
        """Return those that run code of the user; the others are those of libraries, such as the
        one that writes to a connection."""
        return [task for task in self._running() if own_steps(task)]

    def told(self, tasks: Iterable[Any]) -> list[str]:
        """Return a line for each of these tasks: what it is, what it waits for, and where."""
        return sorted(map(told, tasks))


def _nobody(task: str, error: Exception) -> None:
    """Nobody is told any more."""


# -- who has begun a task ---------------------------------------------------------------------


class _Factory:
    """The task factory of a loop whose tasks do not tell their context."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.begun: weakref.WeakKeyDictionary[Any, Begun] = weakref.WeakKeyDictionary()
        self._before = loop.get_task_factory()
        loop.set_task_factory(self._make)

    def _make(self, loop: Any, work: Any, **context: Any) -> Any:
        make: Any = self._before
        task = make(loop, work, **context) if make else asyncio.Task(work, loop=loop, **context)
        given = context.get("context")
        begun = whose.get() if given is None else given.get(whose)
        if begun is not None:
            self.begun[task] = begun
        return task


if sys.version_info >= (3, 12):

    def _begun_by(task: asyncio.Task[Any]) -> Begun | None:
        return task.get_context().get(whose)

else:

    def _begun_by(task: asyncio.Task[Any]) -> Begun | None:
        return kept_on(task.get_loop(), _Factory).begun.get(task)
