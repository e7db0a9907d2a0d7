"""Kill nodes, hubs and cables of a cluster for some minutes, and count what became of each message.

    python benchmarks/cluster.py --minutes 10          # the fault run
    python benchmarks/cluster.py --rate                # throughput beside bare nats-py

Three NATS nodes, two hubs (`python -m chatq serve --store nats://…`, by `odd_hub.py`), twenty
queues, producers and consumers that are plain python-socketio clients, each a process of its own
and behind a cable of its own to each hub. One after the other, by a seed: a node is killed with
SIGKILL and started again (never two at once: the next only when all are level), a hub is, or it is
stopped in good order, a hub or a client is frozen, at times for longer than a lease, a cable is
cut, the clock on a hub's wall is set, by up to an hour either way, while it runs or before it
starts. Consumers cut their connections between work and answer, and some messages are poison: they
end the process that handles them, or its connection.
Everybody writes down what happened, each line before the next step; the verdict is that of
`books.py`.

On NATS a lease outlives its hub, so what was out to a hub that is killed has failed once; what
nothing but kills befalls is dead after five. It fails unless messages were answered, and none was
lost, astray, unmarked, made up, doubled or handled twice without a reason, and nothing but poison
is dead.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Self

import socketio
from books import POISON, Books, good
from cluster_client import NAMESPACE, WINDOW
from cluster_rate import costs, rates
from odd_hub import WallClock, command

from chatq.stage.nats_server import NatsNode, NatsServers
from chatq.stage.relay import Relay

HUBS, QUEUES, PRODUCERS, CONSUMERS = 2, 20, 3, 6
EACH = 2  # how many consumers a queue has
CLIENT = Path(__file__).parent / "cluster_client.py"
FAULTS = ["node", "node", "hub", "hub_stop", "hub_frozen", "frozen", "cable", "cable", "clock"]
HOUR = 3600.0


class Hub:
    """One hub, started as often as needed, always at the same place."""

    def __init__(self, number: int, folder: Path, store: str, lease: float) -> None:
        self.name, self.lease = f"hub-{number + 1}", lease
        self.clock = WallClock(folder / f"{self.name}.clock")
        self._log, self._store = folder / f"{self.name}.log", store
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220
                command(self.clock, self.lease, self.port, self._store, NAMESPACE),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        if not line:
            raise RuntimeError(f"{self.name} did not start: {self._log.read_text()[-500:]}")
        self.port = int(line.rpartition(":")[2].partition("/")[0])

    async def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            await asyncio.to_thread(self.process.wait)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


def _address(hub: Hub) -> str:
    return f"http://127.0.0.1:{hub.port}"


class Client:
    """One client's process, and its cables."""

    def __init__(self, name: str, role: str, folder: Path) -> None:
        self.name, self.role, self.book = name, role, folder / name
        self.cables: list[Relay] = []
        self.process: subprocess.Popen[bytes]
        self.told = False  # that it is enough
        self._command: list[str] = []

    async def start(self, hubs: list[Hub], seed: int, mine: list[str], doses: int = 0) -> Self:
        self.cables = [await Relay.open(partial(_address, hub)) for hub in hubs]
        command = [sys.executable, str(CLIENT), "--role", self.role, "--name", self.name]
        command += ["--urls", ",".join(cable.url for cable in self.cables)]
        command += ["--book", str(self.book), "--seed", str(seed), "--queues", str(QUEUES)]
        self._command = [*command, "--mine", ",".join(mine), "--doses", str(doses)]
        self._run()
        return self

    def _run(self) -> None:
        self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE)

    def again_if_poisoned(self) -> bool:
        """Start it again if a message has killed it; return whether one has."""
        if self.role == "produce" or self.process.poll() != -signal.SIGKILL:
            return False
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._run()
        return True

    def enough(self) -> None:
        self.told = True
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()

    async def end(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait)
        self.enough()
        for cable in self.cables:
            await cable.close()


async def silent(_: Exception) -> None:
    """That nodes are away is no news here."""


class Run:
    """One fault run."""

    def __init__(
        self, servers: NatsServers, folder: Path, seed: int, lease: float, doses: int
    ) -> None:
        self.servers, self.folder, self.seed, self.doses = servers, folder, seed, doses
        self.chance = random.Random(seed)
        url = f"{servers.url}?patience=15"
        self.hubs = [Hub(n, folder, url, lease) for n in range(HUBS)]
        self.clients: list[Client] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.began = time.monotonic()
        self._monitor: Any = None

    async def start(self) -> None:
        import nats

        for hub in self.hubs:
            await hub.start()
        self._monitor = await nats.connect(
            self.servers.url.replace(",", ",nats://").split(","),
            max_reconnect_attempts=-1,
            error_cb=silent,
        )
        for n in range(PRODUCERS):
            client = Client(f"p{n}", "produce", self.folder)
            doses = 0 if n else self.doses
            self.clients.append(await client.start(self.hubs, self.seed + n, [], doses))
        for n in range(CONSUMERS):
            mine = [
                f"q{q}" for q in range(QUEUES) if n in {(q + k) % CONSUMERS for k in range(EACH)}
            ]
            client = Client(f"c{n}", "consume", self.folder)
            self.clients.append(await client.start(self.hubs, self.seed + 100 + n, mine))
        self.books = Books(WINDOW * -(-QUEUES * EACH // CONSUMERS))
        for client in self.clients:
            self.books.add(client.name, client.role, client.book)

    async def end(self) -> None:
        for client in self.clients:
            await client.end()
        for hub in self.hubs:
            await hub.end()
        if self._monitor is not None:
            await self._monitor.close()

    def say(self, text: str) -> None:
        seconds = time.monotonic() - self.began
        answered, seen = len(self.books.ids), len(self.books.deliveries)
        print(
            f"{seconds:6.1f} s  {text:44} {answered:>8,} answered {seen:>8,} delivered",
            file=sys.stderr,
            flush=True,
        )

    async def pause(self, seconds: float) -> None:
        """Let this time pass."""
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(seconds, done.set_result, None)
        await done

    async def level(self, within: float = 90.0) -> None:
        """Wait until the stream has a leader and both others have all that it has."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                reply = await self._monitor.request("$JS.API.STREAM.INFO.chatq", b"", timeout=1)
                cluster = json.loads(reply.data).get("cluster", {})
            except Exception:  # nobody leads for now
                cluster = {}
            replicas = cluster.get("replicas") or []
            if len(replicas) == 2 and all(r["current"] and not r.get("offline") for r in replicas):
                return
            await self.pause(0.2)
        raise TimeoutError(f"the nodes were not level after {within:g} s")

    async def faults(self, seconds: float) -> None:
        """One fault after the other."""
        while time.monotonic() < self.began + seconds:
            await self.pause(self.chance.uniform(0.2, 2.0))
            kind = self.chance.choice(FAULTS)
            self.counts[kind] += 1
            since = time.time()
            await getattr(self, f"_{kind}")()
            self.books.troubles.append((since, time.time()))
            self.books.read()
            self.check()

    def check(self) -> None:
        for client in self.clients:
            self.counts["poisoned"] += client.again_if_poisoned()
            finished = client.process.poll() == 0 and client.told  # a producer that was told so
            assert finished or client.process.poll() is None, f"{client.name} ended by itself"
        for hub in self.hubs:
            assert hub.process is None or hub.process.poll() is None, f"{hub.name} ended by itself"

    async def _node(self) -> None:
        await self.level()
        node: NatsNode = self.chance.choice(self.servers.nodes)
        self.say(f"{node.name} is killed")
        await node.kill()
        await self.pause(self.chance.uniform(0.1, 8.0))
        await node.start()
        await self.level()

    async def _hub(self) -> None:
        hub = self.chance.choice(self.hubs)
        self.say(f"{hub.name} is killed")
        await hub.end()
        await self.pause(self.chance.uniform(0.0, 3.0))
        await hub.start()

    async def _hub_stop(self) -> None:
        hub = self.chance.choice(self.hubs)
        if hub.process is not None:
            hub.process.send_signal(signal.SIGCONT)  # if it is frozen
        self.say(f"{hub.name} is stopped in good order")
        await hub.end(signal.SIGTERM)
        await self._clock()
        await hub.start()

    async def _clock(self) -> None:
        hub = self.chance.choice(self.hubs)
        hub.clock.set(self.chance.uniform(-HOUR, HOUR))
        self.say(f"the clock of {hub.name} is set, by {hub.clock.ahead:+.0f} s")

    async def _frozen(self) -> None:
        client = self.chance.choice(self.clients)
        await self._freeze(client.name, client.process)

    async def _hub_frozen(self) -> None:
        hub = self.chance.choice(self.hubs)
        if hub.process is not None:
            await self._freeze(hub.name, hub.process)

    async def _freeze(self, name: str, process: subprocess.Popen[Any]) -> None:
        # Longer than a lease, now and then.
        seconds = self.chance.choice([1.0, 3.0, 35.0])
        self.say(f"{name} is frozen for {seconds:g} s")
        self.books.troubles.append((time.time(), time.time() + seconds))
        process.send_signal(signal.SIGSTOP)
        # Other things go on meanwhile, if it takes long.
        asyncio.get_running_loop().call_later(seconds, process.send_signal, signal.SIGCONT)
        await self.pause(min(seconds, 3.0))

    async def _cable(self) -> None:
        client = self.chance.choice(self.clients)
        self.say(f"the cable of {client.name} is cut")
        for cable in client.cables:
            cable.cut()
        await self.pause(self.chance.uniform(0.1, 1.5))
        for cable in client.cables:
            cable.mend()

    async def settle(self, within: float = 400.0) -> set[str]:
        """All is mended; return the dead when everything is delivered, or cannot be any more."""
        for hub in self.hubs:
            if hub.process is not None:
                hub.process.send_signal(signal.SIGCONT)
        for client in self.clients:
            client.process.send_signal(signal.SIGCONT)
            if client.role == "produce":
                client.enough()
        end = time.monotonic() + within
        dead: set[str] = set()
        while time.monotonic() < end:
            await self.pause(0.5)
            self.check()
            self.books.read()
            if self.books.done < PRODUCERS or self.books.missing(dead):
                if self.books.done == PRODUCERS:
                    dead, _ = await self.look()
                continue
            dead, left = await self.look()
            if not left:
                break
        self.say("the end")
        return dead

    async def look(self) -> tuple[set[str], int]:
        """Return the keys of the dead, and how many messages are still in their queues."""
        sio = socketio.AsyncClient(reconnection=False)
        dead: set[str] = set()
        left = 0
        await sio.connect(
            f"http://127.0.0.1:{self.hubs[0].port}",
            namespaces=[NAMESPACE],
            transports=["websocket"],
        )
        for n in range(QUEUES):
            asked = {"queue": f"q{n}"}
            stats = await sio.call("stats", asked, namespace=NAMESPACE, timeout=20)
            left += sum(stats.get(name, 0) for name in ("ready", "leased", "delayed"))
            if stats.get("dead"):
                answer = await sio.call("dead", asked, namespace=NAMESPACE, timeout=20)
                dead |= {message["data"] for message in answer["dead"]}
                for message in answer["dead"]:
                    if not message["data"].endswith(POISON):
                        print(f"dead, and no poison: {message}", file=sys.stderr)
        await sio.disconnect()
        return dead, left


async def fault_run(minutes: float, seed: int, lease: float, doses: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="chatq-cluster-") as folder:
        async with await NatsServers.open(3) as servers:
            run = Run(servers, Path(folder), seed, lease, doses)
            try:
                await run.start()
                await run.faults(60 * minutes)
                dead = await run.settle()
                seconds = time.monotonic() - run.began
                return {
                    "seconds": round(seconds, 1),
                    "seed": seed,
                    **{f"{kind}_faults": run.counts[kind] for kind in sorted({*FAULTS})},
                    "consumers_killed_by_poison": run.counts["poisoned"],
                    **run.books.verdict(dead),
                }
            finally:
                await run.end()
                if keep := os.environ.get("CHATQ_KEEP"):
                    subprocess.run(["cp", "-r", folder, keep], check=False)  # noqa: ASYNC221


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease", type=float, default=30.0, help="of the hubs, in seconds")
    parser.add_argument("--doses", type=int, default=2, help="of each kind of poison")
    parser.add_argument("--rate", action="store_true", help="measure throughput instead")
    parser.add_argument("--rounds", type=int, default=5, help="with --rate")
    parser.add_argument("--messages", type=int, default=10_000, help="with --rate, for each round")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    given = parser.parse_args()
    if given.rate:
        result = asyncio.run(rates(given.rounds, given.messages))
        result |= asyncio.run(costs(given.rounds, given.messages))
        fine = all(result[name] >= 0.8 for name in ("publish_ratio", "delivery_ratio"))
    else:
        result = asyncio.run(fault_run(given.minutes, given.seed, given.lease, given.doses))
        fine = good(result)
    for name, value in result.items():
        print(f"{name.replace('_', ' '):32} {value:>12,}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
