"""`Queues` on real sockets: what is delivered to whom, what an answer does, and what goes wrong.

Leases are long unless a test is about their end; so whatever waits for one fails its deadline.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from random import Random
from typing import Any

import pytest
import socketio
from clock import Clock
from hubs import Inbox

from chatq import QueueFull, Queues, Rules, StoreError
from chatq.course.sandbox import ends_what_blocks
from chatq.journal.facts import Died, Queued
from chatq.queues import in_flight
from chatq.queues.frame import unpack
from chatq.queues.store import NewMessage, Stats
from chatq.waiting import give_way

EITHER = pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=lambda t: t[0])


class Deliveries(Inbox):
    """An inbox that answers with receipts, and takes frames apart."""

    within = 5.0

    def __init__(self, client, answer=True) -> None:
        super().__init__(client, "/", answer)
        client.on("deliveries", self._take_frame)

    async def _take_frame(self, packed):
        frame = unpack(packed)
        for event, data, delivery in frame:
            self.take(event, data, delivery)
        receipts = [delivery["receipt"] for *_, delivery in frame]
        await self.client.emit("received", {"receipts": receipts})


def nested(depth):
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


DEEP = nested(100_000)


def silent(data, delivery):
    """The answer of a client that does not know receipts: a bare packet acknowledgement."""


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path):
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/q.db"


@pytest.fixture
def rules():
    return Rules()


@pytest.fixture
async def queues(sio, stage, url, rules):
    async with await Queues.open(url, rules, random=Random(1)) as queues:
        queues.attach(sio)
        yield queues
        await queues.close(0)  # for the answers that a test has held back


async def until(queues, queue="drivers", within=5.0, **wanted):
    """Return when the stats of a queue are as wanted. There is no event for that: it asks again,
    each time after a turn of the store's thread."""
    try:
        async with asyncio.timeout(within):
            while True:
                stats = await queues.stats(queue)
                if all(getattr(stats, name) == value for name, value in wanted.items()):
                    return
                await asyncio.to_thread(lambda: None)
    except TimeoutError:
        raise AssertionError(f"waited for {wanted}: {await queues.stats(queue)}") from None


async def soon(work, within=5.0):
    """Wait for what needs no time."""
    async with asyncio.timeout(within):
        return await work


async def consumer(stage, queues, name, queue="drivers", answer=True, **options):
    transports = options.pop("transports", ["websocket"])
    client = await stage.client(name, transports=transports)
    inbox = Deliveries(client, answer)
    await queues.subscribe(client.get_sid(), queue, **options)
    return inbox


# -- delivery -----------------------------------------------------------------------------------


@EITHER
async def test_what_nobody_listened_to_waits_and_comes_in_order(stage, queues, transports):
    ids = [await queues.emit("pickup", {"n": n}, to="drivers") for n in range(40)]
    inbox = await consumer(stage, queues, "ada", transports=transports)
    ids += [await queues.emit("pickup", {"n": n}, to="drivers") for n in range(40, 60)]
    await inbox.until(60)
    assert inbox.data == [{"n": n} for n in range(60)]
    assert [delivery["id"] for delivery in inbox.deliveries] == ids
    assert {(d["attempt"], d["redelivered"], d["queue"]) for d in inbox.deliveries} == {
        (1, False, "drivers")
    }
    await until(queues, ready=0, leased=0, dead=0)


@pytest.mark.parametrize(
    "data",
    [None, "text", 1.5, [], {}, [1, [2]], {"a": b"\0\xff", "b": [b"", {"_chatq_bytes": 7}]}, b"x"],
    ids=repr,
)
@pytest.mark.parametrize("frame", [0, 5])
async def test_data_arrives_as_it_was(stage, queues, data, frame):
    inbox = await consumer(stage, queues, "ada", frame=frame)
    await queues.emit("pickup", data, to="drivers")
    await inbox.until(1)
    assert (inbox.events[0][0], inbox.data[0]) == ("pickup", data)


async def test_a_claim_takes_half_a_window_while_the_rest_is_out(stage, queues):
    """So that the client has something to do while the store works."""
    limits, claim = [], queues.store.claim

    def noted(queue, limit, *args, **options):
        limits.append(limit)
        return claim(queue, limit, *args, **options)

    queues.store.claim = noted
    for n in range(20):
        await queues.emit("pickup", n, to="drivers")
    ada = await consumer(stage, queues, "ada", answer=silent, window=8)
    await ada.until(8)
    assert limits == [8]  # nothing is out: all at once
    await queues.answers.received(
        ada.client.get_sid(), {"receipts": [d["receipt"] for d in ada.deliveries[:6]]}
    )
    await ada.until(14)
    assert limits == [8, 4, 2]


async def test_the_wait_for_more_room_ends_although_its_timer_rings_early(
    stage, queues, monkeypatch
):
    """On Windows a timer may ring 0.015 s before its own time, with uvloop the last digit of it."""
    monkeypatch.setattr(asyncio.get_running_loop(), "_clock_resolution", 0.1)
    for n in range(9):
        await queues.emit("pickup", n, to="drivers")
    ada = await consumer(stage, queues, "ada", answer=silent, window=8)
    await ada.until(8)
    await queues.received(ada.client.get_sid(), ada.deliveries[0]["receipt"])
    await ada.until(9)


async def test_several_consumers_compete(stage, queues):
    inboxes = [await consumer(stage, queues, name, window=3) for name in ("ada", "bob", "cy")]
    for n in range(60):
        await queues.emit("pickup", n, to="drivers")
    await until(queues, ready=0, leased=0)
    assert sorted(n for inbox in inboxes for n in inbox.data) == [*range(60)]


async def test_every_consumer_gets_its_share(stage, queues):
    """However quick one of them answers: whoever was served longest ago stands first in line.
    (Two questions that cross on their way to the store may swap places.)"""
    inboxes = [await consumer(stage, queues, name) for name in ("ada", "bob", "cy")]
    for n in range(30):
        await queues.emit("pickup", n, to="drivers")
        await until(queues, ready=0, leased=0)
    assert sorted(n for inbox in inboxes for n in inbox.data) == [*range(30)]
    assert min(len(inbox.data) for inbox in inboxes) >= 8


async def test_several_queues_have_a_copy_each(stage, queues):
    ada = await consumer(stage, queues, "ada", "one")
    bob = await consumer(stage, queues, "bob", "two")
    ids = await queues.emit("pickup", "x", to=["one", "two", "three"])
    await ada.until(1)
    await bob.until(1)
    assert [ada.deliveries[0]["id"], bob.deliveries[0]["id"]] == ids[:2]
    assert (await queues.stats("three")).ready == 1


async def test_no_more_than_a_window_is_out(stage, queues):
    inbox = await consumer(stage, queues, "ada", answer=silent, window=3)
    for n in range(10):
        await queues.emit("pickup", n, to="drivers")
    await inbox.until(3)
    await stage.settle()
    assert inbox.data == [0, 1, 2]
    assert await queues.received(inbox.client.get_sid(), inbox.deliveries[1]["receipt"])
    await inbox.until(4)
    await stage.settle()
    assert inbox.data == [0, 1, 2, 3]
    await queues.subscribe(inbox.client.get_sid(), "drivers", window=5)
    await inbox.until(6)
    assert inbox.data == [0, 1, 2, 3, 4, 5]


async def test_one_at_a_time_waits_for_nothing_but_the_answer(stage, queues):
    for n in range(100):
        await queues.emit("pickup", n, to="drivers")
    inbox = await consumer(stage, queues, "ada", window=1)
    await inbox.until(100)
    assert inbox.data == [*range(100)]


async def test_strict_order_includes_redelivery(sio, stage, queues, monkeypatch):
    inbox = await consumer(stage, queues, "ada", answer=silent, window=1)
    for n in range(3):
        await queues.emit("pickup", n, to="drivers")
    for attempt in (1, 2):
        await inbox.until(attempt)
        receipt = inbox.deliveries[-1]["receipt"]
        await inbox.client.emit("failed", {"receipt": receipt, "delay": 0.01})
    await inbox.until(3)
    assert inbox.data == [0, 0, 0]
    inbox.answer = lambda data, delivery: delivery["receipt"]
    await inbox.client.emit("received", {"receipt": inbox.deliveries[-1]["receipt"]})
    await inbox.until(5)
    assert inbox.data == [0, 0, 0, 1, 2]


async def test_the_next_in_line_takes_over_when_the_first_has_left(stage, queues):
    first = await consumer(stage, queues, "ada", answer=silent, window=1)
    sid = first.client.get_sid()
    for n in range(3):
        await queues.emit("pickup", n, to="drivers")
    await first.until(1)
    second = await consumer(stage, queues, "bob", window=1)
    await stage.settle()
    await queues.unsubscribe(sid, "drivers")
    assert await queues.received(sid, first.deliveries[0]["receipt"])
    await second.until(2)
    assert second.data == [1, 2]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_message_that_comes_by_itself_is_stored_and_claimed_in_one_transaction(
    stage, queues, monkeypatch
):
    """So that it costs one sync, of its acknowledgement none."""
    inbox = await consumer(stage, queues, "ada")
    done: list[list[str]] = []
    transact = queues.store._transact

    def noting(asked):
        done.append([verb for verb, *_ in asked if verb != "stats"])
        return transact(asked)

    for n in range(4):
        await queues.emit("pickup", n, to="drivers")
        await inbox.until(n + 1)
        await until(queues, ready=0, leased=0)
        monkeypatch.setattr(queues.store, "_transact", noting)  # its first claim is done
    assert [verbs for verbs in done if verbs] == 3 * [["put_one", "claim"], ["ack"]]


async def test_leaving_hands_on_what_waits(stage, queues):
    """The first answers and leaves at once: its place is free though nobody claims on it."""
    first = await consumer(stage, queues, "ada", answer=silent, window=1)
    sid = first.client.get_sid()
    await queues.emit("pickup", 0, to="drivers")
    await first.until(1)
    second = await consumer(stage, queues, "bob", window=1)
    await queues.emit("pickup", 1, to="drivers")
    await stage.settle()
    answered = asyncio.ensure_future(queues.received(sid, first.deliveries[0]["receipt"]))
    await queues.unsubscribe(sid, "drivers")
    assert await answered
    await second.until(1)
    assert second.data == [1]


async def test_what_was_claimed_for_one_who_left_goes_to_the_next_and_was_no_attempt(stage, queues):
    for n in range(3):
        await queues.emit("pickup", n, to="drivers")
    left = await consumer(stage, queues, "ada")
    await give_way()  # now it has asked for messages, and not all of them are sent yet
    await queues.unsubscribe(left.client.get_sid(), "drivers")
    await stage.settle()
    assert len(left.data) < 3
    following = await consumer(stage, queues, "bob")
    await following.until(3 - len(left.data))
    assert left.data + following.data == [0, 1, 2]
    assert {d["attempt"] for d in following.deliveries} == {1}


# -- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [None, "", "received", True, ["receipt"], {"receipt": "x"}, ("receipt", "receipt")],
    ids=repr,
)
async def test_a_packet_acknowledgement_without_the_receipt_settles_nothing(stage, queues, answer):
    def handle(data, delivery):
        if isinstance(answer, tuple):
            return delivery["receipt"], delivery["receipt"]
        return [delivery["receipt"]] if isinstance(answer, list) else answer

    inbox = await consumer(stage, queues, "ada", answer=handle)
    await queues.emit("pickup", 1, to="drivers")
    await inbox.until(1)
    await stage.settle()
    assert (await queues.stats("drivers")).leased == 1
    receipt = inbox.deliveries[0]["receipt"]
    assert await inbox.client.call("received", {"receipt": receipt}) == {"ok": True}
    assert await inbox.client.call("received", {"receipt": receipt}) == {"ok": False}
    assert await queues.stats("drivers") == Stats()


async def test_a_client_without_a_handler_acknowledges_and_keeps_the_message(stage, queues):
    ada = await stage.client("ada")
    await queues.subscribe(ada.get_sid(), "drivers")
    await queues.emit("pickup", 1, to="drivers")
    await until(queues, leased=1)
    await stage.settle()
    assert (await queues.stats("drivers")).leased == 1


async def test_a_receipt_is_of_its_client(stage, queues):
    ada = await consumer(stage, queues, "ada", answer=silent, window=1)
    await queues.emit("pickup", 1, to="drivers")
    await ada.until(1)
    receipt = ada.deliveries[0]["receipt"]
    bob = await stage.client("bob")
    cy = await consumer(stage, queues, "cy")
    for client in (bob, cy.client):
        assert await client.call("received", {"receipt": receipt}) == {"ok": False}
        assert await client.call("received", {"receipts": [receipt]}) == {"ok": False}
        assert await client.call("failed", {"receipt": receipt}) == {"ok": False}
    assert (await queues.stats("drivers")).leased == 1
    assert await ada.client.call("failed", {"receipt": receipt, "delay": 0}) == {"ok": True}


async def test_who_comes_back_may_answer_for_who_was_cut_off(stage, queues):
    old = await consumer(stage, queues, "ada", answer=silent)
    await queues.emit("pickup", 1, to="drivers")
    await old.until(1)
    await stage.cut("ada")
    await stage.until(lambda: not stage.connected("ada"), "the server to notice")
    other = await stage.client("bob")
    receipt = {"receipt": old.deliveries[0]["receipt"]}
    assert await other.call("received", receipt) == {"ok": False}
    new = await consumer(stage, queues, "ada")
    assert await new.client.call("received", receipt) == {"ok": True}
    assert await queues.stats("drivers") == Stats()


async def test_the_lease_does_not_end_with_the_connection(stage, queues):
    old = await consumer(stage, queues, "ada", answer=silent)
    await queues.emit("pickup", 1, to="drivers")
    await old.until(1)
    await stage.cut("ada")
    new = await consumer(stage, queues, "bob")
    await stage.settle()
    assert new.events == []
    assert (await queues.stats("drivers")).leased == 1


@pytest.mark.parametrize(
    "args",
    [(), (1,), ({},), ({"receipt": 1},), ({"receipt": "x"}, 2), ([],), ({"receipts": "x"},)],
    ids=repr,
)
async def test_a_malformed_answer_is_told_so(stage, queues, args):
    ada = await stage.client("ada")
    for event in ("received", "failed"):
        answer = await ada.call(event, args)
        assert answer["error"]["code"] == "malformed"
        assert event in answer["error"]["message"]
    for delay in (-1, 1e9, "soon", True, float("inf")):
        answer = await ada.call("failed", {"receipt": "x", "delay": delay})
        assert answer["error"]["code"] == "malformed"
    assert await ada.call("received", {"receipts": [1, None, {}]}) == {"ok": False}


async def test_many_receipts_in_one_event(stage, queues):
    ada = await consumer(stage, queues, "ada", answer=silent)
    for n in range(5):
        await queues.emit("pickup", n, to="drivers")
    await ada.until(5)
    receipts = [delivery["receipt"] for delivery in ada.deliveries]
    assert await ada.client.call("received", {"receipts": receipts[:3]}) == {"ok": True}
    assert await ada.client.call("received", {"receipts": receipts}) == {"ok": False}
    assert await queues.stats("drivers") == Stats()


async def test_answers_by_event_leave_no_callbacks_and_touch_no_others(sio, stage, queues):
    """python-socketio keeps a callback for every emit: ours go, everybody else's stay."""
    ada = await stage.client("ada")
    sid = ada.get_sid()
    late: list[asyncio.Future[Any]] = []

    async def slow(*_):
        late.append(asyncio.get_running_loop().create_future())
        return await late[-1]

    ada.on("slow", slow)
    held = [asyncio.ensure_future(sio.call("slow", to=sid, timeout=5))]
    boxes: list[dict[str, Any]] = []
    answered: asyncio.Queue[Any] = asyncio.Queue()

    @ada.on("pickup")
    async def pickup(n, delivery):
        boxes.append(delivery)
        held.append(asyncio.ensure_future(sio.call("slow", to=sid, timeout=5)))
        answered.put_nowait(await ada.call("received", {"receipt": delivery["receipt"]}))
        return "no receipt"

    for queue in ("one", "two"):
        await queues.subscribe(sid, queue)
        for n in range(20):
            await queues.emit("pickup", n, to=queue)
    async with asyncio.timeout(5):
        assert [await answered.get() for _ in range(40)] == [{"ok": True}] * 40
        while len(late) < 41:
            await ada.call("received", {"receipt": ""})
    for future in late:
        future.set_result("called")
    assert await asyncio.gather(*held) == ["called"] * 41
    await stage.settle()
    assert set(sio.manager.callbacks.get(sid, {})) <= {0}
    await queues.emit("pickup", 99, to="one")  # and the next one still goes out
    async with asyncio.timeout(5):
        assert await answered.get() == {"ok": True}


# -- failing, dying, trying again ---------------------------------------------------------------


async def test_refused_messages_die_with_their_reason_and_can_be_redriven(stage, url, sio):
    rules = Rules(attempts=3, back_off=0.001, longest_back_off=0.002)
    async with await Queues.open(url, rules, random=Random(1)) as queues:
        queues.attach(sio)
        ada = await consumer(stage, queues, "ada", answer=silent)
        [id] = await queues.emit("pickup", {"n": 1}, to=["drivers"])
        for n in (1, 2, 3):
            await ada.until(n)
            refusal = {"receipt": ada.deliveries[-1]["receipt"], "reason": f"no {n} \ud800"}
            assert await ada.client.call("failed", refusal) == {"ok": True}
        [dead] = await queues.dead("drivers")
        assert (dead.id, dead.event, dead.data, dead.attempts) == (id, "pickup", {"n": 1}, 3)
        assert dead.reason.startswith("no 3 ")
        assert [d["attempt"] for d in ada.deliveries] == [1, 2, 3]
        assert [d["redelivered"] for d in ada.deliveries] == [False, True, True]
        assert await queues.redrive("drivers", [id, "x"]) == 1
        await ada.until(4)
        last = ada.deliveries[-1]
        assert (last["id"], last["attempt"], last["redelivered"]) == (id, 4, True)
        assert await ada.client.call("failed", {"receipt": last["receipt"], "delay": 0})
        await ada.until(5)  # its attempts count anew
        assert await queues.dead("drivers") == []
        await queues.close(0)  # it has not answered


async def test_an_unanswered_message_comes_again_and_dies_though_nothing_else_happens(
    stage, url, sio
):
    """The only consumer's window is full with it: nobody but its lease wakes anybody."""
    rules = Rules(attempts=2, lease=0.05)
    async with await Queues.open(url, rules) as queues:
        queues.attach(sio)
        ada = await consumer(stage, queues, "ada", answer=silent, window=1)
        await queues.emit("pickup", 1, to="drivers")
        await ada.until(2)
        assert [d["redelivered"] for d in ada.deliveries] == [False, True]
        await until(queues, dead=1, leased=0)
        [dead] = await queues.dead("drivers")
        assert (dead.attempts, dead.reason) == (2, "not acknowledged in 2 attempts")
        await queues.emit("pickup", 2, to="drivers")
        await ada.until(3)
        await queues.close(0)  # it has not answered


@pytest.mark.parametrize("window", [5, 1])
async def test_who_lets_a_lease_end_gets_one_at_a_time_until_it_answers(stage, url, sio, window):
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30, attempts=100), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        ada = await consumer(stage, queues, "ada", answer=silent, window=window)
        for n in range(5):
            await queues.emit("pickup", n, to="drivers")
        await stage.settle()
        assert ada.data == [*range(window)]
        for n in range(1, 4):
            clock.now += 31
            queues.tick()
            await stage.settle()
            assert len(ada.events) == window + n
            assert (await queues.stats("drivers")).leased == 1
        assert {*ada.data[window:]} == {0}
        ada.answer = lambda data, delivery: delivery["receipt"]
        before = len(ada.events)
        clock.now += 31
        queues.tick()
        await stage.settle()
        assert sorted(ada.data[before:]) == [0, 1, 2, 3, 4]
        assert await queues.stats("drivers") == Stats()


async def test_a_message_that_is_never_answered_keeps_no_other_away(stage, url, sio):
    """Poison that is silent: it is first again each time its lease has ended."""
    clock, attempts = Clock(), 5
    async with await Queues.open(url, Rules(lease=30, attempts=attempts), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        ada = await consumer(
            stage, queues, "ada", answer=lambda data, d: d["receipt"] if data != "poison" else None
        )
        await queues.emit("pick-up", "poison", to="drivers")
        for n in range(40):
            await queues.emit("pickup", n, to="drivers")
            await stage.settle()
            assert ada.data[-1] == n, f"{n} waits"
            clock.now += 5
            queues.tick()
            await stage.settle()
        assert ada.data.count("poison") == attempts
        assert [dead.data for dead in await queues.dead("drivers")] == ["poison"]
        assert (await queues.stats("drivers")).ready == 0


async def test_a_lease_runs_from_the_claim_however_late_it_is_sent(stage, url, sio):
    """Or the window stays taken by what the store has long given to others."""
    clock = Clock()
    async with await Queues.open(url, Rules(lease=30), clock=clock) as queues:
        queues.attach(sio)
        stage.watch(queues)
        claim = queues.store.claim

        async def slow(*args, **options):
            claimed = await claim(*args, **options)
            clock.now += 10 if claimed.attempts else 0
            return claimed

        queues.store.claim = slow
        await queues.emit("pickup", 0, to="drivers")
        ada = await consumer(stage, queues, "ada", answer=silent, window=1)
        await stage.settle()
        assert ada.data == [0]
        clock.now += 20  # 30 after the claim, 20 after it was sent
        queues.tick()
        await stage.settle()
        assert [d["attempt"] for d in ada.deliveries] == [1, 2]


async def test_a_frozen_consumer_holds_back_nobody_and_uses_up_nothing(stage, url, sio):
    now = [1000.0]
    rules = Rules(lease=30, attempts=50)
    async with await Queues.open(url, rules, clock=lambda: now[0]) as queues:
        queues.attach(sio)
        stage.watch(queues)
        frozen = await consumer(stage, queues, "ada", window=8)
        await stage.freeze("ada")
        for n in range(20):
            await queues.emit("pickup", n, to="drivers")
        await until(queues, leased=8)
        bob = await consumer(stage, queues, "bob", window=8)
        await until(queues, ready=0, leased=8)  # all but what is out to ada
        await stage.settle()  # what he asks for next, he asks for after this
        now[0] += 30
        queues.tick()  # she, too, asks for more, but not before him
        await until(queues, ready=0, leased=0)
        assert sorted(bob.data) == [*range(20)]
        assert frozen.events == []
        assert [d["attempt"] for d in bob.deliveries] == [1] * 12 + [2] * 8
        await stage.thaw("ada")


async def test_a_message_does_not_wait_until_the_dead_before_it_is_buried(stage, url, sio):
    """Or else another consumer would be sent what was put after it."""
    now = [1000.0]
    async with await Queues.open(url, clock=lambda: now[0]) as queues:
        queues.attach(sio)
        bury, may_bury = queues.store.bury, asyncio.Event()

        async def held_up(*args, **options):
            await may_bury.wait()
            return await bury(*args, **options)

        queues.store.bury = held_up
        await queues.emit("pickup", "old", to="drivers", ttl=5)
        now[0] += 5
        await queues.emit("pickup", "new", to="drivers")
        ada = await consumer(stage, queues, "ada")
        try:
            await ada.until(1)
        finally:
            may_bury.set()
        assert ada.data == ["new"]
        await until(queues, dead=1, leased=0)


async def test_who_watches_hears_that_a_message_has_expired_though_nobody_consumes(url):
    class Watching:
        def __init__(self):
            self.facts: list[Any] = []

        def happened(self, fact):
            self.facts.append(fact)

        def began(self):
            pass

        ended = began

    async with await Queues.open(url) as queues:
        queues.watch(watching := Watching())
        id = await queues.emit("pickup", 1, to="drivers", ttl=0.05)
        async with asyncio.timeout(10):
            while not (await queues.stats("drivers")).dead:
                pass
        assert Died(Queued("drivers", id), "expired") in watching.facts


async def test_a_queue_is_deleted_under_its_consumer_and_made_anew(sio, stage, url):
    async with await Queues.open(url) as queues:
        queues.attach(sio)
        ada = await consumer(stage, queues, "ada", answer=silent)
        for n in range(3):
            await queues.emit("pickup", n, to="drivers", key=f"k{n}")
        await ada.until(3)
        await queues.emit("pickup", 3, to="later", delay=60)
        assert await queues.names() == ["drivers", "later"]
        assert await queues.delete("drivers") == 3
        assert await queues.purge("later") == 1
        for delivery in ada.deliveries:
            answer = await ada.client.call("received", {"receipt": delivery["receipt"]})
            assert answer == {"ok": False}
        id = await queues.emit("pickup", 4, to="drivers", key="k0")
        await ada.until(4)
        assert ada.deliveries[-1]["id"] == id
        assert id not in {delivery["id"] for delivery in ada.deliveries[:3]}
        assert await queues.received(ada.client.get_sid(), ada.deliveries[-1]["receipt"])
        assert await queues.names() == ["drivers", "later"]
        assert await queues.delete("nobody's") == await queues.discard("nobody's") == 0


async def test_a_delay_is_kept_through_a_restart(tmp_path):
    url, clock = f"sqlite:///{tmp_path}/q.db", Clock()
    async with await Queues.open(url, clock=clock) as queues:
        await queues.emit("pickup", 1, to="drivers", delay=60)
    clock.now += 59
    async with await Queues.open(url, clock=clock) as queues:
        assert (await queues.stats("drivers")).delayed == 1
        clock.now += 2
        assert (await queues.stats("drivers")).ready == 1


@pytest.mark.parametrize("delay", [0, -1, "1", True, float("nan"), float("inf")])
async def test_a_delay_is_a_number_of_seconds(delay):
    async with await Queues.open("memory:") as queues:
        with pytest.raises(ValueError, match=r"delay is a number of seconds above 0, not"):
            await queues.emit("pickup", 1, to="drivers", delay=delay)
        with pytest.raises(ValueError, match=r"would have expired before it is delivered"):
            await queues.emit("pickup", 1, to="drivers", delay=5, ttl=5)
        assert await queues.names() == []


async def test_an_expired_message_is_dead_and_never_comes(stage, url, sio):
    now = [1000.0]
    async with await Queues.open(url, clock=lambda: now[0]) as queues:
        queues.attach(sio)
        [id] = await queues.emit("pickup", "old", to=["drivers"], ttl=5)
        now[0] += 5
        await queues.emit("pickup", "new", to="drivers", ttl=5)
        ada = await consumer(stage, queues, "ada")
        await ada.until(1)
        assert ada.data == ["new"]
        [dead] = await queues.dead("drivers")
        assert (dead.id, dead.reason, dead.attempts) == (id, "expired", 0)
        assert await queues.redrive("drivers") == 1
        await ada.until(2)
        assert (ada.data[-1], ada.deliveries[-1]["redelivered"]) == ("old", False)


# -- what goes wrong ----------------------------------------------------------------------------


async def test_a_message_that_cannot_be_sent_harms_no_other(sio, stage, url, caplog):
    """What a store holds need not be what can be sent: such a message dies, its mates arrive."""
    async with await Queues.open(url, Rules(attempts=2, lease=0.2)) as queues:
        queues.attach(sio)
        await queues.emit("pickup", "before", to="drivers")
        deep = "[" * 100_000 + "]" * 100_000
        await queues.store.put([NewMessage("pickup", deep, ("drivers",))])
        await queues.emit("pickup", "after", to="drivers")
        ada = await consumer(stage, queues, "ada")
        await ada.until(2)
        assert ada.data == ["before", "after"]
        assert [d["attempt"] for d in ada.deliveries] == [1, 1]
        await until(queues, dead=1, ready=0, leased=0)
        [dead] = await queues.store.dead("drivers")
        assert "cannot be sent" in dead.reason


async def test_a_disk_that_was_full_for_a_while_stops_nobody_for_good(stage, sio, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    async with await Queues.open(f"sqlite:///{tmp_path}/q.db") as queues:
        queues.attach(sio)
        ada = await stage.client("ada")
        inbox = Deliveries(ada)
        await queues.emit("pickup", 1, to="drivers")
        failures = [sqlite3.OperationalError("planted")] * 2
        rows = queues.store._rows
        claim = rows._lease

        def lease(*args):
            if failures:
                error = failures.pop()
                error.sqlite_errorname = "SQLITE_FULL"
                raise error
            return claim(*args)

        rows._lease = lease
        await queues.subscribe(ada.get_sid(), "drivers")
        await inbox.until(1)
        assert failures == []


async def test_a_failed_store_tells_everybody(stage, sio, tmp_path, caplog):
    async with await Queues.open(f"sqlite:///{tmp_path}/q.db") as queues:
        queues.attach(sio)
        ada = await consumer(stage, queues, "ada", answer=silent)
        await queues.emit("pickup", 1, to="drivers")
        await ada.until(1)
        queues.store._broken = "planted"
        with pytest.raises(StoreError, match="planted"):
            await queues.emit("pickup", 2, to="drivers")
        receipt = ada.deliveries[0]["receipt"]
        for event, data in (
            ("received", {"receipt": receipt}),
            ("received", {"receipts": [receipt]}),
            ("failed", {"receipt": receipt}),
        ):
            answer = await ada.client.call(event, data, timeout=5)
            assert answer.get("ok") is False or answer["error"]["code"] == "unavailable"


async def test_a_subscription_that_fails_can_be_made_again(stage, queues):
    ada = await stage.client("ada")
    inbox = Deliveries(ada)
    await queues.emit("pickup", 1, to="drivers")
    stats = queues.store.stats

    async def fails(queue):
        raise StoreError("planted")

    queues.store.stats = fails
    with pytest.raises(StoreError):
        await queues.subscribe(ada.get_sid(), "drivers")
    queues.store.stats = stats
    await queues.subscribe(ada.get_sid(), "drivers")
    await inbox.until(1)


async def test_nothing_is_kept_of_clients_that_left(stage, sio, url):
    async with await Queues.open(url, Rules(lease=0.05)) as queues:
        queues.attach(sio)
        for _ in range(5):
            ada = await consumer(stage, queues, "ada", answer=silent, window=4)
            for n in range(4):
                await queues.emit("pickup", n, to="drivers")
            await ada.until(1)
            await ada.client.disconnect()
            await stage.settle()
        bob = await consumer(stage, queues, "bob")
        await until(queues, ready=0, leased=0)
        async with asyncio.timeout(5):
            # A subscription's own count of a lease ends a moment later.
            while queues._delivery.in_flight._holders:
                await asyncio.to_thread(str)
        assert [*queues._delivery._subscriptions] == [(bob.client.get_sid(), "drivers")]


async def test_clients_that_left_idle_queues_do_not_gather(stage, queues):
    for n in range(150):
        ada = await stage.client("ada")
        await queues.subscribe(ada.get_sid(), f"queue {n}")
    await stage.settle()
    assert len(queues._delivery._subscriptions) == len(queues._delivery._consumers) <= 65


# -- attaching ----------------------------------------------------------------------------------


class Listening(socketio.AsyncNamespace):
    async def on_failed(self, sid, data):
        """Somebody's own."""


@pytest.mark.parametrize("how", ["function", "class"])
async def test_attaching_puts_no_handler_of_somebody_else_out_of_work(sio, how):
    if how == "class":
        sio.register_namespace(Listening("/caps"))
    else:
        sio.on("failed", Listening.on_failed, namespace="/caps")
    async with await Queues.open("memory:") as queues:
        with pytest.raises(ValueError, match="has a handler of 'failed' in /caps already: rename"):
            queues.attach(sio, "/caps")
        assert "received" not in sio.handlers.get("/caps", {})
        queues.attach(sio)  # elsewhere nobody minds
        assert set(sio.handlers["/"]) >= {"received", "failed"}


async def test_a_handler_that_replaces_that_of_the_queues_is_noticed(sio, stage, queues):
    ada = await consumer(stage, queues, "ada")

    @sio.event
    async def received(sid, data):
        """Somebody's own."""

    with pytest.raises(RuntimeError, match="handler of 'received' in / was replaced by another"):
        await queues.subscribe(ada.client.get_sid(), "others")


async def test_a_server_may_listen_to_the_answers_itself(sio, stage, url):
    heard = asyncio.Event()
    async with await Queues.open(url) as queues:

        @sio.event
        async def received(sid, receipt):
            assert await queues.received(sid, receipt)
            heard.set()

        queues.attach(sio, listen=False)
        ada = await consumer(stage, queues, "ada", answer=silent)
        await queues.emit("pickup", 1, to="drivers")
        await ada.until(1)
        await ada.client.emit("received", ada.deliveries[0]["receipt"])
        async with asyncio.timeout(5):
            await heard.wait()
        assert await queues.stats("drivers") == Stats()
        assert "failed" not in sio.handlers["/"]


async def test_queues_are_attached_to_a_namespace_once(sio):
    async with await Queues.open("memory:") as first, await Queues.open("memory:") as second:
        first.attach(sio)
        for another in (sio, socketio.AsyncServer(async_mode="aiohttp")):
            with pytest.raises(ValueError, match="are attached to / already: once is enough"):
                first.attach(another)
        with pytest.raises(ValueError, match="other queues are attached to / already: close those"):
            second.attach(sio)
        second.attach(sio, "/second")
        await first.close()
        third = await Queues.open("memory:")
        third.attach(sio)  # closed ones make room
        await third.close()


@pytest.mark.parametrize("what", [socketio.Server, socketio.AsyncClient])
async def test_queues_are_attached_to_an_async_server(what):
    async with await Queues.open("memory:") as queues:
        with pytest.raises(TypeError, match=f"takes a socketio.AsyncServer, not {what.__name__}"):
            queues.attach(what())


@pytest.mark.parametrize("kind", ["text", "bytes"])
async def test_a_polling_client_is_given_no_more_than_it_can_take(stage, queues, kind):
    """Python's client loses everything when more than 16 packets come in one answer."""
    data = {"text": "x", "bytes": {"a": b"x"}}[kind]
    for queue in ("one", "two", "three"):
        for _ in range(40):
            await queues.emit("pickup", data, to=queue)
    ada = await stage.client("ada", transports=["polling"])
    inbox = Deliveries(ada)
    for queue in ("one", "two", "three"):
        await queues.subscribe(ada.get_sid(), queue, window=100)
    await inbox.until(120)
    assert stage.connected("ada")
    assert {d["attempt"] for d in inbox.deliveries} == {1}


# -- subscribing --------------------------------------------------------------------------------


async def test_who_is_let_in_while_the_queues_close_is_too_late(sio, stage, url):
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def authorize(who, queue):
        asked.set()
        await may_answer.wait()
        return True

    async with await Queues.open(url) as queues:
        queues.attach(sio, authorize=authorize)
        ada = await stage.client("ada")
        subscribing = asyncio.create_task(queues.subscribe(ada.get_sid(), "drivers"))
        await asked.wait()
        await soon(queues.close())
        may_answer.set()
        with pytest.raises(RuntimeError, match="these queues are closed"):
            await subscribing


async def test_who_unsubscribes_and_is_cancelled_leaves_nothing_leased(stage, queues):
    """The claim under way goes on: what it brings is released, not forgotten until a lease ends."""
    ada = await stage.client("ada")
    claim, claims, may_claim = queues.store.claim, asyncio.Event(), asyncio.Event()

    async def slow(*args, **options):
        claimed = await claim(*args, **options)
        if claimed.attempts:
            claims.set()
            await may_claim.wait()
        return claimed

    queues.store.claim = slow
    await queues.emit("pickup", 1, to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await claims.wait()
    leaving = asyncio.create_task(queues.unsubscribe(ada.get_sid(), "drivers"))
    await give_way()
    leaving.cancel()
    await asyncio.wait({leaving})
    may_claim.set()
    await until(queues, ready=1, leased=0)


async def test_who_may_consume_is_asked(sio, stage, url):
    async with await Queues.open(url) as queues:
        ada = await stage.client("ada")
        sid = ada.get_sid()
        with pytest.raises(LookupError, match="attach the queues"):
            await queues.subscribe(sid, "drivers")

        async def authorize(who, queue):
            return who == sid and queue == "mine"

        queues.attach(sio, authorize=authorize)
        with pytest.raises(PermissionError, match="may not consume queue 'drivers'"):
            await queues.subscribe(sid, "drivers")
        assert await queues.subscribe(sid, "mine") == Stats()
        assert queues.subscriptions(sid) == ["mine"]
        with pytest.raises(LookupError, match="no client 'x' is connected"):
            await queues.subscribe("x", "mine")
        assert await queues.unsubscribe(sid, "mine") is True
        assert await queues.unsubscribe(sid, "mine") is False


@pytest.mark.parametrize(
    ("queue", "options", "error"),
    [
        (1, {}, TypeError),
        ("", {}, ValueError),
        ("x" * 101, {}, ValueError),
        ("a\0", {}, ValueError),
        ("q", {"window": 0}, ValueError),
        ("q", {"window": 1001}, ValueError),
        ("q", {"window": True}, TypeError),
        ("q", {"window": "3"}, TypeError),
        ("q", {"frame": -1}, ValueError),
    ],
)
async def test_what_cannot_be_subscribed_is_said(stage, queues, queue, options, error):
    ada = await stage.client("ada")
    with pytest.raises(error):
        await queues.subscribe(ada.get_sid(), queue, **options)
    assert queues.subscriptions(ada.get_sid()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"event": 1}, TypeError),
        ({"event": "connect"}, ValueError),
        ({"event": "deliveries"}, ValueError),
        ({"data": {1, 2}}, TypeError),
        ({"data": float("nan")}, ValueError),
        ({"data": (1, 2)}, TypeError),
        ({"data": "x" * 1_000_000}, ValueError),
        ({"data": DEEP}, ValueError),
        ({"to": []}, ValueError),
        ({"to": ["a", "a"]}, ValueError),
        ({"to": [1]}, TypeError),
        ({"to": None}, ValueError),
        ({"key": ""}, ValueError),
        ({"key": "\ud800"}, ValueError),
        ({"key": 1}, TypeError),
        ({"ttl": 0}, ValueError),
        ({"ttl": True}, ValueError),
        ({"ttl": float("nan")}, ValueError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.__name__,
)
async def test_what_cannot_be_kept_is_said_and_nothing_is_stored(queues, options, error):
    with pytest.raises(error):
        await queues.emit(**({"event": "e", "data": None, "to": "q"} | options))
    with pytest.raises(LookupError, match="'q'"):
        await queues.stats("q")


async def test_a_full_queue_says_so(url):
    async with await Queues.open(url, Rules(length=1)) as queues:
        id = await queues.emit("e", 1, to="q", key="k")
        assert await queues.emit("e", 2, to="q", key="k") == id
        with pytest.raises(QueueFull):
            await queues.emit("e", 3, to="q")


# -- closing ------------------------------------------------------------------------------------


async def test_closing_waits_for_answers_and_keeps_them(sio, stage, tmp_path):
    url = f"sqlite:///{tmp_path}/q.db"
    queues = await Queues.open(url)
    queues.attach(sio)
    ada = await stage.client("ada")
    go, began = asyncio.Event(), asyncio.Event()

    @ada.on("pickup")
    async def pickup(n, delivery):
        began.set()
        await go.wait()
        return delivery["receipt"]

    await queues.subscribe(ada.get_sid(), "drivers", window=2)
    for n in range(4):
        await queues.emit("pickup", n, to="drivers")
    await began.wait()
    closing = asyncio.create_task(queues.close(within=5))
    await stage.client("bob")  # a few turns of the loop
    go.set()
    await closing
    with pytest.raises(RuntimeError, match="closed"):
        await queues.emit("pickup", 9, to="drivers")
    with pytest.raises(RuntimeError, match="closed"):
        await queues.subscribe(ada.get_sid(), "drivers")
    await queues.close()
    async with await Queues.open(url) as again:
        assert (await again.stats("drivers")).ready == 2


async def test_closing_waits_no_longer_than_it_was_told_and_not_for_who_is_gone(sio, stage, url):
    queues = await Queues.open(url)
    queues.attach(sio)
    ada = await consumer(stage, queues, "ada", answer=silent)
    await queues.emit("pickup", 1, to="drivers")
    await ada.until(1)
    await ada.client.disconnect()
    await stage.settle()
    async with asyncio.timeout(5):
        await queues.close(within=60)


async def test_closing_ends_when_the_last_answers_have_just_come(sio, stage, url):
    """What was written down for them may be done before anybody waits for it."""
    for _ in range(5):
        queues = await Queues.open(url)
        queues.attach(sio)
        ada = await consumer(stage, queues, "ada")
        for n in range(10):
            await queues.emit("pickup", n, to="drivers")
        await ada.until(10)
        with ends_what_blocks():
            await soon(queues.close(within=60))
        await stage.settle()


ONCE = Rules(attempts=1)


async def tried_in_vain(queues, n):
    """Put messages whose only attempt was in vain: they are dead once they are claimed again."""
    for i in range(n):
        await queues.emit("pickup", i, to="drivers")
    claimed = await queues.store.claim("drivers", n, 30.0, in_order=False)
    for attempt in claimed.attempts:
        await queues.store.release(attempt.receipt)


async def test_closing_ends_when_the_dead_have_just_been_buried(sio, stage, url):
    queues = await Queues.open(url, ONCE)
    queues.attach(sio)
    await tried_in_vain(queues, 20)
    await consumer(stage, queues, "ada", window=20)

    async def buried():
        while not any("dead" in what for what in queues._delivery.in_flight.tasks.values()):
            if (await queues.stats("drivers")).dead:
                break

    with ends_what_blocks():
        await soon(buried())
        await soon(queues.close(within=60))
    if url != "memory:":
        async with await Queues.open(url) as again:
            assert (await again.stats("drivers")).dead == 20


async def test_an_answer_that_comes_while_the_last_are_written_down_is_too_late(
    sio, stage, url, monkeypatch
):
    monkeypatch.setattr(in_flight, "_COLLECT", 60)  # so that they are written when it closes
    queues = await Queues.open(url)
    queues.attach(sio)
    stage.watch(queues)
    ack, writing, may_write = queues.store.ack, asyncio.Event(), asyncio.Event()

    async def held_up(receipts):
        writing.set()
        await may_write.wait()
        return await ack(receipts)

    queues.store.ack = held_up
    ada, may_answer = await stage.client("ada"), asyncio.Event()

    @ada.on("pickup")
    async def pickup(n, delivery):
        if n:
            await may_answer.wait()
        return delivery["receipt"]

    await queues.subscribe(ada.get_sid(), "drivers")
    for n in range(2):
        await queues.emit("pickup", n, to="drivers")
    await stage.until(lambda: queues._delivery.in_flight._acknowledged, "the first answer")
    closing = asyncio.create_task(queues.close(within=0))
    await soon(writing.wait())
    may_answer.set()
    await stage.until(lambda: not queues._delivery.in_flight._holders, "the second answer")
    may_write.set()
    await soon(closing)
    await stage.settle()


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("ack", "acknowledgements"),
        ("bury", "dead (not acknowledged in 1"),
        ("claim", "of queue 'drivers'"),
    ],
)
async def test_closing_ends_and_says_what_a_store_that_does_not_answer_was_asked(
    sio, stage, url, monkeypatch, caplog, verb, said
):
    monkeypatch.setattr(in_flight, "_STORE", 0.05)
    queues = await Queues.open(url, ONCE)
    queues.attach(sio)
    stage.watch(queues)
    if verb == "bury":
        await tried_in_vain(queues, 1)
    else:
        await queues.emit("pickup", 1, to="drivers")
    asked = asyncio.Event()

    def never(*_, **__):
        asked.set()
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(queues.store, verb, never)
    await consumer(stage, queues, "ada")
    await soon(asked.wait())
    await soon(queues.close())
    assert "the store has not answered for 0.05 s while the queues are closed" in caplog.text
    assert said in caplog.text
    await stage.settle()


async def test_many_that_are_dead_keep_the_event_loop_from_nobody(sio, stage):
    async with await Queues.open("memory:", ONCE) as queues:
        queues.attach(sio)
        stage.watch(queues)
        await tried_in_vain(queues, 2000)
        ada = await stage.client("ada")
        await queues.subscribe(ada.get_sid(), "drivers")
        turns = 0
        while (await queues.stats("drivers")).dead < 2000:
            turns += 1
            await give_way()
        assert turns > 50


async def test_an_answer_after_closing_is_told_so(sio, stage, url):
    queues = await Queues.open(url)
    queues.attach(sio)
    ada = await consumer(stage, queues, "ada", answer=silent)
    for n in range(2):
        await queues.emit("pickup", n, to="drivers")
    await ada.until(2)
    async with asyncio.timeout(5):
        await queues.close(within=0)
    for event, delivery in zip(("received", "failed"), ada.deliveries, strict=True):
        answer = await ada.client.call(event, {"receipt": delivery["receipt"]}, timeout=5)
        assert answer["error"]["code"] == "unavailable"
    await stage.settle()


async def test_closing_may_be_cancelled_and_is_finished_all_the_same(sio, stage, tmp_path):
    url = f"sqlite:///{tmp_path}/q.db"
    queues = await Queues.open(url)
    queues.attach(sio)
    ada = await consumer(stage, queues, "ada", answer=silent)
    await queues.emit("pickup", 1, to="drivers")
    await ada.until(1)
    closing = asyncio.create_task(queues.close(within=0.05))
    await give_way()
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await queues.close()
    await (await Queues.open(url)).close()


async def test_emit_may_be_cancelled(queues):
    emitting = asyncio.create_task(queues.emit("e", 1, to="q"))
    await give_way()
    emitting.cancel()
    await asyncio.gather(emitting, return_exceptions=True)
    await queues.emit("e", 2, to="q")
    assert (await queues.stats("q")).ready in (1, 2)


async def test_queues_are_kept_where_the_url_says(tmp_path):
    for url in ("", "sqlite:", "sqlite:///", "sqlite://x", "redis://x", "q.db"):
        with pytest.raises(ValueError, match="sqlite:///FILE"):
            await Queues.open(url)
    async with await Queues.open(f"sqlite:///{tmp_path}/with space?#%41.db") as queues:
        await queues.emit("e", 1, to="q")
    async with await Queues.open(f"sqlite:///{tmp_path}/with space?#%41.db") as queues:
        assert (await queues.stats("q")).ready == 1
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["with space?#%41.db", "with space?#%41.db-reserve"]
