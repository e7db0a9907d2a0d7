"""What an asyncio task is at: what it waits for, and where in its code.

Owns what is read out of a task for that. Must not know: who has begun it, and who asks.

Touches asyncio's tasks: `_fut_waiter`, what a task waits for (None: it is about to run).
"""

from __future__ import annotations

import asyncio
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["is_about_to_run", "named", "own_steps", "sleeps", "told", "waiter"]

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


def waiter(task: Any) -> Any:
    """Return what it waits for; it is another future whenever a task has gone on."""
    return getattr(task, "_fut_waiter", None)


def is_about_to_run(task: Any) -> bool:
    """Return whether it runs in the next turn of the event loop."""
    future = waiter(task)
    return future is None or bool(future.done())


def sleeps(task: Any) -> bool:
    """Return whether it is in `asyncio.sleep`, or about to leave it."""
    steps = [*_steps(task)] if waiter(task) is not None else []
    return bool(steps) and steps[-1][0] is asyncio.sleep.__code__


def named(task: asyncio.Task[Any]) -> str:
    """Return what it is: the name of its coroutine."""
    return getattr(task.get_coro(), "__qualname__", "a task")


def told(task: Any) -> str:
    """Return what it is, what it waits for, and where; a future stands for what a thread does."""
    if not isinstance(task, asyncio.Task):
        return "a thread is at work"
    steps = [*_steps(task)]
    own = own_steps(task) or steps
    if not own:
        return "a task"
    (first, _), (code, line) = own[0], own[-1]
    last = steps[-1][0]
    if is_about_to_run(task):
        state = "is at work"
    else:
        state = "waits" if last is code else f"waits in {last.co_qualname}"
    return f"{first.co_qualname} {state} (line {line} of {Path(code.co_filename).name})"


def own_steps(task: asyncio.Task[Any]) -> list[tuple[CodeType, int]]:
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
