"""The search for a scene that goes wrong: scripts are drawn, and the first that fails is shrunk.

Owns how many scripts are tried, and that the same answer has the same result everywhere. Must not
know: how a script is played, what is right, verdicts.

Hypothesis draws and shrinks, in a thread of its own; what it draws is played on the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ..internals.draws import only_by_seed
from .scenes import Scene, Script, Step

__all__ = ["Failure", "Search"]

#: How many scripts are played to find a smaller one that fails, too.
_SHRINKS = 250
#: And how many if each takes its time.
_SLOW = 3
#: Follows the last step of a script.
_END = "the end"
#: The most steps in one part of a scene.
_PART = 8
#: More than there are scenes in one search.
_SEEDS = 10_000

_Told = TypeVar("_Told")


@dataclass(frozen=True)
class Failure(Generic[_Told]):
    """The smallest script that was found to fail, and what came of it."""

    script: Script
    told: _Told


class _Fails(Exception):
    """The script fails: said to Hypothesis."""


class _Over(BaseException):
    """The search is given up; no `Exception`, so that Hypothesis does not shrink it."""


class Search(Generic[_Told]):
    """One search: `play` plays a script, and returns what went wrong, or None.

    `steps`: says of a result how many steps of its script it took; `slow`: whether it took its
    time, so that shrinking tries only few more.
    """

    def __init__(
        self,
        scene: type[Scene],
        play: Callable[[Script], Awaitable[_Told | None]],
        *,
        scenes: int,
        seed: int,
        steps: Callable[[_Told], int],
        slow: Callable[[_Told], bool] = lambda _: False,
    ) -> None:
        self._scene, self._play, self._steps, self._slow = scene, play, steps, slow
        self._scenes, self._seed = scenes, seed
        #: How many scripts were played.
        self.scenes = 0
        #: Scripts that go well; and what goes wrong whatever follows: each step as text.
        self._well: set[tuple[str, ...]] = set()
        self._wrong: dict[tuple[str, ...], _Told] = {}
        self._failure: Failure[_Told] | None = None
        self._shrinks = _SHRINKS
        self._playing: asyncio.Task[Any] | None = None
        self._given_up = False
        self._error: BaseException | None = None

    async def run(self) -> Failure[_Told] | None:
        """Return the smallest failure, or None if no script of those drawn fails."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._work, args=(loop, over), name="search", daemon=True)
        thread.start()
        try:
            await asyncio.shield(over)
        except asyncio.CancelledError:
            self._given_up = True
            if self._playing is not None:
                self._playing.cancel()
            await asyncio.wait({over})  # which comes when what is played has ended
            raise
        finally:
            if over.done():
                thread.join()  # to tell us was the last that it did
        return self._failure

    def _work(self, loop: asyncio.AbstractEventLoop, over: asyncio.Future[None]) -> None:
        try:
            with only_by_seed():
                self._draw(loop)
        except (_Fails, _Over):
            pass
        except BaseException as raised:
            self._error = raised
        loop.call_soon_threadsafe(_end, over, self._error)

    def _draw(self, loop: asyncio.AbstractEventLoop) -> None:
        import hypothesis
        from hypothesis import Phase, Verbosity, strategies

        steps = [
            strategies.builds(
                partial(_step, name),
                **{key: strategies.sampled_from(values) for key, values in mark.operands.items()},
            )
            for name, mark in self._scene.steps().items()
        ]

        # Lists that may be empty are short: several of them, one after the other, are long scenes,
        # in which more is met, and still shrink to nothing.
        # From every second scene some kinds of steps are left out: others meet more often there.
        @strategies.composite
        def scripts(draw: Any) -> Script:
            draw(strategies.integers(0, 999))  # what is drawn first is never what it was before
            which = strategies.sampled_from(range(len(steps)))
            some = strategies.lists(which, min_size=1, max_size=len(steps) // 2, unique=True)
            out = draw(some) if len(steps) > 1 and draw(strategies.booleans()) else []
            kinds = [one for number, one in enumerate(steps) if number not in out]
            part = strategies.lists(strategies.one_of(kinds), max_size=_PART)
            parts = -(-self._scene.longest // _PART)
            return [one for _ in range(parts) for one in draw(part)]

        def plays(script: Script) -> None:
            if self._fails(script, loop):
                raise _Fails

        # Hypothesis varies what it has drawn, a little; here each scene is drawn anew: with a seed
        # of its own, after the simplest one, which is the same each time.
        settings = hypothesis.settings(
            max_examples=2,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[*hypothesis.HealthCheck],
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
        )
        for number in range(2 * self._scenes):  # some are drawn twice
            if self.scenes >= self._scenes:
                break
            hypothesis.seed(self._seed * _SEEDS + number)(
                settings(hypothesis.given(scripts())(plays))
            )()

    def _fails(self, script: Script, loop: asyncio.AbstractEventLoop) -> bool:
        steps = (*map(repr, script), _END)
        begins = [steps[:at] for at in range(len(steps) + 1)]
        known = next((begin for begin in begins if begin in self._wrong), None)
        if known is None and steps not in self._well:
            if self._failure is not None:  # it shrinks
                if self._shrinks <= 0:
                    return False
                self._shrinks -= 1
            self.scenes += 1
            told = self._played(script, loop)
            if told is None:
                self._well.add(steps)
            else:
                known = steps[: self._steps(told)]
                self._wrong[known] = told
            if not self._scene.finale and not (told and self._slow(told)):
                # As far as it went well, so does what is only a part of it.
                self._well.update((*begin, _END) for begin in begins[: len(known or steps)])
        if known is None:
            return False
        told = self._wrong[known]
        if self._failure is None and self._slow(told):
            self._shrinks = min(self._shrinks, _SLOW)
        self._failure = Failure(script[: len(known)], told)
        return True

    def _played(self, script: Script, loop: asyncio.AbstractEventLoop) -> _Told | None:
        if self._given_up:
            raise _Over

        async def playing() -> _Told | None:
            if self._given_up:
                return None
            self._playing = asyncio.current_task()
            return await self._play(script)

        try:
            result = asyncio.run_coroutine_threadsafe(playing(), loop).result()
        except BaseException as error:
            if not self._given_up:  # then it is no script that is at fault
                self._given_up, self._error = True, error
            raise _Over from None
        return result


def _step(name: str, /, **operands: Any) -> Step:
    return Step(name, operands)


def _end(over: asyncio.Future[None], error: BaseException | None) -> None:
    if error is None:
        over.set_result(None)
    else:
        over.set_exception(error)
