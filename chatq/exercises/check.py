"""Try an answer on a private server, and tell what was proved, or the first thing that went wrong.

Owns the verdicts, and that an answer can do no harm: it is ended if it never returns, blocks, or
raises. Must not know: what any exercise asks.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..stage.settle import NotSettled
from ..stage.stage import HandlerRaised
from .guard import Blocked, Fence, ends_what_blocks
from .trial import NotDone, Trial, Wrong

__all__ = ["Exercise", "Verdict", "check", "exercise"]

#: Seconds, for all of an answer.
_WITHIN = 20.0

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Exercise:
    """One exercise: its number ("03.1"), what it asks in a few words, the scene that tries an
    answer, and one hint."""

    name: str
    task: str
    scene: Callable[[Trial], Awaitable[None]]
    hint: str


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: `state` is "passed", "failed" or "not done yet"; shows itself as
    text."""

    exercise: Exercise
    state: str
    told: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.state == "passed"

    def __repr__(self) -> str:
        name = f"{self.exercise.name} {self.exercise.task}"
        if self.state == "not done yet":
            return f"… {name}: not done yet"
        lines = "".join(f"\n  {line}" for line in self.told)
        if self.passed:
            return f"✓ {name}{lines}"
        return f"✗ {name}{lines}\n  hint      {self.exercise.hint}"


def exercise(name: str) -> Exercise:
    """Return the exercise with this number. Raises `LookupError` naming those that there are."""
    number = name.partition(".")[0]
    try:
        known = import_module(f".lesson_{number}", __package__).EXERCISES
    except ModuleNotFoundError:
        raise LookupError(f"there is no lesson {number!r} with exercises") from None
    for one in known:
        if one.name == name:
            found: Exercise = one
            return found
    raise LookupError(
        f"there is no exercise {name!r}; there are {', '.join(e.name for e in known)}"
    )


async def check(name: str, answer: Answer) -> Verdict:
    """Try `answer` at the exercise called `name`, on a server and clients of its own.

        await check("03.1", answer)

    It raises nothing that the answer raises: the `Verdict` tells. Raises `LookupError` for an
    exercise that there is not, `TypeError` for an answer that is no function.
    """
    asked = exercise(name)
    if not callable(answer):
        raise TypeError(
            f"an answer is a function, not {type(answer).__name__}: check({name!r}, answer)"
        )
    with tempfile.TemporaryDirectory(prefix="chatq-") as folder, Fence() as fence:
        trial = Trial(answer, Path(folder))
        judging = asyncio.create_task(_judge(asked, trial))
        try:
            with ends_what_blocks():
                verdict = await judging
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) and this.cancelling():
                raise  # by whoever asked
            verdict = _failed(asked, "the answer cancelled the task that tries it")
        finally:
            left = await _close(trial)
    if fence.troubles:
        verdict = _failed(asked, str(fence.troubles[0]))
    if left and verdict.passed:
        verdict = _failed(asked, left)
    return verdict


async def _judge(asked: Exercise, trial: Trial) -> Verdict:
    try:
        async with asyncio.timeout(_WITHIN):
            await asked.scene(trial)
        return Verdict(asked, "passed", tuple(f"proved    {what}" for what in trial.proved))
    except NotDone:
        return Verdict(asked, "not done yet")
    except Wrong as wrong:
        return Verdict(asked, "failed", wrong.told)
    except Blocked as blocked:
        return _failed(asked, f"{blocked}: nothing else can run meanwhile, and it was ended")
    except HandlerRaised as raised:
        return _failed(asked, str(raised))
    except NotSettled as late:
        return _failed(asked, f"it never comes to an end: {late}")
    except TimeoutError:
        return _failed(asked, f"it was not over after {_WITHIN:g} s, and was ended")
    except (Exception, SystemExit) as error:
        return _failed(asked, f"the answer raised {type(error).__name__}: {error}")


async def _close(trial: Trial) -> str:
    """Close what was opened; return why something could not be closed, or ""."""
    try:
        with ends_what_blocks():
            await trial.close()
    except (Exception, Blocked) as error:
        return f"what the answer left cannot be closed: {type(error).__name__}: {error}"
    return ""


def _failed(asked: Exercise, what: str) -> Verdict:
    return Verdict(asked, "failed", (f"got       {what}",))
