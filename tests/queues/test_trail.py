"""The trail of messages in a file: what of it outlives what, and how much there is of it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from claims import QUEUE, claim
from clock import Clock

from chatq.queues import sqlite_trail
from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.store import NewMessage, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


@pytest.fixture
async def store(path):
    store = await SqliteStore.open(path, clock=Clock())
    yield store
    await store.close()


async def put(store, n):
    ids = await store.put([NewMessage("e", "1", (QUEUE,)) for _ in range(n)])
    return [id for [id] in ids]


async def ways(store, ids):
    """Return the state and the way of each message."""
    fates = [await store.where(id) for id in ids]
    return [(fate.state, *(step.what for step in fate.steps)) for fate in fates]


async def test_it_outlives_a_kill_and_a_close(store, path, tmp_path):
    ids = await put(store, 3)
    first, second, _ = await claim(store, 3)
    await store.ack([first.receipt])
    await store.bury(second.receipt, "no")
    was = [("acknowledged", "sent", "acknowledged"), ("dead", "sent", "dead")]
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", tmp_path / f"killed.db{end}")
    await store.close()
    for each in (path, tmp_path / "killed.db"):
        again = await SqliteStore.open(each, clock=Clock())
        assert await ways(again, ids) == [*was, ("ready", "sent")]
        await again.close()


async def test_what_was_rolled_back_has_not_happened(store, monkeypatch):
    ids = await put(store, 2)
    [attempt] = await claim(store, 1)

    def planted() -> None:
        raise LookupError("planted")

    with monkeypatch.context() as planting:
        planting.setattr(store._rows, "let_some_go", planted)
        with pytest.raises(StoreError, match="planted"):
            await store.ack([attempt.receipt])
    assert await ways(store, ids) == [("leased", "sent"), ("ready",)]
    await store.ack([attempt.receipt])
    assert await ways(store, ids[:1]) == [("acknowledged", "sent", "acknowledged")]


async def test_a_full_disk_leaves_no_notes_in_memory(store, monkeypatch):
    ids = await put(store, 50)
    monkeypatch.setattr(type(store._room), "full", True)
    for attempt in await claim(store, 50):
        await store.ack([attempt.receipt])
    assert store._rows._notes.entries == []
    assert await ways(store, ids[:1]) == [("forgotten",)]


async def test_what_is_kept_is_bounded_whatever_was_done_at_once(store, path, monkeypatch):
    monkeypatch.setattr(sqlite_trail, "KEPT", 100)
    monkeypatch.setattr(sqlite_trail, "_SLICE", 10)
    for each in (1, 7, 60):
        ids = await put(store, 120)
        while attempts := await claim(store, each):
            await store.ack([attempt.receipt for attempt in attempts])
        assert await ways(store, ids[-1:]) == [("acknowledged", "sent", "acknowledged")]
        if each == 1:
            assert await ways(store, ids[:1]) == [("forgotten",)]
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        ends = [id for (id,) in db.execute("SELECT id FROM trail ORDER BY id")]
    assert ends[-1] - ends[0] <= 100
    assert len(ends) <= 100


async def test_a_run_of_messages_is_named_by_its_ends(store, path):
    ids = await put(store, 1_000)
    attempts = await claim(store, 1_000)
    await store.ack([attempt.receipt for attempt in attempts if attempt.id != ids[500]])
    assert await ways(store, ids[499:502:2]) == [("acknowledged", "sent", "acknowledged")] * 2
    assert await ways(store, ids[500:501]) == [("leased", "sent")]
    await store.ack([attempts[500].receipt])
    await put(store, 1_000)
    await store.purge(QUEUE, 2_000)
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        sizes = [n for (n,) in db.execute("SELECT length(entries) FROM trail ORDER BY id")]
        [(end,)] = db.execute("SELECT max(id) FROM trail").fetchall()
    assert (max(sizes[0], sizes[-1]) < 100, end) == (True, 1 + 999 + 1 + 1)


async def test_a_file_from_before_there_was_a_trail(store, path):
    ids = await put(store, 2)
    [attempt] = await claim(store, 1)
    await store.ack([attempt.receipt])
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE trail")
    again = await SqliteStore.open(path, clock=Clock())
    assert await ways(again, ids) == [("forgotten",), ("ready",)]
    await again.close()
