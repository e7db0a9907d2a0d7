"""The check of an answer on a private server: what was proved, or the first counter-example.

Owns the verdicts, and that an answer can do no harm: it is ended if it never returns, blocks, or
raises. Must not know: the task of any exercise.
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

from ..journal.activity import NotSettled
from ..stage.scene import HandlerRaised
from .blame import forgotten, place, unawaited
from .invariants import Wrong
from .sandbox import Blocked, Fence, ends_what_blocks
from .trial import NotDone, Trial

__all__ = ["Exercise", "Verdict", "check", "exercise", "take_given"]

#: Seconds, for all of an answer.
_WITHIN = 20.0

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Exercise:
    """One exercise: its number ("03.1"), its task in a few words, the scene that tries an answer,
    and one hint."""

    name: str
    task: str
    scene: Callable[[Trial], Awaitable[None]]
    hint: str


@dataclass(frozen=True)
class Verdict:
    """The verdict on an answer: `state` is "passed", "failed" or "not done yet"; `lines`: in words.

    `raised`: it ended in an error, for which the exercise's hint is no help.
    """

    exercise: Exercise
    state: str
    lines: tuple[str, ...] = ()
    raised: bool = False

    @property
    def passed(self) -> bool:
        """Return whether the answer is right."""
        return self.state == "passed"

    def __repr__(self) -> str:
        name = f"{self.exercise.name} {self.exercise.task}"
        if self.state == "not done yet":
            return f"… {name}: not done yet"
        lines = "".join(f"\n  {line}" for line in self.lines)
        if self.passed:
            return f"✓ {name}{lines}"
        hint = "" if self.raised else f"\n  hint      {self.exercise.hint}"
        return f"✗ {name}{lines}{hint}"


def exercise(name: str) -> Exercise:
    """Return the exercise with this number. Raises `LookupError` naming those of the lesson."""
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

    Errors of the answer are not raised, but part of the `Verdict`. Raises `LookupError` for an
    unknown exercise, `TypeError` for an answer that is no function.
    """
    asked = exercise(name)
    if not callable(answer):
        raise TypeError(
            f"an answer is a function, not {type(answer).__name__}: check({name!r}, answer)"
        )
    with tempfile.TemporaryDirectory(prefix="chatq-") as folder, Fence() as fence:
        trial = Trial(answer, Path(folder), fence)
        judging = asyncio.create_task(_judge(asked, trial))
        try:
            with ends_what_blocks():
                verdict = await judging
        except asyncio.CancelledError:
            if (current := asyncio.current_task()) and current.cancelling():
                raise  # cancelled by the caller
            verdict = _failed(asked, "the answer cancelled the task that tries it")
        finally:
            left = await _close(trial)
            unused = forgotten(answer, trial.sides)
            for side in trial.sides:  # so that Python warns now of coroutines never awaited
                side.handlers.clear()
    if fence.troubles:
        verdict = _failed(asked, str(fence.troubles[0]))
    if left and verdict.passed:
        verdict = _failed(asked, left)
    verdict = _with_notes(verdict, trial, fence, unused)
    _given[name] = verdict.state
    return verdict


#: The newest state of each exercise since the last `take_given`.
_given: dict[str, str] = {}


def take_given() -> dict[str, str]:
    """Return the states of the verdicts since the last call, by exercise."""
    taken = {**_given}
    _given.clear()
    return taken


def _with_notes(verdict: Verdict, trial: Trial, fence: Fence, unused: list[str]) -> Verdict:
    """Add the diagnosis of a wrong answer, and a note on output that was cut."""
    notes: list[str] = []
    state, lines, raised = verdict.state, verdict.lines, verdict.raised
    if not verdict.passed:
        notes += [f"note      {one}" for one in ([] if raised else unused)]
        if notes and state == "not done yet":
            state, raised, lines = "failed", True, ("got       no handler is registered",)
        missing = unawaited(fence.unheard) if state == "failed" else []
        notes += [f"note      {one}" for one in missing]
        if state == "failed" and inspect.iscoroutinefunction(trial.answer):
            notes.append("note      the answer is an `async def`; a plain `def` is asked for")
    if fence.cut:
        notes.append(f"printed   {fence.cut} characters more, which are not shown")
    # The same mistake has the same text: an object's address would differ each time.
    lines = tuple(re.sub(r"x[0-9a-f]{8,}", "x…", line) for line in (*lines, *notes))
    return replace(verdict, state=state, lines=lines, raised=raised)


async def _judge(asked: Exercise, trial: Trial) -> Verdict:
    try:
        async with asyncio.timeout(_WITHIN):
            await asked.scene(trial)
        return Verdict(asked, "passed", tuple(f"proved    {what}" for what in trial.proved))
    except NotDone:
        return Verdict(asked, "not done yet")
    except Wrong as wrong:
        return Verdict(asked, "failed", wrong.lines)
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
            return Verdict(asked, "failed", lost.lines, raised=True)
        what = f"the answer raised {type(error).__name__}: {error}"
        return _failed(asked, what, place(error))


async def _close(trial: Trial) -> str:
    """Close the trial; return why something could not be closed, or ""."""
    try:
        with ends_what_blocks():
            await trial.close()
    except (Exception, Blocked) as error:
        return f"what the answer left cannot be closed: {type(error).__name__}: {error}"
    return ""


def _failed(asked: Exercise, what: str, where: str = "") -> Verdict:
    lines = (f"got       {what}", *([f"where     {where}"] if where else []))
    return Verdict(asked, "failed", lines, raised=True)
