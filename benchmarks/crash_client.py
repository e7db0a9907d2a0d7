"""A client of the crash run in `crash.py`: a producer or a consumer, in a process of its own.

Owns what one client does and writes down, each line before the next step. Must not know: what
happens to it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
from functools import partial
from typing import Any

import socketio
from books import POISON, Book, cut, suffer

NAMESPACE = "/caps"
QUEUE = "packages"
WINDOW = 100
FLIGHT = 40  # publishes that one producer has under way


def client() -> socketio.AsyncClient:
    return socketio.AsyncClient(
        reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0.5
    )


async def connected(sio: socketio.AsyncClient, url: str) -> None:
    """Connect for the first time, whenever the hub is there; afterwards the client does it."""
    while not sio.connected:  # or else it would be refused at once, again and again
        with contextlib.suppress(socketio.exceptions.ConnectionError):
            await sio.connect(url, namespaces=[NAMESPACE], transports=["websocket"], retry=True)


def _answered(answer: asyncio.Future[Any], value: Any) -> None:
    if not answer.done():
        answer.set_result(value)


def poison(n: int, messages: int, doses: int) -> str:
    """Return what message `n` of so many does to who handles it: "" for most of them; so many of
    each kind, in the first half."""
    place, rest = divmod(n, max(1, messages // (2 * len(POISON) * max(doses, 1))))
    return POISON[place % len(POISON)] if rest == 1 and place < len(POISON) * doses else ""


async def produce(url: str, path: str, me: str, messages: int, doses: int) -> None:
    """Publish `messages`, and as many more until stdin is closed; each until it is answered."""
    sio, book = client(), Book(path)
    numbers = iter(range(10**9))
    there = asyncio.Event()
    waiting: set[asyncio.Future[Any]] = set()

    async def connect() -> None:
        there.set()

    async def disconnect(*_: Any) -> None:
        there.clear()
        for future in waiting:
            future.cancel()

    sio.on("connect", connect, namespace=NAMESPACE)
    sio.on("disconnect", disconnect, namespace=NAMESPACE)

    async def publish(message: dict[str, Any]) -> Any:
        """Return the answer; None if the connection broke before there was one."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting.add(answer)
        try:
            await sio.emit(
                "publish",
                message,
                namespace=NAMESPACE,
                callback=partial(_answered, answer),
            )
            await asyncio.wait([answer])
        except socketio.exceptions.SocketIOError:
            return None
        finally:
            waiting.discard(answer)
        return None if answer.cancelled() else answer.result()

    async def work() -> None:
        for n in numbers:
            if n >= messages and enough.is_set():
                return
            key = f"{QUEUE}/{me}-{n}{poison(n, messages, doses)}"
            message = {"queue": QUEUE, "event": "package", "data": key, "key": key}
            answer = None
            while answer is None or "id" not in answer:
                if answer is not None:  # the hub is being stopped: the same again, a little later
                    book.write("refused", answer["error"]["code"])
                    await asyncio.wait([asyncio.ensure_future(enough.wait())], timeout=0.2)
                await there.wait()
                answer = await publish(message)
            book.write(key, answer["id"])

    enough = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, enough.set)
    await connected(sio, url)
    await asyncio.gather(*(work() for _ in range(FLIGHT)))
    book.write("done")
    await sio.disconnect()


async def consume(url: str, path: str, chance: random.Random, cuts: float) -> None:
    """Write down every delivery, and then acknowledge it, until stdin is closed.

    `cuts`: the chance that the connection is cut between work and answer.
    """
    sio, book = client(), Book(path)

    async def connect() -> None:
        book.connected()
        await sio.emit("subscribe", {"queue": QUEUE, "window": WINDOW}, namespace=NAMESPACE)

    async def package(key: str, delivery: dict[str, Any]) -> str:
        book.handled(key, delivery)
        suffer(key, sio)
        if chance.random() < cuts:
            book.write("cut")
            cut(sio)
        return str(delivery["receipt"])

    sio.on("connect", connect, namespace=NAMESPACE)
    sio.on("package", package, namespace=NAMESPACE)
    enough = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, enough.set)
    await connected(sio, url)
    await enough.wait()
    await sio.disconnect()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--role", "--url", "--book", "--name"):
        parser.add_argument(name)
    for name in ("--messages", "--doses", "--seed"):
        parser.add_argument(name, type=int)
    parser.add_argument("--cuts", type=float)
    given = parser.parse_args()
    if given.role == "produce":
        asyncio.run(produce(given.url, given.book, given.name, given.messages, given.doses))
    else:
        asyncio.run(consume(given.url, given.book, random.Random(given.seed), given.cuts))


if __name__ == "__main__":
    main()
