"""Looking into a hub over its protocol: what is answered, and the picture that viewers get."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import socketio
from hubs import Here, Inbox

import chatq
from chatq.hub import inside
from chatq.hub.inside import NAMESPACE
from chatq.queues import inspection


class Looking:
    """A hub, a client of it, and somebody who looks into it."""

    def __init__(self, hub: Here, client: socketio.AsyncClient, eye: socketio.AsyncClient) -> None:
        self.hub, self.client, self.eye = hub, client, eye
        self.seen = Inbox(eye, NAMESPACE)

    async def publish(self, queue: str, *data: Any, **more: Any) -> list[str]:
        asked = [{"queue": queue, "event": "pickup", "data": each, **more} for each in data]
        answer = await self.hub.call(self.client, "publish", {"messages": asked})
        ids: list[str] = answer["ids"]
        return ids

    async def ask(self, event: str, **asked: Any) -> Any:
        return await self.eye.call(event, asked, namespace=NAMESPACE, timeout=10)


async def entered(hub: Here) -> socketio.AsyncClient:
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(hub.url, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=5)
    return client


@pytest.fixture(params=[None, "caps"])
async def looking(request, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(inside, "_SECOND", 0.02)
    hub = Here(tmp_path, request.param)
    await hub.open()
    made = Looking(hub, await hub.client(), await entered(hub))
    yield made
    for each in (made.client, made.eye):
        await each.disconnect()
    await hub.close()


native = pytest.mark.parametrize("looking", [None], indirect=True)
caps = pytest.mark.parametrize("looking", ["caps"], indirect=True)


@native
async def test_what_is_in_the_queues_and_who_consumes_them(looking) -> None:
    await looking.publish("drivers", 1, 2, 3)
    await looking.publish("acme", 4, delay=60)
    asked = {"queue": "drivers", "window": 2, "name": "Änn <b>"}
    inbox = Inbox(looking.client, "/caps")
    await looking.hub.call(looking.client, "subscribe", asked)
    await looking.hub.call(looking.client, "subscribe", {"queue": "acme"})
    await inbox.until(2)
    listed = await looking.ask("list")
    assert listed["more"] == 0
    acme, drivers = listed["queues"]
    assert (drivers["ready"], drivers["leased"]) == (1, 2)
    assert drivers["consumers"] == [{"name": "Änn <b>", "out": 2}]
    assert (acme["delayed"], acme["consumers"][0]["name"][:7]) == (1, "client ")
    one = await looking.ask("stats", queue="drivers")
    assert {**one, "oldest": 0} == {**drivers, "oldest": 0}


@native
async def test_bodies_are_given_to_who_asks_for_them(looking) -> None:
    [one, two] = await looking.publish("q", {"secret": 1}, b"\0")
    peeked = await looking.ask("peek", queue="q")
    assert [(m["id"], m["event"]) for m in peeked["messages"]] == [(one, "pickup"), (two, "pickup")]
    assert "secret" not in str(peeked)
    shown = await looking.ask("peek", queue="q", bodies=True, limit=1, after=one)
    assert [m["data"] for m in shown["messages"]] == [b"\0"]


@native
async def test_the_fate_of_a_message_to_its_end(looking) -> None:
    [id] = await looking.publish("q", 1)
    inbox = Inbox(looking.client, "/caps")
    await looking.hub.call(looking.client, "subscribe", {"queue": "q", "name": "ann"})
    await inbox.until(1)
    assert (await looking.ask("where", id=id))["state"] == "leased"
    await looking.hub.call(looking.client, "received", {"receipt": inbox.receipts[0]})
    fate = await looking.ask("where", id=id)
    assert (fate["state"], fate["queue"]) == ("acknowledged", "q")
    assert [(s["what"], s["detail"]) for s in fate["steps"]] == [
        ("sent", "ann"),
        ("acknowledged", ""),
    ]


@native
async def test_a_python_consumer_has_a_name_too(looking) -> None:
    [id] = await looking.publish("q", 1)
    consumer = chatq.Consumer(looking.client, "q", namespace="/caps", name="Änn")
    consumer.on("pickup", lambda data, delivery: None)
    async with consumer:
        async with asyncio.timeout(10):
            while (fate := await looking.ask("where", id=id))["state"] != "acknowledged":
                pass
        listed = (await looking.ask("list"))["queues"]
    assert fate["steps"][0]["detail"] == listed[0]["consumers"][0]["name"] == "Änn"


@native
async def test_dead_letters_are_looked_after(looking) -> None:
    [id, _] = await looking.publish("q", "x", "y", ttl=0.001)
    while (await looking.ask("stats", queue="q"))["dead"] < 2:
        looking.hub.queues.store.tick()
    [first, second] = (await looking.ask("dead", queue="q", bodies=True))["dead"]
    assert (first["data"], second["reason"], first["id"]) == ("x", "expired", id)
    redriven = {"queue": "q", "redriven": 1, "missing": ["never"]}
    assert await looking.ask("redrive", queue="q", ids=[id, "never"]) == redriven
    assert await looking.ask("purge", queue="q") == {"queue": "q", "purged": 1}
    assert (await looking.ask("where", id=id))["state"] == "purged"


@native
@pytest.mark.parametrize(
    ("event", "asked", "code"),
    [
        ("list", {"limit": 0}, "malformed"),
        ("list", {"limit": True}, "malformed"),
        ("list", {"queue": "q"}, "malformed"),
        ("stats", {}, "malformed"),
        ("stats", {"queue": "a\nb"}, "malformed"),
        ("stats", {"queue": "never"}, "unknown_queue"),
        ("purge", {"queue": "never"}, "unknown_queue"),
        ("peek", {"queue": "q", "limit": 1_001}, "malformed"),
        ("peek", {"queue": "q", "after": 7}, "malformed"),
        ("redrive", {"queue": "q", "ids": "x"}, "malformed"),
        ("where", {}, "malformed"),
        ("where", {"id": ["x"]}, "malformed"),
        ("where", {"id": "x" * 300}, "unknown_queue"),
        ("publish", {}, "malformed"),
    ],
)
async def test_what_cannot_be_asked(looking, event, asked, code) -> None:
    await looking.publish("q", 1)
    answer = await looking.ask(event, **asked)
    assert answer["error"]["code"] == code
    assert (await looking.ask("list"))["queues"]


@native
async def test_an_answer_is_no_larger_than_a_packet(looking, monkeypatch) -> None:
    monkeypatch.setattr(inspection, "BYTES", 100)
    await looking.publish("q", *("x" * 60 for _ in range(5)))
    assert len((await looking.ask("peek", queue="q", bodies=True))["messages"]) == 1
    assert len((await looking.ask("peek", queue="q"))["messages"]) == 5
    for n in range(8):
        await looking.publish(f"r{n}", n)
    await looking.ask("purge", queue="r0")
    listed = await looking.ask("list", limit=7)
    assert [about["queue"] for about in listed["queues"]] == ["q", *(f"r{n}" for n in range(1, 7))]
    assert listed["more"] == 2


# -- the picture ----------------------------------------------------------------------------------


@native
async def test_a_picture_comes_again_and_again_while_somebody_looks(looking, monkeypatch) -> None:
    drawn: list[None] = []
    draw = inspection.Inspection.list

    async def counted(self: Any, limit: Any = 1_000) -> Any:
        drawn.append(None)
        return await draw(self, limit)

    monkeypatch.setattr(inspection.Inspection, "list", counted)
    await looking.publish("q", 1)
    other = await entered(looking.hub)
    others = Inbox(other, NAMESPACE)
    assert await looking.ask("look") == {"namespace": "/caps", "dialect": None}
    await other.call("look", {}, namespace=NAMESPACE)
    await looking.seen.until(3)
    await others.until(3)
    assert len(drawn) <= max(len(looking.seen.events), len(others.events)) + 1  # one for both
    picture = looking.seen.data[-1]
    assert "data" not in str(picture)
    assert [(q["queue"], q["ready"]) for q in picture["queues"]] == [("q", 1)]
    await looking.publish("r", 2)
    await looking.seen.until(lambda: len(looking.seen.data[-1]["queues"]) == 2)
    monkeypatch.setattr(inside, "_SECOND", 0.0)
    monkeypatch.setattr(inside, "_REST", 0)
    await other.disconnect()
    await looking.eye.disconnect()
    again = await entered(looking.hub)
    for _ in range(20):  # until nothing is drawn while twenty questions are answered
        was = len(drawn)
        for _ in range(20):
            await again.call("hub", {}, namespace=NAMESPACE)
        if len(drawn) == was:
            break
    else:
        raise AssertionError(f"{len(drawn)} pictures, and nobody looks")
    await again.disconnect()


@caps
async def test_the_picture_of_a_lab(looking) -> None:
    driver = await looking.hub.client()
    await driver.emit("getAll", {"clientId": "Driver Ann"}, namespace="/caps")
    order = {"store": "Acme", "orderId": "1"}
    await looking.hub.call(looking.client, "pickup", order)
    await looking.ask("look")

    def there() -> bool:
        names = {q["queue"]: q["consumers"] for q in looking.seen.data[-1]["queues"]}
        return names.get("caps drivers") == [{"name": "driver ann", "out": 0}]

    await looking.seen.until(lambda: bool(looking.seen.events) and there())
    shown = {q["queue"]: (q["ready"], q["consumers"]) for q in looking.seen.data[-1]["queues"]}
    assert shown["caps drivers"][0] == 1
    assert [*shown] == ["caps drivers"]  # as the command calls it, and none of the hub's own
    assert [q["queue"] for q in (await looking.ask("list"))["queues"]] == ["caps drivers"]
    for request in ("stats", "peek", "purge", "redrive"):  # the hub's own notes
        answer = await looking.ask(request, queue="caps names")
        assert answer["error"]["code"] == "forbidden"
    await driver.disconnect()


@native
async def test_a_store_that_fails_is_said_and_ends_nothing(looking, monkeypatch) -> None:
    async def failing() -> None:
        raise OSError("the disk is gone")

    await looking.publish("q", 1)
    with monkeypatch.context() as planting:
        planting.setattr(looking.hub.queues, "names", failing)
        await looking.ask("look")
        await looking.seen.until(2)
        assert "the disk is gone" in looking.seen.data[-1]["problem"]
    await looking.seen.until(lambda: "problem" not in looking.seen.data[-1])
