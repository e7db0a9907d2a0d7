"""A server with durable queues, in a process of its own, as `wire` tells it.

Owns the server that is measured. What its clients say to it is the protocol of the hub (`publish`,
`subscribe`, `received`), so `_attach` is the one place where the hub's own namespace goes in. What
it is compared with is on the same server, in the namespace /bare: a plain acknowledged call, and
plain `emit` with a callback and no store.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import socketio
from measure import ORDER, PRODUCERS, in_flight, memory, obey
from settings import NAMESPACE, PLAIN, add_arguments, json_module, run, start
from storage_child import LENGTH

from chatq import Queues, Rules


def _attach(sio: socketio.AsyncServer, queues: Queues) -> None:
    """Let clients publish and subscribe, as the hub does."""

    async def publish(_: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {"id": await queues.emit(asked["event"], asked["data"], to=asked["queue"])}

    async def subscribe(sid: str, asked: dict[str, Any]) -> dict[str, Any]:
        queue, window, frame = asked["queue"], asked.get("window", 16), asked.get("frame", 0)
        stats = await queues.subscribe(sid, queue, window, frame=frame)
        answer = {"queue": queue, "ready": stats.ready, "leased": stats.leased, "dead": stats.dead}
        return answer | ({"lease": queues.rules.lease} if "frame" in asked else {})

    async def unsubscribe(sid: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {"ok": await queues.unsubscribe(sid, asked["queue"])}

    for handler in (publish, subscribe, unsubscribe):
        sio.on(handler.__name__, handler, namespace=NAMESPACE)
    queues.attach(sio, NAMESPACE)


def _attach_bare(sio: socketio.AsyncServer) -> None:
    """The same without queues."""

    async def call(_: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {"id": asked["queue"]}

    async def start(sid: str, asked: dict[str, Any]) -> None:
        room = asyncio.Semaphore(asked["window"])
        for _ in range(asked["n"]):
            await room.acquire()
            await sio.emit(
                "pickup", ORDER, to=sid, namespace=PLAIN, callback=lambda *_: room.release()
            )

    for handler in (call, start):
        sio.on(handler.__name__, handler, namespace=PLAIN)


async def _serve(options: argparse.Namespace) -> None:
    sio = socketio.AsyncServer(async_mode="aiohttp", json=json_module(options.json))
    queues = await Queues.open(f"sqlite:///{options.path}", Rules(length=LENGTH))
    _attach(sio, queues)
    _attach_bare(sio)
    runner = await start(sio, compress=options.compress)

    async def port() -> int:
        return int(runner.addresses[0][1])

    async def fill(queue: str, n: int) -> int:
        await in_flight(n, PRODUCERS, lambda: queues.emit("pickup", ORDER, to=queue))
        return n

    async def left(queue: str) -> int:
        """How many messages are not settled; asked again until all are, for half a minute."""
        deadline = time.monotonic() + 30
        while True:
            stats = await queues.stats(queue)
            waiting = stats.ready + stats.leased + stats.delayed
            if not waiting or time.monotonic() > deadline:
                return waiting

    async def processor() -> float:
        return time.process_time()

    async def used(forget_peak: bool = False) -> dict[str, float]:
        return {"now": memory(forget_peak=forget_peak), "peak": memory(peak=True)}

    await obey({"port": port, "fill": fill, "left": left, "processor": processor, "memory": used})
    await sio.shutdown()
    await runner.cleanup()
    await queues.close(within=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    add_arguments(parser)
    chosen = parser.parse_args()
    run(_serve(chosen), chosen.loop)
