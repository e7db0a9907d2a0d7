"""The environment of consumers and outboxes: a hub, a cable, processes to be killed.

The hub is the real one, watched; run as a program, it is a process: `python watched_hub.py FILE
PORT RULES`. Nothing here waits for a time: things are counted as they happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import socketio
from aiohttp import web

from chatq import Queues, Rules
from chatq.hub.gate import Gate, RateLimit
from chatq.hub.protocol import Native
from chatq.internals.hub_server import hub_server
from chatq.stage.relay import Relay
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
    """The real hub in this process; it notes what clients ask of it and what they are answered.

    `refuse`: event to the error that answers it; `batches`: whether it knows them (as older ones
    do not). `running`: those that nobody has closed.
    """

    running: ClassVar[set[Hub]] = set()

    def __init__(self, queues: Queues, batches: bool = True) -> None:
        self.queues, self.batches = queues, batches
        self.refuse: dict[str, dict] = {}
        #: (what was asked, the ids); (sid, what was asked); sids; (event, data, answer); sids.
        self.publishes, self.subscribes, self.unsubscribes = Seen(), Seen(), Seen()
        self.answers, self.gone = Seen(), Seen()
        self.sio = hub_server(RateLimit().may)
        Native(queues, _Watched(self.sio, NAMESPACE, self._watch, self.gone.add))

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

    async def _watch(self, event: str, handler, sid: str, asked) -> Any:
        if event in self.refuse:
            return {"error": self.refuse[event]}
        if event == "publish" and "messages" in asked and not self.batches:
            return {"error": {"code": "malformed", "message": "publish needs a queue"}}
        answer = await handler(sid, asked)
        if event == "publish" and "error" not in answer:
            self.publishes.add((asked, answer.get("ids") or [answer["id"]]))
        elif event == "subscribe" and "error" not in answer:
            self.subscribes.add((sid, asked))
        elif event == "unsubscribe":
            self.unsubscribes.add(sid)
        elif event in ("received", "failed", "released", "working"):
            self.answers.add((event, asked, answer))
        return answer

    async def left(self, queue: str = "drivers"):
        """Return how many are ready or delayed, leased, dead."""
        stats = await self.queues.stats(queue)
        return stats.ready + stats.delayed, stats.leased, stats.dead


class _Watched(Gate):
    """The hub's gate, whose handlers are called by `watch(event, handler, sid, asked)`; `gone` is
    called with each client that has left."""

    def __init__(self, sio: socketio.AsyncServer, namespace: str, watch, gone) -> None:
        super().__init__(sio, namespace, None)
        self._watch, self._gone = watch, gone

    def on_leave(self, handler) -> None:
        async def left(sid: str, reason: str) -> None:
            await handler(sid, reason)
            self._gone(sid)

        super().on_leave(left)

    def on(self, event: str, handler) -> None:
        super().on(event, handler if event == "*" else partial(self._watch, event, handler))


class Cable(Relay):
    """A relay to a port of this machine, which counts what dials, and can be frozen in both
    directions: then nothing of its connections is read."""

    def __init__(self, port: int) -> None:
        super().__init__(self._dialled)
        self.target, self.dials = port, Seen()

    @classmethod
    async def lay(cls, port: int) -> Cable:
        return await cls.open(port)

    def _dialled(self) -> str:
        self.dials.add(not self.severed)
        return f"http://127.0.0.1:{self.target}"

    def cut(self, *, stay: bool = False) -> None:
        """End all connections; `stay`: refuse new ones until `mend`."""
        super().cut()
        self.severed = stay

    def freeze(self) -> None:
        for end in self._ends:
            end.transport.pause_reading()

    def thaw(self) -> None:
        for end in self._ends:
            end.transport.resume_reading()


class Program:
    """A Python program in a process of its own. `running`: those that nobody has killed."""

    running: ClassVar[set[Program]] = set()

    @classmethod
    async def start(cls, source: str | Path, *arguments: object) -> Program:
        program = cls()
        how = [str(source)] if isinstance(source, Path) else ["-c", source]
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
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
    client.reconnection = False  # one that began during the shutdown would forget that
    if client.connected and client.transport() == "polling":
        await client.eio.disconnect(abort=True)  # Engine.IO's goodbye waits for the open poll
    await give_way()  # nor would one that begins just now
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
