"""The sending half of an outbox: what its store holds is published, in order, until it is answered.

Owns batches, refusals, back-off, and the count of what is pending. Must not know: how messages are
kept on either side, sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Any, TypeVar

from ..queues.rules import EXPIRED, Rules, back_off
from ..queues.sqlite_store import SqliteStore
from ..queues.store import Attempt, StoreError
from ..waiting import detached, set_within
from .embedded import Embedded
from .envelope import unseal
from .outbox_table import OutboxTable
from .session import NO_ANSWER, Refused, Session

__all__ = ["QUEUE", "Publisher"]

_log = logging.getLogger("chatq")

_T = TypeVar("_T")
#: The name of the one queue of an outbox's store.
QUEUE = "outbox"
_REPLY = 10.0  # seconds for the server's reply to a publish
_MOST, _LARGEST = 100, 256_000  # messages and bytes in one publish


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


class Publisher:
    """Publishes what is in `store` by `connection`, from `open` to `close`; see `Outbox`."""

    def __init__(
        self,
        store: SqliteStore | OutboxTable,
        connection: Session | Embedded,
        rules: Rules,
        on_error: Callable[[Exception], object] | None,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        #: The number of messages that the server has not confirmed; without the rejected ones.
        self.pending = 0
        #: Set while nothing is pending.
        self.empty = asyncio.Event()
        self.empty.set()
        self._store, self._connection, self._clock = store, connection, clock
        self._rules = replace(rules, attempts=2**62)  # publishing is retried without a limit
        self._on_error, self._random = on_error, random
        self._more, self._stop = asyncio.Event(), asyncio.Event()
        self._batch: list[_Message] = []  # claimed and not confirmed, in order
        self._unbatched_sid: str | None = None  # of a connection whose server knows no batches
        self._failures = 0
        self._ended = 0  # connections that have ended during a publish since the last success
        self._last_error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start."""
        if isinstance(self._connection, Session):
            self._connection.ended = self._given_up
        self._connection.open()
        self._task = detached(self._run())

    async def close(self, within: float) -> None:
        """Publish nothing more, after at most `within` seconds for the reply to what is out."""
        self._stop.set()
        self._more.set()
        if self._task is not None:
            if self._connection.sid is not None:
                await asyncio.wait({self._task}, timeout=within)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._connection.close()

    def count(self, more: int) -> None:
        """Note that so many more are pending, or fewer; what there is, is published."""
        self.pending += more
        if self.pending:
            self.empty.clear()
            self._more.set()
        else:
            self.empty.set()

    def state(self) -> str:
        """Return what is pending, and why, in words."""
        first = ""
        if self._batch:
            message = self._batch[0].published
            first = (
                f", the first is {message['event']!r} to {message['queue']!r} "
                f"(key {message['key']})"
            )
        why = f"last met: {self._last_error}" if self._last_error else "no answer yet"
        if self._connection.sid is None:
            why = f"the client is not connected to {self._connection.namespace}"
            if trouble := self._connection.trouble:
                why += f" ({trouble})"
        return f"pending {self.pending}{first}; {why}"

    def report(self, what: str, error: Exception) -> None:
        """Log an error, and tell `on_error`."""
        _log.error("the outbox %s %s: %s", self._store.path, what, error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _log.exception("on_error of the outbox %s failed", self._store.path)

    def _given_up(self) -> None:
        if not self._stop.is_set():
            error = ConnectionError("the client does not connect again by itself: connect it")
            self.report("sends nothing", error)

    async def _run(self) -> None:
        while True:
            try:
                while not self._stop.is_set() and not self._batch:
                    self._more.clear()
                    await self._fill()
                    if not self._batch and not self._stop.is_set():
                        await self._more.wait()
                if self._stop.is_set():
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
                    self.report("loses its connection again while it sends", error)
                    wait = back_off(self._ended - 1, self._rules, self._random)
                    await set_within(self._stop, wait or 0.0)
            except Exception as error:
                self._last_error = error
                self.report("has not sent a message yet", error)
                self._failures += 1
                wait = back_off(self._failures, self._rules, self._random)
                await self._connection.pause(wait or 0.0)

    async def _fill(self) -> None:
        """Claim the next messages."""
        # No other process has an outbox's own file, so the lease need not end.
        claimed = await self._store.claim(QUEUE, _MOST - len(self._batch), inf, in_order=False)
        for attempt in claimed.attempts:
            try:
                self._batch.append(_published(attempt))
            except Exception as error:  # whatever is wrong with it, the others go on
                self.report("puts a message aside", error)
                await self._reject(attempt.receipt, f"malformed: {error}")

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
            self.report("puts a message aside", error)
            await self._reject(message.receipt, f"{error.code}: {error}")
            del self._batch[0]
            return False
        await self._stored([message])
        return True

    async def _stored(self, messages: list[_Message]) -> None:
        """Delete messages that the server has stored."""
        await self._until_done(lambda: self._store.ack([message.receipt for message in messages]))
        del self._batch[: len(messages)]
        self.count(-len(messages))

    async def _reject(self, receipt: str, reason: str) -> None:
        await self._until_done(lambda: self._store.bury(receipt, reason))
        self.count(-1)

    async def _until_done(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Retry a change of the store until it succeeds."""
        while True:
            try:
                return await work()
            except StoreError as error:
                self._last_error = error
                self.report("cannot note what became of a message", error)
                await self._connection.pause(self._rules.longest_back_off)


def _published(attempt: Attempt) -> _Message:
    content = unseal(attempt.body)
    published = {
        "queue": content["to"],
        "event": attempt.event,
        "data": content["data"],
        "key": content["key"],
    }
    # Bytes are sent as attachments, and a server limits those of one event.
    alone = isinstance(attempt.body, bytes)
    size, expires, due = len(attempt.body), attempt.expires, content["due"]
    return _Message(attempt.receipt, size, alone, published, expires, due)
