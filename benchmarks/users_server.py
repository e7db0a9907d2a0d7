"""A server with a queue or a room for each user, in a process of its own, as `users` tells it.

Owns the server that is measured. `hello(user)`: whose client this is; `post({"user": …})`: a
message for a user, answered once it is kept (or, in rooms, emitted).
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import time
from typing import Any

import engineio.async_drivers.aiohttp as engineio_aiohttp
import socketio
from aiohttp import web
from measure import ORDER, PRODUCERS, in_flight, memory, obey

from chatq import Queues

__all__ = ["WINDOW"]

WINDOW = 16


def _use_rooms(sio: socketio.AsyncServer) -> None:
    async def hello(sid: str, user: int) -> bool:
        await sio.enter_room(sid, f"user {user}")
        return True

    async def post(_: str, note: dict[str, Any]) -> bool:
        await sio.emit("note", note, to=f"user {note['user']}")
        return True

    sio.on("hello", hello)
    sio.on("post", post)


def _use_queues(sio: socketio.AsyncServer, queues: Queues) -> None:
    async def hello(sid: str, user: int) -> bool:
        await queues.subscribe(sid, f"user {user}", WINDOW)
        return True

    async def post(_: str, note: dict[str, Any]) -> bool:
        await queues.emit("note", note, to=f"user {note['user']}")
        return True

    sio.on("hello", hello)
    sio.on("post", post)
    queues.attach(sio)


async def _serve(url: str) -> None:
    # Compression would cost more than all else; neither library has an option for it.
    engineio_aiohttp.WebSocketResponse = functools.partial(web.WebSocketResponse, compress=False)
    sio = socketio.AsyncServer(async_mode="aiohttp")
    queues = await Queues.open(url) if url != "rooms" else None
    if queues is None:
        _use_rooms(sio)
    else:
        _use_queues(sio, queues)
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

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
