"""The exercises of lesson 09: a chat over two servers, and a producer without false confirmations.

Owns their tasks. Must not know:
how an answer is tried.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import Any

from ..internals.client_tap import Client
from ..journal.activity import NotSettled
from ..queues.queues import Queues
from ..queues.store import StoreError
from ..stage.scene import HandlerRaised
from ..stage.stage import Stage
from .check import Exercise
from .generated.scenes_09 import Everywhere, Truth
from .invariants import Wrong
from .trial import Trial
from .two_servers import TwoServers, back, one_node

__all__ = ["EXERCISES"]

_PACKAGES = ["O-1", "O-2", "O-3"]
#: The time-out of an emit without NATS, in seconds.
_PATIENCE = 1


# -- 09.1 -----------------------------------------------------------------------------------------


class _Guest:
    """A client at one of the servers, and the messages that it got."""

    def __init__(self, client: Client, stage: Stage, both: TwoServers) -> None:
        self.client, self.stage, self.said = client, stage, list[Any]()
        client.on("said", lambda *given: self.said.append(given[0] if len(given) == 1 else given))
        both.marks(client)


async def _everywhere(trial: Trial) -> None:
    async with AsyncExitStack() as until:
        node = await until.enter_async_context(one_node())
        both = await TwoServers.open(trial, node.url, until)
        guests: dict[str, _Guest] = {}
        for name, where in (("ada", 0), ("bob", 0), ("cat", 1)):
            stage = both.stages[where]
            guests[name] = _Guest(await stage.client(name, connect=False), stage, both)
            await guests[name].client.connect()
        await both.listen()
        places = {name: guest.stage for name, guest in guests.items()}
        expected: dict[str, list[str]] = {name: [] for name in guests}

        def came() -> bool:
            return all(len(guests[who].said) >= len(texts) for who, texts in expected.items())

        for name, text in (("ada", "hello"), ("cat", "hi"), ("bob", "at your service")):
            speaker = guests[name]
            await speaker.client.emit("say", text)
            for listener in {*guests} - {name}:
                expected[listener].append(text)
            await both.all_has_come(places, came, trial.patience)
            for listener, guest in guests.items():
                if listener != name:
                    place = "the same" if guest.stage is speaker.stage else "the other"
                    what = f"{name} says {text!r}, and {listener} is at {place} server"
                    trial.in_order(what, listener, guest.said, expected[listener])
            what = f"{name} says {text!r}, and need not be told"
            trial.in_order(what, name, speaker.said, expected[name])
            trial.proved[:] = []
        trial.proved.append("what one says reaches both others, once, at whichever server they are")
        trial.proved.append("nobody is told what he has said himself")


# -- 09.2 -----------------------------------------------------------------------------------------


async def _the_truth(trial: Trial) -> None:
    async with AsyncExitStack() as until:
        node = await until.enter_async_context(one_node())
        stages, queues = [], []
        for _ in range(2):
            url = f"{node.url}?patience={_PATIENCE}"
            own = await Queues.open(url, random=trial.random)
            until.push_async_callback(own.close, within=0)
            stages.append(await trial.serve(own))
            own.attach(trial.sio)
            queues.append(own)
        vendor, other = [await stage.client("vendor") for stage in stages]

        async def hands_over(by: Client, at: int, package: str, expected: bool, what: str) -> None:
            trial.stage = stages[at]
            try:
                answer = await trial.asks(by, "pickup", package)
            except HandlerRaised as raised:  # its text contains an address
                error = raised.errors[0]
                kind = "a StoreError" if isinstance(error, StoreError) else f"{error!r}"
                raise Wrong(
                    message=f"{package}, {what}",
                    client="vendor",
                    expected=f"{expected}",
                    got=f"no answer at all: the handler raised {kind}",
                ) from None
            trial.equal(f"{package}, {what}", "vendor", answer, expected)

        await hands_over(vendor, 0, "O-1", True, "while all is well")
        await hands_over(other, 1, "O-1", True, "again, at the other server: the answer was lost")
        await node.kill()
        await hands_over(other, 1, "O-2", False, "while no node runs")
        await node.start()
        for own in queues:
            await back(own)
        await hands_over(
            vendor, 0, "O-2", True, "again, at the other server, when the node is back"
        )
        await hands_over(vendor, 0, "O-3", True, "when the node is back")
        what = "ada was off all the time, and drives at the other server"
        trial.in_order(what, "ada", await _drives(trial, stages[1]), _PACKAGES)


async def _drives(trial: Trial, stage: Stage) -> list[Any]:
    """Connect ada and let her consume at this server; return what she got and acknowledged."""
    got: list[Any] = []
    client = await stage.client("ada", connect=False)

    def pickup(package: Any, delivery: Any = None) -> Any:
        got.append(package)
        return delivery and delivery["receipt"]

    client.on("pickup", pickup)
    await client.connect()
    trial.stage = stage
    await trial.says(client, "drive")
    with suppress(NotSettled):  # then the invariants will say what is missing
        await stage.until(lambda: all(p in got for p in _PACKAGES), "all to come", within=3.0)
    await stage.settle()
    return got


EXERCISES = [
    Exercise(
        "09.1",
        "said at one server, heard at all",
        _everywhere,
        "each server knows its own clients only: through what do the two hear of each other, and "
        "which of emit's arguments leaves out the one who spoke?",
        Everywhere,
    ),
    Exercise(
        "09.2",
        "a vendor who is told the truth",
        _the_truth,
        "three things may have happened when emit raises: stored, not stored, and nobody knows. "
        "What can the vendor be told, and what makes it harmless to hand the same package over "
        "again? And which call lets a driver consume a queue?",
        Truth,
    ),
]
