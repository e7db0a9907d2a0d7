"""Attempts, and what counts as a failure: answers that are late, connections that are cut,
processes that die, and servers that are restarted under a consumer that is at work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import hubs
import pytest
import socketio
from clock import Clock
from hubs import DEADLINE, Inbox

from chatq import Queues, Rules
from chatq.internals.server_events import ServerEvents
from chatq.queues.store import Stats


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path):
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/q.db"


class Worker:
    """A client that subscribes in its `connect` handler and connects again by itself. Its handlers
    begin, wait for `go`, and answer with the receipt by a packet acknowledgement."""

    def __init__(self, client: socketio.AsyncClient) -> None:
        self.client, self.go = client, asyncio.Event()
        self.begun: list[Any] = []
        self.receipts: list[str] = []  # of what was begun
        self.done: list[Any] = []
        self.sids: list[str] = []  # of its connections, as the server knows them
        self._more = asyncio.Event()
        client.on("connect", self._connected)
        client.on("job", self._job)

    async def _connected(self) -> None:
        await self.client.emit("consume")

    async def _job(self, data: Any, delivery: dict[str, Any]) -> str:
        self.begun.append(data)
        self.receipts.append(delivery["receipt"])
        self._more.set()
        await self.go.wait()
        self.done.append(data)
        return delivery["receipt"]

    async def until_begun(self, n: int) -> None:
        await self.until(lambda: len(self.begun) >= n)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._more.clear()
                await self._more.wait()

    def consumes(self, sid: str) -> None:
        self.sids.append(sid)
        self._more.set()

    async def cut(self) -> None:
        """The connection ends without a goodbye."""
        await self.client.eio.ws.close()


@contextlib.asynccontextmanager
async def at_work(stage, sio, queues, window: int = 4) -> AsyncIterator[Worker]:
    """A worker of the queue "q", which the server lets consume when it asks."""

    @sio.on("consume")
    async def consume(sid: str) -> None:
        await queues.subscribe(sid, "q", window=window)
        worker.consumes(sid)

    client = socketio.AsyncClient(reconnection_delay=0.01, randomization_factor=0)
    worker = Worker(client)
    await client.connect(stage.url, transports=["websocket"])
    try:
        yield worker
    finally:
        await client.disconnect()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it holds, with a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not await holds():
            await asyncio.to_thread(lambda: None)


async def settled(queues) -> Stats:
    """Return the stats of "q" once nothing of it waits or is leased."""

    async def nothing_left() -> bool:
        stats = await queues.stats("q")
        return not stats.ready + stats.leased + stats.delayed

    await until(nothing_left)
    return await queues.stats("q")


@contextlib.asynccontextmanager
async def with_a_suspect(stage, sio, url, data: str) -> AsyncIterator[tuple[Queues, Clock]]:
    """Queues, and their clock, with one message in "q", whose consumer was cut and whose lease has
    ended: it may fail three times."""
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30, attempts=3), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        await queues.emit("job", data, to="q")
        await queues.subscribe((await stage.client("ada")).get_sid(), "q")
        await stage.settle()
        await stage.cut("ada")
        clock.now += 31
        yield queues, clock


# -- answers that are late ------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [1, 3])
async def test_a_late_answer_settles_its_own_message_and_no_other(stage, sio, url, cuts):
    """Packets are numbered from 1 on each connection: a late answer has the number of another."""
    async with await Queues.open(url) as queues:
        queues.attach(sio)
        for n in range(4 + 4 * cuts):
            await queues.emit("job", n, to="q")
        async with at_work(stage, sio, queues) as worker:
            for cut in range(1, cuts + 1):
                await worker.until_begun(4 * cut)
                await worker.cut()
            await worker.until_begun(4 + 4 * cuts)
            worker.go.set()
            assert await settled(queues) == Stats()
            assert sorted(worker.done) == [*range(4 + 4 * cuts)]


async def test_a_late_answer_is_no_answer_to_a_call_of_the_server(stage, sio, url):
    async with await Queues.open(url) as queues:
        queues.attach(sio)
        await queues.emit("job", 0, to="q")
        async with at_work(stage, sio, queues) as worker:
            asked, may_answer = asyncio.Event(), asyncio.Event()

            @worker.client.on("question")
            async def answer() -> str:
                asked.set()
                await may_answer.wait()
                return "the answer"

            await worker.until_begun(1)
            await worker.cut()
            await worker.until(lambda: len(worker.sids) == 2)
            async with asyncio.timeout(DEADLINE):
                question = sio.call("question", to=worker.sids[1], timeout=DEADLINE)
                call = asyncio.create_task(question)
                await asked.wait()
                worker.go.set()  # with the number that the question has, too
                assert await settled(queues) == Stats()
                assert not call.done()
                may_answer.set()
                assert await call == "the answer"


@pytest.mark.parametrize("answer", [(), ("no receipt",), (None,), ("x" * 32,), (1, 2)], ids=repr)
async def test_an_answer_that_does_not_fit_takes_nothing_from_anybody(stage, sio, url, answer):
    """A library's bare acknowledgement, or one of something long settled, under its number."""
    async with await Queues.open(url) as queues:
        queues.attach(sio)
        async with at_work(stage, sio, queues) as worker:
            await queues.emit("job", 0, to="q")
            await worker.until_begun(1)
            await worker.until(lambda: bool(worker.sids))
            [sid] = worker.sids
            [number] = {*sio.manager.callbacks[sid]} - {0}
            await sio._handle_ack(sio.manager.eio_sid_from_sid(sid, "/"), "/", number, [*answer])
            worker.go.set()
            assert await settled(queues) == Stats()
            assert worker.done == [0]


# -- connections that end -------------------------------------------------------------------------


async def test_a_goodbye_gives_back_at_once_what_a_cut_keeps_until_the_lease_ends(stage, url, sio):
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30, attempts=1), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        for n in range(3):
            await queues.emit("job", n, to="q")
        for way in ("goodbye", "goodbye", "cut"):
            ada = await stage.client("ada")
            inbox = Inbox(ada, "/")
            await queues.subscribe(ada.get_sid(), "q")
            await inbox.until(3)
            if way == "cut":
                await stage.cut("ada")
            else:
                await sio._handle_disconnect(sio.manager.eio_sid_from_sid(ada.get_sid(), "/"), "/")
            await stage.settle()
            stats = await queues.stats("q")
            assert (stats.leased, stats.ready) == ((3, 0) if way == "cut" else (0, 3)), way
            await ada.disconnect()
        clock.now += 30
        assert (await queues.stats("q")).leased == 0


async def test_a_message_that_ends_its_consumers_takes_no_other_with_it(stage, url, sio):
    """Each consumer is gone as soon as it is given the poison, with all that is out to it."""
    clock, attempts = Clock(), 3
    async with await Queues.open(url, Rules(lease=30, attempts=attempts), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        jobs = ["good 1", "poison", "good 2", "good 3"]
        for job in jobs:
            await queues.emit("job", job, to="q")
        handled: list[str] = []
        for n in range(20):
            if not (await queues.stats("q")).ready:
                break
            name = f"worker {n}"
            client = await stage.client(name)

            @client.on("job")
            async def job(job, delivery, name=name):
                if job == "poison":
                    await stage.cut(name)
                handled.append(job)
                return delivery["receipt"]

            await queues.subscribe(client.get_sid(), "q", window=10)
            await stage.settle()
            if client.connected:
                await stage.cut(name)
            clock.now += 31
            queues.tick()
        [dead] = await queues.dead("q")
        assert (dead.data, dead.attempts) == ("poison", attempts)
        assert {*handled} >= {"good 1", "good 2", "good 3"}


@pytest.mark.parametrize("window", [1, 5])
async def test_a_message_that_ends_its_consumers_takes_none_of_their_other_queues_along(
    stage, url, sio, window
):
    """Each consumer of seven queues is gone as soon as it has begun the poison, in the middle of
    its work for the others."""
    clock, attempts = Clock(), 3
    queue_names = [f"q{n}" for n in range(7)]
    async with await Queues.open(url, Rules(lease=30, attempts=attempts), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        for name in queue_names:
            for n in range(2):
                poison = (name, n) == ("q3", 0)
                await queues.emit("job", "poison" if poison else f"{name} {n}", to=name)
        handled: set[str] = set()
        for n in range(40):
            left = [await queues.stats(name) for name in queue_names]
            if not sum(stats.ready + stats.leased for stats in left):
                break
            worker = f"worker {n}"
            client = await stage.client(worker)
            gone = asyncio.Event()

            @client.on("job")
            async def job(job, delivery, worker=worker, gone=gone):
                if job == "poison":
                    gone.set()
                    await stage.cut(worker)
                    return None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gone.wait(), 0.02)  # its work
                if gone.is_set():
                    return None
                handled.add(job)
                return delivery["receipt"]

            sid = client.get_sid()
            with contextlib.suppress(LookupError):  # it is gone already
                for name in queue_names:
                    await queues.subscribe(sid, name, window=window)
            await stage.settle()
            if client.connected:
                await stage.cut(worker)
            clock.now += 31
            queues.tick()
        dead = [letter for name in queue_names for letter in await queues.dead(name)]
        assert [(letter.data, letter.attempts) for letter in dead] == [("poison", attempts)]
        assert len(handled) == 13


@pytest.mark.parametrize(
    ("answered", "after", "gone"), [(0, 5, False), (0, 20, True), (3, 20, True)]
)
async def test_what_is_left_by_a_client_that_ends_or_freezes_is_suspect_though_it_answered_others(
    stage, url, sio, answered, after, gone
):
    """What it has answered may have come before the message that has ended it."""
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        for n in range(4):
            await queues.emit("job", n, to="q")
        ada, bob = await stage.clients("ada", "bob")
        sid, hers = ada.get_sid(), Inbox(ada, "/")
        await queues.subscribe(sid, "q", window=4)
        await hers.until(4)
        clock.now += after
        assert await queues.received(sid, hers.receipts[answered])
        if gone:
            await stage.cut("ada")

            async def noticed() -> bool:
                return not sio.manager.is_connected(sid, "/")

            await until(noticed)
        worker = Worker(bob)
        await queues.subscribe(bob.get_sid(), "q", window=4)
        clock.now += 31 - after
        queues.tick()
        await worker.until_begun(1)
        assert (await queues.stats("q")) == Stats(ready=2, leased=1, delayed=0, dead=0, oldest=31.0)
        worker.go.set()
        await settled(queues)
        assert worker.done == [n for n in range(4) if n != answered]


async def test_who_has_let_a_lease_end_is_sent_one_message_at_a_time_until_it_answers(
    stage, url, sio
):
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30, attempts=1), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        await queues.emit("job", "lost", to="q")
        ada = await stage.client("ada")
        sid, inbox = ada.get_sid(), Inbox(ada, "/")
        await queues.subscribe(sid, "q", window=4)
        await inbox.until(1)
        clock.now += 31
        queues.tick()
        await stage.settle()
        assert [letter.data for letter in await queues.dead("q")] == ["lost"]
        for n in range(4):
            await queues.emit("job", n, to="q")
        await stage.settle()
        assert inbox.data == ["lost", 0]
        assert await queues.received(sid, inbox.receipts[1])
        await inbox.until(5)
        assert inbox.data == ["lost", 0, 1, 2, 3]


async def test_who_has_let_a_lease_end_waits_for_others_no_longer_than_they_are_there(
    stage, url, sio
):
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        frozen, busy = [Worker(client) for client in await stage.clients("ada", "bob")]
        for worker in (frozen, busy):
            for n in range(2):
                await queues.emit("job", n, to="q")
            await queues.subscribe(worker.client.get_sid(), "q", window=2)
            await worker.until_begun(2)
            clock.now += 16
        queues.tick()
        waits = queues._delivery._subscriptions[frozen.client.get_sid(), "q"]
        async with asyncio.timeout(DEADLINE):
            while not waits._not_before:  # for the one that is busy, and not suspect
                await queues.stats("q")
        assert len(frozen.begun) == 2
        await queues.unsubscribe(busy.client.get_sid(), "q")
        await frozen.until_begun(3)
        frozen.go.set()
        busy.go.set()


async def test_what_is_never_answered_by_one_that_lives_comes_again_beside_others(stage, url, sio):
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        for data in ("silent", "answered"):
            await queues.emit("job", data, to="q")
        ada = await stage.client("ada")
        sid, worker = ada.get_sid(), Worker(ada)
        await queues.subscribe(sid, "q", window=4)
        await worker.until_begun(2)
        assert await queues.received(sid, worker.receipts[1])
        clock.now += 31
        queues.tick()
        await worker.until_begun(3)
        for n in range(2):
            await queues.emit("job", n, to="q")
        await worker.until_begun(5)
        assert worker.begun == ["silent", "answered", "silent", 0, 1]
        worker.go.set()


async def test_what_is_suspect_comes_all_the_same_to_one_who_is_always_at_work(stage, url, sio):
    """Who has renewed the lease of a long job of another queue is not likely to be killed."""
    async with with_a_suspect(stage, sio, url, "suspect") as (queues, clock):
        bob = await stage.client("bob")
        inbox = Inbox(bob, "/")
        await queues.emit("job", "long", to="other")
        await queues.subscribe(bob.get_sid(), "other", window=1)
        await inbox.until(1)
        await queues.subscribe(bob.get_sid(), "q")
        await queues.emit("job", "next", to="q")
        for _ in range(3):
            await stage.settle()
            assert inbox.data == ["long"]
            clock.now += 12
            queues.tick()
            assert await queues.extend(bob.get_sid(), inbox.receipts[0])
        clock.now += 3
        queues.tick()
        await inbox.until(2)
        assert inbox.data == ["long", "suspect"]
        assert await queues.received(bob.get_sid(), inbox.receipts[1])
        await inbox.until(3)
        assert inbox.data == ["long", "suspect", "next"]


async def test_what_is_suspect_and_left_alone_by_one_that_lives_keeps_no_other_away(
    stage, url, sio
):
    """Its consumer was cut; the next one throws it away without a word, and goes on."""
    async with with_a_suspect(stage, sio, url, "duplicate") as (queues, clock):
        bob = await stage.client("bob")
        inbox = Inbox(bob, "/", lambda job, d: None if job == "duplicate" else d["receipt"])
        await queues.subscribe(bob.get_sid(), "q")
        await stage.settle()
        assert inbox.data == ["duplicate"]
        for n in range(9):
            await queues.emit("job", n, to="q")
            await stage.settle()
            assert inbox.data[-1] == n
            clock.now += 10
            queues.tick()
            await stage.settle()
        [dead] = await queues.dead("q")
        assert (dead.data, dead.attempts) == ("duplicate", 3)


async def test_nothing_is_sent_beside_what_is_suspect_until_it_is_answered(stage, url, sio):
    go = asyncio.Event()
    begun: list[str] = []

    async def is_begun() -> bool:
        return (await queues.stats("q")).leased > 0 and bool(begun)

    async with with_a_suspect(stage, sio, url, "suspect") as (queues, _):
        bob = await stage.client("bob")

        @bob.on("job")
        async def job(job: str, delivery: dict[str, Any]) -> str:
            begun.append(job)
            await go.wait()
            return delivery["receipt"]

        await queues.subscribe(bob.get_sid(), "q", window=10)
        for n in range(3):  # each wakes him
            await queues.emit("job", f"next {n}", to="q")
            queues.tick()
        await until(is_begun)
        assert (await queues.stats("q")).leased == 1
        assert begun == ["suspect"]
        go.set()
        await settled(queues)
        assert begun == ["suspect", "next 0", "next 1", "next 2"]


@pytest.mark.parametrize("begun", [False, True])
async def test_what_is_given_back_was_an_attempt_only_if_it_was_begun(stage, url, sio, begun):
    async with await Queues.open(url) as queues:
        queues.attach(sio)
        ada = await stage.client("ada")
        inbox = Inbox(ada, "/")
        await queues.emit("job", 1, to="q")
        await queues.subscribe(ada.get_sid(), "q")
        for n in range(1, 8):  # more than it may fail
            await inbox.until(n)
            wanted = (n, n > 1) if begun else (1, False)
            last = inbox.deliveries[-1]
            assert (last["attempt"], last["redelivered"]) == wanted
            assert await queues.released(
                ada.get_sid(), inbox.deliveries[-1]["receipt"], begun=begun
            )


async def test_pages_that_are_reloaded_again_and_again_lose_nothing(stage, url, sio):
    """Within a lease, and with goodbyes and cuts in turn: nothing is dead of it."""
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30, attempts=2), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        for n in range(20):
            await queues.emit("job", n, to="q")
        for n in range(8):
            name = f"page {n}"
            client = await stage.client(name)
            await queues.subscribe(client.get_sid(), "q", window=4)
            await stage.settle()
            if n % 2:
                await stage.cut(name)
            else:
                await client.disconnect()
            clock.now += 3
            queues.tick()
            await stage.settle()
        clock.now += 60
        last = await stage.client("last")
        inbox = Inbox(last, "/", True)
        await queues.subscribe(last.get_sid(), "q")
        await stage.settle()
        assert await queues.stats("q") == Stats()
        assert sorted(inbox.data) == [*range(20)]


# -- clients that are at work ---------------------------------------------------------------------


async def test_a_client_that_falls_silent_at_its_work_is_given_it_again(stage, url, sio):
    """It has renewed its lease on a new connection, and wanted nothing more until it is done."""
    async with await Queues.open(url, Rules(lease=1.5, attempts=9)) as queues:
        queues.attach(sio)
        await queues.emit("job", "long", to="q")
        old = await stage.client("old")
        inbox = Inbox(old, "/")
        await queues.subscribe(old.get_sid(), "q")
        await inbox.until(1)
        new = await stage.client("new")
        again = Inbox(new, "/")
        await queues.subscribe(new.get_sid(), "q")
        await stage.cut("old")
        asked = {"receipt": inbox.receipts[0], "pause": True}

        async def renewed() -> bool:
            return await new.call("working", asked) == {"ok": True}

        await until(renewed)  # not before the server knows that the old one is gone
        await again.until(1)
        assert again.data == ["long"]


async def test_who_is_at_work_leaves_the_clock_to_others(stage, url, sio):
    """Nothing more is sent to it, and so others look when a delay is over."""
    async with await Queues.open(url, Rules(lease=30)) as queues:
        queues.attach(sio)
        ada, bob = await stage.clients("ada", "bob")
        hers, his = Inbox(ada, "/"), Inbox(bob, "/")
        await queues.subscribe(bob.get_sid(), "q", window=2)
        for n in range(2):
            await queues.emit("job", n, to="q")
        await his.until(2)
        await queues.subscribe(ada.get_sid(), "q", window=2)
        await queues.emit("job", "later", to="q")
        await hers.until(1)
        assert await queues.failed(ada.get_sid(), hers.receipts[0], delay=0.3)
        await queues.emit("job", "long", to="q")
        await hers.until(2)
        asked = {"receipts": [hers.receipts[1], "none"], "pause": True}
        assert await ada.call("working", asked) == {"ok": False}
        for receipt in his.receipts:
            assert await queues.received(bob.get_sid(), receipt)
        await his.until(3)
        assert (his.data[-1], hers.data) == ("later", ["later", "long"])
        await queues.close(0)


@pytest.mark.parametrize("answer", [None, {"a": 1}, "text", 7], ids=repr)
async def test_an_acknowledgement_of_another_form_is_the_librarys(stage, url, sio, answer):
    async with await Queues.open(url) as queues:
        queues.attach(sio)
        client = await stage.client("ada")
        sid = client.get_sid()
        [(namespace, listener)] = ServerEvents.of(sio)._listeners
        assert namespace == "/"
        assert listener.answered(sid, None, answer) is False


# -- servers that end -----------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
async def test_restarts_of_the_server_count_against_no_message(tmp_path, number):
    """A healthy consumer, and a hub that is restarted more often than a message may fail."""
    hub = hubs.Hub(folder=tmp_path)
    port = str(hub.port)
    client = socketio.AsyncClient(reconnection_delay=0.01, reconnection_delay_max=0.05)
    inbox = Inbox(client, hub.namespace)
    again = asyncio.Event()

    @client.on("connect", namespace=hub.namespace)
    async def connect() -> None:
        again.set()

    try:
        await hub.join(client)
        for n in range(3):
            await hub.call(client, "publish", {"queue": "q", "event": "job", "data": n})
        for restart in range(6):
            await hub.call(client, "subscribe", {"queue": "q"})
            await inbox.until(3 * restart + 3)
            again.clear()
            await hub.stop(number)
            hubs.end(hub.process)
            hub = hubs.Hub("--port", port, folder=tmp_path)
            async with asyncio.timeout(DEADLINE):
                await again.wait()
        await hub.call(client, "subscribe", {"queue": "q"})
        await inbox.until(3 * 6 + 3)
        last = inbox.deliveries[-3:]
        assert [delivery["attempt"] for delivery in last] == [7, 7, 7]
        assert all(delivery["redelivered"] for delivery in last)
        receipts = [delivery["receipt"] for delivery in last]
        assert await hub.call(client, "received", {"receipts": receipts}) == {"ok": True}
        stats = await hub.call(client, "stats", {"queue": "q"})
        assert (stats["ready"], stats["leased"], stats["dead"]) == (0, 0, 0)
    finally:
        await client.disconnect()
        hubs.end(hub.process)


async def test_what_ends_the_server_again_and_again_is_dead_in_the_end(stage, sio, tmp_path):
    """No failure is seen then; so there is another limit, which is higher, and begins anew when a
    message is redriven."""
    url, rules = f"sqlite:///{tmp_path}/q.db", Rules(attempts=2)
    for n in range(1, 22):
        queues = await Queues.open(url, rules)
        if n == 1:
            await queues.emit("job", "poison", to="q")
        claimed = await queues.store.claim("q", 1, 30.0, in_order=False)
        assert [(a.number, a.failures) for a in claimed.attempts] == [(n, 0)]
        await queues.close(0)
    async with await Queues.open(url, rules) as queues:
        queues.attach(sio)
        stage.watch(queues)
        ada = await stage.client("ada")
        inbox = Inbox(ada, "/")
        await queues.subscribe(ada.get_sid(), "q")
        await stage.settle()
        [dead] = await queues.dead("q")
        assert dead.reason == "broken off 21 times, and never answered"
        assert inbox.data == []
        await queues.redrive("q")
        await inbox.until(1)
        assert inbox.deliveries[0]["attempt"] == 22


# -- renewals and timers --------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def with_a_job(stage, sio, url):
    """Yield queues, their clock, the sid and the events of a client at work on a job."""
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        ada = await stage.client("ada")
        inbox = Inbox(ada, "/")
        await queues.emit("job", 1, to="q")
        await queues.subscribe(ada.get_sid(), "q", window=1)
        await inbox.until(1)
        yield queues, clock, ada.get_sid(), inbox


async def test_a_renewed_lease_keeps_its_place_in_the_window_and_can_be_answered(stage, url, sio):
    async with with_a_job(stage, sio, url) as (queues, clock, sid, inbox):
        await queues.emit("job", 2, to="q")
        clock.now += 20
        assert await queues.extend(sid, inbox.receipts[0])
        clock.now += 20  # its first lease is over, the second is not
        queues.tick()
        await stage.settle()
        assert inbox.data == [1]
        assert await queues.received(sid, inbox.receipts[0])
        await inbox.until(2)
        assert inbox.data == [1, 2]


async def test_a_renewal_that_comes_too_late_keeps_no_place_in_the_window(stage, url, sio):
    """The store has given the message to another consumer: this one may get the next."""
    async with with_a_job(stage, sio, url) as (queues, _, sid, inbox):
        assert await queues.store.purge("q", 9) == 1  # whatever has ended the lease in the store
        assert await queues.extend(sid, inbox.deliveries[0]["receipt"]) is False
        await queues.emit("job", 2, to="q")
        await inbox.until(2)


async def test_a_lease_ends_in_time_though_the_machine_was_suspended(stage, url, sio, monkeypatch):
    """The timers of an event loop stand still meanwhile, the clock of the leases does not."""
    monkeypatch.setattr("chatq.queues.alarm._LONGEST", 0.01)
    clock = Clock()
    async with await Queues.open(url, Rules(lease=600), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        ada, bob = await stage.clients("ada", "bob")
        lost, found = Inbox(ada, "/"), Inbox(bob, "/")
        await queues.emit("job", 1, to="q")
        await queues.subscribe(ada.get_sid(), "q")
        await lost.until(1)
        await queues.subscribe(bob.get_sid(), "q")
        await stage.cut("ada")
        await stage.settle()
        clock.now += 601
        await found.until(1)
