"""What every benchmark of the queues shares: rounds, figures, rows of the table, child processes.

Owns how a figure is taken. Must not know: what is measured.

Contenders take turns in rounds, each round in another order, so that a machine whose speed drifts
slows all of them; a ratio is the median of the ratios inside the rounds. The first round warms up
and does not count. A child does what it is told, a line of JSON each way, and ends when its
standard input does, so none outlives this process, however this one ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = [
    "FULL",
    "ORDER",
    "PRODUCERS",
    "QUICK",
    "TINY",
    "Bench",
    "Child",
    "Row",
    "Sizes",
    "Spread",
    "in_flight",
    "memory",
    "obey",
    "percentile",
    "ratio",
    "spread",
    "sync_times",
]

FOLDER = Path(__file__).parent

#: What is sent everywhere: an order as in the lessons, 127 bytes of JSON.
ORDER = {
    "store": "1-206-flowers",
    "orderID": "e3669048-7313-427b-b6cc-74010ca1f8f0",
    "customer": "Jamal Braun",
    "address": "Schmittfort, LA",
}
PRODUCERS = 100


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. `messages`, `few` and `calls` are per block: what is stored by many at
    a time, what costs a sync each, what goes over the wire one by one."""

    rounds: int
    messages: int
    few: int
    calls: int
    backlog: int
    missed: int
    queues: int


FULL = Sizes(11, 20_000, 1_000, 2_000, 1_000_000, 100_000, 10_000)
QUICK = Sizes(3, 5_000, 200, 400, 100_000, 20_000, 2_000)
TINY = Sizes(1, 200, 20, 100, 2_000, 1_000, 100)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds and, between `low` and `high`, the middle half of them."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value and what it has to be; without a bound it is only reported."""

    part: str
    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    spread: Spread | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool | None:
        """Whether the bound is met; None if there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """Return the row with its verdict."""
        return {**asdict(self), "good": self.good}


Figures = dict[str, list[float]]
Contender = Callable[[], Awaitable[float]]


class Bench:
    """One run: its sizes, a directory on the disk that is measured, and what it says meanwhile."""

    def __init__(self, sizes: Sizes, directory: Path, heading: str = "") -> None:
        self.sizes, self.directory, self.heading = sizes, directory, heading

    def folder(self) -> Path:
        """Return a new folder on the disk that is measured."""
        return Path(tempfile.mkdtemp(dir=self.directory))

    def say(self, what: str) -> None:
        """Show progress."""
        print(f"{self.heading} {what}", file=sys.stderr, flush=True)

    async def rounds(self, contenders: Mapping[str, Contender], n: int | None = None) -> Figures:
        """Let each contender measure itself once in each round; return all but the first."""
        figures: Figures = {name: [] for name in contenders}
        names = [*contenders]
        n = n or self.sizes.rounds
        for number in range(n + 1):
            self.say(f"round {number} of {n}" if number else "warming up")
            turn = number % len(names)
            for name in [*names[turn:], *names[:turn]]:
                figure = await contenders[name]()
                if number:
                    figures[name].append(figure)
        return figures

    async def backlog(self, n: int) -> Path:
        """Return a new file with `n` messages waiting; the large one is made once and copied."""
        source = self.directory / f"backlog-{n}.db"
        if not source.exists():
            self.say(f"storing a backlog of {n:,}")
            async with await Child.start("storage_child.py") as child:
                await child.ask("fill", path=str(source), n=n)
        path = self.folder() / "queues.db"
        await asyncio.to_thread(shutil.copyfile, source, path)
        return path


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the median of the ratios inside the rounds."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that `part` (0 to 1) of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


async def in_flight(n: int, width: int, one: Callable[[], Awaitable[object]]) -> float:
    """Do something `n` times, `width` at a time; return how many a second that were."""
    turns = iter(range(n))

    async def worker() -> None:
        for _ in turns:
            await one()

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(width)))
    return n / (time.perf_counter() - start)


def sync_times(folder: Path, n: int) -> list[float]:
    """Return how long the disk takes, in seconds, to have 4 KiB in a file that has its length: the
    least that SQLite does for a commit, `n` times."""
    sync = getattr(os, "fdatasync", os.fsync)
    block, times = os.urandom(4096), []
    with open(folder / "sync", "wb", buffering=0) as file:
        file.write(block * 1000)
        os.fsync(file.fileno())
        for i in range(n):
            file.seek(i % 1000 * 4096)
            file.write(block)
            start = time.perf_counter()
            sync(file.fileno())
            times.append(time.perf_counter() - start)
    return times


def memory(*, peak: bool = False, forget_peak: bool = False) -> float:
    """Return the resident memory of this process in MiB, or its peak since that was forgotten."""
    if forget_peak:
        Path("/proc/self/clear_refs").write_text("5")
    name = "VmHWM" if peak else "VmRSS"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/self/status says no {name}")


class Child:
    """A process of these benchmarks, or another that speaks as `obey` does; see `start`."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process, self._name = process, name

    @classmethod
    async def start(cls, script: str, *arguments: str, under: Sequence[str] = ()) -> Self:
        """Start a script of this folder, `under` another program if need be."""
        runner = ["node"] if script.endswith(".mjs") else [sys.executable]
        command = [*under, *runner, str(FOLDER / script), *arguments]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return cls(process, " ".join([script, *arguments]))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ask(self, do: str, *, within: float = 300.0, **arguments: Any) -> Any:
        """Let it do something; return its answer. `within`: a deadline in seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        try:
            async with asyncio.timeout(within):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise TimeoutError(f"{self._name}: no answer to {do!r} within {within:g} s") from None
        if not line:
            raise RuntimeError(f"{self._name} ended while it was to do {do!r}: see above")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{self._name} could not do {do!r}: {answer['error']}")
        return answer

    async def close(self) -> None:
        """Let it end by itself; kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def obey(commands: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    """Be a child: do what standard input says, answer on standard output, end with the former."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        wanted = json.loads(line)
        try:
            answer = await commands[wanted.pop("do")](**wanted)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
