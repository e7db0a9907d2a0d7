"""What an answer could do to everything else in its program, and how that is kept from it.

Owns the fence around a try: whatever blocks is ended, what would stop the program is refused, what
is printed is cut short, Python's warnings are kept. Must not know: exercises, servers, verdicts.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

__all__ = ["Blocked", "Fence", "contained", "ends_what_blocks", "refuse"]

#: For how many seconds an answer may keep everything else from running; how many characters it
#: may print.
_BLOCKING, _PRINTED = 2.0, 2_000


class Blocked(BaseException):
    """The answer keeps the event loop to itself. No `Exception`: it shall not catch this."""


def refuse(what: str) -> Callable[..., NoReturn]:
    """Return a function that raises `RuntimeError`: the answer must not do `what`."""

    def refusing(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(f"{what}: that is not for an answer to do")

    return refusing


async def contained(
    who: str, work: Coroutine[Any, Any, Any], note: Callable[[RuntimeError], None] | None = None
) -> Any:
    """Await `work`; what would end the whole program becomes a `RuntimeError` that names `who`,
    which `note` is told of."""
    try:
        return await work
    except SystemExit as error:
        astray = RuntimeError(f"{who} called sys.exit({error.code!r})")
    except Blocked as blocked:
        astray = RuntimeError(f"{who} never gives way: {blocked}")
    except KeyboardInterrupt:
        astray = RuntimeError(f"{who} was interrupted")
    if note:
        note(astray)
    raise astray


class Fence:
    """What is kept from the rest of the program while it is entered; `unheard`: Python's warnings,
    `troubles`: how tasks that nobody awaits have ended."""

    def __init__(self) -> None:
        self.unheard: list[warnings.WarningMessage] = []
        self.troubles: list[RuntimeError] = []
        self._pipes: list[_Short] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Fence:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            self.unheard = stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            budget = [_PRINTED]
            for name in ("stdout", "stderr"):
                pipe = _Short(getattr(sys, name), budget)
                self._pipes.append(pipe)
                stack.enter_context(_put(sys, name, pipe))
            stop = refuse("loop.stop() ends the program that the check runs in")
            stack.enter_context(_put(loop, "stop", stop))
            # `for task in asyncio.all_tasks(): task.cancel()` would end the notebook's own.
            others, all_tasks = asyncio.all_tasks(), asyncio.all_tasks

            def own_tasks(*given: Any) -> set[Any]:
                return all_tasks(*given) - others

            stack.enter_context(_put(asyncio, "all_tasks", own_tasks))
            stack.enter_context(_put(asyncio.tasks, "all_tasks", own_tasks))
            stack.callback(loop.set_task_factory, loop.get_task_factory())
            loop.set_task_factory(self._task)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def cut(self) -> int:
        """How many characters were not printed."""
        return sum(pipe.cut for pipe in self._pipes)

    def _task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        """A task that `sys.exit()` ends, and nothing else."""
        task: asyncio.Task[Any] = asyncio.Task(self._noting(work), loop=loop, **options)
        task.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began
        return task

    async def _noting(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await contained("a task of the answer", work, self.troubles.append)


class _Short:
    """A stream of which only the beginning is let through, as long as `budget` lasts."""

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
def _put(target: Any, name: str, value: Any) -> Iterator[None]:
    """Have `value` there, and give back what was there before."""
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
    """Raise `Blocked` inside whatever does not give way for too long; where signals can do that."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    loop = asyncio.get_running_loop()
    beat: asyncio.TimerHandle

    def alarm(*_: object) -> None:
        raise Blocked(f"the answer has kept everything else waiting for {_BLOCKING:g} s")

    def alive() -> None:
        nonlocal beat
        signal.setitimer(signal.ITIMER_REAL, _BLOCKING, _BLOCKING)
        beat = loop.call_later(_BLOCKING / 4, alive)

    before = signal.signal(signal.SIGALRM, alarm)
    alive()
    try:
        yield
    finally:
        beat.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
