"""The generated scenes of lesson 09: a chat over two servers, and a vendor who is told the truth.

Owns the models of who hears what, and of what is in the queue. Must not know: how an answer is
tried.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from typing import Any

from ...internals.client_tap import Client
from ...journal.facts import QueueFact, Subscribed
from ...queues.observers import Observer
from ...queues.queues import Queues
from ...queues.store import StoreError
from ...stage.nats_server import NatsNode
from ...stage.scene import HandlerRaised
from ...stage.stage import Stage
from ...waiting import set_within
from ..invariants import Wrong, times
from ..scenes import Expected, Scene, Script, Skip, Step, step
from ..two_servers import TwoServers, back, one_node

__all__ = ["Everywhere", "Truth"]

_WHERE = ("first", "second")
#: A killed node takes its time, so only one of these has it: a few of a hundred scenes.
_LUCK, _KILLS = tuple(range(25)), 22
#: A number for each scene: its stream is its own.
_numbers = count(1)


class _OnNats(Scene):
    """On one NATS node for all scenes; each has a stream of its own there."""

    shared: NatsNode

    @classmethod
    @contextlib.asynccontextmanager
    async def shares(cls) -> AsyncIterator[NatsNode]:
        """Give the node."""
        async with one_node() as node:
            yield node

    async def opens(self) -> None:
        """Take a new stream."""
        self.url = f"{self.shared.url}/scene-{next(_numbers)}"
        self.until = AsyncExitStack()
        self.trial.closing.append(self.until.aclose)
        self.places: dict[str, Stage] = {}

    async def _hangs_up(self, who: str) -> None:
        client = self.gone(who)
        del self.places[who]
        await client.disconnect()

    async def _loses_the_connection(self, who: str) -> None:
        self.gone(who)
        await self.places.pop(who).cut(who)


# -- 09.1 ------------------------------------------------------------------------------------------

_WHO = ("ada", "bob", "cat")
_TEXTS = ("hi", "", "bye")


class Everywhere(_OnNats):
    """Everybody else hears what one says, once, wherever he is at that moment."""

    proves = "whoever speaks, comes and goes, at either server"
    hears = ("said",)
    #: What two say at once, or the servers of one, may come in any order.
    ordered = False
    longest: int = 5

    async def opens(self) -> None:
        """Open two servers, with ada and bob at the first, and cat at the second."""
        await super().opens()
        self.both = await TwoServers.open(self.trial, self.url, self.until)
        for who, where in zip(_WHO, ("first", "first", "second"), strict=True):
            await self._comes(who, where)
        await self.both.listen()

    async def _comes(self, who: str, where: str) -> None:
        self.trial.stage = self.places[who] = self.both.stages[_WHERE.index(where)]
        client = await self.trial.stage.client(who, connect=False)
        self.listen(client)
        self.both.marks(client)
        client.on("said", partial(self._note, client.handlers["/"]["said"]))
        await client.connect(wait_timeout=3)
        self.lines[who] = client

    def _note(self, note: Any, *arguments: Any) -> None:
        note(*arguments)
        self.both.heard()

    @step("{who} says {text!r}", who=_WHO, text=_TEXTS)
    async def says(self, who: str, text: str) -> Expected:
        """One message."""
        return await self._say({who: [text]})

    @step("{who} says {one!r} and {two!r} at once", who=_WHO, one=_TEXTS, two=_TEXTS)
    async def says_both(self, who: str, one: str, two: str) -> Expected:
        """Two messages of one client."""
        return await self._say({who: [one, two]})

    @step("all say {text!r} at once", text=_TEXTS)
    async def all_say(self, text: str) -> Expected:
        """A message of each."""
        return await self._say({who: [text] for who in self.there})

    @step("{who} hangs up", who=_WHO)
    async def hangs_up(self, who: str) -> Expected:
        """It hears nothing any more."""
        await self._hangs_up(who)
        return await self._say({})

    @step("{who} loses the connection", who=_WHO)
    async def is_cut(self, who: str) -> Expected:
        """Without a word."""
        await self._loses_the_connection(who)
        return await self._say({})

    @step("{who} comes to the {where} server", who=_WHO, where=_WHERE)
    async def comes(self, who: str, where: str) -> Expected:
        """A new connection, perhaps elsewhere."""
        if who in self.lines:
            await self._hangs_up(who)
        await self._comes(who, where)
        return await self._say({})

    @step("the NATS node is killed, and started again", luck=_LUCK)
    async def node_is_killed(self, luck: int) -> Expected:
        """While nobody speaks."""
        if luck != _KILLS:
            raise Skip
        await self.shared.kill()
        await self.shared.start()
        return await self._say({})

    async def _say(self, said: dict[str, list[str]]) -> Expected:
        expected: Expected = {}
        for who, texts in said.items():
            if who not in self.lines:
                raise Skip
            for text in texts:
                for name, heard in self.to({*self.there} - {who}, "said", text).items():
                    expected.setdefault(name, []).extend(heard)
        for who, texts in said.items():
            for text in texts:
                await self.lines[who].emit("say", text)

        def came() -> bool:
            return all(len(self._inboxes[who]) >= len(all_) for who, all_ in expected.items())

        await self.both.all_has_come(self.places, came, self.trial.patience)
        return expected


# -- 09.2 ------------------------------------------------------------------------------------------

_PACKAGES = ("O-1", "O-10", "o-1")
_VENDORS, _DRIVERS = ("the vendor", "the shop"), ("ada", "bob")
_LOST = ", and the queue does not answer"
_STORED = ", and the queue keeps it, but does not answer"
#: Seconds: the patience of the queues; until what is in the queue has come to a driver.
_PATIENCE, _IMPATIENCE, _COMES = 20, 1, 5.0
#: Seconds until the queues are asked once more.
_SOON = 0.02


class _Consumers(Observer):
    """The sids of all who have ever consumed the queue; sets `changed` with each fact."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.sids, self._changed = set[str](), changed

    def happened(self, fact: QueueFact) -> None:
        self._changed.set()
        if isinstance(fact, Subscribed):
            self.sids.add(fact.client)


class Truth(_OnNats):
    """The vendor is told what is sure, and each package comes to one driver, once."""

    proves = "whoever hands over what again, unanswered or not, drives, comes and goes, anywhere"
    longest: int = 6
    finale = (Step("drives", {"who": "ada", "where": "second"}),)
    #: Whether the node is killed in it: then the queues give up soon.
    kills = False

    async def opens(self) -> None:
        """Open two servers, with queues that can be kept from answering."""
        await super().opens()
        self.stages: list[Stage] = []
        self.queues: list[Queues] = []
        self.got: Counter[Any] = Counter()
        self.stored: set[str] = set()
        #: What happens at the next put, and whether the last one had no answer.
        self.fault, self.hit = "", False
        self.changed = asyncio.Event()
        self.consumers = _Consumers(self.changed)
        patience = _IMPATIENCE if self.kills else _PATIENCE
        for _ in _WHERE:
            own = await Queues.open(f"{self.url}?patience={patience}", random=self.trial.random)
            self.until.push_async_callback(own.close, within=0)
            own.watch(self.consumers)
            for verb in ("put", "put_one"):
                put = partial(self._put, getattr(own.store, verb))
                setattr(own.store, verb, put)
            self.stages.append(await self.trial.serve(own))
            own.attach(self.trial.sio)
            self.queues.append(own)

    async def _put(self, put: Any, *given: Any) -> Any:
        fault, self.fault = self.fault, ""
        self.hit = bool(fault) or not self.shared.runs
        stored = await put(*given) if fault != _LOST else None
        if fault:
            raise StoreError("NATS has not confirmed this. It may still be done later")
        return stored

    # -- vendors

    @step(
        "{who} hands over {package!r} at the {where} server{then}",
        who=_VENDORS,
        package=_PACKAGES,
        where=_WHERE,
        then=("", _LOST, _STORED),
    )
    async def hands_over(self, who: str, package: str, where: str, then: str) -> Expected:
        """A package, perhaps again."""
        self.fault = then
        await self._hand_over(package, (who, where))
        if then == _STORED:
            self.stored.add(package)
        self.fault = ""
        return await self._all_has_come()

    @step("the vendors hand over {package!r} at once, one at each server", package=_PACKAGES)
    async def both_hand_over(self, package: str) -> Expected:
        """The same package."""
        await self._hand_over(package, *zip(_VENDORS, _WHERE, strict=True))
        return await self._all_has_come()

    @step(
        "the node is down while the vendor hands over {package!r}; it is started again, and the "
        "vendor hands that over at the second server",
        package=_PACKAGES,
        luck=_LUCK,
    )
    async def node_is_down(self, package: str, luck: int) -> Expected:
        """Nobody can know what becomes of it."""
        if luck != _KILLS:
            raise Skip
        await self._vendor("the vendor", "first")  # who has dialled before
        await self.shared.kill()
        try:
            await self._hand_over(package, ("the vendor", "first"))
        finally:
            await self.shared.start()
        for own in self.queues:
            await back(own)
        await self._hand_over(package, ("the vendor", "second"))
        return await self._all_has_come()

    async def _vendor(self, who: str, where: str) -> Client:
        name = f"{who.removeprefix('the ')}-{where}"
        if name not in self.lines:
            stage = self.stages[_WHERE.index(where)]
            self.lines[name] = await stage.client(name)
        return self.lines[name]

    # -- drivers

    @step("{who} drives at the {where} server", who=_DRIVERS, where=_WHERE)
    async def drives(self, who: str, where: str) -> Expected:
        """From now on; once more, if he does already."""
        stage = self.stages[_WHERE.index(where)]
        if self.places.get(who) is not stage:
            if who in self.lines:
                await self._hangs_up(who)
            self.trial.stage = self.places[who] = stage
            client = await stage.client(who, connect=False)
            client.on("pickup", self._pickup)
            await client.connect(wait_timeout=3)
            self.lines[who] = client
        await self.lines[who].emit("drive")
        return await self._all_has_come()

    @step("{who} hangs up", who=_DRIVERS)
    async def hangs_up(self, who: str) -> Expected:
        """He gets nothing any more."""
        await self._hangs_up(who)
        return await self._all_has_come()

    @step("{who} loses the connection", who=_DRIVERS)
    async def is_cut(self, who: str) -> Expected:
        """Without a word."""
        await self._loses_the_connection(who)
        return await self._all_has_come()

    async def play(self, script: Script) -> None:
        """Play a script, whose kills have to be known before the queues are opened."""
        self.kills = any(one.operands.get("luck") == _KILLS for one in script)
        await super().play(script)

    # -- what must come of it

    async def _asked(self, who: str, where: str, package: str) -> Any:
        client, answer = await self._vendor(who, where), asyncio.get_running_loop().create_future()

        def told(*given: Any) -> None:
            if not answer.done():
                answer.set_result(given[0] if len(given) == 1 else None)

        await client.emit("pickup", package, callback=told)
        return answer

    async def _settle(self) -> None:
        try:
            for stage in self.stages:
                await stage.settle(self.trial.patience)
        except HandlerRaised as raised:  # its text contains an address
            error = raised.errors[0]
            if not isinstance(error, StoreError):
                raise
            raise Wrong(
                client="the vendor",
                expected="is told False",
                got="no answer at all: the handler raised a StoreError",
            ) from None

    async def _hand_over(self, package: str, *pairs: tuple[str, str]) -> None:
        """Hand this over, as these vendors at these servers; each has to be told whether it is
        stored: `False` if the queue was asked, and did not answer in the end."""
        self.hit = False
        answers = [await self._asked(*pair, package) for pair in pairs]
        await self._settle()
        for (who, _), answer in zip(pairs, answers, strict=True):
            self.answered(who, answer.result() if answer.done() else None, not self.hit)
        if not self.hit:
            self.stored.add(package)

    def _pickup(self, package: Any, delivery: Any = None) -> Any:
        self.got[package] += 1
        return delivery and delivery["receipt"]

    async def _all_has_come(self) -> Expected:
        await self._settle()
        sids = {self.lines[who].get_sid() for who in self.places}
        if self.consumers.sids & sids:  # else nothing is to be waited for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_COMES):
                    while await self._keeps():
                        await set_within(self.changed, _SOON)
            await self._settle()
        for package in [*self.stored, *self.got]:
            came, due = self.got[package], int(package in self.stored)
            if came > due or (came < due and self.places):
                raise Wrong(
                    client=", ".join(self.places) or "the drivers",
                    expected=f"one of the drivers gets {package!r} {times(due)}",
                    got=f"it came {times(came)}" if came else "it came to nobody",
                )
        return {}

    async def _keeps(self) -> int:
        self.changed.clear()
        kept = 0
        for own in self.queues:
            with contextlib.suppress(LookupError):
                stats = await own.stats("drivers")
                kept += stats.ready + stats.leased + stats.delayed
        return kept
