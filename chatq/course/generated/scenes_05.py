"""The generated scenes of lesson 05: two channels, and one for the staff.

Owns the model of who is inside where, and the look-up of keys. Must not know: how an answer is
tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ...internals.client_tap import Client
from ...journal.accounting import cause
from ...journal.activity import NotSettled
from ..invariants import Wrong
from ..scenes import Expected, Skip, step
from .people import PAIRS, TEXTS, WHO, Goers, both, together

__all__ = ["BAR", "KITCHEN", "STAFF", "Channels", "LookUp", "StaffOnly"]

BAR, KITCHEN, STAFF = "/bar", "/kitchen", "/staff"
_PLACES = (BAR, KITCHEN)
_BOTH = f"{BAR} and {KITCHEN}"

_T = TypeVar("_T")


class Channels(Goers):
    """What is said in a place is heard there, once, and nowhere else."""

    proves = "whoever is in which of the two, or both, speaks there, goes and comes back"
    hears: tuple[str, ...] = ("news",)

    async def opens(self) -> None:
        """Begin, with a model of its own."""
        #: Where each one is who is on the line.
        self.places: dict[str, list[str]] = {}
        await super().opens()

    async def dial(self, who: str) -> Client:
        """See `Scene`; he connects to the places where he is to be."""
        client = await self.trial.stage.client(who, connect=False)
        for place in _PLACES:
            self.listen(client, place)
        await self.trial.enters(client, self.places.setdefault(who, [*_PLACES]))
        return client

    def went(self, who: str, reason: str) -> Expected:
        """See `Goers`."""
        del self.places[who]
        return {}

    def said(self, place: str, text: str) -> Expected:
        """Return who has to hear this."""
        inside = [who for who, places in self.places.items() if place in places]
        return self.to(inside, "news", text, namespace=place)

    async def speaks(self, who: str, text: str, place: str) -> None:
        """Emit this from somebody who is in that place."""
        client = await self.line(who)
        if place not in self.places[who]:
            raise Skip
        await client.emit("say", text, namespace=place)

    @step("{who} says {text!r} in {place}", who=WHO, text=TEXTS, place=_PLACES)
    async def says(self, who: str, text: str, place: str) -> Expected:
        """He speaks, and dials both before if need be."""
        await self.speaks(who, text, place)
        return self.said(place, text)

    @step(
        "{pair} say {text!r} in {first} and {reply!r} in {second} at once",
        pair=PAIRS, text=TEXTS, first=_PLACES, reply=TEXTS, second=_PLACES,
    )  # fmt: skip
    async def both_say(self, pair: str, text: str, first: str, reply: str, second: str) -> Expected:
        """Two speak beside each other, in one place or in both."""
        one, other = both(pair)
        await self.line(one)
        await self.line(other)
        if first not in self.places[one] or second not in self.places[other]:
            raise Skip
        await self.speaks(one, text, first)
        await self.speaks(other, reply, second)
        return together(self.said(first, text), self.said(second, reply))

    @step("{who} dials {places}", who=WHO, places=(_BOTH, *_PLACES))
    async def dials(self, who: str, places: str) -> Expected:
        """He comes, or comes back, perhaps to another place."""
        if who in self.lines:
            await self.go({who: "hangs up"})
        self.places[who] = both(places)
        await self.line(who)
        return {}

    @step("{who} is shown out of {place}", who=WHO, place=_PLACES)
    async def is_shown_out(self, who: str, place: str) -> Expected:
        """He stays in the other place, if he is there."""
        if place not in self.places.get(who, []):
            raise Skip
        await self.trial.sio.disconnect(self.lines[who].get_sid(place), place)
        self.places[who].remove(place)
        if not self.places[who]:
            del self.lines[who], self.places[who]
        return {}


class LookUp:
    """Tells whose key it is; slowly for those who `wait` at the door."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys
        self._asked, self._goes_on = asyncio.Event(), asyncio.Event()
        self._goes_on.set()
        self._waiting = 0

    async def who_is(self, key: object) -> str | None:
        """Return whose key it is."""
        if cause.get() is None:  # a handler of an event may ask, too, and is answered at once
            self._waiting += 1
            self._asked.set()
            await self._goes_on.wait()
        return self._keys.get(key) if isinstance(key, str) else None

    async def wait(
        self, dialling: list[Coroutine[Any, Any, _T]], doing: Coroutine[Any, Any, None]
    ) -> tuple[list[_T], bool]:
        """Let some dial at once, and do something before there is a result for any of them.

        Return what comes of them, and whether all of them were waiting for a result meanwhile.
        """
        self._waiting = 0
        self._asked.clear()
        self._goes_on.clear()
        dials = [asyncio.create_task(one) for one in dialling]
        asked = asyncio.create_task(self._asked.wait())
        over = asyncio.gather(*dials)
        try:
            first: set[asyncio.Future[Any]] = {over, asked}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                return await over, False
            await doing
            waiting = self._waiting
            self._goes_on.set()
            return await over, waiting >= len(dials)
        finally:
            self._goes_on.set()
            doing.close()
            for task in (over, asked):
                task.cancel()


#: Whose key it is.
_KEYS = {"red": "ada", "blue": "bob", "7": "cy"}
_OWN = {owner: key for key, owner in _KEYS.items()}
_SOME = ("red", "blue", "pink")
#: What is nearly right, of another kind, or nothing.
_NO_AUTH: tuple[Any, ...] = (
    None, {}, {"key": None}, {"key": ""}, {"key": ["red"]}, {"key": "RED"}, {"key": "red "},
    {"key": 7}, {"name": "red"}, "red", ["red"], 1, True,
)  # fmt: skip


class StaffOnly(Goers):
    """Who has a good key is inside; who is inside hears what is said there, and by whom."""

    proves = "whoever dials with which key, or none, waits at the door, speaks, goes, comes back"
    hears: tuple[str, ...] = ("news",)

    async def opens(self) -> None:
        """Begin, with a model of its own."""
        #: Whose key they had who are inside.
        self.names: dict[str, str] = {}
        self.look_up = LookUp(_KEYS)
        await self.trial.serve(self.look_up.who_is)

    async def knocks(self, who: str, auth: Any) -> None:
        """Dial with this."""
        client = await self.trial.stage.client(who, connect=False)
        self.listen(client, STAFF)
        refusals = await self.trial.knocks(client, [STAFF], auth=auth)
        word = refusals.get(STAFF, "the server does not answer")
        key = auth.get("key") if isinstance(auth, dict) else None
        name = _KEYS.get(key) if isinstance(key, str) else None
        if self.trial.stage.connected(who, STAFF):
            self.lines[who], word = client, ""
        expected = "you are not staff" if name is None else ""
        if word != expected:
            raise Wrong(client=who, expected=_at_the_door(expected), got=_at_the_door(word))
        if name is not None:
            self.names[who] = name

    async def enters(self, who: str) -> None:
        """Let somebody who is not inside dial with his own key."""
        if who not in self.lines:
            await self.knocks(who, {"key": _OWN[who]})

    async def leaves(self, *who: str) -> None:
        """Let those hang up who are on the line."""
        if there := {one: "hangs up" for one in who if one in self.lines}:
            await self.go(there)

    def went(self, who: str, reason: str) -> Expected:
        """See `Goers`."""
        del self.names[who]
        return {}

    async def speaks(self, who: str, text: str) -> Expected:
        """Emit this from somebody who is inside; return who has to hear it."""
        await self.lines[who].emit("say", text, namespace=STAFF)
        return self.to(self.there, "news", f"{self.names[who]}: {text}", namespace=STAFF)

    @step("{who} says {text!r}", who=WHO, text=TEXTS)
    async def says(self, who: str, text: str) -> Expected:
        """He speaks, and dials before if need be."""
        await self.enters(who)
        return await self.speaks(who, text)

    @step("{who} dials with the key {key!r}", who=WHO, key=_SOME)
    async def dials(self, who: str, key: str) -> Expected:
        """He comes, or comes back, perhaps as somebody else."""
        await self.leaves(who)
        await self.knocks(who, {"key": key})
        return {}

    @step("{who} dials with {auth!r} as auth", who=WHO, auth=_NO_AUTH)
    async def dials_without(self, who: str, auth: Any) -> Expected:
        """He is refused."""
        await self.leaves(who)
        await self.knocks(who, auth)
        return {}

    @step("{pair} say {first!r} and {second!r} at once", pair=PAIRS, first=TEXTS, second=TEXTS)
    async def both_say(self, pair: str, first: str, second: str) -> Expected:
        """Two speak beside each other."""
        one, other = both(pair)
        await self.enters(one)
        await self.enters(other)
        return together(await self.speaks(one, first), await self.speaks(other, second))

    @step(
        "{who} says {text!r}, with the others at the door with the keys {first!r} and {second!r}",
        who=WHO, text=TEXTS, first=_SOME, second=_SOME,
    )  # fmt: skip
    async def says_meanwhile(self, who: str, text: str, first: str, second: str) -> Expected:
        """Who waits hears nothing; then each is let in, or refused."""
        others = [one for one in WHO if one != who]
        await self.leaves(*others)
        await self.enters(who)
        news: Expected = {}

        async def secret() -> None:
            nonlocal news
            news = await self.speaks(who, text)
            # While somebody waits, the stage does not settle.
            with suppress(NotSettled):  # what was not heard by then is judged
                await self.trial.stage.until(lambda: self.inbox(who), "the news", within=3)

        keys = zip(others, (first, second), strict=True)
        dialling = [self.knocks(one, {"key": key}) for one, key in keys]
        _, all_waited = await self.look_up.wait(dialling, secret())
        if not all_waited:  # who is known already need not be asked about, and may be inside
            await self.trial.settle()
            for one in others:
                self.inbox(one).clear()
                news.pop(one, None)
        return news

    @step(
        "{who} dials with the key {key!r}, and loses the connection at the door", who=WHO, key=_SOME
    )
    async def gives_up(self, who: str, key: str) -> Expected:
        """He is gone before the look-up has ended."""
        await self.leaves(who)
        client = await self.trial.stage.client(who, connect=False)
        self.listen(client, STAFF)
        dialling = self.trial.knocks(client, [STAFF], auth={"key": key})

        async def goes() -> None:
            await self.trial.stage.cut(client)
            await client.tasks.cancel()  # it would wait for an answer

        await self.look_up.wait([dialling], goes())
        if client.connected:  # it was let in without a look-up
            await client.disconnect()
        return {}


def _at_the_door(word: str) -> str:
    return f"is refused, and told {word!r}" if word else "is let in"
