"""A server with queues of its own serves consumers and outboxes as the hub does: `serve=True`."""

from __future__ import annotations

import asyncio
import logging

import pytest
import socketio
from hubs import Here
from watched_hub import NAMESPACE, Cable, Seen

from chatq import Consumer, Outbox, Queues, Refused, Rules, Stage, StoreError
from chatq.queues.service import BATCH, SUBSCRIPTIONS, Service


@pytest.fixture
async def queues():
    async with await Queues.open("memory:", Rules(back_off=0.01)) as queues:
        yield queues
        await queues.close(0)


@pytest.fixture
async def server(sio, stage, queues):
    queues.attach(sio, NAMESPACE, serve=True)
    return stage


async def ask(client, event, data=None):
    return await client.call(event, data, namespace=NAMESPACE, timeout=5)


# -- both ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize("always", [False, True])
async def test_an_outbox_and_a_consumer_work_as_on_the_hub(queues, dial, tmp_path, always):
    sio = socketio.AsyncServer(async_mode="aiohttp", always_connect=always)
    queues.attach(sio, NAMESPACE, serve=True)
    seen = Seen()
    async with Stage(sio) as stage:
        client = await dial(stage.url)
        async with await Outbox.open(tmp_path / "outbox.db", client, NAMESPACE) as outbox:
            for n in range(250):  # so that there are batches
                await outbox.emit("pickup", {"order": n, "b": b"x"}, to=["drivers", "stores"])
            await outbox.flush(within=20)
        other = await dial(stage.url)
        consumer = Consumer(other, "drivers", namespace=NAMESPACE, inbox=tmp_path / "inbox.db")
        consumer.on("pickup", lambda order, delivery: seen.add(order["order"]))
        async with consumer:
            assert await seen.reach(250) == [*range(250)]
        assert (consumer.handled, consumer.failed) == (250, 0)
        assert (await queues.stats("drivers")).ready == 0
        assert (await queues.stats("stores")).ready == 250
        assert queues.subscriptions(other.get_sid(NAMESPACE)) == []  # it has unsubscribed


async def test_a_consumer_that_fails_gives_back_and_one_that_comes_again_goes_on(
    server, queues, dial
):
    seen, tries = Seen(), []

    async def pickup(order, delivery):
        tries.append(order)
        if len(tries) == 1:
            raise ValueError("planted")
        seen.add(order)

    cable = await Cable.lay(int(server.url.rpartition(":")[2]))
    client = await dial(cable.url)
    consumer = Consumer(client, "drivers", namespace=NAMESPACE, on_error=lambda error: None)
    consumer.on("pickup", pickup)
    async with consumer:
        await queues.emit("pickup", 1, to="drivers")
        await seen.reach(1)
        before = client.get_sid(NAMESPACE)
        cable.cut()  # it comes again by itself
        async with asyncio.timeout(10):
            while queues.subscriptions(client.get_sid(NAMESPACE) or before) == [] or (
                client.get_sid(NAMESPACE) in (None, before)
            ):
                await asyncio.to_thread(lambda: None)
        await queues.emit("pickup", 2, to="drivers")
        await seen.reach(2)
    assert [1, *seen] == tries
    await cable.close()


# -- the same answers as the hub's ----------------------------------------------------------------

REQUESTS = [
    ("subscribe", {"queue": "drivers"}),
    ("subscribe", {"queue": "drivers", "window": 3, "frame": 2}),
    ("subscribe", {"queue": ""}),
    ("subscribe", {"queue": 1}),
    ("subscribe", {"queue": "drivers", "window": 0}),
    ("subscribe", {"queue": "drivers", "size": 1}),
    ("subscribe", {}),
    ("subscribe", None),
    ("subscribe", ["drivers"]),
    ("unsubscribe", {"queue": "drivers"}),
    ("unsubscribe", {"queue": "drivers"}),
    ("unsubscribe", {"queue": None}),
    ("publish", {"queue": "drivers", "event": "pickup", "data": 1}),
    ("publish", {"queue": ["drivers", "stores"], "event": "pickup", "data": {"b": b"x"}}),
    ("publish", {"queue": "drivers", "event": "pickup", "data": 1, "key": "k"}),
    ("publish", {"messages": [{"queue": "drivers", "event": "pickup"}] * 2}),
    ("publish", {"messages": [{"queue": "drivers", "event": "pickup"}, {"queue": "drivers"}]}),
    ("publish", {"messages": []}),
    ("publish", {"messages": [{"queue": "drivers", "event": "e"}] * (BATCH + 1)}),
    ("publish", {"messages": [], "queue": "drivers"}),
    ("publish", {"queue": "drivers", "event": "connect"}),
    ("publish", {"queue": "drivers", "event": "pickup", "data": "x" * 900_001}),
    ("publish", {"queue": "drivers", "event": "pickup", "ttl": -1}),
    ("publish", {"queue": "drivers", "event": "pickup", "delete": True}),
    ("publish", {"queue": "drivers"}),
    ("publish", "drivers"),
    ("received", {"receipt": "x"}),
    ("received", {}),
    ("received", 1),
    ("failed", {"receipt": "x", "delay": -1}),
    ("failed", None),
]


def without_ids(answer):
    """An answer with the form of its ids, which have the name of their store in them."""
    if isinstance(answer, dict):
        return {
            key: "id" if key == "id" else [*map(type, value)] if key == "ids" else value
            for key, value in answer.items()
        }
    return answer


async def test_it_answers_whatever_is_asked_as_the_hub_does(server, dial, tmp_path):
    hub = Here(tmp_path, namespace=NAMESPACE)
    await hub.open()
    here, there = await dial(server.url), await dial(hub.url)
    for event, data in REQUESTS:
        mine, theirs = await ask(here, event, data), await ask(there, event, data)
        assert without_ids(mine) == without_ids(theirs), (event, str(data)[:200])
    await hub.close()


async def test_it_serves_no_more_than_that(server, dial):
    """Statistics and the dead are the application's."""
    client = await dial(server.url)
    await client.emit("redrive", {"queue": "drivers"}, namespace=NAMESPACE)
    with pytest.raises(socketio.exceptions.TimeoutError):
        await client.call("dead", {"queue": "drivers"}, namespace=NAMESPACE, timeout=0.2)


async def test_without_it_nobody_is_served(sio, stage, queues, dial):
    queues.attach(sio, NAMESPACE)
    consumer = Consumer(await dial(stage.url), "drivers", namespace=NAMESPACE)
    with pytest.raises(TimeoutError, match="no answer to `subscribe`"):
        await consumer.start(within=0.2)


async def test_the_limits_of_one_client_hold(server, queues, dial):
    client = await dial(server.url)
    for n in range(SUBSCRIPTIONS):
        assert "error" not in await ask(client, "subscribe", {"queue": f"queue {n}"})
    answer = await ask(client, "subscribe", {"queue": "one more"})
    assert answer["error"]["code"] == "limit"
    assert "error" not in await ask(await dial(server.url), "subscribe", {"queue": "one more"})


async def test_a_full_queue_and_closed_queues_are_said(sio, stage, dial):
    queues = await Queues.open("memory:", Rules(length=1))
    queues.attach(sio, NAMESPACE, serve=True)
    client = await dial(stage.url)
    message = {"queue": "drivers", "event": "pickup"}
    assert "id" in await ask(client, "publish", message)
    assert (await ask(client, "publish", message))["error"]["code"] == "queue_full"
    await queues.close(0)
    for event, data in [("publish", message), ("subscribe", {"queue": "drivers"})]:
        assert (await ask(client, event, data))["error"]["code"] == "unavailable"


async def test_an_error_that_nobody_foresaw_is_answered_and_logged(server, queues, dial, caplog):
    async def fails(queue):
        raise ZeroDivisionError("planted")

    queues.store.stats = fails
    client = await dial(server.url)
    answer = await ask(client, "subscribe", {"queue": "drivers"})
    assert answer["error"]["code"] == "unavailable"
    assert "planted" not in str(answer)
    assert "planted" in caplog.text

    async def full(messages):
        raise StoreError("the disk is full")

    queues.store.put = full
    del queues.store.stats
    answer = await ask(client, "publish", {"queue": "drivers", "event": "pickup"})
    assert answer["error"] == {"code": "unavailable", "message": "the disk is full"}


# -- who may --------------------------------------------------------------------------------------


async def reply(client, event, queue):
    data = {"queue": queue, **({"event": "pickup"} if event == "publish" else {})}
    answer = await ask(client, event, data)
    return answer.get("error", {}).get("code", "ok")


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_authorize_is_asked_for_each(sio, stage, queues, dial, kind):
    asked = []

    def consume(sid, queue):
        asked.append((sid, queue))
        return queue == "in"

    def publish(sid, queue):
        asked.append((sid, queue))
        return queue == "out"

    async def consume_later(sid, queue):
        return consume(sid, queue)

    async def publish_later(sid, queue):
        return publish(sid, queue)

    plain = kind == "plain"
    queues.attach(
        sio,
        NAMESPACE,
        consume if plain else consume_later,
        serve=True,
        authorize_publish=publish if plain else publish_later,
    )
    client = await dial(stage.url)
    assert await reply(client, "subscribe", "in") == "ok"
    assert await reply(client, "subscribe", "out") == "forbidden"
    assert await reply(client, "publish", "out") == "ok"
    assert await reply(client, "publish", "in") == "forbidden"
    assert await reply(client, "publish", ["out", "in"]) == "forbidden"
    batch = [{"queue": "out", "event": "e"}, {"queue": "in", "event": "e"}]
    assert (await ask(client, "publish", {"messages": batch}))["error"]["code"] == "forbidden"
    assert {sid for sid, _ in asked} == {client.get_sid(NAMESPACE)}
    assert (await queues.stats("out")).ready == 1  # of several, all or none


async def test_without_a_rule_of_their_own_publishers_need_what_consumers_need(
    sio, stage, queues, dial
):
    queues.attach(sio, NAMESPACE, lambda sid, queue: queue == "mine", serve=True)
    client = await dial(stage.url)
    assert await reply(client, "publish", "mine") == "ok"
    assert await reply(client, "publish", "theirs") == "forbidden"
    with pytest.raises(LookupError):
        await queues.stats("theirs")


async def test_who_may_not_is_told_so_for_good(sio, stage, queues, dial):
    queues.attach(sio, NAMESPACE, lambda sid, queue: False, serve=True)
    consumer = Consumer(await dial(stage.url), "drivers", namespace=NAMESPACE)
    with pytest.raises(Refused, match="may not consume") as refused:
        await consumer.start()
    assert (refused.value.code, refused.value.for_good) == ("forbidden", True)


@pytest.mark.parametrize(
    "error",
    [KeyError("secret"), ValueError("secret"), PermissionError("secret"), OSError("secret")],
)
async def test_one_who_cannot_be_judged_is_to_ask_again(sio, stage, queues, dial, caplog, error):
    """What `authorize` raises is the application's: no client hears of it, and none gets in."""
    caplog.set_level(logging.ERROR)
    fails = [True, True]

    async def authorize(sid, queue):
        if fails:
            fails.pop()
            raise error
        return True

    queues.attach(sio, NAMESPACE, authorize, serve=True)
    client = await dial(stage.url)
    answer = await ask(client, "publish", {"queue": "drivers", "event": "pickup"})
    assert answer["error"]["code"] == "unavailable"
    assert "secret" not in str(answer)
    assert "secret" in caplog.text
    seen = Seen()
    consumer = Consumer(client, "drivers", namespace=NAMESPACE)
    consumer.on("pickup", lambda order, delivery: seen.add(order))
    with pytest.raises(Refused) as refused:
        await consumer.start()
    assert not refused.value.for_good
    again = Consumer(client, "drivers", namespace=NAMESPACE)
    again.on("pickup", lambda order, delivery: seen.add(order))
    async with again:
        await queues.emit("pickup", 1, to="drivers")
        await seen.reach(1)


# -- beside others --------------------------------------------------------------------------------


async def test_handlers_of_the_same_events_are_refused_and_a_catch_all_works(
    sio, stage, queues, dial
):
    @sio.on("publish", namespace="/taken")
    async def publish(sid, data):
        """Somebody's own."""

    with pytest.raises(ValueError, match=r"a handler of 'publish' in /taken already.*serve=True"):
        queues.attach(sio, "/taken", serve=True)
    queues.attach(sio, "/taken")

    @sio.on("*", namespace=NAMESPACE)
    async def anything(event, sid, *data):
        return ["any", event]

    queues.attach(sio, NAMESPACE, serve=True)
    client = await dial(stage.url)
    assert await ask(client, "publish", {"text": "an article"}) == ["any", "publish"]
    assert await ask(client, "stats", {"queue": "drivers"}) == ["any", "stats"]
    assert await reply(client, "publish", "drivers") == "ok"


async def test_each_namespace_has_its_own_rule(sio, stage, queues):
    queues.attach(sio, "/in", lambda sid, queue: queue == "in", serve=True)
    queues.attach(sio, "/out", lambda sid, queue: queue == "out", serve=True)
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(stage.url, namespaces=["/in", "/out"], transports=["websocket"])
    for namespace in ("/in", "/out"):
        for queue in ("in", "out"):
            answer = await client.call("subscribe", {"queue": queue}, namespace=namespace)
            assert ("error" in answer) == (namespace != f"/{queue}")
    await client.disconnect()


async def test_events_of_a_client_take_effect_in_order(server, queues, dial):
    client = await dial(server.url)
    message = {"queue": ["drivers", "stores"], "event": "pickup"}
    await asyncio.gather(*(ask(client, "publish", {**message, "data": n}) for n in range(30)))
    for queue in message["queue"]:
        assert [kept.body for kept in await queues.peek(queue, 100)] == [*map(str, range(30))]


async def test_nothing_stays_of_clients_that_nobody_has_said_have_left(sio, queues):
    queues.attach(sio)
    here: set[str] = set()
    service = Service(queues, "/", here.__contains__)
    for n in range(500):
        here.add(f"sid {n}")
        assert "id" in await service.handlers["publish"](
            f"sid {n}", {"queue": f"queue {n % 7}", "event": "e"}
        )
        assert "error" in await service.handlers["publish"]("gone", {})
        here.discard(f"sid {n - 3}")
        assert len(service._clients) <= 64
