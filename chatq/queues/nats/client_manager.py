"""A client manager for ordinary emits, rooms and namespaces across Socket.IO servers, on NATS.

Owns the way of an emit from one server to the others: it is never lost in silence. Must not know:
what is emitted, rooms, queues.

    sio = socketio.AsyncServer(client_manager=chatq.NatsManager("nats://host1,host2,host3"))

It is a client manager of python-socketio like `AsyncRedisManager`, and does the same. But where
that one publishes and forgets, this one writes to a stream:
- An `emit` returns when a quorum of the nodes has it. While NATS is unreachable it waits for
  `patience` seconds, and then raises; clients of this very server have been sent it by then.
- A server that was cut off resumes reading where it was, so it misses nothing within `keeps`
  seconds; if it was away for longer, it logs an error; so it does if somebody purges, deletes or
  replaces the stream, and goes on in a new one.

As with rooms, a client that is away misses what is emitted. That is what queues are for.
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

from ...waiting import Tasks, pause_after, set_within
from ..store import StoreError
from .address import Address
from .log import NatsLog
from .stream import StreamGone

__all__ = ["NatsManager"]

_log = logging.getLogger("chatq.hub")

#: The largest record, in bytes, and the back-off after a failure, in seconds; doubled after each,
#: up to the longest.
_RECORD = 400_000
_BACK_OFF = 0.25
_LONGEST_BACK_OFF = 5.0
#: The time-out of one attempt if `patience` is None, in seconds.
_ATTEMPT = 10.0


class NatsManager(AsyncPubSubManager):  # type: ignore[misc]
    """A client manager for the servers that share the NATS servers at `url`.

    `url`: as for `Queues.open`, but for `patience`; `channel`: only servers with the same one
    exchange emits; `patience`: for how many seconds an emit waits for NATS before it raises
    `StoreError` (it may then still be executed); None: without a limit. `keeps`: for how many
    seconds a server may be cut off and miss nothing; the same for all. `write_only`: for a process
    that only emits.
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
    ) -> None:
        if patience is not None and not patience > 0:
            raise ValueError(f"patience is a number of seconds above 0, or None, not {patience!r}")
        super().__init__(channel=channel, write_only=write_only, logger=logger)
        address = Address.parse(url)
        self._address = address.beside(channel)
        self._patience, self._keeps = patience, keeps
        self._log: NatsLog | None = None
        self._opening = asyncio.Lock()
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._number = 0
        self._last_numbers: dict[str, int] = {}  # of the last record of each server
        self._listening = asyncio.Event()
        self._closing = asyncio.Event()

    async def listening(self) -> None:
        """Return when this server gets what others emit from now on.

        Clients that connect before that may miss something.
        """
        await self._listening.wait()

    async def close(self) -> None:
        """Close the connection to NATS; closing twice is harmless."""
        self._closing.set()
        tasks = Tasks()
        for what, task in (("reading", getattr(self, "thread", None)), ("writing", self._writing)):
            if task is not None:
                tasks.add(task, what)
        if refusing := await tasks.cancel():
            _log.error("the client manager is closed, but goes on %s", " and ".join(refusing))
        for _, done in self._waiting:
            if not done.done():
                done.set_exception(StoreError("the client manager is closed: this was not emitted"))
        if self._log is not None:
            await self._log.close()

    # -- writing ----------------------------------------------------------------------------------

    async def _publish(self, data: dict[str, Any]) -> None:
        """Write an emit for the other servers; return when a quorum of the nodes has it."""
        if self._closing.is_set():
            raise StoreError("the client manager is closed: this was not emitted")
        text = json.dumps(data, separators=(",", ":")).encode("ascii")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        """Write all waiting emits in their order, many in one record."""
        while self._waiting:
            size = 0
            batch: list[tuple[bytes, asyncio.Future[None]]] = []
            while self._waiting and (not batch or size + len(self._waiting[0][0]) < _RECORD):
                batch.append(self._waiting.pop(0))
                size += len(batch[-1][0])
            error: Exception | None = None
            try:
                await self._append([text for text, _ in batch])
            except Exception as problem:
                error = problem
            except asyncio.CancelledError:
                error = StoreError("the client manager is closed: this may not have been emitted")
                raise
            finally:
                for _, done in batch:
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
        while not self._closing.is_set():
            try:
                log = await self._opened()
                if len(record) > log.largest:
                    raise ValueError(
                        f"{len(record)} bytes are more than these servers take at once: raise "
                        f"their max_payload ({log.largest}); no other server hears of this"
                    )
                await log.append("emit", record, self._patience or _ATTEMPT)
            except StreamGone as problem:
                _log.warning("an emit is written anew: %s", problem)
            except StoreError as problem:
                if self._patience is not None:
                    raise
                _log.warning("an emit waits for NATS: %s", problem)
                await set_within(self._closing, _BACK_OFF)
            else:
                return
        raise StoreError("the client manager is closed: this may not have been emitted")

    async def _opened(self) -> NatsLog:
        async with self._opening:
            if self._log is not None and self._log.gone_for is not None:
                await self._log.close()  # nothing in it was to last: go on in a new one
                self._log = None
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
        """Yield the emits of other servers, one after the other."""
        records: asyncio.Queue[bytes | None] = asyncio.Queue()
        failures = 0
        after, missed = None, False
        while not self._closing.is_set():
            try:
                log = await self._opened()
                log.gone = lambda problem: records.put_nowait(None)
                if missed:
                    after, missed = await log.newest(), False
                elif after is None:
                    after = log.end
                await log.read(
                    after,
                    lambda place, kind, data: records.put_nowait(data),
                    lambda: records.put_nowait(None),
                )
                failures = 0
            except StoreError as problem:
                _log.warning("nothing is heard of other servers for now: %s", problem)
                failures += 1
                pause = pause_after(failures, _BACK_OFF, _LONGEST_BACK_OFF)
                await set_within(self._closing, pause)
                continue
            self._listening.set()
            while (data := await records.get()) is not None:
                for message in self._read(data):
                    yield message
            _log.error(
                "this server missed what others have emitted meanwhile: %s",
                log.gone_for or f"it was cut off from NATS for longer than {self._keeps:g} s",
            )
            missed = True

    def _read(self, data: bytes) -> list[dict[str, Any]]:
        host, number, messages = json.loads(data)
        if host == self.host_id or number <= self._last_numbers.get(host, 0):
            return []  # a record of this server itself, or a duplicate
        self._last_numbers[host] = number
        return list(messages)
