"""Hubs on NATS, each a process: publish at one, receive at another, whoever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import hubs
import pytest
import socketio
from hubs import Hub, Inbox
from nats_nodes import new_stream

from chatq.__main__ import main
from chatq.stage.nats_server import NatsServers

pytestmark = pytest.mark.needs("nats")


@contextlib.contextmanager
def several(number: int, url: str, folder: Path):
    """So many hubs with one store."""
    with contextlib.ExitStack() as stack:
        made = []
        for n in range(number):
            home = folder / str(n)
            home.mkdir()
            made.append(stack.enter_context(hubs.hub("--store", url, folder=home)))
        yield made


async def publish(hub: Hub, client: socketio.AsyncClient, n: int, **more: Any) -> Any:
    return await hub.call(client, "publish", {"queue": "q", "event": "e", "data": n, **more})


@pytest.mark.long
async def test_publish_at_one_hub_receive_at_another_and_go_on_at_a_third(tmp_path):
    with several(3, new_stream(), tmp_path) as (first, second, third):
        producer, consumer = await first.client(), await second.client()
        inbox = Inbox(consumer, "/caps", answer=True)
        await second.call(consumer, "subscribe", {"queue": "q"})
        for n in range(5):
            assert "id" in await publish(first, producer, n)
        await inbox.until(5)
        assert inbox.data == [0, 1, 2, 3, 4]
        await consumer.disconnect()
        await second.stop(signal.SIGKILL)
        for n in range(5, 10):
            assert "id" in await publish(first, producer, n)
        moved = await third.client()
        inbox = Inbox(moved, "/caps", answer=True)
        await third.call(moved, "subscribe", {"queue": "q"})
        await inbox.until(lambda: {5, 6, 7, 8, 9} <= {*inbox.data}, "what was put meanwhile")
        for data, delivery in (arguments for _, arguments in inbox.events):
            assert data >= 5 or delivery["redelivered"]
        await moved.disconnect()
        await producer.disconnect()


class Together:
    """The events of several inboxes."""

    def __init__(self, inboxes: list[Inbox]) -> None:
        self._inboxes = inboxes
        more = asyncio.Event()
        for inbox in inboxes:
            inbox._more = more

    @property
    def data(self) -> list[Any]:
        return [data for inbox in self._inboxes for data in inbox.data]

    async def until(self, number: int) -> None:
        await self._inboxes[0].until(lambda: len(self.data) >= number, "all, here or there")


async def test_competing_consumers_at_two_hubs_get_each_message_once(tmp_path):
    with several(2, new_stream(), tmp_path) as both:
        clients = [await hub.client() for hub in both]
        inboxes = [Inbox(client, "/caps", answer=True) for client in clients]
        for hub, client in zip(both, clients, strict=True):
            await hub.call(client, "subscribe", {"queue": "q", "window": 4})
        for n in range(40):
            await publish(both[n % 2], clients[n % 2], n)
        everybody = Together(inboxes)
        await everybody.until(40)
        assert sorted(everybody.data) == [*range(40)]
        for client in clients:
            await client.disconnect()


@pytest.mark.long
async def test_nodes_are_killed_one_after_the_other_and_nothing_that_was_answered_is_lost(tmp_path):
    async with await NatsServers.open(3) as servers:
        with several(2, servers.url, tmp_path) as (first, second):
            producer, consumer = await first.client(), await second.client()
            inbox = Inbox(consumer, "/caps", answer=True)
            await second.call(consumer, "subscribe", {"queue": "q"})
            answered = []
            ended = asyncio.Event()

            async def produce() -> None:
                n = 0
                while not ended.is_set():
                    answer = await producer.call(
                        "publish",
                        {"queue": "q", "event": "e", "data": n, "key": str(n)},
                        namespace="/caps",
                        timeout=40,
                    )
                    if "id" in answer:
                        answered.append(n)
                        n += 1

            producing = asyncio.create_task(produce())
            for node in servers.nodes:
                before = len(answered)
                await node.kill()
                await more(answered, before + 20)
                await node.start()
                await more(answered, before + 40)
            ended.set()
            await producing
            await inbox.until(lambda: {*answered} <= {*inbox.data}, "all that was answered")
            assert [*dict.fromkeys(inbox.data)] == answered
            seen: set[int] = set()
            for data, delivery in (arguments for _, arguments in inbox.events):
                assert delivery["redelivered"] or data not in seen
                seen.add(data)
            await producer.disconnect()
            await consumer.disconnect()
            assert "connected to NATS" in first.log + second.log


async def more(answered: list[int], number: int) -> None:
    """Wait until so many were answered."""
    done = asyncio.get_running_loop().create_future()

    def look() -> None:
        if len(answered) >= number:
            done.set_result(None)
        else:
            asyncio.get_running_loop().call_later(0.02, look)

    look()
    async with asyncio.timeout(40):
        await done


async def test_a_hub_says_that_nats_is_away_and_goes_on_when_it_is_back(tmp_path):
    async with await NatsServers.open() as servers:
        url = f"{servers.url}?patience=2"
        with hubs.hub("--store", url, folder=tmp_path) as hub:
            client = await hub.client()
            assert "id" in await publish(hub, client, 1)
            [node] = servers.nodes
            await node.kill()
            late = asyncio.create_task(
                client.call(
                    "publish",
                    {"queue": "q", "event": "e", "data": 2},
                    namespace="/caps",
                    timeout=40,
                )
            )
            answer = await late
            assert answer["error"]["code"] == "unavailable"
            assert "not confirmed" in answer["error"]["message"]
            await node.start()
            answer = await publish(hub, client, 3)
            assert "id" in answer
            await node.freeze()
            assert await hub.stop() < 2
            node.thaw()
            await client.disconnect()


async def test_a_caps_hub_may_be_killed_and_another_goes_on_with_its_queues(tmp_path):
    url = new_stream()
    order = {"store": "1-206-flowers", "orderId": "o1", "customer": "Ada", "address": "Seattle"}
    with hubs.hub("--store", url, "--dialect", "caps", folder=tmp_path) as first:
        vendor = await first.client()
        await vendor.emit("join", "1-206-flowers", namespace="/caps")
        assert await first.call(vendor, "pickup", order)
        await first.stop(signal.SIGKILL)
    with hubs.hub("--store", url, "--dialect", "caps", folder=tmp_path) as second:
        driver = await second.client()
        inbox = Inbox(driver, "/caps")
        answer = await second.call(driver, "getAll", {"clientId": "drivers", "event": "pickup"})
        assert answer == {"count": 1}
        await inbox.until(1)
        assert inbox.data == [order]
        await driver.disconnect()
    await vendor.disconnect()


@pytest.mark.parametrize(
    ("url", "status", "told"),
    [
        (
            "nats://127.0.0.1:9?patience=0.5",
            1,
            "no NATS server answers at nats://127.0.0.1:9/chatq",
        ),
        ("nats://a/b/c", 2, "a stream's name has letters"),
    ],
)
def test_a_store_that_cannot_be(url, status, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--port", "0", "--store", url]) == status
    assert told in capsys.readouterr().err


async def test_a_hub_of_the_caps_dialect_says_that_it_wants_to_be_the_only_one(tmp_path):
    with hubs.hub("--store", new_stream(), "--dialect", "caps", folder=tmp_path) as one:
        await one.stop()  # then all that it has to say is in its log
        assert one.log.count("would not see what this one keeps: run one only") == 1
