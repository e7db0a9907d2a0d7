"""The generated scenes of lesson 02: who goes, and who is there.

Owns the model of who is there under which name. Must not know: how an answer is tried.
"""

from __future__ import annotations

from ...internals.client_tap import Client
from ..scenes import Expected, Skip, step
from .people import PAIRS, WHO, People, both, together

__all__ = ["Goodbyes", "WhoIsThere"]

#: Any text is a name, also an empty one, and one that somebody else has.
_NAMES = ("ada", "bob", "")


class Silence(People):
    """Some are silent for a while: they are there, and read later what was sent to them."""

    async def opens(self) -> None:
        """Begin, with a model of its own."""
        #: What those have to hear as soon as they read again, and those who have begun to.
        self.silent: Expected = {}
        self.due: Expected = {}
        await super().opens()

    async def line(self, who: str) -> Client:
        """See `Scene`."""
        await self.wake(who)
        return await super().line(who)

    async def wake(self, who: str) -> None:
        """Let somebody read again: who speaks or hangs up is silent no more."""
        if who in self.silent:
            await self.trial.stage.thaw(who)
            await self.trial.settle()
            self.due[who] = self.silent.pop(who)

    async def go(self, how: dict[str, str]) -> Expected:
        """See `Goers`; who has lost the connection reads no more."""
        if not {*how} <= {*self.lines}:
            raise Skip
        for who, way in how.items():
            if way != "loses the connection":
                await self.wake(who)
        heard = await super().go(how)
        for who in how:
            self.silent.pop(who, None)
            self.due.pop(who, None)
        return heard

    def judge(self, expected: Expected | None) -> None:
        """See `Scene`; what the silent have to hear is judged when they read again."""
        heard, self.due = together(expected or {}, self.due), {}
        for who, later in self.silent.items():
            later += heard.pop(who, [])
        super().judge(heard)

    @step("{who} is silent", who=WHO)
    async def is_silent(self, who: str) -> Expected:
        """He reads nothing, and the server does not know."""
        if who not in self.lines or who in self.silent:
            raise Skip
        await self.trial.stage.freeze(who)
        self.silent[who] = []
        return {}

    @step("{who} reads again", who=WHO)
    async def reads_again(self, who: str) -> Expected:
        """He reads what has come meanwhile."""
        if who not in self.silent:
            raise Skip
        await self.wake(who)
        return {}


class Goodbyes(Silence):
    """Whoever stays hears why somebody has gone."""

    proves = "whoever goes, how, alone or with another, is silent, reads again, comes back"
    hears: tuple[str, ...] = ("gone",)
    begin = WHO

    def went(self, who: str, reason: str) -> Expected:
        """See `Goers`."""
        return self.to(self.there, "gone", reason)


class WhoIsThere(Silence):
    """Whoever has said a name is on the list until he is gone, and then he is missed."""

    proves = "whoever says which name, asks, is silent, goes and comes back"
    hears: tuple[str, ...] = ("left",)

    async def opens(self) -> None:
        """Begin, with a model of its own."""
        self.names: dict[str, str] = {}
        await super().opens()

    def went(self, who: str, reason: str) -> Expected:
        """See `Goers`."""
        return self.to(self.there, "left", self.names.pop(who)) if who in self.names else {}

    @step("{who} says the name {name!r}", who=WHO, name=_NAMES)
    async def says_a_name(self, who: str, name: str) -> Expected:
        """He is there from now on, or has another name."""
        await self.emit(who, "here", name)
        self.names[who] = name
        return {}

    @step(
        "{pair} say the names {first!r} and {second!r} at once",
        pair=PAIRS, first=_NAMES, second=_NAMES,
    )  # fmt: skip
    async def both_say_a_name(self, pair: str, first: str, second: str) -> Expected:
        """Two come to the list beside each other."""
        names = dict(zip(both(pair), (first, second), strict=True))
        await self.come(*names)
        for who, name in names.items():
            await self.emit(who, "here", name)
        self.names |= names
        return {}

    @step("{who} asks who is there", who=WHO)
    async def asks_who(self, who: str) -> Expected:
        """He may be on the list himself, or not."""
        self.answered(who, await self.asks(who, "who"), sorted(self.names.values()))
        return {}
