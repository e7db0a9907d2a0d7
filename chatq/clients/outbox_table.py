"""The store of an outbox that is a table inside the user's own SQLite database.

Owns the connection that looks for what was committed, and deletes what is sent. Must not know: how
messages are put there, how they are sent.

- What is sent is deleted a batch at a time. While somebody else has the database locked nothing
  waits for that: it is deleted later. Until then, and if the process is killed, it may be sent
  again; it has its key.
- SQLite announces no commit. One of a message that was put in this process is looked for at once,
  then after 4, 8, 16 ... milliseconds; all others once in a while. A look is one seek.
- What was committed is on disk before it is sent, even if the user's connection does not sync: or
  else a machine that loses power would have sent what was never stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from ..queues.location import check_file_name
from ..queues.sqlite_schema import check_foreign
from ..queues.store import Attempt, Claimed, Dead, NewMessage, Store, StoreError
from ..waiting import detached, set_within
from .envelope import Envelope, unseal
from .transaction import TABLE, insert, readers

__all__ = ["OutboxTable"]

_log = logging.getLogger("chatq")

_NEW = "SELECT count(*), max(number) FROM chatq_outbox WHERE number > ? AND rejected IS NULL"
_NEXT = """SELECT number, hex(key), event, body, expires FROM chatq_outbox
    WHERE number > ? AND rejected IS NULL ORDER BY number LIMIT ?"""
_LAST = "SELECT max(number) FROM chatq_outbox"
# Whatever a key is: nothing but that row is meant, also if the file was replaced meanwhile.
_SENT = "DELETE FROM chatq_outbox WHERE number = ? AND hex(key) = ?"
_REJECTED = "UPDATE chatq_outbox SET rejected = ? WHERE number = ? AND hex(key) = ?"
_DEAD = """SELECT number, event, body, rejected FROM chatq_outbox
    WHERE rejected IS NOT NULL ORDER BY number LIMIT ?"""
_RETRY = "UPDATE chatq_outbox SET rejected = NULL, expires = NULL WHERE rejected IS NOT NULL"

#: How long to wait for a lock, in seconds: of what can be done later, and of what cannot.
_SHORT, _LONG = 0.1, 5.0
_FIRST_LOOK = 0.002  # seconds after a message was put in this process


class OutboxTable(Store):
    """The store of an outbox inside the database `path`; see `open`.

    It has the verbs of a `Store` that an outbox needs.
    """

    path: Path

    def __init__(self, path: Path, look: float) -> None:
        super().__init__()
        self.path = path
        self._absolute, self._every = path.absolute(), look
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, f"chatq {path.name}")
        self._expected, self._closed = asyncio.Event(), asyncio.Event()
        self._found: Callable[[int], object] = lambda number: None
        self._task: asyncio.Task[None] | None = None
        # Of the thread:
        self._db: sqlite3.Connection
        self._file = (0, 0)  # the device and the inode of the open file
        self._claimed = 0  # the number of the last row that was claimed
        self._counted = 0  # and of the last that was counted
        self._waiting = 0  # rows that were counted, and not claimed yet
        self._out: set[int] = set()  # numbers of rows that were claimed, and are not written yet
        self._unwritten: dict[str, str | None] = {}  # of receipts: why rejected; None if sent

    @classmethod
    async def open(cls, path: str | Path, look: float) -> Self:
        """Open the database `path`, which has to exist, and create the table if it is not there.

        `look`: how often to look for commits of others, in seconds. Raises `ValueError` for a name
        that would surprise or a wrong `look`, `StoreError` if it cannot be opened, or is a file of
        queues or of an outbox.
        """
        check_file_name(str(path))
        if isinstance(look, bool) or not isinstance(look, (int, float)) or not 0 < look < 1e6:
            raise ValueError(f"look is a number of seconds above 0, not {look!r:.80}")
        table = cls(Path(path), look)
        try:
            await table.ask("connect")
        except BaseException:
            await table.close()
            raise
        return table

    # -- called on the event loop -----------------------------------------------------------------

    def ask(self, verb: str, *arguments: Any) -> asyncio.Future[Any]:
        """See `Store.ask`."""
        if self._closed.is_set():
            raise StoreError(f"the outbox in {self.path} is closed")
        return self._loop.run_in_executor(self._thread, self._do, verb, arguments)

    def watch(self, found: Callable[[int], object], failed: Callable[[Exception], object]) -> None:
        """Look for messages from now on: `found` gets how many more there are, or fewer, 0, too,
        before whoever has asked gets an answer; `failed` what prevents looking, once."""
        self._found = found
        readers.add(self)
        self._task = detached(self._watch(failed))

    async def look(self) -> None:
        """Look for messages now."""
        await self.ask("look")

    def expect(self) -> None:
        """Look more often for a moment, since something may be committed soon; in any thread."""
        with contextlib.suppress(RuntimeError):  # its event loop has ended
            self._loop.call_soon_threadsafe(self._expected.set)

    async def _watch(self, failed: Callable[[Exception], object]) -> None:
        wait, problem = self._every, ""
        while not self._closed.is_set():
            await set_within(self._expected, wait)
            wait = min(2 * wait, self._every)
            if self._expected.is_set():
                self._expected.clear()
                wait = min(_FIRST_LOOK, self._every)
                await set_within(self._closed, wait)  # more may come, for the same look
            try:
                if not self._closed.is_set():
                    await self.look()
                problem = ""
            except StoreError as error:
                if str(error) != problem:
                    problem = str(error)
                    failed(error)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closed.is_set():
            return
        readers.discard(self)
        closing = self.ask("close")
        self._closed.set()
        self._expected.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        await closing
        self._thread.shutdown(wait=False)

    # -- the thread -------------------------------------------------------------------------------

    def _do(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return getattr(self, f"_{verb}")(*arguments)
        except sqlite3.Error as error:
            raise StoreError(self._told(error)) from error

    def _told(self, error: sqlite3.Error) -> str:
        if _is_locked(error):
            return self._locked()
        return f"cannot use the table chatq_outbox in {self.path}: {error}"

    def _locked(self) -> str:
        return (
            f"{self.path} is locked: another transaction has not ended yet. (Inside one of your "
            "own, a message is emitted with chatq.emit_in_transaction.)"
        )

    def _connect(self) -> None:
        try:
            file = _identity(self._absolute)
            uri = self._absolute.as_uri() + "?mode=rw"
            self._db = sqlite3.connect(
                uri, uri=True, timeout=_LONG, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"cannot open {self.path} ({error}): an outbox is inside a database that is there "
                "already; create that first"
            ) from None
        # What a foreign hand has written must not stop the rest.
        self._db.text_factory = lambda text: text.decode("utf-8", "replace")
        check_foreign(self._db, self.path)
        self._db.execute(TABLE.format(schema="main"))
        self._wait_for_locks(_SHORT)
        self._file = file  # last: what fails before is tried again

    def _wait_for_locks(self, seconds: float) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def _close(self) -> None:
        if hasattr(self, "_db"):
            try:
                self._write()
            except sqlite3.Error as error:
                _log.warning("%s: what was sent is sent again, with its key", self._told(error))
            finally:
                self._db.close()

    def _look(self) -> None:
        self._follow()
        try:
            self._write()
            self._count()
        except sqlite3.Error as error:
            if not _is_locked(error):
                raise
            self._add(0)

    def _follow(self) -> None:
        """Open the file that is there now, if it was replaced: by a backup, for example."""
        try:
            same = _identity(self._absolute) == self._file
        except OSError as error:
            raise StoreError(f"{self.path} is not there any more: {error}") from None
        if not same:
            self._db.close()
            self._add(-self._waiting)
            self._claimed = self._counted = 0
            self._out.clear()
            self._unwritten.clear()
            self._connect()

    def _count(self) -> None:
        number, last = self._db.execute(_NEW, (self._counted,)).fetchone()
        self._counted = last or self._counted
        self._add(number)

    def _add(self, number: int) -> None:
        """Note that so many more rows wait, or fewer."""
        self._waiting += number
        self._loop.call_soon_threadsafe(self._found, number)

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._db.execute(begin)
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _patient(self) -> Iterator[None]:
        """Wait for longer for a lock: whoever has asked cannot do it later."""
        self._wait_for_locks(_LONG)
        try:
            yield
        finally:
            self._wait_for_locks(_SHORT)

    def _write(self) -> None:
        """Note in the table what became of messages; later, if it is locked."""
        if not self._unwritten:
            return
        keys = {receipt: _number_and_key(receipt) for receipt in self._unwritten}
        try:
            with self._transaction("BEGIN IMMEDIATE"):
                self._db.executemany(
                    _SENT, [keys[each] for each, why in self._unwritten.items() if why is None]
                )
                self._db.executemany(
                    _REJECTED,
                    [
                        (why, *keys[each])
                        for each, why in self._unwritten.items()
                        if why is not None
                    ],
                )
        except sqlite3.Error as error:
            if not _is_locked(error):
                raise
            return
        self._out.difference_update(number for number, _ in keys.values())
        self._unwritten.clear()

    def _write_now(self) -> None:
        """As `_write`, or raise `StoreError`."""
        self._write()
        if self._unwritten:
            raise StoreError(self._locked())

    def _put(self, messages: Sequence[NewMessage]) -> list[list[str]]:
        with self._patient():
            with self._transaction("BEGIN IMMEDIATE"):
                ids = []
                for message in messages:
                    key, expires = unseal(message.body)["key"], message.expires
                    envelope = Envelope(key, message.event, message.body, expires)
                    ids.append([str(self._db.execute(*insert(envelope)).lastrowid)])
            with contextlib.suppress(sqlite3.Error):  # it is stored; then the next look counts it
                self._count()
        return ids

    def _claim(self, queue: str, limit: int, *_: Any) -> Claimed:
        attempts: list[Attempt] = []
        claimed, drained = self._claimed, False
        try:
            self._write()
            with self._transaction("BEGIN"):
                self._count()
                while len(attempts) < limit and not drained:
                    left = limit - len(attempts)
                    rows = self._db.execute(_NEXT, (claimed, left)).fetchall()
                    drained = not rows
                    for number, key, event, body, expires in rows:
                        claimed = number
                        if number not in self._out:
                            ends = expires if isinstance(expires, float) else None
                            receipt = f"{number} {key}"
                            attempts.append(
                                Attempt(str(number), queue, event, body, 1, 0, ends, receipt)
                            )
            if attempts:
                self._sync()
        except sqlite3.Error as error:
            if not _is_locked(error):
                raise
            return Claimed([])
        # Nothing is noted before all has succeeded, or what was not returned would never be sent.
        self._claimed = claimed
        self._out.update(int(attempt.id) for attempt in attempts)
        self._waiting -= len(attempts)
        if drained:
            self._add(-self._waiting)  # others delete rows, too
            if not self._out:
                # All numbers are looked at again: those of a restored database begin anew.
                self._claimed = self._counted = 0
        return Claimed(attempts)

    def _sync(self) -> None:
        """Let what was read be on disk: with `synchronous = NORMAL` a commit need not be."""
        with contextlib.suppress(FileNotFoundError), open(f"{self._absolute}-wal", "rb+") as log:
            os.fsync(log.fileno())

    def _ack(self, receipts: list[str]) -> list[bool]:
        self._unwritten.update(dict.fromkeys(receipts))
        self._write()
        return [True] * len(receipts)

    def _bury(self, receipt: str, reason: str, *_: Any) -> bool:
        self._unwritten[receipt] = reason
        self._write()
        return True

    def _dead(self, queue: str, limit: int) -> list[Dead]:
        with self._patient():
            self._write_now()
            rows = self._db.execute(_DEAD, (limit,)).fetchall()
        return [Dead(str(number), event, body, 1, why, 0.0) for number, event, body, why in rows]

    def _redrive(self, queue: str, ids: Iterable[str] | None) -> int:
        with self._patient():
            self._write_now()
            with self._transaction("BEGIN IMMEDIATE"):
                self._count()
                if ids is None:
                    found = self._db.execute(_RETRY).rowcount
                else:
                    one = f"{_RETRY} AND CAST(number AS TEXT) = ?"
                    found = self._db.executemany(one, [(id,) for id in ids]).rowcount
                [last] = self._db.execute(_LAST).fetchone()
        self._add(found)
        self._claimed, self._counted = 0, last or 0
        return found


def _number_and_key(receipt: str) -> tuple[int, str]:
    number, _, key = receipt.partition(" ")
    return int(number), key


def _is_locked(error: sqlite3.Error) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
