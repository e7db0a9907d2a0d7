"""The environment of the model of the queues: time, wire and disk that a test controls.

`Queues`, subscriptions, stores, SQLite and the steady clock are the real ones. Time moves when a
test moves it, and the clock on the wall can be set besides. The wire is the part of a
python-socketio server that subscriptions touch. The disk can be full, and the process can be
killed, or the power cut, before any statement and inside any commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import socketio

from chatq.queues.frame import unpack
from chatq.queues.sqlite_store import SqliteStore
from chatq.waiting import give_way

START = 1_764_000_000.1234567  # any time with digits that are easily lost


# -- time ---------------------------------------------------------------------------------------


#: How early a timer may ring, in seconds: on Windows by 0.015, with uvloop by the last digit.
_EARLY = 0.001


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until `advance`, and whose timers ring a bit early."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now
        self._clock_resolution = _EARLY
        self.errors: list[BaseException] = []
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self.now

    def _complain(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        if not isinstance(error, Killed):
            self.errors.append(error)

    def settle(self) -> None:
        """Run all that can run now."""
        self.run_until_complete(self._quiet())
        if self.errors:
            raise self.errors[0]

    async def _quiet(self) -> None:
        for _ in range(100_000):
            await give_way()
            due = any(
                timer.when() < self.now + _EARLY and not timer.cancelled()
                for timer in self._scheduled
            )
            if not self._ready and not due:
                return
        raise AssertionError("it never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let this time pass, every timer at its moment."""
        until = self.now + seconds
        self.settle()
        while True:
            times = [timer.when() for timer in self._scheduled if not timer.cancelled()]
            if not times or min(times) > until:
                break
            self.now = max(self.now, min(times) - _EARLY / 2)
            self.settle()
        self.now = until
        self.settle()


class Clocks:
    """The clocks of a machine, in place of the module `time` where `steady` reads them.

    `counted` gives the seconds that its steady clock has counted; the one on the wall is `ahead`.
    """

    def __init__(self, counted: Callable[[], float]) -> None:
        self._counted = counted
        self.ahead = 0.0
        self.time = self._on_the_wall  # one object, since `steady` asks whether it is this one

    def _on_the_wall(self) -> float:
        return self._counted() + self.ahead

    def monotonic(self) -> float:
        return self._counted()

    def clock_gettime(self, which: int) -> float:
        return self._counted()


# -- wire ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class Client:
    """One connection. `packets`: sent and not read; `held`: read deliveries with their packets."""

    sid: str
    polling: bool = False
    cut: bool = False
    packets: list[tuple[str, Any, int | None]] = field(default_factory=list)
    held: list[tuple[dict[str, Any], int | None]] = field(default_factory=list)
    closed: bool = False

    @property
    def upgraded(self) -> bool:
        return not self.polling

    @property
    def closing(self) -> bool:
        """It says so to have all messages emitted: this server has no packets."""
        return True

    @property
    def queue(self) -> Client:
        return self

    def qsize(self) -> int:
        return len(self.packets)


class Wire(socketio.AsyncServer):
    """As much of an `AsyncServer` as queues use; `sent` hears of every delivery."""

    def __init__(self, sent: Callable[[Client, dict[str, Any], Any], None]) -> None:
        self.sent = sent
        self.manager = self.eio = self
        self.callbacks: dict[str, dict[int, Any]] = {}
        self.handlers: dict[str, dict[str, Callable[..., Any]]] = {}
        self.namespace_handlers: dict[str, Any] = {}
        self.clients: dict[str, Client] = {}  # those that the server believes to be there
        self.numbers = itertools.count(1)
        self.sids = itertools.count(1)

    @property
    def sockets(self) -> dict[str, Client]:
        return self.clients

    def connect(self, *, polling: bool) -> Client:
        client = Client(f"sid {next(self.sids)}", polling)
        self.clients[client.sid] = client
        return client

    def forget(self) -> None:
        """The server's process is another one."""
        self.clients.clear()
        self.callbacks.clear()
        self.handlers.clear()
        for name in ("chatq ServerEvents", "_handle_ack", "_trigger_event"):
            vars(self).pop(name, None)

    async def noticed(self, client: Client, *, goodbye: bool = False) -> None:
        """The server has heard that this client is gone."""
        client.cut = True
        if self.clients.pop(client.sid, None) is not None:
            reason = self.reason.CLIENT_DISCONNECT if goodbye else self.reason.TRANSPORT_CLOSE
            await self._trigger_event("disconnect", "/", client.sid, reason)
        self.callbacks.pop(client.sid, None)

    async def _trigger_event(self, event: str, namespace: str, *arguments: Any) -> None:
        """The server has no handlers of its own."""

    def is_connected(self, sid: str, namespace: str) -> bool:
        return sid in self.clients

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str:
        return sid

    sid_from_eio_sid = eio_sid_from_sid

    def on(self, event: str, handler: Callable[..., Any], namespace: str) -> None:
        self.handlers.setdefault(namespace, {})[event] = handler

    async def emit(
        self,
        event: str,
        data: Any,
        *,
        to: str,
        namespace: str,
        callback: Any = None,
        ignore_queue: bool,
    ) -> None:
        assert ignore_queue, "a delivery is nobody's business but this server's"
        await give_way()  # as the real one, which waits for tasks
        client = self.clients.get(to)
        if client is None:
            return
        number = None
        if callback is not None:
            number = next(self.numbers)
            self.callbacks.setdefault(to, {0: None})[number] = callback
        frame = unpack(data) if event == "deliveries" else [[event, *data]]
        for name, value, delivery in frame:
            assert name == "pickup"
            self.sent(client, delivery, value)
        if not client.cut:
            client.packets.append((event, frame, number))
            assert not client.polling or len(client.packets) <= 16, "lost by a polling client"

    def read(self, client: Client) -> None:
        """The client's process reads what has come."""
        for _, frame, number in client.packets:
            client.held += [(delivery, number) for *_, delivery in frame]
        client.packets.clear()

    async def _handle_ack(self, sid: str, namespace: str, number: int, answer: list[Any]) -> None:
        """A packet acknowledgement arrives; one that nobody waits for is ignored."""
        callback = self.callbacks.get(sid, {}).pop(number, None)
        if callback is not None:
            callback(*answer)


# -- disk ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is no more."""


class Disk:
    """A connection to SQLite whose process can be killed. `moment`: how many statements from now.

    `torn`: which part of a commit's bytes still reach the file if it is killed in one.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path = db, path
        self.moment: int | None = None
        self.torn = 1.0
        self.power = False
        self.killed = False
        self.left: dict[str, bytes] = {}
        self.synced = self._size()
        self.syncs = 0
        self._full = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, *args: Any) -> Any:
        return self._do(statement, lambda: self._db.execute(statement, *args))

    def executemany(self, statement: str, rows: Any) -> Any:
        return self._do(statement, lambda: self._db.executemany(statement, rows))

    def _do(self, statement: str, work: Callable[[], Any]) -> Any:
        if self.killed:
            raise Killed
        last = self.moment == 0
        if self.moment is not None:
            self.moment -= 1
        if last and statement != "COMMIT":
            self._die(self._size())
        before = self._size()
        done = work()
        if last:
            self._die(before + round(self.torn * (self._size() - before)))
        if "synchronous" in statement:
            self._full = "FULL" in statement
        if statement == "COMMIT" and self._full and self._size() != before:
            self.synced, self.syncs = self._size(), self.syncs + 1
        return done

    def _size(self) -> int:
        wal = Path(f"{self._path}-wal")
        return wal.stat().st_size if wal.exists() else 0

    def _die(self, size: int) -> None:
        """Remember what is in the files now; of the log, so many bytes."""
        self.killed = True
        if self.power:
            size = min(size, self.synced)
        wal = Path(f"{self._path}-wal")
        self.left = {
            "": self._path.read_bytes(),
            "-wal": wal.read_bytes()[:size] if wal.exists() else b"",
        }
        raise Killed

    def die(self, *, power: bool) -> None:
        """Be killed between two statements."""
        self.power = power
        with contextlib.suppress(Killed):
            self._die(self._size())


class InlineStore(SqliteStore):
    """The store in a file, whose work is done by the event loop instead of its thread."""

    def _run(self) -> None:
        """The thread has nothing to do."""

    def _submit(self) -> None:
        requests, self._requests = self._requests, []
        if requests:
            answers = self._transact(requests)
            self._resolve(answers, self._rows.take_news())

    async def close(self) -> None:
        if self._closing is None:
            self._submit()
            self._alarm.cancel()
            self._closing = self._loop.create_future()
            self._sum_up()
            self._close_file()

    @property
    def disk(self) -> Disk:
        disk: Any = self._db
        return disk


async def inline_store(path: Path, **options: Any) -> InlineStore:
    """Open a store in a file, on a disk of the test's."""
    store = InlineStore(path, **options)
    store._connect()
    store._db = store._rows._db = Disk(store._db, path)  # type: ignore[assignment]
    store._alarm.set(store._rows.due)
    return store
