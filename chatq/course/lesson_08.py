"""The exercises of lessons 08 and 08b: an effect that happens once, a message that always fails,
and a hub that is off.

Owns their tasks, and a database whose power fails where the scene wants it. Must not know: how an
answer is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable

from ..internals.client_tap import Client
from ..queues.rules import Rules
from .check import Exercise
from .generated.scenes_08 import Doorstep, Failures
from .generated.scenes_08_outbox import Sales
from .ledger import TABLES, Ledger
from .queue_trial import Errands, on_a_quick_line
from .shop import Shop
from .trial import Trial

__all__ = ["EXERCISES"]

_RULES = Rules(lease=30, attempts=3)
#: More statements than any answer needs for one message.
_MOST, _ENOUGH = 12, 1000


class _PowerFails(asyncio.CancelledError):
    """The program stops here; so it is no `Exception` that an answer may catch."""


class _Power:
    """The power of a program, and its database; after `left` more statements (a commit is one) it
    fails: the database is rolled back, and `failed` is called."""

    def __init__(self, ledger: Ledger, left: int, failed: Callable[[], object]) -> None:
        self.ledger, self.left, self.failed = ledger, left, failed
        #: The last statement before the power failed.
        self.last = ""
        ledger.ended = self._step

    def _step(self, statement: str) -> None:
        self.left -= 1
        if self.left >= 0:
            self.last = " ".join(statement.split())[:80]
        if self.left == 0:
            self.ledger.rollback()
            self.failed()
        if self.left <= 0:
            raise _PowerFails


class _Driver:
    """The program of a driver, with the answer in it, and its database in a file."""

    def __init__(self, trial: Trial, errands: Errands) -> None:
        self.trial, self.errands = trial, errands
        self.file = trial.folder / "ledger.db"
        self.ledger: Ledger | None = None
        self.power: _Power | None = None
        #: The statement after which the power has failed last.
        self.failed_at = ""
        self.client: Client
        self._doorstep([])

    def doorstep(self) -> list[str]:
        """Return the packages on the doorstep, from the file."""
        rows: list[tuple[str]] = []
        self._doorstep(rows)
        return [package for (package,) in rows]

    def _doorstep(self, rows: list[tuple[str]]) -> None:
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            db.executescript(TABLES)
            rows += db.execute("SELECT package FROM doorstep ORDER BY rowid")

    async def starts(self, statements: int) -> None:
        """Start the program; its power fails after so many statements."""
        self.close()
        if self.power is not None and self.out_of_power:
            self.failed_at = self.power.last
        self.ledger = sqlite3.connect(self.file, factory=Ledger)
        self.client = await self.trial.equipped("ada", self.ledger)
        on_a_quick_line(self.client)
        self.power = _Power(self.ledger, statements, self.client.cut)
        await self.client.connect()
        await self.errands.go_to(self.client, window=1)
        await self.trial.settle()

    def why(self, statement: int = 0) -> str:
        """Return an explanation for a doorstep that is not as it should be, or ""."""
        if self.ledger is not None and self.ledger.in_transaction:
            return "what the handler wrote last is not committed, so it is not in the file"
        if statement and self.failed_at:
            return f"statement {statement} was: {self.failed_at}"
        return ""

    @property
    def out_of_power(self) -> bool:
        """Return whether its power has failed."""
        return self.power is not None and self.power.left <= 0

    def close(self) -> None:
        """Close the ledger."""
        if self.ledger is not None:
            self.ledger.close()


async def _once(trial: Trial) -> None:
    errands = await Errands.open(trial, _RULES)
    driver = _Driver(trial, errands)
    expected = ["pizza", "pizza"]
    try:
        await errands.put(*expected)
        await driver.starts(_ENOUGH)
        what = "all goes well, and two people order the same"
        if driver.doorstep():
            await errands.answered(what, "ada")
        errands.done(what, "ada", driver.doorstep(), expected, driver.why())
        await errands.empty("ada")
        for statement in range(1, _MOST):
            await driver.client.disconnect()
            await trial.settle()
            expected.append(f"O-{statement}")
            await errands.put(f"O-{statement}")
            await driver.starts(statement)
            what = "all goes well again"
            if failed := driver.out_of_power:
                what = f"the power fails after statement {statement} of the handler; it comes again"
                errands.later(31)
                await driver.starts(_ENOUGH)
            errands.done(what, "ada", driver.doorstep(), expected, driver.why(statement))
            await errands.empty("ada")
            if not failed:
                break
    finally:
        driver.close()


async def _poison(trial: Trial) -> None:
    errands = await Errands.open(trial, _RULES)
    done: list[str] = []
    flat = ["P-3"]

    def deliver(package: str) -> None:
        if package == "P-1":
            raise LookupError("no such street")
        if package in flat:
            flat.remove(package)
            raise OSError("flat tyre")
        done.append(package)

    ada = await trial.equipped("ada", deliver)
    await ada.connect()
    await errands.put("P-1", "P-2", "P-3")
    await errands.go_to(ada, window=2)
    await trial.settle()
    others = [package for package in done if package == "P-2"]
    errands.done("P-1 and P-3 fail the first time, P-2 does not", "ada", others, ["P-2"])
    await errands.not_left_out("ada")
    for _ in range(3):
        errands.later(61)
        await trial.settle()
    errands.done("P-3 had a flat tyre the first time", "ada", done, ["P-2", "P-3"])
    await errands.dead("ada", {"P-1": "no such street"})
    await errands.empty("ada")


async def _hub_is_off(trial: Trial) -> None:
    shop = await Shop.open(trial, {})
    sold: list[str] = []

    async def sells(*packages: str) -> None:
        for package in packages:
            await shop.sells(package)
            sold.append(package)
        await shop.settle()

    def judge(what: str, *, sound: bool = True) -> None:
        shop.judge(what, sold, sold, sound=sound)
        trial.proved.append(what)

    def cuts() -> bool:
        if shop.vendor.connected:
            shop.vendor.cut()
        return False

    try:
        await shop.connects()
        await sells("pizza", "pizza")
        judge("the hub is there, and two people order the same")
        shop.vendor.cut()
        await shop.settle()
        await sells("O-1")
        judge("the hub is off, and the shop sells O-1", sound=False)
        await shop.connects()
        await shop.settle()
        judge("the hub is there again")
        shop.answers = cuts
        await sells("O-2")
        shop.answers = lambda: True
        await shop.connects()
        await shop.settle()
        judge("the hub has stored O-2, its answer was lost, and the line is mended")
        shop.vendor.cut()
        await shop.settle()
        await sells("O-3")
        shop.close()
        await shop.starts()
        await shop.connects()
        await shop.settle()
        judge("O-3 was sold while the hub was off, and the program is started anew")
    finally:
        shop.close()


EXERCISES = [
    Exercise(
        "08.1",
        "once, wherever the power fails",
        _once,
        "suppose that the program ends after this line of your handler: what is in the file then, "
        "and what will the next attempt make of it?",
        Doorstep,
    ),
    Exercise(
        "08.2",
        "a message that always fails",
        _poison,
        "there are two honest answers, and a way to say the second one: what does the queue have "
        "to be told, by which event, and with which two things in it?",
        Failures,
    ),
    Exercise(
        "08.3",
        "the hub is off",
        _hub_is_off,
        "suppose that the program ends after this line of yours: is the order in both tables, or "
        "in neither? And who hands over what is left, when the hub is there again?",
        Sales,
    ),
]
