"""Reads a stream of NATS JetStream: every record, in order, and never past a hole.

Owns the consumer that is made for that, and made again. Must not know: what the records mean, who
writes them.

It is a pull consumer that acknowledges nothing: what has been read is the reader's own affair. So a
consumer that was lost, with its node or a connection, is made again at the next place. Records that
were removed before they were read are a hole: that is told, instead of what comes after.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from .nats_connection import PAUSE, SOON, Connection
from .store import StoreError

__all__ = ["SECOND", "Reader"]

_log = logging.getLogger("chatq")

SECOND = 1_000_000_000  # nanoseconds, JetStream's unit
#: How many records are asked for at once, how often the server says that it is there, and for how
#: long a question and a reader that asks nothing are kept, in seconds.
_BATCH = 1_000
_HEARTBEAT = 0.5
_QUESTION = 20.0
_FORGOTTEN = 60.0
#: The longest pause after a failure, in seconds.
_LONGEST_PAUSE = 0.5


class Reader:
    """Reads a stream after one place, whatever becomes of the consumer that it has there.

    `record(place, kind, payload)` gets each record, `hole` is called where some are missing; then
    nothing more comes.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        after: int,
        record: Callable[[int, str, bytes], None],
        hole: Callable[[], None],
    ) -> None:
        self._connection, self._stream, self._last = connection, stream, after
        self._record, self._hole = record, hole
        self._consumer = ""
        self._read = 0  # by this consumer
        self._asked = 0  # how many more it may send
        self._heard = 0.0
        self._there = asyncio.Event()  # all that was there has been given
        self._lost = asyncio.Event()  # a new consumer is needed
        self._ended = False
        self._subscription: Any = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Return when all that is there now has been given."""
        self._lost.set()
        self._task = asyncio.create_task(self._run())
        patience = self._connection.patience
        while not self._there.is_set():
            before = self._last
            try:
                async with asyncio.timeout(patience):
                    await self._there.wait()
            except TimeoutError:
                if self._last == before:  # much to read takes its time
                    await self.close()
                    raise self._connection.unconfirmed("", patience) from None

    def again(self) -> None:
        """The connection is another one: ask anew."""
        self._lost.set()

    async def close(self) -> None:
        """Read no more; closing twice is harmless."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._unsubscribe()

    async def _run(self) -> None:
        told, pause = "", PAUSE
        while not self._ended:
            await self._lost.wait()
            self._lost.clear()
            try:
                await self._begin()
                told, pause = "", PAUSE
            except (StoreError, TimeoutError, OSError, self._connection.error) as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("cannot read from NATS for now: %s", error)
                self._lost.set()
                await self._connection.pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _begin(self) -> None:
        """Make a consumer at the next place, and ask it."""
        await self._unsubscribe()
        # Without a name: whoever asks again gets another one, on another node. By its name, one
        # would be waited for that was made on a node which has died since.
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._last + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "num_replicas": 1,
            "mem_storage": True,
            "inactive_threshold": int(_FORGOTTEN * SECOND),
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
        subscription = await self._connection.client.subscribe(self._inbox, cb=self._came)
        subscription._pending_msgs_limit = subscription._pending_bytes_limit = 0
        self._subscription = subscription
        self._asked = 0
        await self._ask()
        if answer.get("num_pending", 0) == 0:
            self._there.set()

    async def _unsubscribe(self) -> None:
        if self._subscription is not None:
            old, self._subscription = self._subscription, None
            try:
                await old.unsubscribe()
            except self._connection.error:
                pass

    async def _ask(self) -> None:
        self._asked = _BATCH
        self._now_heard()
        question = {
            "batch": _BATCH,
            "expires": int(_QUESTION * SECOND),
            "idle_heartbeat": int(_HEARTBEAT * SECOND),
        }
        await self._connection.client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
            json.dumps(question).encode(),
            reply=self._inbox,
        )

    def _now_heard(self) -> None:
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        if self._timer is None and not self._ended:
            self._timer = loop.call_later(3 * _HEARTBEAT, self._look)

    def _look(self) -> None:
        """Has the consumer said anything of late?"""
        loop = asyncio.get_running_loop()
        silent = loop.time() - self._heard
        self._timer = None
        if silent >= 3 * _HEARTBEAT:
            self._lost.set()
            self._heard = loop.time()
            silent = 0.0
        if not self._ended:
            self._timer = loop.call_later(3 * _HEARTBEAT - silent, self._look)

    async def _came(self, message: Any) -> None:
        if self._ended:
            return
        if not message.reply or not message.reply.startswith("$JS.ACK."):
            await self._said(message)
            return
        self._heard = asyncio.get_running_loop().time()
        parts = message.reply.split(".")
        base = 2 if len(parts) == 9 else 4  # with a domain and an account, in newer replies
        if parts[base + 1] != self._consumer:
            return  # of one that was given up
        place, number, pending = int(parts[base + 3]), int(parts[base + 4]), int(parts[base + 6])
        self._read += 1
        self._asked -= 1
        if number != self._read:
            self._lost.set()  # one was lost on the way
            return
        if place > self._last:
            if place != self._last + 1:
                self._ended = True
                self._there.set()
                self._hole()
                return
            self._last = place
            self._record(place, message.subject[len(self._stream) + 1 :], message.data)
        if pending == 0:
            self._there.set()
        if self._asked == 0:
            await self._ask()

    async def _said(self, message: Any) -> None:
        status = (message.headers or {}).get("Status", "")
        if message.subject != self._inbox:
            return
        self._heard = asyncio.get_running_loop().time()
        if status in ("404", "408"):  # the question has been open for as long as it may
            await self._ask()
        elif status != "100":
            self._lost.set()
