"""What clients of the lab do not survive is given up, and nothing else is; receipts that do not say
what they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hubs
import pytest
import socketio
from hubs import Inbox

from chatq.hub import serve

DRIVERS = "caps drivers"


def die(client: socketio.AsyncClient) -> None:
    """End the connection of a client as its death does: it says nothing, and closes nothing."""
    client.eio.ws._response.connection.transport.abort()


class Class:
    """A hub in this process, with `attempts` and `within` of its table."""

    def __init__(self, folder: Path) -> None:
        (folder / "class.toml").write_text("[give-up]\nattempts = 3\nwithin = 2\n")
        self.hub = hubs.Here(folder, str(folder / "class.toml"))
        self.clients: list[Any] = []

    async def come(self) -> tuple[Any, Inbox]:
        client = await self.hub.client()
        self.clients.append(client)
        return client, Inbox(client, self.hub.namespace)

    async def pickups(self, *ids: str) -> None:
        vendor, _ = await self.come()
        for id in ids:
            await self.hub.call(vendor, "pickup", {"store": "s", "orderId": id})
        await vendor.disconnect()

    async def start(self, *, deadly: str = "", sturdy: bool = False) -> list[str]:
        """Let a driver come that dies of the order `deadly`, or else of nothing; return what it was
        given until then. It acknowledges nothing if it is `sturdy`."""
        client, inbox = await self.come()
        await client.emit("getAll", "drivers", namespace=self.hub.namespace)
        told = 0
        while True:
            await inbox.until(told + 1, "more for a driver")
            for one in inbox.data[told:]:
                told += 1
                if one["orderId"] == deadly:
                    die(client)
                    return [one["orderId"] for one in inbox.data]
                if not sturdy:
                    receipt = {"clientId": "drivers", "messageId": one["orderId"]}
                    await self.hub.call(client, "received", receipt)
            if not sturdy and not await self.waiting():
                await client.disconnect()
                return [one["orderId"] for one in inbox.data]

    async def waiting(self) -> int:
        return len(await self.hub.queues.peek(DRIVERS, 99))

    async def dead(self) -> list[str]:
        return [one.data["orderId"] for one in await self.hub.queues.dead(DRIVERS)]

    async def noticed(self) -> None:
        """Return when the hub has noticed who is gone."""
        other, _ = await self.come()
        manager = self.sio.manager
        while len([*manager.get_participants(self.hub.namespace, None)]) > 1:
            await self.hub.call(other, "received", {"messageId": "-"})
        await other.disconnect()


@pytest.fixture
async def room(tmp_path, monkeypatch):
    a_class = Class(tmp_path)
    original = serve.hub_server

    def kept(*arguments: Any) -> Any:
        a_class.sio = original(*arguments)
        return a_class.sio

    monkeypatch.setattr(serve, "hub_server", kept)
    await a_class.hub.open()
    yield a_class
    for client in a_class.clients:
        await client.disconnect()
    await a_class.hub.close()


async def test_what_no_client_survives_is_a_dead_letter_and_nothing_else(room: Class) -> None:
    await room.pickups("a", "b", "poison", "c")
    starts = 0
    while not await room.dead():
        given = await room.start(deadly="poison")
        await room.noticed()
        starts += 1
        assert starts <= 3 + 1
        assert starts == 1 or given[-1] == "poison"
    assert await room.dead() == ["poison"]
    [letter] = await room.hub.queues.dead(DRIVERS)
    assert letter.reason == "3 clients were cut off within 2 s of it"
    assert await room.start() == ["c"]
    # Whoever looks after the hub may try it again.
    await room.hub.queues.redrive(DRIVERS)
    assert await room.start() == ["poison"]


async def test_what_kills_a_store_is_given_up_too(room: Class) -> None:
    driver, _ = await room.come()
    await room.hub.call(driver, "delivered", {"store": "s"})  # of no order
    await room.hub.call(driver, "delivered", {"store": "s", "orderId": "a"})
    await driver.disconnect()
    for _ in range(3 + 1):
        vendor, inbox = await room.come()
        await vendor.emit("getAll", {"store": "s"}, namespace=room.hub.namespace)
        await inbox.until(1)
        assert inbox.data[0]["messageId"]
        die(vendor)
        await room.noticed()
    assert len(await room.hub.queues.dead("caps store s")) == 1
    vendor, inbox = await room.come()
    await vendor.emit("getAll", {"store": "s"}, namespace=room.hub.namespace)
    await inbox.until(1)
    assert inbox.data == [{"store": "s", "orderId": "a"}]


async def test_deaths_are_remembered_when_the_hub_is_not(room: Class) -> None:
    await room.pickups("poison")
    for _ in range(3):
        assert await room.start(deadly="poison") == ["poison"]
        await room.noticed()
        await room.hub.close()
        await room.hub.open()
    assert await room.dead() == ["poison"]
    assert await room.hub.queues.peek("caps names", 9, "") != []
    assert not [n for n in await room.hub.queues.peek("caps names", 9) if n.event == "cut off"]


async def test_who_says_goodbye_has_not_died(room: Class) -> None:
    await room.pickups("a")
    for _ in range(5):
        client, inbox = await room.come()
        await client.emit("getAll", "drivers", namespace=room.hub.namespace)
        await inbox.until(1)
        await client.disconnect()
        await room.noticed()
    assert (await room.waiting(), await room.dead()) == (1, [])


async def test_what_a_client_has_outlived_is_not_to_blame(room: Class) -> None:
    await room.pickups("slow", "poison")
    for starts in range(4):
        assert (await room.start(deadly="poison", sturdy=True))[-1] == "poison"
        await room.noticed()
        assert await room.dead() == (["poison"] if starts == 3 else [])
    assert await room.waiting() == 1


async def test_another_shape_is_tried_before_a_message_is_given_up(room: Class) -> None:
    """A driver that looks for the order within the message dies of one where it is not."""
    await room.pickups("a", "b")
    starts = 0
    while await room.waiting():
        starts += 1
        client, inbox = await room.come()
        await client.emit("getAll", "drivers", namespace=room.hub.namespace)
        for told in range(await room.waiting()):
            await inbox.until(told + 1)
            one = inbox.data[told]
            if "order" not in one:
                die(client)
                break
            assert one["order"] == {"store": "s", "orderId": one["orderId"]}
            await room.hub.call(client, "received", {"clientId": "drivers", **one["order"]})
        await client.disconnect()
        await room.noticed()
        assert starts <= 4
    assert await room.dead() == []


# -- receipts without an id ---------------------------------------------------------------------


async def test_a_receipt_without_an_id_is_about_the_oldest_that_was_given(room: Class) -> None:
    await room.pickups("a", "b")
    client, inbox = await room.come()
    receipt = {"queueId": "DRIVER"}
    assert await room.hub.call(client, "received", receipt) == {"ok": False}, "none was given"
    await room.hub.call(client, "getAll", receipt)
    await room.pickups("c")  # live
    await inbox.until(3)
    for left in (2, 1, 0):
        assert await room.hub.call(client, "received", receipt) == {"ok": True}
        assert await room.waiting() == left
    assert await room.hub.call(client, "received", receipt) == {"ok": False}


async def test_it_takes_nothing_that_others_were_given(room: Class) -> None:
    await room.pickups("a")
    other, _ = await room.come()
    client, _ = await room.come()
    await room.hub.call(other, "getAll", "drivers")
    assert await room.hub.call(client, "received", {"queueId": "drivers"}) == {"ok": False}
    assert await room.waiting() == 1
    # A vendor that says so of its own package, right after it: it was given nothing.
    await room.hub.call(client, "pickup", {"store": "s", "orderId": "b"})
    assert await room.hub.call(client, "received", {"queueId": "s"}) == {"ok": False}
    assert await room.waiting() == 2


async def test_a_store_says_it_of_what_was_delivered(room: Class) -> None:
    vendor, inbox = await room.come()
    driver, _ = await room.come()
    await room.hub.call(vendor, "getAll", {"store": "s"})
    for event, id in [("in-transit", 1), ("in-transit", 2), ("delivered", 2), ("delivered", 1)]:
        await room.hub.call(driver, event, {"store": "s", "orderId": id})
    await inbox.until(4)
    assert await room.hub.call(vendor, "received", {"store": "s"}) == {"ok": True}
    assert await room.hub.call(vendor, "getAll", {"store": "s"}) == {"count": 2}
    assert [one["orderId"] for one in inbox.data[4:]] == [1, 1]
