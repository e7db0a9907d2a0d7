"""A consumer handles each message once, whatever happens to its connection, itself or the hub."""

import asyncio
import contextlib
import math
import signal
import sqlite3
import sys
from random import Random
from time import perf_counter

import pytest
import socketio
from watched_hub import (
    NAMESPACE,
    Cable,
    Hub,
    Program,
    Seen,
    connect,
    hang_up,
    new_client,
    start_hub,
)

import chatq
from chatq import Consumer, Refused, Rules, Stage, StoreError
from chatq.waiting import give_way


def make(client, seen=None, queue="drivers", **options):
    """A consumer whose handler notes the data."""
    consumer = Consumer(client, queue, namespace=NAMESPACE, **options)
    if seen is not None:
        consumer.on("pickup", lambda order, delivery: seen.add(order))
    return consumer


async def fill(hub, n, queue="drivers"):
    for order in range(n):
        await hub.queues.emit("pickup", order, to=queue)


# -- handling and answering -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"window": 1}, {"window": 1000}, {"window": 3, "frame": 2}]
)
async def test_thousands_of_messages_are_handled_in_order(hub, dial, options):
    seen = Seen()
    await fill(hub, 1000)
    async with make(await dial(hub.url), seen, **options) as consumer:
        await fill(hub, 10)
        assert await seen.reach(1010) == [*range(1000), *range(10)]
    assert (consumer.handled, consumer.skipped, consumer.failed) == (1010, 0, 0)
    assert await hub.left() == (0, 0, 0)


async def test_over_long_polling_too(hub, dial):
    seen = Seen()
    await fill(hub, 200)
    client = await dial()
    await connect(client, hub.url, ["polling"])
    async with make(client, seen, window=100):
        assert await seen.reach(200) == [*range(200)]
    assert await hub.left() == (0, 0, 0)


async def test_a_message_is_answered_when_its_handler_has_returned_and_not_before(hub, dial):
    begun, may_end = asyncio.Event(), asyncio.Event()
    consumer = make(await dial(hub.url), window=1)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.set()
        await may_end.wait()

    async with consumer:
        await fill(hub, 1)
        await begun.wait()
        # A round trip behind all that the client may have sent so far.
        await consumer._connection.client.call("subscribe", {"queue": "other"}, namespace=NAMESPACE)
        assert hub.answers == []
        assert await hub.left() == (0, 1, 0)
        may_end.set()
        [(name, _, answer)] = await hub.answers.reach(1)
        assert (name, answer) == ("received", {"ok": True})


async def test_many_answers_go_in_one_event_and_an_early_one_does_not_wait_for_a_slow_handler(
    hub, dial, monkeypatch
):
    # Sending after each burst, however slow this machine is just now.
    monkeypatch.setattr("chatq.clients.consumer._LONGEST_BURST", math.inf)
    may_end = asyncio.Event()
    await fill(hub, 40)
    consumer = make(await dial(hub.url), window=40)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        if order == 30:
            await may_end.wait()

    async with consumer:
        [(_, asked, _)] = await hub.answers.reach(1)
        assert len(asked["receipts"]) == 30
        may_end.set()
        await hub.answers.reach(2)
    assert len(hub.answers) == 2


async def test_handlers_that_never_give_way_do_not_hold_back_the_answers(hub, dial):
    """Thirty of them keep the event loop busy: heartbeats and answers get their turn in between."""
    seen, answered = Seen(), []
    await fill(hub, 30)
    consumer = make(await dial(hub.url), window=30)

    @consumer.on("pickup")
    def pickup(order, delivery):
        until = perf_counter() + 0.006
        while perf_counter() < until:
            pass
        answered.append(len(hub.answers))
        seen.add(order)

    async with consumer:
        assert await seen.reach(30) == [*range(30)]
    assert answered[-1] > 0


async def test_a_delivery_says_which_attempt_it_is(hub, dial):
    seen = Seen()
    consumer = make(await dial(hub.url))

    @consumer.on("pickup")
    def pickup(order, delivery):
        seen.add(delivery)
        if delivery["attempt"] == 1:
            raise ValueError("not yet")

    async with consumer:
        await fill(hub, 1)
        first, second = await seen.reach(2)
    assert (first["attempt"], first["redelivered"], first["queue"]) == (1, False, "drivers")
    assert (second["attempt"], second["redelivered"], second["id"]) == (2, True, first["id"])
    assert (consumer.handled, consumer.failed) == (1, 1)


async def test_window_1_is_strictly_in_order_even_if_a_handler_fails(hub, dial):
    seen = Seen()
    consumer = make(await dial(hub.url), window=1)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        seen.add(order)
        if order == 1 and delivery["attempt"] < 3:
            raise ValueError("not yet")

    async with consumer:
        await fill(hub, 3)
        assert await seen.reach(5) == [0, 1, 1, 1, 2]


async def test_a_poison_message_is_dead_in_the_end_and_holds_nobody_up(hub, dial, caplog):
    seen, errors = Seen(), Seen()
    consumer = make(await dial(hub.url), on_error=errors.add)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        if order == 1:
            raise ValueError(f"no such street: {'x' * 1000}")
        seen.add(order)

    async with consumer:
        await fill(hub, 3)
        assert await seen.reach(2) == [0, 2]
        await errors.reach(hub.queues.rules.attempts)
    [dead] = await hub.queues.dead("drivers")
    assert dead.reason.startswith("ValueError: no such street: xxx")
    assert dead.attempts == hub.queues.rules.attempts == consumer.failed
    assert "no such street" in caplog.text
    assert "Traceback" in caplog.text


async def test_an_event_that_nobody_listens_to_is_not_swallowed(hub, dial):
    errors = Seen()
    async with make(await dial(hub.url), Seen(), on_error=errors.add):
        await hub.queues.emit("pick-up", 1, to="drivers")
        await errors.reach(hub.queues.rules.attempts)
    [dead] = await hub.queues.dead("drivers")
    assert dead.reason == "LookupError: no handler listens to 'pick-up'"


async def test_a_catch_all_gets_what_has_no_handler_of_its_own(hub, dial):
    seen = Seen()
    consumer = make(await dial(hub.url), seen)
    consumer.on("*", lambda event, data, delivery: seen.add((event, data)))
    async with consumer:
        await fill(hub, 1)
        await hub.queues.emit("other", {"a": b"bytes"}, to="drivers")
        assert await seen.reach(2) == [0, ("other", {"a": b"bytes"})]


async def test_what_is_cancelled_within_a_handler_is_a_failure_like_another(hub, dial):
    seen, errors = Seen(), Seen()
    consumer = make(await dial(hub.url))

    @consumer.on("pickup")
    async def pickup(order, delivery):
        if delivery["attempt"] == 1:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task
        seen.add(order)

    async with consumer:
        await fill(hub, 1)
        await seen.reach(1)
    assert (consumer.handled, consumer.failed, errors) == (1, 1, [])


async def test_what_is_no_delivery_is_reported_and_stops_nothing(hub, dial):
    seen, errors = Seen(), Seen()
    async with make(await dial(hub.url), seen, on_error=errors.add):
        [(sid, _)] = hub.subscribes
        good = {"queue": "drivers", "id": "a", "receipt": "b"}
        bad = [1, None, [], ["pickup", 1], ["pickup", 1, {}], [["pickup"], 1, good]]
        bad += [["pickup", 1, {**good, "id": ["a"]}], ["pickup", 1, {**good, "receipt": None}]]
        frames = [None, 5, {}, [], [1], [["pickup", 1, {"queue": ["drivers"]}]]]
        frames += ["", "[", "5", "[" * 100_000, "{}"]
        frames.append([["pickup", "good", good], *bad])
        for frame in frames:
            await hub.sio.emit("deliveries", frame, to=sid, namespace=NAMESPACE)
        await fill(hub, 1)
        assert await seen.reach(2) == ["good", 0]
        await errors.reach(len(bad))


# -- the client stays the user's ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["functions before", "functions after", "class", "all namespaces"])
async def test_the_clients_own_handlers_go_on_working(hub, dial, kind):
    seen, own = Seen(), Seen()
    cable = await Cable.lay(hub.port)
    client = await dial()

    def functions(namespace, first=()):
        for event in ("connect", "disconnect", "news", "*"):
            client.on(event, lambda *args, e=event: own.add(e), namespace=namespace)

    class Mine(socketio.AsyncClientNamespace):
        def on_connect(self):
            own.add("connect")

        def on_disconnect(self, reason):
            own.add("disconnect")

        def on_news(self, *data):
            own.add("news")

        async def trigger_event(self, event, *args):
            if event == "other":
                own.add("*")
            return await super().trigger_event(event, *args)

    if kind == "functions before":
        functions(NAMESPACE)
    elif kind == "class":
        client.register_namespace(Mine(NAMESPACE))
    elif kind == "all namespaces":
        functions("*")
    consumer = make(client, seen)
    await connect(client, cable.url)
    await consumer.start()
    if kind == "functions after":
        own.add("connect")
        functions(NAMESPACE)
    await own.reach(1)
    cable.cut()
    await own.reach(3)
    await hub.subscribes.reach(2)
    sid = client.get_sid(NAMESPACE)
    for event in ("news", "other"):
        await hub.sio.emit(event, 1, to=sid, namespace=NAMESPACE)
    await fill(hub, 1)
    assert await own.reach(5) == ["connect", "disconnect", "connect", "news", "*"]
    await seen.reach(1)
    await consumer.close()
    assert client._trigger_event.__func__ is socketio.AsyncClient._trigger_event
    await hang_up(client)
    assert own[5:] == ["disconnect"]
    await cable.close()


async def test_the_users_connect_handler_comes_first_so_that_it_can_say_who_this_is(hub, dial):
    asked = []
    hub.sio.on("login", lambda sid: asked.append("login"), namespace=NAMESPACE)
    cable = await Cable.lay(hub.port)
    client = await dial()

    @client.on("connect", namespace=NAMESPACE)
    async def connected():
        await client.call("login", namespace=NAMESPACE)
        asked.append(f"subscribed {len(hub.subscribes)}")

    async with make(await connected_client(client, cable.url), Seen()):
        cable.cut()
        await hub.subscribes.reach(2)
    assert asked == ["login", "subscribed 0", "login", "subscribed 1"]
    await cable.close()


async def connected_client(client, url):
    await connect(client, url)
    return client


async def test_a_consumer_may_be_started_in_the_connect_handler(hub, dial):
    seen = Seen()
    await fill(hub, 1)
    client = await dial()
    consumer = make(client, seen)
    client.on("connect", lambda: consumer.start(), namespace=NAMESPACE)

    @client.on("connect", namespace=NAMESPACE)
    async def connected():
        starting.append(asyncio.create_task(consumer.start()))

    starting = []
    await connect(client, hub.url)
    await seen.reach(1)
    await starting[0]
    await consumer.close()


async def test_a_client_that_knows_a_consumer_connects_to_its_namespace_by_itself(hub, dial):
    seen = Seen()
    client = await dial()
    consumer = make(client, seen)
    await client.connect(hub.url, transports=["websocket"])
    async with consumer:
        await fill(hub, 1)
        await seen.reach(1)


async def test_consumers_of_two_queues_share_a_client_and_one_queue_has_one(hub, dial):
    first, second = Seen(), Seen()
    client = await dial(hub.url)
    consumer = make(client, first)
    async with consumer, make(client, second, "vendors"):
        with pytest.raises(ValueError, match="has a consumer of queue 'drivers' already"):
            make(client)
        await fill(hub, 3)
        await fill(hub, 2, "vendors")
        await first.reach(3)
        await second.reach(2)
        await consumer.close()
        await fill(hub, 1, "vendors")
        await second.reach(3)
    async with make(client, first):
        await fill(hub, 1)
        await first.reach(4)


async def test_on_a_stage_settle_waits_for_the_consumers_handler_and_the_table_shows_it():
    sio = socketio.AsyncServer(async_mode="aiohttp")
    queues = await chatq.Queues.open("memory:")
    queues.attach(sio)

    @sio.event
    async def subscribe(sid, asked):
        await queues.subscribe(sid, asked["queue"], asked["window"], frame=asked["frame"])
        return {}

    sio.on("unsubscribe", lambda sid, asked: {})
    async with Stage(sio) as stage:
        [ada] = await stage.clients("ada")
        consumer = Consumer(ada, "drivers")
        steps = []

        @consumer.on("pickup")
        async def pickup(order, delivery):
            await ada.call("subscribe", {"queue": "other", "window": 1, "frame": 0})
            steps.append(order)

        await consumer.start()
        await queues.emit("pickup", 1, to="drivers")
        await stage.until(
            lambda: "deliveries" in repr(d := stage.deliveries()) and d.who_got("deliveries")
        )
        await stage.settle()
        assert steps == [1]
        assert stage.deliveries().who_got("deliveries") == {"ada"}
        await consumer.close()
    await queues.close()


# -- subscribing ----------------------------------------------------------------------------------


async def test_a_client_that_is_not_there_yet_is_waited_for(hub, dial):
    seen = Seen()
    client = await dial()
    consumer = make(client, seen)
    starting = asyncio.create_task(consumer.start())
    await fill(hub, 1)
    await connect(client, hub.url)
    await starting
    await seen.reach(1)
    await consumer.close()


async def test_a_client_that_never_comes_is_named(dial):
    consumer = make(await dial())
    with pytest.raises(
        TimeoutError, match=r"not subscribed to 'drivers' .* client is not connected"
    ):
        await consumer.start(within=0.05)
    with pytest.raises(RuntimeError, match="started once"):
        await consumer.start()


async def test_a_client_that_is_connected_elsewhere_is_told_what_to_do(hub, dial):
    hub.sio.on("x", lambda sid: None)
    client = await dial()
    await client.connect(hub.url, namespaces=["/"])
    with pytest.raises(RuntimeError, match=r'connect with namespaces=\["/caps"\]'):
        await make(client).start()


async def test_a_refusal_is_raised_by_start_and_later_ones_are_reported(hub, dial, caplog):
    errors, seen = Seen(), Seen()
    cable = await Cable.lay(hub.port)
    client = await dial(cable.url)
    hub.refuse["subscribe"] = {"code": "forbidden", "message": "not yours"}
    with pytest.raises(Refused, match=r"refused to subscribe \(forbidden\): not yours") as raised:
        await make(client, on_error=errors.add).start()
    assert raised.value.code == "forbidden"
    hub.refuse.clear()
    async with make(client, seen, on_error=errors.add):
        hub.refuse["subscribe"] = {"code": "forbidden", "message": "no more"}
        cable.cut()
        [error] = await errors.reach(1)
        assert error.code == "forbidden"
        assert "no more" in caplog.text
        hub.refuse.clear()
        cable.cut()
        await fill(hub, 1)
        await seen.reach(1)
    await cable.close()


async def test_what_is_refused_for_now_is_asked_again(hub, dial):
    errors, seen = Seen(), Seen()
    cable = await Cable.lay(hub.port)
    async with make(await dial(cable.url), seen, on_error=errors.add, random=Random(1)):
        hub.refuse["subscribe"] = {"code": "unavailable", "message": "in a moment"}
        cable.cut()
        await errors.reach(1)
        hub.refuse.clear()
        await fill(hub, 1)
        await seen.reach(1)
    await cable.close()


async def test_a_server_that_knows_no_queues_is_named(dial):
    stage = await Stage.open(socketio.AsyncServer(async_mode="aiohttp"))
    [ada] = await stage.clients("ada")
    with pytest.raises(
        TimeoutError, match="no answer to `subscribe`: a consumer talks to `python -m"
    ):
        await Consumer(ada, "drivers").start(within=0.1)
    stage.sio.on("subscribe", lambda sid, asked: None)
    with pytest.raises(Refused, match="does not seem to know this event"):
        await Consumer(ada, "drivers").start()
    await stage.close()


@pytest.mark.parametrize("how", ["cut", "by hand"])
async def test_it_subscribes_again_after_every_reconnection(hub, dial, how):
    seen = Seen()
    cable = await Cable.lay(hub.port)
    client = await dial(cable.url, reconnection=how == "cut")
    async with make(client, seen):
        for round in range(4):
            await fill(hub, 1)
            await seen.reach(round + 1)
            if how == "cut":
                cable.cut()
            else:
                await client.disconnect()
                await connect(client, cable.url)
            await hub.subscribes.reach(round + 2)
    await cable.close()


async def test_a_client_that_gives_up_is_reported_and_one_told_to_stop_is_not(hub, dial):
    errors = Seen()
    cable = await Cable.lay(hub.port)
    client = await dial(cable.url, reconnection=False)
    async with make(client, on_error=errors.add):
        cable.cut()
        [error] = await errors.reach(1)
        assert isinstance(error, ConnectionError)
        await client.eio.read_loop_task  # Engine.IO still clears up
        await connect(client, cable.url)
        await hub.subscribes.reach(2)
        await client.disconnect()
    assert len(errors) == 1
    await cable.close()


# -- when the connection ends at a bad moment -----------------------------------------------------


async def test_a_reconnection_while_a_handler_runs_sends_its_answer_with_the_old_receipt(hub, dial):
    begun, may_end = Seen(), asyncio.Event()
    cable = await Cable.lay(hub.port)
    consumer = make(await dial(cable.url))

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.add(delivery)
        await may_end.wait()

    async with consumer:
        await fill(hub, 1)
        [delivery] = await begun.reach(1)
        cable.cut()
        await hub.subscribes.reach(2)
        may_end.set()
        [answer] = await hub.answers.reach(1)
        assert answer == ("received", {"receipts": [delivery["receipt"]]}, {"ok": True})
    assert (consumer.handled, len(begun)) == (1, 1)
    await cable.close()


async def test_an_answer_given_while_there_is_no_connection_goes_out_with_the_next(hub, dial):
    begun, may_end, ended = Seen(), asyncio.Event(), asyncio.Event()
    cable = await Cable.lay(hub.port)
    consumer = make(await dial(cable.url))

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.add(delivery["receipt"])
        await may_end.wait()
        ended.set()
        if order == 1:
            raise ValueError("at a bad moment")

    await fill(hub, 2)  # before there is a consumer: both come in one frame
    async with consumer:
        await begun.reach(1)
        cable.cut(stay=True)
        await cable.dials.until(lambda: False in cable.dials, "a vain attempt")
        may_end.set()
        await begun.reach(2)
        cable.mend()
        first, second = await hub.answers.reach(2)
        assert first == ("received", {"receipts": begun[:1]}, {"ok": True})
        assert second[:2] == (
            "failed",
            {"receipt": begun[1], "reason": "ValueError: at a bad moment"},
        )
    await cable.close()


async def test_an_answer_outlives_a_connection_on_which_it_is_refused(hub, dial):
    """On that connection nobody would know whose it is; the next one may be subscribed again."""
    begun, may_end, ended, errors = Seen(), asyncio.Event(), Seen(), Seen()
    cable = await Cable.lay(hub.port)
    client = await dial(cable.url)
    consumer = make(client, on_error=errors.add)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.add(order)
        await may_end.wait()
        ended.add(order)

    async with consumer:
        await fill(hub, 1)
        await begun.reach(1)
        hub.refuse["subscribe"] = {"code": "forbidden", "message": "not now"}
        cable.cut()
        await errors.reach(1)
        may_end.set()
        await ended.reach(1)
        await client.call("unsubscribe", {"queue": "other"}, namespace=NAMESPACE)
        assert hub.answers == []
        hub.refuse.clear()
        cable.cut()
        [(_, _, answer)] = await hub.answers.reach(1)
        assert answer == {"ok": True}
    assert begun == [0]
    await cable.close()


async def test_no_answer_goes_out_on_a_connection_that_is_not_subscribed_yet(hub, dial):
    """The hub would not know whose it is, and the message would have to come again."""
    begun, may_end, ended, may_subscribe = Seen(), asyncio.Event(), Seen(), asyncio.Event()
    cable = await Cable.lay(hub.port)
    client = await dial(cable.url)
    consumer = make(client)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.add(order)
        await may_end.wait()
        ended.add(order)

    subscribe, asked = hub.sio.handlers[NAMESPACE]["subscribe"], Seen()

    async def hesitate(sid, data):
        asked.add(data)
        await may_subscribe.wait()
        return await subscribe(sid, data)

    async with consumer:
        await fill(hub, 1)
        await begun.reach(1)
        hub.sio.on("subscribe", hesitate, namespace=NAMESPACE)
        cable.cut()
        await asked.reach(1)
        may_end.set()
        await ended.reach(1)
        # A round trip behind all that the client may have sent so far.
        await client.call("unsubscribe", {"queue": "other"}, namespace=NAMESPACE)
        may_subscribe.set()
        [(name, _, answer)] = await hub.answers.reach(1)
        assert (name, answer) == ("received", {"ok": True})
    await cable.close()


@pytest.mark.parametrize("name", ["received", "failed"])
async def test_an_answer_that_got_lost_is_given_again(hub, dial, name):
    """The cable is cut before the hub has read it, or before it has said so."""
    cable = await Cable.lay(hub.port)
    answer, times = hub.sio.handlers[NAMESPACE][name], []
    consumer = make(await dial(cable.url))

    @consumer.on("pickup")
    def pickup(order, delivery):
        if name == "failed" and delivery["attempt"] == 1:
            raise ValueError("not yet")

    async def cut_then_answer(sid, data):
        times.append(data)
        if len(times) == 1:
            cable.cut()
            return None  # as if it had never come
        return await answer(sid, data)

    hub.sio.on(name, cut_then_answer, namespace=NAMESPACE)
    async with consumer:
        await fill(hub, 1)
        await hub.answers.until(
            lambda: hub.answers[-1:] and hub.answers[-1][0] == "received", "end"
        )
    assert times[0] == times[1]
    assert (consumer.handled, consumer.failed) == (1, int(name == "failed"))
    assert await hub.left() == (0, 0, 0)
    await cable.close()


@pytest.mark.parametrize("inbox", ["memory", "file", "transaction"])
async def test_a_message_that_comes_again_after_it_was_handled_is_skipped(tmp_path, dial, inbox):
    """The lease ends while the handler runs: its answer is too late, and it comes again."""
    hub = await Hub.open(rules=Rules(lease=0.05, back_off=0.01, attempts=50))
    hub.refuse["working"] = {"code": "malformed", "message": "this hub renews no lease"}
    begun, again = Seen(), asyncio.Event()
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as own:
        where = {"memory": None, "file": tmp_path / "inbox.db", "transaction": own}[inbox]
        client = await dial(hub.url)
        consumer = make(client, inbox=where)

        @consumer.on("pickup")
        async def pickup(order, delivery):
            begun.add(order)
            await again.wait()

        client_frames = Seen()
        taken = consumer._connection.takes
        consumer._connection.takes = lambda entries: client_frames.add(entries) or taken(entries)
        async with consumer:
            await fill(hub, 1)
            await client_frames.reach(2)
            again.set()
            # (What it gives back unbegun meanwhile is answered, too.)
            await hub.answers.until(
                lambda: any(e == "received" and answer["ok"] for e, _, answer in hub.answers),
                "an acknowledgement in time",
            )
        assert begun == [0]
        assert (consumer.handled, consumer.skipped >= 1) == (1, True)
        assert await hub.left() == (0, 0, 0)
    await hub.close()


async def test_no_more_waits_here_than_a_server_may_send(hub, dial):
    """Connections come and go while a handler hangs: what waits is bounded all the same."""
    begun = Seen()
    consumer = make(await dial(hub.url), window=10)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.add(order)
        await asyncio.Event().wait()

    async with consumer:
        [(sid, _)] = hub.subscribes
        for n in range(100):
            delivery = {"queue": "drivers", "id": f"{n}", "receipt": f"{n}"}
            frame = [["pickup", n, {**delivery, "id": f"{n}-{i}"}] for i in range(5)]
            await hub.sio.emit("deliveries", frame, to=sid, namespace=NAMESPACE)
        await begun.reach(1)
        await consumer._connection.client.call("subscribe", {"queue": "x"}, namespace=NAMESPACE)
        assert sum(len(frame.entries) for frame in consumer._backlog._frames) <= 20
        await consumer.close(within=0.05)
    assert begun == [0]


async def test_a_message_whose_lease_is_over_is_not_begun(hub, dial, caplog):
    """It waited behind one that held up everything. Somebody else may have it now."""
    lease = 0.2
    hub = await Hub.open(rules=Rules(lease=lease, back_off=0.01, attempts=1000))
    await fill(hub, 4)
    begun = Seen()
    consumer = make(await dial(hub.url), window=4)
    loop = asyncio.get_running_loop()

    @consumer.on("pickup")
    def pickup(order, delivery):
        begun.add((order, delivery["attempt"]))
        until = loop.time() + lease
        while len(begun) == 1 and loop.time() < until:
            pass  # it blocks the event loop, and so its lease is not renewed

    async with consumer:
        await begun.until(lambda: {order for order, _ in begun} == {0, 1, 2, 3}, "all four")
    assert consumer.late >= 3
    assert [order for order, attempt in begun if attempt == 1] == [0]
    assert len(begun) == 4
    assert caplog.text.count("take a smaller window than 4") == 1
    await hub.close()


@pytest.mark.long
@pytest.mark.parametrize("waits", ["in the frame at hand", "in later frames"])
async def test_long_work_is_no_failure_and_keeps_nothing_from_others(hub, dial, waits):
    """A job of many leases: it is done once, and what waited behind it is done by somebody else."""
    hub = await Hub.open(rules=Rules(lease=1.5, attempts=2))
    begun, others, may_end = Seen(), Seen(), asyncio.Event()
    busy, idle = make(await dial(hub.url), window=8), make(await dial(hub.url), window=8)

    @busy.on("pickup")
    async def long(order, delivery):
        begun.add(order)
        await may_end.wait()

    @idle.on("pickup")
    async def short(order, delivery):
        others.add(order)

    def renewed() -> int:
        return len([event for event, _, _ in hub.answers if event == "working"])

    if waits == "in the frame at hand":
        await fill(hub, 8)
    async with busy:
        if waits == "in later frames":
            await fill(hub, 8)
        assert await begun.reach(1) == [0]
        async with idle:
            await others.reach(7)
            await hub.answers.until(lambda: renewed() >= 7, "seven renewals: two leases")
            may_end.set()
            await hub.answers.until(
                lambda: any(
                    event == "received" and answer["ok"] for event, _, answer in hub.answers
                ),
                "acknowledgement",
            )
        await hub.queues.emit("pickup", 8, to="drivers")
        await begun.reach(2)  # it gets messages again
    assert (begun, sorted(others)) == ([0, 8], [*range(1, 8)])
    assert (busy.handled, busy.skipped, busy.late) == (2, 0, 0)
    assert await hub.left() == (0, 0, 0)
    await hub.close()


async def test_long_work_survives_a_new_connection(hub, dial):
    """Whoever renews it on the next connection keeps it, and is not given more meanwhile."""
    hub = await Hub.open(rules=Rules(lease=1.5, attempts=2))
    cable = await Cable.lay(hub.port)
    begun, may_end = Seen(), asyncio.Event()
    client = await dial(cable.url)
    consumer = make(client, window=4)

    @consumer.on("pickup")
    async def long(order, delivery):
        begun.add((order, delivery["attempt"]))
        if order == 0:
            await may_end.wait()

    def renewed() -> int:
        return len(
            [event for event, _, answer in hub.answers if event == "working" and answer["ok"]]
        )

    async with consumer:
        await fill(hub, 3)
        await begun.reach(1)
        cable.cut()
        await hub.subscribes.reach(2)
        before = renewed()
        await hub.answers.until(lambda: renewed() >= before + 4, "a lease more")
        may_end.set()
        await begun.until(lambda: {order for order, _ in begun} == {0, 1, 2}, "the others")
        await hub.answers.until(lambda: consumer.handled == 3, "all")
    assert [attempt for order, attempt in begun if order == 0] == [1]
    assert await hub.left() == (0, 0, 0)
    await cable.close()
    await hub.close()


@pytest.mark.parametrize("way", ["close", "goodbye"])
async def test_an_orderly_end_counts_nothing(hub, dial, way):
    """Ended again and again while it works: nothing is dead, and nothing waits for a lease."""
    hub = await Hub.open(rules=Rules(lease=60, attempts=2))
    await fill(hub, 10)
    for n in range(6):
        begun = Seen()
        client = await dial(hub.url)
        consumer = make(client, window=10)

        @consumer.on("pickup")
        async def pickup(order, delivery, begun=begun):
            begun.add((order, delivery["attempt"]))
            await asyncio.Event().wait()

        await consumer.start()
        assert await begun.reach(1) == [(0, n + 1)]
        if way == "close":
            await consumer.close(0.3)
        else:  # Python 3.11's client closes the websocket before its own goodbye has left
            await client.eio.send(f"1{NAMESPACE},")
            await hub.gone.reach(n + 1)
        await client.disconnect()
        await consumer.close(0)
    last = make(await dial(hub.url), window=10)
    done = Seen()
    last.on("pickup", lambda order, delivery: done.add(order))
    async with last:
        await done.reach(10)
    assert done == [*range(10)]
    assert (await hub.queues.stats("drivers")).dead == 0
    await hub.close()


# -- what cannot be meant -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"client": None}, "TypeError: the client is a socketio.AsyncClient, not NoneType"),
        ({"client": socketio.Client()}, "TypeError: the client is a socketio.AsyncClient, not Cli"),
        (
            {"namespace": "caps"},
            "ValueError: a namespace is text that begins with \"/\", not 'caps'",
        ),
        ({"queue": 5}, "TypeError: a queue's name is text, not int"),
        ({"queue": ""}, "ValueError: a queue's name has 1 to 100"),
        ({"inbox": 5}, "TypeError: inbox is None, a path or an sqlite3.Connection, not int"),
        ({"window": 0}, "ValueError: window is 1 or more, not 0"),
        ({"window": True}, "TypeError: window is a whole number, not True"),
        ({"frame": 0}, "ValueError: frame is 1 or more, not 0"),
        ({"frame": "5"}, "TypeError: frame is a whole number, not '5'"),
        ({"name": "a\nb"}, "ValueError: a consumer's name has 1 to 100 printable characters, not"),
        ({"name": None}, "TypeError: a consumer's name is text, not NoneType"),
        ({"keep": 0}, "ValueError: an inbox keeps 1 id or more, not 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
async def test_what_cannot_be_meant_is_said_at_once(options, error):
    with pytest.raises((TypeError, ValueError)) as raised:
        Consumer(**{"client": new_client(), "queue": "drivers", **options})
    assert f"{type(raised.value).__name__}: {raised.value}".startswith(error)


@pytest.mark.parametrize(
    ("event", "handler", "error"),
    [
        ("connect", print, "ValueError: the event 'connect' is the protocol's own"),
        ("deliveries", print, "ValueError: the event 'deliveries' is the protocol's own"),
        (print, None, "TypeError: an event's name is text, not builtin"),
        ("pickup", 3, "TypeError: a handler is a function, not 3"),
    ],
)
async def test_a_handler_that_would_never_be_called_is_refused(event, handler, error):
    with pytest.raises((TypeError, ValueError)) as raised:
        Consumer(new_client(), "drivers").on(event, handler)
    assert f"{type(raised.value).__name__}: {raised.value}".startswith(error)


# -- closing --------------------------------------------------------------------------------------


async def test_closing_finishes_the_message_at_hand_and_gives_the_rest_back_at_once(hub, dial):
    begun, may_end, seen = Seen(), asyncio.Event(), Seen()
    await fill(hub, 10)
    consumer = make(await dial(hub.url), window=10)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.add(order)
        await may_end.wait()

    await consumer.start()
    await begun.reach(1)
    closing = asyncio.create_task(consumer.close())
    await hub.unsubscribes.reach(1)
    may_end.set()
    await closing
    await consumer.close()
    assert (begun, consumer.handled) == ([0], 1)
    assert await hub.left() == (9, 0, 0)
    async with make(await dial(hub.url), seen):
        assert await seen.reach(9) == [*range(1, 10)]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_much_is_given_back_without_breaking_the_connection(hub, dial, transport):
    begun, arrived = Seen(), Seen()
    await fill(hub, 300)
    client = await dial()
    await connect(client, hub.url, [transport])
    consumer = make(client, window=300)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        begun.add(order)
        await asyncio.Event().wait()

    take = consumer._connection.takes
    consumer._connection.takes = lambda entries: [*map(arrived.add, entries)] and take(entries)
    await consumer.start()
    await arrived.reach(300)
    await begun.reach(1)
    consumer._tasks[1].cancel()  # the handler; so that all of `within` is for the giving back
    await consumer.close(within=20)
    assert client.connected
    assert await hub.left() == (300, 0, 0)
    given_back = [asked for name, asked, _ in hub.answers if name == "released"]
    [broken_off] = [asked["receipt"] for asked in given_back if asked.get("begun")]
    not_begun = {r for asked in given_back for r in asked.get("receipts", ())}
    assert len(not_begun | {broken_off}) == 300


async def test_a_handler_that_hangs_is_cancelled_and_its_message_is_for_another(hub, dial, caplog):
    begun, seen = Seen(), Seen()
    with contextlib.closing(sqlite3.connect(":memory:")) as own:
        consumer = make(await dial(hub.url), inbox=own)

        @consumer.on("pickup")
        async def pickup(order, delivery):
            begun.add(order)
            await asyncio.Event().wait()

        await consumer.start()
        await fill(hub, 1)
        await begun.reach(1)
        await consumer.close(within=0.05)
        assert not own.in_transaction
    assert (consumer.handled, consumer.failed) == (0, 0)
    assert "could not handle" not in caplog.text
    async with make(await dial(hub.url), seen):
        await seen.reach(1)


async def test_closing_in_a_handler_is_refused(hub, dial):
    errors = Seen()
    consumer = make(await dial(hub.url), on_error=errors.add)
    consumer.on("pickup", lambda order, delivery: consumer.close())
    async with consumer:
        await fill(hub, 1)
        [error, *_] = await errors.reach(1)
    assert "cannot wait for its own end" in str(error)


async def test_closing_does_not_wait_for_a_hub_that_does_not_answer(hub, dial):
    seen = Seen()
    cable = await Cable.lay(hub.port)
    consumer = make(await dial(cable.url), seen)
    await consumer.start()
    await fill(hub, 1)
    await seen.reach(1)
    cable.freeze()
    async with asyncio.timeout(3):
        await consumer.close(within=0.1)
    cable.thaw()
    await cable.close()


async def test_a_started_consumer_leaves_no_task_behind(hub, dial):
    client = await dial(hub.url)
    before = asyncio.all_tasks()
    async with make(client, Seen()):
        pass
    with pytest.raises(TimeoutError):
        await make(await dial()).start(within=0.01)
    assert {t for t in asyncio.all_tasks() - before if "Consumer" in repr(t)} == set()


# -- the inbox ------------------------------------------------------------------------------------


async def test_effect_and_id_are_committed_together_or_not_at_all(hub, dial, tmp_path):
    seen = Seen()
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as own:
        own.execute("CREATE TABLE rides (order_id)")
        consumer = make(await dial(hub.url), inbox=own)

        @consumer.on("pickup")
        async def pickup(order, delivery):
            own.execute("INSERT INTO rides VALUES (?)", (order,))
            assert own.in_transaction
            seen.add(delivery["attempt"])
            if delivery["attempt"] == 1:
                raise ValueError("after the effect")

        async with consumer:
            await fill(hub, 1)
            assert await seen.reach(2) == [1, 2]
        assert not own.in_transaction
        assert own.execute("SELECT * FROM rides").fetchall() == [(0,)]
        assert len(own.execute("SELECT id FROM chatq_inbox").fetchall()) == 1


#: The kinds of transactions that this Python's sqlite3 knows.
LEVELS = ["", None, "IMMEDIATE", *(["autocommit"] if sys.version_info >= (3, 12) else [])]


@pytest.mark.parametrize("level", LEVELS)
async def test_a_handler_that_commits_itself_is_told(hub, dial, tmp_path, level):
    errors = Seen()
    how = {"autocommit": True} if level == "autocommit" else {"isolation_level": level}
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db", **how)) as own:
        own.execute("CREATE TABLE rides (order_id)")
        consumer = make(await dial(hub.url), inbox=own, on_error=errors.add)

        @consumer.on("pickup")
        def pickup(order, delivery):
            own.execute("INSERT INTO rides VALUES (?)", (order,))
            own.execute("COMMIT")

        async with consumer:
            await fill(hub, 1)
            [error] = await errors.reach(1)
        assert "leave COMMIT" in str(error)
        assert consumer.handled == 1
        assert not own.in_transaction
        assert len(own.execute("SELECT id FROM chatq_inbox").fetchall()) == 1


async def test_a_connection_that_somebody_else_uses_is_refused_and_left_as_it_is(hub, dial):
    errors = Seen()
    with contextlib.closing(sqlite3.connect(":memory:")) as own:
        own.execute("CREATE TABLE rides (order_id)")
        own.execute("INSERT INTO rides VALUES (1)")
        with pytest.raises(RuntimeError, match="in a transaction already"):
            await make(await dial(hub.url), inbox=own).start()
        own.commit()
        async with make(await dial(hub.url), Seen(), inbox=own, on_error=errors.add):
            own.execute("INSERT INTO rides VALUES (2)")
            await fill(hub, 1)
            [error, *_] = await errors.reach(1)
            assert "in a transaction already" in str(error)
            own.commit()  # it is still there
        assert len(own.execute("SELECT * FROM rides").fetchall()) == 2


if sys.version_info >= (3, 12):  # sqlite3 has `autocommit` since then

    async def test_a_connection_that_is_always_in_a_transaction_is_refused(hub, dial):
        with (
            contextlib.closing(sqlite3.connect(":memory:", autocommit=False)) as own,
            pytest.raises(ValueError, match="autocommit=False"),
        ):
            await make(await dial(hub.url), inbox=own).start()


async def test_an_inbox_keeps_so_many_ids_and_no_more(hub, dial, tmp_path):
    seen = Seen()
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as own:
        async with make(await dial(hub.url), seen, inbox=own, keep=100):
            await fill(hub, 200)
            await seen.reach(200)
        kept = [id for (id,) in own.execute("SELECT id FROM chatq_inbox ORDER BY number")]
    assert 100 <= len(kept) <= 164
    assert kept[-1].endswith("-200")
    consumer = make(await dial(hub.url), seen, keep=3)
    async with consumer:
        await fill(hub, 9)
        await seen.reach(209)
        assert len(consumer._inbox._ids) == 3
    with pytest.raises(ValueError, match="1 id or more"):
        make(await dial(), keep=0)


async def test_an_inbox_that_cannot_be_opened_is_named(hub, dial, tmp_path):
    path = tmp_path / "text.db"
    path.write_text("this is no database, and it is long enough to be seen as none" * 20)
    with pytest.raises(StoreError, match=r"cannot keep an inbox in .*text\.db"):
        await make(await dial(hub.url), inbox=path).start()


async def test_an_inbox_is_kept_out_of_a_store(dial, tmp_path):
    """Not into the file of a hub that is off, for instance."""
    path = tmp_path / "hub.db"
    await (await chatq.Queues.open(f"sqlite:///{path}")).close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is a file of chatq, not a database of yours: give anoth"):
        await make(await dial(), inbox=path).start()
    assert path.read_bytes() == before


async def test_a_handled_message_that_cannot_be_remembered_is_answered_and_reported(
    hub, dial, tmp_path
):
    seen, errors = Seen(), Seen()
    consumer = make(await dial(hub.url), seen, inbox=tmp_path / "inbox.db", on_error=errors.add)
    async with consumer:
        with contextlib.closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            await fill(hub, 1)
            [error] = await errors.reach(1)
            assert "could not be remembered" in str(error)
    assert (seen, consumer.handled) == ([0], 1)
    assert await hub.left() == (0, 0, 0)


# -- several processes, and SIGKILL ---------------------------------------------------------------


CONSUMER = """
import asyncio, itertools, os, signal, sqlite3, sys
import chatq
from watched_hub import NAMESPACE, new_client

async def main(url, file, name, kill_at, where):
    database = sqlite3.connect(file, timeout=20)
    database.execute("CREATE TABLE IF NOT EXISTS rides (order_id, driver)")
    client = new_client()
    consumer = chatq.Consumer(client, "drivers", namespace=NAMESPACE, inbox=database)
    count = 0

    def die(number=signal.SIGKILL):
        os.kill(os.getpid(), number)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        nonlocal count
        count += 1
        database.execute("INSERT INTO rides VALUES (?, ?)", (order, name))
        if count == kill_at and where == "in the handler":
            die()
        print("handled", order, flush=True)

    if where == "after the commit":
        answer = consumer._answers.received
        consumer._answers.received = lambda r: die() if count == kill_at else answer(r)
    elif where == "frozen":
        answer = consumer._answers.received
        def freeze(receipt):
            if count == kill_at:
                print("freezing", flush=True)
                die(signal.SIGSTOP)
            answer(receipt)
        consumer._answers.received = freeze
    elif where == "before a statement":
        statements = itertools.count()
        # Counted from the first handler on: what had been handled before is skipped first.
        database.set_trace_callback(
            lambda _: die() if count and next(statements) == kill_at else None
        )
    elif where == "after the answer":
        send = consumer._answers.send
        async def sent():
            await send()
            if count >= kill_at:
                die()
        consumer._answers.send = sent
    await client.connect(url, transports=["websocket"])
    await consumer.start()
    print("started", flush=True)
    await asyncio.Event().wait()

url, file, name, kill_at, where = sys.argv[1:]
asyncio.run(main(url, file, name, int(kill_at), where))
"""

#: When a consumer dies: in, or after, so many messages, or before so many SQL statements. A message
#: is five of these, so each is once the next thing that a process would have done. The last leaves
#: a message that is surely done and surely not answered.
MOMENTS = [
    ("in the handler", 2),
    ("after the answer", 2),
    *(("before a statement", n) for n in range(5)),
    ("after the commit", 3),
]


def rides(file):
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [order for (order,) in database.execute("SELECT order_id FROM rides")]


@pytest.mark.long
async def test_the_effect_happens_once_wherever_the_consumer_is_killed(tmp_path, dial):
    """Each process dies at its own moment; the last one finds nothing left to do twice."""
    n = 60
    file = tmp_path / "driver.db"
    hub = await Hub.open(rules=Rules(lease=0.3, back_off=0.01, attempts=100))
    await fill(hub, n)
    for where, when in MOMENTS:
        program = await Program.start(CONSUMER, hub.url, file, "x", when, where)
        while await program.line():
            pass
        assert await program.process.wait() == -signal.SIGKILL
    with contextlib.closing(sqlite3.connect(file)) as own:
        seen = Seen()
        consumer = make(await dial(hub.url), inbox=own)

        @consumer.on("pickup")
        def pickup(order, delivery):
            own.execute("INSERT INTO rides VALUES (?, 'last')", (order,))

        hub.queues.store.listen(seen.add)
        async with consumer:
            while (await hub.left())[:2] != (0, 0):
                await hub.answers.reach(len(hub.answers) + 1)
        assert consumer.skipped >= 1
    assert sorted(rides(file)) == [*range(n)]
    assert await hub.left() == (0, 0, 0)
    await hub.close()


@pytest.mark.long
async def test_a_hub_that_is_killed_and_comes_back_loses_nothing_and_repeats_nothing(
    tmp_path, dial
):
    random, seen = Random(7), Seen()
    program, port = await start_hub(tmp_path / "hub.db")
    producer = await dial(f"http://127.0.0.1:{port}")
    messages = [
        {"queue": "drivers", "event": "pickup", "data": n, "key": str(n)} for n in range(3000)
    ]
    for n in range(0, 3000, 1000):  # the hub takes no more at once
        asked = {"messages": messages[n : n + 1000]}
        answer = await producer.call("publish", asked, namespace=NAMESPACE)
        assert len(answer["ids"]) == 1000
    consumer = make(await dial(f"http://127.0.0.1:{port}"), window=50)

    @consumer.on("pickup")
    async def pickup(order, delivery):
        seen.add(order)
        if random.random() < 0.01:
            await give_way()

    async with consumer:
        for _ in range(5):
            await seen.reach(len(seen) + random.randint(1, 400))
            await program.kill()
            program, _ = await start_hub(tmp_path / "hub.db", port)
        await seen.until(lambda: len({*seen}) == 3000, "message that is still missing")
    assert sorted(seen) == [*range(3000)]
    await hang_up(producer)
    await program.kill()


async def test_a_frozen_consumer_holds_up_nobody_and_comes_back_to_no_harm(tmp_path):
    """Suspended for longer than its leases: the other does its work. Both use one database."""
    file = tmp_path / "driver.db"
    hub = await Hub.open(rules=Rules(lease=0.5, back_off=0.01, attempts=100))
    frozen = await Program.start(CONSUMER, hub.url, file, "frozen", 5, "frozen")
    assert await frozen.line() == "started"
    await fill(hub, 200)
    while await frozen.line() != "freezing":
        pass
    other = await Program.start(CONSUMER, hub.url, file, "other", 0, "")
    while await other.line() != "started":  # its first message may be handled before that
        pass
    await fill(hub, 50)
    while (await hub.left())[:2] != (0, 0):
        await hub.answers.reach(len(hub.answers) + 1)
    frozen.signal(signal.SIGCONT)
    await fill(hub, 50)
    while (await hub.left())[:2] != (0, 0):
        await hub.answers.reach(len(hub.answers) + 1)
    for program in (frozen, other):
        await program.kill()
    assert sorted(rides(file)) == sorted([*range(200), *range(50), *range(50)])
    await hub.close()


async def test_two_consumers_share_the_work_and_nobody_does_it_twice(hub, dial):
    seen = Seen()
    by = []
    consumers = []
    for name in ("ada", "bob"):
        consumer = make(await dial(hub.url), window=4)

        @consumer.on("pickup")
        async def pickup(order, delivery, name=name):
            by.append(name)
            seen.add(order)
            await give_way()  # gives way to the other: both are in one process here

        consumers.append(consumer)
        await consumer.start()
    await fill(hub, 500)
    assert sorted(await seen.reach(500)) == [*range(500)]
    for consumer in consumers:
        await consumer.close()
    assert {*by} == {"ada", "bob"}
    assert await hub.left() == (0, 0, 0)
