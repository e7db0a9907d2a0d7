"""The dialect of the CAPS lab, by clients written as classes write them: no acknowledgements of
packets, every spelling, two sockets in one process, and a hub that is killed in between."""

from __future__ import annotations

import asyncio
import itertools
import signal
from pathlib import Path
from typing import Any

import hubs
import pytest
from hubs import Inbox
from sizes import first

from chatq.hub.caps.dialect_table import read_table
from chatq.hub.caps.words import Words

TABLE = read_table()


class Person:
    """A client of the lab: emits, and listens; its emits are answered with nothing it looks at."""

    def __init__(self, hub: hubs.Hub) -> None:
        self.hub = hub

    async def come(self, **options: Any) -> Person:
        self.client = await self.hub.client(**options)
        self.inbox = Inbox(self.client, self.hub.namespace)
        return self

    async def emit(self, event: str, *data: Any) -> None:
        await self.client.emit(
            event, data if len(data) != 1 else data[0], namespace=self.hub.namespace
        )

    async def settled(self) -> None:
        """Return when all that was emitted has taken effect, and all that was sent is here."""
        await self.hub.call(self.client, "received", {"clientId": "drivers", "messageId": "-"})

    async def missed(self, data: Any, event: str = "getAll") -> list[tuple[str, Any]]:
        """Ask, and return what came until the hub was done."""
        await self.settled()
        already = len(self.inbox.events)
        answer = await self.hub.call(self.client, event, data)
        assert "error" not in answer, answer
        return [(name, got[0]) for name, got in self.inbox.events[already:]]

    async def go(self) -> None:
        await self.client.disconnect()


class Scene:
    """A hub, `come()` for one person more, and `again()`: the hub ends, and is back."""

    def __init__(self, hub: hubs.Here) -> None:
        self.hub: Any = hub
        self.people: list[Person] = []

    async def come(self, **options: Any) -> Person:
        self.people.append(await Person(self.hub).come(**options))
        return self.people[-1]

    async def again(self) -> None:
        await self.hub.close()
        await self.hub.open()

    async def end(self) -> None:
        await self.hub.close()


class ProcessScene(Scene):
    """The same with a hub in a process of its own, that SIGKILL ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(hubs.Hub("--dialect", "caps", folder=folder))

    async def again(self) -> None:
        # The probe's question is dealt with by the store after all that was asked before it.
        probe = await self.hub.client()
        await self.hub.call(probe, "getAll", {"store": "nobody's"})
        await self.hub.stop(signal.SIGKILL)
        await self.end()
        self.hub = hubs.Hub("--dialect", "caps", folder=self.hub.folder)

    async def end(self) -> None:
        log = self.hub.log
        hubs.end(self.hub.process)
        assert "Error" not in log, log


@pytest.fixture
async def scene(tmp_path, request):
    if getattr(request, "param", "here") == "process":
        scene: Scene = ProcessScene(tmp_path)
    else:
        scene = Scene(hubs.Here(tmp_path, "caps"))
        await scene.hub.open()
    yield scene
    for person in scene.people:  # or the hub would give them time to let go
        await person.client.disconnect()
    await scene.end()


process = pytest.mark.parametrize("scene", ["process"], indirect=True)


def lab12(n: int, store: str = "1-206-flowers") -> dict[str, Any]:
    return {
        "store": store,
        "orderId": f"o{n}",
        "customer": "Ada Lovelace",
        "address": "Seattle, WA",
    }


def lab13(n: int, store: str = "acme-widgets") -> dict[str, Any]:
    order = {"store": store, "orderId": f"{store}-{n}", "customer": "Bob", "address": "Kent, WA"}
    return {"event": "pickup", "messageId": order["orderId"], "queueId": store, "order": order}


# -- the two labs -------------------------------------------------------------------------------


async def test_lab_12_live_delivery_goes_to_all_and_an_in_transit_to_its_sender_too(scene) -> None:
    vendor, driver, other = [await scene.come() for _ in range(3)]
    await vendor.emit("join", "1-206-flowers")
    await vendor.emit("pickup", lab12(1))
    await driver.inbox.until(1)
    await other.inbox.until(1)
    assert driver.inbox.events == other.inbox.events == [("pickup", (lab12(1),))]
    await driver.emit("in-transit", lab12(1))
    await driver.emit("delivered", lab12(1))
    await vendor.inbox.until(2)
    assert vendor.inbox.events == [("in-transit", (lab12(1),)), ("delivered", (lab12(1),))]
    # Drivers of many classes deliver when they hear their own in-transit.
    assert driver.inbox.events == [("pickup", (lab12(1),)), ("in-transit", (lab12(1),))]


@pytest.mark.parametrize(
    ("scene", "order", "whole"),
    first(5, itertools.product(["here", "process"], [lab12, lab13], [True, False])),
    indirect=["scene"],
)
async def test_nobody_misses_anything(scene, order, whole: bool) -> None:
    def receipt(client: str, message: dict[str, Any]) -> dict[str, Any]:
        if whole:
            return message
        return {"clientId": client, "messageId": message.get("messageId") or message["orderId"]}

    orders = [order(n, store) for n in range(25) for store in ("1-206-flowers", "acme-widgets")]
    vendor = await scene.come()
    await vendor.emit("join", "1-206-flowers")
    for one in orders:
        await vendor.emit("pickup", one)
    await vendor.settled()
    await vendor.go()
    await scene.again()

    driver = await scene.come()
    await driver.emit("join", "drivers")
    missed = await driver.missed({"queueId": "drivers", "event": "pickup"})
    assert missed == [("pickup", one) for one in orders]
    assert await driver.missed({"queueId": "drivers"}) == missed
    for _, message in missed:
        await driver.emit("received", receipt("drivers", message))
        await driver.emit("in-transit", message)
        await driver.emit("delivered", message)
    await driver.settled()
    assert await driver.missed({"queueId": "drivers"}) == []
    await driver.go()
    await scene.again()

    for store in ("1-206-flowers", "acme-widgets"):
        vendor = await scene.come()
        await vendor.emit("join", {"store": store})
        mine = [one for one in orders if store in repr(one)]
        missed = await vendor.missed({"clientId": store})
        assert missed == [(event, one) for one in mine for event in ("in-transit", "delivered")]
        assert [
            one for _, one in await vendor.missed({"store": store, "event": "DELIVERED"})
        ] == mine
        for event, message in missed:
            if event == "delivered":
                await vendor.emit("received", receipt(store, message))
        await vendor.settled()
        assert await vendor.missed({"clientId": store}) == []
        await vendor.go()
    await scene.again()
    last = await scene.come()
    assert await last.missed({"queueId": "drivers"}) == []


async def test_a_live_client_that_says_received_is_not_given_it_again(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    assert await driver.missed({"queueId": "drivers"}) == []
    for n in range(3):
        await vendor.emit("pickup", lab13(n))
    await driver.inbox.until(3)
    await driver.emit("received", lab13(1))
    await driver.settled()
    assert await driver.missed({"queueId": "drivers"}) == [("pickup", lab13(n)) for n in (0, 2)]


async def test_a_message_without_an_id_is_given_one(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    await vendor.emit("pickup", {"store": "s", "customer": "c"})
    await driver.inbox.until(1)
    live = driver.inbox.data[0]
    assert {**live, "messageId": ""} == {"store": "s", "customer": "c", "messageId": ""}
    assert await driver.missed({"queueId": "drivers"}) == [("pickup", live)]
    await driver.emit("received", {"clientId": "drivers", "messageId": live["messageId"]})
    await driver.settled()
    assert await driver.missed({"queueId": "drivers"}) == []


# -- who it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("joins", "asks", "receives"),
    [
        ("drivers", {"clientId": "driver", "event": "pickup"}, {"clientId": "driver"}),
        ("DRIVERS", {"queueId": "DRIVER"}, {"queueId": "DRIVER"}),
        ({"room": "drivers"}, {"queueId": "drivers"}, {}),
        ({"clientId": "driver-7"}, {"clientId": "driver-7"}, {"clientId": "driver-7"}),
        ("drivers", {"clientId": "bob"}, {"clientId": "bob"}),
        (None, {"clientID": "bob", "eventName": "pickup"}, {"clientID": "bob"}),
        (None, {"id": "Driver"}, {"id": "Driver"}),
        (None, "drivers", {}),
        (None, "pickup", {}),
        (None, {}, {}),
        (None, None, {}),
        (None, {"clientId": "1-206-flowers", "eventName": "pickup"}, {}),
        ("driverName", {"clientId": "driverName", "payload": "pickup"}, {"clientId": "driverName"}),
        (None, {"queue": "driverQueue"}, {"queue": "driverQueue"}),
        (None, {"queueId": "pickup"}, {"queueId": "pickup"}),
        ("1-206-flowers", {"driverId": "7c9e-66"}, {"driverId": "7c9e-66"}),
    ],
)
async def test_a_driver_however_he_says_so(scene, joins: Any, asks: Any, receives: Any) -> None:
    vendor = await scene.come()
    for n in range(3):
        await vendor.emit("pickup", lab12(n))
    await vendor.settled()
    driver = await scene.come()
    if joins is not None:
        await driver.emit("JOIN", joins)
    assert [one for _, one in await driver.missed(asks)] == [lab12(n) for n in range(3)]
    for n in (0, 1):
        await driver.emit("received", {**receives, "messageId": f"o{n}"})
    await driver.settled()
    await scene.again()
    driver = await scene.come()
    assert [one for _, one in await driver.missed(asks)] == [lab12(2)]


@pytest.mark.parametrize(
    "asks",
    [
        {"clientId": "Acme-Widgets"},
        {"queueId": "acme-widgets", "event": "delivered"},
        {"vendorId": "acme-widgets"},
        {"storeName": "acme-widgets", "type": "DELIVERED"},
        {"clientID": "acme-widgets", "payload": "delivered"},
        "acme-widgets",
        {"id": "acme-widgets"},
        '{"queueId": "acme-widgets"}',
    ],
)
async def test_a_store_however_it_says_so(scene, asks: Any) -> None:
    driver = await scene.come()
    await driver.emit("delivered", {"orderId": "theirs", "store": "1-206-flowers"})
    await driver.emit("delivered", {"orderId": "mine", "store": "acme-widgets"})
    await driver.settled()
    vendor = await scene.come()
    got = await vendor.missed(asks)
    assert got == [("delivered", {"orderId": "mine", "store": "acme-widgets"})]


@pytest.mark.parametrize(
    "payload",
    [
        {"store": "S 1", "orderId": 1},
        {"event": "pickup", "payload": {"store": "S 1", "orderID": 1}},
        {"order": {"storeName": "s 1"}, "messageID": 1, "queueId": "driver"},
        {"queueId": "S 1", "messageId": 1, "clientId": "driver-1"},
        {"vendorId": "S 1", "orderId": 1},
        {"eventObj": {"payload": {"store": "S 1", "orderId": 1}}},
        {"clientId": "S 1", "id": 1},
        {"clientId": "S 1", "messageId": 1, "order": {"store": "Springfield", "orderId": 7}},
        {"orderStore": "S 1", "myParcelNumber": 1, "storeAddress": "12, Main St", "shopper": "x"},
        {"clientId": "bob", "messageId": 1, "order": {"store": "S 1"}},
        '{"store": "S 1", "orderId": 1}',
    ],
)
async def test_a_package_is_its_stores_wherever_that_is_said(scene, payload: Any) -> None:
    driver = await scene.come()
    await driver.missed({"clientId": "bob", "event": "pickup"})
    await driver.emit("in-transit", payload)
    await driver.settled()
    vendor = await scene.come()
    assert await vendor.missed({"store": "S 1"}) == [("in-transit", payload)]
    await vendor.emit("received", {"store": "S 1", "messageId": 1})
    await vendor.settled()
    assert await vendor.missed({"store": "S 1"}) == []


@pytest.mark.parametrize("ask", [{"vendorId": "s"}, {"clientId": "s"}])
async def test_a_driver_that_asks_by_the_name_of_a_store(scene, ask: Any) -> None:
    driver, vendor = await scene.come(), await scene.come()
    await driver.emit("join", ask)
    await driver.missed(ask, "needPickup")  # nobody knows yet that this is a store
    await vendor.emit("pickup", {"vendorId": "s", "orderId": "o"})
    await vendor.settled()
    await driver.emit("delivered", {"orderId": "o"})
    await driver.settled()
    back = await scene.come()
    await back.emit("join", "s")
    assert await back.missed(ask) == [("delivered", {"orderId": "o"})]


async def test_deliveries_of_a_class_that_names_no_store(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    await vendor.emit("pickup", {"orderId": 1, "customer": "Grace"})
    await vendor.settled()
    await vendor.go()
    await scene.again()
    driver = await scene.come()
    await driver.emit("picked-up", {"orderId": 1})  # a pickup, by its word, but not a store's
    await driver.emit("delivered", {"orderId": 1})
    await driver.settled()
    await scene.again()
    vendor = await scene.come()
    await vendor.emit("pickup", {"orderId": 2, "customer": "Grace"})
    await vendor.inbox.until(1)
    assert vendor.inbox.events[0] == ("delivered", ({"orderId": 1},))


async def test_what_a_driver_has_delivered_is_not_given_again(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    for store in ("s", "t"):  # each has its own order number 1
        await vendor.emit("pickup", {"store": store, "orderId": 1})
    await vendor.settled()
    assert len(await driver.missed("drivers")) == 2
    await driver.emit("in-transit", {"store": "s", "orderId": 1})
    await driver.settled()
    assert len(await driver.missed("drivers")) == 2
    await driver.emit("delivered", {"store": "s", "orderId": 1})
    await driver.settled()
    await scene.again()
    driver = await scene.come()
    assert await driver.missed("drivers") == [("pickup", {"store": "t", "orderId": 1})]


async def test_a_driver_that_is_ready_again_is_given_what_it_has_not_had(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    for n in range(3):
        await vendor.emit("pickup", lab12(n))
        await vendor.settled()
        assert await driver.missed({}, "ready") == [] if n else True
    got = [(name, data[0]["orderId"]) for name, data in driver.inbox.events]
    assert got == [("pickup", lab12(n)["orderId"]) for n in range(3)]
    late = await scene.come()
    assert len(await late.missed({}, "ready")) == 3
    assert await late.missed({}, "ready") == []
    assert len(await late.missed({})) == 3


async def test_a_renamed_package_goes_round_no_more_than_once(scene) -> None:
    """Drivers that answer "in-transit" by another word, which is handed on as "in-transit"."""
    one, two = await scene.come(), await scene.come()
    heard = []
    for driver in (one, two):

        async def again(order: Any, driver: Any = driver) -> None:
            heard.append(driver)
            await driver.emit("parcel-on-the-way", order)

        driver.client.on("in-transit", again, namespace=scene.hub.namespace)
    for n in (1, 2):
        await one.emit("parcel-on-the-way", {"store": "s", "orderId": n})
        for _ in range(5):
            await asyncio.gather(one.settled(), two.settled())
        assert (heard.count(one), heard.count(two)) == (n, n)


async def test_two_sockets_in_one_process(scene) -> None:
    """Subscribed on one, receiving on the other, which never says who it is."""
    vendor, driver, second = [await scene.come() for _ in range(3)]
    await driver.emit("join", {"queueId": "driver-9"})
    assert await driver.missed({"queueId": "driver-9"}) == []
    for n in range(2):
        await vendor.emit("pickup", lab13(n))
    await driver.inbox.until(2)
    await second.emit("received", lab13(0))
    await second.emit("received", {"queueId": "driver-9", "messageId": "acme-widgets-1"})
    await second.settled()
    assert await driver.missed({"queueId": "driver-9"}) == []
    await second.emit("delivered", lab13(0))
    await vendor.inbox.until(1)
    voice = await scene.come()
    await voice.emit("received", {"queueId": "acme-widgets", "messageId": "acme-widgets-0"})
    await voice.settled()
    assert await vendor.missed({"queueId": "acme-widgets"}) == []


@process
async def test_drivers_with_names_lose_nothing_to_each_other(scene) -> None:
    vendor, ann, bob = [await scene.come() for _ in range(3)]
    await vendor.emit("pickup", lab13(0))
    await vendor.settled()
    assert len(await ann.missed({"clientId": "driver ann"})) == 1
    assert len(await bob.missed({"clientId": "driver bob"})) == 1
    await vendor.emit("pickup", lab13(1))
    await ann.inbox.until(lambda: lab13(1) in ann.inbox.data)
    for n in range(2):
        await ann.emit("received", {"clientId": "driver ann", "messageId": f"acme-widgets-{n}"})
    await ann.settled()
    await scene.again()
    ann, bob, new = [await scene.come() for _ in range(3)]
    assert await ann.missed({"clientId": "driver ann"}) == []
    # Bob is known, although he has not come back yet.
    vendor = await scene.come()
    await vendor.emit("pickup", lab13(2))
    await ann.inbox.until(lambda: lab13(2) in ann.inbox.data)
    await ann.emit("received", lab13(2))
    await ann.settled()
    every = [("pickup", lab13(n)) for n in range(3)]
    assert await bob.missed({"clientId": "driver bob"}) == every
    # Somebody has received them; so they are not kept for drivers that nobody has ever heard of.
    assert await new.missed({"clientId": "driver new"}) == []


async def test_the_drivers_as_a_whole_are_a_client_like_the_others(scene) -> None:
    vendor, driver, ann = [await scene.come() for _ in range(3)]
    assert await driver.missed({"queueId": "drivers"}) == []
    assert await ann.missed({"queueId": "driver-ann"}) == []
    await vendor.emit("pickup", lab13(0))
    await ann.inbox.until(1)
    await ann.emit("received", {"queueId": "driver-ann", "messageId": "acme-widgets-0"})
    await ann.settled()
    assert len(await driver.missed({"queueId": "drivers"})) == 1
    await driver.emit("received", lab13(0))
    await driver.settled()
    assert await driver.missed({"queueId": "drivers"}) == []


async def test_a_received_by_a_driver_never_takes_what_waits_for_the_store(scene) -> None:
    """The whole message names the store, and the same id is on its way to the store already."""
    vendor, driver = await scene.come(), await scene.come()
    await vendor.emit("pickup", lab12(1))
    await driver.inbox.until(1)
    await vendor.go()
    await driver.emit("in-transit", lab12(1))
    for _ in range(2):
        await driver.emit("received", lab12(1))
    await driver.settled()
    vendor = await scene.come()
    assert await vendor.missed({"store": "1-206-flowers"}) == [("in-transit", lab12(1))]


async def test_an_event_that_is_named_is_received_alone(scene) -> None:
    driver, vendor = await scene.come(), await scene.come()
    for event in ("in-transit", "delivered"):
        await driver.emit(event, lab12(1))
    await driver.settled()
    receipt = {"clientId": "1-206-flowers", "orderId": "o1", "event": "in-transit"}
    await vendor.emit("received", receipt)
    await vendor.settled()
    assert await vendor.missed({"clientId": "1-206-flowers"}) == [("delivered", lab12(1))]


async def test_one_connection_may_play_all_parts(scene) -> None:
    person = await scene.come()
    for n in range(3):
        await person.emit("pickup", lab13(n))
    assert len(await person.missed({"queueId": "drivers"})) == 3
    for n in range(2):
        await person.emit("received", {"clientId": "driver", "messageId": f"acme-widgets-{n}"})
        await person.emit("in-transit", lab13(n))
        await person.emit("delivered", lab13(n))
    assert await person.missed({"queueId": "drivers"}) == [("pickup", lab13(2))]
    assert len(await person.missed({"clientId": "acme-widgets"})) == 4
    for n in range(2):
        await person.emit(
            "received", {"clientId": "acme-widgets", "messageId": f"acme-widgets-{n}"}
        )
    assert await person.missed({"clientId": "acme-widgets"}) == []


async def test_a_driver_who_says_it_twice_takes_nothing_from_the_store(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    await vendor.emit("pickup", lab13(0))
    await driver.inbox.until(1)
    receipt = {"queueId": "acme-widgets", "messageId": "acme-widgets-0"}  # as the order says
    await driver.emit("received", receipt)
    await driver.emit("in-transit", lab13(0))
    await driver.emit("received", receipt)
    await driver.settled()
    assert await driver.missed({"queueId": "drivers"}) == []
    assert await vendor.missed({"queueId": "acme-widgets"}) == [("in-transit", lab13(0))]


# -- spellings ----------------------------------------------------------------------------------


async def test_events_and_ids_are_spelled_in_many_ways(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    ids = ["messageId", "messageID", "message_id", "orderId", "orderID", "id", "ORDERID"]
    events = ["pickup", "PICKUP", "PICK_UP", "pick-up", "pickUp"]
    sent = []
    for n, (id, event) in enumerate(zip(ids, itertools.cycle(events), strict=False)):
        sent.append((event, {"store": "s", id: n}))
        await vendor.emit(*sent[-1])
    await vendor.settled()
    for get_all in [
        "getAll",
        "get-all",
        "GET-ALL",
        "GET_ALL",
        "getall",
        "getMessages",
        "get-messages",
    ]:
        assert await driver.missed({"queueId": "drivers"}, get_all) == sent
    receive = itertools.cycle(["received", "RECEIVED", "Received", "recieved"])
    for n, (id, event) in enumerate(zip(ids, receive, strict=False)):
        await driver.emit(event, {id: n, "queueId": "drivers"})
    await driver.settled()
    assert await driver.missed({"queueId": "drivers"}) == []


@pytest.mark.parametrize(
    "receipt",
    ["o1", ["o0", "o1"], {"message": lab12(1)}, {"clientId": "x", "payload": {"orderId": "o1"}},
     '{"orderId": "o1"}', {"event": "received", "messageId": "o1", "clientId": "driver-client"}],
)  # fmt: skip
async def test_what_was_received_is_said_in_many_ways(scene, receipt: Any) -> None:
    vendor, driver = await scene.come(), await scene.come()
    await vendor.emit("pickup", lab12(1))
    await driver.inbox.until(1)
    await driver.emit("received", receipt)
    await driver.settled()
    assert await driver.missed({"queueId": "drivers"}) == []


def test_every_spelling_of_the_table_is_one_word() -> None:
    words = Words(TABLE)
    for spelling, name in TABLE.events.items():
        for form in (spelling, spelling.upper(), "-".join(spelling), "_".join(spelling)):
            assert words.kind(form) == name
    assert words.kind("get_ALL orders") == "get-all"
    assert words.kind("unheard-of") is None
    assert words.kind(5) is None
    assert words.driver("Screwdriver & Co") is None
    assert words.driver("driver-7") == "driver-7"
    assert words.driver("DriverAnn") == "driverann"
    assert words.driver("Drivers") == ""


# -- what goes wrong ----------------------------------------------------------------------------


@process
async def test_events_of_a_connection_take_effect_in_order(scene) -> None:
    """As in a hub whose handlers never wait: nobody has to wait for an answer before he goes on."""
    person, vendor = await scene.come(), await scene.come()
    ask = {"queueId": "drivers"}
    for n in range(30):
        await person.emit("pickup", lab12(n))
    await person.emit("getAll", ask)
    await person.inbox.until(30)
    for n in range(29):
        await person.emit("received", {**ask, "orderId": f"o{n}"})
    assert await scene.hub.call(person.client, "getAll", ask) == {"count": 1}
    assert [one["orderId"] for one in person.inbox.data[30:]] == ["o29"]
    for n in range(50):
        await vendor.emit("delivered", lab13(n))
        await vendor.emit("received", {"store": "acme-widgets", "orderId": f"acme-widgets-{n}"})
    assert await scene.hub.call(vendor.client, "getAll", "acme-widgets") == {"count": 0}


@process
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_long_backlog_reaches_a_client(scene, transport) -> None:
    vendor = await scene.come()
    for n in range(200):
        await vendor.emit("pickup", lab12(n))
    await vendor.settled()
    driver = await scene.come(transports=[transport])
    missed = await driver.missed({"queueId": "drivers"})
    assert [one["orderId"] for _, one in missed] == [f"o{n}" for n in range(200)]


async def test_asking_twice_at_once_gives_each_message_once(scene) -> None:
    vendor, driver = await scene.come(), await scene.come()
    for n in range(50):
        await vendor.emit("pickup", lab12(n))
    await vendor.settled()
    await driver.settled()
    already = len(driver.inbox.events)
    calls = [scene.hub.call(driver.client, "getAll", {"queueId": "drivers"}) for _ in range(3)]
    assert await asyncio.gather(*calls) == [{"count": 50}] * 3
    got = [one[0]["orderId"] for _, one in driver.inbox.events[already:]]
    assert got == [f"o{n}" for n in range(50)]


@pytest.mark.long
@process
async def test_a_frozen_client_holds_back_nobody_else(scene) -> None:
    with hubs.frozen(scene.hub, "join", '"drivers"'):
        vendor, driver = await scene.come(), await scene.come()
        much, memory = "x" * 10_000, []
        for n in range(6000):
            await vendor.emit("pickup", {**lab12(n), "much": much})
            if n % 3000 == 2999:
                await driver.inbox.until(n + 1)
                memory.append(scene.hub.memory)
    assert [one["orderId"] for one in driver.inbox.data] == [f"o{n}" for n in range(6000)]
    # The frozen one is left out once a thousand are unread: the second 30 MB go past it.
    assert memory[1] - memory[0] < 15e6


@process
async def test_refusals_are_told_to_those_who_ask(scene) -> None:
    person = await scene.come()
    for event, data, code in [
        ("pickup", None, "malformed"),
        ("pickup", [1], "malformed"),
        ("pickup", True, "malformed"),
        ("pickup", {"store": "s", "n": float("nan")}, "malformed"),
        ("pickup", {"store": "s", "much": "x" * 900_000}, "too_large"),
        ("delivered", {"orderId": 1}, "malformed"),
        ("received", [{"clientId": "drivers"}], "malformed"),
        ("received", [], "malformed"),
        ("join", {}, "malformed"),
        ("dance", {}, "malformed"),
        ("disconnect", {}, "malformed"),
    ]:
        answer = await scene.hub.call(person.client, event, data)
        assert answer["error"]["code"] == code, (event, data, answer)
    assert await person.missed({"queueId": "drivers"}) == []
    await scene.hub.stop()
    assert scene.hub.log.count("warning: refused ") == 9
    assert scene.hub.log.count("warning: met ") == 2
    # Those who ask for no acknowledgement see it nowhere else.
    told = (
        "warning: refused delivered: malformed: it names no store: nobody can be told of it later"
    )
    assert scene.hub.log.splitlines().count(told) == 1


async def test_a_token_keeps_strangers_out(tmp_path: Path) -> None:
    with hubs.hub("--dialect", "caps", "--token", "t", folder=tmp_path) as hub:
        client = await hub.client(auth={"token": "t"})
        assert await hub.call(client, "getAll", "drivers") == {"count": 0}
        await client.disconnect()
        with pytest.raises(hubs.socketio.exceptions.ConnectionError):
            await hub.client()
