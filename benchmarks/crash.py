"""Kill a hub again and again, and count what became of every message.

    python benchmarks/crash.py                         # 100 kills, 100,000 messages: some minutes
    python benchmarks/crash.py --kills 5 --messages 3000

The hub (`python -m chatq serve`, by `odd_hub.py`) runs in a process of its own; three producers and
three consumers, plain python-socketio clients, in others, over real sockets. The hub is killed with
SIGKILL at random moments and started again; now and then it is stopped in good order, and its clock
on the wall is set, by up to an hour either way, while it runs or before it starts. Consumers cut
their connections between work and answer, and some messages are poison: they end the process that
handles them, or its connection. A producer that gets no answer says the same again, with the same
`key`, when it is connected again. Everybody writes down what happened; the verdict is that of
`books.py`.

It fails unless nothing was lost, unmarked, made up, doubled, or handled twice without a crash
between work and answer, nothing but poison is dead, and the database is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import socketio
from books import POISON, Books, good
from crash_client import NAMESPACE, QUEUE, WINDOW
from odd_hub import WallClock, command

CLIENTS = 3  # of each kind
CLIENT = Path(__file__).with_name("crash_client.py")
HOUR = 3600.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Hub:
    """The hub's process, started as often as needed; `lease` in seconds."""

    def __init__(self, folder: Path, lease: float) -> None:
        self.folder, self.lease, self.port = folder, lease, free_port()
        self.clock = WallClock(folder / "clock")
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        store = f"sqlite:///{self.folder / 'hub.db'}"
        with (self.folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                command(self.clock, self.lease, self.port, store, NAMESPACE),
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

    def check(self) -> None:
        """It has no business to end by itself."""
        assert self.process is not None
        if (status := self.process.poll()) is not None:
            raise RuntimeError(f"the hub ended by itself, with status {status}")


class Clients:
    """Producers and consumers by name; they are killed when the block ends."""

    def __init__(self, folder: Path, url: str, messages: int, doses: int, seed: int) -> None:
        self.deaths = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self.books = Books(WINDOW)
        each = -(-messages // CLIENTS)
        for role in ("produce", "consume"):
            for n in range(CLIENTS):
                name = f"{role}-{n}"
                self.books.add(name, role, folder / name)
                command = [sys.executable, str(CLIENT), "--role", role, "--name", f"p{n}"]
                command += ["--url", url, "--book", str(folder / name), "--messages", str(each)]
                command += ["--doses", str(0 if n else doses), "--seed", str(seed + n)]
                # About thirty cuts, or one for each hundred messages if these are few.
                command += ["--cuts", str(min(0.01, 30 / messages))]
                self._commands[name] = command

    def __enter__(self) -> Self:
        for name in self._commands:
            self._start(name)
        return self

    def _start(self, name: str) -> None:
        self._processes[name] = subprocess.Popen(self._commands[name], stdin=subprocess.PIPE)

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def __exit__(self, *_: object) -> None:
        for name in [*self._processes]:
            self._end(name)

    def enough(self) -> None:
        """Let the producers finish."""
        for name, process in self._processes.items():
            if name.startswith("produce") and process.stdin is not None:
                process.stdin.close()

    def look(self) -> None:
        """Read the books, and start consumers again that poison has killed."""
        for name, process in [*self._processes.items()]:
            if name.startswith("consume") and process.poll() is not None:
                assert process.returncode == -signal.SIGKILL, f"{name} ended by itself"
                self.deaths += 1
                self._end(name)
                self._start(name)
        self.books.read()


async def left(url: str) -> tuple[set[str], int]:
    """Return the keys of the dead, and how many other messages are in the queue."""
    sio = socketio.AsyncClient(reconnection=False)
    await sio.connect(url, namespaces=[NAMESPACE], transports=["websocket"])
    try:
        asked = {"queue": QUEUE}
        stats = await sio.call("stats", asked, namespace=NAMESPACE, timeout=20)
        found = await sio.call("dead", asked, namespace=NAMESPACE, timeout=20)
    finally:
        await sio.disconnect()
    if "error" in found or "error" in stats:
        raise RuntimeError(f"the hub refuses to look: {stats}, {found}")
    for message in found["dead"]:
        if not message["data"].endswith(POISON):
            print(f"\ndead, and no poison: {message}", file=sys.stderr)
    dead = {message["data"] for message in found["dead"]}
    return dead, sum(stats[name] for name in ("ready", "leased", "delayed"))


def run(
    folder: Path,
    kills: int,
    messages: int,
    seed: int,
    within: float,
    lease: float = 10.0,
    doses: int = 2,
) -> dict[str, Any]:
    """Kill and start again until there were enough of both; return the verdict."""
    chance, hub, began = random.Random(seed), Hub(folder, lease), time.monotonic()
    killed = stopped = jumps = 0
    dead: set[str] = set()

    def jump() -> int:
        if chance.random() < 0.5:
            return 0
        hub.clock.set(chance.uniform(-HOUR, HOUR))
        return 1

    hub.start()
    clients = Clients(folder, hub.url, messages, doses, seed)
    books = clients.books
    try:
        with clients:
            # Paced so that the kills are spread over the messages.
            while killed < kills or len(books.ids) < messages:
                wanted = len(books.ids) + chance.random() * 2 * messages / max(kills, 1)
                pause = time.monotonic() + chance.uniform(0.05, 1.5)
                while len(books.ids) < wanted and time.monotonic() < pause + 5:
                    wait(hub, 0.02)
                    clients.look()
                jumps += jump()
                wait(hub, chance.random() * 0.02)
                if killed < kills:
                    orderly = chance.random() < 0.2
                    hub.end(signal.SIGTERM if orderly else signal.SIGKILL)
                    killed, stopped = killed + (not orderly), stopped + orderly
                    jumps += jump()
                    hub.start()
                progress(began, f"{killed} kills, {len(books.ids):,} answered", within)
            clients.enough()
            rest = 1
            while books.done < CLIENTS or rest or books.missing(dead):
                wait(hub, 0.2)
                clients.look()
                if books.done == CLIENTS:
                    dead, rest = asyncio.run(left(hub.url))
                text = f"{len(books.missing(dead)):,} not yet delivered or dead, {rest:,} kept"
                progress(began, text, within)
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
        "orderly_restarts": stopped,
        "clock_jumps": jumps,
        "consumers_killed_by_poison": clients.deaths,
        **books.verdict(dead),
        "integrity_check": whole,
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
    }


def wait(hub: Hub, seconds: float) -> None:
    """Let this time pass; the hub has no business to end by itself meanwhile."""
    assert hub.process is not None
    with contextlib.suppress(subprocess.TimeoutExpired):
        hub.process.wait(seconds)
    hub.check()


def progress(began: float, text: str, within: float) -> None:
    seconds = time.monotonic() - began
    print(f"\r{seconds:6.1f} s: {text:60}", end="", file=sys.stderr, flush=True)
    if seconds > within:
        raise TimeoutError(f"not done after {within:g} s: {text}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=1800.0, help="a limit, in seconds")
    parser.add_argument("--directory", type=Path, help="where the files are (default: a new one)")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--lease", type=float, default=10.0, help="of the hub, in seconds")
    parser.add_argument("--doses", type=int, default=2, help="of each kind of poison")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatq-crash-", dir=given.directory) as folder:
        result = run(
            Path(folder),
            given.kills,
            given.messages,
            given.seed,
            given.within,
            given.lease,
            given.doses,
        )
    print(file=sys.stderr)
    for name, value in result.items():
        print(
            f"{name.replace('_', ' '):28} {value:>12,}"
            if isinstance(value, int)
            else f"{name.replace('_', ' '):28} {value:>12}"
        )
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return 0 if good(result) and result["integrity_check"] == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
