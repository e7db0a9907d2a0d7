"""A store in one SQLite file: the embedded default.

Owns the file, and the one thread that works on it. Must not know: sockets, tables, when a message
is dead.

Performance and durability
- One thread owns the connection. All requests since its last transaction share the next one (group
  commit), so that a hundred producers share one disk sync.
- A transaction that stores, claims, buries or redrives is synced before its results are returned.
  One that only acknowledges or releases is not: a machine that loses power then redelivers, which
  is allowed, and a process that is killed loses nothing, since the file already has it.
- If a transaction fails, all its requests raise, and the state in memory is rolled back.
- If the file is deleted or replaced while it is open, all requests raise: they would be lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue as thread_queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Self

from .sqlite_rows import SCHEMA, Rows, set_back
from .steady_clock import steady
from .store import QueueFull, Store, StoreError

__all__ = ["SqliteStore"]

_log = logging.getLogger("chatq")

Kind = Literal["queues", "outbox"]
_APPLICATIONS: dict[Kind, int] = {  # in the header of the file: "chaq", "chob"
    "queues": 0x63686171,
    "outbox": 0x63686F62,
}
_VERSION = 2
#: What turns a file of an older version into one of the next.
_MIGRATIONS = {
    1: (
        "ALTER TABLE pending RENAME COLUMN spent TO failures",
        "UPDATE pending SET failures = attempts - failures",
        "ALTER TABLE pending ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX suspects ON pending (queue) WHERE suspect",
        "ALTER TABLE meta ADD COLUMN seen REAL NOT NULL DEFAULT 0",
    ),
}
#: How long to trust that the file is where it was, in seconds.
_CHECK_FILE = 1.0
#: The files that are open in this process.
_open: set[tuple[int, int]] = set()
#: The delay before a group commit of requests that came during a transaction, in seconds.
_GROUP_COMMIT = 0.001
#: How long the disk may take for pending requests when the store is closed, in seconds.
_GOODBYE = 10.0


class SqliteStore(Store):
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
        super().__init__()
        self.path = Path(path)
        self._kind = kind
        self._length, self._key_memory, self._clock = length, key_memory, steady(clock)
        self._loop = asyncio.get_running_loop()
        # Of the event loop:
        self._requests: list[_Request] = []
        self._busy = False  # the thread is in a transaction
        self._closing: asyncio.Future[None] | None = None
        # Of the thread, once it runs:
        self._inbox: thread_queue.SimpleQueue[list[_Request] | None] = thread_queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, name=f"chatq {self.path.name}", daemon=True
        )
        self._broken = ""
        self._full = True
        self._absolute = self.path.absolute()  # the working directory may change
        self._file = (0, 0)  # the device and the inode of the open file
        self._checked = 0.0
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
        """Open the store in the file `path`, which is created if it does not exist.

        `kind`: its use; `length`: the most messages in a queue; `key_memory`: for how many seconds
        keys are remembered; `clock`: gives the time in seconds since the epoch.

        Raises `StoreError` if the file is another program's, of another kind, of a newer version,
        damaged, or in use already; it is left as it was.
        """
        store = cls(path, kind=kind, length=length, key_memory=key_memory, clock=clock)
        connecting = asyncio.ensure_future(asyncio.to_thread(store._connect))
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:  # the thread that connects goes on
            connecting.add_done_callback(store._close_unused)
            raise
        store._thread.start()
        return store

    # -- called on the event loop ---------------------------------------------------------------

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closing is None:
            self._closing = self._loop.create_future()
            self._submit()
            self._inbox.put(None)
        try:
            async with asyncio.timeout(_GOODBYE):
                await asyncio.shield(self._closing)
        except TimeoutError:
            _log.error(
                "the disk has not answered for %g s: %s is left open until it has done what it was "
                "asked",
                _GOODBYE,
                self.path,
            )
        else:
            await asyncio.to_thread(self._thread.join)

    def ask(self, verb: str, *arguments: Any) -> asyncio.Future[Any]:
        """See `Store.ask`."""
        if self._closing is not None:
            raise StoreError(f"the store {self.path} is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._requests and not self._busy:
            self._loop.call_soon(self._submit)
        self._requests.append((verb, arguments, future))
        return future

    def _submit(self) -> None:
        if self._requests:
            self._busy = True
            self._inbox.put(self._requests)
            self._requests = []

    def _resolve(self, answers: list[_Answer], touched: set[str]) -> None:
        self._busy = False
        if self._requests:  # more are likely to come: they may share a sync
            self._loop.call_later(_GROUP_COMMIT, self._submit)
        for future, result, error in answers:
            if future.done():
                continue  # the caller was cancelled; the verb was executed all the same
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        for queue in sorted(touched):  # a set of text has another order in each process
            self.notify(queue)

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (requests := self._inbox.get()) is not None:
                answers = self._transact(requests)
                touched, self._rows.touched = self._rows.touched, set()
                if not self._post(self._resolve, answers, touched):
                    break
            self._sum_up()
        finally:  # whatever happens: `close` waits for it
            self._close_file()
            self._post(self._closed)

    def _post(self, call: Callable[..., None], *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False  # the event loop is gone, and all callers with it
        return True

    def _closed(self) -> None:
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)

    def _transact(self, requests: list[_Request]) -> list[_Answer]:
        """Execute all requests in one transaction; return the results and errors."""
        try:
            if self._broken:
                raise StoreError(self._broken)
            return self._execute(requests)
        except Exception as error:
            self._roll_back()
            if len(requests) > 1 and not self._is_fatal(error):
                # One request is to blame: the others are executed without it.
                return [answer for request in requests for answer in self._transact([request])]
            failure = StoreError(self._explained(error))
            return [(future, None, failure) for _, _, future in requests]

    def _execute(self, requests: list[_Request]) -> list[_Answer]:
        answers: list[_Answer] = []
        rows = self._rows
        synced = not all(verb in _UNSYNCED for verb, _, _ in requests)
        if synced and time.monotonic() - self._checked >= _CHECK_FILE:
            self._check_file()
        self._sync(synced)
        self._db.execute("BEGIN IMMEDIATE")
        for verb, arguments, future in requests:
            if verb not in _BATCHED:
                rows.write()
            try:
                answers.append((future, getattr(rows, verb)(*arguments), None))
            except QueueFull as error:  # raised before anything was changed
                answers.append((future, None, error))
        rows.write()
        self._db.execute("COMMIT")
        rows.committed()
        return answers

    def _check_file(self) -> None:
        """Raise `StoreError` if the open file is no longer the one at its path."""
        if _identity(self._absolute) != self._file:
            self._broken = (
                f"the store {self.path} was deleted or replaced while it was open, and does "
                "nothing more: end this program, put the file back if it was only moved, and start "
                "it again"
            )
            raise StoreError(self._broken)
        self._checked = time.monotonic()

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
        """Return whether the store must stop: after a failed sync the disk's state is unknown."""
        room = getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_TOOBIG")
        caller = isinstance(error, _CALLER_ERRORS)
        if isinstance(error, sqlite3.DatabaseError) and not room and not caller:
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
        if not self._absolute.parent.is_dir():
            raise StoreError(f"cannot open {self.path}: there is no folder {self.path.parent}")
        try:
            shm = Path(f"{self.path}-shm")
            without_shm = self.path.exists() and not shm.exists()
            if self.path.exists():
                # A connection that may write would change a file that is not ours on closing.
                read_only = f"{self.path.absolute().as_uri()}?mode=ro"
                with closing(sqlite3.connect(read_only, uri=True, timeout=0)) as db:
                    self._is_empty(db)
            self._db = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
            if without_shm:  # made by the read-only connection; an exclusive one needs none
                shm.unlink(missing_ok=True)
        except sqlite3.Error as error:
            raise StoreError(self._open_error(error)) from None

    def _close_unused(self, connected: asyncio.Future[None]) -> None:
        if connected.exception() is None:
            self._close_file()

    def _close_file(self) -> None:
        self._db.close()
        _open.discard(self._file)

    def _open_error(self, error: sqlite3.Error) -> str:
        if "locked" in str(error):
            if _identity(self._absolute) in _open:
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
        """Return whether the file is empty. Raises `StoreError` if it is no store of this kind."""
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
            db.execute("INSERT INTO meta VALUES (?, 1, 0)", (os.urandom(4).hex(),))
            db.execute(f"PRAGMA application_id = {_APPLICATIONS[self._kind]}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
        for version in range(db.execute("PRAGMA user_version").fetchone()[0], _VERSION):
            for statement in _MIGRATIONS[version]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version + 1}")
        if back := set_back(db, self._clock()):
            _log.warning(
                "the clock is %g s behind the times in %s: all of them were moved back by as much",
                back,
                self.path,
            )
        db.execute("COMMIT")
        self._rows = Rows(db, self._length, self._key_memory, self._clock)
        self._file = _identity(self._absolute) or self._file
        _open.add(self._file)

    def _sum_up(self) -> None:
        try:
            if not self._broken:
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("BEGIN IMMEDIATE")
                self._rows.sum_up()
                self._db.execute("COMMIT")
        except sqlite3.Error:
            pass  # numbers are skipped then, and messages counted when it is opened next


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the inode of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


#: Verbs whose writes `Rows` batches.
_BATCHED = {"put", "ack"}
#: Verbs that need no sync: to lose them in a power failure only means a redelivery.
_UNSYNCED = {"ack", "extend", "release", "remove", "peek", "stats", "dead"}
#: Errors that mean a bad request, not a bad file.
_CALLER_ERRORS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
_Request = tuple[str, tuple[Any, ...], "asyncio.Future[Any]"]
_Answer = tuple["asyncio.Future[Any]", Any, "Exception | None"]
