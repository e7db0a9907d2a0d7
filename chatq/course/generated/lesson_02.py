"""The generated scenes of lesson 02: who goes, and who is there.

Owns the model of who is there under which name. Must not know: how an answer is tried.
"""

from __future__ import annotations

from typing import ClassVar

from ..scenes import Expected, Skip, step
from .people import WHO, People

__all__ = ["Goodbyes", "WhoIsThere"]

#: Any text is a name, also an empty one, and one that somebody else has.
_NAMES = ("ada", "bob", "")


class Goodbyes(People):
    """Whoever stays hears why somebody has gone."""

    proves = "whoever goes, in which way, alone or at once with another, and comes back"
    hears: ClassVar[tuple[str, ...]] = ("gone",)

    def went(self, who: str, reason: str) -> Expected:
        return self.to(self.there, "gone", reason)


class WhoIsThere(People):
    """Whoever has said a name is on the list until he is gone, and then he is missed."""

    proves = "whoever says which name, asks, is silent, goes and comes back"
    hears: ClassVar[tuple[str, ...]] = ("left",)

    async def opens(self) -> None:
        self.names: dict[str, str] = {}
        await super().opens()

    def went(self, who: str, reason: str) -> Expected:
        return self.to(self.there, "left", self.names.pop(who)) if who in self.names else {}

    @step("{who} says the name {name!r}", who=WHO, name=_NAMES)
    async def says_a_name(self, who: str, name: str) -> Expected:
        """He is there from now on, or has another name."""
        await self.emit(who, "here", name)
        self.names[who] = name
        return {}

    @step(
        "{one} says the name {name!r}, and at once {other} {second!r}",
        one=WHO,
        name=_NAMES,
        other=WHO,
        second=_NAMES,
    )
    async def both_say_a_name(self, one: str, name: str, other: str, second: str) -> Expected:
        """Two come to the list beside each other."""
        if one == other:
            raise Skip
        await self.come(one, other)
        await self.emit(one, "here", name)
        await self.emit(other, "here", second)
        self.names |= {one: name, other: second}
        return {}

    @step("{who} asks who is there", who=WHO)
    async def asks_who(self, who: str) -> Expected:
        """He may be on the list himself, or not."""
        self.answered(who, await self.asks(who, "who"), sorted(self.names.values()))
        return {}
