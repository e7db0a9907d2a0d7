"""What tests of consumers and outboxes need around them: a hub, a cable, processes to be killed.

The hub says on the wire what the protocol says, and no more; run as a program, it is a process:
`python scripted_hub.py FILE PORT RULES`. Nothing here waits for a time: things are counted as they
happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import socketio
from aiohttp import web

from chatq import QueueFull, Queues, Rules, StoreError
from chatq.queues.message import new_message
from chatq.waiting import give_way

NAMESPACE = "/caps"


class Seen(list):
    """A list that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._grew = asyncio.Event()

    def add(self, item: Any) -> None:
        self.append(item)
        self._grew.set()

    async def reach(self, n: int, within: float = 20) -> list:
        """Wait until there are `n`."""
        return await self.until(lambda: len(self) >= n, f"{n} items", within)

    async def until(self, condition, what: str, within: float = 20) -> list:
        """Wait until the condition holds, looking again whenever something is added."""
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._grew.clear()
                    await self._grew.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {within} s: {self!r:.1000}") from None
        return [*self]


class Hub:
    """Queues behind a Socket.IO server. `refuse`: event to the error that answers it. `running`:
    those that nobody has closed."""

    running: ClassVar[set[Hub]] = set()

    def __init__(self, queues: Queues, batches: bool = True) -> None:
        self.queues, self.batches = queues, batches
        self.sio = socketio.AsyncServer(async_mode="aiohttp", http_compression=False)
        self.refuse: dict[str, dict] = {}
        #: What clients asked, with what they were answered.
        self.publishes, self.subscribes, self.answers = Seen(), Seen(), Seen()
        self.unsubscribes = Seen()
        queues.attach(self.sio, namespace=NAMESPACE, listen=False)
        self._on("received", self._noted("received", queues.answers.received))
        self._on("failed", self._noted("failed", queues.answers.failed))
        self._on("publish", self._publish)
        self._on("subscribe", self._subscribe)
        self._on("unsubscribe", self._unsubscribe)

    @classmethod
    async def open(cls, url: str = "memory:", port: int = 0, rules: Rules | None = None, **options):
        hub = cls(await Queues.open(url, rules or Rules(back_off=0.01)), **options)
        application = web.Application()
        hub.sio.attach(application)
        hub.runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
        await hub.runner.setup()
        site = web.TCPSite(hub.runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        hub.port = site._server.sockets[0].getsockname()[1]
        hub.url = f"http://127.0.0.1:{hub.port}"
        cls.running.add(hub)
        return hub

    async def close(self) -> None:
        self.running.discard(self)
        await self.sio.shutdown()
        await self.runner.cleanup()
        await self.queues.close(0)

    @classmethod
    async def close_all(cls) -> None:
        """Leave none behind, whatever became of a test."""
        for hub in [*cls.running]:
            await hub.close()

    def _on(self, event, handler) -> None:
        async def answer(sid, *args):
            if event in self.refuse:
                return {"error": self.refuse[event]}
            try:
                return await handler(sid, *args)
            except QueueFull as error:
                return {"error": {"code": "queue_full", "message": str(error)}}
            except StoreError as error:
                return {"error": {"code": "unavailable", "message": str(error)}}
            except PermissionError as error:
                return {"error": {"code": "forbidden", "message": str(error)}}
            except (TypeError, ValueError, KeyError) as error:
                return {"error": {"code": "malformed", "message": str(error)}}

        self.sio.on(event, answer, namespace=NAMESPACE)

    def _noted(self, name, handler):
        async def note(sid, data):
            answer = await handler(sid, data)
            self.answers.add((name, data, answer))
            return answer

        return note

    async def _publish(self, sid, asked):
        batch = asked.get("messages") if self.batches else None
        now, longest = self.queues.clock(), self.queues.rules.payload
        messages = [
            new_message(m["event"], m["data"], m["queue"], m.get("key"), m.get("ttl"), longest, now)
            for m in batch or [asked]
        ]
        stored = await self.queues.store.put(messages)
        ids = [i[0] if len(i) == 1 else i for i in stored]
        self.publishes.add((asked, ids))
        return {"ids": ids} if batch else {"id": ids[0]}

    async def _subscribe(self, sid, asked):
        queue, window = asked["queue"], asked.get("window", 16)
        stats = await self.queues.subscribe(sid, queue, window, frame=asked.get("frame", 0))
        self.subscribes.add((sid, asked))
        answer = {"queue": queue, "ready": stats.ready, "leased": stats.leased, "dead": stats.dead}
        return answer | ({"lease": self.queues.rules.lease} if "frame" in asked else {})

    async def _unsubscribe(self, sid, asked):
        self.unsubscribes.add(sid)
        return {"ok": await self.queues.unsubscribe(sid, asked["queue"])}

    async def left(self, queue: str = "drivers"):
        """Return how many are ready or delayed, leased, dead."""
        stats = await self.queues.stats(queue)
        return stats.ready + stats.delayed, stats.leased, stats.dead


class Cable:
    """A relay to a port, that can be cut, and frozen in both directions."""

    def __init__(self, port: int) -> None:
        self.target, self._open, self._ends, self.dials = port, True, set(), Seen()
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task] = set()

    @classmethod
    async def lay(cls, port: int) -> Cable:
        cable = cls(port)
        cable._server = await asyncio.start_server(cable._connected, "127.0.0.1", 0)
        cable.url = f"http://127.0.0.1:{cable._server.sockets[0].getsockname()[1]}"
        return cable

    async def _connected(self, reader, writer) -> None:
        self._tasks.add(asyncio.current_task())
        self.dials.add(self._open)
        ends = [writer]
        self._ends.add(writer)
        try:
            if self._open:
                other, far = await asyncio.open_connection("127.0.0.1", self.target)
                ends.append(far)
                self._ends.add(far)
                await asyncio.gather(self._pump(reader, far), self._pump(other, writer))
        except OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()
                self._ends.discard(end)
            self._tasks.discard(asyncio.current_task())

    async def _pump(self, reader, writer) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    def cut(self, *, stay: bool = False) -> None:
        """End all connections; `stay`: refuse new ones until `mend`."""
        self._open = not stay
        for end in [*self._ends]:
            end.transport.abort()

    def mend(self) -> None:
        self._open = True

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    async def close(self) -> None:
        self._server.close()
        self.thaw()
        self.cut()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Program:
    """A Python program in a process of its own. `running`: those that nobody has killed."""

    running: ClassVar[set[Program]] = set()

    @classmethod
    async def start(cls, source: str | Path, *arguments: object) -> Program:
        program = cls()
        how = [str(source)] if isinstance(source, Path) else ["-c", source]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        program.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *how,
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        cls.running.add(program)
        return program

    async def line(self, within: float = 30) -> str:
        """Return the next line that it prints; "" at its end."""
        async with asyncio.timeout(within):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def kill(self) -> list[str]:
        """SIGKILL it, if it still runs; return the lines that it had printed and nobody read."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        rest, _ = await self.process.communicate()
        self.running.discard(self)
        return rest.decode().split()

    @classmethod
    async def kill_all(cls) -> None:
        """Leave none behind."""
        for program in [*cls.running]:
            await program.kill()


async def start_hub(file: Path, port: int = 0, **rules: Any) -> tuple[Program, int]:
    """Start a hub as a process; return it and its port."""
    program = await Program.start(Path(__file__), file, port, json.dumps(rules))
    return program, int(await program.line())


def new_client(**options: Any) -> socketio.AsyncClient:
    """A client that connects again within a moment."""
    quick = {"reconnection_delay": 0.02, "reconnection_delay_max": 0.1, "randomization_factor": 0}
    return socketio.AsyncClient(handle_sigint=False, **{**quick, **options})


async def connect(
    client: socketio.AsyncClient, url: str, transports: Sequence[str] = ("websocket",)
) -> None:
    await client.connect(url, transports=[*transports], namespaces=[NAMESPACE])


async def hang_up(client: socketio.AsyncClient) -> None:
    """End a client, whatever state it is in."""
    if client.connected and client.transport() == "polling":
        await client.eio.disconnect(abort=True)  # Engine.IO's goodbye waits for the open poll
    await give_way()  # a reconnection that begins just now would forget that it was told to stop
    await client.shutdown()
    if client.eio.http is not None and not client.eio.http.closed:
        await client.eio.http.close()


async def _main(file: str, port: str, rules: str) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    rules = Rules(**{"back_off": 0.01, **json.loads(rules)})
    hub = await Hub.open(f"sqlite:///{file}", int(port), rules)
    print(hub.port, flush=True)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
