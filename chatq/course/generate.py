"""The generated scenes that try an answer, and the smallest of them that goes wrong, as a story.

Owns where a script is played: here, or in processes that may be killed. Must not know: the task of
any exercise, verdicts.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from .attempt import Outcome, attempt
from .lives import Lives, pack
from .sandbox import Fence
from .scenes import Played, Scene, Script, story
from .search import Search
from .trial import Trial

__all__ = ["SCENES", "SEED", "Tried", "in_processes", "packed_for", "require", "try_scenes"]

#: How many scenes are played, and what they are drawn with: the same answer gets the same text.
SCENES, SEED = 100, 19
#: Seconds, for one scene.
_WITHIN = 20.0
_UNSTEADY = (
    "played once more, the same scene goes well: does the answer keep something outside of its "
    "function, or depend on time or chance?"
)


@dataclass(frozen=True)
class Tried:
    """What came of `scenes` generated scenes: `outcome` of the smallest that went wrong, if one
    did, with its story in its lines."""

    scenes: int
    outcome: Outcome | None = None


def require() -> None:
    """Import what scenes are played with. Raises `ModuleNotFoundError` saying how to get it."""
    for name in ("hypothesis", "cloudpickle"):
        try:
            import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
            raise ModuleNotFoundError(
                f"this check needs {name}: python -m pip install 'chatq[lessons]'", name=name
            ) from None


async def try_scenes(
    scene: type[Scene],
    answer: Any,
    fence: Fence,
    packed: bytes | Outcome | None = None,
    *,
    scenes: int = SCENES,
    seed: int = SEED,
) -> Tried:
    """Try an answer in this many generated scenes, drawn with this seed.

    `packed`: the answer for other processes, if it was packed before it was tried elsewhere.
    """
    async with _player(scene, answer, fence, packed) as play:
        if isinstance(play, Outcome):
            return Tried(0, play)
        search = Search(
            scene,
            play,
            scenes=scenes,
            seed=seed,
            steps=lambda told: told.steps,
            slow=lambda told: told.outcome.late,
        )
        failure = await search.run()
        if failure is None:
            return Tried(search.scenes)
        outcome = failure.told.outcome
        lines = _lines(story(scene, failure.told.script), outcome)
        if not outcome.late and await play(failure.script) is None:
            lines.append(f"but       {_UNSTEADY}")
        return Tried(search.scenes, Outcome("failed", tuple(lines), outcome.raised, outcome.late))


def _lines(told: list[str], outcome: Outcome) -> list[str]:
    return [f"{'' if at else 'story':9} {line}" for at, line in enumerate(told)] + [*outcome.lines]


def packed_for(scene: type[Scene], answer: Any) -> bytes | Outcome | None:
    """Return the answer for other processes, if these scenes need some."""
    return pack(scene, answer) if in_processes(scene) else None


def in_processes(scene: type[Scene]) -> bool:
    """Return whether these scenes are played in processes: on Windows, which cannot fork, those
    that could be killed are played here, and are not."""
    return scene.in_processes and hasattr(os, "fork")


@contextlib.asynccontextmanager
async def _player(
    scene: type[Scene], answer: Any, fence: Fence, packed: bytes | Outcome | None
) -> AsyncIterator[Callable[[Script], Awaitable[Played | None]] | Outcome]:
    """Give what plays a script: what came of it, if it went wrong; or why none can be played."""
    if not in_processes(scene):
        async with scene.shares() as shared:
            yield partial(_play, scene, answer, fence, shared)
        return
    packed = packed or pack(scene, answer)
    if isinstance(packed, Outcome):
        yield packed
        return
    async with Lives.of(packed) as lives:
        yield lives.play


async def _play(
    scene: type[Scene], answer: Any, fence: Fence, shared: Any, script: Script
) -> Played | None:
    with tempfile.TemporaryDirectory(prefix="chatq-") as folder:
        trial = Trial(answer, Path(folder), fence, "memory")
        playing = scene(trial)
        playing.shared = shared
        with fence.silent():
            outcome = await attempt(trial, lambda _: playing.play(script), _WITHIN)
    return None if outcome.passed else Played(playing.played, outcome, playing.position)
