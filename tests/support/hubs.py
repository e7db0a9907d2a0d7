"""A hub in a process of its own, as its users start it, and clients of it; for tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import socketio

from chatq import Queues
from chatq.hub.caps.dialect import Caps
from chatq.hub.protocol import Native
from chatq.hub.serve import serve
from chatq.waiting import set_within

DEADLINE = 10.0  # seconds; what takes longer is a mistake


class Address:
    """The address of a hub (`url`, `namespace`), and its clients."""

    url: str
    namespace: str

    async def client(self, **options: Any) -> socketio.AsyncClient:
        """Return a connected client that does not connect again by itself."""
        client = socketio.AsyncClient(reconnection=False)
        await self.join(client, **options)
        return client

    async def join(self, client: socketio.AsyncClient, **options: Any) -> None:
        options = {"transports": ["websocket"], **options}
        await client.connect(self.url, namespaces=[self.namespace], wait_timeout=5, **options)

    async def call(self, client: socketio.AsyncClient, event: str, data: Any = None) -> Any:
        return await client.call(event, data, namespace=self.namespace, timeout=DEADLINE)


class Here(Address):
    """A hub in this process, with its store in `folder`: quick to start, and to open again."""

    def __init__(self, folder: Path, dialect: str | None = None, namespace: str = "/caps") -> None:
        self.folder, self.dialect, self.namespace = folder, dialect, namespace

    async def open(self) -> None:
        rules = Caps.rules if self.dialect else Native.rules
        self.queues = await Queues.open(f"sqlite:///{self.folder / 'here.db'}", rules)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._runner = await serve(
            self.queues, listener, namespace=self.namespace, dialect=self.dialect
        )

    async def close(self) -> None:
        await self._runner.cleanup()
        await self.queues.close(0.1)


class Hub(Address):
    """A hub in a process of its own: also `port`, and `log`, what it has said on stderr."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "hub.log"
        self.process = spawn(*arguments, folder=folder)
        with deadline(self.process):
            self.line = self.process.stdout.readline()
        if not self.line:
            raise AssertionError(f"the hub did not start: {self.log}")
        address = self.line.removeprefix("chatq hub listening on ").strip()
        scheme = address.partition("://")[0]
        host, _, namespace = address.partition("://")[2].partition("/")
        self.url, self.namespace = f"{scheme}://{host}", f"/{namespace}"
        self.port = int(host.rpartition(":")[2])

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    @property
    def memory(self) -> int:
        """The resident memory of the process, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def busy(self) -> float:
        """The processor time that the process has used, in seconds: what it did, whatever else the
        machine did meanwhile."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(one.read_text().split()[0]) for one in threads) / 1e9

    async def quiet(self) -> None:
        """Return when the process has next to nothing to do."""
        async with asyncio.timeout(DEADLINE * 3):
            while True:
                began, before = time.monotonic(), self.busy
                await set_within(asyncio.Event(), 0.05)
                if self.busy - before < 0.1 * (time.monotonic() - began):
                    return

    async def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal, and return how many seconds later the process was gone, with status 0."""
        began = time.monotonic()
        self.process.send_signal(number)
        status = await asyncio.to_thread(self.process.wait, DEADLINE)
        assert status == (-signal.SIGKILL if number == signal.SIGKILL else 0), self.log
        return time.monotonic() - began


def spawn(*arguments: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start `python -m chatq serve`, on a free port and with a store in `folder` unless told."""
    given = [*arguments]
    for option, value in (("--port", "0"), ("--store", f"sqlite:///{folder / 'hub.db'}")):
        if option not in given:
            given += [option, value]
    with (folder / "hub.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "chatq", "serve", *given],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": ""},  # the hub itself has to flush
            **{"stderr": log, **options},
        )


@contextlib.contextmanager
def deadline(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the process if the block takes too long."""
    timer = threading.Timer(DEADLINE, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def hub(*arguments: str, folder: Path) -> Iterator[Hub]:
    """A hub on a free port with a store in `folder`, until the block ends."""
    running = Hub(*arguments, folder=folder)
    try:
        yield running
    finally:
        end(running.process)


def end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _receipt(data: Any, delivery: Any = None) -> Any:
    return delivery["receipt"]


class Inbox:
    """The events that a client has received, `events` as (name, arguments), and a wait for more.

    `answer`: what its handler returns, made of the arguments; True: the receipt; False: nothing.
    """

    within = DEADLINE

    def __init__(
        self,
        client: socketio.AsyncClient,
        namespace: str,
        answer: Callable[..., Any] | bool = False,
    ) -> None:
        self.client, self.events = client, list[tuple[str, tuple[Any, ...]]]()
        self.answer = answer if callable(answer) else _receipt if answer else None
        self._more = asyncio.Event()
        client.on("*", self.take, namespace=namespace)

    def take(self, event: str, *arguments: Any) -> Any:
        """Keep an event, and return the answer to it."""
        self.events.append((event, arguments))
        self._more.set()
        return self.answer(*arguments) if self.answer else None

    async def until(self, condition: Callable[[], bool] | int, what: str = "more") -> None:
        """Wait until `condition` holds, or so many events are there."""
        holds = condition if callable(condition) else lambda: len(self.events) >= condition
        try:
            async with asyncio.timeout(self.within):
                while not holds():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(
                f"still waiting for {what}; there are {self.events[-3:]}"
            ) from None

    @property
    def data(self) -> list[Any]:
        return [arguments[0] for _, arguments in self.events]

    @property
    def deliveries(self) -> list[dict[str, Any]]:
        return [arguments[1] for _, arguments in self.events]

    @property
    def receipts(self) -> list[str]:
        return [delivery["receipt"] for delivery in self.deliveries]


_FROZEN = """
import os, signal, sys
import socketio
url, namespace, event, data, transport = sys.argv[1:]
client = socketio.Client()
client.connect(url, namespaces=[namespace], transports=[transport])
client.call(event, __import__("json").loads(data), namespace=namespace)
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@contextlib.contextmanager
def frozen(
    hub: Hub, event: str, data: str, transport: str = "websocket"
) -> Iterator[subprocess.Popen[str]]:
    """A client in a process of its own that makes one call and is then stopped in its tracks."""
    arguments = [hub.url, hub.namespace, event, data, transport]
    process = subprocess.Popen(
        [sys.executable, "-c", _FROZEN, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        with deadline(process):
            assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        end(process)
