"""The generated scenes of exercise 07.6: a reader that does no work twice, and leaves none out.

Owns the model of what was sent and what was done. Must not know: how an answer is tried.
"""

from __future__ import annotations

import asyncio
from collections import deque

import socketio  # type: ignore[import-untyped]

from ...journal.facts import Received
from ...queues.rules import Rules
from ..invariants import Wrong, times
from ..queue_trial import Errands
from ..scenes import Expected, Scene, Skip, Step, step

__all__ = ["Reader"]

_QUEUE = "drivers"
#: So many attempts that no message dies.
_RULES = Rules(lease=30, attempts=1000)
#: Longer than any lease, and than any wait after a failure.
_LONG = 61
#: Few, so that equal ones are likely.
_PACKAGES = ("pizza", "O-1", "")
#: What happens then: to the next work, or to the next answer, be it with work or without.
_FAILS, _IS_CUT = ", and the next work fails", ", and ada's cable is cut after her next work"
_UNANSWERED = ", and ada's cable is cut before her next answer"


class _FlatTyre(RuntimeError):
    """The error of the work that fails."""


class Reader(Scene):
    """What was sent is done once, as soon as nothing is in the way, and answered for."""

    longest = 6
    proves = "whatever is sent, with work that fails, a cable cut, a hub started again"
    finale = (Step("a_minute_passes", {"then": ""}),) * 2  # all is well for a while

    async def opens(self) -> None:
        """Let ada read the queue."""
        self.errands = await Errands.open(self.trial, _RULES)
        self.sent: list[str] = []
        self.done: list[str] = []
        #: What happens next.
        self.then = ""
        #: Whether all that ada got was done, and her answer came, as far as it is her part.
        self.sound = True
        self.frozen = False
        self.loop = asyncio.get_running_loop()
        self.ada = await self.trial.equipped("ada", self.work)
        self.trial.stage.listen(self._noted)
        await self._dials()

    async def _dials(self) -> None:
        if not self.ada.connected:
            await self.ada.connect()
            await self.errands.go_to(self.ada)

    def work(self, package: str) -> None:
        """Do the work, or raise."""
        if self.then == _FAILS:
            self.then, self.sound = "", False
            raise _FlatTyre(f"flat tyre, with {package!r} on board")
        self.done.append(package)
        if self.then == _IS_CUT and self.ada.connected:
            self.then, self.sound = "", False
            try:
                asyncio.get_running_loop()
            except RuntimeError:  # the answer works in a thread
                self.loop.call_soon_threadsafe(self.ada.cut)
            else:
                self.ada.cut()

    def _noted(self) -> None:
        """Cut the cable between what has come and its answer, if that is to be."""
        if self.then == _UNANSWERED and self.ada.connected and not self.frozen:
            match deque(self.trial.stage.journal, maxlen=1):
                case [Received(client="ada")]:
                    self.then, self.sound = "", False
                    self.ada.cut()

    @step(
        "the vendor sends {package!r}{then}",
        package=_PACKAGES,
        then=("", _FAILS, _IS_CUT, _UNANSWERED),
    )
    async def sends(self, package: str, then: str) -> Expected:
        """One message."""
        return await self._send(then, package)

    @step(
        "the vendor sends {one!r} and {two!r} at once{then}",
        one=_PACKAGES,
        two=_PACKAGES,
        then=("", _FAILS, _IS_CUT, _UNANSWERED),
    )
    async def sends_two(self, one: str, two: str, then: str) -> Expected:
        """Two messages, out at the same time."""
        return await self._send(then, one, two)

    async def _send(self, then: str, *packages: str) -> Expected:
        self.then = then
        self.sent += packages
        await self.errands.put_at_once(*packages)
        return await self._judged()

    @step("ada is on the line for a minute{then}", then=("", _UNANSWERED, _FAILS))
    async def a_minute_passes(self, then: str) -> Expected:
        """Whatever is not answered for comes again."""
        await self._dials()
        self.then = then
        self.sound = self.sound or self._reads
        self.errands.later(_LONG)
        expected = await self._judged()
        self.then = ""  # it may have had no occasion
        return expected

    @step("ada's cable is cut")
    async def is_cut(self) -> Expected:
        """What is sent now waits for her."""
        if not self.ada.connected:
            raise Skip
        self.ada.cut()
        self.frozen = False
        return await self._judged()

    @step("ada's computer freezes")
    async def freezes(self) -> Expected:
        """What comes meanwhile is read when it goes on, also what came twice."""
        if not self._reads:
            raise Skip
        self.ada.freeze()
        self.frozen, self.sound = True, False
        return await self._judged()

    @step("ada's computer goes on")
    async def goes_on(self) -> Expected:
        """It reads all at once."""
        if not self.frozen:
            raise Skip
        self.frozen = False
        self.ada.thaw()
        return await self._judged()

    @step("the hub is started again")
    async def is_started_again(self) -> Expected:
        """With the same file of messages; ada's connection ends."""
        if self.frozen:
            raise Skip
        if self.ada.connected:
            self.ada.cut()
            await self.trial.settle()
        await self.errands.restart()
        await self._dials()
        return await self._judged()

    # -- what must come of it

    @property
    def _reads(self) -> bool:
        return bool(self.ada.connected) and not self.frozen

    async def _judged(self) -> Expected:
        # Who answers by an event of his own after the cut gets an error from the library.
        await self.errands.settle(_FlatTyre, socketio.exceptions.SocketIOError)
        for package in dict.fromkeys([*self.sent, *self.done]):
            done, sent = self.done.count(package), self.sent.count(package)
            if done > sent or (done < sent and self.sound and self._reads):
                raise Wrong(
                    client="ada",
                    expected=f"does the work on {package!r} {times(sent)}",
                    got=f"has done it {times(done)}" if done else "never does it" + self._deaf(),
                )
        if self.sound and self._reads:
            await self.errands.all_answered("ada")
        return {}

    def _deaf(self) -> str:
        return self.trial.deaf("pickup")
