"""A stream of NATS JetStream as a log that several processes write and read, each in full.

Owns the connection, the stream and its configuration, and every touch of the `nats` client. Must
not know: what the records mean, queues.

What is promised
- `append` returns the place of a record once a quorum of the stream's replicas has it. It asks
  again while there is a leader to be found; a record may then come twice, and whoever reads has to
  see to that. If it raises, nobody knows yet whether the record will be there.
- Every reader sees all records in one order, without a hole: where records were removed that it has
  not seen (`purge`), it is told, instead of what comes after.
- Readers are pull consumers that acknowledge nothing: what has been read is the reader's own
  affair, so a consumer that was lost with its node is simply made again at the next place.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from .store import StoreError

__all__ = ["PATIENCE", "Address", "NatsLog", "Unconfirmed"]

_log = logging.getLogger("chatq")

#: For how many seconds anything may go unconfirmed. NATS needs up to ten to find a new leader.
PATIENCE = 20.0
_VERSION = "1"  # of what is in the stream
_SECOND = 1_000_000_000  # nanoseconds, JetStream's unit
#: How many records a reader asks for at once, how often the server says that it is there, and for
#: how long a question and a reader that asks nothing are kept, in seconds.
_BATCH = 1_000
_HEARTBEAT = 1.0
_QUESTION = 20.0
_FORGOTTEN = 60.0
#: For how long to look for a server that answers, in seconds.
_CONNECT = 5.0
#: How long one attempt may take before another is made, and the pause before that, in seconds.
_ATTEMPT = 2.0
_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
#: What JetStream says while it looks for a leader, or has too few nodes: ask again.
_FOR_NOW = {10005, 10008, 10009, 10074, 10023}
_NO_STREAM, _NO_MESSAGE, _OVERLAP, _NAME_TAKEN = 10059, 10037, 10065, 10058


class Unconfirmed(StoreError):
    """NATS did not confirm in time: what was asked may have been done, or may be done yet."""


class Address(NamedTuple):
    """Where the stream is: `servers` as URLs, and its `stream`.

    `told`: all of it, without a password; `patience`: for how many seconds anything may go
    unconfirmed; None: nothing was said of that.
    """

    servers: list[str]
    stream: str
    told: str
    patience: float | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read "nats://[user:password@]host[:port][,host[:port]…][/stream][?patience=seconds]".

        Raises `ValueError` for anything else.
        """
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        stream = _stream(parts.path.strip("/") or "chatq")
        good = parts.scheme in ("nats", "tls") and all(hosts.split(","))
        said = parse_qs(parts.query, keep_blank_values=True)
        if not good or parts.fragment or said.keys() - {"patience"}:
            raise ValueError(
                'a NATS address is "nats://host1,host2,host3/STREAM", perhaps with '
                f'"?patience=SECONDS", not {parts._replace(netloc=hosts).geturl()!r}'
            )
        patience = _seconds(said["patience"][0]) if said else None
        login = f"{login}@" if login else ""
        each = [host if _has_port(host) else f"{host}:4222" for host in hosts.split(",")]
        servers = [f"{parts.scheme}://{login}{host}" for host in each]
        return cls(servers, stream, f"{parts.scheme}://{hosts}/{stream}", patience)

    def beside(self, name: str) -> Address:
        """Return the address of another stream, called this one's name and then `name`.

        Raises `ValueError` for what cannot be in a name.
        """
        stream = _stream(f"{self.stream}-{name}")
        return Address(self.servers, stream, f"{self.told}-{name}", self.patience)


def _stream(name: str) -> str:
    if not (name.replace("-", "").replace("_", "").isalnum() and name.isascii()):
        raise ValueError(f"a stream's name has letters, digits, - and _, not {name!r}")
    return name


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError(f"patience is a number of seconds above 0, not {text!r}")
    return seconds


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


class NatsLog:
    """The log in the stream of `address`; see `open`.

    `name` is the stream's own, the same for everybody; `largest`: how many bytes a record may have;
    `end`: the place of the last record when it was opened.
    """

    def __init__(self, address: Address, patience: float, holds: str, keeps: float) -> None:
        self.address, self.patience = address, patience
        self._holds, self._keeps = holds, keeps
        self.name = ""
        self.largest = self.end = 0
        self._nc: Any = None
        self._refused = asyncio.Event()  # the login
        self._why = ""  # what the client has last complained of
        self._closing = asyncio.Event()
        self._reader: _Reader | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        patience: float = PATIENCE,
        holds: str = "queues",
        keeps: float = 0.0,
    ) -> Self:
        """Connect, and make the stream if it is not there.

        `patience`: for how many seconds anything may go unconfirmed; `holds`: what for the stream
        is, which has to be the same for everybody; `keeps`: for how many seconds records are kept,
        0 until they are removed.

        Raises `StoreError` if no server is reached, none takes the login, there is no JetStream, no
        quorum of it, or the stream is somebody else's; that is left as it was.
        """
        log = cls(address, patience, holds, keeps)
        try:
            await log._connect()
            await log._prepare()
        except BaseException:
            await log.close()
            raise
        return log

    # -- connection -------------------------------------------------------------------------------

    async def _connect(self) -> None:
        try:
            import nats
            from nats.aio.client import Client
        except ImportError:
            raise StoreError(
                "queues on NATS need its client: `python -m pip install nats-py`"
            ) from None
        self._error, self._no_responders = nats.errors.Error, nats.errors.NoRespondersError
        self._nc = Client()
        connecting = asyncio.ensure_future(
            self._nc.connect(
                self.address.servers,
                name="chatq",
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.1,
                connect_timeout=1,
                ping_interval=2,
                max_outstanding_pings=2,
                error_cb=self._complains,
                disconnected_cb=self._disconnected,
                reconnected_cb=self._reconnected,
            )
        )
        refused = asyncio.ensure_future(self._refused.wait())
        try:
            first: set[asyncio.Future[Any]] = {connecting, refused}
            await asyncio.wait(
                first,
                timeout=min(_CONNECT, self.patience),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not connecting.done():
                raise TimeoutError
            connecting.result()
        except (TimeoutError, OSError, ssl.SSLError, self._error) as error:
            self._why = self._why or str(error)
            raise StoreError(self._unreachable()) from None
        finally:
            refused.cancel()
            connecting.cancel()
            await asyncio.wait({connecting, refused})
        self.largest = int(self._nc.max_payload)

    def _unreachable(self) -> str:
        if self._refused.is_set():
            return (
                f"NATS at {self.address.told} refuses the login ({self._why}): give the right one, "
                "as nats://USER:PASSWORD@HOST"
            )
        return (
            f"no NATS server answers at {self.address.told} ({self._why or 'no answer'}): start "
            "one, or mend the address"
        )

    async def _complains(self, error: Exception) -> None:
        self._why = str(error) or type(error).__name__
        if "auth" in self._why.lower():
            self._refused.set()

    async def _disconnected(self) -> None:
        if not self._closing.is_set():
            _log.warning("lost the connection to NATS at %s; connecting again", self.address.told)

    async def _reconnected(self) -> None:
        _log.warning("connected to NATS at %s again", self.address.told)
        if self._reader is not None:
            self._reader.again()

    # -- asking -----------------------------------------------------------------------------------

    async def _request(self, subject: str, payload: bytes, patience: float) -> dict[str, Any]:
        """Ask until there is an answer that is not «for now»; raise `Unconfirmed` after that."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        problem = ""
        while True:
            left = end - loop.time()
            if self._closing.is_set() or left <= 0:
                raise Unconfirmed(self._unconfirmed(problem, patience))
            try:
                if not self._nc.is_connected:  # or else the client would keep it, and every copy
                    raise ConnectionError("not connected")
                reply = await self._nc.request(subject, payload, timeout=min(_ATTEMPT, left))
            except self._no_responders:
                problem = "nobody answers for JetStream"
            except (TimeoutError, OSError, self._error) as error:
                problem = str(error) or type(error).__name__
            else:
                answer: dict[str, Any] = json.loads(reply.data)
                error_code = answer.get("error", {}).get("err_code")
                if error_code not in _FOR_NOW:
                    return answer
                problem = answer["error"].get("description", str(error_code))
            await self._pause(min(_PAUSE, max(0.0, end - loop.time())))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _unconfirmed(self, problem: str, patience: float) -> str:
        if self._nc.is_connected:
            what = (
                f"{problem or 'no answer'}: there is no quorum of its nodes for now, or no "
                "JetStream; start the nodes that are missing"
            )
        else:
            what = f"not connected ({self._why or 'no answer'}): start a node, or mend the address"
        return (
            f"NATS at {self.address.told} has not confirmed this within {patience:.2g} s; {what}. "
            "It may still be done later"
        )

    async def append(self, kind: str, payload: bytes, patience: float | None = None) -> int:
        """Write a record of this kind; return its place once a quorum has it.

        Raises `Unconfirmed` if that was not heard in time, `StoreError` if it cannot be done.
        """
        patience = self.patience if patience is None else patience
        answer = await self._request(f"{self.address.stream}.{kind}", payload, patience)
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
        # Asked of the leader: a replica that lags behind would not know the newest.
        from base64 import b64decode

        answer = await self._api("STREAM.MSG.GET", which)
        if answer.get("error", {}).get("err_code") == _NO_MESSAGE:
            return None
        self._raise_if(answer, "read")
        message = answer["message"]
        return int(message["seq"]), b64decode(message.get("data", ""))

    async def newest(self) -> int:
        """Return the place of the last record."""
        info = await self._api("STREAM.INFO")
        self._raise_if(info, "read")
        return int(info["state"]["last_seq"])

    async def purge(self, before: int, kind: str | None = None) -> None:
        """Remove the records (of this kind) before this place."""
        which: dict[str, Any] = {"seq": before}
        if kind is not None:
            which["filter"] = f"{self.address.stream}.{kind}"
        self._raise_if(await self._api("STREAM.PURGE", which), "purge")

    async def _api(
        self, verb: str, body: dict[str, Any] | None = None, patience: float | None = None
    ) -> dict[str, Any]:
        subject = f"$JS.API.{verb}.{self.address.stream}"
        payload = json.dumps(body).encode() if body is not None else b""
        return await self._request(subject, payload, patience or self.patience)

    def _raise_if(self, answer: dict[str, Any], what: str) -> None:
        if "error" in answer:
            raise StoreError(
                f"NATS at {self.address.told} cannot {what} the stream {self.address.stream!r}: "
                f"{answer['error'].get('description')}"
            )

    # -- the stream -------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        await self._has_jetstream()
        info = await self._api("STREAM.INFO")
        if info.get("error", {}).get("err_code") == _NO_STREAM:
            info = await self._api("STREAM.CREATE", self._configuration())
            if info.get("error", {}).get("err_code") == _NAME_TAKEN:  # somebody was quicker
                info = await self._api("STREAM.INFO")
        if info.get("error", {}).get("err_code") == _OVERLAP:
            raise StoreError(
                f"another stream at {self.address.told} takes the subjects "
                f"{self.address.stream}.> already: give another name, as nats://HOST/NAME"
            )
        self._raise_if(info, "use")
        self._check(info["config"])
        self.end = int(info["state"]["last_seq"])

    async def _has_jetstream(self) -> None:
        try:
            reply = await self._nc.request("$JS.API.INFO", b"", timeout=_ATTEMPT)
        except self._no_responders:
            why = "has no JetStream, which keeps messages"
        except (TimeoutError, OSError, self._error):
            return  # who leads it may be undecided; the next question waits for that
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
        known = self._nc._server_info.get("connect_urls") or []
        size = max(len(known), len(self.address.servers))
        return {
            "name": self.address.stream,
            "description": f"{self._holds} of chatq: written and read by chatq only",
            "subjects": [f"{self.address.stream}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": int(self._keeps * _SECOND),
            "num_replicas": min(3, size),
            "allow_direct": True,
            "duplicate_window": _SECOND,
            "metadata": {
                "chatq": _VERSION,
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
        if version != _VERSION:
            raise StoreError(
                f"{where} was made by a newer chatq (version {version}; this one reads "
                f"{_VERSION}): install that, or give another name; it was left as it was"
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
        """Give every record after this place to `record(place, kind, payload)`, as it comes.

        Returns when those that are there have been given. `hole` is called instead where records
        are missing; then nothing more comes. Reading anew ends the last one.
        """
        if self._reader is not None:
            await self._reader.close()
        self._reader = _Reader(self, after, record, hole)
        await self._reader.start()

    async def close(self) -> None:
        """Let go of the connection; closing twice is harmless."""
        self._closing.set()
        if self._reader is not None:
            await self._reader.close()
        if self._nc is not None and not self._nc.is_closed:
            try:
                async with asyncio.timeout(1.0):
                    await self._nc.close()
            except (TimeoutError, OSError, self._error):
                pass


class _Reader:
    """Reads a log from one place on, whatever becomes of the consumer that it has there."""

    def __init__(
        self,
        log: NatsLog,
        after: int,
        record: Callable[[int, str, bytes], None],
        hole: Callable[[], None],
    ) -> None:
        self._log, self._last = log, after
        self._record, self._hole = record, hole
        self._nc = log._nc
        self._stream = log.address.stream
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
        try:
            async with asyncio.timeout(self._log.patience):
                await self._there.wait()
        except TimeoutError:
            await self.close()
            raise Unconfirmed(self._log._unconfirmed("", self._log.patience)) from None

    def again(self) -> None:
        """The connection is another one: ask anew."""
        self._lost.set()

    async def close(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._unsubscribe()

    async def _run(self) -> None:
        told, pause = "", _PAUSE
        while not self._ended:
            await self._lost.wait()
            self._lost.clear()
            try:
                await self._begin()
                told, pause = "", _PAUSE
            except (StoreError, TimeoutError, OSError, self._log._error) as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("cannot read from NATS for now: %s", error)
                self._lost.set()
                await self._log._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _begin(self) -> None:
        """Make a consumer at the next place, and ask it."""
        await self._unsubscribe()
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._last + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "num_replicas": 1,
            "mem_storage": True,
            "inactive_threshold": int(_FORGOTTEN * _SECOND),
        }
        body = {"stream_name": self._stream, "config": config}
        answer = await self._log._api("CONSUMER.CREATE", body)
        self._log._raise_if(answer, "read")
        self._consumer = answer["name"]
        self._read = 0
        self._inbox = self._nc.new_inbox()
        subscription = await self._nc.subscribe(self._inbox, cb=self._came)
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
            except self._log._error:
                pass

    async def _ask(self) -> None:
        self._asked = _BATCH
        self._now_heard()
        question = {
            "batch": _BATCH,
            "expires": int(_QUESTION * _SECOND),
            "idle_heartbeat": int(_HEARTBEAT * _SECOND),
        }
        await self._nc.publish(
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
