"""The generated scenes of lesson 04: passwords, and rooms for their members.

Owns the model of who is in which room. Must not know: how an answer is tried.
"""

from __future__ import annotations

from typing import Any

from ..scenes import Expected, Scene, Skip, step

__all__ = ["WORDS", "Doors", "Members"]

#: The password of each room.
WORDS = {"book club": "moby-dick", "cooks": "saffron"}

_WHO = ("ada", "bob", "cy")
#: One of them has no word.
_ROOMS = (*WORDS, "attic")
_ROOMS_AND_NONE = (*WORDS, *WORDS, *WORDS, "attic", "", None)
#: Right for one of the rooms, and what is nearly right, or nothing.
_TRIES = (*WORDS.values(), "", None, "moby", "moby-dick!", "Moby-Dick", " moby-dick", "book club")


class _House(Scene):
    """Whoever has said a room's word is in, and is answered so."""

    async def opens(self) -> None:
        self.inside: dict[Any, set[str]] = {room: set() for room in _ROOMS}
        await self.trial.serve({**WORDS})

    @step("{who} joins {room!r} with the word {word!r}", who=_WHO, room=_ROOMS, word=_TRIES)
    async def joins(self, who: str, room: str, word: str | None) -> Expected:
        right = word is not None and WORDS.get(room) == word
        answer = await self.asks(who, "join", room, word)
        if right:
            self.inside[room].add(who)
        self.answered(who, answer, right)
        return {}

    @step("{who} joins {room!r} with its word", who=_WHO, room=tuple(WORDS))
    async def joins_rightly(self, who: str, room: str) -> Expected:
        return await self.joins(who, room, WORDS[room])


class Doors(_House):
    """Whoever is in hears what is said there."""

    proves = "whoever tries which word at which room, hangs up and comes back"
    hears = ("said",)

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


class Members(_House):
    """Whoever is in may speak and leave, and those who are with him hear when he is gone."""

    proves = "whoever joins, speaks, leaves, is gone or only says so, and comes back"
    hears = ("said", "left")
    ordered = False  # news of several rooms

    @step("all three join {room!r}", room=tuple(WORDS))
    async def all_join(self, room: str) -> Expected:
        for who in _WHO:
            await self.joins(who, room, WORDS[room])
        return {}

    @step("{who} says {text!r} in {room!r}", who=_WHO, room=_ROOMS_AND_NONE, text=("hi", ""))
    async def says(self, who: str, room: str | None, text: str) -> Expected:
        await self.emit(who, "say", room, text)
        inside = self.inside.get(room, set())
        return self.to(inside - {who}, "said", text) if who in inside else {}

    @step("{who} leaves {room!r}", who=_WHO, room=_ROOMS_AND_NONE)
    async def leaves(self, who: str, room: str | None) -> Expected:
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

    @step("{who} is silent until the server gives up", who=_WHO)
    async def is_silent(self, who: str) -> Expected:
        await self.is_given_up(self.gone(who))
        return self._without(who, [*self.inside])

    @step("the server shows {who} the door", who=_WHO)
    async def is_shown_the_door(self, who: str) -> Expected:
        await self.trial.sio.disconnect(self.gone(who).get_sid())
        return self._without(who, [*self.inside])

    @step("{who} emits an event named 'disconnect', and stays", who=_WHO)
    async def claims_to_go(self, who: str) -> Expected:
        """It has left then, or it has not: but what the others hear has to be true."""
        rooms = [room for room, members in self.inside.items() if who in members]
        if not rooms or not all(len(self.inside[room]) > 1 for room in rooms):
            raise Skip  # nobody would hear which of the two it is
        await self.emit(who, "disconnect", "client disconnect")
        heard = [name for name in self.there if await self.heard(name)]
        return self._without(who, rooms) if heard else {}

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
