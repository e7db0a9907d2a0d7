"""A server with a queue or a room for each user, in a process of its own, as `users` tells it.

Owns the server that is measured. `hello(user)`: whose client this is; `post({"user": …})`: a
message for a user, answered once it is kept (or, in rooms, emitted).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import socketio
from measure import ORDER, PRODUCERS, in_flight, memory, obey
from settings import start

from chatq import Queues

__all__ = ["WINDOW"]

WINDOW = 16


async def _serve(url: str) -> None:
    sio = socketio.AsyncServer(async_mode="aiohttp")
    queues = await Queues.open(url) if url != "rooms" else None

    async def hello(sid: str, user: int) -> bool:
        if queues is None:
            await sio.enter_room(sid, f"user {user}")
        else:
            await queues.subscribe(sid, f"user {user}", WINDOW)
        return True

    async def post(_: str, note: dict[str, Any]) -> bool:
        emit = sio.emit if queues is None else queues.emit
        await emit("note", note, to=f"user {note['user']}")
        return True

    sio.on("hello", hello)
    sio.on("post", post)
    if queues is not None:
        queues.attach(sio)
    runner = await start(sio, compress=False)

    async def port() -> int:
        return int(runner.addresses[0][1])

    async def store(first: int, n: int, each: int) -> int:
        """`each` messages for each of `n` users."""
        assert queues is not None
        names = iter([f"user {user}" for user in range(first, first + n) for _ in range(each)])

        async def one() -> None:
            await queues.emit("note", ORDER, to=next(names))

        await in_flight(n * each, PRODUCERS, one)
        return n * each

    async def take(user: int, n: int) -> int:
        """Claim and acknowledge `n` messages of a user, without a client."""
        assert queues is not None
        for taken in range(0, n, PRODUCERS):
            most = min(PRODUCERS, n - taken)
            claimed = await queues.store.claim(f"user {user}", most, 60.0, in_order=False)
            await queues.store.ack([attempt.receipt for attempt in claimed.attempts])
        return await left(user, 1)

    async def left(first: int, n: int) -> int:
        """How many messages are not settled; asked again until all are, for half a minute."""
        assert queues is not None
        deadline = time.monotonic() + 30
        while True:
            found = [await queues.stats(f"user {user}") for user in range(first, first + n)]
            waiting = sum(stats.ready + stats.leased + stats.delayed for stats in found)
            if not waiting or time.monotonic() > deadline:
                return waiting

    async def processor() -> float:
        return time.process_time()

    async def used() -> float:
        return memory()

    commands = (port, store, take, left, processor, used)
    await obey({command.__name__: command for command in commands})
    await sio.shutdown()
    await runner.cleanup()
    if queues is not None:
        await queues.close(within=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url", help="of the queues, or: rooms")
    asyncio.run(_serve(parser.parse_args().url))
