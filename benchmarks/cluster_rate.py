"""How fast queues on NATS are, beside nats-py alone, on the same three nodes in the same run.

Owns the measuring. Must not know: faults.

Both store with the same durability: three replicas, each with `sync_interval: always`. Contenders
take turns; a ratio is the median of the ratios inside the rounds. The first round warms up.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import socketio
from aiohttp import web
from measure import ORDER, PRODUCERS, Child, in_flight, ratio, spread

from chatq import Queues
from chatq.queues.nats.nats_store import NatsStore
from chatq.stage.nats_server import NatsServers

BODY = json.dumps(ORDER).encode()
BATCH = 100
MOST_SERVERS = 4
WITHIN = 120.0  # seconds until messages that do not come are missed


class Bare:
    """A work queue as nats-py's documentation makes it: a stream, and a durable pull consumer."""

    def __init__(self, js: Any) -> None:
        self._js = js

    async def open(self) -> None:
        await self._js.add_stream(
            name="bare", subjects=["bare.>"], retention="workqueue", num_replicas=3
        )
        self._pull = await self._js.pull_subscribe("bare.q", durable="worker")

    async def publish(self) -> None:
        await self._js.publish("bare.q", BODY)

    async def drain(self, n: int) -> float:
        start, left = time.perf_counter(), n
        while left:
            for message in await self._pull.fetch(min(BATCH, left), timeout=10):
                json.loads(message.data)
                await message.ack()
                left -= 1
        return n / (time.perf_counter() - start)


async def store_drain(store: NatsStore, n: int) -> float:
    """Claim and acknowledge, as a pump does, without a client."""
    start, left, acks = time.perf_counter(), n, []
    while left:
        attempts = (await store.claim("q", BATCH, 30.0, in_order=False)).attempts
        if not attempts:
            raise RuntimeError(f"{left} of {n} messages are not to be had")
        for attempt in attempts:
            json.loads(attempt.body)
        acks.append(asyncio.ensure_future(store.ack([a.receipt for a in attempts])))
        left -= len(attempts)
    await asyncio.gather(*acks)
    return n / (time.perf_counter() - start)


async def socket_drain(url: str, queues: Queues, n: int) -> float:
    """Deliver to a plain Socket.IO client in this process, over a real socket."""
    client = socketio.AsyncClient(reconnection=False)
    done, left = asyncio.Event(), n

    @client.on("order")
    async def order(_: Any, delivery: dict[str, Any]) -> str:
        nonlocal left
        left -= 1
        if not left:
            done.set()
        return str(delivery["receipt"])

    await client.connect(url, transports=["websocket"])
    start = time.perf_counter()
    await queues.subscribe(client.get_sid(), "q", window=BATCH)
    async with asyncio.timeout(WITHIN):
        await done.wait()
    rate = n / (time.perf_counter() - start)
    await queues.unsubscribe(client.get_sid(), "q")  # the server hears of a disconnect only later
    await client.disconnect()
    return rate


async def costs(rounds: int, messages: int) -> dict[str, Any]:
    """Return what a message, stored, claimed and acknowledged, costs each server of a stream: us of
    processor time at the server that does all that, and at each other one."""
    result: dict[str, Any] = {}
    async with await NatsServers.open(3) as nats, AsyncExitStack() as stack:
        servers: list[Child] = []
        for count in range(1, MOST_SERVERS + 1):
            started = await Child.start("users_server.py", f"{nats.url}/costs")
            servers.append(await stack.enter_async_context(started))
            await started.ask("port")  # it has read the stream
            own, others = [], []
            for _ in range(rounds):
                before = [await server.ask("processor") for server in servers]
                await servers[0].ask("store", first=0, n=1, each=messages)
                if left := await servers[0].ask("take", user=0, n=messages):
                    raise RuntimeError(f"{left} messages are left")
                for server in servers[1:]:
                    await server.ask("left", first=0, n=1)  # it has applied all of it, too
                after = [await server.ask("processor") for server in servers]
                mine, *theirs = [
                    (a - b) / messages * 1e6 for a, b in zip(after, before, strict=True)
                ]
                own.append(mine)
                others += theirs
            result[f"{count}_servers_own_us"] = round(spread(own).median, 1)
            if others:
                result[f"{count}_servers_others_us"] = round(spread(others).median, 1)
    return result


async def rates(rounds: int, messages: int) -> dict[str, Any]:
    """Return the figures: messages a second, and the ratios."""
    import nats

    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    async with await NatsServers.open(3) as servers:
        store = await NatsStore.open(servers.url)  # first: it waits until all three are there
        nc = await nats.connect(servers.url.replace(",", ",nats://").split(","))
        bare = Bare(nc.jetstream())
        await bare.open()
        queues = Queues(store)
        sio = socketio.AsyncServer(async_mode="aiohttp")
        queues.attach(sio)
        app = web.Application()
        sio.attach(app)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        few = max(100, messages // 10)

        async def emit() -> None:
            await queues.emit("order", ORDER, to="q")

        async def our_publish() -> None:
            note("queues_publish", await in_flight(messages, PRODUCERS, emit))

        async def bare_publish() -> None:
            note("bare_publish", await in_flight(messages, PRODUCERS, bare.publish))

        async def our_drain() -> None:
            note("queues_delivery", await store_drain(store, messages))

        async def bare_drain() -> None:
            note("bare_delivery", await bare.drain(messages))

        for number in range(rounds + 1):
            pairs = [(our_publish, bare_publish), (our_drain, bare_drain)]
            for pair in pairs:
                for contender in pair if number % 2 else pair[::-1]:
                    await contender()
            await in_flight(few, PRODUCERS, emit)
            note("queues_delivery_to_a_socket", await socket_drain(url, queues, few))
            note("queues_one_producer", await in_flight(few, 1, emit))
            note("bare_one_producer", await in_flight(few, 1, bare.publish))
            await store_drain(store, few)
            await bare.drain(few)
            if not number:
                found.clear()
        await runner.cleanup()
        await queues.close(0.1)
        await nc.close()
    result: dict[str, Any] = {name: round(spread(all_).median) for name, all_ in found.items()}
    for name in ("publish", "delivery", "one_producer"):
        both = ratio(found[f"queues_{name}"], found[f"bare_{name}"])
        result[f"{name}_ratio"] = round(both.median, 2)
    return result
