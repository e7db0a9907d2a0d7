"""The parts of the benchmark that go over Socket.IO: server and client in processes of their own.

Owns the measurements over the wire. Must not know: how rows are shown.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from measure import FOLDER, Bench, Child, Row, ratio, spread
from settings import FASTEST, there
from storage_child import QUEUE

__all__ = ["PARTS"]

WINDOW = 100
FRAMES_WINDOW, FRAME = 1000, 100


class Pair:
    """A server and its client; each method is one block and returns how many a second."""

    def __init__(self, server: Child, client: Child) -> None:
        self.server, self.client = server, client
        #: What each block has cost the server: seconds of processor time a message.
        self.cost: dict[str, list[float]] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, server: list[str] | None = None, client: list[str] | None = None
    ) -> AsyncIterator[Pair]:
        """Start both; `server`, `client`: their settings as arguments."""
        async with await Child.start("wire_server.py", str(path), *(server or [])) as serving:
            port = str(await serving.ask("port"))
            plain = ["--no-compress"] if client is None else client
            async with await Child.start("wire_client.py", port, *plain) as using:
                yield cls(serving, using)

    async def calls(self, kind: str, n: int) -> float:
        """`publish` or `call`, 100 in flight."""
        answer = await self._counted(kind, n, lambda: self.client.ask(kind, n=n))
        return float(answer["rate"])

    async def latency(self, n: int) -> float:
        """The 99th percentile of `publish`, in seconds."""
        return float((await self.client.ask("publish", n=n))["p99"])

    async def bare(self, n: int) -> float:
        """Plain `emit` with a callback."""
        ask = partial(self.client.ask, "bare", n=n, window=WINDOW)
        return n / float((await self._counted("bare", n, ask))["last"])

    async def drain(self, n: int) -> float:
        """A backlog, to a plain client."""
        await self.server.ask("fill", queue=QUEUE, n=n)
        ask = partial(self.client.ask, "drain", queue=QUEUE, n=n, window=WINDOW)
        return n / await self._all("drain", n, ask)

    async def frames(self, n: int) -> float:
        """A backlog, in frames."""
        await self.server.ask("fill", queue=QUEUE, n=n)
        ask = partial(
            self.client.ask, "frames", queue=QUEUE, n=n, window=FRAMES_WINDOW, frame=FRAME
        )
        return n / await self._all("frames", n, ask)

    async def _all(self, kind: str, n: int, ask: Callable[[], Awaitable[Any]]) -> float:
        """Return the seconds until the last message came, after seeing that all are settled."""
        times = await self._counted(kind, n, ask)
        if left := await self.server.ask("left", queue=QUEUE):
            raise RuntimeError(f"{left} messages were delivered and never settled")
        return float(times["last"])

    async def _counted(self, kind: str, n: int, ask: Callable[[], Awaitable[Any]]) -> Any:
        before = await self.server.ask("processor")
        answer = await ask()
        after = await self.server.ask("processor")
        self.cost.setdefault(kind, []).append((after - before) / n)
        return answer


async def publish(bench: Bench) -> list[Row]:
    """A durable `publish` against a plain acknowledged call."""
    n = bench.sizes.calls
    async with Pair.open(bench.folder() / "queues.db") as pair:
        figures = await bench.rounds(
            {kind: partial(pair.calls, kind, n) for kind in ("publish", "call")}
        )
        slow = await bench.rounds({"p99": partial(pair.latency, n)}, n=3)
    found = ratio(figures["publish"], figures["call"])
    cost = ratio(pair.cost["call"], pair.cost["publish"])
    return [
        Row(
            "publish",
            "durable publish / plain acknowledged call, 100 in flight",
            found.median,
            "x",
            at_least=0.95,
            spread=found,
        ),
        Row("publish", "  the same, processor time of the server", cost.median, "x", spread=cost),
        *(Row("publish", f"  {kind}", statistics.median(f), "/s") for kind, f in figures.items()),
        Row("publish", "  p99 of publish", statistics.median(slow["p99"]) * 1e3, "ms"),
    ]


async def drain(bench: Bench) -> list[Row]:
    """A backlog to a plain client against plain `emit` with callbacks."""
    n = 2 * bench.sizes.calls
    async with Pair.open(bench.folder() / "queues.db") as pair:
        figures = await bench.rounds(
            {"drain": partial(pair.drain, n), "bare": partial(pair.bare, n)}
        )
    found = ratio(figures["drain"], figures["bare"])
    cost = ratio(pair.cost["bare"], pair.cost["drain"])
    return [
        Row(
            "drain",
            "backlog to a plain client / emit with callbacks, no store",
            found.median,
            "x",
            at_least=0.95,
            spread=found,
        ),
        Row("drain", "  the same, processor time of the server", cost.median, "x", spread=cost),
        *(Row("drain", f"  {kind}", statistics.median(f), "/s") for kind, f in figures.items()),
    ]


class _Recovery:
    """Node's connection state recovery, each end in a process of its own."""

    def __init__(self, server: Child, client: Child) -> None:
        self._server, self._client = server, client

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> _Recovery:
        server = await stack.enter_async_context(await Child.start("recovery.mjs", "server"))
        port = str(await server.ask("port"))
        client = await Child.start("recovery.mjs", "client", port)
        return cls(server, await stack.enter_async_context(client))

    async def block(self, n: int) -> float:
        """Miss `n` messages; return how many a second come back, once the client asks for them."""
        await self._client.ask("connect")
        await self._client.ask("cut")
        await self._server.ask("miss", n=n)
        return float(n / (await self._client.ask("recover", n=n))["seconds"])


async def frames(bench: Bench) -> list[Row]:
    """A backlog in frames, against plain `emit` with callbacks and against Node's recovery."""
    missed = bench.sizes.missed
    node = shutil.which("node") and (FOLDER.parent / "tests/js/node_modules/socket.io").is_dir()
    async with AsyncExitStack() as stack:
        pair = await stack.enter_async_context(Pair.open(bench.folder() / "queues.db"))
        contenders = {
            "frames": partial(pair.frames, missed),
            "bare": partial(pair.bare, 2 * bench.sizes.calls),
        }
        if node:
            recovery = await _Recovery.open(stack)
            contenders["recovery"] = partial(recovery.block, missed)
        figures = await bench.rounds(contenders)
    found = ratio(figures["frames"], figures["bare"])
    rows = [
        Row(
            "frames",
            "backlog in frames / emit with callbacks, no store",
            found.median,
            "x",
            at_least=6,
            spread=found,
            detail={"window": FRAMES_WINDOW, "frame": FRAME},
        )
    ]
    name = f"backlog in frames / Node's recovery of {missed:,} from memory"
    if node:
        against = ratio(figures["frames"], figures["recovery"])
        rows.append(Row("frames", name, against.median, "x", at_least=0.75, spread=against))
    else:
        why = "needs node, and npm ci --prefix tests/js"
        rows.append(Row("frames", name, float("nan"), "x", at_least=0.75, detail={"why": why}))
    return rows + [
        Row("frames", f"  {kind}", statistics.median(f), "/s") for kind, f in figures.items()
    ]


async def backlog(bench: Bench) -> list[Row]:
    """A large backlog: when the first message comes, and what the server takes meanwhile."""
    n, some = bench.sizes.backlog, bench.sizes.missed // 2
    first, more = [], []
    for number in range(min(3, bench.sizes.rounds)):
        path = await bench.backlog(n)
        bench.say(f"round {number + 1} of {min(3, bench.sizes.rounds)}")
        async with Pair.open(path) as pair:
            before = (await pair.server.ask("memory", forget_peak=True))["now"]
            times = await pair.client.ask(
                "frames", queue=QUEUE, n=some, window=FRAMES_WINDOW, frame=FRAME
            )
            first.append(times["first"] * 1e3)
            more.append((await pair.server.ask("memory"))["peak"] - before)
        path.unlink()
    return [
        Row(
            "backlog",
            f"first message of {n:,}, the first time after the file was opened",
            statistics.median(first),
            "ms",
            at_most=50,
            spread=spread(first),
        ),
        Row(
            "backlog",
            f"memory of the server, while {some:,} of {n:,} are taken",
            statistics.median(more),
            "MiB",
            at_most=16,
            spread=spread(more),
        ),
    ]


async def settings(bench: Bench) -> list[Row]:
    """What the choices for a hub give: each by itself, then all together."""
    choices = {
        "orjson": ["--json", "orjson"] if there("orjson") else None,
        "uvloop": ["--loop", "uvloop"] if there("uvloop") else None,
        "no compression": ["--no-compress"],
    }
    variants: dict[str, list[str]] = {"as it comes": []}
    variants |= {name: choice for name, choice in choices.items() if choice}
    variants["all together"] = [
        argument for choice in choices.values() for argument in choice or []
    ]
    kinds = ("publish", "drain", "frames")
    n, missed = bench.sizes.calls, bench.sizes.missed // 5
    async with AsyncExitStack() as stack:
        pairs, contenders = {}, {}
        for name, choice in variants.items():
            # Clients that offer compression, as browsers and Node do, and hold nobody back.
            opened = Pair.open(bench.folder() / "queues.db", choice, FASTEST)
            pair = pairs[name] = await stack.enter_async_context(opened)
            contenders[f"{name} publish"] = partial(pair.calls, "publish", n)
            contenders[f"{name} drain"] = partial(pair.drain, n)
            contenders[f"{name} frames"] = partial(pair.frames, missed)
        figures = await bench.rounds(contenders, n=max(3, bench.sizes.rounds // 2))
    rows = []
    for kind in kinds:
        base = figures[f"as it comes {kind}"]
        rows.append(Row("settings", f"{kind}, as it comes", statistics.median(base), "/s"))
        for name in [*variants][1:]:
            gain = ratio(figures[f"{name} {kind}"], base)
            cost = ratio(pairs[name].cost[kind], pairs["as it comes"].cost[kind])
            rows.append(
                Row(
                    "settings",
                    f"  {name} (processor time of the server: {cost.median:.2f} x)",
                    gain.median,
                    "x",
                    spread=gain,
                    detail={"processor": cost.median},
                )
            )
    return rows


PARTS = {
    "publish": publish,
    "drain": drain,
    "frames": frames,
    "backlog": backlog,
    "settings": settings,
}
