"""The exercises of lesson 08: an effect that happens once, and a message that always fails.

Owns their tasks, and a database whose power fails where the scene wants it. Must not know: how an
answer is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, Self

from ..internals.client_tap import Client
from ..queues.rules import Rules
from .check import Exercise
from .queue_trial import Errands
from .trial import Trial

__all__ = ["EXERCISES"]

_RULES = Rules(lease=30, attempts=3)
_TABLES = """
CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS doorstep (package TEXT);
"""
#: More statements than any answer needs for one message.
_MOST, _ENOUGH = 12, 1000


class _PowerFails(asyncio.CancelledError):
    """The program stops here; so it is no `Exception` that an answer may catch."""


class _Ledger(sqlite3.Connection):
    """A database; after `left` more statements (a commit is one) the power of its program fails:
    it is rolled back, and `failed` is called."""

    left = 0
    failed: Callable[[], object]

    #: The last statement before the power failed.
    last = ""

    def step(self, statement: str = "commit") -> None:
        """Count an executed statement."""
        self.left -= 1
        if self.left >= 0:
            self.last = " ".join(statement.split())[:80]
        if self.left == 0:
            super().rollback()
            self.failed()
        if self.left <= 0:
            raise _PowerFails

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(_Cursor)

    def execute(self, *given: Any) -> Any:
        return self.cursor().execute(*given)

    def executemany(self, *given: Any) -> Any:
        return self.cursor().executemany(*given)

    def commit(self) -> None:
        super().commit()
        self.step()

    def __exit__(self, *error: Any) -> Any:
        result = super().__exit__(*error)
        if error[0] is None:
            self.step()
        return result


class _Cursor(sqlite3.Cursor):
    connection: _Ledger

    def execute(self, *given: Any) -> Self:
        super().execute(*given)
        self.connection.step(given[0])
        return self

    def executemany(self, *given: Any) -> Self:
        super().executemany(*given)
        self.connection.step(given[0])
        return self


class _Driver:
    """The program of a driver, with the answer in it, and its database in a file."""

    def __init__(self, trial: Trial, errands: Errands) -> None:
        self.trial, self.errands = trial, errands
        self.file = trial.folder / "ledger.db"
        self.ledger: _Ledger | None = None
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
            db.executescript(_TABLES)
            rows += db.execute("SELECT package FROM doorstep ORDER BY rowid")

    async def starts(self, statements: int) -> None:
        """Start the program; its power fails after so many statements."""
        self.close()
        if self.ledger is not None and self.ledger.left <= 0:
            self.failed_at = self.ledger.last
        self.ledger = sqlite3.connect(self.file, factory=_Ledger)
        self.ledger.left = statements
        self.client = await self.trial.equipped("ada", self.ledger)
        self.ledger.failed = self.client.cut
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
        return self.ledger is not None and self.ledger.left <= 0

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


EXERCISES = [
    Exercise(
        "08.1",
        "once, wherever the power fails",
        _once,
        "suppose that the program ends after this line of your handler: what is in the file then, "
        "and what will the next attempt make of it?",
    ),
    Exercise(
        "08.2",
        "a message that always fails",
        _poison,
        "there are two honest answers, and a way to say the second one: what does the queue have "
        "to be told, by which event, and with which two things in it?",
    ),
]
