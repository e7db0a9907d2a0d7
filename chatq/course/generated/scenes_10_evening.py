"""The generated scenes of lesson 10, last part: what is delivered is told to the store.

Owns the model of reports, beside that of orders. Must not know: how an answer is tried.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ...internals.client_tap import Client
from ..invariants import Wrong
from ..scenes import Expected, Step, step
from .scenes_10 import COUNTERS, DRIVERS, IDS, ROAD, STORES
from .scenes_10_parcels import FAULTS, KILLED, Parcels

__all__ = ["Evening"]

#: What goes wrong with a report that a parcel is delivered, too.
_FAULTS = {
    **FAULTS,
    f"{KILLED}when it has stored 'delivered'": "stored delivered",
    f"{KILLED}as it answers for 'delivered'": "answers delivered",
    ", and the driver is cut off when 'delivered' is accepted": "cut accepted",
    f"{KILLED}as a store gets 'delivered'": "gets delivered",
    f"{KILLED}when a store has answered for 'delivered'": "settled delivered",
    ", and the counter that gets 'delivered' is cut off with it": "cut delivered",
}


class Evening(Parcels):
    """And what a driver reports as delivered comes to the order's store, as one message."""

    proves = (
        "a whole evening of two stores and two drivers, with anybody cut off and the server killed "
        "between and within"
    )
    faults = _FAULTS
    finale = (
        Step("joins_a_store", {"who": "ada", "store": "flowers", "then": ""}),
        Step("joins_a_store", {"who": "ada", "store": "flowers2", "then": ""}),
        *Parcels.finale,
    )

    async def opens(self) -> None:
        """See `Parcels`."""
        #: Who has reported `delivered`, and waits for an answer.
        self.waiting: list[Client] = []
        await super().opens()

    async def dial(self, who: str) -> Client:
        """See `Scene`: the counter keeps books."""
        client = await self.trial.stage.client(who, connect=False)
        self.listen(client)
        client.on("delivered", partial(self._books, client))
        await self.trial.enters(client)
        return client

    def _books(self, client: Client, *given: Any) -> Any:
        if not self.is_good(client, "delivered", given):
            return None
        order, delivery = given
        if order["store"] not in self.rooms.get(client.name, ()):
            self.stray(
                client,
                "hears only of the stores that it has joined",
                f"gets 'delivered' of {order['store']}",
            )
            return None
        self.parcel(order).booked.add(delivery["id"])
        self.reaches("gets delivered")
        if self.reaches("cut delivered"):
            self.is_cut(client)
            return None
        return delivery["receipt"]

    async def works(self, client: Client, order: Any, delivery: Any) -> Any:
        """See `Parcels`: he reports twice, and answers when the second report is accepted."""
        receipt = await super().works(client, order, delivery)
        self.waiting.append(client)

        async def accepted(*answer: Any) -> None:
            self.waiting.remove(client)
            if not answer or answer[0] is not True:
                self.stray(
                    client,
                    "is answered True for 'delivered'",
                    f"is answered {answer[0] if answer else None!r:.100}",
                )
            elif self.reaches("cut accepted"):
                self.is_cut(client)
            else:
                await client.emit("received", {"receipt": receipt}, namespace=ROAD)

        await client.emit("delivered", order, namespace=ROAD, callback=accepted)
        return None

    # -- what happens

    @step(
        "{who} sends order {id!r} for {store}{then}",
        who=("ada", "bob"), id=IDS, store=STORES, then=(*_FAULTS,),
    )  # fmt: skip
    async def sends(self, who: str, id: str, store: str, then: str) -> Expected:
        """See `Parcels`."""
        return await super().sends(who, id, store, then)

    @step("{who} comes to work{then}", who=DRIVERS, then=(*_FAULTS,))
    async def drives(self, who: str, then: str) -> Expected:
        """See `Parcels`."""
        return await super().drives(who, then)

    @step("{who} joins {store}{then}", who=COUNTERS, store=STORES, then=(*_FAULTS,))
    async def joins_a_store(self, who: str, store: str, then: str = "") -> Expected:
        """She gets what waits for the store."""
        self.aim(then)
        return await super().joins_a_store(who, store)

    # -- what must come of it

    async def judged(self) -> Expected:
        """See `Parcels`; and so for what was accepted as delivered."""
        expected = await super().judged()
        for client in self.waiting:
            if client.connected:
                raise Wrong(
                    client=client.name,
                    expected="is answered True for 'delivered'",
                    got="gets no answer" + self.trial.deaf("delivered", ROAD),
                )
        self.waiting.clear()
        for (store, id), parcel in self.model.parcels.items():
            there = [who for who, stores in self.rooms.items() if store in stores]
            due = parcel.reported and self.model.sound and bool(there)
            told = ": the driver was told True" * parcel.reported
            what = f"'delivered' of order {id!r} of {store}{told}"
            self.once(", ".join(there) or "the store", what, parcel.booked, due)
        return expected
