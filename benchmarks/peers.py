"""The other queues in one SQLite file, and SQLite itself, all at the same durability.

Owns how each is opened and fed. All of them: journal in WAL mode, `synchronous = FULL`, so that a
message is on the disk when its `put` returns; read back from the very connection that writes. Their
other settings stay as they are.

- persist-queue sets WAL itself and leaves `synchronous` to SQLite's default; it is set here.
- litequeue sets WAL and `synchronous = NORMAL`; it is set to FULL here, after that.
- huey has an option for it, `fsync=True`. Its storage is fed, without the rest of huey: less work.

None of them commits for several producers at once, so a loop that puts one after the other is the
most they can do; 100 threads are tried as well and the better one counts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from measure import ORDER, PRODUCERS

__all__ = ["PEERS", "Peer", "Raw"]

BODY = json.dumps(ORDER, separators=(",", ":"))


class Raw:
    """SQLite as it is: a table of bodies, with the settings of chatq's own file."""

    def __init__(self, folder: Path) -> None:
        self._ids = itertools.count()
        self._db = sqlite3.connect(folder / "raw.db", isolation_level=None)
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = FULL",
            "cache_size = -8000",
            "wal_autocheckpoint = 4000",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        self._db.execute(
            "CREATE TABLE queued (queue INTEGER, id INTEGER, body TEXT NOT NULL, "
            "PRIMARY KEY (queue, id)) WITHOUT ROWID"
        )

    async def put(self, n: int, at_a_time: int) -> float:
        """Insert `n` rows, so many a commit; return how many a second that were."""
        rows = [(BODY,)] * at_a_time
        start = time.perf_counter()
        for _ in range(n // at_a_time):
            self._insert("INSERT INTO message (body) VALUES (?)", rows)
        return n / (time.perf_counter() - start)

    async def put_into(self, n: int, at_a_time: int, queues: int, chance: Random) -> float:
        """Insert `n` rows, each into one of so many queues, whose rows lie together; as `put`."""
        start = time.perf_counter()
        for _ in range(n // at_a_time):
            rows = [(chance.randrange(queues), next(self._ids), BODY) for _ in range(at_a_time)]
            self._insert("INSERT INTO queued VALUES (?, ?, ?)", rows)
        return n / (time.perf_counter() - start)

    def _insert(self, statement: str, rows: list[Any]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(statement, rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


class Peer:
    """One of the other queues; `put` stores one message for good."""

    def __init__(
        self, connection: sqlite3.Connection, put: Callable[[], Any], close: Callable[[], Any]
    ) -> None:
        met = [
            connection.execute(f"PRAGMA {pragma}").fetchone()[0]
            for pragma in ("journal_mode", "synchronous")
        ]
        if met != ["wal", 2]:
            raise RuntimeError(f"not at the same durability: {met} instead of WAL and FULL (2)")
        self._put, self._close = put, close
        self._threads = ThreadPoolExecutor(PRODUCERS)

    async def put(self, n: int) -> float:
        """Put `n` messages, one after the other; return how many a second that were."""
        start = time.perf_counter()
        for _ in range(n):
            self._put()
        return n / (time.perf_counter() - start)

    async def put_by_threads(self, n: int) -> float:
        """Put `n` messages from 100 threads; return how many a second that were."""

        def some() -> None:
            for _ in range(max(1, n // PRODUCERS)):
                self._put()

        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._threads, some) for _ in range(min(n, PRODUCERS)))
        )
        return n / (time.perf_counter() - start)

    def close(self) -> None:
        """Let go of the file."""
        self._threads.shutdown()
        self._close()


def _persist_queue(folder: Path) -> Peer:
    from persistqueue import SQLiteAckQueue
    from persistqueue.serializers import json as as_json

    queue = SQLiteAckQueue(str(folder / "persist"), multithreading=True, serializer=as_json)
    connection: Any = queue._putter
    connection.execute("PRAGMA synchronous = FULL")
    return Peer(connection, lambda: queue.put(ORDER), queue.close)


def _litequeue(folder: Path) -> Peer:
    from litequeue import LiteQueue

    queue = LiteQueue(folder / "lite.db")
    queue.conn.execute("PRAGMA synchronous = FULL")
    lock = threading.Lock()  # its threads share a connection, which raises for that on Python 3.13

    def put() -> None:
        with lock:
            queue.put(json.dumps(ORDER))

    return Peer(queue.conn, put, queue.conn.close)


def _huey(folder: Path) -> Peer:
    from huey.storage import SqliteStorage

    storage = SqliteStorage(filename=str(folder / "huey.db"), fsync=True)
    return Peer(storage.conn, lambda: storage.enqueue(pickle.dumps(ORDER)), storage.close)


PEERS: dict[str, Callable[[Path], Peer]] = {
    "persist-queue": _persist_queue,
    "litequeue": _litequeue,
    "huey": _huey,
}
