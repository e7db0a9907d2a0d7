"""The exercises of lesson 07: a queue, written in six steps.

Owns their tasks, and how a vendor and its consumers behave. Must not know: how an answer is tried.

Each step's scene ends where the step before fails: a right answer to one is a wrong answer to the
next. Steps 1 to 5 are the hub's side, step 6 is the consumer's.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import socketio  # type: ignore[import-untyped]

from ..internals.client_tap import Client
from ..journal.activity import NotSettled
from ..queues.rules import Rules
from ..stage.scene import HandlerRaised
from .check import Exercise
from .generated.scenes_07 import Acknowledged, List, Lists, OnDisk
from .generated.scenes_07_leases import Leases
from .generated.scenes_07_reader import Reader
from .invariants import Wrong
from .queue_trial import Clock, Errands
from .trial import Trial

__all__ = ["EXERCISES"]


class _Reader:
    """A consumer that collects `pickup` messages; it fetches those of the queue `box`."""

    def __init__(self, trial: Trial, name: str, box: str = "") -> None:
        self.trial, self.name, self.box = trial, name, box or name
        #: The packages since the last `asks`, and the attempt number of each.
        self.got: list[Any] = []
        self.attempts: list[Any] = []
        self.client: Client

    async def comes(self, listens: str = "pickup") -> None:
        """Connect again, as a program that was restarted."""
        self.client = await self.trial.stage.client(self.name, connect=False)
        self.client.on(listens, self._note)
        await self.client.connect()
        await self.trial.settle()

    def _note(self, *given: Any) -> None:
        self.got.append(given[0] if given else None)
        self.attempts.append(given[1] if len(given) > 1 else None)

    async def asks(self) -> list[Any]:
        """Fetch the packages of its queue, and return them."""
        self.got.clear()
        self.attempts.clear()
        await self.trial.says(self.client, "get-all", self.box)
        return [*self.got]

    async def has_done(self, *packages: str) -> None:
        """Acknowledge these packages."""
        for package in packages:
            await self.trial.says(self.client, "received", self.box, package)


async def _hub(trial: Trial, *given: Any) -> None:
    """Serve the answer, or serve it again, with as many arguments of `given` as it takes."""
    try:
        takes = len(inspect.signature(trial.answer).parameters) - 1
    except (TypeError, ValueError):
        takes = len(given)
    await trial.serve(*given[: max(0, takes)])


async def _sends(trial: Trial, *packages: str) -> None:
    """Connect the vendor, send packages, and disconnect it."""
    vendor = await trial.stage.client("vendor")
    for package in packages:
        await trial.says(vendor, "pickup", package)
    await vendor.disconnect()
    await trial.settle()


async def _a_list(trial: Trial) -> None:
    await _hub(trial)
    vendor, ada = _Reader(trial, "vendor"), _Reader(trial, "ada")
    await vendor.comes()
    for package in ("O-1", "O-2", "O-3"):
        await trial.says(vendor.client, "pickup", package)
    await ada.comes()
    trial.nothing("ada is there, and has not asked yet", "ada", ada.got)
    trial.in_order(
        "ada was off when they came, and asks now", "ada", await ada.asks(), ["O-1", "O-2", "O-3"]
    )
    trial.nothing("ada asks once more, and nothing new has come", "ada", await ada.asks())
    await trial.says(vendor.client, "pickup", "O-4")
    trial.nothing("one more has come, and ada has not asked again yet", "ada", ada.got)
    trial.in_order("ada asks again", "ada", await ada.asks(), ["O-4"])
    trial.nothing("the vendor has asked for nothing", "vendor", vendor.got)


async def _a_list_for_each(trial: Trial) -> None:
    await _hub(trial)
    ada, bob = _Reader(trial, "ada"), _Reader(trial, "bob")
    await _sends(trial, "O-1", "O-2")
    await ada.comes()
    trial.in_order("ada asks first", "ada", await ada.asks(), ["O-1", "O-2"])
    await bob.comes()
    trial.in_order("bob asks after ada", "bob", await bob.asks(), ["O-1", "O-2"])
    trial.nothing("ada asks once more, and nothing new has come", "ada", await ada.asks())
    await bob.client.disconnect()
    await trial.settle()
    await _sends(trial, "O-3")
    trial.in_order("it came while ada was there, and bob was off", "ada", await ada.asks(), ["O-3"])
    await bob.comes()
    trial.in_order("bob is back, on a new connection, and asks", "bob", await bob.asks(), ["O-3"])


async def _acknowledged(trial: Trial) -> None:
    await _hub(trial)
    asked = _notes_acknowledgements(trial)
    try:
        await _answered(trial)
    except Wrong as wrong:
        if asked:
            wrong.lines += (f"note      {_PACKET}",)
        raise
    except (HandlerRaised, NotSettled) as error:
        if not asked or (isinstance(error, HandlerRaised) and not _is_timeout(error.errors[0])):
            raise
        raise Wrong(
            message="the hub sends to ada, and her computer reads nothing",
            client="ada",
            expected="the hub waits for nobody: ada's answer is an event of its own, 'received'",
            got="it waits until the packet is acknowledged",
            note=_PACKET,
        ) from error


#: What is misunderstood if the packet's acknowledgement is asked for.
_PACKET = (
    "the packet's acknowledgement (`call`, or `callback=` of `emit`) comes from the library, "
    "whatever the reader does: it is not the reader's answer"
)


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, socketio.exceptions.TimeoutError)


def _notes_acknowledgements(trial: Trial) -> list[Any]:
    """Return a list that will hold the events for which the hub asks for an acknowledgement."""
    asked: list[Any] = []
    original = trial.sio.emit

    async def emit(event: Any, *given: Any, **options: Any) -> None:
        if options.get("callback"):
            asked.append(event)
        await original(event, *given, **options)

    trial.sio.emit = emit
    return asked


async def _answered(trial: Trial) -> None:
    ada, bob = _Reader(trial, "ada"), _Reader(trial, "bob")
    await _sends(trial, "O-1", "O-2", "O-3")
    await ada.comes()
    await ada.client.emit("get-all", "ada")
    await trial.stage.freeze("ada")  # she asks, and reads nothing any more
    await trial.settle()
    await trial.stage.cut("ada")
    await trial.settle()
    await ada.comes()
    what = "ada's computer died before it read them; she is back, and asks again"
    trial.in_order(what, "ada", await ada.asks(), ["O-1", "O-2", "O-3"])
    await ada.has_done("O-2")
    await ada.has_done("O-2")  # an answer may come twice
    what = "ada has answered for O-2 only, and asks again"
    trial.in_order(what, "ada", await ada.asks(), ["O-1", "O-3"])
    await ada.has_done("O-1", "O-3")
    trial.nothing("ada has answered for all, and asks again", "ada", await ada.asks())
    await bob.comes(listens="pick-up")  # a mistake in his program: no handler runs
    await bob.asks()
    bob.client.on("pickup", bob._note)
    what = "bob's program did not listen to 'pickup' when he asked; now it does, and he asks again"
    trial.in_order(what, "bob", await bob.asks(), ["O-1", "O-2", "O-3"])


async def _on_disk(trial: Trial) -> None:
    path = trial.folder / "packages.db"
    ada, bob = _Reader(trial, "ada"), _Reader(trial, "bob")
    await _hub(trial, path)
    await _sends(trial, "O-1", "O-2")
    await trial.stop()
    await _hub(trial, path)
    await ada.comes()
    what = "the hub was stopped and started again"
    trial.in_order(what, "ada", await ada.asks(), ["O-1", "O-2"])
    if not path.is_file():
        raise Wrong(
            message="O-1 and O-2 have come, and the hub was stopped",
            expected="both are kept in the file that it was given",
            got="there is no such file",
        )
    await ada.has_done("O-1")
    what = "ada has answered for O-1, and asks again"
    trial.in_order(what, "ada", await ada.asks(), ["O-2"])
    await trial.stop()
    await _hub(trial, path)
    await ada.comes()
    what = "ada has answered for O-1, and the hub was started again"
    trial.in_order(what, "ada", await ada.asks(), ["O-2"])
    await bob.comes()
    trial.in_order(
        "bob comes late, after two restarts of the hub", "bob", await bob.asks(), ["O-1", "O-2"]
    )
    await _sends(trial, "O-3")
    trial.in_order("one more has come", "ada", await ada.asks(), ["O-2", "O-3"])
    await trial.stop()
    await _hub(trial, trial.folder / "another.db")
    await ada.comes()
    trial.nothing("a new hub, with a new file of its own", "ada", await ada.asks())


async def _leases(trial: Trial) -> None:
    path, clock = trial.folder / "packages.db", Clock()
    ada, helper, bob = (
        _Reader(trial, "ada"),
        _Reader(trial, "helper", "ada"),
        _Reader(trial, "bob"),
    )
    await _hub(trial, path, clock)
    await _sends(trial, "O-1", "O-2")
    for reader in (ada, helper, bob):
        await reader.comes()
    trial.in_order(
        "two programs read ada's box, and ada asks first", "ada", await ada.asks(), ["O-1", "O-2"]
    )
    trial.nothing(
        "the helper asks for ada's box, while both packages are out to ada",
        "helper",
        await helper.asks(),
    )
    trial.equal("the attempts of O-1 and O-2", "ada", ada.attempts, [1, 1])
    trial.in_order("bob has a box of his own", "bob", await bob.asks(), ["O-1", "O-2"])
    await bob.has_done("O-1", "O-2")
    clock.now = 10
    await _sends(trial, "O-3")
    trial.in_order("O-3 is new, and not out", "helper", await helper.asks(), ["O-3"])
    await helper.has_done("O-3")
    await ada.has_done("O-2")
    await trial.stage.cut("ada")  # whether O-1 was processed is unknown
    await trial.settle()
    clock.now = 29
    what = "ada was cut off with O-1, 29 seconds after it was sent"
    trial.nothing(what, "helper", await helper.asks())
    await trial.stop()
    await _hub(trial, path, clock)
    await helper.comes()
    what = "still 29 seconds, and the hub was started again"
    trial.nothing(what, "helper", await helper.asks())
    clock.now = 31
    what = "31 seconds after O-1 was sent, and no answer came"
    trial.in_order(what, "helper", await helper.asks(), ["O-1"])
    trial.equal("the attempt of O-1", "helper", helper.attempts, [2])
    trial.nothing("O-1 is out to the helper itself now", "helper", await helper.asks())
    await helper.has_done("O-1")
    await bob.comes()
    await bob.asks()
    await bob.has_done("O-3")
    await _sends(trial, "O-6")
    what = "both boxes were empty, and O-6 is new"
    trial.in_order(what, "helper", await helper.asks(), ["O-6"])
    trial.equal("the attempt of O-6", "helper", helper.attempts, [1])
    await helper.has_done("O-6")
    clock.now = 100
    trial.nothing("all is answered, and much time has passed", "helper", await helper.asks())
    await _sends(trial, "O-4", "O-5")
    sent = _fails_after_sending(trial)
    await ada.comes()
    await ada.asks()
    await trial.stop()
    await _hub(trial, path, clock)
    await helper.comes()
    got = await helper.asks()
    what = "the hub's power failed when it had just sent this to ada, and it was started again"
    trial.nothing(what, "helper", [package for package in got if package in sent], among=got)


def _fails_after_sending(trial: Trial) -> list[Any]:
    """Let the hub's power fail after its next emit; return a list that will hold its data."""
    sent: list[Any] = []
    original = trial.sio.emit

    async def emit(event: Any, data: Any = None, *given: Any, **options: Any) -> None:
        if sent:
            raise asyncio.CancelledError
        await original(event, data, *given, **options)
        sent.append(data[0] if isinstance(data, (tuple, list)) and data else data)
        raise asyncio.CancelledError  # the program stops here; no answer catches this

    trial.sio.emit = emit
    return sent


class _FlatTyre(RuntimeError):
    """The error of the work in step 6, once."""


async def _not_twice(trial: Trial) -> None:
    errands = await Errands.open(trial, Rules(lease=30, attempts=5))
    done: list[str] = []
    tyres, cables = ["O-2"], ["O-1"]

    def work(package: str) -> None:
        if package in tyres:
            tyres.remove(package)
            raise _FlatTyre(f"flat tyre, with {package} on board")
        done.append(package)
        if package in cables:  # the work goes on, and so does the program
            cables.remove(package)
            ada.cut()

    async def settle() -> None:
        try:
            await trial.settle()
        except HandlerRaised as raised:
            if not all(isinstance(error, _FlatTyre) for error in raised.errors):
                raise

    async def brings(*packages: str) -> None:
        await errands.put(*packages)
        await settle()
        if not ada.connected:
            await ada.connect()
            await errands.go_to(ada)
        errands.later(31)
        await settle()

    ada = await trial.equipped("ada", work)
    await ada.connect()
    await errands.go_to(ada)
    await errands.put("O-0")
    await settle()
    errands.done("all goes well", "ada", done, ["O-0"])
    await errands.answered("all goes well", "ada")
    await brings()
    errands.done("all goes well, and time passes", "ada", done, ["O-0"])
    await brings("O-1")
    what = "ada's cable was cut after the work, before the answer; it comes again"
    errands.done(what, "ada", done, ["O-0", "O-1"])
    await errands.answered(what, "ada")
    await brings("O-2")
    what = "a flat tyre ended the work on O-2 before it was done; it comes again"
    errands.done(what, "ada", done, ["O-0", "O-1", "O-2"])
    await brings("pizza", "pizza")
    all_of_them = ["O-0", "O-1", "O-2", "pizza", "pizza"]
    errands.done("two people order the same", "ada", done, all_of_them)
    await errands.empty("ada")


EXERCISES = [
    Exercise(
        "07.1",
        "a list",
        _a_list,
        "what is sent at once is lost if nobody is there: where does a package stay until somebody "
        "asks, and when does it leave that place?",
        List,
    ),
    Exercise(
        "07.2",
        "a list for each reader",
        _a_list_for_each,
        "whose list is emptied when ada asks, and what stays the same about bob when his "
        "connection is a new one?",
        Lists,
    ),
    Exercise(
        "07.3",
        "delete when it is acknowledged",
        _acknowledged,
        "to send is not to arrive: which of the hub's handlers is the first to know that the work "
        "on this one package, of this one reader, is done?",
        Acknowledged,
    ),
    Exercise(
        "07.4",
        "on disk",
        _on_disk,
        "whatever is only in a variable is gone when the program ends: what has to be in the file, "
        "and committed, before each handler returns?",
        OnDisk,
    ),
    Exercise(
        "07.5",
        "leases",
        _leases,
        "between sent and answered a package is out: what has to be written beside each package, "
        "so that it is nobody else's for 30 seconds, and somebody's after them?",
        Leases,
    ),
    Exercise(
        "07.6",
        "not twice",
        _not_twice,
        "what is the same at each attempt of one message, and different for every other message; "
        "and when may you write it down?",
        Reader,
    ),
]
