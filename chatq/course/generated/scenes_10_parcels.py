"""The generated scenes of lesson 10, second part: orders wait, whoever vanishes or is killed.

Owns the model of what was promised, and of what has come of it. Must not know: how an answer is
tried, how a parcel is reported as delivered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...internals.client_events import around_handlers
from ...internals.client_tap import Client
from ...journal.facts import QueueFact, Settled, Stored
from ...queues.observers import Observer
from ...queues.queues import Queues
from ...queues.rules import Rules
from ...waiting import give_way
from ..invariants import Wrong, times
from ..queue_trial import Clock
from ..scenes import Expected, Heard, Skip, Step, step
from .scenes_10 import COUNTERS, DRIVERS, HOW, IDS, ROAD, STORES, Service, order_of, who_is

__all__ = ["FAULTS", "KILLED", "Parcels"]

#: Nothing dies of being tried too often here.
_RULES = Rules(lease=30, attempts=1000)
#: Longer than any lease, and than any wait after one.
_LONG = 61
#: How many turns of the event loop an order is late that is sent again meanwhile.
_TURNS = 50
#: The most lives of the server in one scene: each takes its time.
_LIVES = 3

KILLED = ", and the server is killed "
#: What goes wrong, in words, and when.
FAULTS = {
    "": "",
    f"{KILLED}as it answers": "answers pickup",
    f"{KILLED}when it has stored that": "stored pickup",
    f"{KILLED}as a driver gets an order": "gets pickup",
    f"{KILLED}when a driver has answered for one": "settled pickup",
    ", and the driver who gets it is cut off with it": "cut pickup",
}


@dataclass
class _Parcel:
    """What is known of one order: whether the store was told that it is kept, whether a driver was
    told that of his report; and which messages of a queue have come of each."""

    promised: bool = False
    out: set[str] = field(default_factory=set)
    reported: bool = False
    booked: set[str] = field(default_factory=set)


@dataclass
class _Known:
    """What outlives the server: `sound`: nothing has gone wrong since the last leases ended."""

    parcels: dict[tuple[str, str], _Parcel] = field(default_factory=dict)
    now: float = 0.0
    sound: bool = True
    lives: int = 1


class _Told(Observer):
    """Calls `reaches` with what happens to messages."""

    def __init__(self, reaches: Callable[[str], object]) -> None:
        self._reaches = reaches

    def happened(self, fact: QueueFact) -> None:
        match fact:
            case Stored(message):
                self._reaches(f"stored {message.event}")
            case Settled(message):
                self._reaches(f"settled {message.event}")  # type: ignore[union-attr]


class Parcels(Service):
    """What a store is told is kept comes to a driver, as one message."""

    proves = (
        "whoever orders the same again, comes late, is cut off or has no key, with the server "
        "killed between and within"
    )
    in_processes = True
    longest: int = 5
    #: What may go wrong, in words, and when.
    faults: dict[str, str] = FAULTS
    finale: tuple[Step, ...] = (
        Step("drives", {"who": "dan", "then": ""}),
        Step("asks_again", {}),
        Step("a_minute_passes", {}),
    )
    model: _Known

    async def opens(self) -> None:
        """Open the queues that there are, and serve the answer."""
        if self.model is None:
            self.model = _Known()
        self.fault = ""
        #: Whether orders are stored late, until a handler of theirs has returned.
        self.late = False
        #: What came outside of the rules, as counter-examples.
        self.strays: list[Wrong] = []
        #: Who has reported in this step that he is on the way, with which order.
        self.reports: list[tuple[str, Any]] = []
        #: Who was cut off at work in this step.
        self.cut: set[str] = set()
        self.clock = Clock()
        self.clock.now = self.model.now
        await super().opens()

    async def serves(self) -> None:
        """See `Service`."""
        file = self.trial.folder / "parcels.db"
        self.queues = await Queues.open(
            f"sqlite:///{file}", _RULES, clock=self.clock, random=self.trial.random
        )
        self.trial.closing.append(partial(self.queues.close, within=0))
        for verb in ("put", "put_one"):
            setattr(self.queues.store, verb, partial(self._put, getattr(self.queues.store, verb)))
        await self.trial.serve(self.queues, who_is)
        self.queues.watch(_Told(self.reaches))
        self.trial.stage.watch(self.queues)
        around_handlers(self.trial.sio, self._promises)

    # -- faults

    def aim(self, then: str) -> None:
        """Let this go wrong in this step; skip the step if it cannot."""
        fault = self.faults[then]
        if fault and not fault.startswith("cut"):
            self._mortal()
        self.fault = fault
        # So it is the same each time whether what was promised too early was stored by then.
        self.late = fault == "answers pickup"

    def _mortal(self) -> None:
        if "dies" not in vars(self) or self.model.lives == _LIVES:
            raise Skip

    def reaches(self, what: str) -> bool:
        """Let the server die if this is its time; return whether it is the time of another fault,
        which the caller sees to."""
        if self.fault != what:
            return False
        self.fault = ""
        self.model.sound = False
        if not what.startswith("cut"):
            self.model.lives += 1
            self.dies()
        return True

    async def _put(self, put: Callable[..., Awaitable[Any]], *given: Any) -> Any:
        """Store, perhaps late: what has come in meanwhile is at work by then."""
        turns = _TURNS
        while self.late and turns:
            turns -= 1
            await give_way()
        return await put(*given)

    async def _promises(
        self, work: Awaitable[Any], event: str, _: str, given: tuple[Any, ...]
    ) -> Any:
        """Note what a handler of the answer promises: from now on it is kept."""
        try:
            result = await work
        finally:
            self.late = self.late and event != "pickup"
        if event in ("pickup", "delivered") and result is True:
            parcel = self.parcel(given[1])
            if event == "pickup":
                parcel.promised = True
            else:
                parcel.reported = True
            self.reaches(f"answers {event}")
        return result

    def parcel(self, order: Any) -> _Parcel:
        """Return what is known of this order."""
        return self.model.parcels[order["store"], order["orderId"]]

    # -- the programs of drivers and counters

    def equip(self, client: Client) -> None:
        """See `Service`: the driver takes orders."""

        async def pickup(*given: Any) -> Any:
            return await self.takes(client, *given)

        client.on("pickup", pickup, namespace=ROAD)

    async def takes(self, client: Client, *given: Any) -> Any:
        """Let a driver take an order, and answer for it; return the receipt."""
        if not self.is_good(client, "pickup", given):
            return None
        order, delivery = given
        self.parcel(order).out.add(delivery["id"])
        self.reaches("gets pickup")
        if self.reaches("cut pickup"):
            self.is_cut(client)
            return None
        return await self.works(client, order, delivery)

    async def works(self, client: Client, order: Any, delivery: Any) -> Any:
        """Do the work, and say so; return the receipt if it is done."""
        self.reports.append((client.name, order))
        await client.emit("in-transit", order, namespace=ROAD)
        return delivery["receipt"]

    def is_cut(self, client: Client) -> None:
        """Cut off a client that is at work."""
        client.cut()
        self.cut.add(client.name)
        self.lines.pop(client.name, None)
        self.rooms.pop(client.name, None)
        self.inbox(client.name).clear()

    def is_good(self, client: Client, event: str, given: tuple[Any, ...]) -> bool:
        """Return whether this is an order, from a queue; note it as stray if not."""
        order, delivery = given if len(given) == 2 else (given[0] if given else None, None)
        if not isinstance(delivery, dict) or "receipt" not in delivery:
            self.stray(
                client,
                f"gets {event!r} from the queue: (order, delivery)",
                "gets it without a delivery: it comes from an emit, which keeps nothing",
            )
            return False
        key = (order.get("store"), order.get("orderId")) if isinstance(order, dict) else None
        if key not in self.model.parcels or order != order_of(*key):
            self.stray(
                client,
                f"gets {event!r} with the order as the store has sent it",
                f"gets {order!r:.100}",
            )
            return False
        return True

    def stray(self, client: Client, expected: str, got: str) -> None:
        """Note what came outside of the rules."""
        self.strays.append(Wrong(client=client.name, expected=expected, got=got))

    # -- what happens

    @step(
        "{who} sends order {id!r} for {store}{then}",
        who=("ada", "bob"), id=IDS, store=STORES, then=(*FAULTS,),
    )  # fmt: skip
    async def sends(self, who: str, id: str, store: str, then: str) -> Expected:
        """An order, perhaps again, or of a number that the other store has, too."""
        self.aim(then)
        return await self.order((who, store, id))

    @step(
        "{who} sends order {id!r} for {store}, and again before it is stored{then}",
        who=("ada", "bob"), id=IDS, store=STORES, then=("", f"{KILLED}as it answers"),
    )  # fmt: skip
    async def sends_meanwhile(self, who: str, id: str, store: str, then: str) -> Expected:
        """An order that is sent again while the first is not on disk yet."""
        self.aim(then)
        self.late = True
        return await self.order(*[(who, store, id)] * 2)

    @step(
        "ada and bob send orders {id!r} and {other!r} at once, for {store} and {another}",
        id=IDS, store=STORES, other=IDS, another=STORES[::-1],
    )  # fmt: skip
    async def both_send(self, id: str, store: str, other: str, another: str) -> Expected:
        """At two counters, perhaps with one number."""
        return await self.order(("ada", store, id), ("bob", another, other))

    async def order(self, *orders: tuple[str, str, str]) -> Expected:
        """Send each `(who, store, id)`; require that each is told that it is kept."""
        for _, store, id in orders:
            self.model.parcels.setdefault((store, id), _Parcel())
        said = [(who, "pickup", order_of(store, id)) for who, store, id in orders]
        for (who, *_), answer in zip(said, await self.at_once(*said), strict=True):
            self.answered(who, answer, True)
        return await self.judged()

    @step("{who} comes to work{then}", who=DRIVERS, then=(*FAULTS,))
    async def drives(self, who: str, then: str) -> Expected:
        """He gets what waits."""
        if who in self.lines:
            raise Skip
        self.aim(then)
        await self.enters(who)
        return await self.judged()

    @step("eve dials with {auth!r} as auth", auth=({"key": "pink"}, None, {"name": "dan"}))
    async def is_refused(self, auth: Any) -> Expected:
        """She has no key, and gets nothing."""
        await self.knocks("eve", auth)
        return await self.judged()

    @step("{who} joins {store}", who=COUNTERS, store=STORES)
    async def joins_a_store(self, who: str, store: str) -> Expected:
        """She hears of it from now on."""
        await self.line(who)
        # What waits may come before the handler has returned.
        self.rooms.setdefault(who, set()).add(store)
        await self.joins(who, store)
        return await self.judged()

    @step("{who} {how}", who=(*DRIVERS, "ada", "bob"), how=HOW)
    async def goes(self, who: str, how: str) -> Expected:
        """Without him, orders wait; without her, the others hear."""
        await self.leaves(who, how)
        return await self.judged()

    @step("the server is killed, and started again")
    async def is_killed(self) -> Expected:
        """While nothing is under way."""
        self._mortal()
        self.fault = "now"
        self.reaches("now")
        raise Skip

    @step("a minute passes")
    async def a_minute_passes(self) -> Expected:
        """What was out without an answer comes again."""
        self.model.now = self.clock.now = self.clock.now + _LONG
        self.model.sound = True
        self.queues.tick()
        return await self.judged()

    @step("ada sends again what has had no answer")
    async def asks_again(self) -> Expected:
        """Whoever was told nothing cannot know, and asks again."""
        left = [key for key, parcel in self.model.parcels.items() if not parcel.promised]
        if not left:
            raise Skip
        return await self.order(*(("ada", store, id) for store, id in left))

    # -- what must come of it

    async def judged(self) -> Expected:
        """Require that all that was promised has come, as one message, if somebody is there."""
        await self.trial.settle()
        self.fault, self.late = "", False
        for stray in self.strays:
            raise stray
        at_work = [who for who in DRIVERS if who in self.lines]
        for (store, id), parcel in self.model.parcels.items():
            what = f"order {id!r} of {store}"
            due = parcel.promised and self.model.sound and bool(at_work)
            told = ": its store was told True" * parcel.promised
            self.once(", ".join(at_work) or "the drivers", what + told, parcel.out, due)
        return self.heard_meanwhile()

    def once(self, who: str, what: str, messages: set[str], due: bool) -> None:
        """Require that something has come as one message, or, if it is not `due`, not yet."""
        if len(messages) > 1 or (due and not messages):
            raise Wrong(
                client=who,
                expected=f"gets, once, {what}",
                got=f"it is in the queue {times(len(messages))}, each a message of its own"
                if messages
                else "it does not come",
            )

    def heard_meanwhile(self) -> Expected:
        """Return what counters have to hear of who was on the way in this step."""
        expected: dict[str, list[Heard]] = {}
        for who, order in self.reports:
            for name, heard in self.news(who, order).items():
                due = expected.setdefault(name, [])
                # With another order in hand when he was cut off, what he said may be lost.
                if who not in self.cut or self.inbox(name).count(*heard) > due.count(*heard):
                    due += heard
        self.reports.clear()
        self.cut.clear()
        return expected
