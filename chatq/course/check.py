"""The check of an answer on a private server: what was proved, or the first counter-example.

Owns the verdicts. Must not know: the task of any exercise.

An answer is tried twice over: in the scene that the lesson tells, and then in scenes that nobody
has thought of, until one goes wrong; that is shrunk, and told as a story.
"""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from .attempt import Outcome, attempt
from .blame import forgotten, unawaited
from .generate import Tried, try_scenes
from .sandbox import Fence
from .scenes import Scene
from .trial import Trial

__all__ = ["Exercise", "Verdict", "check", "exercise", "take_given"]

#: Seconds, for the scene that the lesson tells.
_WITHIN = 20.0

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Exercise:
    """One exercise: its number ("03.1"), its task in a few words, the scene that tries an answer,
    one hint, and the scenes that are generated."""

    name: str
    task: str
    scene: Callable[[Trial], Awaitable[None]]
    hint: str
    generated: type[Scene] | None = None


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
        try:
            outcome = await attempt(trial, asked.scene, _WITHIN)
            tried = Tried(0)
            if outcome.passed and asked.generated:
                tried = await try_scenes(asked.generated, answer, fence)
        finally:
            # An answer that returns no server has none of which its functions could be handlers.
            unused = forgotten(answer, trial.sides) if trial.sides else []
            for side in trial.sides:  # so that Python warns now of coroutines never awaited
                side.handlers.clear()
    verdict = _with_notes(_verdict(asked, trial, outcome, tried), trial, fence, unused)
    _given[name] = verdict.state
    return verdict


def _verdict(asked: Exercise, trial: Trial, outcome: Outcome, tried: Tried) -> Verdict:
    if tried.outcome is not None:
        outcome = tried.outcome
    lines = outcome.lines
    if outcome.passed:
        proved = [*trial.proved]
        if asked.generated:
            proved.append(f"{tried.scenes} generated scenes: {asked.generated.proves}")
        lines = tuple(f"proved    {what}" for what in proved)
    return Verdict(asked, outcome.state, lines, outcome.raised)


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
