"""One client never harms another: beside each attack somebody publishes and consumes, and notices
next to nothing of it; the hub's memory and its log stay as small as they were."""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import aiohttp
import hubs
import pytest
from attackers import ATTACKS, Attack
from bystander import Bystander
from sizes import first, size

from chatq.doctor import at_least
from chatq.hub import serve
from chatq.internals import hub_requests

ROUNDS, TIMES = 2, size(12, 30)
#: By how much the hub may have grown, and how many lines it may have logged.
GROWN, LINES = 150e6, 250

Websocket = Callable[[hubs.Address], Awaitable[aiohttp.ClientWebSocketResponse]]


async def judge(hub: hubs.Hub, name: str, *, caps: bool = False, **options: Any) -> None:
    bystander = Bystander(hub, caps=caps, **options)
    await bystander.start()
    attack = Attack(hub.url, hub.namespace, name)
    try:
        await attack.ready()
        before = hub.memory
        await bystander.watch(attack, ROUNDS, TIMES)
        grown = hub.memory - before
        print(f"{name}: {bystander.check()}; {grown / 1e6:.0f} MB more")
        assert grown < GROWN
        assert len(hub.log.splitlines()) < LINES
        assert "Traceback" not in hub.log
        await bystander.stop()
    finally:
        attack.end()
    assert hub.process.poll() is None


#: Those that are tried always come first.
ORDER = ["unread", "too_much", "rejoin", *(name for name in ATTACKS if name != "unread")]


@pytest.mark.parametrize("name", first(3, dict.fromkeys(ORDER)))
async def test_a_bystander_of(name, tmp_path) -> None:
    guarded = name == "wrong_tokens"
    options = {"auth": {"token": "right"}} if guarded else {}
    arguments = ["--namespace", "/native", *(["--token", "right"] if guarded else [])]
    with hubs.hub(*arguments, folder=tmp_path) as hub:
        client = await hub.client(**options)
        letters = [{"queue": "big", "event": "e", "data": "x" * 9_000, "ttl": 0.01}] * 100
        await hub.call(client, "publish", {"messages": letters})
        await judge(hub, name, **options)
        await client.disconnect()
        assert await hub.stop() < hubs.DEADLINE


@pytest.mark.parametrize("name", first(1, ["unread", "unread_by_polling"]))
async def test_a_bystander_of_the_dialect_and_of(name, tmp_path) -> None:
    with hubs.hub("--dialect", "caps", folder=tmp_path) as hub:
        vendor = await hub.client()
        for n in range(size(100, 1_000)):
            order = {"store": "acme", "orderId": f"o{n}", "note": "y" * 20_000}
            await vendor.emit("pickup", order, namespace=hub.namespace)
        await hub.call(vendor, "pickup", {"store": "acme", "orderId": "last"})
        await judge(hub, name, caps=True)
        await vendor.disconnect()


# -- one by one -----------------------------------------------------------------------------------


@pytest.fixture
async def websocket():
    """A function that returns a bare websocket, which has joined the namespace."""
    made: list[aiohttp.ClientWebSocketResponse] = []
    async with aiohttp.ClientSession() as session:

        async def connect(hub: hubs.Address) -> aiohttp.ClientWebSocketResponse:
            url = f"{hub.url}/socket.io/?EIO=4&transport=websocket"
            ws = await session.ws_connect(url, max_msg_size=0)
            made.append(ws)
            await ws.receive()
            await ws.send_str(f"40{hub.namespace},")
            await ws.receive()
            return ws

        yield connect
        for ws in made:
            await ws.close()


@pytest.fixture
async def here(tmp_path):
    hub = hubs.Here(tmp_path)
    await hub.open()
    yield hub
    await hub.close()


async def test_copies_of_a_publish_are_limited(here) -> None:
    client = await here.client()
    queues = [f"q{n}" for n in range(1_000)]
    message = {"queue": queues, "event": "e"}
    refused = await here.call(client, "publish", {"messages": [message] * 3})
    assert refused["error"]["code"] == "limit"
    assert "2000 copies at most" in refused["error"]["message"]
    accepted = await here.call(client, "publish", {"messages": [message] * 2})
    assert [len(ids) for ids in accepted["ids"]] == [1_000, 1_000]
    await client.disconnect()


async def test_queues_that_two_clients_make_at_once_are_counted_once(here) -> None:
    first, second = await here.client(), await here.client()
    message = {"queue": [f"both-{n}" for n in range(1_000)], "event": "e"}
    answers = await asyncio.gather(
        *(here.call(client, "publish", message) for client in (first, second))
    )
    assert all("ids" in answer for answer in answers)
    codes = []
    for client in (first, second):
        more = {"queue": [f"{client.sid}-{n}" for n in range(1_000)], "event": "e"}
        codes.append("error" in await here.call(client, "publish", more))
    assert sorted(codes) == [False, True]  # 1,000 of one and none of the other had been counted
    for client in (first, second):
        await client.disconnect()


async def test_queues_of_a_publish_that_was_refused_are_not_counted(here) -> None:
    client = await here.client()
    there = here.queues.rules.length
    assert there > 1_000
    for start in (0, 1_000):  # more than a client may make, if they counted
        names = [f"refused-{n}" for n in range(start, start + 1_000)]
        message = {"queue": names, "event": "e"}
        here.queues.store._limits = here.queues.store._limits._replace(length=0)
        here.queues.store._rows._limits = here.queues.store._limits
        answer = await here.call(client, "publish", message)
        assert answer["error"]["code"] == "queue_full"
    here.queues.store._rows._limits = here.queues.store._limits._replace(length=there)
    assert "ids" in await here.call(client, "publish", message)
    await client.disconnect()


async def test_a_packet_that_is_too_large_ends_a_websocket_with_a_word(here, websocket, caplog):
    ws = await websocket(here)
    await ws.send_str("42" + "x" * 1_200_000)
    async with asyncio.timeout(hubs.DEADLINE):
        message = await ws.receive()
    assert message.type is aiohttp.WSMsgType.CLOSE
    assert (message.data, message.extra) == (1009, "a packet of more than 1200000 bytes")
    assert "ended a connection: a packet of more than 1200000 bytes" in caplog.text


async def _polling(session: aiohttp.ClientSession, hub: hubs.Address) -> str:
    at = f"{hub.url}/socket.io/?EIO=4&transport=polling"
    async with session.get(at) as answer:
        return f"{at}&sid={json.loads((await answer.text())[1:])['sid']}"


async def test_a_request_that_is_too_large_is_refused_with_a_word(here, caplog) -> None:
    async with aiohttp.ClientSession() as session:
        url = await _polling(session, here)
        async with session.post(url, data=io.BytesIO(b"4" + b"x" * 1_200_000)) as answer:
            assert answer.status == 413
            assert await answer.text() == "a packet has at most 1200000 bytes"
        async with session.get(url) as answer:  # the connection has ended
            assert answer.status == 400 or await answer.text() == "1"
        assert "ended a connection: a packet of more than 1200000 bytes" in caplog.text


async def test_a_request_that_comes_in_pieces_is_read_to_its_end(here) -> None:
    async with aiohttp.ClientSession() as session:
        url = await _polling(session, here)
        await (await session.post(url, data=f"40{here.namespace},")).read()
        data = {"queue": "q", "event": "e", "data": "x" * 800_000}
        body = f"42{here.namespace},1{json.dumps(['publish', data])}"
        async with session.post(url, data=body) as answer:
            assert answer.status == 200
        async with asyncio.timeout(hubs.DEADLINE):
            said = ""
            while '"id"' not in said:
                said += await (await session.get(url)).text()


@pytest.mark.skipif(
    not at_least(metadata.version("aiohttp"), "3.14"),
    reason="aiohttp 3.14 ends connections that are silent from their beginning",
)
async def test_half_sent_requests_do_not_stay_open(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(serve, "HEADERS", 0.3)
    monkeypatch.setattr(hub_requests, "BODY", 0.3)
    hub = hubs.Here(tmp_path)
    await hub.open()
    async with aiohttp.ClientSession() as session:
        url = (await _polling(session, hub)).removeprefix(hub.url)
    host, port = hub.url.removeprefix("http://").split(":")
    for sent in (
        b"",
        b"GET /socket.io/ HTTP/1.1\r\nHost: localhost\r\nX-",
        f"POST {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n4".encode(),
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(sent)
            async with asyncio.timeout(hubs.DEADLINE):
                said = await reader.read()
            assert said == b"" or said.startswith(b"HTTP/1.1 408")
        except TimeoutError:
            raise AssertionError(f"it stays open: {sent!r}") from None
        finally:
            writer.close()
            await writer.wait_closed()
    await hub.close()


async def test_joining_again_and_again_takes_its_time(here, websocket) -> None:
    ws = await websocket(here)
    began = time.monotonic()
    for _ in range(23):
        await ws.send_str(f"41{here.namespace},")
        await ws.send_str(f"40{here.namespace},")
    joined = 0
    async with asyncio.timeout(hubs.DEADLINE):
        while joined < 23:
            joined += (await ws.receive_str()).startswith("40")
    assert time.monotonic() - began > 1.5  # 20 at once, with the first; then one in half a second


async def test_wrong_tokens_end_the_connection(tmp_path, websocket) -> None:
    with hubs.hub("--token", "right", folder=tmp_path) as hub:
        ws = await websocket(hub)
        refused = 1
        async with asyncio.timeout(hubs.DEADLINE):
            while True:
                await ws.send_str(f'40{hub.namespace},{{"token":"wrong"}}')
                if not (await ws.receive_str()).startswith("44"):
                    break  # 1: the connection has ended
                refused += 1
        assert refused == 10
        client = await hub.client(auth={"token": "right"})  # from the same address
        assert "id" in await hub.call(client, "publish", {"queue": "q", "event": "e"})
        await client.disconnect()


async def test_a_client_that_does_not_go_on_moving_to_a_websocket_may_go_on_polling(
    here, monkeypatch
) -> None:
    from chatq.internals import hub_server

    monkeypatch.setattr(hub_server, "_UPGRADE", 0.2)
    async with aiohttp.ClientSession() as session:
        url = await _polling(session, here)
        await (await session.post(url, data=f"40{here.namespace},")).read()
        assert (await (await session.get(url)).text()).startswith("40")
        ws = await session.ws_connect(url.replace("polling", "websocket"))
        async with asyncio.timeout(hubs.DEADLINE):
            assert (await ws.receive()).type is not aiohttp.WSMsgType.TEXT  # it is ended
            await (await session.post(url, data=f'42{here.namespace},1["stats",{{}}]')).read()
            said = ""
            while "malformed" not in said:
                said += await (await session.get(url)).text()


async def test_attachments_that_never_come_are_not_kept_for_ever(
    here, websocket, monkeypatch
) -> None:
    from chatq.internals import hub_server

    monkeypatch.setattr(hub_server, "HALF_SENT", 2_000_000)
    begun = []
    for _ in range(3):
        ws = await websocket(here)
        await ws.send_str(f'452-{here.namespace},1["publish",{{"_placeholder":true,"num":0}}]')
        await ws.send_bytes(b"x" * 900_000)
        begun.append(ws)
    async with asyncio.timeout(hubs.DEADLINE):  # the one that has waited longest is ended
        assert (await begun[0].receive()).type is not aiohttp.WSMsgType.TEXT
    await begun[2].send_bytes(b"y")
    assert "malformed" in await begun[2].receive_str()


async def test_stopping_is_no_work(tmp_path) -> None:
    """With 3,000 clients (`--long`), or 300: to end a task of each would be seconds of work."""
    count = size(300, 3_000)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most[0] < 2 * count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * count + 500, most[1]), most[1]))
    with hubs.hub(folder=tmp_path) as hub:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def join(n: int) -> None:
                url = f"{hub.url}/socket.io/?EIO=4&transport=websocket"
                ws = await session.ws_connect(url)
                await ws.receive()
                await ws.send_str(f"40{hub.namespace},")
                await ws.receive()
                await ws.send_str(f'42{hub.namespace},1["subscribe",{{"queue":"q{n}"}}]')
                await ws.receive()
                joined.append(ws)

            joined: list[aiohttp.ClientWebSocketResponse] = []
            for start in range(0, count, 100):
                await asyncio.gather(*map(join, range(start, start + 100)))
            await hub.quiet()
            before, busy = _of_children(), hub.busy
            began = time.monotonic()
            hub.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(hub.process.wait, hubs.DEADLINE) == 0
            stopping = _of_children() - before - busy
            await asyncio.gather(*(ws.close() for ws in joined))
            print(f"stopped in {time.monotonic() - began:.2f} s; {stopping:.2f} s of work")
    assert stopping < size(0.08, 0.4)


def _of_children() -> float:
    """The processor time of processes that have ended, in seconds."""
    used = os.times()
    return used.children_user + used.children_system


def test_the_limits_are_in_the_protocol() -> None:
    text = (Path(serve.__file__).parent.parent / "PROTOCOL.md").read_text("utf-8")
    for limit in ("2,000 copies", "200 requests", "1009", "413", "10 s", "20 s"):
        assert limit in text
