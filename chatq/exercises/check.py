"""Try an answer on a private server, and tell what was proved, or the first thing that went wrong.

Owns the verdicts, and that an answer can do no harm: it is ended if it never returns, blocks, or
raises. Must not know: what any exercise asks.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ..stage.settle import NotSettled
from ..stage.stage import HandlerRaised
from .blame import forgotten, place, unawaited
from .guard import Blocked, Fence, ends_what_blocks
from .trial import NotDone, Trial, Wrong

__all__ = ["Exercise", "Verdict", "check", "exercise", "take_given"]

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
    text. `raised`: it came to an error, to which the exercise's hint would be no answer."""

    exercise: Exercise
    state: str
    told: tuple[str, ...] = ()
    raised: bool = False

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
        hint = "" if self.raised else f"\n  hint      {self.exercise.hint}"
        return f"✗ {name}{lines}{hint}"


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
            unused = forgotten(answer, trial.sides)
            for side in trial.sides:  # so that Python says, while it is heard, what nobody awaited
                side.handlers.clear()
    if fence.troubles:
        verdict = _failed(asked, str(fence.troubles[0]))
    if left and verdict.passed:
        verdict = _failed(asked, left)
    verdict = _with_notes(verdict, trial, fence, unused)
    _given[name] = verdict.state
    return verdict


#: The newest state of each exercise, since they were taken last.
_given: dict[str, str] = {}


def take_given() -> dict[str, str]:
    """Return the states of the verdicts that this program has given, and forget them."""
    taken = {**_given}
    _given.clear()
    return taken


def _with_notes(verdict: Verdict, trial: Trial, fence: Fence, unused: list[str]) -> Verdict:
    """Add what can be seen in the answer itself, if it is wrong; and say what was not printed."""
    notes: list[str] = []
    state, told, raised = verdict.state, verdict.told, verdict.raised
    if not verdict.passed:
        notes += [f"note      {one}" for one in ([] if raised else unused)]
        if notes and state == "not done yet":
            state, raised, told = "failed", True, ("got       no handler is registered",)
        missing = unawaited(fence.unheard) if state == "failed" else []
        notes += [f"note      {one}" for one in missing]
        if state == "failed" and inspect.iscoroutinefunction(trial.answer):
            notes.append("note      the answer is an `async def`; a plain `def` is asked for")
    if fence.cut:
        notes.append(f"printed   {fence.cut} characters more, which are not shown")
    # The same mistake is told in the same words: an object's address would be another each time.
    lines = tuple(re.sub(r"x[0-9a-f]{8,}", "x…", line) for line in (*told, *notes))
    return replace(verdict, state=state, told=lines, raised=raised)


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
        what = f"{blocked}: nothing else can run meanwhile, and it was ended"
        return _failed(asked, what, place(blocked))
    except HandlerRaised as raised:
        return _failed(asked, str(raised), place(raised.errors[0]))
    except NotSettled as late:
        return _failed(asked, f"it never comes to an end: {late}")
    except TimeoutError:
        return _failed(asked, f"it was not over after {_WITHIN:g} s, and was ended")
    except (Exception, SystemExit) as error:
        if lost := trial.lost(error):
            return Verdict(asked, "failed", lost.told, raised=True)
        what = f"the answer raised {type(error).__name__}: {error}"
        return _failed(asked, what, place(error))


async def _close(trial: Trial) -> str:
    """Close what was opened; return why something could not be closed, or ""."""
    try:
        with ends_what_blocks():
            await trial.close()
    except (Exception, Blocked) as error:
        return f"what the answer left cannot be closed: {type(error).__name__}: {error}"
    return ""


def _failed(asked: Exercise, what: str, where: str = "") -> Verdict:
    told = (f"got       {what}", *([f"where     {where}"] if where else []))
    return Verdict(asked, "failed", told, raised=True)
