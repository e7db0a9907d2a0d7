"""A backup is whole, also under load, or it is none."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from nats_nodes import new_stream
from small_disk import small_disk

from chatq.queues import sqlite_backup, sqlite_store
from chatq.queues.queues import Queues
from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.store import NewMessage, StoreError
from chatq.waiting import give_way


@pytest.fixture
async def store(tmp_path):
    store = await SqliteStore.open(tmp_path / "q.db")
    yield store
    await store.close()


async def ids_in(path: Path) -> set[str]:
    """Open a backup as the file it is a copy of; return the ids of what is in it."""
    store = await SqliteStore.open(path)
    kept = {k.id for k in await store.peek("q", 1_000_000)}
    stats = await store.stats("q")
    assert stats is None or stats.ready == len(kept)
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        shared = "SELECT count(*) FROM body WHERE id NOT IN (SELECT body FROM pending)"
        assert db.execute(shared).fetchone() == (0,)
    return kept


def message(n: int) -> NewMessage:
    return NewMessage("e", f'"{n} {"x" * 2000}"', ("q",))


async def test_all_that_was_confirmed_before_is_in_it_also_under_load(store, tmp_path):
    confirmed: set[str] = set()
    asked: set[str] = set()  # to be deleted
    deleted: set[str] = set()
    running = True

    async def produce():
        n = 0
        while running:
            for [id] in await store.put([message(n + i) for i in range(20)]):
                confirmed.add(id)
            n += 20

    async def consume():
        while running:
            for a in (await store.claim("q", 10, 30.0, in_order=False)).attempts:
                asked.add(a.id)
                await store.ack([a.receipt])
                deleted.add(a.id)

    for start in range(0, 4000, 200):
        confirmed |= {id for [id] in await store.put([message(start + i) for i in range(200)])}
    load = [asyncio.create_task(work()) for work in (produce, produce, consume)]
    backups = []
    for n in range(3):
        before, gone = set(confirmed), set(deleted)
        await store.backup(tmp_path / f"{n}.db")
        backups.append((before, gone, set(confirmed), set(asked)))
    running = False
    await asyncio.gather(*load)
    for n, (before, gone, after, going) in enumerate(backups):
        kept = await ids_in(tmp_path / f"{n}.db")
        assert before - going <= kept, "something is missing"
        assert not kept & gone, "something is there that was done"
        assert len(after) > len(before), "others were served meanwhile"
    assert not [*tmp_path.glob("*part*")]


async def test_a_backup_is_opened_in_the_place_of_the_file(tmp_path):
    async with await Queues.open(f"sqlite:///{tmp_path}/q.db") as queues:
        id = await queues.emit("e", 1, to="q", key="k")
        await queues.emit("e", 2, to="later", delay=3600)
        await queues.backup(tmp_path / "copy.db")
        await queues.emit("e", 3, to="q")
    async with await Queues.open(f"sqlite:///{tmp_path}/copy.db") as again:
        assert (await again.stats("q")).ready == 1
        assert (await again.stats("later")).delayed == 1
        assert await again.emit("e", 1, to="q", key="k") == id
        assert await again.emit("e", 4, to="q") != id


async def test_a_file_that_is_there_is_left_as_it_is(store, tmp_path):
    (tmp_path / "theirs").write_text("mine")
    for path in (tmp_path / "theirs", tmp_path / "q.db"):
        with pytest.raises(StoreError, match=r"there is a file .* left as it is: give another"):
            await store.backup(path)
    assert (tmp_path / "theirs").read_text() == "mine"
    with pytest.raises(StoreError, match=r"no backup was made at .*, and no part of it is left"):
        await store.backup(tmp_path / "no" / "folder" / "x.db")
    await store.put([message(1)])


async def test_a_file_that_comes_meanwhile_is_left_as_it_is(store, tmp_path, monkeypatch):
    await store.put([message(n) for n in range(400)])
    target = tmp_path / "copy.db"
    real = sqlite_backup._give_name

    def somebody_is_quicker(part, path):
        path.write_text("mine")
        real(part, path)

    monkeypatch.setattr(sqlite_backup, "_give_name", somebody_is_quicker)
    with pytest.raises(StoreError, match="give another name"):
        await store.backup(target)
    assert target.read_text() == "mine"
    assert not [*tmp_path.glob("*part*")]


async def test_closing_ends_a_backup_of_which_nothing_is_left(store, tmp_path, monkeypatch):
    goes_on, real = threading.Event(), sqlite_store.back_up

    def back_up(db, path, between):
        def until_told():
            while not goes_on.is_set():
                between()
                goes_on.wait(0.01)
            between()

        real(db, path, until_told)

    monkeypatch.setattr(sqlite_backup, "_PAGES", 1)
    monkeypatch.setattr(sqlite_store, "back_up", back_up)
    await store.put([message(n) for n in range(20)])
    backing = asyncio.create_task(store.backup(tmp_path / "copy.db"))
    await store.put([message(1)])  # others are served meanwhile
    assert not backing.done()
    closing = asyncio.create_task(store.close())
    await give_way()  # it has asked
    goes_on.set()
    await closing
    with pytest.raises(StoreError, match="and no part of it is left: it was ended"):
        await backing
    assert [file.name for file in tmp_path.glob("copy*")] == []
    with pytest.raises(StoreError, match="closed"):
        await store.backup(tmp_path / "copy.db")


@pytest.mark.needs("mount")
async def test_a_disk_that_is_too_small_gets_no_part_of_one(store, tmp_path):
    with small_disk(tmp_path / "small", "1m") as folder:
        await store.put([message(n) for n in range(2000)])
        with pytest.raises(StoreError, match="no part of it is left: database or disk is full"):
            await store.backup(folder / "copy.db")
        assert [*folder.iterdir()] == []
        await store.put([message(1)])  # it is no matter of the store's


@pytest.mark.parametrize("url", ["memory:", pytest.param("nats", marks=pytest.mark.needs("nats"))])
async def test_other_stores_say_what_to_do(url, tmp_path):
    async with await Queues.open(new_stream() if url == "nats" else url) as queues:
        with pytest.raises(StoreError, match=r"only queues in a SQLite file .*nats stream backup"):
            await queues.backup(tmp_path / "copy.db")
