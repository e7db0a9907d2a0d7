"""The generated scenes of lesson 08: an effect that happens once, and messages that fail.

Owns the models of what was put down, and of what became of each message. Must not know: how an
answer is tried.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import socketio  # type: ignore[import-untyped]

from ...journal.facts import QueueFact, Settled
from ...queues.observers import Observer
from ...queues.rules import Rules
from ..invariants import Wrong, listing, times
from ..ledger import TABLES, Ledger
from ..queue_trial import Errands, on_a_quick_line
from ..scenes import Expected, Scene, Skip, Step, step

__all__ = ["Doorstep", "Failures"]

_QUEUE = "drivers"
#: Longer than any lease, and than any wait after a failure.
_LONG = 61
#: Few, so that equal ones are likely.
_PACKAGES = ("pizza", "O-1", "")

# -- 08.1 ------------------------------------------------------------------------------------------


class _Fault(NamedTuple):
    """What happens to the program, and when: at which statement of its handler."""

    what: str = ""
    statement: int = 0


#: The most lives of a program in one scene.
_LIVES = 3
_KILLED = ", and ada's program is killed"
_FAULTS = {
    "": _Fault(),
    **{f"{_KILLED} after statement {n}": _Fault("after", n) for n in range(1, 6)},
    **{f"{_KILLED} in the middle of statement {n}": _Fault("in", n) for n in range(1, 4)},
    f"{_KILLED} when its answer has come": _Fault("answered"),
    **{f", and ada's cable is cut after statement {n}": _Fault("cut", n) for n in range(1, 4)},
}


class _Answered(Observer):
    """Calls `then` when the queue has an answer that counts."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then

    def happened(self, fact: QueueFact) -> None:
        if isinstance(fact, Settled):
            self._then()


class Doorstep(Scene):
    """Each message is one row, wherever the program is killed.

    The hub is killed with it, and keeps what it has; what the program has sent is there by then.
    """

    proves = "the program killed between any two statements and within one, and the cable cut"
    in_processes = True
    longest = 4
    finale = (Step("a_minute_passes", {"then": ""}),)  # all is well for a while

    async def opens(self) -> None:
        """Start hub and program, on the files that there are."""
        if self.model is None:
            self.model = {"sent": [], "now": 0.0, "sound": True, "queue": None, "lives": 1}
        now, queue = self.model["now"], self.model["queue"]
        rules = Rules(lease=30, attempts=1000)
        self.errands = await Errands.open(self.trial, rules, now=now, kept=queue)
        self.errands.queues.watch(_Answered(partial(self._reaches, "answered", 0)))
        self.file = self.trial.folder / "ledger.db"
        self.fault, self.statement = _Fault(), 0
        self.db = sqlite3.connect(self.file, factory=Ledger)
        # It is a process that dies, no computer: what is written need not be on the disk itself.
        self.db.executescript(f"PRAGMA synchronous = OFF; PRAGMA journal_mode = TRUNCATE; {TABLES}")
        self.db.begins, self.db.ended = self._begins, self._ended
        self.ada = await self.trial.equipped("ada", self.db)
        on_a_quick_line(self.ada)
        await self._dials()

    async def _dials(self) -> None:
        if not self.ada.connected:
            await self.ada.connect()
            # One after the other: a transaction of a connection is that of all its tasks.
            await self.errands.go_to(self.ada, window=1)

    # -- faults

    def _aim(self, fault: _Fault) -> None:
        """Let this happen next. Each life takes its time: in one scene there are only a few."""
        if fault.what not in ("", "cut") and self.model["lives"] == _LIVES:
            raise Skip
        self.fault, self.statement = fault, 0

    def _begins(self, statement: str) -> None:
        self.statement += 1
        if self.fault == ("in", self.statement):
            self.db.set_progress_handler(partial(self._reaches, *self.fault), 1)
            if statement == "commit":
                self._reaches(*self.fault)

    def _ended(self, statement: str) -> None:
        for what in ("after", "cut"):
            self._reaches(what, self.statement)

    def _reaches(self, what: str, statement: int) -> None:
        """Let the fault happen if this is its time."""
        if self.fault != (what, statement):
            return
        self.fault = _Fault()
        self.model["sound"] = False
        if what == "cut":
            self.ada.cut()
        else:
            self._dies()

    def _dies(self) -> None:
        self.model["queue"] = self.errands.kept()
        self.model["lives"] += 1
        self.dies()

    # -- what happens

    @step("the vendor sends {package!r}{then}", package=_PACKAGES, then=(*_FAULTS,))
    async def sends(self, package: str, then: str) -> Expected:
        """One message."""
        return await self._send(then, package)

    @step(
        "the vendor sends {one!r} and {two!r} at once{then}",
        one=_PACKAGES,
        two=_PACKAGES,
        then=(*_FAULTS,),
    )
    async def sends_two(self, one: str, two: str, then: str) -> Expected:
        """Two messages, in the queue at the same time."""
        return await self._send(then, one, two)

    async def _send(self, then: str, *packages: str) -> Expected:
        self._aim(_FAULTS[then])
        self.model["sent"] += packages  # if she dies of it, it was stored
        await self.errands.put_at_once(*packages)
        return await self._judged()

    @step("ada is on the line for a minute{then}", then=(*_FAULTS,))
    async def a_minute_passes(self, then: str) -> Expected:
        """Whatever is not answered for comes again."""
        self._aim(_FAULTS[then])
        await self._dials()
        self.model["now"] += _LONG
        self.model["sound"] = True
        self.errands.later(_LONG)
        return await self._judged()

    @step("ada's program is killed, and started again")
    async def is_killed(self) -> Expected:
        """While nothing is under way."""
        self._aim(_Fault("now"))
        self._dies()
        raise Skip

    async def _judged(self) -> Expected:
        # Who answers by an event of his own after the cut gets an error from the library.
        await self.errands.settle(socketio.exceptions.SocketIOError)
        self.fault = _Fault()
        with contextlib.closing(sqlite3.connect(self.file)) as db:
            rows = [package for (package,) in db.execute("SELECT package FROM doorstep")]
        sound = self.model["sound"] and self.ada.connected
        sent = self.model["sent"]
        for package in dict.fromkeys([*sent, *rows]):
            there, due = rows.count(package), sent.count(package)
            if there > due or (there < due and sound):
                raise Wrong(
                    client="ada",
                    expected=f"puts {package!r} on the doorstep {times(due)}",
                    got=f"it is in the file {times(there)}" if there else "it is not in the file",
                    why="what was written last is not committed" * self.db.in_transaction,
                )
        if sound:
            await self.errands.all_answered("ada")
        return {}


# -- 08.2 ------------------------------------------------------------------------------------------

_ATTEMPTS = 3
#: How a delivery goes, and the error that it raises.
_GOES: dict[str, Callable[[], Exception] | None] = {
    "fails with OSError('flat tyre')": lambda: OSError("flat tyre"),
    "goes well": None,
    "fails with LookupError('no such street')": lambda: LookupError("no such street"),
    "fails with ValueError()": ValueError,
    "fails with KeyError('street')": lambda: KeyError("street"),
    "fails with TypeError of two lines": lambda: TypeError("no house\nin this street"),
    "fails with OSError of a hundred characters": lambda: OSError("no way " * 14 + "in"),
}


class _Message:
    """One message: how often it has failed; "waits", "is done" or "is dead", and why."""

    def __init__(self, package: str) -> None:
        self.package, self.failures, self.state, self.reason = package, 0, "waits", ""


class Failures(Scene):
    """What fails is given back with its reason, and is dead after the third time; the rest is
    done, and nothing is tried more often than it is delivered."""

    proves = "whatever fails, for whichever reason and how often, with good ones between"
    longest: int = 7
    finale = (Step("a_minute_passes", {}),) * (_ATTEMPTS - 1)  # until no message waits any more

    async def opens(self) -> None:
        """Let ada read the queue."""
        rules = Rules(lease=30, attempts=_ATTEMPTS)
        self.errands = await Errands.open(self.trial, rules)
        self.messages: list[_Message] = []
        self.goes: dict[str, str] = {}
        self.tried, self.expected = Counter[str](), Counter[str]()
        self.ada = await self.trial.equipped("ada", self.deliver)
        await self.ada.connect()
        await self.errands.go_to(self.ada)

    def deliver(self, package: str) -> None:
        """Do the work, or raise."""
        self.tried[package] += 1
        if error := _GOES[self.goes.get(package, "goes well")]:
            raise error()

    @step("the vendor sends {package!r}", package=_PACKAGES)
    async def sends(self, package: str) -> Expected:
        """One message."""
        return await self._send(package)

    @step("the vendor sends {one!r} and {two!r} at once", one=_PACKAGES, two=_PACKAGES)
    async def sends_two(self, one: str, two: str) -> Expected:
        """Two messages, out at the same time."""
        return await self._send(one, two)

    async def _send(self, *packages: str) -> Expected:
        new = [_Message(package) for package in packages]
        self.messages += new
        for one in new:
            self._tried(one)
        await self.errands.put_at_once(*packages)
        return await self._judged()

    @step("the delivery of {package!r} now {goes}", package=_PACKAGES, goes=(*_GOES,))
    async def now_goes(self, package: str, goes: str) -> Expected:
        """Each time, from now on."""
        self.goes[package] = goes
        return {}

    @step("the clock moves on by a minute")
    async def a_minute_passes(self) -> Expected:
        """What has failed comes again."""
        for one in self.messages:
            if one.state == "waits":
                self._tried(one)
        self.errands.later(_LONG)
        return await self._judged()

    @step("ada's cable is cut, and she dials again")
    async def dials_again(self) -> Expected:
        """With the same program, and a new sid."""
        self.ada.cut()
        await self.trial.settle()
        await self.ada.connect()
        await self.errands.go_to(self.ada)
        return await self._judged()

    # -- what must come of it

    def _tried(self, one: _Message) -> None:
        self.expected[one.package] += 1
        error = _GOES[self.goes.get(one.package, "goes well")]
        if error is None:
            one.state = "is done"
        else:
            one.failures += 1
            if one.failures == _ATTEMPTS:
                one.state, one.reason = "is dead", str(error())

    async def _judged(self) -> Expected:
        await self.trial.settle()
        for package, count in self.expected.items():
            if (tried := self.tried[package]) > count:
                raise Wrong(
                    client="ada",
                    expected=f"delivers {package!r} once each time it comes: {times(count)}",
                    got=f"called deliver {times(tried)}",
                )
        if not self.messages:
            return {}
        stats = await self.errands.queues.stats(_QUEUE)
        if stats.leased:
            raise Wrong(
                client="ada",
                expected="answers at once, whether the work was done or has failed",
                got=f"{times(stats.leased)} no answer that counts, until the lease ends",
            )
        dead = [(one.data, one.reason) for one in await self.errands.queues.dead(_QUEUE)]
        due = [(one.package, one.reason) for one in self.messages if one.state == "is dead"]
        # An error without a text says no reason: whatever stands there is right.
        said = Counter(one for one in due if one[1])
        if said - Counter(dead) or sorted(p for p, _ in dead) != sorted(p for p, _ in due):
            raise Wrong(
                client="ada",
                expected=f"dead, each with its reason: {listing(sorted(due))}",
                got=listing(sorted(dead)),
            )
        waiting = [one.package for one in self.messages if one.state == "waits"]
        if stats.ready + stats.delayed != len(waiting):
            raise Wrong(
                client="ada",
                expected=f"has given back what has failed, to be tried again: {listing(waiting)}",
                got=f"{stats.ready + stats.delayed} of {len(waiting)} kept by the queue",
            )
        for package, count in self.expected.items():
            if (tried := self.tried[package]) < count:
                raise Wrong(
                    client="ada",
                    expected=f"delivers {package!r} {times(count)}",
                    got=(f"called deliver {times(tried)}") + self.trial.deaf("pickup"),
                )
        return {}
