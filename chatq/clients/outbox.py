"""A producer's outbox: messages are stored on the producer's own disk, then published, in order.

Owns the way of a message from a producer's disk to the server's queues. Must not know: how messages
are kept on either side, sockets.

An outbox is a queue with one consumer, so it is a store of its own. Each message has an idempotency
key, kept with it; so a message that is published twice, because a reply got lost or either side was
killed, is stored once by the server. (A server remembers keys for a time: `key_memory` of its
rules, a day by default. A retry after that may leave two.)
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar

import socketio  # type: ignore[import-untyped]

from ..queues.message import decode, encode, new_message
from ..queues.rules import EXPIRED, Rules, back_off
from ..queues.sqlite_store import SqliteStore
from ..queues.steady_clock import steady
from ..queues.store import Attempt, Limits, NewMessage, StoreError
from ..waiting import detached, set_within
from .session import NO_ANSWER, Refused, Session

__all__ = ["Outbox", "Rejected"]

_log = logging.getLogger("chatq")

_T = TypeVar("_T")
_QUEUE = "outbox"
_REPLY = 10.0  # seconds for the server's reply to a publish
_MOST, _LARGEST = 100, 256_000  # messages and bytes in one publish
_ENVELOPE = 10_000  # bytes that names and keys may add to a message's data
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


@dataclass(frozen=True, slots=True)
class _Message:
    """A claimed message as it is published, and its receipt from the outbox's store; when it
    expires, and before when it is not to be delivered, in seconds since the epoch."""

    receipt: str
    size: int
    alone: bool
    published: dict[str, Any]
    expires: float | None
    due: float


class Outbox:
    """A durable queue of messages to publish; see `open`.

        outbox = await chatq.Outbox.open("outbox.db", client, namespace="/caps")
        await outbox.emit("pickup", order, to="drivers")
        await outbox.flush(within=10)

    `emit` needs no connection. Connect with `await client.connect(url, retry=True, …)`, so that the
    client also waits for a server that is not running yet.

    It publishes one message after the other, or many in one batch, and goes on when the server has
    stored them. While a queue is full, or the server away, all later messages wait, too.
    """

    pending: int

    def __init__(
        self,
        store: SqliteStore,
        connection: Session,
        rules: Rules,
        *,
        on_error: Callable[[Exception], object] | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        #: The number of messages that the server has not confirmed; without the rejected ones.
        self.pending = 0
        self._store, self._clock = store, steady(clock)
        self._rules = replace(rules, attempts=2**62)  # publishing is retried without a limit
        self._on_error, self._random = on_error, random or Random()
        self._connection = connection
        self._more, self._empty = asyncio.Event(), asyncio.Event()
        self._batch: list[_Message] = []  # claimed and not confirmed, in order
        self._unbatched_sid: str | None = None  # of a connection whose server knows no batches
        self._failures = 0
        self._ended = 0  # connections that have ended during a publish since the last success
        self._stop = asyncio.Event()
        self._last_error: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: str | Path,
        client: socketio.AsyncClient,
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
        or another whose queues are attached with `serve=True`. `rules`: only `length`, `payload`,
        the back-off, and what is kept of the dead are used. `on_error`: called with each error of
        publishing, which is also logged. `clock`: gives the time in seconds since the epoch;
        `random`: the source of the jitter of the back-off.

        Raises `StoreError` if the file is another program's (or a hub's), of a newer version,
        damaged, or in use already; `TypeError` or `ValueError` for a wrong client, namespace or
        path.
        """
        rules = rules or _RULES
        if "://" in str(path):
            raise ValueError(f"an outbox takes a path, like outbox.db, not a URL like {path}")
        connection = Session(client, namespace)
        clock = steady(clock)
        limits: dict[str, Any] = {name: getattr(rules, name) for name in Limits._fields}
        store = await SqliteStore.open(path, kind="outbox", clock=clock, **limits)
        outbox = cls(store, connection, rules, on_error=on_error, clock=clock, random=random)
        try:
            stats = await store.stats(_QUEUE)
        except BaseException:
            await store.close()
            raise
        outbox._count(stats.ready + stats.leased + stats.delayed if stats else 0)
        store.mourn(lambda *_: outbox._count(-1))
        outbox._connection.open()
        outbox._task = detached(outbox._run())
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
        key = uuid.uuid4().hex if key is None else key
        # Checked here, so that the caller gets the error.
        longest, now = self._rules.payload, self._clock()
        checked = new_message(event, data, to, key, ttl, longest, now, delay)
        envelope = {"to": to if isinstance(to, str) else list(to), "key": key, "data": data}
        if checked.due is not None:
            envelope["due"] = checked.due
        body = encode(envelope, self._rules.payload + _ENVELOPE)
        message = NewMessage(event, body, (_QUEUE,), None, checked.expires)
        await self._counted(self._store.put((message,)), len)
        return key

    async def flush(self, within: float = 10.0) -> None:
        """Wait until nothing is pending: each message is stored by the server, or rejected.

        `within`: a deadline in seconds; then raises `TimeoutError`, which says what is pending, and
        why.
        """
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            raise TimeoutError(
                f"not all was sent within {within:g} s: pending {self.pending}{self._first()}; "
                f"{self._why()}"
            ) from None

    async def rejected(self, limit: int = 100) -> list[Rejected]:
        """Return the oldest rejected messages, at most `limit`.

        They are kept for `Rules.dead_memory`, and at most `Rules.dead_length` of them.
        """
        return [
            Rejected(d.id, d.event, e["data"], e["to"], e["key"], _REASONS.get(d.reason, d.reason))
            for d in await self._store.dead(_QUEUE, limit)
            for e in [decode(d.body)]
        ]

    async def retry(self, ids: Iterable[str] | None = None) -> int:
        """Publish rejected messages again: all, or those with these ids; return how many.

        They have the same keys, come before those that wait, and have no `ttl` any more.
        """
        return await self._counted(self._store.redrive(_QUEUE, ids), int)

    async def close(self, within: float = 1.0) -> None:
        """Publish nothing more and close the file; pending messages stay there.

        `within`: for how many seconds to wait for the reply to a publish in flight. Closing twice
        is harmless.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(within))
        await asyncio.shield(self._closing)

    async def _close(self, within: float) -> None:
        self._more.set()
        self._stop.set()
        if self._task is not None:
            if self._connection.sid is not None:
                await asyncio.wait({self._task}, timeout=within)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._connection.close()
        await self._store.close()

    # -- publishing -------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                while self._closing is None and not self._batch:
                    self._more.clear()
                    await self._fill()
                    if not self._batch and self._closing is None:
                        await self._more.wait()
                if self._closing is not None:
                    return
                await self._connection.connected()
                if len(self._batch) < min(self.pending, _MOST):
                    await self._fill()
                await self._publish()
                self._failures, self._ended, self._last_error = 0, 0, None
            except ConnectionError as error:
                self._last_error = error  # try on the next connection
                self._ended += 1
                if self._ended > 1:
                    # Perhaps the message ends them: then slowly, and one by one.
                    self._report("loses its connection again while it sends", error)
                    wait = back_off(self._ended - 1, self._rules, self._random)
                    await set_within(self._stop, wait or 0.0)
            except Exception as error:
                self._last_error = error
                self._report("has not sent a message yet", error)
                self._failures += 1
                wait = back_off(self._failures, self._rules, self._random)
                await self._connection.pause(wait or 0.0)

    async def _fill(self) -> None:
        """Claim the next messages."""
        # Only this process has the file, so the lease need not end.
        claimed = await self._store.claim(_QUEUE, _MOST - len(self._batch), inf, in_order=False)
        self._batch += [self._message(attempt) for attempt in claimed.attempts]

    def _message(self, attempt: Attempt) -> _Message:
        envelope = decode(attempt.body)
        published = {
            "queue": envelope["to"],
            "event": attempt.event,
            "data": envelope["data"],
            "key": envelope["key"],
        }
        # Bytes are sent as attachments, and a server limits those of one event.
        alone = isinstance(attempt.body, bytes)
        due = envelope.get("due", 0.0)
        return _Message(attempt.receipt, len(attempt.body), alone, published, attempt.expires, due)

    async def _count_from_now(self) -> None:
        """Set `ttl` and `delay` for a publish now, after any wait; reject what has expired."""
        now = self._clock()
        for message in [*self._batch]:
            if message.expires is not None and message.expires <= now:
                await self._reject(message.receipt, EXPIRED)
                self._batch.remove(message)
            elif message.expires is not None:
                message.published["ttl"] = message.expires - now
            message.published.pop("delay", None)
            if message.due > now:
                message.published["delay"] = message.due - now

    async def _publish(self) -> None:
        """Publish the oldest messages, as a batch if possible."""
        await self._count_from_now()
        if not self._batch:
            return
        messages: list[_Message] = []
        size = 0
        for message in self._batch:
            size += message.size
            if messages and (size > _LARGEST or message.alone or messages[0].alone):
                break
            messages.append(message)
        one = self._ended > 1 or self._connection.sid == self._unbatched_sid
        if len(messages) == 1 or one:
            await self._publish_first()
            return
        request = {"messages": [message.published for message in messages]}
        try:
            reply = await self._connection.call("publish", request, _REPLY)
            if len(reply.get("ids") or ()) != len(messages):
                raise Refused("publish", NO_ANSWER, "it does not seem to know the batch form")
        except Refused as error:
            # A batch is all or nothing: one message is to blame, or the server knows no batches.
            sid, refused = self._connection.sid, False
            for _ in messages:
                refused = not await self._publish_first() or refused
            if (error.for_good or error.code == NO_ANSWER) and not refused:
                self._unbatched_sid = sid
            return
        await self._stored(messages)

    async def _publish_first(self) -> bool:
        """Publish the oldest message alone; return False if it was rejected."""
        message = self._batch[0]
        try:
            reply = await self._connection.call("publish", message.published, _REPLY)
            if not (reply.get("id") or reply.get("ids")):
                raise Refused("publish", NO_ANSWER, "it does not say that it has stored it")
        except Refused as error:
            if not error.for_good:
                raise
            self._report("puts a message aside", error)
            await self._reject(message.receipt, f"{error.code}: {error}")
            del self._batch[0]
            return False
        await self._stored([message])
        return True

    async def _stored(self, messages: list[_Message]) -> None:
        """Delete messages that the server has stored."""
        await self._until_done(lambda: self._store.ack([message.receipt for message in messages]))
        del self._batch[: len(messages)]
        self._count(-len(messages))

    async def _reject(self, receipt: str, reason: str) -> None:
        await self._until_done(lambda: self._store.bury(receipt, reason))
        self._count(-1)

    async def _until_done(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Retry a change of the store until it succeeds."""
        while True:
            try:
                return await work()
            except StoreError as error:
                self._last_error = error
                self._report("cannot note what became of a message", error)
                await self._connection.pause(self._rules.longest_back_off)

    async def _counted(self, adding: asyncio.Future[_T], how_many: Callable[[_T], int]) -> _T:
        """Wait for the store, and count what was added, even if the caller is cancelled."""

        def note(done: asyncio.Future[_T]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._count(how_many(done.result()))
                self._more.set()

        adding.add_done_callback(note)
        return await asyncio.shield(adding)

    def _count(self, more: int) -> None:
        self.pending += more
        if self.pending:
            self._empty.clear()
        else:
            self._empty.set()

    def _first(self) -> str:
        if not self._batch:
            return ""
        first = self._batch[0].published
        return f", the first is {first['event']!r} to {first['queue']!r} (key {first['key']})"

    def _why(self) -> str:
        if self._connection.sid is None:
            return f"the client is not connected to {self._connection.namespace}"
        return f"last met: {self._last_error}" if self._last_error else "no answer yet"

    def _report(self, what: str, error: Exception) -> None:
        _log.error("the outbox %s %s: %s", self._store.path, what, error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _log.exception("on_error of the outbox %s failed", self._store.path)
