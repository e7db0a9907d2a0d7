"""The generated scenes of lesson 07, steps 1 to 4: a list, one for each reader, on disk.

Owns the model of which packages wait for whom. Must not know: how an answer is tried, time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...internals.client_events import around_handlers
from ..scenes import Expected, Heard, Scene, Skip, step

__all__ = ["GOES", "KILLED", "PACKAGES", "READERS", "Acknowledged", "Hub", "List", "Lists", "OnDisk"]

READERS = ("ada", "bob")
#: Few, so that equal ones are likely; a column of numbers would take "007" for 7.
PACKAGES = ("O-1", "pizza", "", "007")
GOES = ("hangs up", "loses the connection")
#: What may happen to the hub at the end of a step, or to nobody.
KILLED = ("", ", and the hub is killed at once")

_TIMES = {"": 1, ", twice at once": 2}


class Hub(Scene):
    """A hub to which a vendor and readers come, and go."""

    hears: ClassVar[tuple[str, ...]] = ("pickup",)

    @step("{who} {how}", who=READERS, how=GOES)
    async def goes(self, who: str, how: str) -> Expected:
        await self.line(who)
        line = self.gone(who)
        await (line.disconnect() if how == GOES[0] else self.trial.stage.cut(who))
        return {}

    async def dies_after(self, who: str, event: str, *data: Any) -> None:
        """Emit this, and kill the hub when its handler has returned: nobody is told of it."""
        await self.line(who)
        await self.trial.settle()
        around_handlers(self.trial.sio, self._last)
        await self.emit(who, event, *data)
        await self.trial.settle()
        self.dies()

    async def _last(self, work: Awaitable[Any]) -> None:
        await work
        self.dies()

    async def dies_sending(self, who: str, box: str) -> None:
        """Ask for what is in a box, and kill the hub when it has emitted the first of it."""
        await self.line(who)
        await self.trial.settle()
        emit: Callable[..., Awaitable[Any]] = self.trial.sio.emit

        async def last(*given: Any, **options: Any) -> None:
            await emit(*given, **options)
            self.dies()

        self.trial.sio.emit = last
        await self.emit(who, "get-all", box)
        await self.trial.settle()
        self.dies()


def _all(packages: list[str]) -> list[Heard]:
    return [Heard("pickup", (one,)) for one in packages]


class Lists(Hub):
    """Each package waits for each reader until that one asks."""

    proves = "whoever sends, asks, goes and comes back"

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
        await self.at_once(*[(who, "get-all", who)] * _TIMES[times])
        packages, self.waiting[who] = self.waiting[who], []
        return {who: _all(packages)}

    @step("{who} asks, as the vendor sends {package!r}", who=READERS, package=PACKAGES[:2])
    async def asks_meanwhile(self, who: str, package: str) -> Expected:
        before = self.waiting[who]
        await self.at_once((who, "get-all", who), ("vendor", "pickup", package))
        for packages in self.waiting.values():
            packages.append(package)
        late = len(await self.heard(who)) < len(before)
        self.waiting[who] = [package] if late else []
        return {who: _all(before[:-1] if late else before)}


class List(Lists):
    """The same with one reader."""

    asks_for_all = asks_meanwhile = goes = None  # those of any reader

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
    """What waits for one reader, who has read the first `sent` of it."""

    packages: list[str] = field(default_factory=list)
    sent: int = 0
    #: What it has answered for last.
    last: str | None = None

    def answer(self, which: str) -> str:
        """Return for which package the reader answers; skip the step if that is not clear."""
        package = self.last
        if self.sent and which != _WHICH[-1]:
            package = self.packages[0 if which == _WHICH[0] else self.sent - 1]
        if package is None:
            raise Skip
        self.done(package)
        return package

    def done(self, package: str) -> None:
        """Take one of these out, the oldest."""
        self.last = package
        if package in self.packages[: self.sent]:
            self.packages.remove(package)
            self.sent -= 1
        elif package in self.packages:
            raise Skip  # a second answer for the one before, or one for what it has not read?


_WHICH = ("the first that it has", "the last that it has", "the one before, once more")


class Acknowledged(Hub):
    """Each package waits for each reader until that one has answered for it."""

    proves = "whoever sends, asks, answers, dies and comes back"
    model: dict[str, _Box]

    async def opens(self) -> None:
        if self.model is None:
            self.model = {name: _Box() for name in READERS}
        await self.serves()

    async def serves(self) -> None:
        """Serve the answer."""
        await self.trial.serve()

    @step("the vendor sends {package!r}{times}", package=PACKAGES[:3], times=(*_TIMES,))
    async def sends(self, package: str, times: str) -> Expected:
        await self.at_once(*[("vendor", "pickup", package)] * _TIMES[times])
        self.comes(package, _TIMES[times])
        return {}

    @step("{who} asks", who=READERS)
    async def asks_for_all(self, who: str) -> Expected:
        await self.emit(who, "get-all", who)
        return {who: self.reads(who)}

    @step("{who} asks, as the vendor sends {package!r}", who=READERS, package=PACKAGES[:2])
    async def asks_meanwhile(self, who: str, package: str) -> Expected:
        before = self.reads(who)
        await self.at_once((who, "get-all", who), ("vendor", "pickup", package))
        self.comes(package)
        late = len(await self.heard(who)) <= len(before)
        return {who: before if late else self.reads(who)}

    @step("{who} answers for {which}", who=READERS, which=_WHICH)
    async def answers(self, who: str, which: str) -> Expected:
        await self.emit(who, "received", who, self.model[who].answer(which))
        return {}

    @step("{who} asks, and answers for {which} at once", who=READERS, which=_WHICH[:2])
    async def answers_meanwhile(self, who: str, which: str) -> Expected:
        box = self.model[who]
        if not box.sent:
            raise Skip
        before = _all(box.packages)
        package = box.answer(which)
        await self.at_once((who, "get-all", who), (who, "received", who, package))
        early = len(await self.heard(who)) < len(before)
        after = self.reads(who)
        return {who: after if early else before}

    @step("{who} asks, and dies before it reads", who=READERS)
    async def dies_unread(self, who: str) -> Expected:
        await self.emit(who, "get-all", who)
        await self.trial.stage.freeze(who)
        await self.trial.settle()
        self.gone(who)
        await self.trial.stage.cut(who)
        return {}

    def comes(self, package: str, times: int = 1) -> None:
        """Put a package into each box."""
        for box in self.model.values():
            box.packages += [package] * times

    def reads(self, who: str) -> list[Heard]:
        """Return what a reader hears that asks now."""
        box = self.model[who]
        box.sent = len(box.packages)
        return _all(box.packages)


class OnDisk(Acknowledged):
    """And the hub may be stopped or killed at any time."""

    proves = "whoever sends, asks and answers, with the hub stopped and killed between and within"
    in_processes = True
    longest = 8
    asks_meanwhile = answers_meanwhile = None  # not once more: the boxes only lie elsewhere

    async def serves(self) -> None:
        await self.trial.serve(self.trial.folder / "packages.db")

    @step("the vendor sends {package!r}{then}", package=PACKAGES, then=KILLED)
    async def sends(self, package: str, then: str) -> Expected:
        self.comes(package)
        if then:
            await self.dies_after("vendor", "pickup", package)
        await self.emit("vendor", "pickup", package)
        return {}

    @step("{who} answers for {which}{then}", who=READERS, which=_WHICH, then=KILLED)
    async def answers(self, who: str, which: str, then: str = "") -> Expected:
        package = self.model[who].answer(which)
        if then:
            await self.dies_after(who, "received", who, package)
        await self.emit(who, "received", who, package)
        return {}

    @step("{who} asks, and the hub is killed as it sends", who=READERS)
    async def is_killed_sending(self, who: str) -> Expected:
        await self.dies_sending(who, who)
        return {}

    @step("the hub is {how}, and started again", how=("killed", "stopped"))
    async def starts_again(self, how: str) -> Expected:
        if how == "killed":
            self.dies()
        await self.trial.stop()
        self.lines.clear()
        await self.opens()
        return {}
