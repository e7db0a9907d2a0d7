"""An outbox inside the user's database sends what is committed there, and harms nobody."""

import asyncio
import contextlib
import logging
import sqlite3
import time

import pytest
from shop import left, orders, sell, taken, watched
from watched_hub import Hub, Program, Seen, connect

from chatq import Queues, Rules, StoreError, emit_in_transaction

# -- noticing -------------------------------------------------------------------------------------


async def test_a_commit_in_this_process_is_noticed_without_a_word(db, queues, inside):
    await inside(look=1000)
    for number in range(3):
        with db:
            sell(db, number)
        await queues.arrived(number + 1, within=5)
    await asyncio.to_thread(lambda: (sell(db, 3), db.commit()))
    await queues.arrived(4, within=5)
    assert await taken(queues) == [0, 1, 2, 3]


async def test_a_transaction_that_takes_long_is_waited_for(db, queues, inside):
    """By then it is looked for only once in `look` seconds, or when asked."""
    outbox = await inside(look=1000)
    sell(db, 1)
    await outbox.flush()
    assert await taken(queues) == []
    db.commit()
    await outbox.flush()
    assert await taken(queues) == [1]


async def test_a_commit_of_another_process_is_noticed_within_a_look(path, db, queues, inside):
    await inside(look=0.05)
    program = (
        "import sqlite3, sys; from shop import sell; db = sqlite3.connect(sys.argv[1])\n"
        "with db: sell(db, 1)"
    )
    writer = await Program.start(program, path)
    await queues.arrived(1)
    assert await taken(queues) == [1]
    await writer.kill()


async def test_who_puts_much_is_not_looked_for_each_time(db, queues, inside):
    outbox = await inside(look=1000)
    looks = []
    outbox._store._db.set_trace_callback(looks.append)  # each statement

    def put():
        with db:
            for number in range(2000):
                sell(db, number)

    began = time.monotonic()
    await asyncio.to_thread(put)
    assert len(looks) < 20 + (time.monotonic() - began) / 0.002  # a look in two milliseconds
    await outbox.flush()
    assert await taken(queues) == [*range(2000)]


async def test_the_order_is_that_of_the_commits(path, db, queues, inside):
    outbox = await inside(look=1000)
    second = sqlite3.connect(path, isolation_level=None)
    second.execute("BEGIN")  # begins first, writes last
    second.execute("SELECT 1").fetchone()
    for number in range(5):
        with db:
            sell(db, number)
    second.execute("INSERT INTO orders VALUES (5)")
    emit_in_transaction(second, "pickup", 5, to="drivers")
    second.execute("COMMIT")
    second.close()
    with db:
        sell(db, 6)
    await outbox.flush()
    assert await taken(queues) == orders(path) == [*range(7)]


# -- locks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_a_long_transaction_of_the_user_is_waited_for_without_an_error(
    path, db, queues, inside, begin, caplog
):
    errors = Seen()
    outbox = await inside(look=0.05, on_error=errors.add)
    with db:
        for number in range(300):
            sell(db, number)
    await queues.arrived(1)
    db.isolation_level = None
    db.execute(begin)
    sell(db, 300)
    if begin == "BEGIN IMMEDIATE":  # readers go on, so it sends, too
        await queues.arrived(300)
        await outbox.flush()
        with contextlib.closing(sqlite3.connect(path)) as reader:
            reader.execute("SELECT count(*) FROM orders").fetchone()
    else:
        for _ in range(3):
            await outbox._store.look()
    db.execute("COMMIT")
    await outbox.flush()
    assert await taken(queues) == orders(path) == [*range(301)]
    await outbox.close()
    assert left(path) == 0
    assert (errors, [r for r in caplog.records if r.levelno >= logging.WARNING]) == ([], [])


async def test_a_lock_while_it_is_closed_costs_a_repetition_and_no_copy(path, db, queues, inside):
    outbox = await inside()
    db.isolation_level = None
    db.execute("BEGIN")
    sell(db, 1, key="mine")
    db.execute("COMMIT")
    db.execute("BEGIN IMMEDIATE")
    await queues.arrived(1)
    await outbox.close()
    db.execute("COMMIT")
    assert left(path) == 1
    outbox = await inside()
    await outbox.flush()
    assert await taken(queues) == [1]
    await outbox.close()
    assert left(path) == 0


async def test_an_emit_of_the_outbox_itself_in_a_transaction_says_what_is_meant(
    db, queues, inside, monkeypatch
):
    monkeypatch.setattr("chatq.clients.outbox_table._LONG", 0.05)
    outbox = await inside()
    sell(db, 1)
    with pytest.raises(StoreError, match=r"is locked.*emitted with chatq.emit_in_transaction"):
        await outbox.emit("pickup", 2, to="drivers")
    with pytest.raises(StoreError, match="is locked"):
        await outbox.retry()
    db.commit()
    assert await outbox.emit("pickup", 3, to="drivers", key="mine") == "mine"
    assert outbox.pending in (0, 2)  # it is counted when it has returned, if it is not sent yet
    await outbox.flush()
    assert await taken(queues) == [1, 3]


# -- the other end --------------------------------------------------------------------------------


async def test_a_hub_gets_it_in_batches(db, inside, dial, hub):
    client = await dial()
    outbox = await inside(client)
    with db:
        for number in range(250):
            sell(db, number)
    await outbox._store.look()
    assert outbox.pending == 250
    with pytest.raises(TimeoutError, match=r"pending 250, the first is 'pickup'.*not connected"):
        await outbox.flush(within=0.05)
    await connect(client, hub.url)
    await outbox.flush()
    assert await taken(hub.queues) == [*range(250)]
    assert len(hub.publishes) == 3


async def test_a_full_queue_is_waited_for_and_nothing_overtakes(db, path, inside):
    errors = Seen()
    async with watched(await Queues.open("memory:", Rules(length=5))) as queues:
        outbox = await inside(queues, on_error=errors.add)
        for number in range(12):
            with db:
                sell(db, number)
        await errors.reach(2)
        assert errors[0].code == "queue_full"
        with pytest.raises(TimeoutError, match=r"pending 7, the first .*may hold 5 messages"):
            await outbox.flush(within=0.05)
        assert left(path) == 7
        got = []
        while len(got) < 12:
            got += await taken(queues)
            if len(got) < 12:
                await queues.arrived(len(got) + 1)
        await outbox.flush()
        assert got == [*range(12)]
        assert (outbox.pending, left(path), await outbox.rejected()) == (0, 0, [])
        await outbox.close()


GARBAGE = [
    ("k", "pickup", "no JSON"),
    ("k", "pickup", "[1, 2]"),
    ("k", "pickup", 7),
    ("k", "pickup", b"\xff\n"),
    ("k", "pickup", '{"to": "drivers"}'),
    ("k", "pickup", '{"to": "drivers", "key": "k", "data": 1, "due": "soon"}'),
    ("k", "pickup", '{"to": "drivers", "key": {}, "data": 1}'),
    ("k", "pickup", '{"to": 5, "key": "k", "data": 1}'),
    ("k", "connect", '{"to": "drivers", "key": "k2", "data": 1}'),
    ("k", b"\xff\xfe", '{"to": "drivers", "key": "k3", "data": 1}'),
    (b"\xff k", "pickup", "{}"),
    ("k", "pickup", '{"to": "drivers", "key": "k4", "data": "' + "x" * 200 + '"}'),
    ("k", "pickup", "[" * 100_000),
    ("k", "pickup", '{"to": "drivers", "key": "k5", "data": 1, "due": 1' + "0" * 400 + "}"),
]


@pytest.mark.parametrize("end", ["queues", "hub"])
async def test_what_can_never_be_sent_is_put_aside_and_the_rest_goes_on(
    db, path, inside, dial, end
):
    errors, hub = Seen(), await Hub.open(rules=Rules(payload=100))
    other = hub.queues if end == "queues" else await dial(hub.url)
    outbox = await inside(other, on_error=errors.add)
    with db:
        for number, row in enumerate(GARBAGE):
            sell(db, number)
            insert = "INSERT INTO chatq_outbox (key, event, body) VALUES (?, ?, ?)"
            db.execute(insert, row)
        sell(db, 99)
    await outbox.flush()
    assert await taken(hub.queues) == [*range(len(GARBAGE)), 99]
    rejected = await outbox.rejected()
    assert len(rejected) == len(errors) == len(GARBAGE) == left(path)
    assert {letter.reason.partition(":")[0] for letter in rejected} == {"malformed", "too_large"}
    assert outbox.pending == 0
    # It stays there, and a message whose fault is mended goes out.
    await outbox.close()
    outbox = await inside(other)
    assert (outbox.pending, len(await outbox.rejected())) == (0, len(GARBAGE))
    [large] = [letter for letter in rejected if letter.key == "k4"]
    with db:
        db.execute(
            "UPDATE chatq_outbox SET body = ? WHERE number = ?",
            ('{"to": "drivers", "key": "k4", "data": "small"}', int(large.id)),
        )
        sell(db, 100)
    assert await outbox.retry([large.id]) == 1
    assert await outbox.retry(["0", "x", f"0{rejected[0].id}"]) == 0
    await outbox.flush()
    assert sorted(await taken(hub.queues), key=str) == [100, "small"]
    assert await outbox.retry() == len(GARBAGE) - 1
    await outbox.flush()
    assert (outbox.pending, len(await outbox.rejected())) == (0, len(GARBAGE) - 1)
    await outbox.close()


async def test_a_claim_that_fails_is_made_again_and_nothing_overtakes(
    db, queues, inside, monkeypatch
):
    errors = Seen()
    outbox = await inside(look=1000, on_error=errors.add)
    failing, sync = [True], outbox._store._sync

    def fail_at_first():
        if failing.pop():
            failing.append(bool(len(errors) < 1))
            raise OSError("the disk does not sync")
        failing.append(False)
        sync()

    monkeypatch.setattr(outbox._store, "_sync", fail_at_first)
    with db:
        for number in range(3):
            sell(db, number)
    await errors.reach(1)
    with db:
        sell(db, 3)
    await outbox.flush()
    assert await taken(queues) == [0, 1, 2, 3]


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
async def test_an_emit_waits_for_a_lock_as_an_insert_does(db, path, inside, begin):
    await inside(look=1000)
    with contextlib.closing(
        sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO orders VALUES (1)")

        def emit() -> None:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as mine:
                mine.execute(begin)
                emit_in_transaction(mine, "pickup", 2, to="drivers")
                mine.execute("COMMIT")

        emitting = asyncio.ensure_future(asyncio.to_thread(emit))
        await asyncio.wait([emitting], timeout=0.2)
        assert not emitting.done()  # it waits, and says nothing of a lock
        other.execute("COMMIT")
        await emitting


async def test_queues_that_are_closed_first_lose_nothing(db, path, tmp_path, inside):
    errors = Seen()
    queues = await Queues.open(f"sqlite:///{tmp_path / 'queues.db'}")
    outbox = await inside(queues, on_error=errors.add)
    await queues.close()
    with db:
        sell(db, 1)
    await errors.reach(2)
    assert {error.code for error in errors} == {"unavailable"}
    await outbox.close()
    async with await Queues.open(f"sqlite:///{tmp_path / 'queues.db'}") as queues:
        outbox = await inside(queues)
        await outbox.flush()
        assert await taken(queues) == [1]
        await outbox.close()


async def test_times_run_from_the_emit(db, inside, dial, hub):
    now, client = 1000.0, await dial()
    outbox = await inside(client, clock=lambda: now)
    await outbox.emit("pickup", 1, to="drivers", ttl=10)
    await outbox.emit("pickup", 2, to="drivers", ttl=100, delay=80)
    now = 1050.0
    await connect(client, hub.url)
    await outbox.flush()
    [late] = await outbox.rejected()
    assert (late.data, late.reason) == (1, "expired before it could be sent")
    assert [(a["data"], a["ttl"], a["delay"]) for a, _ in hub.publishes] == [(2, 50.0, 30.0)]
    assert await outbox.retry() == 1  # then it has no time to live any more
    await outbox.flush()
    assert hub.publishes[-1][0]["data"] == 1
