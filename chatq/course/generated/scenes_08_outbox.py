"""The generated scenes of exercise 08.3: a shop that sells, whether or not the hub is there.

Owns the model of what was sold, and where the program is killed. Must not know: how an answer is
tried.
"""

from __future__ import annotations

from ..scenes import Expected, Scene, Skip, Step, step
from ..shop import Shop

__all__ = ["Sales"]

#: Few, so that equal ones are likely.
_PACKAGES = ("pizza", "O-1", "")
#: The most lives of a program in one scene.
_LIVES = 3
_STORED, _KILLED, _CUT = "the hub has stored it", "is killed", "cable is cut"
#: In words, where the fault comes: at a statement of the program, or before the hub's answer.
_FAULTS: dict[str, tuple[str, int]] = {
    "": ("", 0),
    **{
        f", and the vendor's program {_KILLED} after statement {n}": (_KILLED, n)
        for n in range(1, 5)
    },
    f", and the vendor's program {_KILLED} when {_STORED}": (_KILLED, 0),
    f", and the vendor's {_CUT} when {_STORED}": (_CUT, 0),
}


class Sales(Scene):
    """What is in the table of orders is at the hub, once each, wherever program, hub and line end;
    and nothing is there that is not in the table."""

    proves = "the hub off and on again, its answer lost, the program killed at each statement"
    in_processes = True
    longest = 4
    finale = (Step("is_on", {"then": ""}),)  # all is well for a while

    async def opens(self) -> None:
        """Start the program, on the file that there is; the hub is on, or off as it was."""
        if self.model is None:
            self.model = {"sold": [], "begun": [], "hub": {}, "on": True, "lives": 1}
        self.fault, self.statement = ("", 0), 0
        self.sound = self.model["on"]
        self.shop = await Shop.open(self.trial, self.model["hub"])
        self.shop.db.ended = self._ended
        self.shop.answers = self._stored
        if self.model["on"]:
            await self.shop.connects()

    # -- faults

    def _aim(self, then: str) -> None:
        """Let this happen next. Each life takes its time: in one scene there are only a few."""
        fault = _FAULTS[then]
        if fault[0] == _KILLED and self.model["lives"] == _LIVES:
            raise Skip
        self.fault, self.statement = fault, 0

    def _ended(self, statement: str) -> None:
        self.statement += 1
        if self.fault == (_KILLED, self.statement):
            self._dies()

    def _stored(self) -> bool:
        fault, self.fault = self.fault, self.fault if self.fault[1] else ("", 0)
        if fault == (_KILLED, 0):
            self._dies()
        if fault == (_CUT, 0):
            self.sound = self.model["on"] = False
            self.shop.vendor.cut()
            return False
        return True

    def _dies(self) -> None:
        self.model["lives"] += 1
        self.dies()

    # -- what happens

    @step("the vendor sells {package!r}{then}", package=_PACKAGES, then=(*_FAULTS,))
    async def sells(self, package: str, then: str) -> Expected:
        """One order."""
        self._aim(then)
        self.model["begun"].append(package)
        if await self.shop.sells(package):
            self.model["sold"].append(package)
        return await self._judged()

    @step("the hub is off")
    async def is_off(self) -> Expected:
        """Until it is on again."""
        if not self.shop.vendor.connected:
            raise Skip
        self.sound = self.model["on"] = False
        self.shop.vendor.cut()
        return await self._judged()

    @step("the hub is on{then}", then=(*_FAULTS,))
    async def is_on(self, then: str) -> Expected:
        """It is there again, with all that it had."""
        self._aim(then)
        self.sound = self.model["on"] = True
        await self.shop.connects()
        return await self._judged()

    @step("the vendor's program is killed, and started again")
    async def is_killed(self) -> Expected:
        """While nothing is under way."""
        self._aim(next(iter(_FAULTS)))
        if self.model["lives"] == _LIVES:
            raise Skip
        self._dies()
        raise Skip

    async def _judged(self) -> Expected:
        await self.shop.settle()
        self.fault = ("", 0)
        sound = self.sound and self.shop.vendor.connected
        self.shop.judge("", self.model["sold"], self.model["begun"], sound=sound)
        return {}
