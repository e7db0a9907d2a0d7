"""The part of the benchmark about queues as they are used: one for each user, mostly idle, and a
message now and then; against an emit to a room for each user, which nothing keeps.

Owns the measurements of many users. Must not know: how rows are shown.
"""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from measure import Bench, Child, Figures, Row, ratio

from chatq.stage.nats_server import NatsServers

__all__ = ["PARTS"]

#: Messages a second: a tenth of what one processor could do, so nobody waits for another.
RATE = 400
#: Messages that wait for each user who was away.
MISSED = 10
#: No user who comes: those asleep have later numbers.
_ASLEEP = 1_000_000


class Place:
    """A server and its users; `block` is one block of messages."""

    def __init__(self, server: Child, crowd: Child, users: int) -> None:
        self.server, self.crowd, self._users = server, crowd, users
        #: Of each block: seconds of the server's processor a message, and of latency.
        self.processor: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, users: int, *, asleep: int = 0) -> AsyncIterator[Place]:
        """Start a server and its users; before, it stores a message for so many who sleep."""
        async with await Child.start("users_server.py", url) as server:
            if asleep:
                await server.ask("store", first=_ASLEEP, n=asleep, each=1)
            port = str(await server.ask("port"))
            async with await Child.start("users_client.py", port) as crowd:
                await crowd.ask("connect", first=0, n=users, waiting=0)
                yield cls(server, crowd, users)

    async def block(self, n: int) -> float:
        """Send `n` messages at the rate of all blocks; return the processor time of each."""
        before = await self.server.ask("processor")
        times = await self.crowd.ask("post", n=n, users=self._users, rate=RATE)
        self.processor.append((await self.server.ask("processor") - before) / n)
        self.p50.append(times["p50"])
        self.p99.append(times["p99"])
        return self.processor[-1]

    def forget_first(self) -> None:
        """Drop the block of the first round, which warms up."""
        for figures in (self.processor, self.p50, self.p99):
            del figures[0]


async def users(bench: Bench) -> list[Row]:
    """Queues in SQLite, with and without many others asleep, against rooms."""
    some, asleep = bench.sizes.queues // 10, bench.sizes.missed
    filled = bench.folder() / "queues.db"
    async with await Child.start("users_server.py", _url(filled)) as server:
        bench.say(f"storing a message for {asleep:,} who sleep")
        await server.ask("store", first=_ASLEEP, n=asleep, each=1)
    async with AsyncExitStack() as stack:
        places = {}
        for name, url, own in [
            ("rooms", "rooms", 0),
            ("queues", _url(bench.folder() / "queues.db"), 0),
            (f"queues, {asleep:,} others asleep", _url(filled), 0),
            (
                f"queues, {asleep:,} others just stored by this server",
                _url(bench.folder() / "queues.db"),
                asleep,
            ),
        ]:
            opened = Place.open(url, some, asleep=own)
            places[name] = await stack.enter_async_context(opened)
        await _measured(bench, places)
        rows = _rows("users", places, [(2.0, 3.0), (1.1, 1.1), (1.1, 1.1)])
    return rows + await _storm(bench, "users", _url(bench.folder() / "queues.db"))


async def users_on_nats(bench: Bench) -> list[Row]:
    """The same on one node of NATS."""
    async with await NatsServers.open(1) as nats, AsyncExitStack() as stack:
        some = bench.sizes.queues // 10
        places = {}
        for name, url in [("rooms", "rooms"), ("queues on NATS", f"{nats.url}/users")]:
            places[name] = await stack.enter_async_context(Place.open(url, some))
        await _measured(bench, places)
        rows = _rows("users-nats", places, [(None, None)])
        return rows + await _storm(bench, "users-nats", f"{nats.url}/storm")


async def _measured(bench: Bench, places: dict[str, Place]) -> Figures:
    n = bench.sizes.calls
    rounds = min(5, bench.sizes.rounds)
    figures = await bench.rounds(
        {name: partial(place.block, n) for name, place in places.items()}, n=rounds
    )
    for place in places.values():
        place.forget_first()
    return figures


def _rows(
    part: str, places: dict[str, Place], bounds: list[tuple[float | None, float | None]]
) -> list[Row]:
    """Each place, against the first or, where others are asleep, against the second."""
    [bare, *others] = places
    base, rows = bare, []
    for name, (cost_bound, late_bound) in zip(others, bounds, strict=True):
        here, there = places[name], places[base]
        cost = ratio(here.processor, there.processor)
        late = ratio(here.p99, there.p99)
        what = f"{name} / {base}"
        rows.append(
            Row(
                part,
                f"{what}: processor time of the server",
                cost.median,
                "x",
                at_most=cost_bound,
                spread=cost,
            )
        )
        rows.append(Row(part, f"{what}: p99", late.median, "x", at_most=late_bound, spread=late))
        base = others[0]
    for name, place in places.items():
        rows.append(
            Row(part, f"  {name}: processor time", statistics.median(place.processor) * 1e6, "us")
        )
        rows.append(Row(part, f"  {name}: p50", statistics.median(place.p50) * 1e3, "ms"))
        rows.append(Row(part, f"  {name}: p99", statistics.median(place.p99) * 1e3, "ms"))
    return rows


async def _storm(bench: Bench, part: str, url: str) -> list[Row]:
    """Half of the users were away, and come back all at once to what they have missed."""
    half = bench.sizes.queues // 10
    missed = half * MISSED
    async with Place.open(url, half) as place:
        bench.say(f"{half:,} users come back")
        await place.server.ask("store", first=half, n=half, each=MISSED)
        before = await place.server.ask("used")
        seconds = await place.crowd.ask("connect", first=half, n=half, waiting=missed)
        if left := await place.server.ask("left", first=half, n=half):
            raise RuntimeError(f"{left} messages were delivered and never settled")
        grown = await place.server.ask("used") - before
    what = f"{half:,} users come back, {MISSED} messages each"
    return [
        Row(part, f"{what}: messages", missed / seconds, "/s"),
        Row(part, f"{what}: memory a user", grown * 1024 / half, "KiB"),
    ]


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


PARTS = {"users": users, "users-nats": users_on_nats}
