"""A client in a process of its own, as `wire` tells it.

Owns what the clients do, and the clock: all times are taken here, where messages arrive. It is
python-socketio's own client with plain handlers; only frames are taken by `chatq.Consumer`.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import socketio
from measure import ORDER, PRODUCERS, in_flight, obey, percentile
from settings import NAMESPACE, PLAIN, add_arguments, json_module, run

import chatq

PUBLISH = {"queue": "published", "event": "pickup", "data": ORDER}
WITHIN = 120.0  # seconds until messages that do not come are missed


class Arrivals:
    """Counts what arrives, and notes when the first and the last came."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._wanted = self._count = 0
        self._first = self._last = 0.0

    def add(self) -> None:
        """One more has arrived."""
        self._count += 1
        if self._count == 1:
            self._first = time.perf_counter()
        if self._count == self._wanted:
            self._last = time.perf_counter()
            self._done.set()

    async def measure(self, n: int, begin: Callable[[], Awaitable[object]]) -> dict[str, float]:
        """Begin; return the seconds until the first and until the `n`th arrival."""
        self._wanted, self._count = n, 0
        self._done.clear()
        start = time.perf_counter()
        await begin()
        try:
            async with asyncio.timeout(WITHIN):
                await self._done.wait()
        except TimeoutError:
            raise TimeoutError(f"{self._count} of {n} messages came in {WITHIN:g} s") from None
        return {"first": self._first - start, "last": self._last - start}


class Client:
    """One connected client, and what it can be told to do."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._client = socketio.AsyncClient(
            json=json_module(options.json),
            reconnection=False,
            handle_sigint=False,
            websocket_extra_options={"compress": 15} if options.compress else {},
        )
        self._arrivals = Arrivals()
        self._client.on("pickup", self._delivered, namespace=NAMESPACE)
        self._client.on("pickup", self._bare, namespace=PLAIN)

    async def connect(self, port: int) -> None:
        """Connect to both namespaces."""
        await self._client.connect(
            f"http://127.0.0.1:{port}", transports=["websocket"], namespaces=[NAMESPACE, PLAIN]
        )

    async def close(self) -> None:
        """Leave."""
        await self._client.disconnect()

    async def _delivered(self, order: Any, delivery: Any) -> Any:
        self._arrivals.add()
        return delivery["receipt"]

    async def _bare(self, order: Any) -> bool:
        self._arrivals.add()
        return True

    async def publish(self, n: int) -> dict[str, float]:
        """Durable, acknowledged, 100 in flight."""
        return await self._calls(n, "publish", NAMESPACE)

    async def call(self, n: int) -> dict[str, float]:
        """The same call to a handler that stores nothing."""
        return await self._calls(n, "call", PLAIN)

    async def _calls(self, n: int, event: str, namespace: str) -> dict[str, float]:
        times = []

        async def one() -> None:
            start = time.perf_counter()
            answer = await self._client.call(event, PUBLISH, namespace=namespace)
            times.append(time.perf_counter() - start)
            if not answer.get("id"):
                raise RuntimeError(f"{event} was answered by {answer}")

        rate = await in_flight(n, PRODUCERS, one)
        return {"rate": rate, "p99": percentile(times, 0.99)}

    async def drain(self, queue: str, n: int, window: int) -> dict[str, float]:
        """Take a backlog, a message an event, acknowledged by packet."""
        asked = {"queue": queue, "window": window}
        subscribe = self._client.call("subscribe", asked, namespace=NAMESPACE)
        times = await self._arrivals.measure(n, lambda: subscribe)
        await self._client.call("unsubscribe", {"queue": queue}, namespace=NAMESPACE)
        return times

    async def bare(self, n: int, window: int) -> dict[str, float]:
        """Take as many messages from plain `emit` with a callback."""
        start = self._client.emit("start", {"n": n, "window": window}, namespace=PLAIN)
        return await self._arrivals.measure(n, lambda: start)

    async def frames(self, queue: str, n: int, window: int, frame: int) -> dict[str, float]:
        """Take a backlog in frames."""
        consumer = chatq.Consumer(
            self._client, queue, namespace=NAMESPACE, window=window, frame=frame
        )
        consumer.on("pickup", lambda order, delivery: self._arrivals.add())
        times = await self._arrivals.measure(n, consumer.start)
        await consumer.close()
        return times


async def _run(options: argparse.Namespace) -> None:
    client = Client(options)
    await client.connect(options.port)
    await obey(
        {name: getattr(client, name) for name in ("publish", "call", "drain", "bare", "frames")}
    )
    await client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    add_arguments(parser)
    chosen = parser.parse_args()
    run(_run(chosen), chosen.loop)
