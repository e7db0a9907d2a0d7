"""A producer's outbox: messages are stored on the producer's own disk, then published, in order.

Owns the way of a message from a producer's disk to the server's queues. Must not know: how messages
are kept on either side, how they are published, sockets.

An outbox is a queue with one consumer, so it is a store of its own; or else a table inside the
producer's own database, so that a message belongs to a transaction there. Each message has an
idempotency key, kept with it; so a message that is published twice, because a reply got lost or
either side was killed, is stored once by the server. (A server remembers keys for a time:
`key_memory` of its rules, a day by default. A retry after that may leave two.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar

import socketio  # type: ignore[import-untyped]

from ..queues.queues import Queues
from ..queues.rules import EXPIRED, Rules
from ..queues.sqlite_store import SqliteStore
from ..queues.steady_clock import steady
from ..queues.store import Dead, Limits, NewMessage
from .embedded import Embedded
from .envelope import seal, unseal
from .outbox_table import OutboxTable
from .publisher import QUEUE, Publisher
from .session import Session

__all__ = ["Outbox", "Rejected"]

_T = TypeVar("_T")
_RULES = Rules(back_off=0.2, longest_back_off=30.0)
#: Words for what a store says of a dead letter.
_REASONS = {EXPIRED: "expired before it could be sent"}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A dead letter of the outbox: a message that the server will never accept, and why."""

    id: str
    event: str
    data: Any
    to: str | list[str]
    key: str
    reason: str


class Outbox:
    """A durable queue of messages to publish; see `open` and `inside`.

        outbox = await chatq.Outbox.open("outbox.db", client, namespace="/caps")
        await outbox.emit("pickup", order, to="drivers")
        await outbox.flush(within=10)

    `emit` needs no connection. Connect with `await client.connect(url, retry=True, …)`, so that the
    client also waits for a server that is not running yet.

    It publishes one message after the other, or many in one batch, and goes on when the server has
    stored them. While a queue is full, or the server away, all later messages wait, too.
    """

    def __init__(
        self,
        store: SqliteStore | OutboxTable,
        connection: Session | Embedded,
        rules: Rules,
        *,
        on_error: Callable[[Exception], object] | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self._store, self._rules, self._clock = store, rules, steady(clock)
        random = random or Random()
        self._publisher = Publisher(store, connection, rules, on_error, self._clock, random)
        self._closing: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """The number of messages that the server has not confirmed; without the rejected ones."""
        return self._publisher.pending

    @classmethod
    async def open(
        cls,
        path: str | Path,
        client: socketio.AsyncClient | Queues,
        namespace: str = "/",
        rules: Rules | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> Self:
        """Open the outbox in the file `path`, which is created if it does not exist, and start to
        publish its messages.

        `client`: a `socketio.AsyncClient`, connected or not; the server is `python -m chatq serve`,
        or another whose queues are attached with `serve=True`. Or else the `Queues` of this
        process, without a network. `rules`: only `length`, `payload`, the back-off, and what is
        kept of the dead are used. `on_error`: called with each error of publishing, which is also
        logged. `clock`: gives the time in seconds since the epoch; `random`: the source of the
        jitter of the back-off.

        Raises `StoreError` if the file is another program's (or a hub's), of a newer version,
        damaged, or in use already; `TypeError` or `ValueError` for a wrong client, namespace or
        path.
        """
        rules = rules or _RULES
        _check_path(path)
        connection = _other_end(client, namespace)
        clock = steady(clock)
        limits: dict[str, Any] = {name: getattr(rules, name) for name in Limits._fields}
        store = await SqliteStore.open(path, kind="outbox", clock=clock, **limits)
        outbox = cls(store, connection, rules, on_error=on_error, clock=clock, random=random)
        try:
            stats = await store.stats(QUEUE)
        except BaseException:
            await store.close()
            raise
        count = outbox._publisher.count
        count(stats.ready + stats.leased + stats.delayed if stats else 0)
        store.mourn(lambda *_: count(-1))
        outbox._publisher.open()
        return outbox

    @classmethod
    async def inside(
        cls,
        path: str | Path,
        client: socketio.AsyncClient | Queues,
        namespace: str = "/",
        rules: Rules | None = None,
        *,
        look: float = 1.0,
        on_error: Callable[[Exception], object] | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> Self:
        """Open the outbox inside your own SQLite database `path`, and start to publish what your
        transactions have left there.

            async with await chatq.Outbox.inside("shop.db", queues) as outbox:
                with db:  # your own connection to shop.db, as it is
                    db.execute("INSERT INTO orders VALUES (?, ?)", (17, "pizza"))
                    chatq.emit_in_transaction(db, "pickup", {"order": 17}, to="drivers")

        The table `chatq_outbox` is created if it is not there; the database has to exist. Any
        thread, and any process, may emit into it; one that publishes is enough, more do no harm.
        Order is that of the commits. `look`: after how many seconds at most a commit is noticed; in
        the process of the outbox that takes some milliseconds, and `flush` looks at once. The other
        arguments are those of `open`; there is no limit of length.

        It writes to your database, so it is one more writer there: begin a transaction that reads
        before it writes with BEGIN IMMEDIATE. While another transaction has the database locked,
        the outbox waits, without an error. A driver with an SQLite of its own (not Python's
        sqlite3) has to be in another process than the outbox, as SQLite's documentation says of
        two copies of it. What is rejected stays in the table, until `retry`, or until you delete
        the row.

        Raises `StoreError` if there is no such database, or it cannot be used (nor for 5 seconds be
        written, if the table is not there yet); else as `open`.
        """
        rules = rules or _RULES
        _check_path(path)
        connection = _other_end(client, namespace)
        store = await OutboxTable.open(path, look)
        outbox = cls(store, connection, rules, on_error=on_error, clock=clock, random=random)
        publisher = outbox._publisher
        store.watch(publisher.count, lambda error: publisher.report("cannot look", error))
        try:
            await store.look()
        except BaseException:
            await store.close()
            raise
        publisher.open()
        return outbox

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def emit(
        self,
        event: str,
        data: Any = None,
        *,
        to: str | Sequence[str],
        key: str | None = None,
        ttl: float | None = None,
        delay: float | None = None,
    ) -> str:
        """Store a message for the queue `to`, or several, and return its key, once it is on disk.

        `key`: the idempotency key: the server stores the message once, however often it is
        published; random if not given. `ttl`: for how many seconds from now it may be delivered;
        `delay`: for how many it may not be yet.

        Raises `TypeError` or `ValueError` for a message that no server accepts, `QueueFull` if the
        outbox is full, `StoreError` if the disk fails. Then nothing was stored.
        """
        if self._closing is not None:
            raise RuntimeError("this outbox is closed: open it again")
        # Checked here, so that the caller gets the error.
        payload, now = self._rules.payload, self._clock()
        envelope = seal(event, data, to, key, ttl, delay, payload, now)
        message = NewMessage(event, envelope.body, (QUEUE,), None, envelope.expires)
        await self._counted(self._store.put((message,)), len)
        return envelope.key

    async def flush(self, within: float = 10.0) -> None:
        """Wait until nothing is pending: each message is stored by the server, or rejected.

        An outbox inside a database looks first for what was committed there. `within`: a deadline
        in seconds; then raises `TimeoutError`, which says what is pending, and why.
        """
        try:
            async with asyncio.timeout(within):
                if isinstance(self._store, OutboxTable):
                    await self._store.look()
                await self._publisher.empty.wait()
        except TimeoutError:
            problem = f"not all was sent within {within:g} s: {self._publisher.state()}"
            raise TimeoutError(problem) from None

    async def rejected(self, limit: int = 100) -> list[Rejected]:
        """Return the oldest rejected messages, at most `limit`.

        They are kept for `Rules.dead_memory`, and at most `Rules.dead_length` of them; inside a
        database of yours until you delete them.
        """
        return [_rejected(dead) for dead in await self._store.dead(QUEUE, limit)]

    async def retry(self, ids: Iterable[str] | None = None) -> int:
        """Publish rejected messages again: all, or those with these ids; return how many.

        They have the same keys, come before those that wait, and have no `ttl` any more.
        """
        return await self._counted(self._store.redrive(QUEUE, ids), int)

    async def close(self, within: float = 1.0) -> None:
        """Publish nothing more and close the file; pending messages stay there.

        `within`: for how many seconds to wait for the reply to a publish in flight. Closing twice
        is harmless.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(within))
        await asyncio.shield(self._closing)

    async def _close(self, within: float) -> None:
        await self._publisher.close(within)
        await self._store.close()

    async def _counted(self, adding: asyncio.Future[_T], how_many: Callable[[_T], int]) -> _T:
        """Wait for the store, and count what was added, even if the caller is cancelled."""

        def note(done: asyncio.Future[_T]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._publisher.count(how_many(done.result()))

        if not isinstance(self._store, OutboxTable):  # that one counts, since others add to it, too
            adding.add_done_callback(note)
        return await asyncio.shield(adding)


def _check_path(path: str | Path) -> None:
    if "://" in str(path):
        raise ValueError(f"an outbox takes a path, like outbox.db, not a URL like {path}")


def _other_end(client: socketio.AsyncClient | Queues, namespace: str) -> Session | Embedded:
    return Embedded(client) if isinstance(client, Queues) else Session(client, namespace)


def _rejected(dead: Dead) -> Rejected:
    reason = _REASONS.get(dead.reason, dead.reason)
    try:
        content = unseal(dead.body)
    except ValueError:  # that is what the reason says, too
        content = {"data": None, "to": "", "key": ""}
    return Rejected(dead.id, dead.event, content["data"], content["to"], content["key"], reason)
