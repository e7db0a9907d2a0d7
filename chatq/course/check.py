"""The check of an answer on a private server: what was proved, or the first counter-example.

Owns the verdicts. Must not know: the task of any exercise.

An answer is tried twice over: in the scene that the lesson tells, and then in scenes that nobody
has thought of, until one goes wrong; that is shrunk, and told as a story.
"""

from __future__ import annotations

import gc
import inspect
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .attempt import Outcome, attempt
from .blame import codes_of, forgotten, unawaited
from .catalogue import find
from .generate import Tried, in_processes, packed_for, require, try_scenes
from .interrupt import ends_when_interrupted
from .mistakes import shadowed
from .sandbox import Fence
from .scenes import Scene
from .trial import Trial

__all__ = ["Exercise", "Verdict", "check", "exercise"]

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
    generated: type[Scene]


@dataclass(frozen=True)
class Verdict:
    """The verdict on an answer: `state` is "passed", "failed" or "not done yet"; `lines`: in words.

    `raised`: it ended in an error, `story`: in a generated scene, for which the exercise's hint is
    no help.
    """

    exercise: Exercise
    state: str
    lines: tuple[str, ...] = ()
    raised: bool = False
    story: bool = False

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
        hint = "" if self.raised or self.story else f"\n  hint      {self.exercise.hint}"
        return f"✗ {name}{lines}{hint}"


def exercise(name: str) -> Exercise:
    """Return the exercise with this number. Raises `LookupError` naming those of the lesson."""
    found: Exercise = find(name, "lesson_", "EXERCISES", "exercise")
    return found


async def check(name: str, answer: Answer) -> Verdict:
    """Try `answer` at the exercise called `name`, on a server and clients of its own.

        await check("03.1", answer)

    Errors of the answer are not raised, but part of the `Verdict`. Raises `LookupError` for an
    unknown exercise, `TypeError` for an answer that is no function, `ModuleNotFoundError` naming
    the command that brings what is missing, `KeyboardInterrupt` if it is interrupted: then nothing
    of it goes on.
    """
    with ends_when_interrupted(f"the check of {name}"):
        return await _check(exercise(name), answer)


async def _check(asked: Exercise, answer: Answer) -> Verdict:
    if not callable(answer):
        raise TypeError(
            f"an answer is a function, not {type(answer).__name__}: check({asked.name!r}, answer)"
        )
    require()
    with tempfile.TemporaryDirectory(prefix="chatq-") as folder, Fence() as fence:
        trial = Trial(answer, Path(folder), fence)
        try:
            packed = packed_for(asked.generated, answer)  # before it has opened anything
            outcome = await attempt(trial, asked.scene, _WITHIN)
            tried = Tried(0)
            if outcome.passed:
                tried = await try_scenes(asked.generated, answer, fence, packed)
            verdict = _verdict(asked, trial, outcome, tried)
            seen = [] if verdict.passed else _diagnosis(trial, fence, verdict)
        finally:
            for side in trial.sides:
                side.handlers.clear()
    return _with_notes(verdict, trial, fence, seen)


def _diagnosis(trial: Trial, fence: Fence, verdict: Verdict) -> list[str]:
    """Return what can be seen in an answer that is wrong, or not begun."""
    answer, sides = trial.answer, trial.sides
    codes = codes_of(answer, sides)
    seen: list[str] = []
    if not verdict.raised:
        elsewhere = [one.handler for one in trial.clues.elsewhere]
        seen = forgotten(answer, sides, elsewhere, makes=trial.makes) + shadowed(answer, codes)
    for side in sides:
        side.handlers.clear()
    gc.collect()  # so that Python warns now of coroutines never awaited
    return seen + unawaited(fence.unheard, codes, trial.clues.told)


def _verdict(asked: Exercise, trial: Trial, outcome: Outcome, tried: Tried) -> Verdict:
    if tried.outcome is not None:
        outcome = tried.outcome
    lines = outcome.lines
    if outcome.passed:
        proved = [*trial.proved]
        scene = asked.generated
        killed = scene.in_processes and not in_processes(scene)
        without = " (nothing was killed: this system cannot fork)" if killed else ""
        proved.append(f"{tried.scenes} generated scenes: {scene.proves}{without}")
        lines = tuple(f"proved    {what}" for what in proved)
    story = tried.outcome is not None
    return Verdict(asked, outcome.state, lines, outcome.raised, story)


def _with_notes(verdict: Verdict, trial: Trial, fence: Fence, diagnosis: list[str]) -> Verdict:
    """Add the diagnosis of a wrong answer, and a note on output that was cut."""
    state, lines, raised = verdict.state, verdict.lines, verdict.raised
    if not verdict.passed:
        if state == "not done yet":
            diagnosis = [*trial.clues.notes((), counter_example=False), *diagnosis]
            if diagnosis:
                state, raised, lines = "failed", True, ("got       no handler is registered",)
        if state == "failed" and inspect.iscoroutinefunction(trial.answer):
            diagnosis = [*diagnosis, "the answer is an `async def`; a plain `def` is asked for"]
    notes = [f"note      {one}" for one in diagnosis]
    if fence.cut:
        notes.append(f"printed   {fence.cut} characters more, which are not shown")
    # The same mistake has the same text: an object's address would differ each time.
    lines = tuple(re.sub(r"x[0-9a-f]{8,}", "x…", line) for line in (*lines, *notes))
    return replace(verdict, state=state, lines=lines, raised=raised)
