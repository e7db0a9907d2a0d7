"""Outboxes inside one database, files that are replaced, and files that cannot be meant."""

import asyncio
import contextlib
import os
import sqlite3

import pytest
from shop import left, new_shop, sell, taken
from syncs import syncs
from watched_hub import Seen, connect

from chatq import Outbox, Queues, StoreError


async def test_two_outboxes_inside_one_database_send_each_message_once(db, path, queues, inside):
    first, second = await inside(look=0.02), await inside(look=0.02)
    for number in range(200):
        with db:
            sell(db, number)
        if number % 20 == 0:
            await second.flush()
    await asyncio.gather(first.flush(), second.flush())
    assert await taken(queues) == [*range(200)]
    await asyncio.gather(first._store.look(), second._store.look())
    assert (first.pending, second.pending, left(path)) == (0, 0, 0)


async def test_rows_that_somebody_deletes_are_not_waited_for(db, queues, inside, dial, hub):
    client = await dial()
    outbox = await inside(client)
    with db:
        for number in range(250):
            sell(db, number)
    await outbox._store.look()
    with db:
        db.execute("DELETE FROM chatq_outbox WHERE number > 150")
    await connect(client, hub.url)
    await outbox.flush()
    assert await taken(hub.queues) == [*range(150)]


async def test_a_backup_is_a_whole_one_and_may_take_the_place_of_the_open_file(
    path, tmp_path, inside, dial, hub
):
    db, client = new_shop(path, "delete"), await dial()
    outbox = await inside(client, look=1000)
    with db:
        for number in range(3):
            sell(db, number)
    copy = sqlite3.connect(tmp_path / "copy.db")
    db.backup(copy)
    for number in range(10, 14):
        with db:
            sell(db, number)
    await connect(client, hub.url)
    await outbox.flush()
    assert await taken(hub.queues) == [0, 1, 2, 10, 11, 12, 13]
    db.close()
    with copy:
        sell(copy, 3)  # its number was another's in the file that was open
    copy.close()
    os.replace(tmp_path / "copy.db", path)
    await outbox.flush()
    assert await taken(hub.queues) == [3]  # the others are known by their keys
    assert (outbox.pending, left(path)) == (0, 0)


async def test_what_is_sent_just_then_takes_nothing_from_the_file_that_comes(
    path, tmp_path, queues, inside
):
    with contextlib.closing(new_shop(path, "delete")) as db:
        sell(db, 1)
        db.commit()
    with contextlib.closing(new_shop(tmp_path / "other.db", "delete")) as other:
        sell(other, 2)  # the same number, another message
        other.commit()
    store, sending, go_on = queues.store, Seen(), asyncio.Event()
    put = store.put

    async def held(messages):
        sending.add(messages)
        await go_on.wait()
        return await put(messages)

    store.put = held
    outbox = await inside()
    await sending.reach(1)
    os.replace(tmp_path / "other.db", path)
    await outbox._store.look()
    go_on.set()
    await outbox.flush()
    assert await taken(queues) == [1, 2]
    assert (outbox.pending, left(path)) == (0, 0)


async def test_a_database_that_is_restored_in_place_is_sent_from_its_beginning(
    db, path, tmp_path, queues, inside
):
    outbox = await inside(look=1000)
    with db:
        sell(db, 1)
    copy = sqlite3.connect(tmp_path / "copy.db")
    db.backup(copy)
    for number in range(2, 9):
        with db:
            sell(db, number)
    await outbox.flush()
    copy.backup(db)
    copy.close()
    with db:
        sell(db, 100)
    await outbox.flush()
    assert await taken(queues) == [*range(1, 9), 100]


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "%41.db", "x#y.db", "ü💶.db", "it's;.db"])
async def test_a_path_is_taken_as_it_is_wherever_one_goes_afterwards(
    tmp_path, monkeypatch, queues, name
):
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(new_shop(tmp_path / name)) as db:
        async with await Outbox.inside(name, queues) as outbox:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
            with db:
                sell(db, 1)
            await outbox.flush()
    assert await taken(queues) == [1]
    assert left(tmp_path / name) == 0


async def test_an_outbox_in_its_own_file_sends_to_queues_of_this_process_too(tmp_path, queues):
    async with await Outbox.open(tmp_path / "outbox.db", queues) as outbox:
        for number in range(150):
            await outbox.emit("pickup", number, to="drivers")
        await outbox.flush()
        assert (outbox.pending, await outbox.rejected()) == (0, [])
    assert await taken(queues) == [*range(150)]


async def test_a_file_that_cannot_be_meant_is_refused_and_left_alone(tmp_path, path, queues):
    errors = {
        "missing.db": (StoreError, "create that first"),
        "text.txt": (StoreError, "not a database"),
        "queues.db": (StoreError, "is a file of chatq, not a database of yours"),
        "outbox.db": (StoreError, "is a file of chatq, not a database of yours"),
        ":memory:": (ValueError, "what is kept in memory is not kept"),
        "sqlite:///shop.db": (ValueError, "takes a path"),
        "": (StoreError, "create that first"),
    }
    (tmp_path / "text.txt").write_text("no database" * 100)
    await (await Queues.open(f"sqlite:///{tmp_path / 'queues.db'}")).close()
    await (await Outbox.open(tmp_path / "outbox.db", queues)).close()
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    for name, (kind, words) in errors.items():
        where = name if ":" in name else tmp_path / name
        with pytest.raises(kind, match=words):
            await Outbox.inside(where, queues)
    new_shop(path).close()
    for look in (0, -1, True, "1", float("nan")):
        with pytest.raises(ValueError, match="look is a number of seconds"):
            await Outbox.inside(path, queues, look=look)
    with pytest.raises(TypeError, match=r"client is a socketio.AsyncClient"):
        await Outbox.inside(path, None)
    path.unlink()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


async def test_a_file_that_has_gone_is_said_once(db, path, tmp_path, inside):
    errors = Seen()
    outbox = await inside(look=0.01, on_error=errors.add)
    path.rename(tmp_path / "elsewhere.db")
    await errors.reach(1)
    for _ in range(5):
        with pytest.raises(StoreError, match="not there any more"):
            await outbox._store.look()
    (tmp_path / "elsewhere.db").rename(path)
    await outbox.flush()
    assert len(errors) == 1


async def test_nothing_is_left_open_and_closing_twice_is_harmless(db, path, inside):
    outbox = await inside()
    await outbox.close()
    await outbox.close()
    with pytest.raises(RuntimeError, match="closed: open it again"):
        await outbox.emit("pickup", 1, to="drivers")
    with db:
        sell(db, 1)  # nobody is told
    db.execute("PRAGMA journal_mode = delete")  # only whoever is alone may do that
    assert left(path) == 1


SYNC = """
import asyncio, sqlite3, sys
import chatq
from shop import new_shop, sell
from pathlib import Path

async def main():
    db = new_shop(Path(sys.argv[1]))
    db.execute("PRAGMA synchronous = NORMAL")
    async with await chatq.Queues.open("memory:") as queues:
        async with await chatq.Outbox.inside(sys.argv[1], queues, look=1000) as outbox:
            with db:
                sell(db, 1)
            call = outbox._publisher._connection.call
            async def said(*arguments):
                print("sending", flush=True)
                return await call(*arguments)
            outbox._publisher._connection.call = said
            print("committed", flush=True)
            await outbox.flush()

asyncio.run(main())
"""


@pytest.mark.needs("strace")
def test_what_is_sent_was_synced_before(tmp_path):
    """Counted by the kernel: a commit with `synchronous = NORMAL` is not on the disk yet."""
    _, committed, _ = syncs(SYNC, tmp_path / "shop.db")
    assert committed > 0
