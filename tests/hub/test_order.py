"""Events of one connection take effect in the order in which they were emitted, whatever they wait
for, and whenever the next one comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hubs import DEADLINE

from chatq import Queues
from chatq.hub.caps.dialect import Caps
from chatq.hub.gate import Gate
from chatq.hub.protocol import Native
from chatq.internals.hub_server import hub_server
from chatq.queues.memory import MemoryStore
from chatq.queues.order import Order
from chatq.waiting import give_way

#: The turns of the event loop between two events: more than any of them takes.
TURNS = range(20)


class Scene:
    """A server of `protocol`, and `emit(who, event, data)` for what a connection emits."""

    def __init__(self, protocol: type[Caps] | type[Native]) -> None:
        self._sio = hub_server(lambda _: True)
        self.queues = Queues(MemoryStore())
        self._protocol = protocol(self.queues, Gate(self._sio, "/caps", None))
        self._sids: dict[str, str] = {}

    async def open(self) -> None:
        await self._protocol.start()
        for who in ("me", "other"):
            self._sids[who] = await self._sio.manager.connect(who, "/caps")

    async def emit(self, who: str, event: str, data: Any) -> Any:
        handlers = self._sio.handlers["/caps"]
        if event in handlers:
            return await handlers[event](self._sids[who], data)
        return await handlers["*"](event, self._sids[who], data)

    async def all(self, *events: tuple[str, str, Any], turns: int) -> list[Any]:
        """Emit these, each so many turns after the one before; return the answers."""
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
            under_way = []
            for event in events:
                under_way.append(tasks.create_task(self.emit(*event)))
                for _ in range(turns):
                    await give_way()
        return [task.result() for task in under_way]

    async def kept(self, queue: str) -> list[tuple[str, Any]]:
        return [(one.event, json.loads(one.body)) for one in await self.queues.peek(queue, 99)]


async def scenes(protocol: type[Caps] | type[Native]) -> AsyncIterator[tuple[int, Scene]]:
    """For each number of turns a server without messages."""
    for turns in TURNS:
        scene = Scene(protocol)
        await scene.open()
        yield turns, scene
        await scene.queues.close()


def order(n: int) -> dict[str, Any]:
    return {"store": "s", "orderId": f"o{n}"}


@pytest.mark.parametrize(
    ("kinds", "queue"),
    [(("in-transit", "delivered"), "caps store s"), (("pickup", "pickup"), "caps drivers")],
)
@pytest.mark.parametrize(
    "earlier",
    [
        ("me", "received", order(9)),
        ("me", "getAll", {"queueId": "driver bob"}),
        ("other", "getAll", {"queueId": "driver bob"}),  # pickups wait until bob has his queue
        ("other", "in-transit", order(9)),  # opens the queue of this store
        ("me", "join", "drivers"),
    ],
    ids=lambda event: " ".join(event[:2]),
)
async def test_a_package_overtakes_none(earlier, kinds: tuple[str, str], queue: str) -> None:
    sent = [(kind, order(n)) for n, kind in enumerate(kinds)]
    async for turns, scene in scenes(Caps):
        await scene.all(earlier, *(("me", *one) for one in sent), turns=turns)
        mine = [one for one in await scene.kept(queue) if one in sent]
        assert mine == sent, f"after {turns} turns"


async def test_a_replay_gives_nothing_that_was_received_before() -> None:
    async for turns, scene in scenes(Caps):
        await scene.all(*(("other", "pickup", order(n)) for n in range(3)), turns=0)
        *_, answer = await scene.all(
            ("me", "join", "drivers"),
            ("me", "received", order(1)),
            ("me", "getAll", "drivers"),
            turns=turns,
        )
        assert answer == {"count": 2}, f"after {turns} turns"


async def test_a_replay_gives_what_was_emitted_before() -> None:
    async for turns, scene in scenes(Caps):
        pickups = [("me", "pickup", order(n)) for n in range(3)]
        *_, answer = await scene.all(
            *pickups, ("me", "getAll", {"queueId": "drivers"}), turns=turns
        )
        assert answer == {"count": 3}, f"after {turns} turns"


@pytest.mark.parametrize(
    "publish",
    [
        {"queue": ["new", "known"], "event": "n", "data": 0},
        {"messages": [{"queue": queue, "event": "n", "data": 0} for queue in ("new", "known")]},
    ],
    ids=["to several queues", "several messages"],
)
async def test_a_publish_overtakes_none(publish: dict[str, Any]) -> None:
    known = {"queue": "known", "event": "n"}
    async for turns, scene in scenes(Native):
        await scene.emit("me", "publish", {**known, "data": -1})
        *_, stats = await scene.all(
            ("me", "publish", publish),
            ("me", "publish", {**known, "data": 1}),
            ("me", "stats", {"queue": "new"}),
            turns=turns,
        )
        assert await scene.kept("known") == [("n", n) for n in (-1, 0, 1)], f"after {turns} turns"
        assert stats.get("ready") == 1, f"after {turns} turns"


async def test_whoever_fails_or_is_cancelled_holds_up_nobody() -> None:
    line, went = Order(), list[str]()

    async def go(name: str, *, alone: bool = False) -> None:
        async with line.turn(alone=alone):
            went.append(name)
            if name == "fails":
                raise ValueError(name)
            await give_way()

    async with line.turn():
        cancelled, *others = [
            asyncio.create_task(go(name, alone=name == "is next"))
            for name in ("is cancelled", "fails", "is next")
        ]
        await give_way()
        cancelled.cancel()
        await give_way()
        assert went == []
    async with asyncio.timeout(DEADLINE):
        results = await asyncio.gather(*others, return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, type(None)]
    assert cancelled.cancelled()
    assert went == ["fails", "is next"]
