"""The generated scenes of lesson 04: passwords, and rooms for their members.

Owns the model of who is in which room. Must not know: how an answer is tried.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..scenes import Expected, Scene, Skip, step

__all__ = ["WORDS", "Doors", "Members"]

#: The password of each room.
WORDS = {"book club": "moby-dick", "cooks": "saffron"}

_WHO = ("ada", "bob", "cy")
_ROOMS = (*WORDS, "attic")
#: Right for one of the rooms, and what is nearly right, or nothing.
_TRIES: tuple[Any, ...] = (
    *WORDS.values(), "", None, "moby", "moby-dick and more", "MOBY-DICK", 0, True, ["moby-dick"],
)  # fmt: skip


class Doors(Scene):
    """Who has said the right word is in; whoever is in hears what is said there."""

    proves = "whoever tries which word at which room, and hangs up"
    hears: ClassVar[tuple[str, ...]] = ("said",)

    async def opens(self) -> None:
        self.inside: dict[Any, set[str]] = {room: set() for room in _ROOMS}
        await self.trial.serve({**WORDS})

    @step("{who} tries the word {word!r} at {room!r}", who=_WHO, room=_ROOMS, word=_TRIES)
    async def tries(self, who: str, room: str, word: Any) -> Expected:
        right = type(word) is str and WORDS.get(room) == word
        answer = await self.asks(who, "join", room, word)
        if right:
            self.inside[room].add(who)
        self.answered(who, answer, right)
        return {}

    @step("the server speaks in {room!r}", room=_ROOMS)
    async def speaks(self, room: str) -> Expected:
        await self.trial.sio.emit("said", "hello", to=room)
        return self.to(self.inside[room], "said", "hello")

    @step("{who} hangs up", who=_WHO)
    async def hangs_up(self, who: str) -> Expected:
        await self.gone(who).disconnect()
        for members in self.inside.values():
            members.discard(who)
        return {}


class Members(Doors):
    """And who is in may speak, leave, and is missed when he is gone."""

    proves = "whoever joins, speaks, leaves or is gone"
    hears = ("said", "left")
    ordered = False  # the news of several rooms

    @step("{who} joins {room!r}", who=_WHO, room=tuple(WORDS))
    async def joins(self, who: str, room: str) -> Expected:
        await self.emit(who, "join", room, WORDS[room])
        self.inside[room].add(who)
        return {}

    @step("{who} says {text!r} in {room!r}", who=_WHO, room=(*_ROOMS, "", None), text=("hi", ""))
    async def says(self, who: str, room: Any, text: str) -> Expected:
        await self.emit(who, "say", room, text)
        inside = self.inside.get(room, set())
        return self.to(inside - {who}, "said", text) if who in inside else {}

    @step("{who} leaves {room!r}", who=_WHO, room=(*_ROOMS, "", None))
    async def leaves(self, who: str, room: Any) -> Expected:
        await self.emit(who, "leave", room)
        return self._without(who, [room])

    @step("{who} hangs up", who=_WHO)
    async def hangs_up(self, who: str) -> Expected:
        await self.gone(who).disconnect()
        return self._without(who, [*self.inside])

    @step("{who} loses the connection", who=_WHO)
    async def is_cut(self, who: str) -> Expected:
        self.gone(who)
        await self.trial.stage.cut(who)
        return self._without(who, [*self.inside])

    @step("{who} emits an event named 'disconnect'", who=_WHO)
    async def claims_to_go(self, who: str) -> Expected:
        if who not in self.lines:
            raise Skip
        await self.emit(who, "disconnect", "client disconnect")
        return {}

    def _without(self, who: str, rooms: list[Any]) -> Expected:
        """Take somebody off these rooms; return what the others hear of it."""
        expected: Expected = {}
        for room in rooms:
            inside = self.inside.get(room, set())
            if who in inside:
                inside.remove(who)
                for name, heard in self.to(inside, "left", room).items():
                    expected.setdefault(name, []).extend(heard)
        return expected
