"""Queues on NATS that several servers share: what they tell each other, what outlives whom."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any

import pytest
from claims import QUEUE, claim
from clock import Clock
from nats_nodes import background, new_stream, shared_url
from whole_state import whole

from chatq import Queues, StoreError
from chatq.course.sandbox import ends_what_blocks
from chatq.journal.activity import wait_for
from chatq.queues.nats import nats_store
from chatq.queues.nats.address import Address
from chatq.queues.nats.connection import ATTEMPT, SOON, Connection, Unconfirmed
from chatq.queues.nats.encoding import Part, encoded
from chatq.queues.nats.log import NatsLog
from chatq.queues.nats.nats_store import NatsStore
from chatq.queues.nats.reader import Reader
from chatq.queues.record import Record
from chatq.queues.store import Limits, NewMessage, QueueFull
from chatq.stage.nats_server import NatsServers
from chatq.waiting import give_way

pytestmark = pytest.mark.needs("nats")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def servers(clock):
    """Two stores of one stream, as two servers have them."""
    url = new_stream()
    both = [await NatsStore.open(url, clock=clock, length=3) for _ in range(2)]
    yield both
    for store in both:
        await store.close()


def message(n: object = 0, *queues: str, **more: Any) -> NewMessage:
    return NewMessage("pickup", f'"{n}"', queues or (QUEUE,), **more)


def numbers(attempts):
    return [int(attempt.body.strip('"')) for attempt in attempts]


async def level(*stores):
    """All of them have read what any has written."""
    end = max([await store._log.newest() for store in stores])
    for store in stores:
        await reached(
            store, lambda store=store: store._replica.state.applied >= end, "the end of the log"
        )


async def reached(store, condition, what, within=15.0):
    """Wait until records have made this true."""

    def listen(look):
        apply = store._replica._read

        def came(*record):
            apply(*record)
            look()

        store._replica._read = store._log._reader._record = came
        return lambda: None

    await wait_for(condition, listen, what, within)


# -- sharing


async def test_what_one_server_puts_another_claims_and_settles(servers):
    one, two = servers
    heard = []
    two.listen(heard.append)
    [[id]] = await one.put([message(1)])
    await level(one, two)
    assert heard == [QUEUE]
    [attempt] = await claim(two)
    assert (attempt.id, attempt.body, attempt.number) == (id, '"1"', 1)
    await level(one, two)
    assert await claim(one) == []
    assert await two.ack([attempt.receipt]) == [True]
    await level(one, two)
    assert (await one.stats(QUEUE)).oldest is None


async def test_two_that_claim_at_once_never_get_the_same(servers):
    one, two = servers
    await one.put([message(n) for n in range(3)])
    await level(one, two)
    got = await asyncio.gather(claim(one, 2), claim(two, 2))
    assert sorted(numbers(got[0]) + numbers(got[1])) == [0, 1, 2]


async def test_in_order_means_all_servers(servers):
    one, two = servers
    await one.put([message(1), message(2)])
    await level(one, two)
    [first] = await claim(two, in_order=True)
    await level(one, two)
    assert await claim(one, in_order=True) == []
    await two.release(first.receipt, 5.0)
    await level(one, two)
    assert await claim(one, in_order=True) == []
    assert numbers(await claim(one)) == [2]


async def test_a_receipt_is_of_one_attempt_whoever_made_it(servers, clock):
    one, two = servers
    await one.put([message(1)])
    await level(one, two)
    [stale] = await claim(one)
    clock.now += 31
    await level(one, two)
    [current] = await claim(two)
    assert current.number == 2
    for store in (one, two):
        await level(one, two)
        assert await store.ack([stale.receipt]) == [False]
        assert await store.release(stale.receipt) is False
        assert await store.bury(stale.receipt, "no") is False
    assert await one.ack([current.receipt]) == [True]  # any server may be told


def test_jetstream_itself_takes_an_acknowledgement_of_an_older_attempt():
    """Why its own are not used: this one settles the attempt that somebody else has now."""

    async def look():
        import nats

        client = await nats.connect(shared_url())
        jetstream = client.jetstream()
        await jetstream.add_stream(name="stale", subjects=["stale"], retention="workqueue")
        await jetstream.publish("stale", b"message")
        consumer = await jetstream.pull_subscribe("stale", durable="worker")
        [first] = await consumer.fetch(1, timeout=5)
        await client.request(first.reply, b"-NAK")
        [second] = await consumer.fetch(1, timeout=5)
        assert second.metadata.num_delivered == 2
        await client.request(first.reply, b"+ACK")
        left = (await jetstream.stream_info("stale")).state.messages
        await client.close()
        return left

    assert background().do(look()) == 0


async def test_keys_and_lengths_are_the_same_for_all(servers, clock):
    one, two = servers
    [[id]] = await one.put([message(1, key="k")])
    assert await two.put([message(2, key="k")]) == [[id]]
    await two.put([message(3), message(4)])
    with pytest.raises(QueueFull):
        await one.put([message(5)])
    assert (await one.stats(QUEUE)).ready == 3


async def test_a_key_is_remembered_by_the_servers_of_the_queues_and_their_clock(servers, clock):
    """JetStream would forget it by its own clock, and after two minutes."""
    one, two = servers
    [[id]] = await one.put([message(1, key="k")])
    clock.now += 24 * 3600 - 1
    assert await two.put([message(2, key="k")]) == [[id]]
    clock.now += 2
    assert await two.put([message(3, key="k")]) != [[id]]


async def test_a_fan_out_is_stored_whole_or_not_at_all(servers):
    one, two = servers
    await one.put([message(n) for n in range(3)])
    with pytest.raises(QueueFull):
        await two.put([message(9, "a", QUEUE, "b")])
    assert await two.stats("a") is None
    assert await two.stats("b") is None


# -- servers that come and go


async def abandoned(store):
    """As if its process had been killed: its connection closes, and it says no word."""
    await store._log.close()


async def test_a_lease_outlives_its_server_and_ends_at_its_time(servers, clock):
    one, two = servers
    await one.put([message(1)])
    [held] = await claim(one)
    await abandoned(one)
    await level(two)
    clock.now += 29
    assert await claim(two) == []
    clock.now += 1
    [again] = await claim(two)
    assert (again.id, again.number) == (held.id, 2)


@pytest.mark.parametrize("idle", [0.0, 3000.0])
@pytest.mark.parametrize("snapshots", [False, True])
async def test_a_clock_that_was_set_back_meanwhile_holds_up_nothing(idle, snapshots, caplog):
    """Neither what is delayed, nor what a dead server has leased waits for the old time again."""
    url, clock = new_stream(), Clock()
    store = await NatsStore.open(url, clock=clock)
    await store.put([message(1), message(2), message(3, due=clock() + 20)])
    [one] = await claim(store, 1)
    [two] = await claim(store, 1)
    await store.release(one.receipt, 10.0)
    if snapshots:
        await store._compaction.run()
    clock.now += idle  # nothing is written meanwhile
    await abandoned(store)
    clock.now -= idle + 1800
    again = await NatsStore.open(url, clock=clock)
    assert "the clock is 1800 s behind the stream" in caplog.text
    assert await claim(again) == []
    clock.now += 11
    assert numbers(await claim(again)) == [1]
    clock.now += 10
    assert numbers(await claim(again)) == [3]
    clock.now += 10
    assert numbers(await claim(again, 1)) == [2]
    assert await again.ack([two.receipt]) == [False]
    await again.close()


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
async def test_a_server_with_another_time_of_day_works_with_the_others(ahead):
    """Leases that one has given hold for the other, and end."""
    url, clocks = new_stream(), [Clock(), Clock()]
    one = await NatsStore.open(url, clock=clocks[0])
    await one.put([message(1)])
    clocks[1].now += ahead
    two = await NatsStore.open(url, clock=clocks[1])
    await two.put([message(2)])  # from here on they agree
    for here, there in ((one, two), (two, one)):
        await level(one, two)
        [first] = await claim(here, 1)
        await level(one, two)
        [second] = await claim(there, 1)
        await level(one, two)
        assert await claim(here) == await claim(there) == []
        for clock in clocks:
            clock.now += 31
        again = await claim(here)
        assert {attempt.id for attempt in again} == {first.id, second.id}
        assert await here.ack([first.receipt]) == await there.ack([second.receipt]) == [False]
        for attempt in again:
            await here.release(attempt.receipt, counted=False)
    await one.close()
    await two.close()


async def test_somebody_is_told_when_the_lease_of_a_dead_server_ends():
    url = new_stream()
    one, two = await NatsStore.open(url), await NatsStore.open(url)
    await one.put([message(1)])
    await level(one, two)
    told = asyncio.Event()
    two.listen(lambda _: told.set())
    [held] = await claim(one, lease=0.3)
    await abandoned(one)
    async with asyncio.timeout(5):
        while not (again := await claim(two)):
            told.clear()
            await told.wait()
    assert (again[0].id, again[0].number) == (held.id, 2)
    await two.close()


async def test_a_server_that_says_goodbye_gives_back_what_it_holds(servers):
    one, two = servers
    await one.put([message(1), message(2)])
    first, _ = await claim(one)
    await one.ack([first.receipt])
    await one.close()
    await level(two)
    [again] = await claim(two)
    assert (again.body, again.number) == ('"2"', 2)


async def test_everything_outlives_all_servers(clock):
    url = new_stream()
    store = await NatsStore.open(url, clock=clock)
    ids = [ids[0] for ids in await store.put([message(n) for n in range(6)])]
    [[keyed]] = await store.put([message(6, key="k")])
    attempts = await claim(store, 4)
    await store.ack([attempts[0].receipt])
    await store.bury(attempts[1].receipt, "no")
    await store.release(attempts[2].receipt, 50.0)
    await store.close()
    again = await NatsStore.open(url, clock=clock)
    stats = await again.stats(QUEUE)
    assert (stats.ready, stats.leased, stats.delayed, stats.dead) == (4, 0, 1, 1)
    assert await again.put([message(7, key="k")]) == [[keyed]]
    back = await claim(again)
    assert numbers(back) == [3, 4, 5, 6]
    assert [attempt.number for attempt in back] == [2, 1, 1, 1]
    assert [dead.id for dead in await again.dead(QUEUE)] == [ids[1]]
    await again.close()


# -- the log


def cleaned(store, every=3):
    store._compaction._every = every
    return store


async def settled(store):
    assert await store._tasks.end(20) == []


async def test_the_log_does_not_grow_without_end(clock):
    url = new_stream()
    store = cleaned(await NatsStore.open(url, clock=clock))
    await store.put([message("old")])
    [stuck] = await claim(store)
    await store.bury(stuck.receipt, "kept for ever")
    for n in range(60):
        await store.put([message(n)])
        [attempt] = await claim(store)
        await store.ack([attempt.receipt])
        await level(store)
        await settled(store)
    info = await store._log.api("STREAM.INFO")
    assert info["state"]["last_seq"] > 200
    assert info["state"]["messages"] < 50
    assert [dead.body for dead in await store.dead(QUEUE)] == ['"old"']
    other = await NatsStore.open(url, clock=clock)
    assert whole(other._replica.state) == whole(store._replica.state)
    assert [dead.body for dead in await other.dead(QUEUE)] == ['"old"']
    await store.close()
    await other.close()


async def test_what_waits_untouched_is_all_there_after_a_snapshot(clock):
    url = new_stream()
    store = cleaned(await NatsStore.open(url, clock=clock), every=1_000)
    await store.put([message(n) for n in range(10)])
    [first, *_] = await claim(store, 3)
    await store.release(first.receipt)
    await store.put([message(10, QUEUE, "a"), message(11)])
    await store._compaction.run()
    await level(store)
    assert store._replica.manifest is not None
    other = await NatsStore.open(url, clock=clock)
    assert other._replica.manifest == store._replica.manifest
    assert whole(other._replica.state) == whole(store._replica.state)
    assert numbers(await claim(other, 20)) == [0, *range(3, 12)]
    await store.close()
    await other.close()


async def test_keys_outlive_many_snapshots_and_are_written_anew_now_and_then(clock):
    url = new_stream()
    store = cleaned(await NatsStore.open(url, clock=clock, key_memory=1000.0))
    ids = {}
    for n in range(150):
        clock.now += 1
        [[ids[n]]] = await store.put([message(n, key=str(n))])
        [attempt] = await claim(store)
        await store.ack([attempt.receipt])
        await level(store)
        await settled(store)
    assert store._replica.manifest.after > 300
    assert len(store._replica.manifest.keys) < 70
    other = await NatsStore.open(url, clock=clock, key_memory=1000.0)
    for n in (0, 1, 77, 149):
        assert await other.put([message("again", key=str(n))]) == [[ids[n]]]
    clock.now += 900
    assert await other.put([message("again", key="149")]) == [[ids[149]]]
    assert await other.put([message("new", key="0")]) != [[ids[0]]]
    await store.close()
    await other.close()


async def test_a_snapshot_knows_what_is_kept_and_in_which_order_it_goes(clock):
    """Dead letters by their deaths, keys by their number: a new server drops what the others do."""
    url, rules = new_stream(), {"dead_length": 3, "keys": 2}
    store = cleaned(await NatsStore.open(url, clock=clock, **rules))
    ids = []
    for n in range(6):  # with a snapshot in between that has keys which are forgotten then
        ids += await store.put([message(n, key=str(n))])
        await level(store)
        await settled(store)
    attempts = await claim(store, 6)
    for n in (4, 0, 2):
        clock.now += 1
        await store.bury(attempts[n].receipt, "no")
        await level(store)
        await settled(store)
    assert store._replica.manifest.after > 3
    other = await NatsStore.open(url, clock=clock, **rules)
    assert await other.bury(attempts[3].receipt, "no") is True
    for each in (store, other):
        await level(each)
        assert [dead.body for dead in await each.dead(QUEUE)] == ['"0"', '"2"', '"3"']
    assert (await other.put([message("again", key="0")]))[0] != ids[0]
    await level(store, other)
    assert whole(other._replica.state) == whole(store._replica.state)
    await store.close()
    await other.close()


async def test_a_server_that_slept_while_records_went_begins_again_where_all_others_are(clock):
    url = new_stream()
    awake, sleeper = [cleaned(await NatsStore.open(url, clock=clock)) for _ in range(2)]
    await awake.put([message("first")])
    await level(awake, sleeper)
    await sleeper._log._reader.close()
    for n in range(40):
        await awake.put([message(n)])
        [attempt] = await claim(awake, 1)
        await awake.ack([attempt.receipt])
        await level(awake)
        await settled(awake)
    told = []
    sleeper.listen(told.append)
    await sleeper._log.read(
        sleeper._replica.state.applied, sleeper._replica._read, sleeper._replica._hole
    )
    await settled(sleeper)
    await level(awake, sleeper)
    assert whole(sleeper._replica.state) == whole(awake._replica.state)
    assert told
    assert numbers(await claim(sleeper)) == [39]
    await awake.close()
    await sleeper.close()


@pytest.mark.long
async def test_much_to_read_takes_longer_than_patience_and_that_is_no_failure():
    log = await NatsLog.open(Address.parse(new_stream()))
    for _ in range(10):
        await asyncio.gather(*(log.append("log", b"x") for _ in range(200)))
    there = await log.newest()  # more, if a confirmation was late
    log._connection.patience = 1.0
    seen = []

    def slowly(place: int, kind: str, data: bytes) -> None:
        seen.append(place)
        done = time.monotonic() + 0.0006
        while time.monotonic() < done:
            pass

    began = time.monotonic()
    await log.read(0, slowly, lambda: None)
    assert seen == [*range(1, there + 1)]
    assert there >= 2_000
    assert time.monotonic() - began > log._connection.patience
    await log.close()


async def test_a_reader_whose_connection_is_closed_ends_and_blocks_nobody():
    connection = Connection(Address.parse(shared_url()), 0.05)
    await connection.open()
    await connection.close()
    reader = Reader(connection, "nobody's", 0, lambda *_: None, lambda: None, give_way)
    reader.again()
    with ends_what_blocks():
        async with asyncio.timeout(10):
            await reader._run()
    await reader.close()


async def test_a_record_that_comes_twice_counts_once(servers):
    one, two = servers
    part = Part.of(["put", [["e", [QUEUE], None, None, None]]], ["1"])
    record = Record("somebody", 1, 1.0, Limits(), [], [])
    for _ in range(3):
        await one._log.append("log", encoded(record, [part]))
    await level(one, two)
    assert (await one.stats(QUEUE)).ready == (await two.stats(QUEUE)).ready == 1


async def test_a_claim_that_nobody_waits_for_any_more_is_given_back_uncounted(servers):
    """Its record was written after all, but whoever asked was told that nobody knows."""
    one, two = servers
    await one.put([message(1)])
    one._number += 1
    part = Part.of(["claim", QUEUE, 1, 30.0, False, True, "chance"], [])
    record = Record(one._server, one._number, one._clock(), Limits(), [part.verb], [])
    await one._log.append("log", encoded(record, [part]))
    await level(one, two)
    await one.stats(QUEUE)
    await level(one, two)
    [attempt] = await claim(two)
    assert attempt.number == 1


async def test_what_is_too_large_for_the_servers_is_said_and_the_others_do_not_suffer(servers):
    one, _ = servers
    done = await asyncio.gather(
        one.put([message(1)]),
        one.put([message("x" * 9_000_000)]),
        one.put([NewMessage("e", object(), (QUEUE,))]),
        one.put([message(2)]),
        return_exceptions=True,
    )
    assert [type(result) for result in done] == [list, StoreError, StoreError, list]
    assert "max_payload" in str(done[1])
    assert numbers(await claim(one)) == [1, 2]


async def test_a_closed_store_says_so(servers):
    one, _ = servers
    asked = one.put([message(1)])
    await one.close()
    assert len(await asked) == 1  # what was asked before is finished
    with pytest.raises(StoreError, match="closed"):
        await one.put([message(2)])


async def test_callers_may_be_cancelled(servers):
    one, _ = servers
    tasks = [asyncio.ensure_future(one.put([message(n)])) for n in range(3)]
    await give_way()
    tasks[1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in done] == [list, asyncio.CancelledError, list]


# -- what cannot be


@pytest.mark.parametrize(
    "url",
    ["nats://", "nats://a,,b", "nats://a/b.c", "nats://a?x=1", "nats://a?patience=no", "http://a"],
)
def test_an_address_that_is_none(url):
    with pytest.raises(ValueError, match=r"nats|stream's name|patience"):
        Address.parse(url)


def test_an_address_has_servers_a_login_and_a_stream():
    address = Address.parse("nats://me:secret@a,b:1,[::1]/packages")
    assert address.servers == [f"nats://me:secret@{h}" for h in ("a:4222", "b:1", "[::1]:4222")]
    assert address.patience is None
    assert Address.parse("nats://a/b?patience=2.5").patience == 2.5
    assert (address.stream, address.told) == ("packages", "nats://a,b:1,[::1]/packages")


async def test_nobody_there():
    with pytest.raises(StoreError, match=r"no NATS server answers at nats://127.0.0.1:9/chatq"):
        await Queues.open("nats://127.0.0.1:9?patience=0.5")


async def test_without_the_client_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(StoreError, match="pip install nats-py"):
        await Queues.open(shared_url())


async def test_a_wrong_login():
    async with await NatsServers.open(login=("me", "secret")) as servers:
        with pytest.raises(StoreError, match="refuses the login") as caught:
            await NatsStore.open(servers.url.replace("secret", "guess"))
        assert "guess" not in str(caught.value)
        store = await NatsStore.open(servers.url)
        assert await store.put([message(1)])
        await store.close()


async def test_servers_without_jetstream():
    async with await NatsServers.open(jetstream=False) as servers:
        with pytest.raises(StoreError, match=r"has no JetStream.*--jetstream"):
            await Queues.open(servers.url)


async def test_what_may_be_asked_twice_is_asked_again_soon():
    import nats

    asked = []

    async def reluctant(question):  # as JetStream, while a stream has no leader
        asked.append(question)
        if len(asked) == 3:
            await question.respond(b'{"answered": true}')

    async with await NatsServers.open(jetstream=False) as servers:
        client = await nats.connect(servers.url)
        await client.subscribe("question", cb=reluctant)
        connection = Connection(Address.parse(servers.url), ATTEMPT)
        await connection.open()
        with pytest.raises(Unconfirmed):  # a record is not written twice so soon
            await connection.request("question", b"", 1.2)
        asked.clear()
        assert await connection.request("question", b"", ATTEMPT, SOON) == {"answered": True}
        await connection.close()

        asked.clear()
        log = NatsLog(Address.parse(servers.url), ATTEMPT, "queues", 0.0)
        await client.subscribe("$JS.API.STREAM.INFO.chatq", cb=reluctant)
        await log._connection.open()
        assert await log.api("STREAM.INFO") == {"answered": True}
        await log.close()
        await client.close()


def made(name, **configuration):
    """Make a stream as somebody else would."""

    async def make():
        import nats

        client = await nats.connect(shared_url())
        body = json.dumps({"name": name, "subjects": [f"{name}.>"], **configuration}).encode()
        reply = json.loads((await client.request(f"$JS.API.STREAM.CREATE.{name}", body)).data)
        await client.close()
        assert "error" not in reply, reply
        return reply["config"]

    return background().do(make())


async def test_a_stream_of_somebody_else_is_left_as_it_was():
    made("theirs", retention="workqueue")
    with pytest.raises(StoreError, match=r"'theirs' .*made by somebody else.*left as it was"):
        await Queues.open(f"{shared_url()}/theirs")


async def test_a_stream_that_takes_the_subjects():
    made("greedy", subjects=["taken.>"])
    with pytest.raises(StoreError, match=r"takes the subjects taken\.> already"):
        await Queues.open(f"{shared_url()}/taken")


async def test_a_stream_that_is_outgrown_says_so_once(servers, monkeypatch, caplog):
    monkeypatch.setattr(nats_store, "_MANY", 2)
    one, _ = servers
    await one.put([message(1), message(2)])
    assert "use several streams" not in caplog.text
    for n in range(3):
        await one.put([message(n, "another")])
    told = [r.getMessage() for r in caplog.records if "use several streams" in r.getMessage()]
    assert 1 <= len(told) <= 2  # each server says it for itself
    assert all(text.startswith("3 messages wait in this stream") for text in told)


MINE = {"chatq": "4", "chatq-holds": "queues", "chatq-name": "x"}


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"metadata": {**MINE, "chatq": "5"}}, "newer chatq"),
        ({"metadata": {**MINE, "chatq": "3"}}, "older chatq .* receive what waits in it"),
        ({"metadata": {**MINE, "chatq-holds": "emits"}}, "holds emits of chatq, not queues"),
        ({"metadata": MINE, "max_age": 60_000_000_000}, r"was changed \(.*\bmax_age\b"),
        ({"metadata": MINE, "max_msgs": 10}, r"was changed \(.*\bmax_msgs\b"),
        ({"metadata": MINE, "storage": "memory"}, r"was changed \(.*\bstorage\b"),
    ],
)
async def test_a_stream_that_may_lose_or_hold_something_else(configuration, told):
    name = new_stream().rpartition("/")[2]
    made(name, **configuration)
    with pytest.raises(StoreError, match=told):
        await Queues.open(f"{shared_url()}/{name}")


# -- nodes that die


async def test_a_put_waits_for_a_node_that_comes_back_and_raises_if_none_does():
    async with await NatsServers.open() as servers:
        store = await NatsStore.open(servers.url, patience=10.0)
        await store.put([message(1)])
        [node] = servers.nodes
        await node.kill()
        waiting = asyncio.ensure_future(store.put([message(2)]))
        await give_way()
        await node.start()
        assert len(await waiting) == 1
        await node.kill()
        store._log._connection.patience = 1.0
        with pytest.raises(Unconfirmed, match=r"not confirmed this within 1 s; not connected"):
            await store.put([message(3)])
        await node.start()
        store._log._connection.patience = 10.0
        assert await store.put([message(4)])
        found = numbers(await claim(store))
        assert set(found) - {3} == {1, 2, 4}  # of 3, nobody knew
        assert len(found) == len(set(found))
        await store.close()


async def test_a_record_that_takes_too_long_is_not_said_to_have_been_taken(monkeypatch):
    """As where the answer was that another came before, and then there was no quorum to ask."""
    one = await NatsStore.open(new_stream())
    one._log._connection.patience = 0.3

    async def another_came_before(*_):
        return {"error": {"err_code": 10071}}

    async def nobody_says(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(one._log, "_publish", another_came_before)
    monkeypatch.setattr(one._log, "last", nobody_says)
    with pytest.raises(Unconfirmed, match=r"has not confirmed this within 0.3 s; .*quorum"):
        await one.put([message(1)])
    monkeypatch.undo()
    await one.close()


async def test_closing_while_nats_is_away_keeps_nobody_waiting():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, what: complaints.append(what))
    async with await NatsServers.open() as servers:
        store = await NatsStore.open(servers.url)
        await store.put([message(1)])
        await claim(store)
        await servers.nodes[0].freeze()
        asked = [store.put([message(2)]), store.stats(QUEUE)]
        await give_way()
        async with asyncio.timeout(3):
            await store.close()
            for future in asked:
                with pytest.raises(Unconfirmed, match="closed while NATS was away"):
                    await future
        del asked, future, store
        gc.collect()
        assert complaints == []  # of errors that nobody has asked for


@pytest.fixture
async def cluster():
    async with await NatsServers.open(3) as servers:
        yield servers


async def leader(store):
    info = await store._log.api("STREAM.INFO")
    return info["cluster"]["leader"]


@pytest.mark.long
async def test_a_cluster_loses_nothing_with_its_leader_and_says_when_it_has_no_quorum(cluster):
    one = await NatsStore.open(cluster.url, patience=20.0)
    two = await NatsStore.open(cluster.url, patience=20.0)
    info = await one._log.api("STREAM.INFO")
    assert info["config"]["num_replicas"] == 3
    confirmed = [n for n in range(20) if await one.put([message(n)])]
    name = await leader(one)
    [first] = [node for node in cluster.nodes if node.name == name]
    await first.kill()
    confirmed += [n for n in range(20, 40) if await two.put([message(n)])]  # another leads now
    rest = [node for node in cluster.nodes if node is not first]
    await rest[0].kill()
    one._log._connection.patience = two._log._connection.patience = 3.0
    for store in (one, two):
        with pytest.raises(
            Unconfirmed, match=r"has not confirmed this within .*(quorum|connected)"
        ):
            await store.put([message(99)])
    for node in (first, rest[0]):
        await node.start()
    one._log._connection.patience = two._log._connection.patience = 20.0
    confirmed += [n for n in range(40, 50) if await one.put([message(n)])]
    await level(one, two)
    found = []
    while some := await claim(two):
        assert {attempt.number for attempt in some} == {1}
        found += numbers(some)
        await two.ack([attempt.receipt for attempt in some])
    assert set(found) - {99} == set(confirmed)
    assert [n for n in found if n != 99] == confirmed
    await level(one, two)
    one._replica.state.applied = two._replica.state.applied
    assert whole(one._replica.state) == whole(two._replica.state)
    await one.close()
    await two.close()
