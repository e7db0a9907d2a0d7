"""Ordinary emits, rooms and namespaces across several Socket.IO servers, by way of NATS.

Owns how what one server emits gets to the others: never lost in silence. Must not know: what is
emitted, rooms, queues.

    sio = socketio.AsyncServer(client_manager=chatq.NatsManager("nats://host1,host2,host3"))

It is a client manager of python-socketio like `AsyncRedisManager`, and does what that does. But
where that one publishes and forgets, this one writes to a stream:
- An `emit` returns when a quorum of the nodes has it. While NATS is away it waits, for as long as
  `patience` says, and then raises; clients of this very server have been sent it by then.
- A server that was cut off reads on where it was, so it misses nothing within `keeps` seconds; if
  it was away for longer, it says so in the log.

What it does not do is what a room does not do: a client that is away misses what is emitted. That
is what queues are for.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from socketio.async_pubsub_manager import (  # type: ignore[import-untyped]
    AsyncPubSubManager,
)

from ..queues.nats_address import Address
from ..queues.nats_log import NatsLog
from ..queues.store import StoreError
from ..turn import set_within

__all__ = ["NatsManager"]

_log = logging.getLogger("chatq.hub")

#: How much goes together into one record, in bytes, and how long to wait after a failure, in
#: seconds; doubled after each, up to the longest.
_RECORD = 400_000
_AGAIN = 0.25
_LONGEST_AGAIN = 5.0
#: For how long one attempt may take if an emit waits for as long as it takes, in seconds.
_ATTEMPT = 10.0


class NatsManager(AsyncPubSubManager):  # type: ignore[misc]
    """A client manager for the servers that share the NATS servers at `url`.

    `url`: as for `Queues.open`, but for `patience`; `channel`: only servers with the same one hear
    of each other; `patience`: for how many seconds an emit waits for NATS before it raises
    `StoreError` (what it asked may then still be done); None: for as long as it takes. `keeps`:
    for how many seconds a server may be cut off and miss nothing; the same for all. `write_only`:
    for a process that only emits.
    """

    name = "chatq-nats"

    def __init__(
        self,
        url: str,
        channel: str = "emits",
        *,
        patience: float | None = 15.0,
        keeps: float = 300.0,
        write_only: bool = False,
        logger: Any = None,
        json: Any = None,
    ) -> None:
        if patience is not None and not patience > 0:
            raise ValueError(f"patience is a number of seconds above 0, or None, not {patience!r}")
        super().__init__(channel=channel, write_only=write_only, logger=logger, json=json)
        address = Address.parse(url)
        self._address = address.beside(channel)
        self._patience, self._keeps = patience, keeps
        self._log: NatsLog | None = None
        self._opening = asyncio.Lock()
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._number = 0
        self._heard: dict[str, int] = {}  # the number of the last record of each server
        self._listening = asyncio.Event()
        self._closing = asyncio.Event()

    async def listening(self) -> None:
        """Return when this server hears what others emit from now on.

        Clients that connect before that may miss something.
        """
        await self._listening.wait()

    async def close(self) -> None:
        """Let go of NATS; closing twice is harmless."""
        self._closing.set()
        for task in (getattr(self, "thread", None), self._writing):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        for _, done in self._waiting:
            if not done.done():
                done.set_exception(StoreError("the client manager is closed: this was not emitted"))
        if self._log is not None:
            await self._log.close()

    # -- writing ----------------------------------------------------------------------------------

    async def _publish(self, data: dict[str, Any]) -> None:
        """Write this for the other servers; return when a quorum of the nodes has it."""
        if self._closing.is_set():
            raise StoreError("the client manager is closed: this was not emitted")
        text = json.dumps(data, separators=(",", ":")).encode("ascii")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        """Write all that waits, many in one record, in their order."""
        while self._waiting:
            size = 0
            some: list[tuple[bytes, asyncio.Future[None]]] = []
            while self._waiting and (not some or size + len(self._waiting[0][0]) < _RECORD):
                some.append(self._waiting.pop(0))
                size += len(some[-1][0])
            error: Exception | None = None
            try:
                await self._append([text for text, _ in some])
            except Exception as problem:
                error = problem
            except asyncio.CancelledError:
                error = StoreError("the client manager is closed: this may not have been emitted")
                raise
            finally:
                for _, done in some:
                    if done.done():
                        continue
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)

    async def _append(self, texts: list[bytes]) -> None:
        self._number += 1
        head = f'["{self.host_id}",{self._number},['.encode("ascii")
        record = b"".join([head, b",".join(texts), b"]]"])
        while True:
            try:
                log = await self._opened()
                if len(record) > log.largest:
                    raise ValueError(
                        f"{len(record)} bytes are more than these servers take at once: raise "
                        f"their max_payload ({log.largest}); no other server hears of this"
                    )
                await log.append("emit", record, self._patience or _ATTEMPT)
            except StoreError as problem:
                if self._patience is not None:
                    raise
                _log.warning("an emit waits for NATS: %s", problem)
                await set_within(self._closing, _AGAIN)
            else:
                return

    async def _opened(self) -> NatsLog:
        async with self._opening:
            if self._log is None:
                self._log = await NatsLog.open(
                    self._address,
                    patience=self._patience or _ATTEMPT,
                    holds="emits",
                    keeps=self._keeps,
                )
            return self._log

    # -- reading ----------------------------------------------------------------------------------

    async def _listen(self) -> AsyncIterator[dict[str, Any]]:
        """Give what other servers have written, one after the other."""
        come: asyncio.Queue[bytes | None] = asyncio.Queue()
        again = _AGAIN
        after = None
        while True:
            try:
                log = await self._opened()
                after = log.end if after is None else after
                await log.read(
                    after,
                    lambda place, kind, data: come.put_nowait(data),
                    lambda: come.put_nowait(None),
                )
                again = _AGAIN
            except StoreError as problem:
                _log.warning("nothing is heard of other servers for now: %s", problem)
                await set_within(self._closing, again)
                again = min(2 * again, _LONGEST_AGAIN)
                continue
            self._listening.set()
            while (data := await come.get()) is not None:
                for message in self._read(data):
                    yield message
            _log.error(
                "this server was cut off from NATS for longer than %g s, and missed what others "
                "have emitted meanwhile",
                self._keeps,
            )
            after = await log.newest()

    def _read(self, data: bytes) -> list[dict[str, Any]]:
        host, number, messages = json.loads(data)
        if host == self.host_id or number <= self._heard.get(host, 0):
            return []  # what is this server's own is done already, as what came twice
        self._heard[host] = number
        return list(messages)
