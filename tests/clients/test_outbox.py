"""An outbox keeps what is emitted until the server has stored it, once, or says why not."""

import asyncio
import contextlib
import json
import sqlite3
from random import Random

import pytest
from sizes import size
from watched_hub import NAMESPACE, Cable, Hub, Program, Seen, connect, new_client, start_hub

from chatq import Outbox, QueueFull, Queues, Rules, StoreError
from chatq.queues.message import decode

QUICK = Rules(back_off=0.01, longest_back_off=0.05)


@pytest.fixture
async def open_outbox(tmp_path):
    """Open outboxes in the same file, and close them afterwards."""
    outboxes = []

    async def open_outbox(client, rules=QUICK, **options):
        outbox = await Outbox.open(
            tmp_path / "outbox.db", client, NAMESPACE, rules, random=Random(1), **options
        )
        outboxes.append(outbox)
        return outbox

    yield open_outbox
    for outbox in outboxes:
        await outbox.close(0)


async def stored(hub, queue="drivers"):
    """Return the data in a queue of a hub, in order."""
    claimed = await hub.queues.store.claim(queue, 100_000, 60, in_order=False)
    return [decode(attempt.body) for attempt in claimed.attempts]


# -- there and away -------------------------------------------------------------------------------


async def test_what_is_emitted_while_the_server_is_away_arrives_in_order_once(
    hub, dial, open_outbox
):
    client = await dial()
    outbox = await open_outbox(client)
    for n in range(1000):
        await outbox.emit("pickup", n, to="drivers")
    assert outbox.pending == 1000
    await connect(client, hub.url)
    await outbox.flush()
    assert outbox.pending == 0
    assert await stored(hub) == [*range(1000)]
    assert len(hub.publishes) == 10  # many in one
    assert await outbox.rejected() == []


async def test_what_is_emitted_while_the_server_is_there_is_sent_at_once(hub, dial, open_outbox):
    outbox = await open_outbox(await dial(hub.url))
    for n in range(5):
        await outbox.emit("pickup", {"order": n, "scan": b"\0\xff"}, to=["drivers", "vendors"])
    await outbox.flush()
    for queue in ("drivers", "vendors"):
        assert await stored(hub, queue) == [{"order": n, "scan": b"\0\xff"} for n in range(5)]


async def test_an_outbox_that_is_closed_keeps_what_is_pending(hub, dial, open_outbox):
    client = await dial()
    outbox = await open_outbox(client)
    for n in range(3):
        await outbox.emit("pickup", n, to="drivers")
    await outbox.close()
    await outbox.close()
    with pytest.raises(RuntimeError, match="closed: open it again"):
        await outbox.emit("pickup", 3, to="drivers")
    again = await open_outbox(client)
    assert again.pending == 3
    await again.emit("pickup", 3, to="drivers")
    await connect(client, hub.url)
    await again.flush()
    assert await stored(hub) == [0, 1, 2, 3]


async def test_an_answer_that_got_lost_leaves_one_message_not_two(hub, dial, open_outbox):
    cable = await Cable.lay(hub.port)
    outbox = await open_outbox(await dial(cable.url))
    publish = hub.sio.handlers[NAMESPACE]["publish"]

    async def store_then_cut(sid, asked):
        answer = await publish(sid, asked)
        if len(hub.publishes) <= 3:
            cable.cut()
        return answer

    hub.sio.on("publish", store_then_cut, namespace=NAMESPACE)
    await outbox.emit("pickup", 1, to="drivers")
    await outbox.emit("pickup", 2, to="drivers", key="mine")
    await outbox.flush()
    assert len(hub.publishes) >= 4
    assert await stored(hub) == [1, 2]
    await cable.close()


async def test_an_emit_that_is_cancelled_may_have_been_kept_and_is_counted_all_the_same(
    hub, dial, open_outbox
):
    client = await dial()
    outbox = await open_outbox(client)
    emitting = asyncio.create_task(outbox.emit("pickup", 1, to="drivers"))
    await asyncio.wait({emitting}, timeout=0)  # it has begun
    emitting.cancel()
    await asyncio.wait({emitting})
    assert emitting.cancelled()
    await outbox.emit("pickup", 2, to="drivers")
    assert outbox.pending == 2
    await connect(client, hub.url)
    await outbox.flush()
    assert (outbox.pending, await stored(hub)) == (0, [1, 2])


async def test_keys_are_the_users_or_made_and_the_server_knows_them(hub, dial, open_outbox):
    outbox = await open_outbox(await dial(hub.url))
    made = [await outbox.emit("pickup", n, to="drivers") for n in range(2)]
    assert await outbox.emit("pickup", 2, to="drivers", key="mine") == "mine"
    assert await outbox.emit("pickup", 3, to="drivers", key="mine") == "mine"
    await outbox.flush()
    assert len({*made}) == 2
    assert await stored(hub) == [0, 1, 2]
    asked = [m for a, _ in hub.publishes for m in a.get("messages", [a])]
    assert [m["key"] for m in asked] == [*made, "mine", "mine"]


async def test_a_frozen_server_is_asked_again(hub, dial, open_outbox, monkeypatch):
    monkeypatch.setattr("chatq.clients.publisher._REPLY", 0.1)
    errors = Seen()
    cable = await Cable.lay(hub.port)
    outbox = await open_outbox(await dial(cable.url), on_error=errors.add)
    cable.freeze()
    await outbox.emit("pickup", 1, to="drivers")
    await errors.reach(2)
    assert "did not answer publish" in str(errors[0])
    cable.thaw()
    await outbox.flush()
    assert await stored(hub) == [1]
    await cable.close()


# -- refusals -------------------------------------------------------------------------------------


async def test_what_the_server_will_never_take_is_put_aside_and_the_rest_goes_on(
    hub, dial, open_outbox, caplog
):
    errors = Seen()
    client = await dial()
    outbox = await open_outbox(client, on_error=errors.add)
    publish = hub.sio.handlers[NAMESPACE]["publish"]
    hub.secret = True

    async def guard(sid, asked):
        if hub.secret and any(m["queue"] == "secret" for m in asked.get("messages", [asked])):
            return {"error": {"code": "forbidden", "message": "not yours"}}
        return await publish(sid, asked)

    hub.sio.on("publish", guard, namespace=NAMESPACE)
    for n in range(10):
        await outbox.emit("pickup", n, to="secret" if n in (3, 7) else "drivers", key=f"k{n}")
    await connect(client, hub.url)
    await outbox.flush()
    assert await stored(hub) == [0, 1, 2, 4, 5, 6, 8, 9]
    first, second = await outbox.rejected()
    assert (first.event, first.data, first.to, first.key) == ("pickup", 3, "secret", "k3")
    assert "not yours" in first.reason
    assert first.reason.startswith("forbidden")
    assert second.data == 7
    assert len(errors) == 2
    assert "not yours" in caplog.text
    assert outbox.pending == 0
    # It is still there after a restart, and goes out when it may.
    await outbox.close()
    outbox = await open_outbox(client)
    assert (outbox.pending, len(await outbox.rejected())) == (0, 2)
    hub.secret = False
    assert await outbox.retry([second.id]) == 1
    assert await outbox.retry() == 1
    await outbox.flush()
    assert sorted(await stored(hub, "secret")) == [3, 7]


async def test_a_full_queue_is_waited_for_and_order_is_kept(dial, open_outbox):
    errors = Seen()
    hub = await Hub.open(rules=Rules(length=5))
    client = await dial()
    outbox = await open_outbox(client, on_error=errors.add)
    for n in range(12):
        await outbox.emit("pickup", n, to="drivers")
    await connect(client, hub.url)
    [error, *_] = await errors.reach(1)
    assert error.code == "queue_full"
    assert outbox.pending == 7  # what fits went in
    with pytest.raises(TimeoutError, match=r"pending 7, the first is 'pickup' to 'drivers'.*full"):
        await outbox.flush(within=0.05)
    got = []
    while len(got) < 12:
        claimed = await hub.queues.store.claim("drivers", 5, 60, in_order=False)
        got += [decode(attempt.body) for attempt in claimed.attempts]
        await hub.queues.store.ack([attempt.receipt for attempt in claimed.attempts])
        if len(got) < 12:
            await hub.publishes.reach(len(got) + 1)
    await outbox.flush()
    assert got == [*range(12)]
    assert await outbox.rejected() == []
    await hub.close()


async def test_a_server_that_knows_no_batches_gets_one_by_one(dial, open_outbox):
    hub = await Hub.open(batches=False)
    client = await dial()
    outbox = await open_outbox(client)
    for n in range(250):
        await outbox.emit("pickup", n, to="drivers")
    await connect(client, hub.url)
    await outbox.flush()
    assert await stored(hub) == [*range(250)]
    assert await outbox.rejected() == []
    assert outbox._publisher._unbatched_sid == client.get_sid(NAMESPACE)
    await hub.close()


async def test_a_server_that_does_not_say_that_it_has_stored_is_not_believed(
    hub, dial, open_outbox
):
    errors = Seen()
    publish = hub.sio.handlers[NAMESPACE]["publish"]
    outbox = await open_outbox(await dial(hub.url), on_error=errors.add)
    for answer in (None, {}, 7, {"ids": []}):
        hub.sio.on("publish", lambda sid, asked, a=answer: a, namespace=NAMESPACE)
        await outbox.emit("pickup", answer, to="drivers")
        await errors.reach(len(errors) + 2)
    assert outbox.pending == 4
    assert await outbox.rejected() == []
    hub.sio.on("publish", publish, namespace=NAMESPACE)
    await outbox.flush()
    assert await stored(hub) == [None, {}, 7, {"ids": []}]


@pytest.mark.parametrize("what", ["batches", "one message"])
async def test_what_ends_the_connection_is_sent_alone_and_not_in_a_hurry(
    hub, dial, open_outbox, what
):
    """A server's limits may lie below its protocol: what is too large for them ends everything."""
    errors, tries = Seen(), Seen()
    cable = await Cable.lay(hub.port)
    publish = hub.sio.handlers[NAMESPACE]["publish"]

    async def choke(sid, asked):
        if ("messages" in asked) if what == "batches" else ("3" in repr(asked)):
            tries.add(asked)
            cable.cut()
            return None
        return await publish(sid, asked)

    hub.sio.on("publish", choke, namespace=NAMESPACE)
    client = await dial()
    rules = Rules(back_off=0.1, longest_back_off=0.2)
    outbox = await open_outbox(client, rules, on_error=errors.add)
    for n in range(6):
        await outbox.emit("pickup", n, to="drivers", key=f"order {'abcdef'[n]}")
    await connect(client, cable.url)
    if what == "one message":
        loop = asyncio.get_running_loop()
        await errors.reach(3)
        begun = loop.time()
        await errors.reach(6)
        assert loop.time() - begun > 0.25  # at least half of the longest back-off, three times
        assert [item for asked, _ in hub.publishes for item in [asked["data"]]] == [0, 1, 2]
        assert outbox.pending == 3
        hub.sio.on("publish", publish, namespace=NAMESPACE)
    await outbox.flush()
    assert await stored(hub) == [*range(6)]
    assert await outbox.rejected() == []
    await cable.close()


async def test_flush_names_what_is_pending_and_why(dial, open_outbox):
    outbox = await open_outbox(await dial())
    await outbox.flush(within=0)
    key = await outbox.emit("pickup", 1, to="drivers")
    with pytest.raises(TimeoutError, match=rf"pending 1.*{key}.*is not connected to /caps"):
        await outbox.flush(within=0.05)


async def test_what_no_server_takes_is_refused_at_once_and_not_kept(dial, open_outbox):
    outbox = await open_outbox(await dial(), Rules(payload=100, length=2))
    for kind, problem, arguments in [
        (TypeError, "JSON can say", {"data": {1, 2}, "to": "drivers"}),
        (ValueError, "100 bytes", {"data": "x" * 200, "to": "drivers"}),
        (ValueError, "one queue or several", {"data": 1, "to": []}),
        (ValueError, "ttl", {"data": 1, "to": "drivers", "ttl": -1}),
        (TypeError, "key", {"data": 1, "to": "drivers", "key": 5}),
    ]:
        with pytest.raises(kind, match=problem):
            await outbox.emit("pickup", **arguments)
    with pytest.raises(ValueError, match="protocol's own"):
        await outbox.emit("connect", 1, to="drivers")
    assert outbox.pending == 0
    for n in range(2):
        await outbox.emit("pickup", n, to="drivers")
    with pytest.raises(QueueFull):
        await outbox.emit("pickup", 2, to="drivers")
    assert outbox.pending == 2


async def test_what_has_expired_on_the_way_is_put_aside(hub, dial, open_outbox):
    now = 1000.0
    client = await dial()
    outbox = await open_outbox(client, clock=lambda: now)
    for n, ttl in enumerate([10, 100, None]):
        await outbox.emit("pickup", n, to="drivers", ttl=ttl)
    await outbox.close()
    now = 1050.0
    outbox = await open_outbox(client, clock=lambda: now)
    await connect(client, hub.url)
    await outbox.flush()
    [late] = await outbox.rejected()
    assert (late.data, late.reason) == (0, "expired before it could be sent")
    asked = [m for a, _ in hub.publishes for m in a.get("messages", [a])]
    assert [(m["data"], m.get("ttl")) for m in asked] == [(1, 50.0), (2, None)]


async def test_a_delay_runs_from_emit_also_while_the_hub_is_away(hub, dial, open_outbox):
    now = 1000.0
    client = await dial()
    outbox = await open_outbox(client, clock=lambda: now)
    for n, delay in enumerate([100, 10, None]):
        await outbox.emit("pickup", n, to="drivers", delay=delay)
    with pytest.raises(ValueError, match="would have expired before it is delivered"):
        await outbox.emit("pickup", 3, to="drivers", delay=10, ttl=10)
    await outbox.close()
    now = 1050.0
    outbox = await open_outbox(client, clock=lambda: now)
    await connect(client, hub.url)
    await outbox.flush()
    asked = [m for a, _ in hub.publishes for m in a.get("messages", [a])]
    assert [(m["data"], m.get("delay")) for m in asked] == [(0, 50.0), (1, None), (2, None)]


async def test_times_are_those_of_the_publish_however_long_a_message_has_waited(
    hub, dial, open_outbox
):
    """Also if it was the first in the line all the time, and the hub away."""
    now = 1000.0
    client = await dial()
    outbox = await open_outbox(client, clock=lambda: now)
    for n, (delay, ttl) in enumerate([(None, 40), (80, 100), (20, 100)]):
        await outbox.emit("pickup", n, to="drivers", delay=delay, ttl=ttl)
    now = 1050.0
    await connect(client, hub.url)
    await outbox.flush()
    asked = [m for a, _ in hub.publishes for m in a.get("messages", [a])]
    assert [(m["data"], m["ttl"], m.get("delay")) for m in asked] == [(1, 50, 30), (2, 50, None)]
    assert [(late.data, late.reason) for late in await outbox.rejected()] == [
        (0, "expired before it could be sent")
    ]
    assert outbox.pending == 0


async def test_large_messages_and_those_with_bytes_do_not_travel_in_one_event(
    hub, dial, open_outbox
):
    client = await dial()
    outbox = await open_outbox(client)
    data = [*("x" * 200_000 for _ in range(5)), *(b"scan" for _ in range(5)), 1, 2]
    for item in data:
        await outbox.emit("pickup", item, to="drivers")
    await connect(client, hub.url)
    await outbox.flush()
    assert await stored(hub) == data
    assert [len(asked.get("messages", [0])) for asked, _ in hub.publishes] == [1] * 10 + [2]


# -- the file -------------------------------------------------------------------------------------


async def test_the_file_is_one_outboxs_own(dial, open_outbox, tmp_path):
    await open_outbox(await dial())
    with pytest.raises(StoreError, match="is open in this program already: close that one first"):
        await open_outbox(await dial())


async def test_the_file_of_a_hub_is_no_outbox(dial, open_outbox, tmp_path):
    hub = await Queues.open(f"sqlite:///{tmp_path / 'outbox.db'}")
    await hub.close()
    before = (tmp_path / "outbox.db").read_bytes()
    with pytest.raises(StoreError, match="holds queues, not an outbox: give another file"):
        await open_outbox(await dial())
    assert (tmp_path / "outbox.db").read_bytes() == before


async def test_what_cannot_be_meant_is_said_at_once(tmp_path):
    with pytest.raises(
        ValueError, match=r"takes a path, like outbox.db, not a URL like sqlite:///"
    ):
        await Outbox.open("sqlite:///ob.db", new_client())
    for client, namespace, error in [(None, "/", TypeError), (new_client(), "caps", ValueError)]:
        with pytest.raises(error):
            await Outbox.open(tmp_path / "outbox.db", client, namespace)
    assert not [*tmp_path.iterdir()]


async def test_a_file_of_a_newer_version_is_left_alone(dial, open_outbox, tmp_path):
    outbox = await open_outbox(await dial())
    await outbox.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "outbox.db")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer chatq"):
        await open_outbox(await dial())


FULL_DISK = """
import asyncio, resource, sys
import chatq
from watched_hub import NAMESPACE, new_client

async def main(file):
    outbox = await chatq.Outbox.open(file, new_client(), NAMESPACE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    kept = 0
    try:
        while True:
            await outbox.emit("pickup", "x" * 1000, to="drivers", key=str(kept))
            kept += 1
    except chatq.StoreError as error:
        print(kept, error, flush=True)
    try:
        await outbox.emit("pickup", "x", to="drivers")
    except chatq.StoreError as error:
        print("again", error, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


async def test_a_full_disk_is_said_and_nothing_is_pretended(tmp_path, hub, dial, open_outbox):
    program = await Program.start(FULL_DISK, tmp_path / "outbox.db")
    kept, _, problem = (await program.line()).partition(" ")
    assert "outbox.db" in problem
    assert (await program.line()).startswith("again")
    await program.kill()
    outbox = await open_outbox(await dial(hub.url))
    await outbox.flush()
    keys = [m["key"] for a, _ in hub.publishes for m in a.get("messages", [a])]
    assert keys[: int(kept)] == [str(n) for n in range(int(kept))]
    assert len(keys) <= int(kept) + 1


async def test_a_file_that_cannot_be_counted_is_not_kept_open(tmp_path, dial, monkeypatch):
    def broken(*_):
        raise StoreError("the disk is gone")

    client = await dial()
    with monkeypatch.context() as broke:
        broke.setattr("chatq.queues.sqlite_store.SqliteStore.stats", broken)
        with pytest.raises(StoreError, match="the disk is gone"):
            await Outbox.open(tmp_path / "outbox.db", client, NAMESPACE)
    outbox = await Outbox.open(tmp_path / "outbox.db", client, NAMESPACE)
    await outbox.close()


# -- SIGKILL --------------------------------------------------------------------------------------


PRODUCER = """
import asyncio, sys
import chatq
from random import Random
from watched_hub import NAMESPACE, new_client

async def main(url, file, first, last):
    client = new_client()
    outbox = await chatq.Outbox.open(file, client, NAMESPACE)
    connecting = asyncio.create_task(
        client.connect(url, transports=["websocket"], namespaces=[NAMESPACE], retry=True)
    )
    for n in range(first, last):
        await outbox.emit("pickup", n, to="drivers", key=f"order {n}")
        print(n, flush=True)
    await outbox.flush(within=60)
    print("flushed", flush=True)
    await asyncio.Event().wait()

url, file, first, last = sys.argv[1:]
asyncio.run(main(url, file, int(first), int(last)))
"""


async def drained(url, dial, n):
    """Return the first n of what a hub has, in order, each with its id."""
    client, seen = await dial(url), Seen()

    @client.on("deliveries", namespace=NAMESPACE)
    async def take(frame):
        entries = json.loads(frame)
        for _, data, delivery in entries:
            seen.add((data, delivery["id"]))
        receipts = [delivery["receipt"] for _, _, delivery in entries]
        await client.emit("received", {"receipts": receipts}, namespace=NAMESPACE)

    asked = {"queue": "drivers", "window": 1000, "frame": 50}
    answer = await client.call("subscribe", asked, namespace=NAMESPACE)
    assert answer["ready"] == n
    return await seen.reach(n)


@pytest.mark.long
async def test_producers_and_hubs_that_are_killed_lose_nothing_and_repeat_nothing(tmp_path, dial):
    """Whatever `emit` has returned for is in the queue once, and in order."""
    random = Random(11)
    program, port = await start_hub(tmp_path / "hub.db")
    url = f"http://127.0.0.1:{port}"
    accepted = 0
    for round in range(6):
        producer = await Program.start(
            PRODUCER, url, tmp_path / "outbox.db", accepted, accepted + 400
        )
        for _ in range(random.randint(1, 300)):
            accepted = int(await producer.line()) + 1
        if round % 2:
            await program.kill()
            program, _ = await start_hub(tmp_path / "hub.db", port)
        # The next one may be on its disk, too, and is emitted again: with the same key.
        accepted = max([accepted - 1, *map(int, set(await producer.kill()) - {"flushed"})]) + 1
    accepted += 1
    producer = await Program.start(PRODUCER, url, tmp_path / "outbox.db", accepted - 1, accepted)
    assert [await producer.line(), await producer.line()] == [f"{accepted - 1}", "flushed"]
    await producer.kill()
    got = await drained(url, dial, accepted)
    assert [data for data, _ in got] == [*range(accepted)]
    assert len({id for _, id in got}) == accepted


async def test_a_producer_that_is_killed_in_the_middle_of_sending_goes_on_where_it_was(
    tmp_path, dial
):
    random, n = Random(3), 3000
    client = await dial()
    outbox = await Outbox.open(tmp_path / "outbox.db", client, NAMESPACE)
    await asyncio.gather(*(outbox.emit("pickup", i, to="drivers") for i in range(n)))
    await outbox.close()
    hub = await Hub.open(f"sqlite:///{tmp_path / 'hub.db'}")
    for _ in range(size(2, 6)):
        producer = await Program.start(PRODUCER, hub.url, tmp_path / "outbox.db", 0, 0)
        await hub.publishes.reach(len(hub.publishes) + random.randint(1, 4))
        await producer.kill()
    producer = await Program.start(PRODUCER, hub.url, tmp_path / "outbox.db", 0, 0)
    assert await producer.line() == "flushed"
    assert await stored(hub) == [*range(n)]
    await hub.close()
