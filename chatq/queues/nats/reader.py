"""A reader of a stream of NATS JetStream: every record, in order, and never past a gap.

Owns the consumer that is created for that, and created again. Must not know: what the records mean,
who writes them.

It is a pull consumer without acknowledgements: the reader itself keeps its position. So a consumer
that was lost, with its node or a connection, is created again at the next place. Records that were
removed before they were read are a gap ("hole"): that is reported, and reading ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ...waiting import give_way, pause_after
from ..store import StoreError
from .connection import PAUSE, SOON, Connection
from .reading_progress import Progress
from .stream import SECOND, StreamGone

__all__ = ["Reader"]

_log = logging.getLogger("chatq")

#: The records of one pull request; the server's heartbeat interval, the expiry of a pull request
#: and of an unused consumer, in seconds.
_BATCH = 1_000
_BATCH_BYTES = 8_000_000  # more at once, and the server cuts a slow reader off
#: What the server says when the next record is too many for the bytes of a pull request.
_PULL_FULL = ("Message Size Exceeds MaxBytes", "Batch Completed")
_HEARTBEAT = 0.5
_PULL_EXPIRES = 20.0
_CONSUMER_EXPIRES = 60.0
#: For how long it reads on before others have their turn, in seconds.
_TURN = 0.005
#: The longest pause after a failure, in seconds.
_LONGEST_PAUSE = 0.5


class Reader:
    """Reads a stream after one place, creating its consumer again whenever it is lost.

    `record(place, kind, payload)` is called with each record, `hole` if some are missing; then
    reading ends. `look` raises `StreamGone` if the stream is not the one it was: reading ends, too.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        after: int,
        record: Callable[[int, str, bytes], None],
        hole: Callable[[], None],
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection, self._stream, self._last = connection, stream, after
        self._record, self._hole, self._look = record, hole, look
        self._consumer = ""
        self._read = 0  # by this consumer
        self._requested = 0  # how many more records it may send
        self._last_seen = self._gave_way = 0.0
        self._caught_up = asyncio.Event()  # all records that existed at the start are read
        self._lost = asyncio.Event()  # a new consumer is needed
        self._ended = False
        self._progress = Progress("records", 0)
        self._subscription: Any = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Start reading; return when all records that exist now have been read."""
        self._lost.set()
        self._task = asyncio.create_task(self._run())
        patience = self._connection.patience
        while not self._caught_up.is_set():
            before = self._last
            try:
                async with asyncio.timeout(patience):
                    await self._caught_up.wait()
            except TimeoutError:
                if self._last == before:  # no progress; reading a long stream takes longer
                    await self.close()
                    raise self._connection.unconfirmed("", patience) from None

    def again(self) -> None:
        """Create the consumer again: the connection is a new one."""
        self._lost.set()

    async def close(self) -> None:
        """End reading; closing twice is harmless."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._unsubscribe()

    async def _run(self) -> None:
        logged, failures = "", 0
        while not self._ended and not self._connection.closing.is_set():
            await self._lost.wait()
            self._lost.clear()
            try:
                if self._consumer:  # it is lost, and perhaps the stream is
                    await self._look()
                await self._create_consumer()
                logged, failures = "", 0
            except StreamGone:
                self._ended = True
                self._caught_up.set()
            except (StoreError, TimeoutError, OSError, self._connection.error) as error:
                if str(error) != logged:
                    logged = str(error)
                    _log.warning("cannot read from NATS for now: %s", error)
                self._lost.set()
                failures += 1
                await self._connection.pause(pause_after(failures, PAUSE, _LONGEST_PAUSE))

    async def _create_consumer(self) -> None:
        """Create a consumer at the next place, and pull from it."""
        await self._unsubscribe()
        # Without a name: a retry gets another consumer, on another node. With a name, the retry
        # would wait for a consumer on a node that has died.
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._last + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "num_replicas": 1,
            "mem_storage": True,
            "inactive_threshold": int(_CONSUMER_EXPIRES * SECOND),
        }
        body = {"stream_name": self._stream, "config": config}
        answer = await self._connection.request(
            f"$JS.API.CONSUMER.CREATE.{self._stream}",
            json.dumps(body).encode(),
            self._connection.patience,
            SOON,
        )
        if "error" in answer:
            why = answer["error"].get("description")
            raise StoreError(f"NATS cannot read the stream {self._stream!r}: {why}")
        self._consumer = answer["name"]
        self._read = 0
        self._inbox = self._connection.client.new_inbox()
        # Without limits here: the pull requests are limited, see `_pull`.
        self._subscription = await self._connection.client.subscribe(
            self._inbox, cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._requested = 0
        pending = answer.get("num_pending", 0)
        self._progress = Progress("records", pending)
        await self._pull()
        if pending == 0:
            self._caught_up.set()

    async def _unsubscribe(self) -> None:
        if self._subscription is not None:
            old, self._subscription = self._subscription, None
            try:
                await old.unsubscribe()
            except self._connection.error:
                pass

    async def _pull(self) -> None:
        self._requested = _BATCH
        self._watch_heartbeat()
        request = {
            "batch": _BATCH,
            "max_bytes": max(_BATCH_BYTES, 2 * self._connection.client.max_payload),
            "expires": int(_PULL_EXPIRES * SECOND),
            "idle_heartbeat": int(_HEARTBEAT * SECOND),
        }
        await self._connection.client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
            json.dumps(request).encode(),
            reply=self._inbox,
        )

    def _watch_heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        self._last_seen = loop.time()
        if self._timer is None and not self._ended:
            self._timer = loop.call_later(3 * _HEARTBEAT, self._check_heartbeat)

    def _check_heartbeat(self) -> None:
        """Give the consumer up as lost if it has been silent for three heartbeats."""
        loop = asyncio.get_running_loop()
        silent = loop.time() - self._last_seen
        self._timer = None
        if silent >= 3 * _HEARTBEAT:
            self._lost.set()
            self._last_seen = loop.time()
            silent = 0.0
        if not self._ended:
            self._timer = loop.call_later(3 * _HEARTBEAT - silent, self._check_heartbeat)

    async def _receive(self, message: Any) -> None:
        if self._ended:
            return
        if not message.reply or not message.reply.startswith("$JS.ACK."):
            await self._receive_status(message)
            return
        self._last_seen = asyncio.get_running_loop().time()
        parts = message.reply.split(".")
        base = 2 if len(parts) == 9 else 4  # with a domain and an account, in newer replies
        if parts[base + 1] != self._consumer:
            return  # of an earlier consumer
        place, number, pending = int(parts[base + 3]), int(parts[base + 4]), int(parts[base + 6])
        self._read += 1
        self._requested -= 1
        if number != self._read:
            self._lost.set()  # a record was lost on the way
            return
        if place > self._last:
            if place != self._last + 1:
                self._ended = True
                self._caught_up.set()
                self._hole()
                return
            self._last = place
            self._record(place, message.subject[len(self._stream) + 1 :], message.data)
        if not self._caught_up.is_set():
            self._progress.reached(self._read)
        if pending == 0:
            self._caught_up.set()
        if self._requested == 0:
            await self._pull()
        loop = asyncio.get_running_loop()
        if loop.time() - self._gave_way > _TURN:  # much that is there at once is not read at once
            await give_way()
            self._gave_way = loop.time()

    async def _receive_status(self, message: Any) -> None:
        status = (message.headers or {}).get("Status", "")
        if message.subject != self._inbox:
            return
        self._last_seen = asyncio.get_running_loop().time()
        told = (message.headers or {}).get("Description", "")
        if status in ("404", "408") or (status == "409" and told in _PULL_FULL):  # it has ended
            await self._pull()
        elif status != "100":
            self._lost.set()
