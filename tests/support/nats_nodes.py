"""NATS servers for tests: one that all of them share, and a log whose answers a test waits for."""

from __future__ import annotations

import asyncio
import functools
import itertools
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import needs

from chatq.queues.nats.address import Address
from chatq.queues.nats.log import NatsLog
from chatq.queues.nats.stream import StreamGone
from chatq.queues.store import StoreError
from chatq.stage.nats_server import NatsServers

__all__ = ["Background", "InlineLog", "end_shared", "new_stream", "shared_url"]

DEADLINE = 20.0  # seconds; what takes longer is a mistake
_numbers = itertools.count(1)
_shared: list[NatsServers] = []


class Background:
    """A thread with an event loop of its own, for what goes on beside the test's."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run this there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(DEADLINE)


@functools.cache
def background() -> Background:
    return Background()


def shared_url() -> str:
    """Return where a server with one node is; it ends with the tests."""
    needs.path("nats")
    return _started()


@functools.cache
def _started() -> str:
    _shared.append(background().do(NatsServers.open()))
    url = _shared[0].url
    # With its last stream the server removes their folder, and a new one may come in between.
    background().do(_keep_one(url))
    return url


async def _keep_one(url: str) -> None:
    await (await NatsLog.open(Address.parse(f"{url}/stays"))).close()


def end_shared() -> None:
    """End that server, if anybody has asked for it."""
    for servers in _shared:
        background().do(servers.close())


def new_stream() -> str:
    """Return the address of a stream that nobody has used."""
    return f"{shared_url()}/test-{next(_numbers)}"


class InlineLog:
    """A real log on a real server; while it is asked, nothing else happens in the test's loop.

    `moment`: after so many more records the process is killed, `late`: when the server has the
    record, but before anybody has heard so. `away`: the servers cannot be reached.
    """

    def __init__(self, url: str, killed: Callable[[], BaseException]) -> None:
        self._real = background().do(NatsLog.open(Address.parse(url), patience=DEADLINE))
        self.name, self.largest, self.patience = self._real.name, self._real.largest, DEADLINE
        self._come: queue.SimpleQueue[tuple[int, str, bytes]] = queue.SimpleQueue()
        self._given = 0
        self._record: Callable[[int, str, bytes], None]
        self._killed = killed
        self.killed = self.away = self.late = False
        self.moment: int | None = None
        self.holes = 0
        self.gone: Callable[[StreamGone], None] = lambda problem: None

    def die(self) -> None:
        self.killed = True

    async def append(self, kind: str, payload: bytes, patience: float | None = None) -> int:
        self._check()
        last = self.moment == 0
        if self.moment is not None:
            self.moment -= 1
        if last and not self.late:
            self.die()
        self._check()
        place: int = background().do(self._real.append(kind, payload, patience))
        if last:
            self.die()
        self._check()
        # Every other time what comes back is quicker than the confirmation.
        self._until(place if place % 2 else place - 1)
        return place

    async def fetch(self, place: int) -> bytes | None:
        self._check()
        return background().do(self._real.fetch(place))

    async def last(self, kind: str) -> tuple[int, bytes] | None:
        self._check()
        return background().do(self._real.last(kind))

    async def purge(self, before: int, kind: str | None = None) -> None:
        self._check()
        background().do(self._real.purge(before, kind))

    async def read(
        self, after: int, record: Callable[[int, str, bytes], None], hole: Callable[[], None]
    ) -> None:
        self._record, self._given = record, after

        def come(*what: Any) -> None:
            self._come.put(what)

        def missing() -> None:
            self.holes += 1

        background().do(self._real.read(after, come, missing))
        while not self._come.empty():
            self._give()
        assert not self.holes

    async def catch_up(self) -> None:
        """Read all that anybody has written."""
        if not (self.killed or self.away):
            self._until(background().do(self._real.newest()))

    def _check(self) -> None:
        if self.killed:
            raise self._killed()
        if self.away:
            raise StoreError("away")

    def _until(self, place: int) -> None:
        while self._given < place:
            self._give()

    def _give(self) -> None:
        what = self._come.get(timeout=DEADLINE)
        self._given = what[0]
        self._record(*what)

    async def close(self) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """The process is no more: its connections are closed."""
        background().do(self._real.close())

    def forget(self) -> None:
        """Remove the stream: nobody needs it any more."""
        assert self._real._reader is not None
        background().do(self._real._reader.close())
        background().do(self._real.api("STREAM.DELETE"))
        self.disconnect()
