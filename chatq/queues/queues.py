"""Queues that keep messages until a consumer has dealt with them, on any python-socketio server.

Owns the meeting of store, rules and pumps: what is accepted, who may consume, what an answer does.
Must not know: how messages are kept, the hub's protocol, the stage.

The durable counterpart of a room keeps the call shapes of python-socketio: `emit(..., to=queue)`,
`subscribe(sid, queue)` like `enter_room`. Delivery is at least once: again and again until a
consumer answers with the receipt of the current attempt, or the message ends, visibly, as dead.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Self

import socketio  # type: ignore[import-untyped]

from .facts import (
    Died,
    Lapsed,
    Observer,
    QueueFact,
    Redriven,
    Returned,
    Sent,
    Settled,
    Stored,
    Subscribed,
)
from .memory_store import MemoryStore
from .message import check_queue, decode, new_message
from .policy import Rules, back_off, verdict
from .pump import Pump
from .sqlite_store import SqliteStore
from .store import Attempt, Claimed, Stats, Store, StoreError

__all__ = ["DeadMessage", "Queues"]

_log = logging.getLogger("chatq")

#: How long packet acknowledgements are gathered, to be written together, in seconds.
_GATHER = 0.01
_LONGEST_REASON = 500  # characters
_LONGEST_DELAY = 30 * 24 * 3600  # seconds


class DeadMessage:
    """A message that is not delivered any more: `id`, `event`, `data`, `attempts`, `reason`, and
    `died` in seconds since the epoch."""

    __slots__ = ("attempts", "data", "died", "event", "id", "reason")

    def __init__(
        self, id: str, event: str, data: Any, attempts: int, reason: str, died: float
    ) -> None:
        self.id, self.event, self.data = id, event, data
        self.attempts, self.reason, self.died = attempts, reason, died

    def __repr__(self) -> str:
        return f"<dead message {self.id} {self.event!r}: {self.reason}, attempts: {self.attempts}>"


@dataclass(slots=True)
class _Line:
    """The consumers of one queue, by sid: who was served longest ago comes first, and so asks first
    when there is something new.

    `news`: how often there was; `drained`: a claim found less than it asked for, and there was no
    news since, so whoever has answered need not ask whether there is more.
    """

    pumps: dict[str, Pump] = field(default_factory=dict)
    news: int = 0
    drained: bool = False


class Queues:
    """Durable queues; see `open`, then `attach` them to a server.

        queues = await Queues.open("sqlite:///packages.db")
        queues.attach(sio, namespace="/caps")
        await queues.emit("pickup", order, to="drivers")
        await queues.subscribe(sid, "drivers")

    `store`: where messages are kept; `rules`: the limits; `clock`: gives the time in seconds since
    the epoch; `random`: where the jitter of the back-off comes from.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules | None = None,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self.store, self.rules, self.clock = store, rules or Rules(), clock
        self._random = random or Random()
        self._pumps: dict[tuple[str, str], Pump] = {}  # by sid and queue
        self._lines: dict[str, _Line] = {}  # by queue
        self._holders: dict[str, Pump] = {}  # by receipt
        self._namespaces: dict[str, tuple[Any, Callable[..., Any] | None]] = {}
        self._answers: list[str] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._leaving: dict[Pump, asyncio.TimerHandle] = {}
        self._swept = 64
        self._tasks: set[asyncio.Future[Any]] = set()
        self._quiet: asyncio.Event | None = None  # while closing: set when nothing is out
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self._observer: Observer | None = None
        self._working = 0
        self._watched: dict[str, tuple[str, str, str]] = {}  # queue, id and sid by receipt
        store.listen(self._notify)

    @classmethod
    async def open(
        cls,
        url: str = "sqlite:///chatq.db",
        rules: Rules | None = None,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> Self:
        """Return queues whose messages are kept at `url`.

        `"sqlite:///packages.db"` is a file beside the program, `"sqlite:////var/lib/packages.db"`
        one with a full path, `"memory:"` keeps nothing when the process ends.

        Raises `ValueError` for another `url`, `StoreError` if the store cannot be opened.
        """
        rules = rules or Rules()
        limits: dict[str, Any] = {
            "length": rules.length,
            "key_memory": rules.key_memory,
            "clock": clock,
        }
        store: Store
        if url == "memory:":
            store = MemoryStore(**limits)
        elif url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
            store = await SqliteStore.open(url.removeprefix("sqlite:///"), **limits)
        else:
            raise ValueError(f'queues are kept at "sqlite:///FILE" or "memory:", not at {url!r}')
        return cls(store, rules, clock=clock, random=random)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def attach(
        self,
        sio: socketio.AsyncServer,
        namespace: str = "/",
        authorize: Callable[[str, str], Any] | None = None,
    ) -> None:
        """Deliver to clients of `namespace` of `sio`; a consumer's answers are listened to there.

        `authorize(sid, queue)`, plain or async, says whether that client may consume that queue.
        Adds handlers for the events `received` and `failed`.
        """
        self._namespaces[namespace] = (sio, authorize)
        sio.on("received", self._on_received, namespace=namespace)
        sio.on("failed", self._on_failed, namespace=namespace)

    def watch(self, observer: Observer) -> Callable[[], None]:
        """Tell `observer` what happens to messages; returns the function that ends this.

        One may watch at a time. What is out already is not told of.
        """
        if self._observer is not None:
            raise RuntimeError("somebody watches these queues already")
        self._observer = observer
        for _ in range(self._working):
            observer.began()
        for pump in self._pumps.values():
            observer.happened(Subscribed(pump.queue, pump.sid))

        def end() -> None:
            self._observer = None
            self._watched.clear()
            for _ in range(self._working):
                observer.ended()

        return end

    def tick(self) -> None:
        """Look at the clock now, instead of when a timer is due.

        For a `clock` that is moved by hand: leases that have ended end, delays that are over are.
        """
        for pump in self._pumps.values():
            pump.wake()

    # -- producing ------------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any = None,
        *,
        to: str | Sequence[str],
        key: str | None = None,
        ttl: float | None = None,
    ) -> Any:
        """Store a message in the queue `to` and return its id, once it is on stable storage.

        `to`: one queue, or several: then each gets a copy, and a list of ids comes back. `key`: a
        second `emit` with the same key, within `Rules.key_memory`, stores nothing and returns the
        first one's id. `ttl`: after so many seconds it is not delivered any more, but dead.

        Raises `TypeError` or `ValueError` for what cannot be kept, `QueueFull` (nothing was stored)
        and `StoreError`.
        """
        self._open()
        message = new_message(event, data, to, key, ttl, self.rules.payload, self.clock())
        ids = (await self.store.put((message,)))[0]
        if self._observer is not None:
            for queue, id in zip(message.queues, ids, strict=True):
                self._tell(Stored(queue, id, event, data))
        return ids[0] if isinstance(to, str) else ids

    # -- consuming ------------------------------------------------------------------------------

    async def subscribe(
        self,
        sid: str,
        queue: str,
        window: int = 16,
        *,
        namespace: str | None = None,
        frame: int = 0,
    ) -> Stats:
        """Deliver `queue` to the client `sid` from now on; like `enter_room`, but it remembers.

        `window`: how many messages may be out to it unanswered; 1 means strictly in order. `frame`:
        how many messages may come in one event, for clients that ask for it. `namespace`: where
        that client is, if these queues are attached to several. Asking again changes the window.

        Returns the queue's `Stats`. Raises `PermissionError` if `authorize` says no, `LookupError`
        if no such client is connected.
        """
        self._open()
        check_queue(queue)
        for name, value, least in (("window", window, 1), ("frame", frame, 0)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is a whole number, not {value!r:.80}")
            if not least <= value <= self.rules.window:
                raise ValueError(f"{name} is {least} to {self.rules.window}, not {value}")
        namespace, sio, authorize = self._find(sid, namespace)
        if authorize is not None:
            allowed = authorize(sid, queue)
            if inspect.isawaitable(allowed):
                allowed = await allowed
            if not allowed:
                raise PermissionError(f"this client may not consume queue {queue!r}")
        self._sweep()
        pump = self._pumps.get((sid, queue))
        if pump is None:
            pump = Pump(self, sio, namespace, sid, queue, window, frame)
            self._pumps[sid, queue] = pump
            self._tell(Subscribed(queue, sid))
            self._lines.setdefault(queue, _Line()).pumps[sid] = pump
            try:
                stats = await self.store.stats(queue)
            except BaseException:
                self.gone(pump)
                raise
            if not pump.stopped:
                pump.start()
        else:
            pump.window, pump.frame = window, frame
            pump.wake()
            stats = await self.store.stats(queue)
        return stats or Stats()

    def _find(self, sid: str, namespace: str | None) -> tuple[str, Any, Callable[..., Any] | None]:
        for name, (sio, authorize) in self._namespaces.items():
            if namespace in (None, name) and sio.manager.is_connected(sid, name):
                return name, sio, authorize
        where = " or ".join(self._namespaces) or "no namespace: attach the queues to a server first"
        raise LookupError(f"no client {sid!r:.40} is connected to {namespace or where}")

    async def unsubscribe(self, sid: str, queue: str) -> bool:
        """Deliver `queue` to `sid` no more; what is out may still be answered.

        Returns whether it was subscribed.
        """
        pump = self._pumps.get((sid, queue))
        if pump is None:
            return False
        self.gone(pump)
        await pump.stop()
        return True

    def subscriptions(self, sid: str) -> list[str]:
        """Return the queues that `sid` consumes."""
        return [queue for name, queue in self._pumps if name == sid]

    async def received(self, sid: str, receipt: str) -> bool:
        """Settle the message with this receipt: it was dealt with.

        Returns whether that changed anything: not if the receipt is not of the current attempt, or
        was given to another client.
        """
        if not self._may_answer(sid, receipt):
            return False
        self._settled(receipt)
        return (await self._ack([receipt]))[0]

    async def failed(
        self, sid: str, receipt: str, reason: str = "", delay: float | None = None
    ) -> bool:
        """Give the message with this receipt back: its consumer could not deal with it.

        `delay`: seconds until it is tried again; else the rules' back-off decides. After the last
        attempt it is dead, with `reason`. Returns whether that changed anything, as `received`.
        """
        if not self._may_answer(sid, receipt):
            return False
        counted = self._holders[receipt].out[receipt].counted
        return await self._failed(receipt, counted, reason or "refused by its consumer", delay)

    async def _failed(self, receipt: str, counted: int, reason: str, delay: float | None) -> bool:
        wait = back_off(counted, self.rules, self._random)
        if wait is not None and delay is not None:
            wait = delay
        reason = _tidy(reason)
        known = self._report(receipt, Returned, reason, wait)
        self._settled(receipt)
        if wait is None:
            if known:
                self._tell(Died(*known[:2], reason))
            return await self.store.bury(receipt, reason)
        return await self.store.release(receipt, wait)

    # -- looking after --------------------------------------------------------------------------

    async def stats(self, queue: str) -> Stats:
        """Return how many messages of `queue` are ready, leased, delayed, dead.

        Raises `LookupError` for a queue that nobody has ever used.
        """
        self._flush()
        stats = await self.store.stats(queue)
        if stats is None:
            if queue not in self._lines:
                raise LookupError(f"nobody has put anything into a queue {queue!r:.120}")
            stats = Stats()
        return stats

    async def dead(self, queue: str, limit: int = 100) -> list[DeadMessage]:
        """Return the oldest dead messages of `queue`, at most `limit`."""
        return [
            DeadMessage(d.id, d.event, decode(d.body), d.attempts, d.reason, d.died)
            for d in await self.store.dead(queue, limit)
        ]

    async def redrive(self, queue: str, ids: Iterable[str] | None = None) -> int:
        """Try dead messages of `queue` again: all, or those with these ids. Returns how many.

        They keep their ids, and come as `redelivered` if they were ever sent.
        """
        self._open()
        wanted = None if ids is None else tuple(ids)
        if self._observer is not None and wanted is None:
            self._tell(Redriven(queue, None))
        elif wanted:
            self._tell(Redriven(queue, wanted))
        return await self.store.redrive(queue, wanted)

    async def close(self, within: float = 1.0) -> None:
        """Send nothing more, wait for the answers to what is out, and let go of the store.

        `within`: for how many seconds to wait. What is not answered by then is delivered again when
        the queues are opened next. Closing twice is harmless.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(within))
        await asyncio.shield(self._closing)

    async def _close(self, within: float) -> None:
        pumps = [*self._pumps.values()]
        for pump in pumps:
            pump.end()
        if pumps:
            await asyncio.gather(*(pump.stop() for pump in pumps))
        self._quiet = asyncio.Event()
        for receipt, pump in [*self._holders.items()]:
            if not pump.connected:
                self.forget(receipt)
        if self._holders:
            try:
                async with asyncio.timeout(within):
                    await self._quiet.wait()
            except TimeoutError:
                pass
        self._flush()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        self._closed = True
        await self.store.close()

    # -- what pumps ask for -----------------------------------------------------------------------

    async def claim(self, pump: Pump, limit: int) -> Claimed:
        """Lease messages for a pump, which then stands last in the line of its queue."""
        self._flush()  # in the same transaction
        queue, in_order = pump.queue, pump.window == 1
        line = self._lines.get(queue) or _Line()
        news = line.news
        claimed = await self.store.claim(queue, limit, self.rules.lease, in_order=in_order)
        line.drained = not in_order and len(claimed.attempts) < limit and line.news == news
        if claimed.attempts and pump.sid in line.pumps:
            line.pumps[pump.sid] = line.pumps.pop(pump.sid)
        return claimed

    async def deliverable(self, attempts: list[Attempt]) -> list[Attempt]:
        """Return those that may still be delivered; the others are buried."""
        now, good, bad = self.clock(), [], []
        for attempt in attempts:
            why = verdict(attempt.number - attempt.spent, attempt.expires, self.rules, now)
            if why is None:
                good.append(attempt)
            else:
                self._tell(Died(attempt.queue, attempt.id, why))
                bad.append(self.store.bury(attempt.receipt, why, counted=False))
        if bad:
            await asyncio.gather(*bad)
        return good

    def hold(self, attempt: Attempt, pump: Pump) -> None:
        """Note that this attempt is out to this pump's client."""
        self._holders[attempt.receipt] = pump
        if self._observer is not None:
            queue, id, number = attempt.queue, attempt.id, attempt.number
            self._watched[attempt.receipt] = (queue, id, pump.sid)
            data = decode(attempt.body)
            self._tell(Sent(queue, id, attempt.event, data, number, pump.sid))

    def forget(self, receipt: str) -> None:
        """Note that the lease with this receipt has ended."""
        self._report(receipt, Lapsed)
        self._holders.pop(receipt, None)
        self._look_if_quiet()

    async def unsent(self, attempts: list[Attempt]) -> None:
        """Give back what was claimed and never sent."""
        await asyncio.gather(*(self.store.release(a.receipt, counted=False) for a in attempts))

    async def unsendable(self, attempt: Attempt, why: str) -> None:
        """Try a message later that could not be sent; after its last attempt it is dead."""
        await self._failed(attempt.receipt, attempt.number - attempt.spent, why, None)

    def gone(self, pump: Pump) -> None:
        """Let go of a pump whose client has left, or has unsubscribed."""
        pump.end()
        if self._pumps.get((pump.sid, pump.queue)) is pump:
            del self._pumps[pump.sid, pump.queue]
            line = self._lines[pump.queue]
            del line.pumps[pump.sid]
            if not line.pumps:
                del self._lines[pump.queue]
            if pump.out:  # to be answered until their leases end
                last = max(out.until for out in pump.out.values()) - self.clock()
                loop = asyncio.get_running_loop()
                self._leaving[pump] = loop.call_later(max(0.0, last), self._let_go, pump)
        self._notify(pump.queue)  # somebody may be waiting for what this one would have done next

    def _let_go(self, pump: Pump) -> None:
        self._leaving.pop(pump, None)
        for receipt in [*pump.out]:
            pump.settled(receipt)
            self.forget(receipt)

    def answered(self, receipt: str) -> None:
        """Settle a message that was answered by a packet acknowledgement; many in one go."""
        self._settled(receipt)
        if self._closed:  # too late: it is delivered again
            return
        if not self._answers:
            self.began()
        self._answers.append(receipt)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_GATHER, self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._answers:
            receipts, self._answers = self._answers, []
            task = asyncio.ensure_future(self.store.ack(receipts))
            self._tasks.add(task)
            task.add_done_callback(partial(self._flushed, receipts))

    def _flushed(self, receipts: list[str], task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("acknowledged, but to be delivered again: %s", error)
        elif not task.cancelled():
            self._acknowledged(receipts, task.result())
        self.ended()

    # -- answers --------------------------------------------------------------------------------

    async def _on_received(self, sid: str, *args: Any) -> dict[str, Any]:
        return await self._told(self._received, sid, args)

    async def _on_failed(self, sid: str, *args: Any) -> dict[str, Any]:
        return await self._told(self._refused, sid, args)

    async def _told(self, answer: Any, sid: str, args: tuple[Any, ...]) -> dict[str, Any]:
        try:
            told: dict[str, Any] = await answer(sid, args)
        except StoreError as error:
            code = "store" if self._closing is None else "closed"
            return {"error": {"code": code, "message": str(error)}}
        return told

    async def _received(self, sid: str, args: tuple[Any, ...]) -> dict[str, Any]:
        data = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
        if isinstance(receipts := data.get("receipts"), list):
            mine = [r for r in receipts if isinstance(r, str) and self._may_answer(sid, r)]
            for receipt in mine:
                self._settled(receipt)
            return {"ok": all(await self._ack(mine)) and len(mine) == len(receipts)}
        if not isinstance(data.get("receipt"), str):
            return _malformed("received", '{"receipt": …} with the receipt of a delivery')
        return {"ok": await self.received(sid, data["receipt"])}

    async def _refused(self, sid: str, args: tuple[Any, ...]) -> dict[str, Any]:
        data = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
        receipt, reason, delay = data.get("receipt"), data.get("reason", ""), data.get("delay")
        number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
        if not isinstance(receipt, str) or not isinstance(reason, str):
            return _malformed("failed", '{"receipt": …, "reason": text, "delay": seconds}')
        if delay is not None and not (number and 0 <= delay <= _LONGEST_DELAY):
            return _malformed("failed", f'a "delay" of 0 to {_LONGEST_DELAY} seconds')
        return {"ok": await self.failed(sid, receipt, reason, delay)}

    def _may_answer(self, sid: str, receipt: str) -> bool:
        """Whether the message is out to this client, or to one that is gone and that this one, of
        the same queue, stands in for."""
        pump = self._holders.get(receipt)
        if pump is None:
            return False
        return pump.sid == sid or (not pump.connected and (sid, pump.queue) in self._pumps)

    def _settled(self, receipt: str) -> None:
        pump = self._holders.pop(receipt, None)
        if pump is not None:
            line = self._lines.get(pump.queue)
            pump.settled(receipt, more=line is None or not line.drained)
            if pump.stopped:  # it claims no more, but somebody in line may, once this is done
                asyncio.get_running_loop().call_soon(self._notify, pump.queue)
        self._look_if_quiet()

    # -- telling whoever watches ------------------------------------------------------------------

    def began(self) -> None:
        """Work began that goes on by itself."""
        self._working += 1
        if self._observer is not None:
            self._observer.began()

    def ended(self) -> None:
        """A piece of such work has ended."""
        self._working -= 1
        if self._observer is not None:
            self._observer.ended()

    def _tell(self, fact: QueueFact) -> None:
        if self._observer is not None:
            self._observer.happened(fact)

    async def _ack(self, receipts: list[str]) -> list[bool]:
        current = await self.store.ack(receipts)
        self._acknowledged(receipts, current)
        return current

    def _acknowledged(self, receipts: list[str], current: list[bool]) -> None:
        if self._watched:
            for receipt, settled in zip(receipts, current, strict=True):
                self._report(receipt, Settled if settled else Lapsed)

    def _report(
        self, receipt: str, kind: Callable[..., QueueFact], *more: Any
    ) -> tuple[str, str, str] | None:
        """Tell what ended the attempt with this receipt; return its queue, id and client."""
        if self._observer is None or (known := self._watched.pop(receipt, None)) is None:
            return None
        self._observer.happened(kind(*known, *more))
        return known

    def _look_if_quiet(self) -> None:
        if self._quiet is not None and not self._holders:
            self._quiet.set()

    def _notify(self, queue: str) -> None:
        if line := self._lines.get(queue):
            line.news += 1
            line.drained = False
            for pump in line.pumps.values():
                pump.wake()

    def _sweep(self) -> None:
        """Let go of pumps whose clients have left; now and then, so that it costs next to nothing.

        (A pump that has something to send finds out by itself.)
        """
        if len(self._pumps) >= self._swept:
            for pump in [*self._pumps.values()]:
                if not pump.connected:
                    self.gone(pump)
            self._swept = max(64, 2 * len(self._pumps))
            # Nobody else looks at the leases of a pump that has stopped.
            now = self.clock()
            for receipt, pump in [*self._holders.items()]:
                if pump.stopped and pump.out[receipt].until <= now:
                    self._settled(receipt)

    def _open(self) -> None:
        if self._closing is not None:
            raise RuntimeError("these queues are closed: open them again")


def _tidy(reason: str) -> str:
    """Return this text from anywhere as a store can keep it."""
    return reason[:_LONGEST_REASON].encode("utf-8", "replace").decode("utf-8")


def _malformed(event: str, wanted: str) -> dict[str, Any]:
    return {"error": {"code": "malformed", "message": f"{event} takes {wanted}"}}
