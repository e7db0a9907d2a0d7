"""A store in one SQLite file: the embedded default.

Owns the one thread that works on the file. Must not know: sockets, tables, how a file is opened,
when a message is dead.

Performance and durability
- One thread owns the connection. All requests since its last transaction share the next one (group
  commit), so that a hundred producers share one disk sync.
- A transaction that stores, claims, buries or redrives is synced before its results are returned.
  One that only acknowledges or releases is not: a machine that loses power then redelivers, which
  is allowed, and a process that is killed loses nothing, since the file already has it.
- If a transaction fails, all its requests raise, and the state in memory is rolled back.
- A full disk stops what stores, and nothing else: what delivers and deletes goes on from a reserve.
- If the file is deleted or replaced while it is open, all requests raise: they would be lost.
"""

from __future__ import annotations

import asyncio
import logging
import queue as thread_queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from .alarm import Alarm
from .location import check_file_name
from .sqlite_backup import back_up
from .sqlite_faults import lacks_room, lacks_room_to_open, no_room, not_opened
from .sqlite_file import connect, identity
from .sqlite_room import Room
from .sqlite_rows import Rows
from .sqlite_schema import Kind
from .sqlite_upkeep import News
from .steady_clock import steady
from .store import Limits, QueueFull, Store, StoreError

__all__ = ["SqliteStore"]

_log = logging.getLogger("chatq")

#: How long to trust that the file is where it was, in seconds.
_CHECK_FILE = 1.0
#: The files that are open in this process.
_open: set[tuple[int, int]] = set()
#: The delay before a group commit of requests that came during a transaction, in seconds.
_GROUP_COMMIT = 0.001
#: About how many bytes the log grows by for a row beside its body, at most.
_ROW = 20_000
#: How long the disk may take for pending requests when the store is closed, in seconds.
_GOODBYE = 10.0


class SqliteStore(Store):
    """Keeps messages in the SQLite file `path`; see `open`."""

    path: Path

    def __init__(
        self,
        path: str | Path,
        *,
        kind: Kind = "queues",
        create: bool = True,
        clock: Callable[[], float] = time.time,
        **limits: Any,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self._kind, self._create = kind, create
        self._limits, self._clock = Limits(**limits), steady(clock)
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._clock, self.tick)
        # Of the event loop:
        self._requests: list[_Request] = []
        self._busy = False  # the thread is in a transaction
        self._closing: asyncio.Future[None] | None = None
        # Of the thread, once it runs:
        self._inbox: thread_queue.SimpleQueue[_Work] = thread_queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, name=f"chatq {self.path.name}", daemon=True
        )
        self._broken = ""
        self._full = True
        self._absolute = self.path.absolute()  # the working directory may change
        self._room = Room(self._absolute)
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
        create: bool = True,
        clock: Callable[[], float] = time.time,
        **limits: Any,
    ) -> Self:
        """Open the store in the file `path`, which is created if it does not exist (`create`).

        `kind`: its use; `clock`: gives the time in seconds since the epoch; `limits`: as the fields
        of `Limits`.

        Raises `ValueError` for a name that would surprise, `StoreError` if the file is another
        program's, of another kind, of a newer version, damaged, or in use already; it is left as it
        was.
        """
        check_file_name(str(path))
        store = cls(path, kind=kind, create=create, clock=clock, **limits)
        connecting = asyncio.ensure_future(asyncio.to_thread(store._connect))
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:  # the thread that connects goes on
            connecting.add_done_callback(store._close_unused)
            raise
        store._alarm.set(store._rows.due)
        store._thread.start()
        return store

    # -- called on the event loop ---------------------------------------------------------------

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closing is None:
            self._closing = self._loop.create_future()
            self._alarm.cancel()
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

    async def backup(self, path: str | Path) -> None:
        """See `Store.backup`."""
        if self._closing is not None:
            raise StoreError(f"the store {self.path} is closed")
        self._submit()  # what was asked before comes first
        done: asyncio.Future[None] = self._loop.create_future()
        self._inbox.put(partial(self._back_up, Path.cwd() / path, done))
        await done

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

    def _resolve(self, answers: list[_Answer], news: News) -> None:
        self._busy = False
        if self._closing is None:
            self._alarm.set(news.due)
        if self._requests:  # more are likely to come: they may share a sync
            self._loop.call_later(_GROUP_COMMIT, self._submit)
        for future, result, error in answers:
            if future.done():
                continue  # the caller was cancelled; the verb was executed all the same
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        for queue in sorted(news.touched):  # a set of text has another order in each process
            self.notify(queue)
        self.notify_expired(news.expired)

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (work := self._inbox.get()) is not None:
                if not self._serve(work):
                    break
            self._sum_up()
        finally:  # whatever happens: `close` waits for it
            self._close_file()
            self._post(self._closed)

    def _serve(self, work: list[_Request] | Callable[[], None]) -> bool:
        """Do this; return False if there is nobody left to work for."""
        if callable(work):
            work()
            return True
        answers = self._transact(work)
        return self._post(self._resolve, answers, self._rows.take_news())

    def _back_up(self, path: Path, done: asyncio.Future[None]) -> None:
        later: list[_Work] = []

        def between() -> None:
            with suppress(thread_queue.Empty):
                while not later:
                    work = self._inbox.get_nowait()
                    if work is None or callable(work):
                        later.append(work)
                    else:
                        self._serve(work)
            if later == [None] or done.cancelled():
                raise InterruptedError("it was ended")

        error: Exception | None = None
        try:
            if self._broken:
                raise StoreError(self._broken)
            back_up(self._db, path, between)
        except StoreError as problem:
            error = problem
        except FileExistsError as problem:
            error = StoreError(f"{problem}, which was left as it is: give another name")
        except (OSError, sqlite3.Error) as problem:
            error = StoreError(
                f"no backup was made at {path}, and no part of it is left: {problem}"
            )
        for work in later:
            self._inbox.put(work)
        self._post(_finish, done, error)

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
            if (
                lacks_room(error, self._absolute)
                and requests[0][0] not in _PUTS
                and self._room.use(self._db)
            ):
                return self._transact(requests)
            failure = StoreError(self._explained(error))
            return [(future, None, failure) for _, _, future in requests]

    def _execute(self, requests: list[_Request]) -> list[_Answer]:
        answers: list[_Answer] = []
        rows = self._rows
        verbs = {verb for verb, _, _ in requests}
        puts = not verbs.isdisjoint(_PUTS)
        if puts:
            self._room.look(self._db)
        synced = not verbs <= _UNSYNCED
        if synced and time.monotonic() - self._checked >= _CHECK_FILE:
            self._check_file()
        self._sync(synced)
        self._db.execute("BEGIN IMMEDIATE")
        rows.sweep_due()
        for verb, arguments, future in requests:
            if verb not in _BATCHED:
                rows.write()
            if verb in _PUTS and self._room.full:
                answers.append((future, None, StoreError(no_room(self.path))))
                continue
            try:
                answers.append((future, getattr(rows, verb)(*arguments), None))
            except QueueFull as error:  # raised before anything was changed
                answers.append((future, None, error))
        rows.write()
        rows.let_some_go()
        rows.write_trail(full=self._room.full)
        self._db.execute("COMMIT")
        rows.committed()
        if rows.has_space:
            with suppress(sqlite3.Error):  # then later, or the next transaction says what is wrong
                rows.give_space_back(at_once=self._room.full)
        if puts:
            self._room.written(self._db, _size(requests))
        return answers

    # -- the file ----------------------------------------------------------------------------------

    def _check_file(self) -> None:
        """Raise `StoreError` if the open file is no longer the one at its path."""
        if identity(self._absolute) != self._file:
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
        room = lacks_room(error, self._absolute)
        room = room or getattr(error, "sqlite_errorname", "") == "SQLITE_TOOBIG"
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
        if lacks_room(error, self._absolute):
            return no_room(self.path)
        return f"nothing was changed in {self.path}: {error}"

    # -- opening and closing the file -------------------------------------------------------------

    def _connect(self) -> None:
        if self.path.is_dir():
            raise StoreError(f"cannot open {self.path}: it is a folder: give a file in it")
        if not self._absolute.parent.is_dir():
            raise StoreError(f"cannot open {self.path}: there is no folder {self.path.parent}")
        if not self._create and not (self.path.exists() and self.path.stat().st_size):
            raise StoreError(f"there is nothing at {self.path}: no such file, or an empty one")
        try:
            self._connect_now()
        except sqlite3.Error as error:
            if not (lacks_room_to_open(error, self._absolute) and self._room.give_up()):
                raise StoreError(self._not_opened(error)) from None
            try:
                self._connect_now()
            except sqlite3.Error as again:
                raise StoreError(self._not_opened(again)) from None

    def _not_opened(self, error: sqlite3.Error) -> str:
        return not_opened(error, self.path, here=identity(self._absolute) in _open)

    def _connect_now(self) -> None:
        self._db = connect(self.path, self._kind, self._clock)
        try:
            self._rows = Rows(self._db, self._limits, self._clock)
            self._file = identity(self._absolute) or self._file
            _open.add(self._file)
            self._room.opened(self._db)
        except BaseException:
            self._db.close()
            raise

    def _close_unused(self, connected: asyncio.Future[None]) -> None:
        if connected.exception() is None:
            self._close_file()

    def _close_file(self) -> None:
        self._db.close()
        self._room.close()
        _open.discard(self._file)

    def _sum_up(self) -> None:
        try:
            if not self._broken:
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("BEGIN IMMEDIATE")
                self._rows.sum_up()
                self._db.execute("COMMIT")
        except sqlite3.Error:
            pass  # numbers are skipped then, and messages counted when it is opened next


def _size(requests: list[_Request]) -> int:
    """Return about how many bytes the log has grown by what was put."""
    size = 0
    for verb, arguments, _ in requests:
        if verb == "put_one":
            size += _ROW + len(arguments[1])
        elif verb == "put":
            size += sum(_ROW * len(m.queues) + len(m.body) for m in arguments[0])
    return size


def _finish(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


#: Verbs that store.
_PUTS = {"put", "put_one"}
#: Verbs whose writes `Rows` batches.
_BATCHED = {"put", "put_one", "ack"}
#: Verbs that only look.
_LOOKS = {"peek", "stats", "dead", "are_dead", "names", "where"}
#: Verbs that need no sync: to lose them in a power failure only means a redelivery.
_UNSYNCED = {"ack", "extend", "release", "remove", "sweep", *_LOOKS}
#: Errors that mean a bad request, not a bad file.
_CALLER_ERRORS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
_Request = tuple[str, tuple[Any, ...], "asyncio.Future[Any]"]
_Work = list[_Request] | Callable[[], None] | None  # None: to close the file
_Answer = tuple["asyncio.Future[Any]", Any, "Exception | None"]
