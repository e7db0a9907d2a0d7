"""The exercises of lesson 10: one evening at the parcel service, in three steps.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..internals.client_tap import Client
from ..queues.queues import Queues
from ..queues.rules import Rules
from .check import Exercise
from .generated.scenes_10 import OWN, ROAD, Doors, order_of, who_is
from .generated.scenes_10_evening import Evening
from .generated.scenes_10_parcels import Parcels
from .invariants import Wrong
from .queue_trial import Clock
from .trial import Trial

__all__ = ["EXERCISES"]

_RULES = Rules(lease=30, attempts=1000)


class _Service:
    """The server with the answer in it, on the file of its queues; counters, and drivers."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.clock = trial, Clock()
        #: What each one got: orders, and `(event, order, ...)`; and when he is cut off next.
        self.got: dict[str, list[Any]] = {}
        self.next: dict[str, str] = {}
        #: The answers to reports of `delivered` since the last time.
        self.accepted: list[Any] = []

    async def begins(self) -> None:
        """Start the server, perhaps again."""
        file = self.trial.folder / "parcels.db"
        random = self.trial.random
        url = f"sqlite:///{file}"
        self.queues = await Queues.open(url, _RULES, clock=self.clock, random=random)
        self.trial.closing.append(partial(self.queues.close, within=0))
        await self.trial.serve(self.queues, who_is)
        self.trial.stage.watch(self.queues)

    async def is_stopped(self) -> None:
        """Stop the server: whoever was there is off the line."""
        await self.trial.settle()
        await self.queues.close(within=0)
        await self.trial.stop()

    async def later(self, seconds: float) -> None:
        """Move the clock by so many seconds."""
        self.clock.now += seconds
        self.queues.tick()
        await self.trial.settle()

    # -- counters

    async def counter(self, name: str, *stores: str) -> Client:
        """Connect a counter that joins these stores."""
        client = await self.trial.stage.client(name, connect=False)
        got = self.got.setdefault(name, [])

        def in_transit(*given: Any) -> None:
            got.append(("in-transit", *map(_id, given)))

        def delivered(*given: Any) -> Any:
            got.append(("delivered", *map(_id, given[:1])))
            return _receipt(given)

        client.on("in-transit", in_transit)
        client.on("delivered", delivered)
        client.on("pickup", lambda *_: got.append(("pickup",)))
        await self.trial.enters(client)
        for store in stores:
            await self.trial.says(client, "join", store)
        await self.trial.settle()
        return client

    async def sends(self, client: Client, store: str, id: str, what: str) -> None:
        """Send an order; require the answer True."""
        await self.trial.told(client, "pickup", order_of(store, id), True, what)

    # -- drivers

    async def driver(self, name: str, *, delivers: bool = False) -> Client:
        """Connect a driver, who takes orders; `delivers`: and reports that they are there."""
        client = await self.trial.stage.client(name, connect=False)
        got = self.got.setdefault(name, [])

        async def pickup(*given: Any) -> Any:
            got.append(_id(given[0]) if given else None)
            fault = self.next.pop(name, "")
            if fault == "with it":
                client.cut()
                return None
            if given:
                await client.emit("in-transit", given[0], namespace=ROAD)
            if not delivers or _receipt(given) is None:
                return _receipt(given)

            async def accepted(*answer: Any) -> None:
                self.accepted.append(answer[0] if len(answer) == 1 else None)
                if self.accepted[-1] is not True:
                    return
                if fault == "when it is accepted":
                    client.cut()
                else:
                    await client.emit("received", {"receipt": _receipt(given)}, namespace=ROAD)

            await client.emit("delivered", given[0], namespace=ROAD, callback=accepted)
            return None

        client.on("pickup", pickup, namespace=ROAD)
        await self.trial.enters(client, [ROAD], auth={"key": OWN[name]})
        await self.trial.settle()
        return client

    async def reports(self, driver: Client, store: str, id: str) -> None:
        """Let a driver say that he is on the way."""
        await driver.emit("in-transit", order_of(store, id), namespace=ROAD)
        await self.trial.settle()

    def is_accepted(self, who: str, what: str) -> None:
        """Require that a report of this driver was answered True since the last time."""
        got, self.accepted = self.accepted, []
        if got != [True]:
            answer = f"is answered {got[0]!r:.100}" if got else "gets no answer"
            raise Wrong(
                message=f"{what}: {who} emits 'delivered'",
                client=who,
                expected="is answered True",
                got=answer + self.trial.deaf("delivered", ROAD),
            )

    async def is_refused(self, name: str, auth: Any, what: str) -> None:
        """Require that this one is not let in to the drivers, and gets nothing."""
        client = await self.trial.stage.client(name, connect=False)
        got: list[Any] = []
        client.on("pickup", lambda *given: got.append(given), namespace=ROAD)
        await self.trial.knocks(client, [ROAD], auth=auth)
        await self.trial.settle()
        if self.trial.stage.connected(name, ROAD):
            raise Wrong(message=what, client=name, expected="is refused", got="is let in")
        self.trial.nothing(what, name, got)

    # -- what must come of it

    def comes(self, what: str, who: str, *expected: Any) -> None:
        """Require that this one got exactly these since the last time."""
        got = self.got.setdefault(who, [])
        now = [*got]
        got.clear()
        if expected:
            self.trial.in_order(what, who, now, [*expected])
        else:
            self.trial.nothing(what, who, now)

    def comes_to_one(self, what: str, who: list[str], expected: Any) -> None:
        """Require that exactly one of these got this since the last time."""
        got = [one for name in who for one in self.got.setdefault(name, [])]
        for name in who:
            self.got[name].clear()
        self.trial.in_order(what, " or ".join(who), got, [expected])


def _proved(trial: Trial, *what: str) -> None:
    """Say in a few lines what so many checks have proved."""
    trial.proved[:] = what


def _id(order: Any) -> Any:
    return order.get("orderId", order) if isinstance(order, dict) else order


def _receipt(given: tuple[Any, ...]) -> Any:
    return given[1].get("receipt") if len(given) > 1 and isinstance(given[1], dict) else None


async def _doors(trial: Trial) -> None:
    service = _Service(trial)
    await service.begins()
    await service.counter("ada", "flowers")
    await service.counter("cy", "flowers")
    await service.counter("bob", "flowers2")
    dan = await service.driver("dan")
    await service.reports(dan, "flowers", "7")
    what = "dan is on the way with order 7 of flowers"
    for who in ("ada", "cy"):
        service.comes(what, who, ("in-transit", "7", "dan"))
    service.comes(what, "bob")
    await service.is_refused("eve", {"key": "pink"}, "eve dials, and her key is nobody's")
    await service.is_refused("eve", None, "eve dials, and shows no key at all")
    fay = await service.driver("fay")
    await service.reports(fay, "flowers2", "7")
    what = "fay is on the way with order 7 of flowers2"
    service.comes(what, "bob", ("in-transit", "7", "fay"))
    for who in ("ada", "cy"):
        service.comes(what, who)
    await trial.stage.cut("ada")
    await trial.settle()
    await service.reports(dan, "flowers", "8")
    what = "ada is cut off, and dan is on the way with order 8 of flowers"
    service.comes(what, "cy", ("in-transit", "8", "dan"))
    service.comes(what, "bob")
    _proved(
        trial,
        "dan and fay show their keys and are let in; eve is not, with a wrong key or with none",
        "who is on the way is heard by the counters of the order's store, by name, and by no other",
        "a counter that is cut off hears nothing, and the others go on",
    )


async def _parcels(trial: Trial) -> None:
    service = _Service(trial)
    await service.begins()
    ada, bob = await service.counter("ada", "flowers"), await service.counter("bob")
    await service.sends(ada, "flowers", "7", "ada's order 7 of flowers, with no driver there")
    await service.is_refused("eve", {"key": "pink"}, "order 7 waits, and eve has no good key")
    await service.driver("dan")
    service.comes("dan was off when it came, and comes to work", "dan", "7")
    service.comes("dan is on the way with order 7 of flowers", "ada", ("in-transit", "7", "dan"))
    await service.sends(ada, "flowers", "7", "ada's order 7, sent once more")
    service.comes("ada has sent order 7 once more, to be sure", "dan")
    await service.sends(bob, "flowers2", "7", "bob's order 7 of flowers2")
    service.comes("bob's store has an order 7, too", "dan", "7")
    service.next["dan"] = "with it"
    await service.sends(ada, "flowers", "8", "ada's order 8")
    service.comes("ada's order 8", "dan", "8")
    await service.driver("fay")
    service.comes("dan was cut off with order 8 just now, and fay comes to work", "fay")
    await service.later(61)
    service.comes("a minute has passed, and no answer for order 8", "fay", "8")
    await trial.stage.cut("fay")
    await trial.settle()
    await service.sends(ada, "flowers", "9", "ada's order 9, with no driver there")
    await service.is_stopped()
    await service.begins()
    await service.driver("fay")
    service.comes("the server was stopped and started again, and fay comes back", "fay", "9")
    await service.driver("dan")
    await service.later(61)
    service.comes("both drivers are there, and nothing is left to do", "fay")
    service.comes("both drivers are there, and nothing is left to do", "dan")
    _proved(
        trial,
        "a store is told True, and its order waits until a driver comes to work; eve gets none",
        "an order that is sent once more goes out once; another store's of that number does, too",
        "what a driver vanishes with goes to the next one, after a minute",
        "an order waits while the server is stopped and started again",
    )


async def _evening(trial: Trial) -> None:
    service = _Service(trial)
    await service.begins()
    ada = await service.counter("ada", "flowers")
    await service.counter("cy", "flowers")
    bob = await service.counter("bob", "flowers2")
    await service.sends(ada, "flowers", "7", "ada's order 7 of flowers")
    await service.driver("dan", delivers=True)
    news, note = ("in-transit", "7", "dan"), ("delivered", "7")
    service.comes("order 7 of flowers", "dan", "7")
    what = "dan brings order 7 of flowers"
    service.is_accepted("dan", what)
    books = [one for who in ("ada", "cy") for one in service.got[who] if one != news]
    for who in ("ada", "cy"):
        service.got[who] = [one for one in service.got[who] if one == news]
        service.comes(f"{what}, and is on the way", who, news)
    trial.in_order(f"{what}, and has delivered it", "ada or cy", books, [note])
    service.comes(what, "bob")
    await service.sends(bob, "flowers2", "7", "bob's order 7 of flowers2")
    service.comes("bob's store has an order 7, too", "dan", "7")
    service.comes("dan brings order 7 of flowers2", "bob", news, note)
    await bob.disconnect()
    await trial.settle()
    service.next["dan"] = "when it is accepted"
    await service.sends(
        ada, "flowers2", "8", "ada's order 8, for flowers2, whose counter is closed"
    )
    service.comes("order 8 of flowers2", "dan", "8")
    await service.is_stopped()
    await service.begins()
    await service.later(61)
    await service.driver("fay", delivers=True)
    what = "dan had delivered it, and was cut off before he answered for it; it comes again"
    service.comes(what, "fay", "8")
    await service.counter("bob", "flowers2")
    what = "both drivers have reported it, and the counter opens again: order 8 of flowers2"
    service.comes(what, "bob", ("delivered", "8"))
    await service.counter("ada", "flowers")
    service.comes("all that was for flowers is told already", "ada")
    _proved(
        trial,
        "both counters of a store hear that an order is on the way; one of them, that it is there",
        "a report waits until the counter opens, with the server stopped and started meanwhile",
        "what two drivers report of one order is told once",
    )


EXERCISES = [
    Exercise(
        "10.1",
        "the door and the rooms",
        _doors,
        "two kinds of people, in two namespaces: which handler asks for a key, and in which of the "
        "two is the room that has to hear?",
        Doors,
    ),
    Exercise(
        "10.2",
        "the orders wait",
        _parcels,
        "what is it that makes two orders the same order; and what is done when the store hears "
        "True?",
        Parcels,
    ),
    Exercise(
        "10.3",
        "nothing lost, nothing twice",
        _evening,
        "which of the two reports is worth something tomorrow: where does it wait until its store "
        "has it, and how is it known when it is reported again?",
        Evening,
    ),
]
