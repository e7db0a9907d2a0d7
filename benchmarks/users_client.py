"""A crowd of clients in a process of its own, as `users` tells it.

Owns what the clients do, and the clock: all times are taken here, where messages arrive. They are
bare websockets that speak just enough Socket.IO: a thousand of python-socketio's own would measure
themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from typing import Any, Self

import aiohttp
from measure import obey, percentile

WITHIN = 120.0  # seconds until what does not come is missed
#: How many clients connect at once.
_AT_ONCE = 100


class Clock:
    """Counts what arrives, and keeps how long each message has taken."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.count = self.wanted = 0
        self.done = asyncio.Event()

    def expect(self, n: int) -> None:
        """Begin to count up to `n`."""
        self.times.clear()
        self.count, self.wanted = 0, n
        self.done.clear()

    def arrived(self, sent: float | None) -> None:
        """One has arrived that was sent then."""
        self.count += 1
        if sent is not None:
            self.times.append(time.perf_counter() - sent)
        if self.count == self.wanted:
            self.done.set()

    async def all(self) -> None:
        """Wait until as many as expected have come."""
        try:
            async with asyncio.timeout(WITHIN):
                await self.done.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.count} of {self.wanted} messages came") from None


class Client:
    """One connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, clock: Clock) -> None:
        self._socket, self._clock = socket, clock
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, session: aiohttp.ClientSession, port: int, clock: Clock) -> Self:
        """Open a connection to the server's default namespace."""
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        socket = await session.ws_connect(url)
        await socket.receive()  # Engine.IO's handshake
        await socket.send_str("40")
        await socket.receive()
        return cls(socket, clock)

    async def _read(self) -> None:
        async for message in self._socket:
            text = message.data
            if text == "2":
                await self._socket.send_str("3")
            elif text.startswith("43"):
                start = text.index("[")
                self._calls.pop(int(text[2:start])).set_result(json.loads(text[start:]))
            elif text.startswith("42"):
                start = text.index("[")
                _, note, *delivery = json.loads(text[start:])
                self._clock.arrived(note.get("sent"))
                if delivery:  # of queues
                    answer = json.dumps([delivery[0]["receipt"]])
                    await self._socket.send_str(f"43{text[2:start]}{answer}")

    async def call(self, event: str, data: Any) -> None:
        """Emit an event, and wait for its acknowledgement."""
        self._number += 1
        number = self._number
        call = self._calls[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(f"42{number}{json.dumps([event, data])}")
        async with asyncio.timeout(WITHIN):
            await call

    async def close(self) -> None:
        """Leave."""
        self._reading.cancel()
        await self._socket.close()


class Crowd:
    """All clients of one server, and what they can be told to do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clock = Clock()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._clients: list[Client] = []

    async def close(self) -> None:
        """Let all leave."""
        for client in self._clients:
            await client.close()
        await self._session.close()

    async def _connect(self, user: int) -> None:
        client = await Client.connect(self._session, self._port, self._clock)
        self._clients.append(client)
        await client.call("hello", user)

    async def connect(self, first: int, n: int, waiting: int) -> float:
        """Connect the clients of `n` users, for whom so many messages are waiting in all; return
        the seconds until all of those have come."""
        self._clock.expect(waiting)
        start = time.perf_counter()
        for begin in range(first, first + n, _AT_ONCE):
            end = min(begin + _AT_ONCE, first + n)
            await asyncio.gather(*(self._connect(user) for user in range(begin, end)))
        if waiting:
            await self._clock.all()
        return time.perf_counter() - start

    async def post(self, n: int, users: int, rate: float) -> dict[str, float]:
        """Post a message to one user after the other, so many a second, whatever the server does;
        return how long they took to arrive."""
        poster = await Client.connect(self._session, self._port, self._clock)
        self._clock.expect(n)
        start = time.perf_counter()
        posts = []
        for number in range(n):
            await asyncio.sleep(start + number / rate - time.perf_counter())
            note = {"user": number * 7919 % users, "sent": time.perf_counter()}
            posts.append(asyncio.create_task(poster.call("post", note)))
        await asyncio.gather(*posts)
        await self._clock.all()
        await poster.close()
        times = self._clock.times
        return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}


async def _run(port: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd(port)
    await obey({"connect": crowd.connect, "post": crowd.post})
    await crowd.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    asyncio.run(_run(parser.parse_args().port))
