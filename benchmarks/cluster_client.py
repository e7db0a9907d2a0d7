"""A client of the fault run in `cluster.py`: a producer or a consumer, in a process of its own.

Owns what one client does and writes down, each line before the next step. Must not know: what
happens to it.

It has the address of a cable to each hub. Whenever it is not connected, it tries one hub, then the
next. A producer that gets no answer says the same again, with the same key, wherever it is then.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from typing import Any

import socketio
from books import POISON, Book, cut, suffer

NAMESPACE = "/caps"
WINDOW = 20
FLIGHT = 8  # publishes that one producer has under way
CUTS = 0.001  # the chance that a consumer cuts its connection between work and answer
PATIENCE = 8.0  # seconds; for an answer, before it takes the line for dead


class Line:
    """A connection to one of the hubs; when it is lost, to another."""

    def __init__(self, urls: list[str], chance: random.Random) -> None:
        self.sio = socketio.AsyncClient(reconnection=False)
        self.there = asyncio.Event()
        self.ended = asyncio.Event()
        self._urls, self._turn = urls, chance.randrange(len(urls))
        self._lost = asyncio.Event()
        self.sio.on("disconnect", self._disconnected, namespace=NAMESPACE)

    def _disconnected(self, *_: Any) -> None:
        self.there.clear()
        self._lost.set()

    async def keep(self, arrived: Any) -> None:
        """Stay connected until `ended`; call `arrived` after each time."""
        while not self.ended.is_set():
            self._turn += 1
            url = self._urls[self._turn % len(self._urls)]
            self._lost.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.sio.connect(
                        url, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=5
                    )
                    await arrived()
            except (socketio.exceptions.SocketIOError, TimeoutError):
                await self.sio.disconnect()
                await either(self.ended, asyncio.Event(), within=0.2)
                continue
            self.there.set()
            await either(self.ended, self._lost)
            await self.sio.disconnect()

    def drop(self) -> None:
        """It answers no more: try another hub."""
        self.there.clear()
        self._lost.set()


async def either(*events: asyncio.Event, within: float | None = None) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def produce(
    line: Line,
    book: Book,
    me: str,
    queues: int,
    chance: random.Random,
    enough: asyncio.Event,
    doses: int,
) -> None:
    poison = {20 + 40 * n: POISON[n % len(POISON)] for n in range(doses * len(POISON))}
    numbers = iter(range(10**9))

    async def arrived() -> None:
        pass

    async def work() -> None:
        while not enough.is_set():
            queue = f"q{chance.randrange(queues)}"
            n = next(numbers)
            key = f"{queue}/{me}-{n}{poison.get(n, '')}"
            message = {"queue": queue, "event": "package", "data": key, "key": key}
            while True:
                await line.there.wait()
                try:
                    answer = await line.sio.call(
                        "publish", message, namespace=NAMESPACE, timeout=PATIENCE
                    )
                except (socketio.exceptions.SocketIOError, TimeoutError):
                    line.drop()
                    continue
                if "id" in answer:
                    book.write(key, answer["id"])
                    break
                # It says that NATS is away for now: the same again.
                book.write("refused", answer["error"]["code"])
                await either(asyncio.Event(), within=0.2)

    keeping = asyncio.create_task(line.keep(arrived))
    working = [asyncio.create_task(work()) for _ in range(FLIGHT)]
    await asyncio.wait(working)  # each ends when what it was saying is answered
    for task in working:
        task.result()
    keeping.cancel()
    await asyncio.wait([keeping])
    await line.sio.disconnect()
    book.write("done")


async def consume(line: Line, book: Book, queues: list[str], chance: random.Random) -> None:
    async def arrived() -> None:
        book.connected()
        for queue in queues:
            answer = await line.sio.call(
                "subscribe",
                {"queue": queue, "window": WINDOW},
                namespace=NAMESPACE,
                timeout=PATIENCE,
            )
            if "error" in answer:
                raise socketio.exceptions.SocketIOError(answer["error"]["message"])

    async def package(key: str, delivery: dict[str, Any]) -> str:
        book.handled(key, delivery)
        suffer(key, line.sio)
        if chance.random() < CUTS:
            book.write("cut")
            cut(line.sio)
        return str(delivery["receipt"])

    line.sio.on("package", package, namespace=NAMESPACE)
    await line.keep(arrived)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--role", "--name", "--urls", "--book"):
        parser.add_argument(name)
    for name in ("--seed", "--queues", "--doses"):
        parser.add_argument(name, type=int)
    parser.add_argument("--mine", default="")
    given = parser.parse_args()

    async def run() -> None:
        chance = random.Random(given.seed)
        line, book = Line(given.urls.split(","), chance), Book(given.book)
        loop, enough = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin, line.ended.set if given.role == "consume" else enough.set)
        if given.role == "produce":
            await produce(line, book, given.name, given.queues, chance, enough, given.doses)
        else:
            await consume(line, book, given.mine.split(","), chance)

    asyncio.run(run())


if __name__ == "__main__":
    main()
