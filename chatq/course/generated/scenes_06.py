"""The generated scenes of lesson 06: a hub that counts recipients, and one that keeps a few
messages.

Owns the model of who drives, and of what the hub still has. Must not know: how an answer is tried.
"""

from __future__ import annotations

from typing import Any

from ..scenes import Expected, Heard, Scene, Skip, Step, same_in_any_order, step

__all__ = ["Drivers", "Latest"]

_WHO = ("ada", "bob", "vendor")
#: Those who send: another vendor, and a driver, may do it, too.
_SENDERS = ("vendor", "shop", "ada")
#: Few, so that equal ones are likely.
_PACKAGES = ("O-1", "")
_TIMES = {"": 1, ", twice at once": 2, ", four times at once": 4}
_HOW = ("hangs up", "loses the connection")


class _Road(Scene):
    """Drivers that come and go."""

    hears: tuple[str, ...] = ("pickup",)

    async def opens(self) -> None:
        self.drivers: set[str] = set()
        await self.trial.serve()

    @step("{who} {how}", who=_WHO, how=_HOW)
    async def goes(self, who: str, how: str) -> Expected:
        await self.line(who)
        line = self.gone(who)
        await (line.disconnect() if how == _HOW[0] else self.trial.stage.cut(who))
        self.drivers.discard(who)
        return {}

    def to_drivers(self, *sent: tuple[Any, ...]) -> Expected:
        """Return that all drivers have to hear these."""
        return {name: [Heard("pickup", one) for one in sent] for name in self.drivers}


class Drivers(_Road):
    """Who sends is told how many were there, and those get it."""

    proves = "whoever drives, sends, freezes, goes and comes back"
    longest = 7
    finale = (Step("sends", {"who": "shop", "package": "O-1", "times": ""}),)

    @step("{who} drives{times}", who=_WHO, times=tuple(_TIMES)[:2])
    async def drives(self, who: str, times: str) -> Expected:
        await self.at_once(*[(who, "drive")] * _TIMES[times])
        self.drivers.add(who)
        return {}

    @step("{who} sends {package!r}{times}", who=_SENDERS, package=_PACKAGES, times=(*_TIMES,)[:2])
    async def sends(self, who: str, package: str, times: str) -> Expected:
        said = [(who, "pickup", package)] * _TIMES[times]
        for count in await self.at_once(*said):
            self.answered(who, count, len(self.drivers))
        return self.to_drivers(*[(package,)] * len(said))

    @step("{who} drives, as the shop sends {package!r}", who=_WHO, package=_PACKAGES)
    async def drives_meanwhile(self, who: str, package: str) -> Expected:
        count, _ = await self.meanwhile(("shop", "pickup", package), (who, "drive"))
        late = who not in self.drivers and not await self.heard(who)
        self.drivers.add(who)
        self.answered("shop", count, len(self.drivers) - late)
        expected = self.to_drivers((package,))
        return {**expected, who: []} if late else expected

    @step("{who} freezes, until the shop has sent {package!r}", who=_WHO, package=_PACKAGES)
    async def freezes_meanwhile(self, who: str, package: str) -> Expected:
        await self.line(who)
        await self.trial.stage.freeze(who)
        expected = await self.sends("shop", package, "")
        await self.trial.settle()
        self.judge({**expected, who: []})
        await self.trial.stage.thaw(who)
        return {name: heard for name, heard in expected.items() if name == who}


class Latest(_Road):
    """The last three are kept, and whoever comes late is sent what it has missed."""

    proves = "whoever drives, sends, goes, and comes back having had any number"
    longest = 7
    finale = (
        Step("drives", {"who": "bob", "last": 0}),
        Step("sends", {"who": "vendor", "package": "O-1", "times": ""}),
    )

    async def opens(self) -> None:
        self.count, self.kept = 0, list[tuple[int, str]]()
        await super().opens()

    @step("{who} drives, and has had {last}", who=_WHO, last=(0, 1, 2, 3, 4, 6))
    async def drives(self, who: str, last: int) -> Expected:
        if last > self.count:
            raise Skip  # nobody can have had it
        (lost,) = await self.at_once((who, "drive", last))
        missed = self.missed(last)
        self.drivers.add(who)
        if await self.heard(who) == missed:
            self.answered(who, lost, self.count - last - len(missed))
        return {who: missed}

    @step("{who} sends {package!r}{times}", who=_SENDERS, package=_PACKAGES, times=(*_TIMES,))
    async def sends(self, who: str, package: str, times: str) -> Expected:
        said = [(who, "pickup", package)] * _TIMES[times]
        await self.at_once(*said)
        expected = self.to_drivers(*(self.comes(package) for _ in said))
        return {who: _in_any_order(await self.heard(who), want) for who, want in expected.items()}

    @step("the shop sends {package!r}, as {who} drives, and has had {last}",
          who=_WHO, last=(0, 1, 2), package=_PACKAGES)  # fmt: skip
    async def is_sent_meanwhile(self, who: str, last: int, package: str) -> Expected:
        if last > self.count or who in self.drivers or not self.drivers:
            raise Skip
        before = self.missed(last)
        _, lost = await self.meanwhile(("shop", "pickup", package), (who, "drive", last))
        new = self.comes(package)
        expected, got = self.to_drivers(new), await self.heard(who)
        # The driver comes before the package, or after it, but gets it, once.
        either = [self.missed(last), [*before, Heard("pickup", new)]]
        want = next((one for one in either if same_in_any_order(got, one)), either[0])
        self.drivers.add(who)
        if same_in_any_order(got, want):
            self.answered(who, lost, self.count - last - len(want))
        return {**expected, who: _in_any_order(got, want)}

    @step("{who} drives, and has had {last}, as the shop sends {package!r}",
          who=_WHO, last=(0, 1, 2), package=_PACKAGES)  # fmt: skip
    async def drives_meanwhile(self, who: str, last: int, package: str) -> Expected:
        if last > self.count or who in self.drivers:
            raise Skip
        lost, _ = await self.meanwhile((who, "drive", last), ("shop", "pickup", package))
        kept = self.missed(last)
        new = self.comes(package)
        expected = self.to_drivers(new)
        got, want = await self.heard(who), [*kept, Heard("pickup", new)]
        if not same_in_any_order(got, want) and same_in_any_order(got, self.missed(last)):
            want = kept = self.missed(last)  # it came before the driver
        self.drivers.add(who)
        if [one for one in got if one in kept] == kept:
            want = _in_any_order(got, want)
        if got == want:
            self.answered(who, lost, self.count - last - len(want))
        return {**expected, who: want}

    def comes(self, package: str) -> tuple[int, str]:
        """Count one more package; return what drivers hear of it."""
        self.count += 1
        self.kept = [*self.kept, (self.count, package)][-3:]
        return self.kept[-1]

    def missed(self, last: int) -> list[Heard]:
        """Return what comes after this number, as far as it is kept."""
        return [Heard("pickup", one) for one in self.kept if one[0] > last]


def _in_any_order(got: list[Heard], want: list[Heard]) -> list[Heard]:
    return got if same_in_any_order(got, want) else want
