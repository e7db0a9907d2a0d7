"""The generated scenes of lesson 07: a queue, in six steps.

Owns the model of which packages wait for whom. Must not know: how an answer is tried.
"""

from __future__ import annotations

from ..scenes import Expected, Scene, Skip, step

__all__ = ["OnDisk"]

_READERS = ("ada", "bob")
#: Few, so that equal ones are likely.
_PACKAGES = ("O-1", "pizza", "")


class OnDisk(Scene):
    """Each package waits for each reader until it is acknowledged, also when the hub is killed."""

    proves = "whoever sends, asks and answers, with the hub stopped and killed between"
    in_processes = True
    hears = ("pickup",)

    async def opens(self) -> None:
        if self.model is None:
            self.model = {name: [] for name in _READERS}
        await self.trial.serve(self.trial.folder / "packages.db")

    @step("the vendor sends {package!r}", package=_PACKAGES)
    async def sends(self, package: str) -> Expected:
        await self.emit("vendor", "pickup", package)
        for waiting in self.model.values():
            waiting.append(package)
        return {}

    @step("{who} asks", who=_READERS)
    async def asks_for_all(self, who: str) -> Expected:
        await self.emit(who, "get-all", who)
        packages = self.model[who]
        return self.to([who], "pickup", *packages[:1]) | {
            who: [heard for one in packages for heard in self.to([who], "pickup", one)[who]]
        }

    @step("{who} answers for {package!r}", who=_READERS, package=_PACKAGES)
    async def answers(self, who: str, package: str) -> Expected:
        await self.emit(who, "received", who, package)
        if package in self.model[who]:
            self.model[who].remove(package)
        return {}

    @step("the hub is killed, and started again")
    async def is_killed(self) -> Expected:
        self.dies()
        raise Skip
