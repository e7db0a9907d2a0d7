"""The generated scenes of lesson 03: what is said to the others, and to a room.

Owns the model of who is in which room. Must not know: how an answer is tried.
"""

from __future__ import annotations

from ..scenes import Expected, step
from .people import PAIRS, WHO, People, Talk, both, together

__all__ = ["AllOthers", "Whispers"]

#: Two that are nearly the same, and one.
_ROOMS = ("balcony", "balcony", "balcony", "kitchen", "Balcony ", "balcony 2")
#: One of the texts is the name of a room.
_TEXTS = ("hi", "", "balcony")


class AllOthers(Talk):
    """All but the speaker hear what is said, once."""

    proves = "whoever dials, speaks, goes and comes back, in turn or at once"

    def audience(self, speaker: str) -> list[str]:
        """See `Talk`."""
        return [who for who in self.there if who != speaker]


class Whispers(People):
    """All in a room but the speaker hear what is whispered there, once."""

    proves = "whoever enters which rooms, whispers to one, goes and comes back"
    hears: tuple[str, ...] = ("news",)

    async def opens(self) -> None:
        """Begin, with a model of its own."""
        self.inside: dict[str, set[str]] = {room: set() for room in _ROOMS}
        await super().opens()

    def went(self, who: str, reason: str) -> Expected:
        """See `Goers`."""
        for members in self.inside.values():
            members.discard(who)
        return {}

    def whispered(self, who: str, room: str, text: str) -> Expected:
        """Return who has to hear this."""
        return self.to(self.inside[room] - {who}, "news", text)

    @step("{who} enters {room!r}", who=WHO, room=_ROOMS)
    async def enters(self, who: str, room: str) -> Expected:
        """He is in that room from now on."""
        await self.emit(who, "here", room)
        self.inside[room].add(who)
        return {}

    @step("{pair} enter {first!r} and {second!r} at once", pair=PAIRS, first=_ROOMS, second=_ROOMS)
    async def both_enter(self, pair: str, first: str, second: str) -> Expected:
        """Two enter beside each other."""
        await self.come(*both(pair))
        for who, room in zip(both(pair), (first, second), strict=True):
            await self.emit(who, "here", room)
            self.inside[room].add(who)
        return {}

    @step("{who} whispers {text!r} to {room!r}", who=WHO, text=_TEXTS, room=_ROOMS)
    async def whispers(self, who: str, text: str, room: str) -> Expected:
        """He may be in that room, or not."""
        await self.emit(who, "whisper", room, text)
        return self.whispered(who, room, text)

    @step(
        "{pair} whisper {text!r} to {first!r} and {reply!r} to {second!r} at once",
        pair=PAIRS, text=_TEXTS, first=_ROOMS, reply=_TEXTS, second=_ROOMS,
    )  # fmt: skip
    async def both_whisper(
        self, pair: str, text: str, first: str, reply: str, second: str
    ) -> Expected:
        """Two whisper beside each other."""
        one, other = both(pair)
        await self.come(one, other)
        await self.emit(one, "whisper", first, text)
        await self.emit(other, "whisper", second, reply)
        return together(self.whispered(one, first, text), self.whispered(other, second, reply))
