"""A stream that is not the one it was: nothing is confirmed, and the error says what happened."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from nats_nodes import new_stream, shared_url

from chatq import StoreError
from chatq.journal.activity import wait_for
from chatq.queues.nats.address import Address
from chatq.queues.nats.log import NatsLog
from chatq.queues.nats.nats_store import NatsStore
from chatq.queues.nats.stream import MARKS, StreamGone
from chatq.queues.store import NewMessage
from chatq.stage.nats_server import NatsServers
from chatq.waiting import give_way

pytestmark = pytest.mark.needs("nats")

QUEUE = "drivers"
SOON = 15.0  # seconds; far below what a request would wait


def message(n: object = 0) -> NewMessage:
    return NewMessage("pickup", f'"{n}"', (QUEUE,))


@contextlib.asynccontextmanager
async def operator(url: str):
    """Somebody else with NATS's own client: yields JetStream and the stream's name."""
    import nats

    client = await nats.connect(url.rpartition("/")[0])
    yield client.jetstream(), url.rpartition("/")[2]
    await client.close()


async def purged(jetstream: Any, name: str) -> None:
    await jetstream.purge_stream(name)


async def purged_but_the_last(jetstream: Any, name: str) -> None:
    await jetstream.purge_stream(name, keep=1)


async def purged_up_to(jetstream: Any, name: str) -> None:
    await jetstream.purge_stream(name, seq=MARKS + 2)


async def deleted(jetstream: Any, name: str) -> None:
    await jetstream.delete_stream(name)


async def made_anew_by_chatq(jetstream: Any, name: str) -> None:
    await jetstream.delete_stream(name)
    store = await NatsStore.open(f"{shared_url()}/{name}")
    await store.put([message("another's")])
    await store.close()


async def made_anew_and_grown(jetstream: Any, name: str) -> None:
    """Longer than it was, so that no number gives it away."""
    await jetstream.delete_stream(name)
    store = await NatsStore.open(f"{shared_url()}/{name}")
    for n in range(20):
        await store.put([message(n)])
    await store.close()


async def made_anew_with_its_configuration(jetstream: Any, name: str) -> None:
    config = (await jetstream.stream_info(name)).config
    await jetstream.delete_stream(name)
    await jetstream.add_stream(config)


def edited(**more: Any):
    async def edit(jetstream: Any, name: str) -> None:
        config = (await jetstream.stream_info(name)).config
        await jetstream.update_stream(config.evolve(**more))

    return edit


PURGED = "its first records are gone: it was purged"
DELETED = "it was deleted, or its servers have lost their disks"
ANOTHER = "it was deleted, and another one was made under its name"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (purged, PURGED),
        (purged_but_the_last, PURGED),
        (purged_up_to, PURGED),
        (deleted, DELETED),
        (made_anew_by_chatq, ANOTHER),
        (made_anew_and_grown, ANOTHER),
        (made_anew_with_its_configuration, ANOTHER),
        (edited(subjects=["elsewhere-of-{name}.>"]), r"\(subjects\)"),
        (edited(sealed=True), r"\(.*sealed.*\)"),
    ],
)
async def test_after_that_nothing_is_confirmed(what, told):
    url = new_stream()
    store = await NatsStore.open(url)
    for n in range(3):
        await store.put([message(n)])
    async with operator(url) as (jetstream, name):
        await what(jetstream, name)
    async with asyncio.timeout(SOON):
        for asked in (lambda: store.put([message("after")]), lambda: store.stats(QUEUE)):
            with pytest.raises(
                StreamGone, match=f"(?s)is not the one it was.*{told}.*Either .*, or start anew"
            ):
                await asked()
        await store.close()


def _sources(more: dict[str, Any]) -> dict[str, Any]:
    """Return the streams that feed it as the client of NATS wants them."""
    from nats.js.api import StreamSource

    return {
        key: [StreamSource(name=n) for n in value]
        for key, value in more.items()
        if key == "sources"
    }


@pytest.mark.parametrize(
    "more",
    [
        {"max_bytes": 3_000},
        {"max_msgs": 1_000},
        {"max_msgs_per_subject": 1},
        {"max_msg_size": 1_000},
        {"max_age": 100.0, "duplicate_window": 1.0},
        {"discard": "old"},
        {"no_ack": True},
        {"sources": ["another"]},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_a_limit_put_on_it_stops_the_store_before_it_costs_anything(more):
    """It hears of that by JetStream's advisory, without a request of its own."""
    url = new_stream()
    store = await NatsStore.open(url)
    await store.put([message(1)])
    told: list[StreamGone] = []
    looks: list[Any] = []
    tell = store._log.gone
    store._log.gone = lambda problem: [told.append(problem), tell(problem), *[x() for x in looks]]

    def listen(look):
        looks.append(look)
        return lambda: None

    async with operator(url) as (jetstream, name):
        await edited(**(more | _sources(more)))(jetstream, name)
    await wait_for(lambda: bool(told), listen, "word of the limit", SOON)
    with pytest.raises(StreamGone, match=rf"\({next(iter(more))}\).*change that back"):
        await store.put([message(2)])
    await store.close()
    with pytest.raises(StoreError, match="was changed"):
        await NatsStore.open(url)
    async with operator(url) as (jetstream, name):  # the first way out
        back: dict[str, Any] = dict.fromkeys(more, -1)
        back |= {"max_age": 0.0, "duplicate_window": 1.0} if "max_age" in more else {}
        back |= {"discard": "new"} if "discard" in more else {}
        back |= {"no_ack": False} if "no_ack" in more else {}
        back |= {"sources": []} if "sources" in more else {}
        await edited(**back)(jetstream, name)
    again = await NatsStore.open(url)
    assert (await again.stats(QUEUE)).ready == 1
    await again.close()


async def test_a_purged_stream_is_not_opened_and_after_its_deletion_it_is():
    url = new_stream()
    store = await NatsStore.open(url)
    await store.put([message(1)])
    await store.close()
    async with operator(url) as (jetstream, name):
        await purged(jetstream, name)
        with pytest.raises(StreamGone, match=rf"{PURGED}.*nats stream rm {name}"):
            await NatsStore.open(url)
        await deleted(jetstream, name)
    again = await NatsStore.open(url)
    assert await again.stats(QUEUE) is None
    await again.close()


async def test_a_stream_with_the_marks_of_another_is_not_opened():
    """As if the records of one stream had been restored into another."""
    url = new_stream()
    await (await NatsStore.open(url)).close()
    async with operator(url) as (jetstream, name):
        metadata = (await jetstream.stream_info(name)).config.metadata
        await edited(metadata={**metadata, "chatq-name": "abcdabcd"})(jetstream, name)
    with pytest.raises(StreamGone, match="its first records are those of another stream"):
        await NatsStore.open(url)


async def test_another_stream_refuses_a_record_before_anybody_has_looked(monkeypatch):
    """Also one that is longer: else a store that has just connected again would confirm what it
    wrote into somebody else's."""
    url = new_stream()
    with monkeypatch.context() as patch:
        patch.setattr(NatsLog, "_watch", lambda log: give_way())  # nobody tells it
        log = await NatsLog.open(Address.parse(url))
    await log.append("log", b"mine")
    async with operator(url) as (jetstream, name):
        await deleted(jetstream, name)
    other = await NatsLog.open(Address.parse(url))
    for n in range(3):
        end = await other.append("log", b"%d" % n)
    with pytest.raises(StreamGone, match=ANOTHER):
        await log.append("log", b"lost")
    assert await other.newest() == end
    await log.close()
    await other.close()


async def test_a_node_that_does_not_know_all_records_yet_is_no_end(monkeypatch):
    log, other = [await NatsLog.open(address) for address in 2 * [Address.parse(new_stream())]]
    log._reached = await log.newest() + 1
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await other.append("log", b"x")

    monkeypatch.setattr(log._connection, "pause", pause)
    await log.look()
    assert len(pauses) == 1
    assert log.gone_for is None
    await log.close()
    await other.close()


async def test_its_own_compaction_is_no_purge():
    url = new_stream()
    store = await NatsStore.open(url)
    store._compaction._every = 5
    for n in range(60):
        await store.put([message(n)])
        [attempt] = (await store.claim(QUEUE, 1, 30.0, in_order=False)).attempts
        await store.ack([attempt.receipt])
        await store._tasks.end(SOON)
    async with operator(url) as (jetstream, name):
        assert (await jetstream.stream_info(name)).state.messages < 60
    await store._log.look()
    again = await NatsStore.open(url)
    await again.close()
    await store.close()


async def test_an_answer_that_does_not_fit_stops_it():
    """As after a backup that is older, and has the same marks."""
    log = await NatsLog.open(Address.parse(new_stream()))
    place = await log.append("log", b"x")
    log._reached = place + 10
    with pytest.raises(StreamGone, match=f"ends at record {place + 1}, and had {place + 10}"):
        await log.append("log", b"y")
    with pytest.raises(StreamGone):
        await log.append("log", b"z")
    await log.close()


def disk(servers: NatsServers) -> Path:
    """Return the folder in which the first node keeps its streams."""
    [found] = servers.nodes[0]._configuration.parent.rglob("jetstream")
    return found


@pytest.mark.parametrize("both", [False, True], ids=["empty", "with another store's"])
async def test_an_empty_server_at_the_same_address(both):
    """Its disk was lost: it is noticed when the connection is there again."""
    async with await NatsServers.open() as servers:
        store = await NatsStore.open(servers.url)
        await store.put([message(1)])
        await servers.nodes[0].kill()
        shutil.rmtree(disk(servers))
        await servers.nodes[0].start()
        other = await NatsStore.open(servers.url) if both else None
        if other is not None:
            await other.put([message("other")])
        async with asyncio.timeout(SOON):
            with pytest.raises(StreamGone, match=f"{ANOTHER}|{DELETED}"):
                await store.put([message("after")])
            await store.close()
        if other is not None:
            assert (await other.stats(QUEUE)).ready == 1
            await other.close()


async def test_a_disk_with_an_older_copy(tmp_path):
    """The same stream with the same marks, but without what was confirmed since."""
    async with await NatsServers.open() as servers:
        store = await NatsStore.open(servers.url)
        await store.put([message(1)])
        await servers.nodes[0].kill()
        shutil.copytree(disk(servers), tmp_path / "backup")
        await servers.nodes[0].start()
        for n in range(3):
            await store.put([message(n)])
        await servers.nodes[0].kill()
        where = disk(servers)
        shutil.rmtree(where)
        shutil.copytree(tmp_path / "backup", where)
        await servers.nodes[0].start()
        async with asyncio.timeout(SOON):
            with pytest.raises(StreamGone, match=r"older backup was restored.*nats stream restore"):
                await store.put([message("after")])
            await store.close()


async def test_servers_that_write_at_once_name_marks_and_none_is_refused():
    """On a cluster JetStream refuses two publishes that name the same mark at the same time."""
    async with await NatsServers.open(3) as servers:
        logs = [await NatsLog.open(Address.parse(servers.url)) for _ in range(4)]
        for log in logs:
            log._mark = 0
        places = await asyncio.gather(*(log.append("log", b"x") for _ in range(30) for log in logs))
        assert len({*places}) == 120
        assert all(log.gone_for is None for log in logs)
        for log in logs:
            await log.close()
