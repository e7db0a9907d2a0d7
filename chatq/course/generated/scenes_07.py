"""The generated scenes of lesson 07, steps 1 to 4: a list, one for each reader, on disk.

Owns the model of which packages wait for whom. Must not know: how an answer is tried, time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..scenes import Expected, Heard, Skip, Step, step
from .scenes_07_hub import DIES, GOES, NEAR, PACKAGES, READERS, SENT, Hub, MortalHub

__all__ = ["Acknowledged", "List", "Lists", "OnDisk"]

_TIMES = {"": 1, ", twice at once": 2}


def _all(packages: list[str]) -> list[Heard]:
    return [Heard("pickup", (one,)) for one in packages]


class Lists(Hub):
    """Each package waits for each reader until that one asks."""

    proves = "whoever sends, asks, goes and comes back"
    longest = 7
    finale: tuple[Step, ...] = tuple(
        Step("asks_for_all", {"who": who, "times": ""}) for who in READERS
    )

    async def opens(self) -> None:
        self.waiting: dict[str, list[str]] = {name: [] for name in READERS}
        await self.trial.serve()

    @step("the vendor sends {package!r}{times}", package=PACKAGES[:3], times=(*_TIMES,))
    async def sends(self, package: str, times: str) -> Expected:
        await self.at_once(*[("vendor", "pickup", package)] * _TIMES[times])
        for packages in self.waiting.values():
            packages += [package] * _TIMES[times]
        return {}

    @step("{who} asks{times}", who=READERS, times=(*_TIMES,))
    async def asks_for_all(self, who: str, times: str) -> Expected:
        question = (who, "get-all", who)
        if times:
            await self.meanwhile(question, question)
        else:
            await self.emit(*question)
            await self.trial.settle()
        packages, self.waiting[who] = self.waiting[who], []
        return {who: _all(packages)}

    @step("a helper asks for what waits for {who}", who=READERS)
    async def a_helper_asks(self, who: str) -> Expected:
        await self.emit("helper", "get-all", who)
        packages, self.waiting[who] = self.waiting[who], []
        return {"helper": _all(packages)}

    @step("{who} asks, as the vendor sends {package!r}", who=READERS, package=PACKAGES[:2])
    async def asks_meanwhile(self, who: str, package: str) -> Expected:
        before = self.waiting[who]
        await self.meanwhile((who, "get-all", who), ("vendor", "pickup", package))
        for packages in self.waiting.values():
            packages.append(package)
        late = len(await self.heard(who)) < len(before)
        self.waiting[who] = [package] if late else []
        return {who: _all(before[:-1] if late else before)}


class List(Lists):
    """The same with one reader."""

    finale = (Step("ada_asks", {"times": ""}),)

    asks_for_all = a_helper_asks = asks_meanwhile = goes = None  # type: ignore[assignment] # those of any reader

    async def opens(self) -> None:
        self.waiting = {"ada": []}
        await self.trial.serve()

    @step("ada asks{times}", times=(*_TIMES,))
    async def ada_asks(self, times: str) -> Expected:
        return await Lists.asks_for_all(self, "ada", times)

    @step("ada asks, as the vendor sends {package!r}", package=PACKAGES[:2])
    async def ada_asks_meanwhile(self, package: str) -> Expected:
        return await Lists.asks_meanwhile(self, "ada", package)

    @step("ada {how}", how=GOES)
    async def ada_goes(self, how: str) -> Expected:
        return await Lists.goes(self, "ada", how)


@dataclass
class _Box:
    """What waits for one reader, who has read the first `read` of it."""

    packages: list[str] = field(default_factory=list)
    read: int = 0
    #: What it has answered for last.
    last: str | None = None
    #: Which of the packages may not be there: the hub was killed while it wrote this one.
    perhaps: int | None = None

    def done(self, package: str) -> None:
        """Take one of these out, the oldest. Skip the step if that is not clear: is it a second
        answer for the one before, or one for what the reader has not read?"""
        if package not in self.packages:
            return
        at = self.packages.index(package)
        if at >= self.read:
            raise Skip
        del self.packages[at]
        self.read -= 1
        if self.perhaps is not None:  # it was not read yet, and is one of those behind
            self.perhaps -= 1

    def seen(self, packages: list[str]) -> None:
        """Note what the reader gets of all of it."""
        if self.perhaps is not None:
            if packages != self.packages:
                del self.packages[self.perhaps]
            self.perhaps = None


#: What a reader answers for, of all that it has read.
_WHICH: dict[str, Callable[[list[str]], list[str]]] = {
    "the first": lambda read: read[:1],
    "the last": lambda read: read[-1:],
    "the first, twice": lambda read: read[:1] * 2,
    "all, the last first": lambda read: read[::-1],
}


class Acknowledged(Hub):
    """Each package waits for each reader until that one has answered for it."""

    proves = "whoever sends, asks, answers, dies and comes back"
    longest = 8
    finale = tuple(Step("asks_for_all", {"who": who}) for who in READERS)
    model: dict[str, _Box]

    async def opens(self) -> None:
        if self.model is None:
            self.model = {name: _Box() for name in READERS}
        await self.serves()

    async def serves(self) -> None:
        """Serve the answer."""
        await self.trial.serve()

    @step("the vendor sends {packages}", packages=(*SENT,))
    async def sends(self, packages: str) -> Expected:
        for package in SENT[packages]:
            self.comes(package)
            await self.emit("vendor", "pickup", package)
            await self.trial.settle()
        return {}

    @step("{who} asks", who=READERS)
    async def asks_for_all(self, who: str) -> Expected:
        await self.emit(who, "get-all", who)
        return {who: await self.gets(who)}

    @step("{who} {how}", who=READERS, how=(*GOES, DIES))
    async def goes(self, who: str, how: str) -> Expected:
        return await super().goes(who, how)

    @step("{who} asks, as the vendor sends {package!r}", who=READERS, package=PACKAGES[:2])
    async def asks_meanwhile(self, who: str, package: str) -> Expected:
        before = self.reads(who)
        await self.meanwhile((who, "get-all", who), ("vendor", "pickup", package))
        self.comes(package)
        late = len(await self.heard(who)) <= len(before)
        return {who: before if late else self.reads(who)}

    @step("{who} asks, and answers for {which}", who=READERS, which=(*_WHICH,))
    async def answers(self, who: str, which: str) -> Expected:
        for package in await self.asks_for(who, which):
            await self.emit(who, "received", who, package)
            await self.trial.settle()
        return {}

    @step("the vendor sends {packages}; {who} asks, and answers for the last",
          packages=NEAR, who=READERS)  # fmt: skip
    async def answers_for_one_of(self, packages: str, who: str) -> Expected:
        await self.sends(packages)
        return await self.answers(who, "the last")

    @step("{who} asks twice, and answers for {which} meanwhile", who=READERS, which=(*_WHICH,)[:2])
    async def answers_meanwhile(self, who: str, which: str) -> Expected:
        before = _all(self.model[who].packages)
        said = [(who, "received", who, package) for package in await self.asks_for(who, which)]
        await self.meanwhile((who, "get-all", who), said[0])
        after = self.reads(who)
        return {who: after if len(await self.heard(who)) < len(before) else before}

    def comes(self, package: str) -> None:
        """Put a package into each box."""
        for box in self.model.values():
            box.packages.append(package)

    def reads(self, who: str) -> list[Heard]:
        """Return what a reader hears that asks now."""
        box = self.model[who]
        box.read = len(box.packages)
        return _all(box.packages)

    async def gets(self, who: str) -> list[Heard]:
        """Return what a reader hears that has asked."""
        self.model[who].seen([one.arguments[0] for one in await self.heard(who)])
        return self.reads(who)

    async def asks_for(self, who: str, which: str) -> list[str]:
        """Let a reader ask; return for which packages it answers then."""
        box = self.model[who]
        if not box.packages:
            raise Skip
        await self.emit(who, "get-all", who)
        await self.trial.settle()
        self.judge({who: await self.gets(who)})
        found = _WHICH[which]([*box.packages])
        for box.last in found:
            box.done(box.last)
        return found


class OnDisk(MortalHub, Acknowledged):
    """And each package outlives the hub."""

    proves = "whoever sends, asks and answers, with the hub stopped and killed between and within"
    asks_meanwhile = answers_meanwhile = None  # type: ignore[assignment] # tried in step 3

    async def serves(self) -> None:
        await self.trial.serve(self.trial.folder / "packages.db")

    @step("{who} answers once more for the one before", who=READERS)
    async def answers_again(self, who: str) -> Expected:
        package = self.model[who].last
        if package is None:
            raise Skip
        self.model[who].done(package)
        await self.emit(who, "received", who, package)
        return {}

    @step("the vendor sends {package!r}, and the hub is killed at once", package=PACKAGES)
    async def is_killed_storing(self, package: str) -> Expected:
        self.comes(package)
        await self.dies_after("vendor", "pickup", package)
        return {}

    @step("the vendor sends {package!r}, and the hub is killed as it writes", package=PACKAGES[:2])
    async def is_killed_writing(self, package: str) -> Expected:
        if any(box.perhaps is not None for box in self.model.values()):
            raise Skip
        self.comes(package)
        for box in self.model.values():
            box.perhaps = len(box.packages) - 1
        await self.dies_writing("vendor", "pickup", package)
        return {}

    @step("{who} asks, and the hub is killed as it sends", who=READERS)
    async def is_killed_sending(self, who: str) -> Expected:
        await self.dies_sending(who)
        return {}

    @step("{who} asks, and answers for {which}, and the hub is killed at once",
          who=READERS, which=(*_WHICH,)[:2])  # fmt: skip
    async def is_killed_deleting(self, who: str, which: str) -> Expected:
        (package,) = await self.asks_for(who, which)
        await self.dies_after(who, "received", who, package)
        return {}
