"""The processes of a scene, each behind a relay ("cable") that can be cut.

Owns which program runs under which name, the target of its relay, and their folder. Must not know:
the stage, the journal, which clients are connected.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit
from weakref import WeakSet

from ..journal.activity import NotSettled, wait_for
from .process import Folder, Process
from .relay import Relay

__all__ = ["Programs"]


class _Program(NamedTuple):
    """The arguments of a start: `url`: the server it connects to, `server`: the name of the process
    that serves there ("" for another server)."""

    text: str
    arguments: tuple[str, ...]
    url: str
    server: str


class Programs:
    """Runs programs under names.

    `serves()` returns the address of the stage's server; `started(process)` is called with a new
    process before it is returned; `noticed(name)` ends when the server has noticed that a
    connection is gone.
    """

    def __init__(
        self,
        serves: Callable[[], str],
        started: Callable[[Process], None],
        noticed: Callable[[str], Awaitable[None]],
        address: Callable[[str], str] = lambda url: url,
    ) -> None:
        self._serves, self._started, self._noticed = serves, started, noticed
        self._address = address
        self._programs: dict[str, _Program] = {}
        self._cables: dict[str, Relay] = {}
        self._running: dict[str, Process] = {}
        #: Also those that were restarted, which somebody may still have at hand.
        self._own: WeakSet[Process] = WeakSet()
        self._folder: Folder | None = None

    def __contains__(self, name: object) -> bool:
        return name in self._cables

    def __iter__(self) -> Iterator[str]:
        return iter([*self._cables])

    def processes(self) -> dict[str, Process]:
        """Return the newest process of each name, whether or not it still runs."""
        return {**self._running}

    def process(self, name: str | Process) -> Process:
        """Return a process by its name. Raises `LookupError` if there is none."""
        found = self._running.get(name if isinstance(name, str) else name.name)
        if found is None:
            raise LookupError(f"no process is called {name!r}; there are {[*self] or 'none'}")
        return found

    def _now(self, process: Process) -> Process:
        """Return the process that runs under the name of `process` now."""
        return self._running.get(process.name, process) if process in self._own else process

    async def found(self, url: Any) -> Any:
        """Return `url`, or if it is a process, its present address as soon as it listens.

        Raises `ValueError` if it prints none.
        """
        if not isinstance(url, Process):
            return url
        serving = self._now(url)
        with contextlib.suppress(NotSettled):
            await wait_for(partial(_listens, serving), serving.listen, "its address", 10.0)
        if not serving.address:
            raise ValueError(f"the process {url.name!r} has printed no address of a server")
        return serving.address

    @property
    def folder(self) -> Path:
        """The folder in which they run."""
        if self._folder is None:
            self._folder = Folder()
        return self._folder.path

    def server_at(self, url: str) -> str:
        """Return the name of the process that serves at `url`, as it has printed; "" if none."""
        where = urlsplit(url)
        if where.hostname not in ("127.0.0.1", "localhost"):
            return ""
        ports = {name: urlsplit(each.address).port for name, each in self._running.items()}
        return next((name for name, port in ports.items() if port and port == where.port), "")

    async def start(
        self, name: str, text: str, arguments: tuple[str, ...], url: str | Process
    ) -> Process:
        """Run a program that connects to `url` ("": the stage's server); see `Stage.process`."""
        address: str = await self.found(url)
        serving = (p.name for p in self._running.values() if address and p.address == address)
        return await self._start(name, _Program(text, arguments, address, next(serving, "")))

    async def restart(
        self, name: str, until: Callable[[Callable[[], object], str], Awaitable[None]]
    ) -> Process:
        """Run a program anew; see `Stage.restart`. `until` waits for a condition."""
        name = self.process(name).name
        program = self._programs[name]
        serving = self._running.get(program.server)
        if serving is not None and serving.name != name:
            listens = partial(_listens, serving)
            await until(listens, f"the {program.server}")
        return await self._start(name, program)

    async def _start(self, name: str, program: _Program) -> Process:
        if before := self._running.pop(name, None):
            await before.kill()
        if cable := self._cables.pop(name, None):
            await cable.close()
            await self._noticed(name)
        cable = self._cables[name] = await Relay.open(partial(self._target_of, program))
        own = not (program.url or program.server)
        address = self._address(cable.url) if own else cable.url
        address = f"{address}?{urlencode({'name': name})}"
        process = await Process.start(
            name, program.text, address, *program.arguments, folder=self.folder
        )
        self._own.add(process)
        self._started(process)
        self._running[name] = process
        self._programs[name] = program
        return process

    def _target_of(self, program: _Program) -> str:
        """Return the present address of the program's server, which may have been restarted."""
        process = self._running.get(program.server)
        return process.address if process else program.url or self._serves()

    def cut(self, name: str) -> None:
        """Cut a cable: connections are aborted, and new ones refused until `mend`."""
        self._cables[self.process(name).name].cut()

    def mend(self, name: str) -> None:
        """Accept connections over this cable again."""
        self._cables[self.process(name).name].mend()

    async def end(self) -> None:
        """Kill all processes, and close the cables."""
        await asyncio.gather(*(process.kill() for process in self._running.values()))
        await asyncio.gather(*(cable.close() for cable in self._cables.values()))

    async def remove_folder(self) -> None:
        """Remove the folder, with its contents."""
        if self._folder is not None:
            await self._folder.close()


def _listens(process: Process) -> bool:
    return bool(process.address) or process.code is not None
