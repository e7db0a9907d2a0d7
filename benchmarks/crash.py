"""Kill a hub again and again, and count what became of every message.

    python benchmarks/crash.py                         # 100 kills, 100,000 messages: some minutes
    python benchmarks/crash.py --kills 5 --messages 3000

The hub (`python -m chatq serve`) runs in a process of its own; three producers and three consumers,
plain python-socketio clients, in others, over real sockets. The hub is killed with SIGKILL at
random moments and started again. A producer that gets no answer says the same again, with the same
`key`, when it is connected again. Everybody writes down what happened, each line before the next
step; at the end the books are compared:

- lost: answered to its producer, and delivered to no consumer;
- duplicates: delivered more than once; unmarked, if more than one delivery was not `redelivered`;
- made up: delivered, and never published; twins: a key that was given two ids.

It fails unless nothing was lost, unmarked, made up or doubled, and the database is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import socketio

CLIENTS = 3  # of each kind
NAMESPACE = "/caps"
QUEUE = "packages"
WINDOW = 100
FLIGHT = 40  # publishes that one producer has under way


# -- the clients' processes -----------------------------------------------------------------------


def client() -> socketio.AsyncClient:
    return socketio.AsyncClient(
        reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0.5
    )


class Book:
    """A file in which every line is handed to the kernel before the next step."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


async def connected(sio: socketio.AsyncClient, url: str) -> None:
    """Connect for the first time, whenever the hub is there; afterwards the client does it."""
    while not sio.connected:  # or else it would be refused at once, again and again
        with contextlib.suppress(socketio.exceptions.ConnectionError):
            await sio.connect(url, namespaces=[NAMESPACE], transports=["websocket"], retry=True)


def _answered(answer: asyncio.Future[Any], value: Any) -> None:
    if not answer.done():
        answer.set_result(value)


async def produce(url: str, path: str, me: str, messages: int) -> None:
    """Publish `messages`, and as many more until stdin is closed; each until it is answered."""
    sio, book = client(), Book(path)
    numbers = iter(range(10**9))
    there = asyncio.Event()
    waiting: set[asyncio.Future[Any]] = set()

    @sio.on("connect", namespace=NAMESPACE)
    async def connect() -> None:
        there.set()

    @sio.on("disconnect", namespace=NAMESPACE)
    async def disconnect(*_: Any) -> None:
        there.clear()
        for future in waiting:
            future.cancel()

    async def publish(message: dict[str, Any]) -> Any:
        """Return the answer; None if the connection broke before there was one."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting.add(answer)
        try:
            await sio.emit(
                "publish",
                message,
                namespace=NAMESPACE,
                callback=partial(_answered, answer),
            )
            await asyncio.wait([answer])
        except socketio.exceptions.SocketIOError:
            return None
        finally:
            waiting.discard(answer)
        return None if answer.cancelled() else answer.result()

    async def work() -> None:
        for n in numbers:
            if n >= messages and enough.is_set():
                return
            key = f"{me}-{n}"
            message = {"queue": QUEUE, "event": "package", "data": key, "key": key}
            answer = None
            while answer is None:
                await there.wait()
                answer = await publish(message)
            book.write(key, answer["id"])

    enough = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, enough.set)
    await connected(sio, url)
    await asyncio.gather(*(work() for _ in range(FLIGHT)))
    book.write("done")
    await sio.disconnect()


async def consume(url: str, path: str) -> None:
    """Write down every delivery, and then acknowledge it, until stdin is closed."""
    sio, book = client(), Book(path)

    @sio.on("connect", namespace=NAMESPACE)
    async def connect() -> None:
        await sio.emit("subscribe", {"queue": QUEUE, "window": WINDOW}, namespace=NAMESPACE)

    @sio.on("package", namespace=NAMESPACE)
    async def package(key: str, delivery: dict[str, Any]) -> str:
        book.write(key, delivery["id"], delivery["attempt"], delivery["redelivered"])
        return str(delivery["receipt"])

    enough = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, enough.set)
    await connected(sio, url)
    await enough.wait()
    await sio.disconnect()


# -- the one who kills ----------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Hub:
    """The hub's process, started as often as needed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        store = f"sqlite:///{self.folder / 'hub.db'}"
        with (self.folder / "hub.log").open("ab") as log:
            command = [sys.executable, "-m", "chatq", "serve", "--port", str(self.port)]
            self.process = subprocess.Popen(
                [*command, "--store", store, "--namespace", NAMESPACE],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise RuntimeError(f"the hub did not start: {(self.folder / 'hub.log').read_text()}")

    def end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@contextlib.contextmanager
def started(folder: Path, url: str, messages: int) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Producers and consumers by name; they are killed when the block ends."""
    processes = {}
    try:
        for kind in ("produce", "consume"):
            for n in range(CLIENTS):
                name = f"{kind}-{n}"
                command = [sys.executable, __file__, "--role", kind, "--name", f"p{n}"]
                command += ["--url", url, "--book", str(folder / name)]
                processes[name] = subprocess.Popen(
                    [*command, "--messages", str(-(-messages // CLIENTS))],
                    stdin=subprocess.PIPE,
                )
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


class Books:
    """What the clients have written down so far."""

    def __init__(self, folder: Path) -> None:
        self.ids: dict[str, set[str]] = collections.defaultdict(set)
        self.deliveries: dict[str, list[tuple[str, int, bool]]] = collections.defaultdict(list)
        self.done = 0
        self._files = {
            f"{kind}-{n}": (folder / f"{kind}-{n}")
            for kind in ("produce", "consume")
            for n in range(CLIENTS)
        }
        self._read = dict.fromkeys(self._files, 0)

    def read(self) -> None:
        for name, path in self._files.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read[name])
                content = file.read()
            content = content[: content.rfind(b"\n") + 1]
            self._read[name] += len(content)
            for line in content.decode().splitlines():
                words = line.split()
                if words == ["done"]:
                    self.done += 1
                elif name.startswith("produce"):
                    self.ids[words[0]].add(words[1])
                else:
                    delivery = (words[1], int(words[2]), words[3] == "True")
                    self.deliveries[words[0]].append(delivery)

    def verdict(self) -> dict[str, int]:
        twice = {key: all_ for key, all_ in self.deliveries.items() if len(all_) > 1}
        return {
            "answered": len(self.ids),
            "delivered": len(self.deliveries),
            "lost": sum(key not in self.deliveries for key in self.ids),
            "made_up": sum(key not in self.ids for key in self.deliveries),
            "twins": sum(
                len(self.ids[key] | {id for id, *_ in self.deliveries[key]}) > 1 for key in self.ids
            ),
            "duplicates": len(twice),
            "unmarked": sum(sum(not marked for *_, marked in all_) > 1 for all_ in twice.values()),
            "attempts_repeated": sum(
                len({attempt for _, attempt, _ in all_}) < len(all_) for all_ in twice.values()
            ),
            "most_deliveries": max((len(all_) for all_ in self.deliveries.values()), default=0),
        }


def run(folder: Path, kills: int, messages: int, seed: int, within: float) -> dict[str, Any]:
    """Kill and start again until there were enough of both; return the verdict."""
    chance, hub, began = random.Random(seed), Hub(folder), time.monotonic()
    books, killed = Books(folder), 0
    hub.start()
    try:
        with started(folder, hub.url, messages) as processes:
            # Paced so that the kills are spread over the messages.
            while killed < kills or len(books.ids) < messages:
                wanted = len(books.ids) + chance.random() * 2 * messages / max(kills, 1)
                pause = time.monotonic() + chance.uniform(0.05, 1.5)
                while len(books.ids) < wanted and time.monotonic() < pause + 5:
                    wait(hub.process, 0.02)
                    books.read()
                wait(hub.process, chance.random() * 0.02)
                if killed < kills:
                    hub.end(signal.SIGKILL)
                    killed += 1
                    hub.start()
                progress(began, f"{killed} kills, {len(books.ids):,} answered", within)
            for name, process in processes.items():
                if name.startswith("produce") and process.stdin is not None:
                    process.stdin.close()
            while books.done < CLIENTS or set(books.ids) - set(books.deliveries):
                wait(hub.process, 0.1)
                books.read()
                left = len(set(books.ids) - set(books.deliveries))
                progress(began, f"{left:,} not yet delivered", within)
        hub.end(signal.SIGTERM)
    except TimeoutError as error:
        print(f"\n{error}", file=sys.stderr)
    finally:
        hub.end(signal.SIGKILL)
    books.read()
    with closing(sqlite3.connect(folder / "hub.db")) as db:
        whole = db.execute("PRAGMA integrity_check").fetchone()[0]
    return {
        "kills": killed,
        **books.verdict(),
        "integrity_check": whole,
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
    }


def wait(process: subprocess.Popen[str] | None, seconds: float) -> None:
    """Let this time pass; the hub has no business to end by itself meanwhile."""
    assert process is not None
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise RuntimeError(f"the hub ended by itself, with status {process.returncode}")


def progress(began: float, text: str, within: float) -> None:
    seconds = time.monotonic() - began
    print(f"\r{seconds:6.1f} s: {text:60}", end="", file=sys.stderr, flush=True)
    if seconds > within:
        raise TimeoutError(f"not done after {within:g} s: {text}")


def good(result: dict[str, Any]) -> bool:
    bad = ("lost", "made_up", "twins", "unmarked", "attempts_repeated")
    whole = result["answered"] > 0 and result["integrity_check"] == "ok"
    return whole and not any(result[name] for name in bad)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=1800.0, help="a limit, in seconds")
    parser.add_argument("--directory", type=Path, help="where the files are (default: a new one)")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    for name in ("--role", "--url", "--book", "--name"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "produce":
        asyncio.run(produce(given.url, given.book, given.name, given.messages))
        return 0
    if given.role == "consume":
        asyncio.run(consume(given.url, given.book))
        return 0
    with tempfile.TemporaryDirectory(prefix="chatq-crash-", dir=given.directory) as folder:
        result = run(Path(folder), given.kills, given.messages, given.seed, given.within)
    print(file=sys.stderr)
    for name, value in result.items():
        print(
            f"{name.replace('_', ' '):18} {value:>12,}"
            if isinstance(value, int)
            else f"{name.replace('_', ' '):18} {value:>12}"
        )
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return 0 if good(result) else 1


if __name__ == "__main__":
    sys.exit(main())
