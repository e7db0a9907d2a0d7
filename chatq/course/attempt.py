"""One attempt at a scene: it ends whatever the answer does, and has an outcome in words.

Owns the outcome of errors, and that an answer can do no harm: it is ended if it never returns,
blocks, or raises. Must not know: the task of any exercise, verdicts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from ..journal.activity import NotSettled
from ..stage.scene import HandlerRaised
from .blame import codes_of, place, raised_in
from .invariants import Wrong
from .mistakes import advice
from .sandbox import Blocked, ends_what_blocks
from .trial import NotDone, Trial

__all__ = ["Outcome", "attempt"]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: `state` is "passed", "failed" or "not done yet"; `lines`: in words.

    `raised`: it ended in an error; `late`: which took its time, as a handler that never returns.
    """

    state: str
    lines: tuple[str, ...] = ()
    raised: bool = False
    late: bool = False

    @property
    def passed(self) -> bool:
        """Return whether all went well."""
        return self.state == "passed"


def failed(what: str, where: str = "", notes: Iterable[str] = (), *, late: bool = False) -> Outcome:
    """Return the outcome of an error: `what` was met, `where` in the answer, with `notes` on it."""
    lines = (f"got       {what}", *([f"where     {where}"] if where else []))
    return Outcome("failed", _noted(lines, notes), raised=True, late=late)


def _noted(lines: tuple[str, ...], notes: Iterable[str]) -> tuple[str, ...]:
    return (*lines, *(f"note      {one}" for one in notes))


async def attempt(
    trial: Trial, scene: Callable[[Trial], Awaitable[None]], within: float
) -> Outcome:
    """Play `scene` with `trial`, for at most `within` seconds, and close the trial."""
    judging = asyncio.create_task(_judge(trial, scene, within))
    try:
        with ends_what_blocks():
            outcome = await judging
    except asyncio.CancelledError:
        if (current := asyncio.current_task()) and current.cancelling():
            raise  # cancelled by the caller
        outcome = failed("the answer cancelled the task that tries it")
    finally:
        left = await _close(trial)
    if trouble := trial.trouble():
        return failed(str(trouble), place(trouble), _notes(trial, trouble))
    if left and outcome.passed:
        return failed(left, late=True)
    if outcome.state == "failed":
        clues = trial.clues.notes(outcome.lines, counter_example=not outcome.raised)
        outcome = replace(outcome, lines=_noted(outcome.lines, clues))
    return outcome


def _notes(trial: Trial, error: BaseException) -> list[str]:
    """Return what is known of why an error was raised."""
    one: BaseException | None = error
    while one is not None:
        if found := raised_in(one):
            trial.clues.told.add((found[0].f_code.co_filename, found[1]))
        one = one.__context__
    return trial.clues.about(error) or advice(error, codes_of(trial.answer, trial.sides))


async def _judge(trial: Trial, scene: Callable[[Trial], Awaitable[None]], within: float) -> Outcome:
    try:
        async with asyncio.timeout(within):
            await scene(trial)
        return Outcome("passed")
    except NotDone:
        return Outcome("not done yet")
    except Wrong as wrong:
        return Outcome("failed", wrong.lines)
    except Blocked as blocked:
        what = f"{blocked}: nothing else can run meanwhile, and it was ended"
        return failed(what, place(blocked), _notes(trial, blocked), late=True)
    except HandlerRaised as raised:
        error = raised.errors[0]
        return failed(str(raised), place(error), _notes(trial, error))
    except NotSettled as late:
        return failed(f"it never comes to an end: {late}", late=True)
    except TimeoutError:
        return failed(f"it was not over after {within:g} s, and was ended", late=True)
    except (Exception, SystemExit) as error:
        if lost := trial.lost(error):
            return Outcome("failed", lost.lines, raised=True)
        what = f"the answer raised {type(error).__name__}: {error}"
        return failed(what, place(error), _notes(trial, error))


async def _close(trial: Trial) -> str:
    """Close the trial; return why something could not be closed, or ""."""
    try:
        with ends_what_blocks():
            await trial.close()
    except (Exception, Blocked) as error:
        return f"what the answer left cannot be closed: {type(error).__name__}: {error}"
    return ""
