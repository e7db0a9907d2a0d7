"""A vendor's program with the answer in it, its database in a file, and a hub that may be off.

Owns the hub's part of the talk, and the invariant: what was sold is at the hub, once each, and
nothing else is. Must not know: which scene it is, when anything fails.
"""

from __future__ import annotations

import contextlib
import inspect
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import socketio  # type: ignore[import-untyped]

from ..internals.client_tap import Client
from ..stage.scene import HandlerRaised
from .invariants import Wrong, times
from .ledger import Ledger
from .sandbox import contained
from .trial import Trial

__all__ = ["Shop"]

#: Ids of an outbox are never used twice, also where a row is deleted.
_TABLES = """
CREATE TABLE IF NOT EXISTS orders (package TEXT);
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, package TEXT);
"""
#: A shop's customers expect to be served whether or not the hub is there.
_LINE = socketio.exceptions.SocketIOError


def _answer() -> bool:
    """Let the hub answer."""
    return True


class Shop:
    """The shop and the hub; `stored`: what the hub has, by key; see `open`.

    `answers`: called when the hub has stored something, before its answer; whether it answers.
    """

    vendor: Client
    db: Ledger

    def __init__(self, trial: Trial, stored: dict[str, Any]) -> None:
        self.trial, self.stored = trial, stored
        self.file = trial.folder / "shop.db"
        self.answers: Callable[[], bool] = _answer
        self._sell: Any = None
        self._odd: tuple[Any, ...] = ("", "")

    @classmethod
    async def open(cls, trial: Trial, stored: dict[str, Any]) -> Self:
        """Open the hub, and the shop's program, which is not connected yet."""
        await trial.host()
        shop = cls(trial, stored)
        trial.sio.on("pickup", shop._pickup)
        await shop.starts()
        return shop

    async def starts(self) -> None:
        """Start the program, on the file that there is."""
        self.db = sqlite3.connect(self.file, factory=Ledger)
        # It is a process that dies, no computer: what is written need not be on the disk itself.
        self.db.executescript(f"PRAGMA synchronous = OFF; PRAGMA journal_mode = TRUNCATE;{_TABLES}")
        self.vendor = await self.trial.equipped("vendor", self.db)
        self._sell = self.trial.returned
        if not callable(self._sell):
            raise Wrong(
                client="vendor",
                expected="returns the function `sell`",
                got=f"returns {self._sell!r:.100}",
                note="`return sell` is missing as the last line of the answer",
            )

    async def connects(self) -> None:
        """Let the hub be there."""
        if not self.vendor.connected:
            await self.vendor.connect()

    async def sells(self, package: str) -> bool:
        """Take an order; return whether the customer was told that it is taken."""
        there = self.vendor.connected
        try:
            await contained("sell", self._call(package))
        except _LINE as error:
            if there:  # the line broke meanwhile
                return False
            raise Wrong(
                message=f"sell({package!r}), while the hub is off",
                client="vendor",
                expected="takes the order",
                got=f"raised {type(error).__name__}: {error}",
            ) from None
        return True

    async def _call(self, package: str) -> None:
        result = self._sell(package)
        if inspect.isawaitable(result):
            await result

    async def _pickup(self, sid: str, *given: Any) -> None:
        if len(given) != 2:
            self._odd = given
            return
        key, package = given
        self.stored.setdefault(repr(key), package)
        if self.answers():
            await self.trial.sio.emit("stored", key, to=sid)

    async def settle(self) -> None:
        """Wait until all is quiet; who emits on a line that was cut gets an error."""
        try:
            await self.trial.settle()
        except HandlerRaised as raised:
            if not all(isinstance(error, _LINE) for error in raised.errors):
                raise

    def _column(self, query: str) -> list[Any]:
        """Return the first column of what is in the file."""
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            return [first for (first,) in db.execute(query)]

    def judge(self, what: str, sold: list[str], begun: list[str], *, sound: bool) -> None:
        """Require that what was `sold` is in the file, nothing but what was `begun`, and that
        nothing else is at the hub; and if all is `sound`, that all of it is, and no more in the
        outbox."""
        if len(self._odd) != 2:
            raise Wrong(
                message=what,
                client="vendor",
                expected="emits pickup with two arguments: a key, and the package",
                got=f"pickup came with {self._odd!r:.100}",
                note="a tuple becomes several arguments: emit('pickup', (key, package))",
            )
        rows, hub = (
            Counter(self._column("SELECT package FROM orders")),
            Counter(self.stored.values()),
        )
        least, most = Counter(sold), Counter(begun)
        for package in dict.fromkeys([*begun, *rows, *hub]):
            there = rows[package]
            if not least[package] <= there <= most[package]:
                raise Wrong(
                    message=what,
                    client="vendor",
                    expected=f"has {package!r} in orders {times(least[package])}",
                    got=f"it is there {times(there)}" if there else "it is not in the file",
                    why="what was written last is not committed" * self.db.in_transaction,
                )
            if hub[package] > there or (sound and hub[package] < there):
                raise Wrong(
                    message=what,
                    client="vendor",
                    expected=f"{package!r}, {times(there)} in orders, is at the hub as often",
                    got=f"the hub has it {times(hub[package])}"
                    if hub[package]
                    else "the hub does not have it" + self.trial.deaf("stored"),
                )

        if left := len(self._column("SELECT id FROM outbox")) * sound:
            raise Wrong(
                message=what,
                client="vendor",
                expected="has nothing left in its outbox, since the hub has stored it all",
                got=f"{left} in outbox" + self.trial.deaf("stored"),
                why="what was written last is not committed" * self.db.in_transaction,
            )

    def close(self) -> None:
        """Close the database, without a commit."""
        self.db.close()
