"""The generated scenes of lesson 10, first part: who gets in, and who hears of which store.

Owns the parcel service's people and orders, and the model of who is where. Must not know: how an
answer is tried, what a queue keeps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ...queues.queues import Queues
from ..invariants import Wrong
from ..scenes import Expected, Heard, Scene, Skip, step

__all__ = [
    "COUNTERS",
    "DRIVERS",
    "HOW",
    "IDS",
    "OWN",
    "ROAD",
    "STORES",
    "Doors",
    "Service",
    "order_of",
    "who_is",
]

#: The namespace of the drivers.
ROAD = "/drivers"
#: Who stands at a store's counter, and who drives.
COUNTERS, DRIVERS = ("ada", "bob", "cy"), ("dan", "fay")
#: Written one after the other, "flowers" and "27" are the same as "flowers2" and "7".
STORES, IDS = ("flowers", "flowers2"), ("7", "27", "8")
HOW = ("hangs up", "loses the connection")
#: Whose key it is.
_KEYS = {"red": "dan", "blue": "fay"}
OWN = {owner: key for key, owner in _KEYS.items()}
#: What is nearly right, of another kind, or nothing.
_NO_AUTH: tuple[Any, ...] = (
    None, {}, {"key": None}, {"key": ""}, {"key": ["red"]}, {"key": "RED"}, {"name": "red"}, "red",
)  # fmt: skip
#: Customers may order the same, or say little of themselves.
_CUSTOMERS: dict[str, tuple[Any, Any]] = {
    "7": ("Jo", "1 Main St"),
    "27": ("", None),
    "8": ("Jo", "1 Main St"),
    "9": (["Jo", "Ann"], {"street": ""}),
}


async def who_is(key: object) -> str | None:
    """Return whose key it is, or None."""
    return _KEYS.get(key) if isinstance(key, str) else None


def order_of(store: str, id: str) -> dict[str, Any]:
    """Return the order of this number of a store."""
    customer, address = _CUSTOMERS[id]
    return {"store": store, "orderId": id, "customer": customer, "address": address}


class Service(Scene):
    """Counters that join the rooms of stores, and drivers that need a key."""

    hears: tuple[str, ...] = ("in-transit", "pickup", "delivered")
    ordered: bool = False  # several report at once

    async def opens(self) -> None:
        """Begin: nobody is there."""
        #: The stores that each counter has joined; and whose key each driver has shown.
        self.rooms: dict[str, set[str]] = {}
        self.names: dict[str, str] = {}
        await self.serves()

    async def serves(self) -> None:
        """Serve the answer, with queues that keep nothing beyond the scene."""
        queues = await Queues.open("memory:", random=self.trial.random)
        self.trial.closing.append(partial(queues.close, within=0))
        await self.trial.serve(queues, who_is)

    async def joins(self, who: str, store: str) -> None:
        """Let a counter join the room of a store."""
        await self.emit(who, "join", store)
        self.rooms.setdefault(who, set()).add(store)

    async def enters(self, who: str) -> None:
        """Let a driver who is not at work dial, with his own key."""
        if who not in self.lines:
            await self.knocks(who, {"key": OWN[who]})

    async def knocks(self, who: str, auth: Any) -> None:
        """Let a driver dial with this; he has to be let in if it holds a good key, and only then.

        Raises `Wrong` otherwise.
        """
        client = await self.trial.stage.client(who, connect=False)
        self.listen(client, ROAD)
        self.equip(client)
        refusals = await self.trial.knocks(client, [ROAD], auth=auth)
        key = auth.get("key") if isinstance(auth, dict) else None
        name = await who_is(key)
        if self.trial.stage.connected(who, ROAD):
            self.lines[who] = client
        if (who in self.lines) != (name is not None):
            why = refusals.get(ROAD, "the server does not answer")
            raise Wrong(
                client=who,
                expected="is refused" if name is None else "is let in",
                got="is let in" if name is None else f"is refused: {why}",
            )
        if name is not None:
            self.names[who] = name

    def equip(self, client: Any) -> None:
        """Let a driver's program listen to more, before it dials."""

    async def leaves(self, who: str, how: str) -> None:
        """Let somebody go, in this way; skip the step if nobody is there."""
        client = self.gone(who)
        await (client.disconnect() if how == HOW[0] else self.trial.stage.cut(who))
        self.rooms.pop(who, None)
        self.names.pop(who, None)

    def news(self, who: str, order: Any) -> Expected:
        """Return who has to hear that this driver is on the way with an order."""
        heard = Heard("in-transit", (order, self.names[who]))
        return {c: [heard] for c, stores in self.rooms.items() if order["store"] in stores}


class Doors(Service):
    """Who has a good key gets in; what a driver reports is heard by the order's own store."""

    proves = "whoever joins, dials with which key, reports, speaks out of turn, goes, comes back"
    longest = 8

    @step("{who} joins {store}", who=COUNTERS, store=STORES)
    async def joins_a_store(self, who: str, store: str) -> Expected:
        """She hears of it from now on."""
        await self.joins(who, store)
        return {}

    @step("{who} is on the way with order {id!r} of {store}", who=DRIVERS, id=IDS, store=STORES)
    async def reports(self, who: str, id: str, store: str) -> Expected:
        """He says so, and dials before if need be."""
        await self.enters(who)
        order = order_of(store, id)
        await self.lines[who].emit("in-transit", order, namespace=ROAD)
        return self.news(who, order)

    @step("dan and fay are on the way at once, for {one} and {other}", one=STORES, other=STORES)
    async def both_report(self, one: str, other: str) -> Expected:
        """Two drivers beside each other."""
        expected: dict[str, list[Heard]] = {}
        for who in DRIVERS:
            await self.enters(who)
        for who, store in zip(DRIVERS, (one, other), strict=True):
            order = order_of(store, "7")
            await self.lines[who].emit("in-transit", order, namespace=ROAD)
            for name, heard in self.news(who, order).items():
                expected[name] = expected.get(name, []) + heard
        return expected

    @step("{who} dials with the key {key!r}", who=DRIVERS, key=("red", "blue", "pink"))
    async def dials(self, who: str, key: str) -> Expected:
        """He comes, or comes back, perhaps with another's key."""
        await self.dials_with(who, {"key": key})
        return {}

    @step("{who} dials with {auth!r} as auth", who=DRIVERS, auth=_NO_AUTH)
    async def dials_with(self, who: str, auth: Any) -> Expected:
        """He is not let in without a key."""
        if who in self.lines:
            await self.leaves(who, HOW[0])
        await self.knocks(who, auth)
        return {}

    @step("{who} says at the counter that order '7' of {store} is on the way",
          who=COUNTERS, store=STORES)  # fmt: skip
    async def speaks_out_of_turn(self, who: str, store: str) -> Expected:
        """Only drivers report."""
        await self.emit(who, "in-transit", order_of(store, "7"))
        return {}

    @step("{who} {how}", who=(*COUNTERS, *DRIVERS), how=HOW)
    async def goes(self, who: str, how: str) -> Expected:
        """He, or she, is gone."""
        if who not in self.lines:
            raise Skip
        await self.leaves(who, how)
        return {}
