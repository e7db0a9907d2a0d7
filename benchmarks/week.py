"""A week in an hour: users who come and go, and what stays of them, in memory and on disk.

    python benchmarks/week.py                     # 10,000 users, one hour
    python benchmarks/week.py --minutes 5 --users 1000

Two processes. One is a server of Socket.IO with `Queues` on SQLite, attached as in the README; its
rules keep everything for some hours. Time goes so fast in it that a week passes in so many minutes
(168 times as fast in an hour): the clock of the queues, and the event loop with all its timers. In
the other one are the users, real Socket.IO clients over real sockets, some hundred at a time: each
comes, consumes a queue of its own, publishes to others (with keys, each message with a time to
live), acknowledges what comes, refuses some of it, and leaves with a goodbye, or its cable is cut.
A queue is in use only for a while: the users of Monday never come back, and some of what is sent to
them comes when they are gone.

It fails unless file and memory of the server at the end are within 10 % of those after a tenth.
The waits are in real time: of a request over the socket (`publish`), of one to the store in the
server's process with the CPU time that this process took meanwhile, and of a turn of its loop.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import socketio
from aiohttp import web
from books import cut

from chatq import Queues, Rules

WEEK, HOUR = 7 * 24 * 3600.0, 3600.0
NAMESPACE = "/week"
TENTHS = 10
RULES = Rules(
    lease=600.0,
    attempts=2,
    dead_memory=4 * HOUR,
    dead_length=50,
    queue_memory=4 * HOUR,
    key_memory=4 * HOUR,
)
VISITS = 3  # of each user
STAY = HOUR  # of a visit, on average
MESSAGES = 5  # that a visitor publishes
TIMES_TO_LIVE = (0.2 * HOUR, HOUR, 3 * HOUR)
WITHIN = 60.0  # real seconds; for an answer


# -- time -----------------------------------------------------------------------------------------


class _Selector(selectors.DefaultSelector):
    """Waits for a real time, where it is told one that goes fast."""

    speed = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self.speed)


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop for which time goes `speed` times as fast, in all its timers."""

    def __init__(self, speed: float) -> None:
        self._start, self._real = 0.0, time.monotonic()
        self._waits = _Selector()
        self._waits.speed = speed
        super().__init__(self._waits)

    def time(self) -> float:
        return self._start + (time.monotonic() - self._real) * self._waits.speed

    def slow_down(self) -> None:
        """From now on, time goes as it does."""
        self._start, self._real = self.time(), time.monotonic()
        self._waits.speed = 1.0


async def pause(seconds: float) -> None:
    """Let this time pass, on the clock of the loop."""
    done = asyncio.get_running_loop().create_future()
    timer = asyncio.get_running_loop().call_later(seconds, done.set_result, None)
    try:
        await done
    finally:
        timer.cancel()


# -- the server -----------------------------------------------------------------------------------


async def serve(path: str, loop: FastLoop, speed: float) -> None:
    """Serve until stdin is closed; answer each line with the longest waits since the last one."""
    began = time.time() - loop.time()

    def clock() -> float:
        return began + loop.time()

    sio = socketio.AsyncServer(ping_interval=25 * speed, ping_timeout=60 * speed)
    async with await Queues.open(f"sqlite:///{path}", RULES, clock=clock) as queues:
        queues.attach(sio, NAMESPACE, serve=True)
        application = web.Application()
        sio.attach(application)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        print(f"http://127.0.0.1:{port}", flush=True)
        waits: dict[str, float] = collections.defaultdict(float)
        probing = asyncio.create_task(probe(queues, waits, speed))
        asked: asyncio.Queue[str] = asyncio.Queue()
        loop.add_reader(sys.stdin, lambda: asked.put_nowait(sys.stdin.readline()))
        while await asked.get():
            known = len(await queues.names())
            print(json.dumps({"queues": known, **waits}), flush=True)
            waits.clear()
        loop.remove_reader(sys.stdin)
        probing.cancel()
        loop.slow_down()
        await runner.cleanup()


async def probe(queues: Queues, waits: dict[str, float], speed: float) -> None:
    """Note how long the loop and the store let one wait at most, in real seconds."""
    while True:
        due = time.perf_counter() + 0.05
        await pause(0.05 * speed)
        waits["loop"] = max(waits["loop"], time.perf_counter() - due)
        began, used = time.perf_counter(), time.process_time()
        await queues.used("somebody")
        took = time.perf_counter() - began
        if took > waits["store"]:
            waits["store"], waits["cpu"] = took, time.process_time() - used


# -- the users ------------------------------------------------------------------------------------


class Users:
    """All of them; the first come first, and each only for a while."""

    def __init__(self, url: str, speed: float, users: int, seed: int) -> None:
        self.url, self.speed, self.users = url, speed, users
        self.chance = random.Random(seed)
        self.counts: collections.Counter[str] = collections.Counter()
        self.seen: set[int] = set()
        self.longest, self.here = 0.0, 0
        self._began = time.monotonic()
        self._visits: set[asyncio.Task[None]] = set()

    def _somebody(self, *, gone: bool = False) -> int:
        """Return the number of a user of these hours, or of one of some hours ago."""
        part = (time.monotonic() - self._began) * self.speed / WEEK
        some = max(1, self.users // 20)
        first = int(part * (self.users - some)) - (2 * some if gone else 0)
        return max(0, first) + self.chance.randrange(some)

    async def come_and_go(self) -> None:
        """Let them come, at irregular times, until the week is over."""
        between = WEEK / (self.users * VISITS) / self.speed
        while (time.monotonic() - self._began) * self.speed < WEEK:
            await pause(self.chance.expovariate(1 / between))
            visit = asyncio.create_task(self._visit(self._somebody()))
            self._visits.add(visit)
            visit.add_done_callback(self._left)
        await asyncio.wait(self._visits)

    def _left(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        if not visit.cancelled() and (error := visit.exception()) is not None:
            self.counts["failed"] += 1
            print(f"a visit failed: {error!r}", file=sys.stderr, flush=True)

    async def _ask(self, sio: socketio.AsyncClient, event: str, data: Any) -> Any:
        began = time.perf_counter()
        answer = await sio.call(event, data, namespace=NAMESPACE, timeout=WITHIN)
        self.longest = max(self.longest, time.perf_counter() - began)
        if "error" in answer:
            raise RuntimeError(f"{event}: {answer['error']}")
        return answer

    async def _visit(self, number: int) -> None:
        chance, counts = self.chance, self.counts
        sio = socketio.AsyncClient(reconnection=False)

        async def note(data: Any, delivery: dict[str, Any]) -> str | None:
            counts["delivered"] += 1
            if chance.random() < 0.1:
                counts["refused"] += 1
                with contextlib.suppress(socketio.exceptions.SocketIOError):  # it has just left
                    await sio.emit("failed", {"receipt": delivery["receipt"]}, namespace=NAMESPACE)
                return None
            if chance.random() < 0.03:
                return None  # it is not answered, and its lease ends
            return str(delivery["receipt"])

        sio.on("note", note, namespace=NAMESPACE)
        await sio.connect(
            self.url, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=WITHIN
        )
        self.here += 1
        try:
            counts["visits"] += 1
            self.seen.add(number)
            await self._ask(sio, "subscribe", {"queue": f"user-{number}", "window": 8})
            for n in range(MESSAGES):
                await pause(chance.uniform(0, 2 * STAY / MESSAGES) / self.speed)
                await self._publish(sio, f"{number}-{counts['visits']}-{n}")
            if chance.random() < 0.3:
                counts["cuts"] += 1
                cut(sio)
        finally:
            self.here -= 1
            await sio.disconnect()

    async def _publish(self, sio: socketio.AsyncClient, key: str) -> None:
        to = self._somebody(gone=self.chance.random() < 0.2)
        data = {"text": "good news " * 20}
        message: dict[str, Any] = {"queue": f"user-{to}", "event": "note", "data": data}
        message["key"], message["ttl"] = key, self.chance.choice(TIMES_TO_LIVE)
        await self._ask(sio, "publish", message)
        self.counts["published"] += 1


async def use(url: str, speed: float, users: int, seed: int) -> None:
    """Be all users; answer each line of stdin with what they have done."""
    loop = asyncio.get_running_loop()
    all_of_them = Users(url, speed, users, seed)

    def answer() -> None:
        if not sys.stdin.readline():
            loop.remove_reader(sys.stdin)
            return
        names = ("published", "delivered", "refused")
        counts = {name: all_of_them.counts[name] for name in names}
        figures = {"users": len(all_of_them.seen), "here": all_of_them.here}
        print(json.dumps(counts | figures | {"longest": all_of_them.longest}), flush=True)
        all_of_them.longest = 0.0

    loop.add_reader(sys.stdin, answer)
    await all_of_them.come_and_go()


# -- the one who watches --------------------------------------------------------------------------


def memory(pid: int) -> float:
    """Return the memory of this process now, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def size(path: Path) -> float:
    """Return the size of this file, in MB."""
    return path.stat().st_size / 1e6 if path.exists() else 0.0


def cpu(pid: int) -> float:
    """Return the CPU time of this process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Child:
    """One of the two processes, which answers a line by a line."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"it ended by itself, with status {self.process.wait()}")
        return line.strip()

    def figures(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.line())
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def watch(minutes: float, users: int, seed: int, folder: Path, say: Callable[[str], None]) -> bool:
    """Print what there is after each tenth; return whether it stays as it was after the first."""
    speed, path = WEEK / (60 * minutes), folder / "week.db"
    log = path.with_name("week.db-wal")  # written over and over, once it has its full size
    say(f"{users:,} users, {speed:g} times as fast")
    titles = "tenth  users  here  queues  published  delivered      refused  file MB log MB  RSS MB"
    say(f"{titles}  CPU %  longest wait in ms: publish, store (CPU meanwhile), loop")
    server = Child("--role", "server", "--path", path, "--speed", speed)
    sizes: list[tuple[float, float]] = []  # of the file, and of the memory
    try:
        clients = Child(
            *("--role", "users", "--url", server.line(), "--speed", speed),
            *("--users", users, "--seed", seed),
        )
        try:
            began = time.monotonic()
            before = 0.0
            for tenth in range(1, TENTHS + 1):
                end = began + 60 * minutes * tenth / TENTHS - (1.0 if tenth == TENTHS else 0.0)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    clients.process.wait(max(0.0, end - time.monotonic()))
                done, served = clients.figures(), server.figures()
                sizes.append((size(path), memory(server.process.pid)))
                used = cpu(server.process.pid) + cpu(clients.process.pid)
                say(
                    f"{tenth:5} {done['users']:6,} {done['here']:5,} {served['queues']:7,} "
                    f"{done['published']:10,} {done['delivered']:10,} {done['refused']:10,}  "
                    f"{sizes[-1][0]:8.2f} {size(log):6.1f} {sizes[-1][1]:7.1f} "
                    f"{100 * (used - before) / (6 * minutes):6.0f}  "
                    f"{done['longest'] * 1000:8.0f} {served['store'] * 1000:5.0f} "
                    f"({served['cpu'] * 1000:.0f}) {served['loop'] * 1000:5.0f}"
                )
                before = used
        finally:
            clients.end()
    finally:
        server.end()
    (file, rss), (last_file, last_rss) = sizes[0], sizes[-1]
    say(
        f"after the first tenth {file:.2f} and {rss:.1f} MB, at the end {last_file:.2f} and "
        f"{last_rss:.1f}: {last_file / file - 1:+.1%}, {last_rss / rss - 1:+.1%}"
    )
    return last_file <= 1.1 * file and last_rss <= 1.1 * rss


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    for name in ("--role", "--path", "--url", "--speed"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "server":
        loop = FastLoop(float(given.speed))
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve(given.path, loop, float(given.speed)))
        return 0
    if given.role == "users":
        asyncio.run(use(given.url, float(given.speed), given.users, given.seed))
        return 0

    def say(line: str) -> None:
        print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="chatq-week-") as folder:
        return 0 if watch(given.minutes, given.users, given.seed, Path(folder), say) else 1


if __name__ == "__main__":
    sys.exit(main())
