"""The generated scenes of lesson 07, step 5: leases.

Owns the model of what is out, until when. Must not know: how an answer is tried.

Where the hub was killed while it sent, more than one thing may be true of a box; so the model has
each of them, until what is heard says which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..invariants import Wrong
from ..queue_trial import Clock
from ..scenes import Expected, Heard, Step, same_in_any_order, step
from .scenes_07_hub import DIES, GOES, PACKAGES, READERS, SENT, MortalHub, box_of

__all__ = ["Leases"]

_LEASE = 30
#: Who reads Ada's box; Bob has one of his own.
_WHO = ("ada", "helper")
_WHICH = {"the first": [0], "the last": [-1], "the first, twice": [0, 0]}
#: No sum of these is a lease: whether a package is out in that very moment is not said.
_LATER = {"": 0, " 30.5 seconds later": 30.5, " 29 seconds later": 29, " 7 seconds later": 7,
          " half a second later": 0.5}  # fmt: skip
#: When a reader answers.
_ANSWERS = ("", " 30.5 seconds later", " 7 seconds later", " on a new connection")
_ALL = 10**6


class _Kept(NamedTuple):
    """One package of a box, until when it is out, and the number of its last attempt."""

    package: str
    until: float = 0
    attempt: int = 0


#: What is in one box, the oldest first.
_World = tuple[_Kept, ...]


def _claimed(world: _World, now: float, most: int = _ALL) -> tuple[list[Heard], _World]:
    """Return what is sent to who asks now, and the box after that; `most`: packages."""
    heard, after = list[Heard](), list[_Kept]()
    for one in world:
        if one.until <= now and len(heard) < most:
            one = _Kept(one.package, now + _LEASE, one.attempt + 1)
            heard.append(Heard("pickup", (one.package, one.attempt)))
        after.append(one)
    return heard, tuple(after)


def _answered(world: _World, package: str) -> _World:
    """Return the box without the oldest of these that was sent."""
    for at, one in enumerate(world):
        if one.package == package and one.attempt:
            return world[:at] + world[at + 1 :]
    return world


def _each(worlds: Iterable[_World]) -> list[_World]:
    """Return these, each once."""
    return [*dict.fromkeys(worlds)]


@dataclass
class _Model:
    now: float = 0
    #: What may be in each box.
    boxes: dict[str, list[_World]] = field(default_factory=lambda: {name: [()] for name in READERS})

    def claim(self, box: str, *most: int) -> None:
        """Note that so many packages of a box are out now, at most; nothing given: all."""
        self.boxes[box] = _each(
            _claimed(world, self.now, at_most)[1]
            for at_most in most or (_ALL,)
            for world in self.boxes[box]
        )


class Leases(MortalHub):
    """What was sent is nobody else's for 30 seconds, and somebody's after them."""

    proves = "whoever sends, asks and answers, as time passes and the hub is stopped and killed"
    finale = (
        Step("asks_for_all", {"who": "ada", "when": " 30.5 seconds later"}),
        Step("asks_for_all", {"who": "bob", "when": ""}),
    )
    model: _Model

    async def opens(self) -> None:
        if self.model is None:
            self.model = _Model()
        self.clock = Clock()
        self.clock.now = self.model.now
        await self.trial.serve(self.trial.folder / "packages.db", self.clock)

    @step("the vendor sends {packages}", packages=(*SENT,))
    async def sends(self, packages: str) -> Expected:
        for package in SENT[packages]:
            self.comes(package)
            await self.emit("vendor", "pickup", package)
            await self.trial.settle()
        return {}

    @step("{who} asks{when}", who=(*_WHO, "bob"), when=(*_LATER,))
    async def asks_for_all(self, who: str, when: str) -> Expected:
        self.goes_on(when)
        await self.emit(who, "get-all", box_of(who))
        return await self.reads(who)

    @step("{who} asks, and answers for {which}{when}",
          who=(*_WHO, "bob"), which=(*_WHICH,), when=_ANSWERS)  # fmt: skip
    async def answers(self, who: str, which: str, when: str) -> Expected:
        expected = await self.asks_for_all(who, "")
        self.judge(expected)
        read = [one.arguments[0] for one in expected[who]]
        found = [read[at] for at in _WHICH[which]] if read else []
        box = box_of(who)
        for package in found:
            self.model.boxes[box] = _each(_answered(one, package) for one in self.model.boxes[box])
        if when in _LATER:
            self.goes_on(when)
        else:
            await self.goes(who, GOES[1])
        for package in found:
            await self.emit(who, "received", box, package)
            await self.trial.settle()
        return {}

    @step("ada asks{when}, and the helper in the same moment", when=(*_LATER,))
    async def both_ask(self, when: str) -> Expected:
        self.goes_on(when)
        await self.meanwhile(("ada", "get-all", "ada"), ("helper", "get-all", "ada"))
        expected = {who: await self.heard(who) for who in _WHO}
        got = [one for heard in expected.values() for one in heard]
        told = [_claimed(world, self.clock.now) for world in self.model.boxes["ada"]]
        right = [after for heard, after in told if same_in_any_order(got, heard)]
        if not right:
            raise Wrong(
                client="ada and helper",
                expected="get what is not out, each once: " + _listing(told[0][0]),
                got="get " + _listing(got),
            )
        self.model.boxes["ada"] = _each(right)
        return expected

    @step("{who} {how}", who=_WHO, how=(*GOES, DIES))
    async def goes(self, who: str, how: str) -> Expected:
        if how == DIES:
            self.model.claim(box_of(who))
        return await super().goes(who, how)

    @step("the vendor sends {package!r}, and the hub is killed at once", package=PACKAGES[:2])
    async def is_killed_storing(self, package: str) -> Expected:
        self.comes(package)
        await self.dies_after("vendor", "pickup", package)
        return {}

    @step("the vendor sends {package!r}, and the hub is killed as it writes", package=PACKAGES[:2])
    async def is_killed_writing(self, package: str) -> Expected:
        before = {box: [*worlds] for box, worlds in self.model.boxes.items()}
        self.comes(package)
        for box, worlds in before.items():
            self.model.boxes[box] += worlds
        await self.dies_writing("vendor", "pickup", package)
        return {}

    @step("{who} asks{when}, and the hub is killed as it sends", who=_WHO, when=(*_LATER,))
    async def is_killed_sending(self, who: str, when: str) -> Expected:
        self.goes_on(when)
        box = box_of(who)
        self.model.claim(box, *range(1, max(map(len, self.model.boxes[box])) + 2))
        await self.dies_sending(who)
        return {}

    def goes_on(self, when: str) -> None:
        """Move the clock."""
        self.model.now = self.clock.now = self.model.now + _LATER[when]

    def comes(self, package: str) -> None:
        """Put a package into each box."""
        for box, worlds in self.model.boxes.items():
            self.model.boxes[box] = [(*world, _Kept(package)) for world in worlds]

    async def reads(self, who: str) -> Expected:
        """Return what a client has to hear that has asked."""
        got, box = await self.heard(who), box_of(who)
        told = [_claimed(world, self.clock.now) for world in self.model.boxes[box]]
        right = [one for one in told if one[0] == got] or told[:1]
        self.model.boxes[box] = _each(after for _, after in right)
        return {who: right[0][0]}


def _listing(heard: list[Heard]) -> str:
    return ", ".join(map(str, heard)) or "nothing"
