"""A disk that is really full: a small one of memory, which another program has filled.

Nothing is stored then, and the words say why; what is stored is delivered and deleted all the same,
also by a program that is started then; and all is well once there is room.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from small_disk import small_disk

from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.store import NewMessage, StoreError

pytestmark = pytest.mark.needs("mount")
N = 1500  # messages of 1 kB


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of 12 MB."""
    with small_disk(tmp_path / "small", "12m") as folder:
        yield folder


def fill(folder: Path) -> Path:
    """Another program takes all that is left; return its file."""
    theirs = folder / "theirs"
    with open(theirs, "ab", buffering=0) as file:
        for block in (b"\0" * 65_536, b"\0" * 512):
            try:
                while True:
                    file.write(block)
            except OSError:
                pass
    disk = os.statvfs(folder)
    assert disk.f_bavail == 0
    return theirs


async def put(store: SqliteStore, *bodies: str) -> None:
    await store.put([NewMessage("e", body, ("q",)) for body in bodies])


async def drained(store: SqliteStore, each: int = 16) -> list[str]:
    """Claim and acknowledge all there is, as consumers do; bury and release some on the way."""
    seen: list[str] = []
    while attempts := (await store.claim("q", each, 30.0, in_order=False)).attempts:
        seen += [attempt.body for attempt in attempts]
        assert await store.bury(attempts[0].receipt, "no") is True
        if len(attempts) > 1:
            assert await store.release(attempts[1].receipt, 3600.0) is True
        done = [attempt.receipt for attempt in attempts[2:]]
        assert await store.ack(done) == [True] * len(done)
    return seen


async def refused(store: SqliteStore) -> bool:
    """Put a message; return whether there is no room for it."""
    return "the disk is full" in str(await attempt(store, ["1"]))


async def attempt(store: SqliteStore, some: list[str]) -> StoreError | None:
    """Put messages; return the error."""
    try:
        await put(store, *some)
    except StoreError as error:
        return error
    return None


async def put_until_it_is_full(store: SqliteStore, each: int) -> int:
    """Put so many messages at a time until there is no room; return how many that were."""
    n = 0
    while (error := await attempt(store, bodies(each))) is None:
        n += each
    assert re.search("the disk is full: nothing was changed .* until there is room", str(error))
    return n


def bodies(n: int) -> list[str]:
    return [f'"{i:04} {"x" * 1000}"' for i in range(n)]


async def test_a_full_disk_is_drained_and_stores_nothing(disk, caplog):
    store = await SqliteStore.open(disk / "q.db")
    for start in range(0, N, 50):
        await put(store, *bodies(N)[start : start + 50])
    theirs = fill(disk)
    await put_until_it_is_full(store, 50)
    before = (await store.stats("q")).ready
    seen = await drained(store)
    assert len(seen) == before >= N
    assert seen[:N] == bodies(N)
    assert "the disk is full: " in caplog.text
    assert await store.redrive("q") > 0
    assert await store.purge("q", 10_000) > 0
    theirs.unlink()
    await put(store, "1")
    assert [a.body for a in (await store.claim("q", 9, 30.0, in_order=False)).attempts] == ["1"]
    await store.close()


async def test_a_program_that_is_started_on_a_full_disk_drains_what_is_there(disk):
    store = await SqliteStore.open(disk / "q.db")
    for start in range(0, N, 50):
        await put(store, *bodies(N)[start : start + 50])
    await store.close()
    fill(disk)
    again = await SqliteStore.open(disk / "q.db")
    await put_until_it_is_full(again, 50)
    assert (await drained(again))[:N] == bodies(N)
    await again.close()


@pytest.mark.long
async def test_it_is_filled_by_messages_alone(disk):
    store = await SqliteStore.open(disk / "q.db")
    n = await put_until_it_is_full(store, 100)
    assert n >= 1000
    assert len(await drained(store)) == n
    assert await store.discard("q") > 0
    assert await store.purge("q", n) > 0  # what was given back
    async with asyncio.timeout(30):  # there is room again once the file has become smaller
        while await refused(store):
            pass
    assert len(await drained(store)) == 1
    await put(store, *bodies(500))
    assert len(await drained(store)) == 500
    await store.close()


async def test_opening_says_that_the_disk_is_full(disk):
    fill(disk)
    with pytest.raises(StoreError, match="since the disk is full: make room on it"):
        await SqliteStore.open(disk / "new.db")
