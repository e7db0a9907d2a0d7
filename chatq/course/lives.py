"""Scenes in processes: each life of a program is a process of its own, that may be killed.

Owns how an answer gets into another process, and how the next life goes on where one was killed.
Must not know: what is in a scene, verdicts.

A clean process is begun once for an answer, and forks for each life: so a life costs a few
milliseconds, and nothing of the notebook's threads is in it. What all lives need is there before
they fork. Everything of a scene is in the one process, its network is in memory, and it is killed
by SIGKILL, by itself, where its script says so: only what is in files is there for the next life.
What the scene's model knows is handed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from .attempt import Outcome, attempt
from .sandbox import Fence
from .scenes import Played, Scene, Script
from .trial import Trial

__all__ = ["Lives", "pack"]

_LENGTH = struct.Struct("!I")
#: Seconds, for all lives of one scene.
_WITHIN = 20.0
#: A folder in memory, if there is one: files there outlive a killed process, and cost no disk.
_IN_MEMORY = "/dev/shm"


def pack(scene: type[Scene], answer: Any) -> bytes | Outcome:
    """Return an answer as another process can have it, if it was not tried yet; or why none can."""
    import cloudpickle  # type: ignore[import-untyped]

    try:
        packed: bytes = cloudpickle.dumps((sys.path, scene, answer))
    except Exception as error:
        lines = (
            "expected  an answer that another process can run, which is then killed",
            "got       it uses something from outside of its function, as an open file or "
            f"database, that no other process can have ({type(error).__name__}: {error})",
        )
        return Outcome("failed", lines, raised=True)
    return packed


class Lives:
    """What plays scripts in processes; see `of`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, packed: bytes) -> AsyncIterator[Lives]:
        """Begin the process for an answer that was packed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            limit=2**24,
            start_new_session=True,  # an interrupt is for who has begun it
        )
        lives = cls(process)
        try:
            await lives._give(packed)
            yield lives
        finally:
            await lives._end()

    async def play(self, script: Script) -> Played | None:
        """Play a script, over as many lives as it takes; return what went wrong, or None."""
        await self._give(pickle.dumps(script))
        assert self._process.stdout is not None
        try:
            length = await self._process.stdout.readexactly(_LENGTH.size)
            body = await self._process.stdout.readexactly(*_LENGTH.unpack(length))
        except asyncio.IncompleteReadError:
            status = await self._process.wait()
            raise RuntimeError(
                f"the process that plays scenes has ended by itself, with exit status {status}: "
                "check once more"
            ) from None
        played: Played | None = pickle.loads(body)
        return played

    async def _give(self, body: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(_LENGTH.pack(len(body)) + body)
        await self._process.stdin.drain()

    async def _end(self) -> None:
        """End the process; a life that it began ends with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except BaseException:
            self._process.kill()
            await self._process.wait()
            raise


# -- in the other processes ------------------------------------------------------------------------


def serve() -> None:
    """Play each script that comes on standard input, until that ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr = io.StringIO()  # what it prints was seen in the told scene
    path, scene, answer = pickle.loads(_read(requests) or b"")
    sys.path[:] = path
    import_module("engineio.async_drivers.aiohttp")  # which a server imports by its name
    if os.access(_IN_MEMORY, os.W_OK | os.X_OK):
        tempfile.tempdir = _IN_MEMORY
    gc.collect()
    gc.freeze()  # so that no life looks through, and thereby copies, what it shares with others
    while body := _read(requests):
        played = pickle.dumps(_play(scene, answer, pickle.loads(body)))
        answers.write(_LENGTH.pack(len(played)) + played)
        answers.flush()


def _read(stream: BinaryIO) -> bytes:
    length = stream.read(_LENGTH.size)
    return stream.read(*_LENGTH.unpack(length)) if length else b""


def _play(scene: type[Scene], answer: Any, script: Script) -> Played | None:
    with tempfile.TemporaryDirectory(prefix="chatq-") as folder:
        model, position, before = None, 0, Script()
        while True:
            reads, writes = os.pipe()
            life = os.fork()
            if not life:
                os.close(reads)
                _live(scene, answer, script[position:], model, Path(folder), writes)
            os.close(writes)
            with open(reads, "rb") as pipe:
                said = pipe.read()
            _, status = os.waitpid(life, 0)
            kind, *rest = pickle.loads(said) if said else ("",)
            if kind == "over":
                (played,) = rest
                if played is None:
                    return None
                return Played([*before, *played.script], played.outcome, position + played.steps)
            if kind != "killed" or os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                ended = f"got       its process ended: exit status {status}"
                return Played(script, Outcome("failed", (ended,), raised=True), len(script))
            model, steps, played_steps = rest
            position += steps
            before += played_steps


def _live(
    scene: type[Scene], answer: Any, script: Script, model: Any, folder: Path, writes: int
) -> None:
    """Be one life: play the script, say what came of it, and end."""
    try:
        played = asyncio.run(_life(scene, answer, script, model, folder, writes))
        os.write(writes, pickle.dumps(("over", played)))
    finally:
        os._exit(0)


async def _life(
    scene: type[Scene], answer: Any, script: Script, model: Any, folder: Path, writes: int
) -> Played | None:
    with Fence() as fence:
        trial = Trial(answer, folder, fence, "memory")
        playing = scene(trial)
        if model is not None:
            playing.model = model

        def dies() -> None:
            handed_on = ("killed", playing.model, playing.position, playing.played)
            os.write(writes, pickle.dumps(handed_on))
            os.kill(os.getpid(), signal.SIGKILL)

        playing.dies = dies  # type: ignore[method-assign]
        outcome = await attempt(trial, lambda _: playing.play(script), _WITHIN)
    return None if outcome.passed else Played(playing.played, outcome, playing.position)
