"""Drivers with names: they share what waits, whatever their number, and are forgotten in time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import hubs
import pytest
from hubs import Inbox

from chatq import Queues
from chatq.hub.caps.dialect import Caps

NOTES, DRIVERS = "caps names", "caps drivers"


class Hub(hubs.Here):
    """A hub in this process: `driver(name)` has asked; `notes()` is what it remembers."""

    def __init__(self, folder: Path, dialect: str = "caps") -> None:
        super().__init__(folder, dialect)
        self.clients: list[Any] = []

    async def come(self) -> Any:
        self.clients.append(await self.client())
        return self.clients[-1]

    async def tell(self, client: Any, *numbers: int, event: str = "pickup") -> None:
        for n in numbers:
            await self.call(client, event, {"store": "s", "orderId": n})

    async def ask(self, client: Any, name: str) -> list[int]:
        inbox = Inbox(client, self.namespace)
        answer = await self.call(client, "getAll", {"clientId": name, "event": "pickup"})
        await inbox.until(answer["count"])
        return [one["orderId"] for one in inbox.data]

    async def receive(self, client: Any, name: str, *numbers: int) -> None:
        for n in numbers:
            receipt = {"clientId": name, "messageId": n}
            assert await self.call(client, "received", receipt) == {"ok": True}

    async def leave(self, client: Any) -> None:
        """Return when the client has left, and the hub has noticed."""
        sid = client.get_sid(self.namespace)
        await client.disconnect()
        while sid in self.caps._replays._people:
            await self.call(self.clients[0], "received", {"messageId": "-"})

    async def notes(self, event: str = "driver") -> list[str]:
        return [note.body for note in await self.queues.peek(NOTES, 999) if note.event == event]

    async def again(self) -> None:
        for client in self.clients:
            await client.disconnect()
        self.clients = []
        await self.close()
        await self.open()


@pytest.fixture
async def hub(tmp_path, request, monkeypatch):
    (tmp_path / "class.toml").write_text("[names]\nmost = 3\n[unasked]\nafter = 1\n")
    table = str(tmp_path / "class.toml") if getattr(request, "param", "") == "few" else "caps"
    here = Hub(tmp_path, table)
    start = Caps.start

    async def known(caps: Caps) -> None:
        here.caps = caps
        await start(caps)

    monkeypatch.setattr(Caps, "start", known)
    await here.open()
    yield here
    for client in here.clients:
        await client.disconnect()
    await here.close()


few = pytest.mark.parametrize("hub", ["few"], indirect=True)


async def test_a_backlog_lies_in_the_store_once_for_all_names(hub: Hub) -> None:
    vendor, driver = await hub.come(), await hub.come()
    for n in range(100):
        await hub.call(vendor, "pickup", {"store": "s", "orderId": n, "much": "x" * 2_000})

    def size() -> int:
        return sum(os.path.getsize(file) for file in hub.folder.glob("here.db*"))

    before = size()
    for name in range(20):
        answer = await hub.call(driver, "getAll", {"clientId": f"driver-{name}"})
        assert answer == {"count": 100}
    assert size() - before < 100 * 2_000  # less than one copy of it, for twenty names


async def test_a_name_is_forgotten_once_nothing_waits_for_it(hub: Hub) -> None:
    vendor = await hub.come()
    ann = await hub.come()
    assert await hub.ask(ann, "driver ann") == []
    for n in range(10):
        await hub.tell(vendor, n)
        driver = await hub.come()
        assert await hub.ask(driver, f"driver-{n * 7}") == [n], "nobody had received it"
        await hub.receive(driver, f"driver-{n * 7}", n)
        await hub.receive(ann, "driver ann", n)
        await hub.leave(driver)
    assert await hub.notes() == ['"driver ann"']
    assert await hub.notes("acked") == []
    assert await hub.queues.peek(DRIVERS, 9) == []


@pytest.mark.long
async def test_whoever_comes_back_under_a_name_is_remembered(hub: Hub) -> None:
    vendor, ann = await hub.come(), await hub.come()
    for n in range(3):
        assert await hub.ask(ann, "driver ann") == ([0] if n == 1 else [n - 1] if n else [])
        await hub.tell(vendor, n)
        if n:
            await hub.receive(ann, "driver ann", n - 1)
        await hub.leave(ann)
        ann = await hub.come()
    assert await hub.ask(ann, "driver ann") == [2]
    await hub.receive(ann, "driver ann", 2)
    await hub.again()
    vendor, bob = await hub.come(), await hub.come()
    assert await hub.ask(bob, "driver bob") == []
    await hub.tell(vendor, 3)
    await hub.receive(bob, "driver bob", 3)
    ann = await hub.come()
    assert await hub.ask(ann, "driver ann") == [3], "although nothing waited for her"


@few
async def test_whoever_has_been_gone_for_longest_makes_room(hub: Hub) -> None:
    vendor = await hub.come()
    await hub.tell(vendor, 1)
    for name in ("driver a", "driver b", "driver c"):
        driver = await hub.come()
        assert await hub.ask(driver, name) == [1]
        await hub.leave(driver)
    new = await hub.come()
    assert await hub.ask(new, "driver d") == [1]
    await hub.receive(new, "driver d", 1)
    assert sorted(await hub.notes()) == ['"driver b"', '"driver c"', '"driver d"']
    await hub.again()
    vendor, again = await hub.come(), await hub.come()
    assert await hub.ask(again, "driver b") == [1], "it still waits for who is known"
    again = await hub.come()
    assert await hub.ask(again, "driver a") == [], "somebody has received it"


@few
async def test_a_connection_with_many_names_leaves_room_when_it_goes(hub: Hub) -> None:
    vendor, many = await hub.come(), await hub.come()
    await hub.tell(vendor, 1)
    for n in range(5):
        assert await hub.ask(many, f"driver-{n}") == [1]
    await hub.leave(many)
    new = await hub.come()
    assert await hub.ask(new, "driver-new") == [1]
    assert '"driver-new"' in await hub.notes()
    assert len(await hub.notes()) <= 1 + 3, "the drivers as a whole, and three with a name"


async def test_what_was_acknowledged_for_one_waits_for_the_others_over_a_restart(hub) -> None:
    vendor, ann, bob = [await hub.come() for _ in range(3)]
    for client, name in ((ann, "driver ann"), (bob, "driver bob")):
        assert await hub.ask(client, name) == []
    await hub.tell(vendor, *range(4))
    await hub.receive(ann, "driver ann", 0, 2)
    await hub.again()
    ann, bob, new = [await hub.come() for _ in range(3)]
    assert await hub.ask(ann, "driver ann") == [1, 3]
    assert await hub.ask(bob, "driver bob") == [0, 1, 2, 3]
    assert await hub.ask(new, "driver new") == [1, 3]
    await hub.receive(bob, "driver bob", 0, 1, 2, 3)
    await hub.receive(ann, "driver ann", 1, 3)
    assert len(await hub.queues.peek(DRIVERS, 9)) == 2
    await hub.receive(new, "driver new", 1, 3)
    assert await hub.queues.peek(DRIVERS, 9) == []
    assert await hub.notes("acked") == []


async def test_a_store_that_is_away_loses_nothing_to_another(hub: Hub) -> None:
    """All vendors hear of what is delivered, and many acknowledge whatever they hear."""
    driver, flowers, widgets = [await hub.come() for _ in range(3)]
    for store, client in (("flowers", flowers), ("widgets", widgets)):
        await hub.call(client, "pickup", {"store": store, "orderId": store})
    await hub.leave(flowers)
    for store in ("flowers", "widgets"):
        delivered = {"store": store, "orderId": store}
        await hub.call(driver, "delivered", delivered)
        answer = await hub.call(widgets, "received", delivered)
        assert answer == {"ok": store == "widgets"}
    flowers = await hub.come()
    assert await hub.call(flowers, "getAll", {"store": "flowers"}) == {"count": 1}


@pytest.mark.parametrize("asks", [None, {"queueId": "vendor"}, {"queueId": "delivered"}, "shop-7"])
async def test_a_store_may_say_later_which_it_is(hub: Hub, asks: Any) -> None:
    """Its pickups show it, if its getAll did not; alone in a class, it is the only one."""
    driver, other = await hub.come(), await hub.come()
    await hub.tell(driver, 1, event="delivered")
    await hub.call(other, "pickup", {"store": "another", "orderId": 9})
    await hub.again()
    vendor, _ = await hub.come(), await hub.come()
    inbox = Inbox(vendor, hub.namespace)
    await hub.call(vendor, "getAll", asks)
    await hub.tell(vendor, 2)
    await inbox.until(lambda: ("delivered", ({"store": "s", "orderId": 1},)) in inbox.events)
    assert await hub.call(vendor, "received", {"store": "s", "orderId": 1}) == {"ok": True}
    assert len(await hub.queues.peek(DRIVERS, 9)) == 2


async def test_the_only_store_of_a_class_need_not_say_so(hub: Hub) -> None:
    driver = await hub.come()
    await hub.tell(driver, 1, event="delivered")
    await hub.again()
    vendor = await hub.come()
    assert await hub.call(vendor, "getAll", {"queueId": "vendors"}) == {"count": 1}


async def test_drivers_may_leave_out_whose_package_it_is(hub: Hub) -> None:
    vendor, driver = await hub.come(), await hub.come()
    await hub.tell(vendor, 1)
    assert "id" in await hub.call(driver, "delivered", {"orderId": 1})
    assert await hub.call(vendor, "getAll", {"store": "s"}) == {"count": 1}


async def test_queues_of_an_older_version_are_merged(tmp_path: Path) -> None:
    async with await Queues.open(f"sqlite:///{tmp_path / 'here.db'}") as old:
        await old.emit("driver", "driver bob", to=NOTES)
        await old.emit(
            "pickup", {"store": "s", "orderId": 0}, to=[DRIVERS, "caps driver driver bob"]
        )
        await old.emit("pickup", {"store": "s", "orderId": 1}, to="caps driver driver bob")
    hub = Hub(tmp_path)
    await hub.open()
    bob = await hub.come()
    assert await hub.ask(bob, "driver bob") == [0, 1]
    assert await hub.queues.peek("caps driver driver bob", 9) == []
    await bob.disconnect()
    await hub.close()


# -- who never asks -----------------------------------------------------------------------------


@few
@pytest.mark.parametrize("says", [[], [("join", "drivers")], [("in-transit", {"orderId": 1})]])
async def test_a_driver_that_never_asks_is_given_what_nobody_was_there_for(hub, says) -> None:
    vendor = await hub.come()
    await hub.tell(vendor, 1, 2)
    await hub.again()
    driver = await hub.come()
    inbox = Inbox(driver, hub.namespace)
    for event, data in says:
        await driver.emit(event, data, namespace=hub.namespace)

    def pickups() -> list[int]:
        return [data["orderId"] for event, (data,) in inbox.events if event == "pickup"]

    await inbox.until(lambda: pickups() == [1, 2])
    async with asyncio.timeout(hubs.DEADLINE):
        # Nobody is there for what the driver has said, and that is noted, too.
        while any(DRIVERS in note for note in await hub.notes("unheard")):
            continue
    vendor = await hub.come()
    await hub.tell(vendor, 3)  # the driver is there, and hears it
    await hub.again()
    assert not hub.caps._names.shelf.unheard
    assert len(await hub.queues.peek(DRIVERS, 9)) == 3


@few
@pytest.mark.parametrize("says", [("join", "s"), ("pickup", {"store": "s", "orderId": 2})])
async def test_a_store_that_never_asks_is_given_what_nobody_was_there_for(hub, says) -> None:
    driver = await hub.come()
    await hub.tell(driver, 1, event="delivered")
    await hub.again()
    vendor = await hub.come()
    inbox = Inbox(vendor, hub.namespace)
    await vendor.emit(*says, namespace=hub.namespace)
    await inbox.until(1)
    assert inbox.events[0] == ("delivered", ({"store": "s", "orderId": 1},))
