"""The hub of lesson 07 in generated scenes: who comes and goes, and how it is stopped and killed.

Owns the steps and deaths that several exercises share. Must not know: how an answer is tried, what
waits for whom.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from ...internals.client_events import around_handlers
from ..scenes import Expected, Scene, step

__all__ = ["DIES", "GOES", "NEAR", "PACKAGES", "READERS", "SENT", "Hub", "MortalHub", "box_of"]

READERS = ("ada", "bob")
#: Few, so that equal ones are likely; a column of numbers would take "007" for 7.
PACKAGES = ("O-1", "pizza", "", "007")
GOES = ("hangs up", "loses the connection")
DIES = "asks, and dies before it reads"
#: What the vendor sends, in words.
SENT = {
    "'O-1'": ["O-1"],
    "'O-1' and 'pizza'": ["O-1", "pizza"],
    "'O-1' twice": ["O-1", "O-1"],
    "''": [""],
    "'007' and 'O-1'": ["007", "O-1"],
    "'o-1' and 'O-1'": ["o-1", "O-1"],
    "'O-1' and 'O_1'": ["O-1", "O_1"],
}
#: Those of them that are nearly the same.
NEAR = (*SENT,)[-2:]


def box_of(who: str) -> str:
    """Return whose box this client reads."""
    return "ada" if who == "helper" else who


class Hub(Scene):
    """A hub to which a vendor and readers come, and go."""

    hears: tuple[str, ...] = ("pickup",)

    @step("{who} {how}", who=READERS, how=GOES)
    async def goes(self, who: str, how: str) -> Expected:
        await self.line(who)
        if how == DIES:
            await self.emit(who, "get-all", box_of(who))
            await self.trial.stage.freeze(who)
            await self.trial.settle()
        line = self.gone(who)
        await (line.disconnect() if how == GOES[0] else self.trial.stage.cut(who))
        return {}


class MortalHub(Hub):
    """And the hub may be stopped or killed at any time."""

    in_processes = True
    longest = 6

    @step("the hub is {how}, and started again", how=("killed", "stopped"))
    async def starts_again(self, how: str) -> Expected:
        if how == "killed":
            self.dies()
        await self.trial.stop()
        self.lines.clear()
        await self.opens()
        return {}

    async def dies_after(self, who: str, event: str, *data: Any) -> None:
        """Emit this, and kill the hub when its handler has returned: nobody is told of it."""
        await self.line(who)
        await self.trial.settle()
        around_handlers(self.trial.sio, self._last)
        await self.emit(who, event, *data)
        await self.trial.settle()
        self.dies()

    async def _last(self, work: Awaitable[Any], *_: Any) -> None:
        await work
        self.dies()

    async def dies_writing(self, who: str, event: str, *data: Any) -> None:
        """Emit this, and kill the hub when its handler has emptied a file that it writes anew, or
        else when it has returned: what a file holds then is what the next hub finds."""
        await self.line(who)
        await self.trial.settle()
        around_handlers(self.trial.sio, self._last_write)
        await self.emit(who, event, *data)
        await self.trial.settle()
        self.dies()

    async def _last_write(self, work: Awaitable[Any], *_: Any) -> None:
        full = [file for file in self.trial.folder.iterdir() if file.stat().st_size]

        def watch(_: FrameType, what: str, __: Any) -> None:
            if what == "c_return" and any(not one.stat().st_size for one in full if one.exists()):
                self.dies()

        sys.setprofile(watch)
        try:
            await work
        finally:
            sys.setprofile(None)
        self.dies()

    async def dies_sending(self, who: str) -> None:
        """Ask, and kill the hub when it has emitted the first package."""
        await self.line(who)
        await self.trial.settle()
        emit: Callable[..., Awaitable[Any]] = self.trial.sio.emit

        async def last(*given: Any, **options: Any) -> None:
            await emit(*given, **options)
            self.dies()

        self.trial.sio.emit = last
        await self.emit(who, "get-all", box_of(who))
        await self.trial.settle()
        self.dies()
