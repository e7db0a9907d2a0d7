"""A lesson's own server, for tests that bring clients of their own: the notebook's code, run here.

`python tests/support/lesson_server.py 01-the-phone-call 8000` serves it in a process of its own,
without a stage, until it is killed: that a correct server remains without one is what the lessons
promise.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from places import NOTEBOOKS

from chatq import Stage

ENDS = r"(?m)^await \w+\.close\(\)|^stage\.panel\("


def cells(name: str, before: str = ENDS) -> list[str]:
    """Return the code cells of `notebooks/<name>.ipynb` up to the last one that matches `before`,
    which is not among them. Raises `LookupError` if none does.
    """
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    ends = [number for number, source in enumerate(code) if re.search(before, source)]
    if not ends:
        raise LookupError(f"no cell of {name} matches {before!r}")
    return code[: ends[-1]]


@contextlib.asynccontextmanager
async def lesson(name: str, before: str = ENDS) -> AsyncIterator[dict[str, Any]]:
    """Run a lesson up to the cell that closes its stage, or shows its panel; give what it then
    has, by name.

        async with lesson("01-the-phone-call") as names:
            names["stage"].url

    The cells run in `notebooks/`, as they do in Jupyter. Afterwards every stage is closed.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for number, source in enumerate(cells(name, before)):
            program = compile(
                source, f"<{name}, code cell {number}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            )
            with contextlib.chdir(NOTEBOOKS):
                result = eval(program, names)
                if inspect.iscoroutine(result):
                    await result
        with contextlib.chdir(NOTEBOOKS):
            yield names
    finally:
        for stage in [value for value in names.values() if isinstance(value, Stage)]:
            await stage.close()


async def serve(name: str, port: int) -> None:
    """Serve the lesson's application on `port` (0: any free one), until the process ends."""
    async with lesson(name, before=r"\bStage\.open\(") as names:
        app = names.get("app")
        if app is None:
            app = web.Application()
            names["sio"].attach(app)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print(f"serving on {runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()


class Server:
    """A lesson's server in a process of its own, that can be killed and started again there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.lines: list[str] = []  #: what it has printed, in all its lives
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Its address; the same after it was started again."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, on the port that it had before; returns when it serves."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", __file__, self.name, str(self.port)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            while found := await self._process.stdout.readline():
                if hit := re.match(rb"serving on (\d+)", found):
                    self.port = int(hit[1])
                    self._reader = asyncio.create_task(self._read(self._process.stdout))
                    return
        raise RuntimeError(f"the server of {self.name} ended before it served: see stderr")

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        async for line in stdout:
            self.lines.append(line.decode().rstrip("\n"))

    def stop(self) -> None:
        """Suspend it: what is sent to it waits, unread."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    async def kill(self) -> None:
        """Let it die at once, without a goodbye."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader


@contextlib.asynccontextmanager
async def served(name: str) -> AsyncIterator[Server]:
    """Give the `Server` of a lesson, started; it is killed in the end."""
    server = Server(name)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
