"""A stream of NATS JetStream as a log that several processes write and read in full.

Owns the stream, its configuration, and the requests to it. Must not know: what the records mean,
queues.

Promises
- `append` returns the place (sequence number) of a record once a quorum of the stream's replicas
  has it. It retries while a leader is elected; a record may then be in the log twice, and a reader
  has to drop duplicates. If it raises, the record may or may not be in the log.
- Every reader gets all records in one order, without a gap (`reader`).
"""

from __future__ import annotations

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
from .reader import SECOND, Reader

__all__ = ["NatsLog"]

_log = logging.getLogger("chatq")

_VERSIONS = {"queues": "2", "emits": "1"}  # of what is in the stream, by its use
_OLDER = {"queues": ("1",)}
_NO_STREAM, _NO_MESSAGE, _OVERLAP, _NAME_TAKEN = 10059, 10037, 10065, 10058


class NatsLog:
    """The log in the stream of `address`; see `open`.

    `name`: the stream's random name, the same for all servers; `largest`: the most bytes of a
    record; `end`: the place of the last record when it was opened.
    """

    name: str
    end: int

    def __init__(self, address: Address, patience: float, holds: str, keeps: float) -> None:
        self.address = address
        self._holds, self._keeps = holds, keeps
        self.name = ""
        self.largest = self.end = 0
        self._connection = Connection(address, patience)
        self._connection.again = self._reconnected
        self._reader: Reader | None = None

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
    ) -> Self:
        """Connect, and create the stream if it does not exist.

        `patience`: the time-out of a request in seconds; `holds`: the use of the stream, the same
        for all servers; `keeps`: for how many seconds records are kept; 0: until removed.

        Raises `StoreError` if no server is reached, the login is refused, there is no JetStream, no
        quorum of it, or the stream is another program's; that is left as it was.
        """
        log = cls(address, patience, holds, keeps)
        try:
            await log._connection.open()
            log.largest = int(log._connection.client.max_payload)
            await log._prepare()
        except BaseException:
            await log.close()
            raise
        return log

    async def append(self, kind: str, payload: bytes, patience: float | None = None) -> int:
        """Write a record of this kind; return its place once a quorum has it.

        `patience`: the time-out in seconds. Raises `Unconfirmed` after that, `StoreError` if the
        record is refused.
        """
        patience = self._connection.patience if patience is None else patience
        answer = await self._connection.request(f"{self.address.stream}.{kind}", payload, patience)
        if "error" in answer:
            raise StoreError(
                f"NATS at {self.address.told} does not take a record: "
                f"{answer['error'].get('description')}"
            )
        return int(answer["seq"])

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

    async def _prepare(self) -> None:
        await self._has_jetstream()
        info = await self.api("STREAM.INFO")
        if info.get("error", {}).get("err_code") == _NO_STREAM:
            info = await self.api("STREAM.CREATE", self._configuration())
            if info.get("error", {}).get("err_code") == _NAME_TAKEN:  # another server was quicker
                info = await self.api("STREAM.INFO")
        if info.get("error", {}).get("err_code") == _OVERLAP:
            raise StoreError(
                f"another stream at {self.address.told} takes the subjects "
                f"{self.address.stream}.> already: give another name, as nats://HOST/NAME"
            )
        self._raise_if(info, "use")
        self._check(info["config"])
        self.end = int(info["state"]["last_seq"])

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

    def _configuration(self) -> dict[str, Any]:
        size = max(advertised(self._connection.client), len(self.address.servers))
        return {
            "name": self.address.stream,
            "description": f"{self._holds} of chatq: written and read by chatq only",
            "subjects": [f"{self.address.stream}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": int(self._keeps * SECOND),
            "num_replicas": min(3, size),
            "allow_direct": True,
            "duplicate_window": SECOND,
            "metadata": {
                "chatq": _VERSIONS[self._holds],
                "chatq-holds": self._holds,
                "chatq-name": os.urandom(4).hex(),
            },
        }

    def _check(self, found: dict[str, Any]) -> None:
        metadata = found.get("metadata") or {}
        version = metadata.get("chatq")
        where = f"the stream {self.address.stream!r} at {self.address.told}"
        if version is None or "chatq-name" not in metadata:
            raise StoreError(
                f"{where} was made by somebody else, and was left as it was: give another name, as "
                "nats://HOST/NAME"
            )
        if (holds := metadata.get("chatq-holds")) != self._holds:
            raise StoreError(
                f"{where} holds {holds} of chatq, not {self._holds}: give another name, as "
                "nats://HOST/NAME"
            )
        mine = _VERSIONS[self._holds]
        if version in _OLDER.get(self._holds, ()):
            raise StoreError(
                f"{where} was made by an older chatq (version {version}; this one reads {mine}): "
                "receive what waits in it with that chatq, then delete it, or give another name; "
                "it was left as it was"
            )
        if version != mine:
            raise StoreError(
                f"{where} was made by a newer chatq (version {version}; this one reads "
                f"{mine}): install that, or give another name; it was left as it was"
            )
        wanted = self._configuration()
        same = ("subjects", "retention", "storage", "max_age")
        changed = [name for name in same if found.get(name, 0) != wanted[name]]
        changed += [f"max_{n}" for n in ("msgs", "bytes") if found.get(f"max_{n}", -1) > 0]
        if found.get("sealed"):
            changed.append("sealed")
        if changed:
            raise StoreError(
                f"the configuration of {where} was changed ({', '.join(changed)}), so that it may "
                "lose messages: change that back, or give another name"
            )
        if found["num_replicas"] < wanted["num_replicas"]:
            _log.warning(
                "%s has %s replicas on a cluster that could keep %s: `nats stream edit --replicas`",
                where,
                found["num_replicas"],
                wanted["num_replicas"],
            )
        self.name = metadata["chatq-name"]

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
        self._reader = Reader(self._connection, self.address.stream, after, record, hole)
        await self._reader.start()

    def _reconnected(self) -> None:
        if self._reader is not None:
            self._reader.again()

    async def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self._connection.closing.set()
        if self._reader is not None:
            await self._reader.close()
        await self._connection.close()
