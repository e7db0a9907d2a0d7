"""Try an answer on a private server, and tell what was proved, or the first thing that went wrong.

Owns the verdicts, and that an answer can do no harm: it is ended if it never returns, blocks, or
raises. Must not know: what any exercise asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..stage.settle import NotSettled
from ..stage.stage import HandlerRaised
from .trial import Blocked, NotDone, Trial, Wrong

__all__ = ["Exercise", "Verdict", "check", "exercise"]

#: Seconds: for all of an answer; and for how long it may keep everything else from running.
_WITHIN, _BLOCKING = 20.0, 2.0

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
    with tempfile.TemporaryDirectory(prefix="chatq-") as folder:
        trial = Trial(answer, Path(folder))
        try:
            with _ends_what_blocks():
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
        finally:
            with _ends_what_blocks():
                await trial.close()


def _failed(asked: Exercise, what: str) -> Verdict:
    return Verdict(asked, "failed", (f"got       {what}",))


@contextlib.contextmanager
def _ends_what_blocks() -> Iterator[None]:
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
