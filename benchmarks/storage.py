"""The parts of the benchmark that need no network: what storing, claiming and opening cost.

Owns the measurements of `Queues.emit` and of the store, in this process and in fresh ones. Must not
know: Socket.IO, how rows are shown.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from measure import ORDER, PRODUCERS, Bench, Child, Row, in_flight, percentile, ratio, spread
from measure import sync_times as disk_syncs
from peers import BODY, PEERS, Raw
from storage_child import LEASE, LENGTH, QUEUE, WINDOW

from chatq import Queues, Rules
from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.store import NewMessage

__all__ = ["PARTS"]

COPIES = 100  # queues that one message goes to
#: What is not one of the other queues.
_OURS = {"chatq", "100 in a call", "raw"}
FANNING_OUT = 10  # producers, each of which fans out


@asynccontextmanager
async def _queues(bench: Bench) -> AsyncIterator[Queues]:
    url = f"sqlite:///{bench.folder() / 'queues.db'}"
    async with await Queues.open(url, Rules(length=LENGTH)) as queues:
        yield queues


async def _together(queues: Queues, n: int) -> float:
    """Emit `n` messages, 100 in one call; return how many a second that were."""
    at_a_time = 100

    async def call() -> None:
        await queues.emit_many(
            [queues.message("pickup", ORDER, to=QUEUE) for _ in range(at_a_time)]
        )

    return at_a_time * await in_flight(n // at_a_time, 1, call)


async def emit(bench: Bench) -> list[Row]:
    """Many producers, against raw SQLite and against the other queues."""
    n, few = bench.sizes.messages, bench.sizes.few
    async with AsyncExitStack() as stack:
        queues = await stack.enter_async_context(_queues(bench))
        raw = Raw(bench.folder())
        stack.callback(raw.close)
        contenders: dict[str, Any] = {
            "chatq": partial(
                in_flight, n, PRODUCERS, lambda: queues.emit("pickup", ORDER, to=QUEUE)
            ),
            "100 in a call": partial(_together, queues, n),
            "raw": partial(raw.put, n, 100),
        }
        for name, open_peer in PEERS.items():
            peer = open_peer(bench.folder())
            stack.callback(peer.close)
            contenders[name] = partial(peer.put, few)
            contenders[f"{name}, 100 threads"] = partial(peer.put_by_threads, few)
        figures = await bench.rounds(contenders)
    others = [figures[name] for name in figures if name not in _OURS]
    best = [max(round) for round in zip(*others, strict=True)]
    against_raw = ratio(figures["chatq"], figures["raw"])
    against_peers = ratio(figures["chatq"], best)
    together = ratio(figures["100 in a call"], figures["raw"])
    rates = {name: round(statistics.median(rates)) for name, rates in figures.items()}
    return [
        Row(
            "emit",
            "emit by 100 producers / raw SQLite, 100 rows a commit",
            against_raw.median,
            "x",
            at_least=0.33,
            spread=against_raw,
            detail={"per_second": rates},
        ),
        Row(
            "emit",
            "emit by 100 producers / best of " + ", ".join(PEERS),
            against_peers.median,
            "x",
            at_least=17,
            spread=against_peers,
            detail={"per_second": rates},
        ),
        Row(
            "emit",
            "100 messages in one call / raw SQLite, 100 rows a commit",
            together.median,
            "x",
            at_least=0.5,
            spread=together,
        ),
        *(Row("emit", f"  {name}", rate, "/s") for name, rate in rates.items()),
    ]


async def single(bench: Bench) -> list[Row]:
    """One producer that waits for each message."""
    few = bench.sizes.few
    async with _queues(bench) as queues:
        raw = Raw(bench.folder())
        figures = await bench.rounds(
            {
                "chatq": partial(in_flight, few, 1, lambda: queues.emit("pickup", ORDER, to=QUEUE)),
                "raw": partial(raw.put, few, 1),
            }
        )
        raw.close()
    found = ratio(figures["chatq"], figures["raw"])
    rates = {name: round(statistics.median(rates)) for name, rates in figures.items()}
    return [
        Row(
            "single",
            "emit by one producer / raw SQLite, a row a commit",
            found.median,
            "x",
            at_least=0.6,
            spread=found,
            detail={"per_second": rates},
        ),
        *(Row("single", f"  {name}", rate, "/s") for name, rate in rates.items()),
    ]


async def latency(bench: Bench) -> list[Row]:
    """How long an `emit` takes while 100 are under way, beside a bare sync of the same disk."""
    folder = bench.folder()
    middle: list[float] = []
    slow_syncs: list[float] = []
    async with _queues(bench) as queues:
        times: list[float] = []

        async def timed() -> None:
            start = time.perf_counter()
            await queues.emit("pickup", ORDER, to=QUEUE)
            times.append(time.perf_counter() - start)

        async def chatq() -> float:
            times.clear()
            await in_flight(bench.sizes.messages, PRODUCERS, timed)
            return percentile(times, 0.99)

        async def disk() -> float:
            syncs = disk_syncs(folder, bench.sizes.few)
            middle.append(statistics.median(syncs))
            slow_syncs.append(percentile(syncs, 0.99))
            return middle[-1]

        figures = await bench.rounds({"chatq": chatq, "disk": disk})
    slow = ratio(figures["chatq"], slow_syncs[1:])
    found = ratio(figures["chatq"], figures["disk"])
    return [
        Row(
            "latency",
            "p99 of emit by 100 producers / median sync of the disk",
            found.median,
            "x",
            at_most=12,
            spread=found,
        ),
        Row("latency", "  the same / p99 sync of the disk", slow.median, "x", spread=slow),
        Row("latency", "  p99 of emit", statistics.median(figures["chatq"]) * 1e3, "ms"),
        Row("latency", "  median sync of the disk", statistics.median(middle) * 1e3, "ms"),
        Row("latency", "  p99 sync of the disk", statistics.median(slow_syncs) * 1e3, "ms"),
    ]


async def syncs(bench: Bench) -> list[Row]:
    """How often the disk is synced: the system calls of a child process, counted by strace."""
    names = (
        "messages a sync, 100 producers",
        "syncs an acknowledgement, each sent by itself",
    )
    if shutil.which("strace") is None:
        missing = {"why": "strace is not installed"}
        return [
            Row("syncs", names[0], float("nan"), "", at_least=50, detail=missing),
            Row("syncs", names[1], float("nan"), "", at_most=0.01, detail=missing),
        ]
    folder = bench.folder()
    log = folder / "strace"
    strace = ["strace", "-f", "-y", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(log)]
    bench.say("counting syncs")
    async with await Child.start("storage_child.py", under=strace) as child:
        done = await child.ask(
            "sync", path=str(folder / "queues.db"), n=bench.sizes.messages, alone=bench.sizes.few
        )
    counts = _count_syncs(log.read_text())
    emitting, answering = counts["emit"], counts["acknowledge"]
    if not emitting:
        raise RuntimeError("strace saw no sync while messages were stored: that cannot be")
    detail = {"syncs": dict(counts), **done}
    return [
        Row("syncs", names[0], done["emitted"] / emitting, "", at_least=50, detail=detail),
        # A checkpoint now and then syncs, whoever wrote.
        Row("syncs", names[1], answering / done["acknowledged"], "", at_most=0.01, detail=detail),
    ]


def _count_syncs(log: str) -> Counter[str]:
    """Count the syncs of each phase in what strace wrote; a call that is resumed counts once."""
    counts: Counter[str] = Counter()
    phase = "open"
    for call in re.finditer(r"\b(?:fsync|fdatasync)\(\d+<([^>]*)>", log):
        name = Path(call[1]).name
        if name.startswith("mark-"):
            phase = name.removeprefix("mark-")
        else:
            counts[phase] += 1
    return counts


class _Depth:
    """A store whose backlog is kept at one size, while messages are claimed and acknowledged."""

    def __init__(self, store: SqliteStore, repeats: int) -> None:
        self._store, self._repeats = store, repeats
        self.processor: list[float] = []

    async def block(self, at_a_time: int) -> float:
        """Return the seconds for one claim and its acknowledgements."""
        seconds = processor = 0.0
        for _ in range(self._repeats):
            start, started = time.perf_counter(), time.process_time()
            claimed = await self._store.claim(QUEUE, at_a_time, LEASE, in_order=False)
            await self._store.ack([a.receipt for a in claimed.attempts])
            processor += time.process_time() - started
            seconds += time.perf_counter() - start
            if len(claimed.attempts) != at_a_time:
                raise RuntimeError("the backlog ran out")
            await self._store.put([NewMessage("pickup", BODY, (QUEUE,))] * at_a_time)
        self.processor.append(processor / self._repeats)
        return seconds / self._repeats


async def depth(bench: Bench) -> list[Row]:
    """Claim and acknowledge: the cost with a large backlog against the cost with a small one."""
    large = bench.sizes.backlog
    stores = {}
    for n in (1_000, large):
        stores[n] = await SqliteStore.open(await bench.backlog(n), length=LENGTH)
    rows = []
    for at_a_time in (WINDOW, 1):
        depths = {n: _Depth(store, max(10, bench.sizes.few // 20)) for n, store in stores.items()}
        figures = await bench.rounds(
            {str(n): partial(deep.block, at_a_time) for n, deep in depths.items()}
        )
        found = ratio(figures[str(large)], figures["1000"])
        processor = ratio(depths[large].processor[1:], depths[1_000].processor[1:])
        rows += [
            Row(
                "depth",
                f"claim {at_a_time} + acknowledge, backlog {large:,} / 1,000",
                found.median,
                "x",
                at_most=1.2,
                spread=found,
                detail={n: statistics.median(f) * 1e6 for n, f in figures.items()},
            ),
            Row("depth", "  the same, processor time", processor.median, "x", spread=processor),
            *(
                Row("depth", f"  backlog {int(n):,}", statistics.median(f) * 1e6, "us")
                for n, f in figures.items()
            ),
        ]
    for store in stores.values():
        await store.close()
    return rows


async def opening(bench: Bench) -> list[Row]:
    """How long it takes to open a file in which many messages wait."""
    large = bench.sizes.backlog
    paths = {n: await bench.backlog(n) for n in (0, large)}
    claims: dict[int, list[float]] = {n: [] for n in paths}

    async def block(n: int) -> float:
        start = time.perf_counter()
        store = await SqliteStore.open(paths[n], length=LENGTH)
        seconds = time.perf_counter() - start
        claimed = await store.claim(QUEUE, 1, LEASE, in_order=False)
        claims[n].append(time.perf_counter() - start)
        if bool(claimed.attempts) != bool(n):
            raise RuntimeError("not the backlog that was to be opened")
        await store.close()
        return seconds

    figures = await bench.rounds({str(n): partial(block, n) for n in paths})
    found = ratio(figures[str(large)], figures["0"])
    first = ratio(claims[large][1:], claims[0][1:])
    return [
        Row(
            "opening",
            f"open with {large:,} waiting / open an empty file",
            found.median,
            "x",
            at_most=20,
            spread=found,
        ),
        Row(
            "opening",
            "  the same, until the first claim is answered",
            first.median,
            "x",
            at_most=20,
            spread=first,
        ),
        Row("opening", "  empty", statistics.median(figures["0"]) * 1e3, "ms"),
        Row("opening", f"  {large:,}", statistics.median(figures[str(large)]) * 1e3, "ms"),
        Row(
            "opening", f"  {large:,}, and a claim", statistics.median(claims[large][1:]) * 1e3, "ms"
        ),
    ]


async def memory(bench: Bench) -> list[Row]:
    """What a fresh process takes that works on a large backlog, against one with a small one."""
    large, n = bench.sizes.backlog, min(10_000, bench.sizes.backlog // 10)
    paths = {depth: await bench.backlog(depth) for depth in (n, large)}

    async def block(depth: int) -> float:
        path = str(paths[depth])
        if depth == n:  # the block before has taken all there was
            path = str(await bench.backlog(n))
        async with await Child.start("storage_child.py") as child:
            return float((await child.ask("use", path=path, n=n))["peak"])

    figures = await bench.rounds({str(d): partial(block, d) for d in paths}, n=3)
    more = spread([a - b for a, b in zip(figures[str(large)], figures[str(n)], strict=True)])
    return [
        Row(
            "memory",
            f"memory with a backlog of {large:,} over one of {n:,}",
            more.median,
            "MiB",
            at_most=16,
            spread=more,
        ),
        *(
            Row("memory", f"  backlog {int(d):,}, peak", statistics.median(f), "MiB")
            for d, f in figures.items()
        ),
    ]


async def fan_out(bench: Bench) -> list[Row]:
    """One message to 100 queues: a body for all of them, against a copy each."""
    queues_of = [f"driver {i}" for i in range(COPIES)]
    times = max(FANNING_OUT, bench.sizes.messages // COPIES)
    async with AsyncExitStack() as stack:
        shared, put, emitted = [await stack.enter_async_context(_queues(bench)) for _ in range(3)]
        copies = [NewMessage("pickup", BODY, (queue,)) for queue in queues_of]

        async def each() -> None:
            await asyncio.gather(*(emitted.emit("pickup", ORDER, to=q) for q in queues_of))

        async def rate(one: Any) -> float:
            return COPIES * await in_flight(times, FANNING_OUT, one)

        figures = await bench.rounds(
            {
                "shared": partial(rate, lambda: shared.emit("pickup", ORDER, to=queues_of)),
                "put": partial(rate, lambda: put.store.put(copies)),
                "emitted": partial(rate, each),
            }
        )
    against_put = ratio(figures["shared"], figures["put"])
    against_emit = ratio(figures["shared"], figures["emitted"])
    names = {
        "shared": "emit to 100 queues",
        "put": "a copy each, stored in one call",
        "emitted": "an emit to each of them",
    }
    return [
        Row(
            "fan-out",
            "emit to 100 queues / an emit to each of them",
            against_emit.median,
            "x",
            at_least=4,
            spread=against_emit,
        ),
        Row(
            "fan-out",
            "  emit to 100 queues / a copy each, stored in one call",
            against_put.median,
            "x",
            spread=against_put,
        ),
        *(
            Row("fan-out", f"  {text}", statistics.median(figures[name]), " queue-messages/s")
            for name, text in names.items()
        ),
        await _size(bench, queues_of),
    ]


async def _size(bench: Bench, names: list[str]) -> Row:
    """How much a file grows by a message with a large body that goes to 100 queues."""
    path, body, n = bench.folder() / "queues.db", "x" * 50_000, 20
    before = 0
    for repeats in (0, n):
        async with await Queues.open(f"sqlite:///{path}") as queues:
            await queues.emit("pickup", body, to=names)
            for _ in range(repeats):
                await queues.emit("pickup", body, to=names)
        before, grown = path.stat().st_size, path.stat().st_size - before
    each = grown / (n + 1) / len(body)
    return Row("fan-out", "bodies stored for an emit to 100 queues", each, "", at_most=1.5)


async def many(bench: Bench) -> list[Row]:
    """The rate of `emit` with many queues against that of raw SQLite with as many, and with one."""
    n, chance = bench.sizes.queues, random.Random(10)
    names = [f"driver {i}" for i in range(n)]
    async with AsyncExitStack() as stack:
        raw = Raw(bench.folder())
        stack.callback(raw.close)
        await raw.put_into(n, n // 10, n, chance)
        one, all_of_them = [await stack.enter_async_context(_queues(bench)) for _ in range(2)]
        for start in range(0, n, 1_000):
            bench.say(f"making queues: {start:,} of {n:,}")
            some = [NewMessage("pickup", BODY, (q,)) for q in names[start : start + 1_000]]
            await all_of_them.store.put(some)
        figures = await bench.rounds(
            {
                "one": partial(
                    in_flight,
                    bench.sizes.messages,
                    PRODUCERS,
                    lambda: one.emit("pickup", ORDER, to=QUEUE),
                ),
                "many": partial(
                    in_flight,
                    bench.sizes.messages,
                    PRODUCERS,
                    lambda: all_of_them.emit("pickup", ORDER, to=chance.choice(names)),
                ),
                "raw": partial(raw.put_into, bench.sizes.messages, 100, n, chance),
            }
        )
    found = ratio(figures["many"], figures["raw"])
    alone = ratio(figures["many"], figures["one"])
    return [
        Row(
            "many",
            f"emit to one of {n:,} queues / raw SQLite with as many, 100 rows a commit",
            found.median,
            "x",
            at_least=0.33,
            spread=found,
        ),
        Row("many", "the same / to one queue", alone.median, "x", spread=alone),
        *(Row("many", f"  {name}", statistics.median(f), "/s") for name, f in figures.items()),
    ]


PARTS = {
    "emit": emit,
    "single": single,
    "latency": latency,
    "syncs": syncs,
    "depth": depth,
    "opening": opening,
    "memory": memory,
    "fan-out": fan_out,
    "many": many,
}
