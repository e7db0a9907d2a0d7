"""Other people's clients, as objects: `tests/js/peer.mjs` in a process of its own.

It holds sockets of `socket.io-client` under Node and pages in the system's Chromium; what each
method does is said there. A test that ends, however it ends, leaves no process behind.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import needs

#: Seconds that any one command may take, beyond the deadline it has itself.
SPARE = 20.0


class PeerError(AssertionError):
    """The other side has failed; the text says what was pending."""


class Peer:
    """One process of `peer.mjs`: `await peer.connect("eve", url)`, `await peer.do("emit", ...)`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if future.done():
                continue
            if "error" in answer:
                future.set_exception(PeerError(answer["error"]))
            else:
                future.set_result(_unpack(answer["value"]))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(PeerError("peer.mjs ended before it answered"))

    async def do(self, what: str, **options: Any) -> Any:
        """Give one command, and return its answer. Raises `PeerError` for what went wrong there."""
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "do": what, "with": _pack(options)}) + "\n"
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode())
        try:
            async with asyncio.timeout(options.get("within", 0) / 1000 + SPARE):
                return await future
        except TimeoutError:
            raise PeerError(f"peer.mjs did not answer: {what} {options}") from None

    async def connect(self, who: str, url: str, **options: Any) -> Any:
        """Open a socket called `who`; the answer tells whether it is "connected", or a "reason"."""
        return await self.do("connect", who=who, url=url, **options)

    async def open(
        self, page: str, url: str, *, arguments: tuple[str, ...] = (), **how: Any
    ) -> None:
        """Open `url` in a page called `page`; the first one starts the browser with `arguments`."""
        if not self.browsing:
            self.browsing = True
            await self.do("browse", executable=needs.path("chromium"), args=[*arguments])
        await self.do("open", page=page, url=url, **how)

    browsing = False

    async def close(self) -> None:
        """End the process, and with it the browser: by asking first, then without asking."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
            raise PeerError("peer.mjs had to be killed") from None
        finally:
            await self._reader


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    """Start the process, and end it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        process = await asyncio.create_subprocess_exec(
            needs.path("node"),
            str(needs.JS / "peer.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
            env={**os.environ, "TMPDIR": scratch},  # the browser's profile is gone with it
            start_new_session=True,
        )
        one = Peer(process)
        try:
            yield one
        finally:
            await one.close()


def mentioning(text: str) -> list[str]:
    """Return the ids of the processes that have `text` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if text.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def _pack(value: Any) -> Any:
    match value:
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case dict():
            return {key: _pack(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_pack(inner) for inner in value]
    return value


def _unpack(value: Any) -> Any:
    match value:
        case {"$bytes": str(text)}:
            return base64.b64decode(text)
        case dict():
            return {key: _unpack(inner) for key, inner in value.items()}
        case list():
            return [_unpack(inner) for inner in value]
    return value
