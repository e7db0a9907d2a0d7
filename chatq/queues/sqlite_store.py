"""A store in one SQLite file: the embedded default.

Owns the file, and the one thread that works on it. Must not know: sockets, tables, when a message
is dead.

How it is fast and safe at once
- One thread owns the connection. Whatever was asked since it last looked is done in one
  transaction (group commit), so that a hundred producers share one sync of the disk.
- A transaction that stores, claims, buries or redrives is synced before anybody hears of it. One
  that only acknowledges or gives back is not: a machine that loses power then delivers again, which
  is allowed, and a process that is killed loses nothing, since the file already has it.
- If a transaction fails, everybody in it hears so, and memory goes back to before it.
- If the file is deleted or replaced while it is open, nothing more is done: it would be lost.
"""

from __future__ import annotations

import asyncio
import os
import queue as thread_queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Self

from .sqlite_rows import SCHEMA, Rows
from .store import Claimed, Dead, Kept, NewMessage, QueueFull, Stats, StoreError

__all__ = ["SqliteStore"]

Kind = Literal["queues", "outbox"]
_APPLICATIONS: dict[Kind, int] = {  # in the header of the file: "chaq", "chob"
    "queues": 0x63686171,
    "outbox": 0x63686F62,
}
_VERSION = 1
#: How long to trust that the file is where it was, in seconds.
_LOOK = 1.0
#: The files that are open in this process.
_open: set[tuple[int, int]] = set()
#: How long requests that came during a transaction wait for others before the next, in seconds.
_LINGER = 0.001


class SqliteStore:
    """Keeps messages in the SQLite file `path`; see `open`."""

    def __init__(
        self,
        path: str | Path,
        *,
        kind: Kind = "queues",
        length: int = 1_000_000,
        key_memory: float = 24 * 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._kind = kind
        self._length, self._key_memory, self._clock = length, key_memory, clock
        self._listeners: list[Callable[[str], None]] = []
        self._loop = asyncio.get_running_loop()
        # Of the event loop:
        self._asked: list[_Request] = []
        self._busy = False  # the thread has not answered yet
        self._closing: asyncio.Future[None] | None = None
        # Of the thread, from when it runs:
        self._inbox: thread_queue.SimpleQueue[list[_Request] | None] = thread_queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, name=f"chatq {self.path.name}", daemon=True
        )
        self._broken = ""
        self._full = True
        self._place = self.path.absolute()  # wherever the process goes to
        self._file = (0, 0)  # the device and the inode of the open file
        self._looked = 0.0
        self._db: sqlite3.Connection
        self._rows: Rows

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        kind: Kind = "queues",
        length: int = 1_000_000,
        key_memory: float = 24 * 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Return the store in the file `path`, which is made if it is not there.

        `kind`: what it is for; `length`: how many messages a queue takes; `key_memory`: for how
        many seconds keys are remembered; `clock`: gives the time in seconds since the epoch.

        Raises `StoreError` if the file is somebody else's, of another kind, of a newer version,
        damaged, or in use already; it is left as it was.
        """
        store = cls(path, kind=kind, length=length, key_memory=key_memory, clock=clock)
        connecting = asyncio.ensure_future(asyncio.to_thread(store._connect))
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:  # nobody wants it any more, but the thread goes on
            connecting.add_done_callback(store._unwanted)
            raise
        store._thread.start()
        return store

    # -- asked by the event loop ----------------------------------------------------------------

    def put(self, messages: Sequence[NewMessage]) -> asyncio.Future[list[list[str]]]:
        """See `Store.put`."""
        return self._ask(Rows.put, messages)

    def claim(
        self, queue: str, limit: int, lease: float, *, in_order: bool
    ) -> asyncio.Future[Claimed]:
        """See `Store.claim`."""
        return self._ask(Rows.claim, queue, limit, lease, in_order)

    def ack(self, receipts: Iterable[str]) -> asyncio.Future[list[bool]]:
        """See `Store.ack`."""
        return self._ask(Rows.ack, [*receipts])

    def release(
        self, receipt: str, delay: float = 0.0, *, counted: bool = True
    ) -> asyncio.Future[bool]:
        """See `Store.release`."""
        return self._ask(Rows.release, receipt, delay, counted)

    def bury(self, receipt: str, reason: str, *, counted: bool = True) -> asyncio.Future[bool]:
        """See `Store.bury`."""
        return self._ask(Rows.bury, receipt, reason, counted)

    def peek(self, queue: str, limit: int, after: str = "") -> asyncio.Future[list[Kept]]:
        """See `Store.peek`."""
        return self._ask(Rows.peek, queue, limit, after)

    def remove(self, queue: str, ids: Sequence[str]) -> asyncio.Future[list[bool]]:
        """See `Store.remove`."""
        return self._ask(Rows.remove, queue, [*ids])

    def dead(self, queue: str, limit: int = 100) -> asyncio.Future[list[Dead]]:
        """See `Store.dead`."""
        return self._ask(Rows.dead, queue, limit)

    def redrive(self, queue: str, ids: Iterable[str] | None = None) -> asyncio.Future[int]:
        """See `Store.redrive`."""
        return self._ask(Rows.redrive, queue, None if ids is None else [*ids])

    def stats(self, queue: str) -> asyncio.Future[Stats | None]:
        """See `Store.stats`."""
        return self._ask(Rows.stats, queue)

    def listen(self, listener: Callable[[str], None]) -> None:
        """See `Store.listen`."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closing is None:
            self._closing = self._loop.create_future()
            self._hand_over()
            self._inbox.put(None)
        await asyncio.shield(self._closing)
        await asyncio.to_thread(self._thread.join)

    def _ask(self, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        if self._closing is not None:
            raise StoreError(f"the store {self.path} is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._asked and not self._busy:
            self._loop.call_soon(self._hand_over)
        self._asked.append((work, args, future))
        return future

    def _hand_over(self) -> None:
        if self._asked:
            self._busy = True
            self._inbox.put(self._asked)
            self._asked = []

    def _answer(self, answers: list[_Answer], touched: set[str]) -> None:
        self._busy = False
        if self._asked:  # somebody asked meanwhile, so more are likely to: they may share a sync
            self._loop.call_later(_LINGER, self._hand_over)
        for future, result, error in answers:
            if future.done():
                continue  # whoever asked was cancelled; it is done all the same
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        for queue in touched:
            for listener in self._listeners:
                listener(queue)

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while (requests := self._inbox.get()) is not None:
            answers = self._transact(requests)
            touched, self._rows.touched = self._rows.touched, set()
            if not self._post(self._answer, answers, touched):
                break
        self._disconnect()
        self._post(self._closed)

    def _post(self, call: Callable[..., None], *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False  # the event loop is gone, and everybody who asked with it
        return True

    def _closed(self) -> None:
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)

    def _transact(self, requests: list[_Request]) -> list[_Answer]:
        """Do all that was asked in one transaction; return who gets which answer."""
        try:
            if self._broken:
                raise StoreError(self._broken)
            return self._try(requests)
        except Exception as error:
            self._roll_back()
            if len(requests) > 1 and not self._is_fatal(error):
                # One of them cannot be done: the others shall not suffer for it.
                return [answer for request in requests for answer in self._transact([request])]
            told = StoreError(self._explained(error))
            return [(future, None, told) for _, _, future in requests]

    def _try(self, requests: list[_Request]) -> list[_Answer]:
        answers: list[_Answer] = []
        rows = self._rows
        synced = not all(verb in _UNSYNCED for verb, _, _ in requests)
        if synced and time.monotonic() - self._looked >= _LOOK:
            self._look()
        self._sync(synced)
        self._db.execute("BEGIN IMMEDIATE")
        for verb, args, future in requests:
            if verb is not Rows.put and verb is not Rows.ack:
                rows.write()
            try:
                answers.append((future, verb(rows, *args), None))
            except QueueFull as error:  # raised before anything was changed
                answers.append((future, None, error))
        rows.write()
        self._db.execute("COMMIT")
        rows.committed()
        return answers

    def _look(self) -> None:
        """Raise `StoreError` if nobody will find what is stored from now on."""
        if _identity(self._place) != self._file:
            self._broken = (
                f"the store {self.path} was deleted or replaced while it was open, and does "
                "nothing more: end this program, put the file back if it was only moved, and start "
                "it again"
            )
            raise StoreError(self._broken)
        self._looked = time.monotonic()

    def _sync(self, full: bool) -> None:
        if full != self._full:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full

    def _roll_back(self) -> None:
        self._rows.rolled_back()
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # SQLite has rolled back by itself

    def _is_fatal(self, error: Exception) -> bool:
        """Whether nothing more can be promised: what a failed sync left on a disk nobody knows."""
        room = getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_TOOBIG")
        if isinstance(error, sqlite3.DatabaseError) and not room and not isinstance(error, _ASKED):
            self._broken = self._broken or (
                f"the store {self.path} failed and does nothing more ({error}): mend the disk, "
                "then open it again; what was answered before is on it"
            )
        return bool(self._broken)

    def _explained(self, error: Exception) -> str:
        if self._is_fatal(error):
            return self._broken
        return f"nothing was changed in {self.path}: {error}"

    # -- opening and closing the file -------------------------------------------------------------

    def _connect(self) -> None:
        if self.path.is_dir():
            raise StoreError(f"cannot open {self.path}: it is a folder: give a file in it")
        if not self._place.parent.is_dir():
            raise StoreError(f"cannot open {self.path}: there is no folder {self.path.parent}")
        try:
            beside = Path(f"{self.path}-shm")
            strange = self.path.exists() and not beside.exists()
            if self.path.exists():
                # Whoever may write also tidies up when it closes, in a file that is not ours too.
                looking = f"{self.path.absolute().as_uri()}?mode=ro"
                with closing(sqlite3.connect(looking, uri=True, timeout=0)) as db:
                    self._is_empty(db)
            self._db = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
            if strange:  # made by looking; who owns the file alone needs none
                beside.unlink(missing_ok=True)
        except sqlite3.Error as error:
            raise StoreError(self._refusal(error)) from None

    def _unwanted(self, connected: asyncio.Future[None]) -> None:
        if connected.exception() is None:
            self._let_go()

    def _let_go(self) -> None:
        self._db.close()
        _open.discard(self._file)

    def _refusal(self, error: sqlite3.Error) -> str:
        if "locked" in str(error):
            if _identity(self._place) in _open:
                return f"{self.path} is open in this program already: close that one first"
            return (
                f"{self.path} is in use by another process: one at a time may own it; stop the "
                "other, or give this one a file of its own"
            )
        if isinstance(error, sqlite3.OperationalError):
            return f"cannot open {self.path}: {error}"
        return (
            f"{self.path} is damaged or not an SQLite file ({error}); it was left as it is: "
            "restore a copy, or give another file"
        )

    def _is_empty(self, db: sqlite3.Connection) -> bool:
        """Whether nothing is in the file yet. Raises `StoreError` if it is not ours to open."""
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        empty = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        for kind, known in _APPLICATIONS.items():
            if application == known and kind != self._kind:
                what = {"queues": "queues", "outbox": "an outbox"}
                raise StoreError(
                    f"{self.path} holds {what[kind]}, not {what[self._kind]}: give another file; "
                    "it was left as it is"
                )
        if application != _APPLICATIONS[self._kind] and (application or not empty):
            raise StoreError(f"{self.path} is a database of another program; it was left as it is")
        if version > _VERSION:
            raise StoreError(
                f"{self.path} was written by a newer chatq (version {version} of the file, this "
                f"one reads {_VERSION}); it was left as it is: install that chatq"
            )
        if not empty:
            db.execute("SELECT name, next FROM meta").fetchone()
        return empty

    def _prepare(self) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        empty = self._is_empty(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -8000")  # KiB
        db.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: 16 MB
        db.execute("BEGIN EXCLUSIVE")
        if empty:
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute("INSERT INTO meta VALUES (?, 1)", (os.urandom(4).hex(),))
            db.execute(f"PRAGMA application_id = {_APPLICATIONS[self._kind]}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
        self._rows = Rows(db, self._length, self._key_memory, self._clock)
        self._file = _identity(self._place) or self._file
        _open.add(self._file)

    def _disconnect(self) -> None:
        try:
            if not self._broken:
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("BEGIN IMMEDIATE")
                self._rows.sum_up()
                self._db.execute("COMMIT")
        except sqlite3.Error:
            pass  # numbers are skipped then, and messages counted when it is opened next
        self._let_go()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


#: What needs no sync of its own: losing it in a power failure only means to deliver again.
_UNSYNCED = {
    Rows.ack,
    Rows.release,
    Rows.remove,
    Rows.peek,
    Rows.stats,
    Rows.dead,
}
#: What says that the question was wrong, not that the file is.
_ASKED = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
_Request = tuple[Callable[..., Any], tuple[Any, ...], "asyncio.Future[Any]"]
_Answer = tuple["asyncio.Future[Any]", Any, "Exception | None"]
