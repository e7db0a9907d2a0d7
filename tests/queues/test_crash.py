"""A hub that is killed, and a hub on a disk that is slow, failing or full: nothing is pretended.

The long run of the first is `benchmarks/crash.py`; for the second, `disk.c` stands between SQLite
and the kernel of one process, so the errors are those that a real disk gives.
"""

from __future__ import annotations

import asyncio
import errno
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import needs
import pytest
from hubs import Hub, Inbox, end
from places import BENCHMARKS, SUPPORT
from syncs import syncs

CRASH = BENCHMARKS / "crash.py"


@pytest.mark.long
def test_a_hub_that_is_killed_again_and_again_loses_nothing(tmp_path):
    result = tmp_path / "result.json"
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, str(CRASH), "--kills", "4", "--messages", "2000", "--within", "150"]
    command += ["--lease", "3", "--doses", "1"]
    done = subprocess.run(
        [*command, "--json", str(result), "--directory", str(work)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(result.read_text("utf-8"))
    assert figures["kills"] == 4
    assert figures["clock_jumps"] > 0
    assert figures["cuts_by_handlers"] > 0
    assert figures["poison"] == figures["dead"] == 2
    assert figures["good_ones_dead"] == figures["unexplained"] == 0
    assert figures["handled_again"] <= figures["unanswered_at_a_cut_at_most"]
    assert figures["answered"] == figures["delivered"] >= 2000
    assert list(work.iterdir()) == []


class Disk:
    """The faults of one process's disk, to be changed while it runs."""

    def __init__(self, folder: Path) -> None:
        self.library, self.file = folder / "disk.so", folder / "faults"
        source = SUPPORT / "disk.c"
        command = [
            needs.path("cc"),
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            str(self.library),
            str(source),
        ]
        subprocess.run(command, check=True)
        self.set()

    def set(self, *, delay: float = 0.0, sync: int = 0, write: int = 0) -> None:
        """`delay` of a sync in seconds; errors as numbers of `errno`, 0 for none."""
        numbers = [round(delay * 1e6), sync, write]
        data = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(data)


@pytest.fixture
def disk(tmp_path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def faulty(disk, tmp_path, monkeypatch):
    """A hub on that disk; called again, the hub that is opened after it."""
    running: list[Hub] = []

    def start(*, preload: bool = True) -> Hub:
        if running:
            end(running.pop().process)
        with monkeypatch.context() as patch:
            if preload:
                patch.setenv("LD_PRELOAD", str(disk.library))
                patch.setenv("CHATQ_DISK", str(disk.file))
            running.append(Hub(folder=tmp_path))
        return running[0]

    yield start
    for hub in running:
        end(hub.process)


async def publish(hub: Hub, client: Any, n: int) -> dict[str, Any]:
    message = {"queue": "q", "event": "e", "data": n, "key": str(n)}
    answer: dict[str, Any] = await hub.call(client, "publish", message)
    return answer


async def kept(hub: Hub) -> list[int]:
    """All that is in the queue, taken out of it."""
    client = await hub.client()
    inbox = Inbox(client, hub.namespace, answer=True)
    found = await hub.call(client, "subscribe", {"queue": "q", "window": 100})
    await inbox.until(found["ready"])
    await client.disconnect()
    return sorted(inbox.data)


def whole(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "hub.db")) as db:
        return db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.needs("cc", "linux")
async def test_no_answer_is_given_before_the_disk_has_synced(disk, faulty):
    hub = faulty()
    client = await hub.client()
    await publish(hub, client, 0)
    disk.set(delay=0.3)
    began = time.monotonic()
    answers = await asyncio.gather(*(publish(hub, client, n) for n in range(1, 40)))
    took = time.monotonic() - began
    assert all("id" in answer for answer in answers)
    assert 0.3 <= took < 0.3 * 39  # and they shared a sync, or a few
    disk.set(delay=3)
    began = time.monotonic()
    await hub.call(client, "stats", {"queue": "q"})
    assert time.monotonic() - began < 3  # what changes nothing waits for no disk
    disk.set(delay=0)
    await client.disconnect()


@pytest.mark.needs("cc", "linux")
async def test_a_disk_that_cannot_sync_is_told_to_the_producer(disk, faulty, tmp_path):
    hub = faulty()
    client = await hub.client()
    answered = [n for n in range(20) if "id" in await publish(hub, client, n)]
    assert answered == [*range(20)]
    disk.set(sync=errno.EIO)
    answers = await asyncio.gather(*(publish(hub, client, n) for n in range(20, 40)))
    assert {answer["error"]["code"] for answer in answers} == {"unavailable"}
    assert "mend the disk" in answers[0]["error"]["message"]
    disk.set()
    # What a failed sync leaves on a disk nobody knows: nothing more is promised until it is opened
    # again.
    assert (await publish(hub, client, 40))["error"]["code"] == "unavailable"
    await client.disconnect()
    hub = faulty(preload=False)
    found = await kept(hub)
    assert set(answered) <= set(found) <= set(range(40))
    assert len(found) == len(set(found))
    end(hub.process)
    assert whole(tmp_path)


@pytest.mark.needs("cc", "linux")
async def test_a_full_disk_is_told_to_the_producer_and_is_well_again_when_there_is_room(
    disk, faulty, tmp_path
):
    hub = faulty()
    client = await hub.client()
    for n in range(20):
        assert "id" in await publish(hub, client, n)
    disk.set(write=errno.ENOSPC)
    answers = await asyncio.gather(*(publish(hub, client, n) for n in range(20, 40)))
    assert {answer["error"]["code"] for answer in answers} == {"unavailable"}
    assert "full" in answers[0]["error"]["message"]
    disk.set()
    assert "id" in await publish(hub, client, 40)
    await client.disconnect()
    assert await kept(hub) == [*range(20), 40]
    await hub.stop()
    assert whole(tmp_path)


def limited(folder: Path) -> subprocess.Popen[str]:
    """Start a hub whose files may not grow beyond 400,000 bytes."""
    program = (
        "import resource, runpy, sys;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000));"
        "sys.argv[0] = 'chatq'; runpy.run_module('chatq', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, "serve", "--port", "0"]
    return subprocess.Popen(
        [*command, "--store", f"sqlite:///{folder / 'hub.db'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.needs("posix")
async def test_a_file_that_may_grow_no_more_is_told_to_the_producer(tmp_path):
    """The limit is the kernel's own (RLIMIT_FSIZE)."""
    process = limited(tmp_path)
    try:
        hub = Hub.__new__(Hub)
        line = await asyncio.to_thread(process.stdout.readline)
        hub.url, hub.namespace = line.split()[-1].rsplit("/", 1)[0], "/caps"
        client = await hub.client()
        stored = []
        for n in range(1000):
            answer = await publish(hub, client, n)
            if "error" in answer:
                break
            stored.append(n)
        assert answer["error"]["code"] == "unavailable"
        await client.disconnect()
    finally:
        end(process)
    again = Hub(folder=tmp_path)
    try:
        found = await kept(again)
        assert set(stored) <= set(found) <= {*stored, len(stored)}
    finally:
        end(again.process)
    assert whole(tmp_path)


@pytest.mark.needs("strace")
def test_acknowledgements_cost_no_sync_of_their_own(tmp_path):
    """Counted by the kernel: the syncs of a process that stores, claims and acknowledges."""
    script = """if True:
        import asyncio, os, sys
        from chatq.queues.sqlite_store import SqliteStore
        from chatq.queues.store import NewMessage

        async def main():
            store = await SqliteStore.open(sys.argv[1])
            await asyncio.gather(*(store.put([NewMessage("e", "1", ("q",))]) for _ in range(500)))
            claimed = await store.claim("q", 500, 30.0, in_order=False)
            print("before", flush=True)
            for attempt in claimed.attempts:
                await store.ack([attempt.receipt])
            print("after", flush=True)
            for _ in range(5):
                await store.put([NewMessage("e", "1", ("q",))])
            await store.close()

        asyncio.run(main())
    """
    storing, acknowledging, one_by_one = syncs(script, tmp_path / "q.db")
    assert storing <= 15  # 500 messages, and a new file
    assert acknowledging == 0
    assert one_by_one >= 5  # a message stored alone is synced
