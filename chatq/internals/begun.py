"""The asyncio tasks that the code of one stage has begun, and whether they have something to do.

Owns which tasks these are, and what each of them waits for. Must not know: servers, clients, the
journal.

A task is begun in a copy of the context of whoever begins it. So what is begun in the context of a
stage's server or client, and what that begins, and so on, is known by a variable of the context.
Python 3.11 does not tell the context of a task: there, a task factory notes who has begun it.

Touches asyncio's tasks and futures: `Task._fut_waiter`, what a task waits for (None: it is about to
run), and `Future._callbacks`, which tell that a thread will set it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import sysconfig
import weakref
from collections.abc import Coroutine, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from ..waiting import give_way
from .wrapping import kept_on

__all__ = ["Begun"]

Result = TypeVar("Result")
_whose: ContextVar[Begun | None] = ContextVar("chatq_begun", default=None)
#: Where the code of libraries is, chatq's own among them.
_LIBRARIES = (
    "<frozen ",
    str(Path(__file__).parents[1]),
    *(path for name, path in sysconfig.get_paths().items() if name.endswith("lib")),
)

#: The names for code, frame and what is awaited: of coroutines, generators, asynchronous ones.
_KINDS = [
    ("cr_code", "cr_frame", "cr_await"),
    ("gi_code", "gi_frame", "gi_yieldfrom"),
    ("ag_code", "ag_frame", "ag_await"),
]


class Begun:
    """The tasks begun by `task`, or `inside`, and by any of these tasks."""

    def __init__(self) -> None:
        if sys.version_info < (3, 12):
            kept_on(asyncio.get_running_loop(), _Factory)

    def task(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin `work` as one of these tasks, in a context that is empty but for that (see
        `waiting.detached`)."""
        context = contextvars.Context()
        context.run(_whose.set, self)
        return asyncio.create_task(work, context=context)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Whatever is begun in this block is one of these tasks."""
        token = _whose.set(self)
        try:
            yield
        finally:
            _whose.reset(token)

    def _running(self) -> Iterator[asyncio.Task[Any]]:
        """Yield those that have not ended, but for the one that asks."""
        current = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not current and _begun_by(task) is self:
                yield task

    def waiting_for(self) -> dict[Any, Any]:
        """Return what each of them waits for: it is another future whenever a task has gone on."""
        return {task: getattr(task, "_fut_waiter", None) for task in self._running()}

    async def rest(self) -> None:
        """Return when all of them wait: for time, for the outside, for each other, or for a call
        that the event loop is about to make.

        (What a thread does for one of them, as with `asyncio.to_thread`, is done for it.)
        """
        while True:
            running = [*self._running()]
            threads = [task for task in running if _in_a_thread(task)]
            if any(map(_is_about_to_run, running)):
                await give_way()
            elif threads:
                waiters: list[Any] = [getattr(task, "_fut_waiter", None) for task in threads]
                await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            else:
                return

    def busy(self) -> list[asyncio.Task[Any]]:
        """Return those that have something to do."""
        return [t for t in self._running() if _is_about_to_run(t) or _in_a_thread(t)]

    def of_the_user(self) -> list[asyncio.Task[Any]]:
        """Return those that run code of the user; the others are those of libraries, such as the
        one that writes to a connection."""
        return [task for task in self._running() if _own(task)]

    def told(self, tasks: Iterable[asyncio.Task[Any]]) -> list[str]:
        """Return a line for each of these tasks: what it is, what it waits for, and where."""
        return sorted(map(_told, tasks))


def _is_about_to_run(task: Any) -> bool:
    return task._fut_waiter is None or bool(task._fut_waiter.done())


def _in_a_thread(task: Any) -> bool:
    """Return whether a thread of an executor works for it."""
    callbacks = getattr(task._fut_waiter, "_callbacks", None) or ()
    return any(
        getattr(call, "__qualname__", "").startswith("_chain_future.") for call, _ in callbacks
    )


# -- what a task is at ------------------------------------------------------------------------


def _told(task: asyncio.Task[Any]) -> str:
    steps = [*_steps(task)]
    own = _own(task) or steps
    if not own:
        return "a task"
    (first, _), (code, line) = own[0], own[-1]
    last = steps[-1][0]
    if _is_about_to_run(task):
        state = "is at work"
    elif _in_a_thread(task):
        state = "waits for a thread"
    else:
        state = "waits" if last is code else f"waits in {last.co_qualname}"
    return f"{first.co_qualname} {state} (line {line} of {Path(code.co_filename).name})"


def _own(task: asyncio.Task[Any]) -> list[tuple[CodeType, int]]:
    """Return those of its steps that are in code of the user."""
    steps = _steps(task)
    return [step for step in steps if not step[0].co_filename.startswith(_LIBRARIES)]


def _steps(task: asyncio.Task[Any]) -> Iterator[tuple[CodeType, int]]:
    """Yield the code and the line of each coroutine that awaits the next, the outermost first."""
    at: Any = task.get_coro()
    while names := next((names for names in _KINDS if hasattr(at, names[0])), None):
        code, frame, awaited = [getattr(at, name) for name in names]
        yield code, code.co_firstlineno if frame is None else frame.f_lineno
        at = awaited


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
        whose = _whose.get() if given is None else given.get(_whose)
        if whose is not None:
            self.begun[task] = whose
        return task


if sys.version_info >= (3, 12):

    def _begun_by(task: asyncio.Task[Any]) -> Begun | None:
        return task.get_context().get(_whose)

else:

    def _begun_by(task: asyncio.Task[Any]) -> Begun | None:
        return kept_on(task.get_loop(), _Factory).begun.get(task)
