"""Clients that take more of a hub than is theirs, in a process of its own: so what they cost
themselves is not in what a bystander measures.

`Attack` is the test's end of it; the rest runs as `python attackers.py URL NAMESPACE NAME`: at each
line that it reads it goes on or pauses, and says how many operations it has done by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from chatq.waiting import give_way, set_within

__all__ = ["ATTACKS", "Attack"]

DEADLINE = 30.0


class Attack:
    """A process that runs one of `ATTACKS` on a hub; it pauses until it is told to go on."""

    def __init__(self, url: str, namespace: str, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), url, namespace, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def ready(self) -> None:
        """Return when it waits for the first `toggle`."""
        async with asyncio.timeout(DEADLINE):
            assert await asyncio.to_thread(self._process.stdout.readline) == "ready\n"

    async def toggle(self) -> int:
        """Go on, or pause; return how many operations it has done."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        async with asyncio.timeout(DEADLINE):
            return int(await asyncio.to_thread(self._process.stdout.readline))

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()


# -- in the other process ------------------------------------------------------------------------


class Attacker:
    """What an attack is made with. `done`: operations so far."""

    def __init__(self, session: aiohttp.ClientSession, url: str, namespace: str) -> None:
        self.session, self.url, self.namespace = session, url, namespace
        self.done = 0
        self.going = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def step(self) -> None:
        """Return when the attack goes on; count an operation."""
        await self.going.wait()
        self.done += 1
        if self.done % 10 == 0:
            await give_way()  # so that a flood does not starve its own process

    async def websocket(self, *, joined: bool = True) -> aiohttp.ClientWebSocketResponse:
        ws = await self.session.ws_connect(
            f"{self.url}/socket.io/?EIO=4&transport=websocket", max_msg_size=0
        )
        await ws.receive()
        if joined:
            await ws.send_str(f"40{self.namespace},")
            await ws.receive()
        return ws

    def read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Read it, and answer its pings, from now on."""

        async def reading() -> None:
            async for message in ws:
                if message.data == "2":
                    await ws.send_str("3")

        self.tasks.append(asyncio.create_task(reading()))

    def event(self, name: str, data: Any, number: int | str = "") -> str:
        return f"42{self.namespace},{number}{json.dumps([name, data])}"

    async def session_id(self) -> str:
        """Connect by polling, join the namespace, and return the session's id."""
        at = f"{self.url}/socket.io/?EIO=4&transport=polling"
        async with self.session.get(at) as answer:
            sid: str = json.loads((await answer.text())[1:])["sid"]
        async with self.session.post(f"{at}&sid={sid}", data=f"40{self.namespace},") as answer:
            await answer.read()
        return sid

    def polling(self, sid: str) -> str:
        return f"{self.url}/socket.io/?EIO=4&transport=polling&sid={sid}"

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[asyncio.StreamWriter]:
        host, port = self.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        try:
            yield writer
        finally:
            writer.close()


async def _flood(a: Attacker, events: Callable[[int], str], *, reads: bool) -> None:
    """Send events for as long as the connection takes them, and again on a new one."""
    while True:
        ws = await a.websocket()
        if reads:
            a.read(ws)
        else:
            ws._response.connection.transport.pause_reading()
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while not ws.closed:
                await a.step()
                await ws.send_str(events(a.done))


def _ask(a: Attacker, number: int) -> str:
    """Ask for what is waiting, in either protocol."""
    if a.namespace == "/caps":
        return a.event("getAll", {"queueId": "drivers"}, number)
    return a.event("dead", {"queue": "big"}, number)


async def unread(a: Attacker) -> None:
    """Asks for what is waiting, and never reads."""
    await _flood(a, lambda n: _ask(a, n), reads=False)


async def unread_by_polling(a: Attacker) -> None:
    """The same by polling: requests with a hundred events, and none for the answers."""
    while True:
        sid = await a.session_id()
        body = "\x1e".join(_ask(a, n) for n in range(100))
        for _ in range(50):
            await a.step()
            try:
                async with asyncio.timeout(5):
                    async with a.session.post(a.polling(sid), data=body) as answer:
                        if answer.status != 200:
                            break
            except (TimeoutError, aiohttp.ClientError):
                break


async def fan_out(a: Attacker) -> None:
    """As many copies as one publish may have, to queues that others may have made."""
    queues = [f"fan-{n}" for n in range(1000)]
    message = {"queue": queues, "event": "e", "data": "x" * 50}
    many = {"messages": [message] * 2}
    await _flood(a, lambda n: a.event("publish", many, n), reads=True)


async def too_much(a: Attacker) -> None:
    """A legal packet with many more copies than one publish may have."""
    many = {"messages": [{"queue": [f"q{n}" for n in range(1000)], "event": "e"}] * 140}
    text = json.dumps(["publish", many], separators=(",", ":"))
    await _flood(a, lambda n: f"42{a.namespace},{n}{text}", reads=True)


async def wrong_tokens(a: Attacker) -> None:
    """Wrong tokens, on a connection for as long as that takes them, then on the next."""

    async def guess() -> None:
        while True:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                ws = await a.websocket(joined=False)
                a.read(ws)
                for n in range(1000):
                    await a.step()
                    await ws.send_str(f'40{a.namespace},{{"token":"guess-{n}"}}')
                    if ws.closed:
                        break

    await asyncio.gather(*(guess() for _ in range(5)))


async def rejoin(a: Attacker) -> None:
    """Joins, is refused something, and leaves, in a loop."""
    ws = await a.websocket()
    a.read(ws)
    while True:
        await a.step()
        await ws.send_str(f"40{a.namespace},")
        await ws.send_str(a.event("nothing", None))
        await ws.send_str(f"41{a.namespace},")


async def too_large(a: Attacker) -> None:
    """Packets that are too large, on websockets and in requests, in turns."""
    large = "x" * 1_300_000
    while True:
        await a.step()
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            ws = await a.websocket()
            await ws.send_str(large)
            while not ws.closed:
                await ws.receive()
        sid = await a.session_id()
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            async with a.session.post(a.polling(sid), data=io.BytesIO(large.encode())) as answer:
                await answer.read()


async def half_sent(a: Attacker) -> None:
    """Heads of requests, and bodies, that never end."""
    async with contextlib.AsyncExitStack() as stack:
        for n in range(10**9):
            await a.step()
            writer = await stack.enter_async_context(a.socket())
            if n % 2:
                writer.write(b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost: localhost\r\nX-")
            else:
                sid = await a.session_id()
                path = a.polling(sid).removeprefix(a.url).encode()
                writer.write(
                    b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n4" % path
                )
            await set_within(asyncio.Event(), 0.01)


async def subscribing(a: Attacker) -> None:
    """Subscribes and unsubscribes in a loop."""

    def event(n: int) -> str:
        return a.event("unsubscribe" if n % 2 else "subscribe", {"queue": f"s{n // 2 % 50}"}, n)

    await _flood(a, event, reads=True)


async def asking(a: Attacker) -> None:
    """Asks for numbers and dead letters in a loop."""
    await _flood(
        a, lambda n: a.event("stats" if n % 50 else "dead", {"queue": "big"}, n), reads=True
    )


async def pings(a: Attacker) -> None:
    """Floods the hub with packets that mean nothing."""
    await _flood(a, lambda n: "2" if n % 2 else "3", reads=True)


async def attachments(a: Attacker) -> None:
    """Events whose attachments never come, or not all of them."""
    while True:
        ws = await a.websocket()
        a.read(ws)
        await a.step()
        place = {"_placeholder": True, "num": 0}
        await ws.send_str(f"45100-{a.namespace},1{json.dumps(['publish', place])}")
        for _ in range(5):
            await ws.send_bytes(b"x" * 100_000)


async def connections(a: Attacker) -> None:
    """Connects and goes, in a loop, a few at once."""

    async def loop() -> None:
        while True:
            await a.step()
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                ws = await a.websocket()
                await ws.close()

    await asyncio.gather(*(loop() for _ in range(10)))


async def upgrades(a: Attacker) -> None:
    """Begins to move to a websocket, and does not go on."""
    for _ in range(10**9):
        await a.step()
        sid = await a.session_id()
        at = a.polling(sid).replace("polling", "websocket")
        ws = await a.session.ws_connect(at)
        await ws.send_str("2probe")
        await set_within(asyncio.Event(), 0.02)


async def deaf(a: Attacker) -> None:
    """Takes large messages, and acknowledges nothing and reads nothing."""
    ws = await a.websocket()
    a.read(ws)
    queues = [f"deaf-{n}" for n in range(50)]
    for n in range(20):
        data = {"queue": queues, "event": "e", "data": "x" * 400_000}
        await ws.send_str(a.event("publish", data, n))
    n = 0
    while True:
        consumer = await a.websocket()
        consumer._response.connection.transport.pause_reading()
        for queue in queues:
            await a.step()
            await consumer.send_str(a.event("subscribe", {"queue": queue, "window": 1000}, n))
        await set_within(asyncio.Event(), 0.2)


async def crowd(a: Attacker) -> None:
    """Many consumers of one queue, and messages for it."""
    for _ in range(100):
        ws = await a.websocket()
        await ws.send_str(a.event("subscribe", {"queue": "crowd"}, 1))
        a.read(ws)
    await _flood(a, lambda n: a.event("publish", {"queue": "crowd", "event": "e"}, n), reads=True)


async def publishing(a: Attacker) -> None:
    """Publishes as much as it can, on several connections, large and small."""
    large = {"messages": [{"queue": "p", "event": "e", "data": ["x" * 100] * 9}] * 1000}
    text = json.dumps(["publish", large])

    def event(n: int) -> str:
        return (
            f"42{a.namespace},{n}{text}"
            if n % 20 == 0
            else a.event("publish", {"queue": "p", "event": "e"}, n)
        )

    await asyncio.gather(*(_flood(a, event, reads=True) for _ in range(3)))


#: By name.
ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    attack.__name__: attack
    for attack in (
        unread, unread_by_polling, fan_out, too_much, wrong_tokens, rejoin, too_large, half_sent,
        subscribing, asking, pings, attachments, connections, upgrades, deaf, crowd, publishing,
    )
}  # fmt: skip


async def _run(url: str, namespace: str, name: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        attacker = Attacker(session, url, namespace)
        print("ready", flush=True)
        attack = asyncio.create_task(ATTACKS[name](attacker))
        attack.add_done_callback(lambda done: done.result())
        while await asyncio.to_thread(sys.stdin.readline):
            if attacker.going.is_set():
                attacker.going.clear()
            else:
                attacker.going.set()
            print(attacker.done, flush=True)


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
