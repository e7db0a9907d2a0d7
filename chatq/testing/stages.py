"""The stages of one test: opened when it asks, closed when it ends.

Owns the order of closing, on which event loop it happens, and which stage is meant if none is
named. Must not know: pytest, how a stage is opened and closed, what is said of a failure.

Rules
- All stages of a test are closed at the end of its function, in its own task: so no plug-in that
  runs it (pytest-asyncio, anyio) has to keep its event loop for them. Where Hypothesis calls the
  function often, those that fixtures have opened stay open.
- What is left then (also what was opened on another loop, or if the function never ran) is closed
  before any fixture is torn down, as long as its loop is there.
- An error of closing fails a test that has passed; of one that has failed it is told beside.
"""

from __future__ import annotations

import asyncio
import functools
import traceback
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

from ..internals.client_tap import Client
from ..stage.process import Process
from ..stage.stage import Stage
from .evidence import files, last_rows, without_tables

__all__ = ["Opening", "Stages"]

#: For pytest: what is raised here, or passes, is about the line that asks.
__tracebackhide__ = True


async def _there(stage: Stage) -> Stage:
    return stage


class Opening:
    """A stage that is being opened: `await` gives it, and so do its first clients."""

    def __init__(self, opening: Coroutine[Any, Any, Stage]) -> None:
        self._opening = opening

    def __await__(self) -> Generator[Any, Any, Stage]:
        return self._opening.__await__()

    async def clients(self, *names: str, **options: Any) -> list[Client]:
        """Open the stage, and connect clients; see `Stage.clients`."""
        stage = await self
        return await stage.clients(*names, **options)

    async def client(self, name: str, **options: Any) -> Client:
        """Open the stage, and connect a client; see `Stage.client`."""
        stage = await self
        return await stage.client(name, **options)


class Stages:
    """Opens stages for a test, and closes them at its end; else it is the stage that it has opened.

        async def test_news(stage):
            ada, bob = await stage(sio).clients("ada", "bob")
            await ada.emit("say", "hello")
            await stage.settle()
            assert stage.deliveries().who_got("news") == {"bob"}

    `await stage(…)` takes what `Stage` takes, and returns it: `room = await stage(sio)`. Asked
    again about the same server, it returns the same stage. In a test with several servers, use what
    that returned.
    """

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._folder = functools.cache(new_folder)
        self._opened: list[tuple[Stage, asyncio.AbstractEventLoop]] = []
        #: The last rows of each stage when the test failed, before they were closed.
        self._seen: list[str] = []
        self._errors: list[Exception] = []

    def __call__(self, *arguments: Any, **options: Any) -> Opening:
        """Open a stage; the arguments are those of `Stage`.

        Raises `RuntimeError` where no event loop of asyncio runs.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "a stage needs asyncio: let the test be `async def`, and pytest-asyncio or anyio's "
                'plug-in run it (anyio: with the back end "asyncio", not "trio")'
            ) from None
        return Opening(self._again(*arguments) or self._open(loop, Stage(*arguments, **options)))

    def _again(self, sio: Any = None, *_: Any) -> Coroutine[Any, Any, Stage] | None:
        """Return the stage on which this server is already, as to be awaited; None: it is on none.

        A second stage for it would close the first.
        """
        stages = [stage for stage, _ in self._opened if stage.sio is sio and not stage.closed]
        return _there(stages[-1]) if stages else None

    async def _open(self, loop: asyncio.AbstractEventLoop, stage: Stage) -> Stage:
        await stage.__aenter__()
        self._opened.append((stage, loop))
        return stage

    def __getattr__(self, name: str) -> Any:
        try:
            stage = self._the_one()
        except LookupError as error:  # as `hasattr` wants it
            raise AttributeError(error.args[0]) from None
        return getattr(stage, name)

    def __getitem__(self, name: str) -> Client | Process:
        return self._the_one()[name]

    def __repr__(self) -> str:
        return f"<stages: {[stage for stage, _ in self._opened] or 'none opened yet'}>"

    def _the_one(self) -> Stage:
        """Return the stage that is open, or the only one that there was."""
        stages = [stage for stage, _ in self._opened]
        for some in ([stage for stage in stages if not stage.closed], stages):
            if len(some) == 1:
                return some[0]
        if not stages:
            raise LookupError(
                'this test has opened no stage: ada, bob = await stage(sio).clients("ada", "bob")'
            )
        raise LookupError(
            f"this test has opened {len(stages)} stages, so say which: keep what "
            "`await stage(…)` returns, and ask that"
        )

    def around(
        self, test: Callable[..., Coroutine[Any, Any, None]], often: bool = False
    ) -> Callable[..., Any]:
        """Return `test` as a function that closes at its end what is open.

        `often`: it is called more than once, so each time it closes only what it has opened itself.
        """
        before = [*self._opened] if often else []

        @functools.wraps(test)
        async def closes_its_stages(*arguments: Any, **options: Any) -> None:
            if often:
                self._opened, self._seen, self._errors = [*before], [], []
            try:
                await test(*arguments, **options)
            except BaseException:
                self._seen = self._look()
                await self._close_from(len(before))
                raise
            await self._close_from(len(before))
            if self._errors:
                raise self._errors.pop(0)

        return closes_its_stages

    async def _close_from(self, first: int) -> None:
        """Close what is open on this loop, the last first, up to this; keep the errors."""
        here = asyncio.get_running_loop() if self._opened else None
        for stage, loop in reversed(self._opened[first:]):
            if loop is here:
                try:
                    await stage.close()
                except Exception as error:
                    self._errors.append(error)

    def close_left(self) -> None:
        """Close what is still open, where no event loop runs; raise the first error of that."""
        errors: list[Exception] = []
        for stage, loop in reversed(self._opened):
            if not stage.closed and not loop.is_closed():
                try:
                    loop.run_until_complete(stage.close())
                except Exception as error:
                    errors.append(error)
        self._errors += errors[1:]
        if errors:
            raise errors[0]

    def _look(self) -> list[str]:
        return [last_rows(stage) for stage, _ in self._opened]

    def shorten(self, error: BaseException) -> None:
        """Leave out of the text of a failed `assert` where it repeats the table."""
        if isinstance(error, AssertionError) and error.args and isinstance(error.args[0], str):
            error.args = (without_tables(error.args[0]), *error.args[1:])

    def evidence(self) -> str:
        """Return what is to be said of a failure, and write the files that it names; nothing if no
        stage was opened."""
        if not self._opened:
            return ""
        seen = self._seen or self._look()  # it may have ended without its function
        stages = [stage for stage, _ in self._opened]
        told = [f"closing it raised {type(e).__name__}: {e}{_where(e)}" for e in self._errors]
        return "\n\n".join([*seen, *told, "\n".join(files(stages, self._folder))])


def _where(error: Exception) -> str:
    """Return where the cause of an error was raised, if it has one."""
    steps = traceback.extract_tb(error.__cause__.__traceback__ if error.__cause__ else None)
    return f" (line {steps[-1].lineno} of {steps[-1].filename})" if steps else ""
