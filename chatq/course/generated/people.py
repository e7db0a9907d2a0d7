"""People who dial, come back, and go in every way: the steps that the first lessons share.

Owns who is on the line. Must not know: what is said there, how an answer is tried.
"""

from __future__ import annotations

import asyncio

from ...internals.client_tap import Client
from ..scenes import Expected, Heard, Scene, Skip, step

__all__ = ["PAIRS", "TEXTS", "WHO", "Goers", "People", "Talk", "both", "together"]

WHO = ("ada", "bob", "cy")
PAIRS = ("ada and bob", "ada and cy", "bob and cy")
#: Any text is a text, also an empty one, and one that is nearly another.
TEXTS = ("hi", "", " hi", "hi\nho")
#: The ways to go that a client has, with the reason that the server is given.
GOODBYES = {"hangs up": "client disconnect", "loses the connection": "transport close"}
#: And those of the server.
_BY_SERVER = {
    "is shown the door": "server disconnect",
    "is silent until the server gives up": "ping timeout",
}
#: What two do at once.
_TOGETHER = {
    "hang up": ("hangs up", "hangs up"),
    "lose the connection": ("loses the connection", "loses the connection"),
    "hang up and lose the connection": ("hangs up", "loses the connection"),
}


def both(pair: str) -> list[str]:
    """Return the names of a pair."""
    return pair.split(" and ")


def together(*parts: Expected) -> Expected:
    """Return all that has to be heard of several things."""
    heard: dict[str, list[Heard]] = {}
    for part in parts:
        for name, news in part.items():
            heard[name] = heard.get(name, []) + news
    return heard


class Goers(Scene):
    """They go. `went` says what has to be heard of it."""

    longest: int = 8
    ordered: bool = False  # several do something at once

    def went(self, who: str, reason: str) -> Expected:
        """Note that this one has gone; return what those who are still there have to hear."""
        return {}

    async def go(self, how: dict[str, str]) -> Expected:
        """Let these go, at once, each in its way."""
        if not {*how} <= {*self.lines}:
            raise Skip
        clients = {who: self.gone(who) for who in how}
        await asyncio.gather(*(self._go(clients[who], way) for who, way in how.items()))
        await self.trial.settle()
        for who in how:  # what they hear of each other's going, and of their own, is all the same
            self.inbox(who).clear()
        reasons = GOODBYES | _BY_SERVER
        return together(*(self.went(who, reasons[way]) for who, way in how.items()))

    async def _go(self, client: Client, how: str) -> None:
        match how:
            case "hangs up":
                await client.disconnect()
            case "loses the connection":
                await self.trial.stage.cut(client)
            case "is shown the door":
                for namespace, sid in [*client.namespaces.items()]:
                    await self.trial.sio.disconnect(sid, namespace)
            case _:
                await self.is_given_up(client, next(iter(client.namespaces)))

    @step("{who} {how}", who=WHO, how=(*GOODBYES, *_BY_SERVER))
    async def goes(self, who: str, how: str) -> Expected:
        """He goes."""
        return await self.go({who: how})

    @step("{pair} {how} at once", pair=PAIRS, how=(*_TOGETHER,))
    async def both_go(self, pair: str, how: str) -> Expected:
        """They go beside each other."""
        return await self.go(dict(zip(both(pair), _TOGETHER[how], strict=True)))


class People(Goers):
    """And they dial. `came` says what has to be heard of it."""

    #: Who is on the line when the scene begins.
    begin: tuple[str, ...] = ("ada", "bob")

    async def opens(self) -> None:
        """Begin: let some dial."""
        await super().opens()
        for who in self.begin:
            await self.line(who)

    def came(self, who: str) -> Expected:
        """Note that this one is on the line now; return what has to be heard of it."""
        return {}

    async def come(self, *who: str) -> Expected:
        """Let those dial, at once, who are not there."""
        new = [one for one in dict.fromkeys(who) if one not in self.lines]
        await asyncio.gather(*map(self.line, new))
        await self.trial.settle()
        return together(*map(self.came, new))

    async def come_anew(self, *who: str) -> Expected:
        """Let these dial at once; those who are there hang up before."""
        there = {one: "hangs up" for one in who if one in self.lines}
        return together(await self.go(there), await self.come(*who))

    @step("{who} dials (again)", who=WHO)
    async def dials(self, who: str) -> Expected:
        """He comes, or comes back."""
        return await self.come_anew(who)

    @step("{pair} dial (again) at once", pair=PAIRS)
    async def both_dial(self, pair: str) -> Expected:
        """They come, or come back, beside each other."""
        return await self.come_anew(*both(pair))


class Talk(People):
    """And they say something. `says` says what has to be heard of it."""

    hears: tuple[str, ...] = ("news",)

    def audience(self, speaker: str) -> list[str]:
        """Return those who have to hear what he says."""
        return self.there

    def said(self, *words: tuple[str, str]) -> Expected:
        """Note what was said at once, and by whom; return what has to be heard of it."""
        return together(*(self.to(self.audience(who), "news", text) for who, text in words))

    @step("{who} says {text!r}", who=WHO, text=TEXTS)
    async def says(self, who: str, text: str) -> Expected:
        """He speaks, and dials before if need be."""
        greeting = await self.come(who)
        await self.emit(who, "say", text)
        return together(greeting, self.said((who, text)))

    @step("{pair} say {first!r} and {second!r} at once", pair=PAIRS, first=TEXTS, second=TEXTS)
    async def both_say(self, pair: str, first: str, second: str) -> Expected:
        """Two speak beside each other."""
        greeting = await self.come(*both(pair))
        words = [*zip(both(pair), (first, second), strict=True)]
        for who, text in words:
            await self.emit(who, "say", text)
        return together(greeting, self.said(*words))
