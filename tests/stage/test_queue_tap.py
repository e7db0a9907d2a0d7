"""The life of a message of a queue on a stage: in the journal, table, words and picture."""

import asyncio
from random import Random

import pytest
from clock import Clock

from chatq import NotSettled, Queues, Reason, Rules, Stage
from chatq.journal.facts import Died, Emitted, Redriven, Returned, Settled, Subscribed, Tried
from chatq.journal.journal import preview
from chatq.waiting import give_way

pytestmark = pytest.mark.usefixtures("network")  # both


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory:", "sqlite"])
async def queues(request, sio, stage, clock):
    url = "memory:" if request.param == "memory:" else f"sqlite:///{stage.folder}/q.db"
    queues = await Queues.open(url, Rules(lease=30, attempts=2), clock=clock, random=Random(1))
    queues.attach(sio)
    stage.watch(queues)
    yield queues
    await queues.close(0)  # for the answers that a test has held back


def answering(client, event="pickup"):
    got = []

    @client.on(event)
    def handler(order, delivery):
        got.append(order)
        return delivery["receipt"]

    return got


def lived(stage):
    kinds = (Emitted, Subscribed, Tried, Settled, Returned, Died, Redriven)
    return [fact for fact in stage.journal if isinstance(fact, kinds)]


async def test_settling_waits_for_what_a_queue_does_by_itself(stage, queues):
    ada = await stage.client("ada")
    got = answering(ada)
    for n in range(40):
        await queues.emit("pickup", n, to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers", window=3)
    await stage.settle()
    assert got == [*range(40)]
    stats = await queues.stats("drivers")
    assert (stats.ready, stats.leased) == (0, 0)
    assert stage.deliveries("pickup").who_got("pickup") == {"ada"}


async def test_a_message_that_waits_is_said_to_wait(stage, queues):
    await stage.client("ada")
    await queues.emit("pickup", "O-1", to="drivers")
    await stage.settle()
    assert stage.reason("ada", "pickup") is Reason.WAITING
    assert stage.why("ada", "pickup") == "ada did not get 'pickup': it waits in queue 'drivers'."
    assert "pickup 'O-1'  server → queue 'drivers'  … waits        ↗       … in queue" in repr(
        stage.deliveries()
    )


async def test_a_settled_message_and_the_consumer_that_got_it(stage, queues):
    ada, bob = await stage.clients("ada", "bob")
    answering(ada)
    await queues.emit("pickup", "O-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    assert stage.reason("ada", "pickup") is Reason.RECEIVED
    assert stage.why("ada", "pickup") == "ada got 'pickup' (attempt 1, settled)."
    assert stage.reason("bob", "pickup") is Reason.OTHER_CONSUMER
    told = "bob did not get 'pickup': it went to ada, from queue 'drivers'."
    assert stage.why(bob, "pickup") == told
    assert lived(stage)[1:] == [
        Subscribed("ada", "drivers"),
        Tried(1, "ada", 1),
        Emitted(2, "server", "pickup", "'O-1', attempt 1", "/", (), ("ada",), (), ("ada",), 1),
        Settled(1, "ada"),
    ]


async def test_what_waits_at_a_reset_is_met_anew(stage, queues):
    ada = await stage.client("ada")
    ada.on("pickup", lambda order, delivery: None)
    for n in range(3):
        await queues.emit("pickup", n, to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers", window=1)
    await stage.settle()
    await stage.reset()
    assert lived(stage) == []
    answering(ada)
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    rows = stage.deliveries("pickup").messages
    assert {message.emitted.sender for message in rows} == {"earlier"}
    assert {message.life.state for message in rows} == {"settled"}
    assert stage.view().queues().rows[0][0] == "drivers"


async def test_an_arrival_without_the_receipt_settles_nothing(stage, queues):
    ada = await stage.client("ada")
    await queues.emit("pickup", "O-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    assert stage.reason("ada", "pickup") is Reason.NO_HANDLER
    assert "→ out to ada" in repr(stage.deliveries())
    assert "○ attempt 1, ack" in repr(stage.deliveries())


async def test_a_lease_that_ends_and_the_second_attempt(stage, queues, clock):
    ada, bob = await stage.clients("ada", "bob")
    ada.on("pickup", lambda order, delivery: None)
    await queues.emit("pickup", "O-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    clock.now += 31
    await queues.unsubscribe(ada.get_sid(), "drivers")
    answering(bob)
    await queues.subscribe(bob.get_sid(), "drivers")
    await stage.settle()
    assert stage.why("ada", "pickup").startswith("ada got 'pickup' (attempt 1, its lease ended)")
    assert stage.why("bob", "pickup") == "bob got 'pickup' (attempt 2, settled)."
    picture = repr(stage.diagram())
    assert "↺           │           │           pickup 'O-1' of ada is back: its lease" in picture
    assert "pickup 'O-1', attempt 2, redelivered   (to bob)" in picture
    assert "■───────────│───────────●           pickup 'O-1': settled" in picture
    assert "redelivered</tspan>" in stage.diagram().svg()


async def test_time_is_moved_by_hand(stage, queues, clock):
    ada = await stage.client("ada")
    ada.on("pickup", lambda order, delivery: None)
    await queues.emit("pickup", "O-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    got = answering(ada)
    clock.now += 31
    queues.tick()
    await stage.settle()
    assert got == ["O-1"]
    assert Returned(1, "ada", "its lease ended") in [*stage.journal]


async def test_of_a_message_of_a_queue_each_attempt_is_counted(sio, stage, queues, clock):
    ada, bob = await stage.clients("ada", "bob")
    ada.on("pickup", lambda order, delivery: None)
    answering(ada, "note")
    ada.on("news", lambda text: None)
    await queues.emit("pickup", "O-1", to="drivers")
    await queues.emit("note", "N-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    await sio.emit("news", "plain")
    await queues.emit("note", "N-2", to="drivers")
    await stage.settle()
    assert stage.deliveries().got_once("ada", "pickup")
    assert stage.deliveries("pickup").got_once("ada", "pickup")
    assert stage.deliveries(last=1).got_once("ada", "note")
    assert not stage.deliveries().got_once("ada", "note")
    answering(ada)
    answering(bob)
    clock.now += 31
    queues.tick()
    await stage.settle()
    table = stage.deliveries()
    assert repr(table.got_once("ada", "pickup")) == (
        "ada got 'pickup' 2 times: message 1 (2 attempts) of the table"
    )
    assert not table.got_once("ada", "pickup")
    assert table.got_in_order("ada", "pickup", "note", "news", "note", "pickup")
    assert repr(table.got_once("bob", "note")) == (
        "bob did not get 'note': it went to ada, from queue 'drivers'."
    )
    await queues.unsubscribe(ada.get_sid(), "drivers")
    ada.on("pickup", lambda order, delivery: None)
    await queues.emit("pickup", "O-2", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    clock.now += 31
    await queues.unsubscribe(ada.get_sid(), "drivers")
    await queues.subscribe(bob.get_sid(), "drivers")
    await stage.settle()
    assert stage.deliveries().who_got("pickup") == {"ada", "bob"}  # by one attempt each


async def test_nobody_has_got_what_waits_in_a_queue(stage, queues):
    await stage.client("ada")
    await queues.emit("pickup", "O-1", to="drivers")
    await stage.settle()
    assert stage.deliveries().nobody_got("pickup")
    await queues.subscribe(stage["ada"].get_sid(), "drivers")
    await stage.settle()  # it has no handler
    assert not stage.deliveries().nobody_got("pickup")


async def test_a_refused_message_dies_with_its_reason_and_is_redriven(stage, queues, clock):
    ada = await stage.client("ada")

    @ada.on("pickup")
    async def pickup(order, delivery):
        await ada.emit("failed", {"receipt": delivery["receipt"], "reason": "no such street"})

    await queues.emit("pickup", "O-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    assert stage.why("ada", "pickup").startswith(
        "ada got 'pickup' (attempt 1, refused: no such street, again in 0.6 s; "
        "now it waits in queue 'drivers')"
    )
    clock.now += 2
    queues.tick()
    await stage.settle()
    assert "✗ dead: no such street" in repr(stage.deliveries())
    assert "pickup 'O-1' is dead: no such street" in repr(stage.diagram())
    answering(ada)
    assert await queues.redrive("drivers") == 1
    await stage.settle()
    assert stage.why("ada", "pickup") == "ada got 'pickup' (attempt 3, settled)."
    assert [type(f) for f in lived(stage) if not isinstance(f, Emitted | Subscribed | Tried)] == [
        Returned,
        Returned,
        Died,
        Redriven,
        Settled,
    ]


async def test_an_expired_message_is_said_to_have_expired(stage, queues, clock):
    ada = await stage.client("ada")
    await queues.emit("pickup", "O-1", to="drivers", ttl=5)
    clock.now += 6
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    assert stage.reason("ada", "pickup") is Reason.EXPIRED
    assert "✗ expired" in repr(stage.deliveries())


async def test_a_key_that_was_seen_is_no_new_message(stage, queues):
    for _ in range(2):
        await queues.emit("pickup", "O-1", to="drivers", key="O-1")
    assert len(stage.deliveries().messages) == 1


async def test_each_of_several_queues_has_its_own_copy_and_column(stage, queues):
    await queues.emit("pickup", "O-1", to=["drivers", "office"])
    assert [m.life.queue for m in stage.deliveries().messages] == ["drivers", "office"]
    assert "queue drivers  queue office  server" in repr(stage.deliveries())


async def test_a_frozen_consumer_holds_its_message(stage, queues):
    ada = await stage.client("ada")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    await stage.freeze(ada)
    await queues.emit("pickup", "O-1", to="drivers")
    await stage.settle()
    assert stage.reason("ada", "pickup") is Reason.FROZEN
    assert "… frozen attempt 1" in repr(stage.deliveries())


async def test_queues_opened_again_keep_the_numbers_of_their_messages(sio, stage, clock):
    ada = await stage.client("ada")
    answering(ada)
    url = f"sqlite:///{stage.folder}/q.db"
    first = await Queues.open(url, clock=clock)
    stage.watch(first)
    await first.emit("pickup", "O-1", to="drivers")
    await first.close()
    second = await Queues.open(url, clock=clock)
    second.attach(sio)
    stage.watch(second)
    await second.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    assert len(stage.deliveries().messages) == 1
    assert stage.why("ada", 1) == "ada got 'pickup' (attempt 1, settled)."
    await second.close()


async def test_a_message_of_before_is_written_down_when_it_is_sent(sio, stage, clock):
    ada = await stage.client("ada")
    answering(ada)
    queues = await Queues.open("memory:", clock=clock)
    queues.attach(sio)
    await queues.emit("pickup", "O-1", to="drivers")
    stage.watch(queues)
    with pytest.raises(RuntimeError, match="this observer watches these queues already"):
        stage.watch(queues)
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    assert stage.why("ada", "pickup") == "ada got 'pickup' (attempt 1, settled)."
    stored = "│           ▣           │           pickup 'O-1'   (earlier → queue 'drivers')"
    assert stored in repr(stage.diagram())
    await queues.close()


async def test_each_message_of_before_has_its_own_row(sio, stage, clock):
    async with await Queues.open("memory:", clock=clock) as queues:
        for n in range(3):
            await queues.emit("pickup", n, to="drivers")
        queues.attach(sio)
        stage.watch(queues)
        ada = await stage.client("ada")
        answering(ada)
        await queues.subscribe(ada.get_sid(), "drivers")
        await stage.settle()
        assert [message.emitted.data for message in stage.deliveries().messages] == ["0", "1", "2"]


async def test_a_lease_of_the_connection_before_ends_late_and_changes_nothing(sio, stage, clock):
    """The same name may be back on another connection, and have dealt with the message."""
    rules = Rules(lease=0.2, back_off=0)
    async with await Queues.open("memory:", rules) as queues:  # leases end by real time
        queues.attach(sio)
        stage.watch(queues)
        ada = await stage.client("ada")
        await queues.emit("pickup", "O-1", to="drivers")
        await queues.subscribe(ada.get_sid(), "drivers")
        await stage.settle()
        await stage.cut("ada")
        await stage.settle()
        got = answering(ada)
        await ada.connect()
        await queues.subscribe(ada.get_sid(), "drivers")
        await stage.until(lambda: got, "the second attempt")
        async with asyncio.timeout(5):
            while queues._delivery.in_flight._leaving:  # the connection before is let go
                await give_way()
        await stage.settle()
        assert stage.why("ada", "pickup").endswith("settled).")


async def test_watching_from_the_middle_of_work_still_settles(sio, stage):
    ada = await stage.client("ada")
    answering(ada)
    queues = await Queues.open(f"sqlite:///{stage.folder}/q.db")
    queues.attach(sio)
    for n in range(5):
        await queues.emit("pickup", n, to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")  # its pump is at work now
    stage.watch(queues)
    assert "messages are being claimed" in stage._recorder.activity.describe()
    with pytest.raises(NotSettled, match="queues: messages are being claimed, sent or settled"):
        await stage.settle(within=0)
    await stage.settle()
    assert (await queues.stats("drivers")).ready == 0
    await queues.close()


async def test_a_closed_stage_watches_no_more(sio):
    async with Stage(sio) as stage:
        queues = await Queues.open("memory:")
        stage.watch(queues)
    await queues.emit("pickup", "O-1", to="drivers")
    assert stage.deliveries().messages == ()
    queues.watch(stage._queue_tap)()  # free for another
    await queues.close()


async def test_ids_and_receipts_are_struck_out(stage, queues):
    ada = await stage.client("ada")
    answering(ada)
    await queues.emit("pickup", "O-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    told = [m.emitted.data for m in stage.view().messages]
    assert told == ["'O-1'", "'O-1', attempt 1"]
    wire = repr(stage.wire("ada"))
    assert '{"id":"…","queue":"drivers","attempt":1,"redelivered":false,"receipt":"…"}' in wire
    assert '431["…"]' in wire
    assert preview(({"receipt": "0123456789abcdef" * 2, "id": "0a1b2c3d-17"},)) == (
        "{'id': '…', 'receipt': '…'}"
    )
    assert preview(("0123456789abcdef" * 2,)) == "'…'"
    assert preview(("2024-02-29, order 0123",)) == "'2024-02-29, order 0123'"


async def test_in_strict_order_the_next_comes_when_the_one_before_is_settled(stage, queues):
    ada = await stage.client("ada")
    got = answering(ada)
    for n in range(4):
        await queues.emit("pickup", n, to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers", window=1)
    await stage.settle()
    assert got == [0, 1, 2, 3]


async def test_an_answer_too_late_settles_nothing_and_is_not_drawn_so(stage, queues, clock):
    ada, bob = await stage.clients("ada", "bob")
    receipts = []
    for client in (ada, bob):
        client.on("pickup", lambda order, delivery: receipts.append(delivery["receipt"]))
    await queues.emit("pickup", "O-1", to="drivers")
    await queues.subscribe(ada.get_sid(), "drivers")
    await stage.settle()
    clock.now += 31
    await queues.subscribe(bob.get_sid(), "drivers")
    await stage.settle()
    assert await ada.call("received", {"receipt": receipts[0]}, timeout=2) == {"ok": False}
    await stage.settle()
    assert stage.deliveries(last=2).messages[0].life.mark == "→ out"
    assert stage.why("ada", "pickup").startswith("ada got 'pickup' (attempt 1, its lease ended)")
    await bob.call("received", {"receipt": receipts[1]}, timeout=2)
    assert stage.why("bob", "pickup").startswith("bob got 'pickup' (attempt 2, settled)")
    assert len(stage.deliveries("pickup", last=1).messages) == 1
