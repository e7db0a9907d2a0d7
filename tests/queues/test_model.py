"""Whatever happens, in whatever order, queues keep their promises: over memory, SQLite and NATS.

Hypothesis plays producers, consumers, thieves of receipts, cut cables, poison, passing time, clocks
that are set, full disks and killed processes against real `Queues` (see `model.py`), and a few
dictionaries know what must hold:

- what was answered to a producer is delivered until it is acknowledged, or it is among the dead;
- nothing is made up, nothing comes again that was acknowledged, what comes again says so;
- first attempts are in the order of `emit`; a window of 1 is strictly in order;
- a receipt is of one attempt and one client, and settles once; attempts and windows are bounded;
- what can be delivered is delivered: nobody stalls, whatever the clock on the wall says;
- what has expired is dead, whoever consumes; the dead are kept as the rules say; what was purged,
  discarded or deleted is gone, and nothing else.

`--long` tries more; `CHATQ_EXAMPLES=2000 python -m pytest --long tests/queues/test_model.py` tries
longer, and other ones each time, as is done every night.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model import START, Client, Clocks, InlineStore, Killed, Loop, Wire, inline_store
from nats_nodes import InlineLog, new_stream
from sizes import size
from whole_state import whole

from chatq.queues import steady_clock
from chatq.queues.memory import MemoryStore
from chatq.queues.nats.nats_store import NatsStore
from chatq.queues.queues import Queues
from chatq.queues.rules import Rules
from chatq.queues.sqlite_store import SqliteStore
from chatq.queues.steady_clock import Steady, steady
from chatq.queues.store import Limits, QueueFull, StoreError
from chatq.waiting import give_way

EXAMPLES = int(os.environ.get("CHATQ_EXAMPLES", "0"))
FAST = Path("/dev/shm") if Path("/dev/shm").is_dir() else None

RULES = Rules(
    lease=30.0,
    attempts=3,
    back_off=1.0,
    longest_back_off=4.0,
    length=12,
    key_memory=90.0,
    dead_length=9,
    dead_memory=400.0,
    queue_memory=150.0,
)
LIMITS = {name: getattr(RULES, name) for name in Limits._fields}
#: How late an expired message may be dead, and a dead letter be dropped: timers have a grain.
EXPIRES_WITHIN, DROPPED_WITHIN = 2.0, 62.0
QUEUES = ("a", "b")
queue_names = st.sampled_from(QUEUES)
several = st.lists(queue_names, min_size=1, max_size=2, unique=True)
keys = st.none() | st.sampled_from(["k", "l"])
windows = st.sampled_from([1, 1, 2, 3, 8])
ways = st.sampled_from(["packet", "packet", "event", "many", "bare", "wrong", "other", "nothing"])
which = st.integers(0, 10_000)


@dataclass(eq=False)
class Message:
    """The model's state of one message in one queue.

    `stored`: yes, or None if nobody can know; `gone`: acknowledged, or None likewise.
    """

    number: int
    queue: str
    key: str | None
    expires: float | None
    stored: bool | None
    id: str | None = None
    gone: bool | None = False
    surely: bool = False  # the store has said so, too
    since: int = 0  # how often the disk was synced before that
    not_before: float = 0.0
    attempts: list[Sent] = field(default_factory=list)
    failures: int = 0  # since it was put or redriven, as far as is known
    vague: bool = False  # there may be more
    dead: bool = False
    unsent: bool = False
    expired: float | None = None  # when it did, if nobody knows whether it was redriven since
    over: bool = False  # its time was, when the clock was set
    died: float = 0.0

    @property
    def last(self) -> Sent | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(eq=False)
class Sent:
    """One attempt: `open` until it is settled, and no longer than its lease.

    `life`: of the process that has made it; `weighed`: its outcome is known, and counted if it is a
    failure; `lost`: it was answered, and that could not be written down.
    """

    message: Message
    client: Client
    receipt: str
    number: int
    until: float
    life: int
    open: bool = True
    weighed: bool = False
    lost: bool = False


class Listener(logging.Handler):
    """Everything unexpected that the queues wrote to their log."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []
        self.moved_back = 0.0  # the times in a file that was opened, in seconds

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])
        if "all of them were moved back" in str(record.msg):
            assert isinstance(record.args, tuple)
            self.moved_back += float(str(record.args[0]))


class Machine(RuleBasedStateMachine):
    """The rules, for whatever store."""

    async def open(self, life: int) -> Any:
        raise NotImplementedError

    # -- birth and death --------------------------------------------------------------------------

    @initialize(jitter=which)
    def begin(self, jitter: int) -> None:
        self.random = Random(jitter)
        self.folder = Path(tempfile.mkdtemp(prefix="chatq-model-", dir=FAST))
        self.numbers, self.claims = itertools.count(1), itertools.count(1)
        #: The claim that has leased a message last, in this life, by id: a consumer may be quicker
        #: than the answer to the producer.
        self.claim_of: dict[str, int] = {}
        self.messages: list[Message] = []
        self.by_receipt: dict[str, Sent] = {}
        self.ends: dict[str, float] = {}  # of leases, which run from the claim, by receipt
        self.keys: dict[tuple[str, str], tuple[Message, float]] = {}
        self.clients: list[Client] = []
        self.must_be_dead: list[Message] = []
        self.poisonous: set[int] = set()  # numbers of messages that kill who reads them
        self.full_until = 0.0
        self.full = False
        self.life = 0
        self.log = Listener()
        logging.getLogger("chatq").addHandler(self.log)
        self.now = self.ended = START
        self.set_until = self.reached = self.set_between = 0.0
        self.clocks = Clocks(lambda: self.loop.now - self.reached)
        steady_clock.time = self.clocks  # type: ignore[assignment]
        self.wire = Wire(self.on_sent)
        self.start()
        self.arrive()

    def arrive(self) -> None:
        """Two consumers come, each with a queue or two: nothing happens without them."""
        for _ in range(2):
            client = self.wire.connect(polling=self.random.random() < 0.2)
            self.clients.append(client)
            for queue in self.random.sample(QUEUES, self.random.choice([1, 2])):
                self.consume(client, queue, self.random.choice([1, 2, 3, 8]))

    def consume(self, client: Client, queue: str, window: int, frame: int = 0) -> None:
        before = self.allowed.get((client.sid, queue), 0)
        self.allowed[client.sid, queue] = max(window, before)
        self.do(self.queues.subscribe(client.sid, queue, window, frame=frame))

    def start(self) -> None:
        self.loop, self.reached = Loop(self.now), 0.0
        self.clock = steady(self.clocks.time)
        asyncio.set_event_loop(self.loop)
        self.wire.forget()
        self.store = self.loop.run_until_complete(self.open(self.life))
        self.the_clock_was_set()
        self.queues = Queues(self.store, RULES, clock=self.clock, random=self.random)
        self.queues.attach(self.wire)
        unsent = self.queues._delivery.in_flight.unsent

        async def noting(attempts: list[Any]) -> None:
            for message in self.messages:
                message.unsent |= message.id in {attempt.id for attempt in attempts}
            await unsent(attempts)

        self.queues._delivery.in_flight.unsent = noting  # type: ignore[method-assign]
        self.claim_of.clear()
        self.watch_claims()
        self.watch_leases()
        self.clients = []
        self.life += 1

    def watch_claims(self) -> None:
        """Hear of every claim in the order in which they are answered."""
        claim = self.store.claim

        async def noting(queue: str, limit: int, lease: float, **how: bool) -> Any:
            claimed = await claim(queue, limit, lease, **how)
            self.on_claimed(queue, [(a.id, a.number) for a in claimed.attempts])
            return claimed

        self.store.claim = noting

    def watch_leases(self) -> None:
        """Note when each lease ends; it runs since its claim, not since what is sent then."""
        claim = self.store.claim

        async def noting(queue: str, limit: int, lease: float, **how: bool) -> Any:
            end = self.loop.now + lease
            claimed = await claim(queue, limit, lease, **how)
            self.ends |= {attempt.receipt: end for attempt in claimed.attempts}
            return claimed

        self.store.claim = noting

    def on_claimed(self, queue: str, claimed: list[tuple[str, int]]) -> None:
        """First attempts begin in the order of `put`, whoever makes them.

        (Consumers send what they have claimed side by side, so order on the wire is that of each.)
        """
        this = next(self.claims)
        for id, number in claimed:
            self.claim_of[id] = this
            found = [m for m in self.in_queue(queue) if m.id == id]
            for message in found:  # none, if nobody has heard yet that it was stored
                if number == 1 and not message.unsent:
                    before = self.untouched_before(message)
                    self.must_be_dead += [m for m in before if m.id not in self.claim_of]

    def untouched_before(self, message: Message) -> list[Message]:
        """Return what was put before a message, lives, and was never tried."""
        return [
            m
            for m in self.in_queue(message.queue)
            if m.number < message.number and m.stored and not m.attempts and not m.unsent
            if m.gone is False and not m.dead
        ]

    def stop(self) -> None:
        """End everything of this life without a goodbye."""
        # What was set under a process is put right before the next: see `restart_at_another_time`.
        self.clocks.ahead, self.set_between = self.set_between, 0.0
        self.ended, self.now, self.clocks.ahead = self.loop.now, self.clocks.time(), 0.0
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(give_way())
        self.loop.close()
        asyncio.set_event_loop(None)

    def do(self, *work: Any) -> list[Any]:
        """Run these together; return what became of each, None where nobody will ever know."""
        tasks = [self.loop.create_task(coroutine) for coroutine in work]
        self.loop.settle()
        if self.killed:
            for task in tasks:
                task.cancel()
            self.loop.settle()
        done: list[Any] = []
        for task in tasks:
            if not task.done() or task.cancelled():
                assert self.killed, "it never ended"
                done.append(None)
            else:
                error = task.exception()
                done.append(None if isinstance(error, Killed) else error or task.result())
        for result in done:
            if isinstance(result, BaseException) and not isinstance(
                result, (QueueFull, StoreError)
            ):
                raise result
            assert not isinstance(result, StoreError) or self.full, result
        return done

    @property
    def killed(self) -> bool:
        return False

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            if not self.loop.errors:
                self.the_end()
                self.stop()
        finally:
            logging.getLogger("chatq").removeHandler(self.log)
            steady_clock.time = time
            if not self.loop.is_closed():
                self.stop()
            shutil.rmtree(self.folder)

    def the_end(self) -> None:
        """Everything is mended, everybody answers: now nothing may be missing."""
        if self.killed:
            self.reborn()
        self.mend()
        self.loop.advance(RULES.lease + 60)
        for client in [*self.wire.clients.values()]:
            self.do(self.wire.noticed(client))
        good = self.wire.connect(polling=False)
        for queue in QUEUES:
            self.allowed[good.sid, queue] = 4
            self.do(self.queues.subscribe(good.sid, queue, 4))
        for _ in range(400):  # poison is alone for up to two leases each, of two full queues
            self.loop.advance(5)
            self.wire.read(good)
            for delivery, number in good.held:
                sent = self.by_receipt[delivery["receipt"]]
                if sent.message.number in self.poisonous:
                    continue  # who handles it answers nothing, so it has to be dead in the end
                self.answered(sent)
                self.acknowledge(good, number, delivery["receipt"])
            good.held.clear()
            # Both are looked at: who is dead in one is forgotten while much is left in the other.
            if sum(self.left(queue) for queue in QUEUES) == 0:
                break
        else:
            raise AssertionError("there is always something left")
        for queue in QUEUES:
            for message in self.in_queue(queue):
                if message.stored and message.gone is False:
                    assert message.dead, f"lost: {message}"
        for _, group in itertools.groupby(self.messages, key=lambda message: message.number):
            seen = {bool(m.attempts or m.dead) for m in group if m.gone is False or m.attempts}
            assert len(seen) < 2, "a part of a fan-out is missing"
        self.do(self.queues.close())

    def left(self, queue: str) -> int:
        stats = self.stats(queue)
        return stats.ready + stats.leased + stats.delayed if stats else 0

    def stats(self, queue: str) -> Any:
        """Return the queue's own counts; the dead are looked at, too."""
        if self.full:
            return None
        stats, dead = self.do(self.counted(queue), self.queues.dead(queue, 1000))
        if stats is None or dead is None:
            return None
        self.look_at_the_dead(queue, dead)
        assert stats.dead == len(dead)
        return stats

    async def counted(self, queue: str) -> Any:
        try:
            return await self.queues.stats(queue)
        except LookupError:
            left = [m for m in self.in_queue(queue) if m.stored and m.gone is False]
            assert not left, f"forgotten: {left}"
            return None

    def in_queue(self, queue: str) -> list[Message]:
        return [message for message in self.messages if message.queue == queue]

    # -- what is sent ----------------------------------------------------------------------------

    def on_sent(self, client: Client, delivery: dict[str, Any], number: int) -> None:
        try:
            self.look_at(client, delivery, number)
        except AssertionError as error:  # else: a message that cannot be sent
            self.loop.errors.append(error)

    def look_at(self, client: Client, delivery: dict[str, Any], number: int) -> None:
        """The promises that every single delivery has to keep."""
        now, queue = self.loop.now, delivery["queue"]
        found = [m for m in self.in_queue(queue) if m.number == number]
        assert found, f"made up: {number} in {queue}"
        [message] = found
        message.stored, message.id = True, message.id or delivery["id"]
        assert message.id == delivery["id"], "another id"
        assert message.gone is not True, f"came again after its acknowledgement: {message}"
        message.gone = False
        assert not message.dead, "came though it was dead"
        assert now >= message.not_before - 0.002, "came before its delay was over"
        message.not_before = 0.0  # it is over for good, whatever the clock says then
        assert message.expires is None or now < message.expires, f"came after its time: {message}"
        last = message.last
        number = delivery["attempt"]
        assert last is None or number > last.number, "an attempt that was not counted"
        assert delivery["redelivered"] == (number > 1)
        assert last is None or delivery["redelivered"]
        assert last is None or not last.open or now >= last.until - 0.002, "leased twice"
        assert delivery["receipt"] not in self.by_receipt, "a receipt came again"
        self.weigh(last)
        assert message.failures < RULES.attempts, "tried too often"
        subscription = self.queues._delivery._subscriptions.get((client.sid, queue))
        strict = subscription is not None and subscription.window == len(subscription.sent) == 1
        if strict:
            self.must_be_dead += [
                m
                for m in self.in_queue(queue)
                if m.number < message.number and m.stored and m.gone is False and not m.dead
            ]
        elif number == 1 and not message.unsent:
            this = self.claim_of[message.id]
            before = self.untouched_before(message)
            self.must_be_dead += [m for m in before if self.claim_of.get(m.id, this) == this]
        receipt = delivery["receipt"]
        sent = Sent(message, client, receipt, number, self.ends[receipt], self.life)
        if last is not None:
            last.open = False
        message.attempts.append(sent)
        self.by_receipt[sent.receipt] = sent
        if subscription is not None:
            out = [
                s
                for s in self.by_receipt.values()
                if s.open
                and not s.lost
                and s.client is client
                and s.message.queue == queue
                and s.until > now
            ]
            allowed = self.allowed.get((client.sid, queue), 0)
            assert len(out) <= allowed, "more than the window"

    def look_at_the_dead(self, queue: str, dead: list[Any]) -> None:
        ids = {d.id for d in dead}
        now = self.loop.now
        assert len(dead) <= RULES.dead_length, "too many dead letters"
        if now > max(self.full_until, self.set_until) + 100:
            oldest = min((d.died for d in dead), default=now)
            assert oldest + RULES.dead_memory + DROPPED_WITHIN >= now, "a dead letter for ever"
        for message in self.in_queue(queue):
            dropped = len(dead) == RULES.dead_length or (
                message.died and message.died + RULES.dead_memory <= now + 0.002
            )
            ended = (message.expires or message.expired or now) <= now or message.attempts
            if message.dead and message.id not in ids and dropped:
                message.dead, message.gone = False, True
            elif len(dead) == RULES.dead_length and ended and message.gone is False:
                # It may have died and been dropped between two looks.
                message.gone = message.gone if message.dead else None
        for d in dead:
            [message] = [m for m in self.in_queue(queue) if m.number == d.data]
            assert message.gone is not True, "acknowledged and dead"
            message.id = message.id or d.id
            assert message.id == d.id
            if not message.dead:
                message.dead, message.stored, message.gone = True, True, False
                message.died = d.died
                if d.reason == "expired":
                    expires = message.expires or message.expired
                    assert expires is not None
                    assert message.over or self.loop.now >= expires - 0.002, "too early"
                elif self.life == 1 and not self.full_until:
                    self.weigh(message.last)
                    enough = message.failures == RULES.attempts or message.vague
                    assert enough, f"given up too early: {d.reason}"
                    assert d.attempts == message.attempts[-1].number
            if message.last is not None:
                message.last.open = False
        for message in self.in_queue(queue):
            assert not message.dead or message.id in ids, "a dead one is missing"

    def weigh(self, sent: Sent | None) -> None:
        """Nobody has answered in time, so this attempt has failed; not if its process has died."""
        if sent is not None and not sent.weighed:
            sent.weighed = True
            if sent.life == self.life:
                sent.message.failures += 1
            else:
                sent.message.vague = True

    def given_back(self, sent: Sent, *, begun: bool) -> None:
        """This attempt is over, and no failure; if it was not `begun`, no attempt either."""
        sent.message.vague |= not sent.open or self.loop.now >= sent.until - 0.002
        sent.open, sent.weighed = False, True
        if not begun and sent.message.last is sent:
            sent.message.attempts.pop()
            sent.message.unsent = True  # its turn for a first attempt may be over

    def answered(self, sent: Sent) -> None:
        """The current receipt of a message was given back to the server."""
        sent.open = False
        sent.message.gone = True if not self.full else None
        sent.message.surely = False
        sent.message.since = self.syncs

    syncs = 0

    # -- rules ----------------------------------------------------------------------------------

    @rule(
        wanted=st.lists(
            st.tuples(several, keys, st.sampled_from([None, None, None, 2.0, 40.0])),
            min_size=1,
            max_size=6,
        ),
        delay=st.sampled_from([None, None, None, None, 1.5, 20.0]),
    )
    def emit(self, wanted: Any, delay: float | None = None) -> None:
        doubtful = self.doubtful
        plan = [
            (next(self.numbers), to, None if doubtful.intersection(to) else key, ttl)
            for to, key, ttl in wanted
        ]
        now = self.loop.now
        for n, to, key, ttl in plan:  # a consumer may have it before its producer hears of it
            expires = None if ttl is None else now + ttl
            new = [Message(n, queue, key, expires, None) for queue in to]
            if (late := self.late(ttl, delay)) is not None:
                for message in new:
                    message.not_before, message.unsent = now + late, True  # its turn is later
            self.messages += new
        done = self.do(
            *(
                self.queues.emit("pickup", n, to=to, key=key, ttl=ttl, delay=self.late(ttl, delay))
                for n, to, key, ttl in plan
            )
        )
        for (n, to, key, _), ids in zip(plan, done, strict=True):
            if isinstance(ids, QueueFull):
                assert any(self.may_be_full(queue) for queue in to), "it is not full"
            for place, queue in enumerate(to):
                if isinstance(ids, (QueueFull, StoreError)):
                    self.never_was(n, queue)
                else:
                    self.emitted(n, queue, key, ids and ids[place])
        if self.killed:
            self.reborn()
            for (n, to, key, ttl), ids in zip(plan, done, strict=True):
                if ids is None and key is not None:
                    self.again(n, to, key, ttl, self.late(ttl, delay))

    def late(self, ttl: float | None, delay: float | None) -> float | None:
        """The delay of a message: none that is longer than its time to live."""
        return delay if delay is None or ttl is None or delay < ttl else None

    @property
    def doubtful(self) -> set[str]:
        """The queues that were being deleted when their process was killed, or whose keys were over
        only by a clock that was set: nobody knows whether they know their keys."""
        return self.__dict__.setdefault("_doubtful", set())

    def may_be_full(self, queue: str) -> bool:
        return sum(m.gone is not True and not m.dead for m in self.in_queue(queue)) + 6 > 12

    def never_was(self, n: int, queue: str) -> None:
        [message] = [m for m in self.in_queue(queue) if m.number == n]
        assert not message.attempts, "delivered, though its producer was told that it was not kept"
        self.messages.remove(message)

    def emitted(self, n: int, queue: str, key: str | None, id: str | None) -> None:
        known = self.keys.get((queue, key)) if key is not None else None
        if known is not None and known[1] > self.loop.now:
            assert id is None or known[0].id in (None, id), "the key was forgotten"
            known[0].id = known[0].id or id
            known[0].stored = known[0].stored or (True if id else None)
            self.never_was(n, queue)
            return
        [message] = [m for m in self.in_queue(queue) if m.number == n]
        assert id is None or id not in {m.id for m in self.messages if m is not message}, (
            "an id came again"
        )
        assert message.id in (None, id) or id is None
        message.id, message.stored = message.id or id, message.stored or (True if id else None)
        if key is not None:
            self.keys[queue, key] = (message, self.loop.now + RULES.key_memory)

    def again(
        self, n: int, to: list[str], key: str, ttl: float | None, delay: float | None
    ) -> None:
        """A producer that got no answer says it again, with the same key."""
        [ids] = self.do(self.queues.emit("pickup", n, to=to, key=key, ttl=ttl, delay=delay))
        if isinstance(ids, QueueFull):
            return
        for queue, id in zip(to, ids, strict=True):
            message, _ = self.keys[queue, key]
            assert message.id in (None, id)
            message.id, message.stored = id, True

    @rule(polling=st.sampled_from([False, False, False, True]))
    def connect(self, polling: bool) -> None:
        if len(self.clients) < 4:
            self.clients.append(self.wire.connect(polling=polling))

    @precondition(lambda self: self.clients)
    @rule(who=which, queue=queue_names, window=windows, frame=st.sampled_from([0, 0, 0, 2, 5]))
    def subscribe(self, who: int, queue: str, window: int, frame: int) -> None:
        client = self.one(self.clients, who)
        if client.sid not in self.wire.clients or (client.polling and frame):
            return
        self.consume(client, queue, window, frame)

    @precondition(lambda self: self.clients)
    @rule(who=which, queue=queue_names)
    def unsubscribe(self, who: int, queue: str) -> None:
        client = self.one(self.clients, who)
        self.do(self.queues.unsubscribe(client.sid, queue))
        self.allowed[client.sid, queue] = 16  # what is out stays out, beside a new window

    def reading(self, who: int) -> Client | None:
        """Somebody reads what has come; None if nobody has anything to answer."""
        able = [c for c in self.clients if (c.held or c.packets) and not c.cut]
        if not able:
            return None
        client: Client = self.one(able, who)
        self.wire.read(client)
        read = [self.by_receipt[delivery["receipt"]].message.number for delivery, _ in client.held]
        if self.poisonous.isdisjoint(read):
            return client
        self.die(client)
        return None

    def die(self, client: Client) -> None:
        """The process of a client ends by what it has read; another one does its work."""
        queues = [(queue, n) for (sid, queue), n in self.allowed.items() if sid == client.sid]
        client.held.clear()
        client.packets.clear()
        self.clients.remove(client)
        self.do(self.wire.noticed(client))
        again = self.wire.connect(polling=False)
        self.clients.append(again)
        for queue, window in queues:
            self.consume(again, queue, window)

    @rule(queue=queue_names, seldom=st.integers(0, 2))
    def poison(self, queue: str, seldom: int) -> None:
        """Somebody emits a message that will kill whoever reads it."""
        if not seldom:
            last = next(self.numbers)
            self.emit([([queue], None, None)])
            self.poisonous |= {m.number for m in self.messages if m.number > last}

    @rule(who=which, what=which, ways=st.lists(ways, min_size=1, max_size=6))
    def answer(self, who: int, what: int, ways: list[str]) -> None:
        """A client has dealt with some messages, or its library acknowledges their packets."""
        client = self.reading(who)
        for how in ways:
            if client is not None and client.held and client in self.clients and not self.killed:
                self.answer_one(client, what, how)

    def answer_one(self, client: Client, what: int, how: str) -> None:
        delivery, number = client.held.pop(what % len(client.held))
        sent = self.by_receipt[delivery["receipt"]]
        if how == "nothing":
            return
        if how == "packet" and number is not None:
            self.answered_by_packet(sent)
            self.acknowledge(client, number, sent.receipt)
        elif how == "other" and number is not None and client.held:
            # The receipt decides, not the number of the packet that is acknowledged.
            (other, own), client.held[0] = client.held[0], (delivery, number)
            sent = self.by_receipt[other["receipt"]]
            if own is not None:
                self.answered_by_packet(sent)
                self.acknowledge(client, number, sent.receipt)
        elif how in ("bare", "wrong") and number is not None:
            others = [r for r, s in self.by_receipt.items() if self.current(s) is False]
            wrong = self.one(others, what) if others else "x"
            self.unchanged(
                lambda: self.acknowledge(client, number, *([wrong] if how == "wrong" else []))
            )
            client.held.append((delivery, None))  # it may still answer by an event
        else:
            data = {"receipts": [sent.receipt]} if how == "many" else {"receipt": sent.receipt}
            self.settle_by_event(client, sent, "received", data)

    def answered_by_packet(self, sent: Sent) -> None:
        """Nobody is told whether that was in time."""
        must = self.current(sent)
        if must is not False:
            self.answered(sent)
        if must is None:
            sent.message.gone = None

    @rule(who=which, what=which, delay=st.sampled_from([None, 0, 3.0, 50.0]))
    def refuse(self, who: int, what: int, delay: float | None) -> None:
        client = self.reading(who)
        if client is not None:
            delivery, _ = client.held.pop(what % len(client.held))
            sent = self.by_receipt[delivery["receipt"]]
            data = {"receipt": sent.receipt, "delay": delay, "reason": "planted"}
            self.settle_by_event(client, sent, "failed", data)

    @precondition(lambda self: self.by_receipt and self.clients)
    @rule(who=which, what=which, event=st.sampled_from(["received", "failed"]))
    def any_receipt(self, who: int, what: int, event: str) -> None:
        """Anybody answers with any receipt: stale, foreign, used, or indeed their own."""
        client = self.one(self.clients, who)
        sent = self.one([*self.by_receipt.values()], what)
        if not client.cut:
            self.settle_by_event(client, sent, event, {"receipt": sent.receipt})

    def settle_by_event(self, client: Client, sent: Sent, event: str, data: dict[str, Any]) -> None:
        must = self.current(sent)
        if sent.client is not client:
            gone = sent.client.sid not in self.wire.clients
            subscriptions = self.queues._delivery._subscriptions
            stands_in = gone and (client.sid, sent.message.queue) in subscriptions
            must = (None if must else must) if stands_in else False
        before = [self.stats(queue) for queue in QUEUES]
        if self.killed:
            return
        was, message = sent.open, sent.message
        if must is not False:  # it may be sent again before this is answered
            sent.open = False
            if event == "failed" and must:
                delay = data.get("delay")
                least = 0.5 * min(RULES.longest_back_off, 2.0**message.failures)
                wait = least if delay is None else delay
                message.not_before = self.loop.now + wait if wait else 0.0
        [answer] = self.do(self.wire.handlers["/"][event](client.sid, data))
        if answer is None:  # killed: who knows
            if must is not False:
                message.gone, message.not_before = None, 0.0
            return
        if not answer.get("ok"):
            sent.open, message.not_before = was, 0.0
        if "error" in answer:
            assert self.full
            sent.message.gone = sent.message.gone or None
            sent.lost = True
            return
        assert must is None or answer["ok"] is must or self.full, f"{event}: {answer}, not {must}"
        if answer["ok"] and event == "received":
            self.answered(sent)
        elif answer["ok"]:
            sent.open = False
            self.weigh(sent)
        elif must is False and not sent.lost:  # else there is room in its window now
            after = [self.stats(queue) for queue in QUEUES]
            same = [*map(self.as_many, before)] == [*map(self.as_many, after)]
            assert self.full or self.killed or same, f"{before} became {after}"

    def as_many(self, stats: Any) -> int:
        """Return the number of messages in whatever state: an answer that settles nothing shows all
        the same that its client lives, and so that it may be given more."""
        return stats.ready + stats.leased + stats.delayed + stats.dead if stats else 0

    def acknowledge(self, client: Client, number: int, *answer: Any) -> None:
        self.loop.create_task(self.wire._handle_ack(client.sid, "/", number, [*answer]))
        self.loop.settle()

    def current(self, sent: Sent) -> bool | None:
        """Return whether this receipt counts; None: its lease is over, perhaps unnoticed."""
        if not sent.open or sent.message.last is not sent or sent.message.gone is not False:
            return False
        return True if self.loop.now < sent.until - 0.002 and not self.full_until else None

    def unchanged(self, work: Any) -> None:
        before = [self.as_many(self.stats(queue)) for queue in QUEUES]
        work()
        if not self.killed and not self.full:
            after = [self.as_many(self.stats(queue)) for queue in QUEUES]
            assert before == after or self.killed

    @precondition(lambda self: self.clients)
    @rule(who=which, noticed=st.booleans())
    def cut(self, who: int, noticed: bool) -> None:
        """A cable is cut; the server notices at once, or the next time this happens."""
        client = self.one(self.clients, who)
        client.cut = True
        client.packets.clear()
        if noticed:
            self.do(self.wire.noticed(client))
            self.clients.remove(client)

    @precondition(lambda self: self.clients)
    @rule(who=which)
    def goodbye(self, who: int) -> None:
        """A client disconnects: what it had may be begun by others at once."""
        client = self.one(self.clients, who)
        if client.sid not in self.wire.clients:
            return
        self.clients.remove(client)
        for sent in self.by_receipt.values():
            if sent.client is client and sent.open:
                self.given_back(sent, begun=True)
        self.do(self.wire.noticed(client, goodbye=True))

    @rule(who=which, what=which, begun=st.booleans())
    def give_back(self, who: int, what: int, begun: bool) -> None:
        """A client is stopped before it has handled a message."""
        client = self.reading(who)
        if client is None or self.killed:
            return
        delivery, _ = client.held.pop(what % len(client.held))
        sent = self.by_receipt[delivery["receipt"]]
        must, was = self.current(sent), sent.open
        if must is not False:
            sent.open = False
        data = {"receipt": sent.receipt, "begun": begun}
        if must is not False:
            self.given_back(sent, begun=begun)
            sent.message.vague |= must is None
        [answer] = self.do(self.wire.handlers["/"]["released"](client.sid, data))
        if answer is not None and "error" not in answer:
            assert must is None or answer["ok"] is must or self.full
            assert was or not answer["ok"]

    @rule(who=which, what=which, pause=st.booleans())
    def work(self, who: int, what: int, pause: bool) -> None:
        """A client is still at work: its lease runs anew."""
        client = self.reading(who)
        if client is None or self.killed:
            return
        delivery, _ = self.one(client.held, what)
        sent = self.by_receipt[delivery["receipt"]]
        must, was, until = self.current(sent), sent.until, self.loop.now + RULES.lease
        sent.until = until if must else was
        data = {"receipt": sent.receipt, "pause": pause}
        [answer] = self.do(self.wire.handlers["/"]["working"](client.sid, data))
        sent.until = until if answer and answer.get("ok") else was
        if answer is not None and "error" not in answer:
            assert must is None or answer["ok"] is must or self.full

    @rule(seconds=st.sampled_from([0.02, 0.5, 2.0, 5.0, 29.0, 31.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)
        if seconds >= 0.5 and not self.full and not self.killed:
            self.nobody_stalls()

    @rule(ahead=st.sampled_from([-3600.0, -1800.0, -70.0, -3.0, 0.0, 3.0, 70.0, 3600.0]))
    def set_the_clock(self, ahead: float) -> None:
        """Somebody sets the clock on the wall: who is running sees nothing of it."""
        self.clocks.ahead = ahead
        self.loop.settle()

    def the_clock_was_set(self) -> None:
        """The process has begun at another time of day than the last one has ended."""
        self.reached = self.clock() - self.loop.now  # it goes on from what is in a log
        self.loop.now += self.reached
        now, back, self.log.moved_back = self.loop.now, self.log.moved_back, 0.0
        set_by = now - self.ended
        assert back <= max(0.0, 1.0 - set_by), f"{back} s back, by a clock {set_by} s ahead"
        for message in self.messages:
            message.died -= back if message.died else 0.0
            message.not_before -= back if message.not_before else 0.0
            ends = message.expires or message.expired
            message.over |= set_by != 0.0 and ends is not None and ends <= self.ended + 0.002
            unseen = message.over and not message.dead and message.gone is False
            if unseen and set_by > RULES.dead_memory - 60:
                message.gone = None  # it may have been dead, and dropped
            if message.expired is not None:
                message.expired -= back
            if message.expires is not None:
                message.expires -= back
                sure = message.stored and message.gone is False
                assert not sure or message.expires <= now + 41, f"it is kept for long: {message}"
        for known, (message, until) in self.keys.items():
            if (until <= self.ended) != (until - back <= now):  # forgotten for good, or not
                self.doubtful.add(known[0])
            self.keys[known] = message, until - back
        self.full_until += set_by if self.full_until else 0.0
        if set_by:
            self.set_until = now

    def nobody_stalls(self) -> None:
        self.loop.advance(0.02)  # a timer may be a moment late
        if self.killed or self.loop.now < self.full_until + 40:
            return
        for queue in QUEUES:
            stats = self.stats(queue)
            if not stats or not stats.ready:
                continue
            for (sid, name), subscription in self.queues._delivery._subscriptions.items():
                if name != queue or sid not in self.wire.clients:
                    continue
                client = self.wire.clients[sid]
                if client.polling and len(client.packets) >= 12:
                    continue  # it takes nothing
                others = [
                    other
                    for (other_sid, q), other in self.queues._delivery._subscriptions.items()
                    if q == queue and other_sid in self.wire.clients and not other.suspect
                ]
                held_up = subscription._paused or (subscription.suspect and others)
                if held_up or self.one_is_alone(subscription._turns):
                    stalls = False
                elif subscription.window == 1:
                    stalls = not (subscription.sent or stats.leased or stats.delayed)
                elif subscription.suspect:
                    stalls = not subscription.sent
                else:
                    stalls = subscription.window > len(subscription.sent)
                    stalls &= not client.polling or len(subscription.sent) < 12
                assert not stalls, f"{stats} of {queue!r}, and {subscription.sid} waits for it"

    def one_is_alone(self, turns: Any) -> bool:
        """Return whether a suspect message is in flight to a client, or waits for what is."""
        in_flight = [sent for member in turns._members for sent in member.sent.values()]
        waits = any(
            until > self.loop.now or member.sent for member, until in turns._waiting.items()
        )
        return any(sent.suspect for sent in in_flight) or bool(in_flight and waits)

    @rule(queue=queue_names, all_of_them=st.booleans(), what=which)
    def redrive(self, queue: str, all_of_them: bool, what: int) -> None:
        if self.full or self.stats(queue) is None:
            return
        dead = [m for m in self.in_queue(queue) if m.dead]
        chosen = dead if all_of_them or not dead else [self.one(dead, what)]
        ids = None if all_of_them else [*(m.id for m in chosen), "x-1", "nonsense"]
        expired = [message.expires or message.expired for message in chosen]
        for message in chosen:
            message.dead, message.failures, message.expires, message.expired = False, 0, None, None
            message.not_before = 0.0
            if message.last is not None:
                message.last.weighed = True
            message.unsent = True  # its turn for a first attempt may be over
        dying = self.dying(queue) if all_of_them else []
        for message in dying:
            message.expires, message.expired, message.unsent = None, message.expires, True
            message.failures, message.vague = 0, True
        [n] = self.do(self.queues.redrive(queue, ids))
        if n is None:  # killed: they may be dead or alive
            for message, when in zip(chosen, expired, strict=True):
                message.dead, message.expired = False, when
        else:
            assert len(chosen) <= n <= len(chosen) + len(dying)

    def dying(self, queue: str) -> list[Message]:
        """Return what was given back after its time: it may be dead by now, or not yet."""
        return [
            m
            for m in self.in_queue(queue)
            if not m.dead and m.gone is not True
            if m.expires is not None and m.expires <= self.loop.now
        ]

    @rule(queue=queue_names, whole=st.booleans(), seldom=st.integers(0, 2))
    def purge(self, queue: str, whole: bool, seldom: int) -> None:
        """Somebody deletes all that waits, or the queue with everything."""
        if seldom or self.full or self.stats(queue) is None:
            return
        mine = [m for m in self.in_queue(queue) if m.gone is not True and (whole or not m.dead)]
        dying = self.dying(queue)
        sure = [m for m in mine if whole or m not in dying]
        most, least = len(mine), sum(m.stored is True and m.gone is False for m in sure)
        for message in mine:
            message.gone, message.dead = None, False
        work = self.queues.delete if whole else self.queues.purge
        [n] = self.do(work(queue))
        if n is None:  # killed: a part of it, or nothing
            if whole:
                self.doubtful.add(queue)
            return
        assert least <= n <= most, f"{n} deleted, not {least} to {most}"
        for message in mine:
            if message.last is not None:
                message.last.lost = True  # its window has room again once it is answered
        for message in sure:
            message.gone, message.surely, message.since = True, True, -1
        if whole:
            for known in [known for known in self.keys if known[0] == queue]:
                del self.keys[known]
            self.doubtful.discard(queue)

    @rule(queue=queue_names, all_of_them=st.booleans(), what=which)
    def discard(self, queue: str, all_of_them: bool, what: int) -> None:
        """Somebody deletes dead letters: all, or one of them."""
        if self.full or self.stats(queue) is None:
            return
        dead = [m for m in self.in_queue(queue) if m.dead]
        chosen = dead if all_of_them or not dead else [self.one(dead, what)]
        ids = None if all_of_them else [*(m.id for m in chosen), "x-1", "nonsense"]
        for message in chosen:
            message.dead, message.gone, message.expired = False, None, message.expires
        dying = self.dying(queue) if all_of_them else []
        certain = {message: message.gone for message in dying}
        for message in dying:
            message.gone = None
        [n] = self.do(self.queues.discard(queue, ids))
        if n is None:
            return
        assert len(chosen) <= n <= len(chosen) + len(dying)
        if n == len(chosen):  # none of the dying
            for message, gone in certain.items():
                message.gone = gone
        for message in chosen if n < len(chosen) + len(dying) else [*chosen, *dying]:
            message.gone, message.surely, message.since = True, True, -1

    def all_that_has_expired_is_dead(self) -> None:
        now = self.loop.now
        if self.full or now < self.full_until + 100:
            return
        for message in self.messages:
            if message.expires is None or message.dead or message.gone is not False:
                continue
            doubt = message.unsent or message.attempts  # it may be leased, unseen
            late = EXPIRES_WITHIN + (RULES.lease if doubt else 0.0)
            held = any(sent.open and sent.until > now - EXPIRES_WITHIN for sent in message.attempts)
            assert (
                held or not message.stored or now < max(message.expires, self.set_until) + late
            ), f"alive: {message}"

    @invariant()
    def adds_up(self) -> None:
        if not hasattr(self, "loop"):
            return
        assert not self.log.errors, self.log.errors
        if self.killed:
            self.reborn()
        for queue in QUEUES:
            stats = self.stats(queue)
            if self.killed:
                self.reborn()
                return
            messages = self.in_queue(queue)
            least = sum(m.stored is True and m.gone is False for m in messages)
            most = sum(m.gone is not True for m in messages)
            if stats is not None:
                total = stats.ready + stats.leased + stats.delayed + stats.dead
                assert least <= total <= most, f"{stats} of {queue!r}, not {least} to {most}"
                assert min(stats.ready, stats.leased, stats.delayed) >= 0
        if not self.full:
            alive = [m for m in self.must_be_dead if not m.dead and m.gone is False]
            assert not alive, f"overtaken: {alive}"
            self.must_be_dead.clear()
            self.all_that_has_expired_is_dead()
            for message in self.messages:
                message.surely = message.gone is True
        for sid, callbacks in self.wire.callbacks.items():
            alive = [s for s in self.by_receipt.values() if s.client.sid == sid]
            assert len(callbacks) - 1 <= sum(s.open for s in alive) + 1, "callbacks are left behind"

    def mend(self) -> None:
        """There is nothing to mend."""

    def reborn(self) -> None:
        raise NotImplementedError

    def one(self, things: Any, number: int) -> Any:
        return things[number % len(things)]

    @property
    def allowed(self) -> dict[tuple[str, str], int]:
        return self.__dict__.setdefault("_allowed", {})


class MemoryMachine(Machine):
    async def open(self, life: int) -> Any:
        return MemoryStore(clock=self.clock, **LIMITS)


class SqliteMachine(Machine):
    """With a disk that can be full, and a process that can be killed."""

    store: InlineStore

    async def open(self, life: int) -> Any:
        return await inline_store(
            self.folder / f"{life}.db",
            clock=self.clock,
            **LIMITS,
        )

    @property
    def killed(self) -> bool:
        return self.store.disk.killed

    @property
    def syncs(self) -> int:  # type: ignore[override]
        return self.store.disk.syncs

    @rule(
        moment=st.integers(0, 60),
        torn=st.sampled_from([0.0, 0.3, 0.7, 0.99, 1.0]),
        power=st.booleans(),
    )
    def kill(self, moment: int, torn: float, power: bool) -> None:
        """The process is going to be killed, before some statement or in a commit."""
        disk = self.store.disk
        disk.moment, disk.torn, disk.power = moment, torn, power

    @rule(power=st.booleans(), seldom=st.integers(0, 2))
    def kill_now(self, power: bool, seldom: int) -> None:
        if seldom:
            return
        self.store.disk.die(power=power)
        self.reborn()

    @precondition(lambda self: not self.full)
    @rule(seldom=st.integers(0, 2))
    def close_and_open(self, seldom: int) -> None:
        """A goodbye, with everything answered that was asked."""
        if seldom:
            return
        self.do(self.queues.close(within=0))
        if self.killed:
            self.reborn()
            return
        self.stop()
        (self.folder / f"{self.life - 1}.db").rename(self.folder / f"{self.life}.db")
        for sent in self.by_receipt.values():
            sent.open = False
        self.allowed.clear()
        self.start()
        self.arrive()

    @precondition(lambda self: not self.full)
    @rule(ahead=st.sampled_from([-3600.0, -1800.0, -70.0, 3600.0]), goodbye=st.booleans())
    def restart_at_another_time(self, ahead: float, goodbye: bool) -> None:
        """The clock on the wall is set while nobody is there."""
        self.set_between = ahead
        if goodbye:
            self.close_and_open(0)
        else:
            self.kill_now(False, 0)

    def reborn(self) -> None:
        """Start again from what the killed process left in its files."""
        disk, life = self.store.disk, self.life
        power, syncs = disk.power, disk.syncs
        self.stop()
        disk.close()
        for suffix, content in disk.left.items():
            (self.folder / f"{life}.db{suffix}").write_bytes(content)
        for sent in self.by_receipt.values():
            sent.open = False
        for message in self.messages:
            if message.gone is True and (not message.surely or (power and message.since >= syncs)):
                message.gone = None  # its acknowledgement may have been lost
            message.since = -1
            message.not_before = 0.0 if power else message.not_before
            if power:  # a negative acknowledgement may have been lost
                message.failures, message.vague = 0, True
        self.full = False
        self.must_be_dead.clear()
        self.allowed.clear()
        self.start()
        self.arrive()

    @precondition(lambda self: not self.full)
    @rule()
    def fill(self) -> None:
        """The disk is full from now on."""
        pages = self.store.disk._db.execute("PRAGMA page_count").fetchone()[0]
        self.store.disk._db.execute(f"PRAGMA max_page_count = {pages}")
        self.full = True

    @precondition(lambda self: self.full)
    @rule()
    def mend(self) -> None:
        self.store.disk.moment = None
        if self.full and not self.killed:
            self.store.disk._db.execute("PRAGMA max_page_count = 1000000")
            self.full_until = self.loop.now
            self.full = False
            self.loop.advance(31)


async def asked(verb: Any, *args: Any, **options: Any) -> Any:
    return await verb(*args, **options)


class NatsMachine(Machine):
    """With servers that cannot be reached, a process that can be killed, and a rival beside it.

    The log is cleaned up every few records, and hardly a body is at hand.
    """

    store: NatsStore

    async def open(self, life: int) -> Any:
        if life == 0:
            self.url = new_stream()
        self.disk, self.other = InlineLog(self.url, Killed), InlineLog(self.url, Killed)
        clocks = (self.clock, steady(self.clocks.time))
        logs = (self.disk, self.other)
        store, self.rival = [await self.opened(*each) for each in zip(logs, clocks, strict=True)]
        return store

    def watch_claims(self) -> None:
        answer = self.store._answer  # in the order of the log; bodies may have to be fetched

        def noting(asked: Any, result: Any) -> None:
            if asked.part is not None and asked.part.verb[0] == "claim":
                state = self.store._replica.state
                ids = [(state.id(each.item), each.attempts) for each in result[0]]
                self.on_claimed(asked.part.verb[1], ids)
            answer(asked, result)

        self.store._answer = noting  # type: ignore[method-assign]

    async def opened(self, log: InlineLog, clock: Steady) -> NatsStore:
        store = NatsStore(
            log,
            clock=clock,
            snapshot=8,
            **LIMITS,
        )
        store.linger, store._replica.bodies.most = 0, 300
        await store.start()
        return store

    @precondition(lambda self: not self.full)
    @rule(queue=queue_names, limit=st.integers(1, 4), in_order=st.booleans(), what=which)
    def another_server(self, queue: str, limit: int, in_order: bool, what: int) -> None:
        """It claims what it can get, tries somebody's receipt, and gives all back unsent."""
        now = self.loop.now
        self.do(self.other.catch_up())
        rival = self.rival
        [claimed] = self.do(asked(rival.claim, queue, limit, 30.0, in_order=in_order))
        got = {attempt.id for attempt in claimed.attempts}
        for message in self.in_queue(queue):
            sent = message.last
            if message.id in got:
                message.unsent = True
                assert message.gone is not True, "another server got what was acknowledged"
                assert not message.dead, "another server got what is dead"
                assert sent is None or not sent.open or now >= sent.until - 0.002, "leased twice"
                if sent is not None:
                    sent.open = False
                    self.weigh(sent)
        stale = [s.receipt for s in self.by_receipt.values() if s.message.gone or s.message.dead]
        if stale:
            assert self.do(asked(rival.ack, [self.one(stale, what)])) == [[False]]
        self.do(*(asked(rival.release, a.receipt, sent=False) for a in claimed.attempts))
        self.do(self.disk.catch_up())
        self.loop.settle()

    @property
    def killed(self) -> bool:
        return self.disk.killed

    @rule(moment=st.integers(0, 20), late=st.booleans())
    def kill(self, moment: int, late: bool) -> None:
        """The process is going to be killed, before or after a record is written."""
        self.disk.moment, self.disk.late = moment, late

    @rule(seldom=st.integers(0, 2))
    def kill_now(self, seldom: int) -> None:
        if seldom:
            return
        self.disk.die()
        self.reborn()

    @precondition(lambda self: not self.full)
    @rule(seldom=st.integers(0, 2))
    def close_and_open(self, seldom: int) -> None:
        """A goodbye, with everything answered that was asked."""
        if seldom:
            return
        self.do(self.queues.close(within=0))
        self.again_from_the_log(surely=not self.killed)

    @precondition(lambda self: not self.full)
    @rule(ahead=st.sampled_from([-3600.0, -1800.0, -70.0, 3600.0]), goodbye=st.booleans())
    def restart_at_another_time(self, ahead: float, goodbye: bool) -> None:
        """The clock on the wall is set while nobody is there."""
        self.set_between = ahead
        if goodbye:
            self.close_and_open(0)
        else:
            self.kill_now(0)

    def reborn(self) -> None:
        """Start again from what is in the log."""
        self.again_from_the_log(surely=False)

    def again_from_the_log(self, *, surely: bool) -> None:
        self.stop()
        self.disk.disconnect()
        self.other.disconnect()
        for sent in self.by_receipt.values():
            sent.open = False
        for message in self.messages:
            if message.gone is True and not (surely or message.surely):
                message.gone = None  # its acknowledgement may have been lost
        self.full = False
        self.must_be_dead.clear()
        self.allowed.clear()
        self.start()
        state = self.store._replica.state
        leased = {state.id(item) for item in state._receipts.values()}
        for message in self.messages:  # a lease outlives its server, though nobody has seen it
            message.unsent |= message.id in leased
        self.arrive()

    @precondition(lambda self: not self.full)
    @rule()
    def fill(self) -> None:
        """The servers cannot be reached from now on."""
        self.disk.away = self.full = True

    @precondition(lambda self: self.full)
    @rule()
    def mend(self) -> None:
        self.disk.moment = None
        if self.full and not self.killed:
            self.disk.away = self.full = False
            self.full_until = self.loop.now
            self.loop.advance(31)

    def the_end(self) -> None:
        if self.killed:
            self.reborn()
        self.rival._alarm.cancel()  # or it would write a record that nobody here has read
        self.mend()
        self.do(self.disk.catch_up())
        super().the_end()
        self.other.disconnect()
        again = InlineLog(self.url, Killed)
        other = NatsStore(again)
        self.loop.run_until_complete(other.start())
        known = self.store._replica.state
        assert other._replica.state.applied >= known.applied
        theirs = other._replica.state
        known.applied = theirs.applied
        assert whole(theirs) == whole(known), "another server would tell another story"
        now = self.loop.now
        assert [*theirs.keys.since(0, now)] == [*known.keys.since(0, now)], (
            "it would know other keys"
        )
        again.forget()


PROFILE = settings(
    derandomize=not EXAMPLES,
    max_examples=EXAMPLES or size(30, 200),
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[*HealthCheck],
    # Who plants mistakes wants to know that one is found, not how short it can be told.
    phases=[Phase.generate] if os.environ.get("CHATQ_MUTANT") else [Phase.generate, Phase.shrink],
)
TestMemory = MemoryMachine.TestCase
TestMemory.settings = PROFILE
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = PROFILE
TestNats = pytest.mark.long(pytest.mark.needs("nats")(NatsMachine.TestCase))
TestNats.settings = settings(PROFILE, max_examples=EXAMPLES or 80)  # each takes half a second


def test_each_lease_of_a_consumption_that_was_ended_is_looked_at():
    """Not the last one alone: found by the machine, once, among all tests."""
    machine = MemoryMachine()
    machine.begin(jitter=0)
    for step, given in (
        (machine.emit, {"wanted": [(["a", "b"], None, 2.0)]}),
        (machine.unsubscribe, {"queue": "b", "who": 1}),
        (machine.emit, {"wanted": [(["a", "b"], None, None)]}),
        (machine.wait, {"seconds": 29.0}),
        (machine.emit, {"wanted": [(["a", "b"], None, None)]}),
        (machine.unsubscribe, {"queue": "b", "who": 0}),
        (machine.wait, {"seconds": 2.0}),
        (machine.subscribe, {"frame": 0, "queue": "b", "who": 0, "window": 1}),
    ):
        step(**given)
        machine.adds_up()
    machine.teardown()


@pytest.mark.needs("nats")
@pytest.mark.parametrize("verb", ["discard", "redrive"])
def test_what_was_given_back_after_its_time_is_among_all_the_dead(verb):
    """Also before anybody has swept: found by the machine, which thought that it still waits."""
    machine = NatsMachine()
    machine.begin(jitter=3)
    for step, given in (
        (machine.emit, {"wanted": [(["a"], None, None)] * 3 + [(["a", "b"], None, 2.0)]}),
        (machine.wait, {"seconds": 29.0}),
        (machine.cut, {"noticed": False, "who": 0}),
        (machine.another_server, {"queue": "a", "limit": 1, "in_order": False, "what": 0}),
        (machine.goodbye, {"who": 0}),
    ):
        step(**given)
        machine.adds_up()
    assert machine.dying("a")
    assert not any(message.dead for message in machine.in_queue("a"))
    getattr(machine, verb)(queue="a", all_of_them=True, what=0)
    machine.adds_up()
    machine.teardown()


def test_what_the_inline_store_replaces_is_still_there():
    """Or the machine would try the real thread, and nobody would know."""
    replaced = {name for name, what in vars(InlineStore).items() if callable(what)}
    assert replaced == {"_run", "_submit", "close"}
    assert replaced <= {*vars(SqliteStore)}
