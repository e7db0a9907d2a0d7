"""A stream of NATS JetStream as a log that several processes write and read in full.

Owns the stream, its configuration, and the requests to it. Must not know: what the records mean,
queues.

Promises
- `append` returns the place (sequence number) of a record once a quorum of the stream's replicas
  has it. It retries while a leader is elected; a record may then be in the log twice, and a reader
  has to drop duplicates. If it raises, the record may or may not be in the log.
- Every reader gets all records in one order, without a gap (`reader`).
- It rests on the stream that was opened. Each record names a mark, one of the first records, whose
  subject has the random name of the stream, and the server refuses it when that is not where it
  was, as in another stream of that name; `look` compares the rest on a reconnection,
  when a consumer is lost, when JetStream tells of a change, and when an answer does not fit. From
  then on everything raises `StreamGone`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Self

from ...internals.nats_client import advertised
from ..store import StoreError
from .address import Address
from .connection import ATTEMPT, PATIENCE, SOON, Connection
from .reader import Reader
from .stream import MARKS, Stream, StreamGone

__all__ = ["NatsLog"]

_log = logging.getLogger("chatq")

_NO_STREAM, _NO_MESSAGE, _OVERLAP, _NAME_TAKEN = 10059, 10037, 10065, 10058
#: JetStream's error codes for another last record of a subject than the expected one.
_OTHER_LAST = (10071, 10164)
#: How much longer than its time-out an append may take, in seconds: a request that ends by itself
#: says more.
_SPARE = 0.2
#: How often a difference has to be seen before it counts; the pause before the next, in seconds.
_LOOKS, _LOOK_PAUSE = 3, 0.3
_PURGED = "its first records are gone: it was purged, or limited for a time"
_OF_ANOTHER = "its first records are those of another stream"


class NatsLog:
    """The log in the stream of `address`; see `open`.

    `name`: the stream's random name, the same for all servers; `largest`: the most bytes of a
    record; `end`: the place of the last record when it was opened.
    """

    name: str
    end: int

    def __init__(self, address: Address, patience: float, holds: str, keeps: float) -> None:
        self.address = address
        self._stream = Stream(address, holds, keeps)
        self.name = ""
        self.largest = self.end = 0
        self._connection = Connection(address, patience)
        self._connection.again = self._reconnected
        self._reader: Reader | None = None
        #: Called once when the stream is not the one it was; from then on `gone_for` says why.
        self.gone: Callable[[StreamGone], None] = lambda problem: None
        self.gone_for: StreamGone | None = None
        self._created = ""
        self._reached = 0  # the last place that is known to have been filled
        self._marks: list[int] = []  # the places of the first records
        self._mark = int.from_bytes(os.urandom(2)) % MARKS  # that this server names in its requests
        self._looking: asyncio.Task[None] | None = None

    @property
    def patience(self) -> float:
        """The time-out of a request, in seconds."""
        return self._connection.patience

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        patience: float = PATIENCE,
        holds: str = "queues",
        keeps: float = 0.0,
        create: bool = True,
    ) -> Self:
        """Connect, and create the stream if it does not exist (`create`).

        `patience`: the time-out of a request in seconds; `holds`: the use of the stream, the same
        for all servers; `keeps`: for how many seconds records are kept; 0: until removed.

        Raises `StoreError` if no server is reached, the login is refused, there is no JetStream, no
        quorum of it, or the stream is another program's; that is left as it was.
        """
        log = cls(address, patience, holds, keeps)
        try:
            await log._connection.open()
            log.largest = int(log._connection.client.max_payload)
            await log._prepare(create)
        except BaseException:
            await log.close()
            raise
        return log

    async def append(self, kind: str, payload: bytes, patience: float | None = None) -> int:
        """Write a record of this kind; return its place once a quorum has it.

        `patience`: the time-out in seconds. Raises `Unconfirmed` after that, `StreamGone` if the
        stream is not the one it was, `StoreError` if the record is refused.
        """
        patience = self.patience if patience is None else patience
        try:
            async with asyncio.timeout(patience + _SPARE):  # there may be more to ask meanwhile
                return await self._append(kind, payload, patience)
        except TimeoutError:
            raise self._connection.unconfirmed("", patience) from None

    async def _append(self, kind: str, payload: bytes, patience: float) -> int:
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while True:
            if self.gone_for is not None:
                raise self.gone_for
            reached = self._reached
            left = max(0.0, end - loop.time())
            answer = await self._publish(kind, payload, left, self._expected(), patience)
            if answer.get("error", {}).get("err_code") not in _OTHER_LAST:
                break
            # Either the mark is not where it was, or another server has named it just now.
            mark = await self.last(self._mark_kind(self._mark))
            if mark is None or mark[0] != self._marks[self._mark]:
                await self.look()
            self._mark = (self._mark + 1) % MARKS
        if "error" in answer:
            await self.look()
            raise StoreError(
                f"NATS at {self.address.told} does not take a record: "
                f"{answer['error'].get('description')}"
            )
        place = int(answer["seq"])
        if place <= reached:
            await self.look()
            raise self._give_up(
                self._stream.gone(f"a new record is its {place}th, and it had {reached}")
            )
        if self.gone_for is not None:
            raise self.gone_for
        self._reached = max(self._reached, place)
        return place

    async def _publish(
        self,
        kind: str,
        payload: bytes,
        patience: float,
        headers: dict[str, str],
        within: float | None = None,
    ) -> dict[str, Any]:
        subject = f"{self.address.stream}.{kind}"
        return await self._connection.request(
            subject, payload, patience, headers=headers, within=within
        )

    async def fetch(self, place: int) -> bytes | None:
        """Return the record at this place; None if there is none (any more)."""
        found = await self._get({"seq": place})
        return None if found is None else found[1]

    async def last(self, kind: str) -> tuple[int, bytes] | None:
        """Return the last record of this kind, with its place; None if there is none."""
        return await self._get({"last_by_subj": f"{self.address.stream}.{kind}"})

    async def _get(self, which: dict[str, Any]) -> tuple[int, bytes] | None:
        # From the leader: a replica that lags behind would not have the newest record.
        answer = await self.api("STREAM.MSG.GET", which)
        if answer.get("error", {}).get("err_code") == _NO_MESSAGE:
            return None
        self._raise_if(answer, "read")
        message = answer["message"]
        return int(message["seq"]), b64decode(message.get("data", ""))

    async def newest(self) -> int:
        """Return the place of the last record."""
        info = await self.api("STREAM.INFO")
        self._raise_if(info, "read")
        return int(info["state"]["last_seq"])

    async def purge(self, before: int, kind: str | None = None) -> None:
        """Remove the records (of this kind) before this place."""
        which: dict[str, Any] = {"seq": before}
        if kind is not None:
            which["filter"] = f"{self.address.stream}.{kind}"
        self._raise_if(await self.api("STREAM.PURGE", which), "purge")

    async def api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the JetStream API for the stream; return the reply, errors included."""
        subject = f"$JS.API.{verb}.{self.address.stream}"
        payload = json.dumps(body).encode() if body is not None else b""
        return await self._connection.request(subject, payload, self._connection.patience, SOON)

    def _raise_if(self, answer: dict[str, Any], what: str) -> None:
        if "error" in answer:
            raise StoreError(
                f"NATS at {self.address.told} cannot {what} the stream {self.address.stream!r}: "
                f"{answer['error'].get('description')}"
            )

    # -- the stream -------------------------------------------------------------------------------

    async def _prepare(self, create: bool) -> None:
        await self._has_jetstream()
        info = await self.api("STREAM.INFO")
        if info.get("error", {}).get("err_code") == _NO_STREAM:
            if not create:
                raise StoreError(f"there are no queues at {self.address.told}: no such stream")
            info = await self.api("STREAM.CREATE", self._stream.configuration(self._replicas()))
            if info.get("error", {}).get("err_code") == _NAME_TAKEN:  # another server was quicker
                info = await self.api("STREAM.INFO")
        if info.get("error", {}).get("err_code") == _OVERLAP:
            raise StoreError(
                f"another stream at {self.address.told} takes the subjects "
                f"{self.address.stream}.> already: give another name, as nats://HOST/NAME"
            )
        self._raise_if(info, "use")
        self.name = self._stream.check(info["config"])
        self._created = info["created"]
        self.end = self._reached = int(info["state"]["last_seq"])
        if info["config"]["num_replicas"] < self._replicas():
            _log.warning(
                "%s has %s replicas on a cluster that could keep %s: `nats stream edit --replicas`",
                self._stream.where,
                info["config"]["num_replicas"],
                self._replicas(),
            )
        await self._watch()
        if not self._stream.keeps:  # else the first records go by themselves
            await self._read_marks()

    def _replicas(self) -> int:
        connection = self._connection
        return min(3, max(advertised(connection.client), len(self.address.servers)))

    async def _has_jetstream(self) -> None:
        connection = self._connection
        try:
            reply = await connection.client.request("$JS.API.INFO", b"", timeout=ATTEMPT)
        except connection.no_responders:
            why = "has no JetStream, which keeps messages"
        except (TimeoutError, OSError, connection.error):
            return  # perhaps without a leader; the next request waits for one
        else:
            error = json.loads(reply.data).get("error", {})
            if error.get("err_code") not in (10039, 10076):
                return
            why = f"gives this login no JetStream ({error.get('description')})"
        raise StoreError(
            f"the NATS server at {self.address.told} {why}: start it with `--jetstream`, or turn "
            "that on for this account"
        )

    # -- whether it is the one it was -------------------------------------------------------------

    async def _read_marks(self) -> None:
        """Read the marks, the first records; write them in a new stream.

        Nothing else is written before all of them are there. So if the stream is longer, they
        were removed, and more may have been.
        """
        for number in range(MARKS):
            kind = self._mark_kind(number)
            while (mark := await self.last(kind)) is None:
                if self.end >= MARKS:
                    raise self._stream.gone(_PURGED if await self.fetch(1) is None else _OF_ANOTHER)
                answer = await self._publish(
                    kind, b"", self.patience, {"Nats-Expected-Last-Subject-Sequence": "0"}
                )
                if answer.get("error", {}).get("err_code") not in (*_OTHER_LAST, None):
                    self._raise_if(answer, "write")
            self._marks.append(mark[0])

    def _mark_kind(self, number: int) -> str:
        return f"mark.{self.name}.{number}"

    def _expected(self) -> dict[str, str]:
        """Return the headers with which the server itself refuses a record unless the stream is
        the one it was: a mark goes with a purge, with any limit, and with the stream."""
        headers = {"Nats-Expected-Stream": self.address.stream}
        if self._marks:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(self._marks[self._mark])
            subject = f"{self.address.stream}.{self._mark_kind(self._mark)}"
            headers["Nats-Expected-Last-Subject-Sequence-Subject"] = subject
        return headers

    async def look(self) -> None:
        """Raise `StreamGone` unless the stream is the one it was; then nothing more is done."""
        problem: StreamGone | None = None
        for _ in range(_LOOKS):
            problem, sure = await self._difference()
            if problem is None or sure or self.gone_for is not None:
                break
            await self._connection.pause(_LOOK_PAUSE)
        if problem is not None:
            raise self._give_up(problem)

    async def _difference(self) -> tuple[StreamGone | None, bool]:
        """Return what is wrong with the stream, and whether that is sure: a node that has just
        started, or just become the leader, may not know all records yet."""
        last = self._reached
        info = await self.api("STREAM.INFO")
        if info.get("error", {}).get("err_code") == _NO_STREAM:
            return self._stream.gone("it was deleted, or its servers have lost their disks"), False
        self._raise_if(info, "look at")
        if problem := self._stream.other(info, self.name, self._created):
            return problem, True
        if problem := self._stream.shorter(info, last):
            return problem, False
        for number in {self._mark, 0, MARKS - 1} if self._marks else ():
            mark = await self.last(self._mark_kind(number))
            if mark is None or mark[0] != self._marks[number]:
                return self._stream.gone(_PURGED), False
        return None, True

    def _give_up(self, problem: StreamGone) -> StreamGone:
        """Note that the stream is gone, and tell it once."""
        if self.gone_for is None:
            self.gone_for = problem
            self.gone(problem)
        return self.gone_for

    async def _watch(self) -> None:
        """Look whenever JetStream says that the stream was made, edited or deleted."""
        subject = f"$JS.EVENT.ADVISORY.STREAM.*.{self.address.stream}"
        await self._connection.client.subscribe(subject, cb=self._heard)

    async def _heard(self, _: Any) -> None:
        if self._looking is None and self.gone_for is None:
            self._looking = asyncio.create_task(self._look_once())

    async def _look_once(self) -> None:
        try:
            await self.look()
        except StreamGone:
            pass  # it was told
        except StoreError as error:
            _log.warning("cannot look at the stream for now: %s", error)
        finally:
            self._looking = None

    # -- reading ----------------------------------------------------------------------------------

    async def read(
        self,
        after: int,
        record: Callable[[int, str, bytes], None],
        hole: Callable[[], None],
    ) -> None:
        """Call `record(place, kind, payload)` with every record after this place, as it comes.

        Returns when all records that exist now have been read. `hole` is called if records are
        missing; then reading ends. A second `read` ends the first one.
        """
        if self._reader is not None:
            await self._reader.close()
        if self.gone_for is not None:
            raise self.gone_for

        def reached(place: int, kind: str, data: bytes) -> None:
            self._reached = max(self._reached, place)
            record(place, kind, data)

        self._reader = Reader(
            self._connection, self.address.stream, after, reached, hole, self.look
        )
        await self._reader.start()

    def _reconnected(self) -> None:
        if self._reader is not None:
            self._reader.again()

    async def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self._connection.closing.set()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        if self._reader is not None:
            await self._reader.close()
        await self._connection.close()
