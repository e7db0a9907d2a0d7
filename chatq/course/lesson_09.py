"""The exercises of lesson 09: a chat over two servers, and a producer without false confirmations.

Owns their tasks, and the two servers on one NATS node at which an answer is tried. Must not know:
how an answer is tried.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from typing import Any

from ..internals.client_tap import Client
from ..journal.activity import NotSettled
from ..queues.queues import Queues
from ..queues.store import StoreError
from ..stage.nats_server import MISSING, NatsNode, NatsServers, available
from ..stage.scene import HandlerRaised
from ..stage.stage import Stage
from ..waiting import give_way
from .check import Exercise
from .invariants import Wrong
from .trial import Trial

__all__ = ["EXERCISES"]

_PACKAGES = ["O-1", "O-2", "O-3"]
#: Emitted by the scene as an end mark: a client that has it has all earlier messages.
_MARK = "mark"
#: The time-out of an emit without NATS, in seconds.
_PATIENCE = 1
#: The time-out for a client manager's connection to NATS, in seconds.
_CONNECTS = 5.0
#: For how many seconds queues may look for a node that runs again.
_BACK = 10.0


async def _one_node(until: AsyncExitStack) -> NatsNode:
    """Start one NATS node; when it is killed there is no quorum."""
    if not available():
        raise Wrong(needs=MISSING)
    # It would log every reconnection; here they are intended.
    log = logging.getLogger("chatq")
    until.callback(log.setLevel, log.level)
    log.setLevel(logging.CRITICAL)
    servers = await until.enter_async_context(await NatsServers.open())
    return servers.nodes[0]


# -- 09.1 -----------------------------------------------------------------------------------------


class _Guest:
    """A client at one of the servers, and the messages that it got."""

    def __init__(self, client: Client, stage: Stage) -> None:
        self.client, self.stage, self.said = client, stage, list[Any]()
        self.marked = asyncio.Event()
        client.on("said", lambda *given: self.said.append(given[0] if len(given) == 1 else given))
        client.on(_MARK, self.marked.set)


async def _everywhere(trial: Trial) -> None:
    async with AsyncExitStack() as until:
        node = await _one_node(until)
        stages = [await _site(trial, node.url, until) for _ in range(2)]
        guests = {
            name: _Guest(await stage.client(name, connect=False), stage)
            for name, stage in zip(("ada", "bob", "cat"), [stages[0], *stages], strict=True)
        }
        for guest in guests.values():
            await guest.client.connect()
        for stage in stages:
            await _listens(stage.sio.manager)
        expected: dict[str, list[str]] = {name: [] for name in guests}
        for name, text in (("ada", "hello"), ("cat", "hi"), ("bob", "at your service")):
            speaker = guests[name]
            await speaker.client.emit("say", text)
            await speaker.stage.settle()
            await _has_come(speaker, guests)
            for listener, guest in guests.items():
                if listener != name:
                    expected[listener].append(text)
                    place = "the same" if guest.stage is speaker.stage else "the other"
                    what = f"{name} says {text!r}, and {listener} is at {place} server"
                    trial.in_order(what, listener, guest.said, expected[listener])
            what = f"{name} says {text!r}, and need not be told"
            trial.in_order(what, name, speaker.said, expected[name])
            trial.proved[:] = []
        trial.proved.append("what one says reaches both others, once, at whichever server they are")
        trial.proved.append("nobody is told what he has said himself")


async def _site(trial: Trial, url: str, until: AsyncExitStack) -> Stage:
    """Open a stage on a server that the answer makes."""
    stage = await trial.made(url)
    if hasattr(trial.sio.manager, "close"):
        until.push_async_callback(trial.sio.manager.close)
    return stage


def _hears(manager: Any) -> bool:
    """Return whether this manager gets emits of other servers; one without peers has no channel."""
    return getattr(manager, "channel", None) is not None and not manager.write_only


async def _listens(manager: Any) -> None:
    """Wait until this manager gets the emits of other servers."""
    if _hears(manager) and hasattr(manager, "listening"):
        try:
            async with asyncio.timeout(_CONNECTS):
                await manager.listening()
        except TimeoutError:
            raise Wrong(
                expected="the servers hear of each other through NATS at the url that is given",
                got=f"no NATS was found in {_CONNECTS:g} s where the client manager looks for it",
            ) from None


async def _has_come(speaker: _Guest, guests: dict[str, _Guest]) -> None:
    """Wait until all messages emitted at this server have reached all clients that can get them."""
    here = speaker.stage.sio.manager
    for guest in guests.values():
        guest.marked.clear()
    await speaker.stage.sio.emit(_MARK)
    for guest in guests.values():
        there = guest.stage.sio.manager
        if there is here or (_hears(there) and there.channel == getattr(here, "channel", None)):
            await guest.marked.wait()
            await guest.stage.settle()


# -- 09.2 -----------------------------------------------------------------------------------------


async def _the_truth(trial: Trial) -> None:
    async with AsyncExitStack() as until:
        node = await _one_node(until)
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
            await _back(own)
        await hands_over(
            vendor, 0, "O-2", True, "again, at the other server, when the node is back"
        )
        await hands_over(vendor, 0, "O-3", True, "when the node is back")
        what = "ada was off all the time, and drives at the other server"
        trial.in_order(what, "ada", await _drives(trial, stages[1]), _PACKAGES)


async def _back(queues: Queues) -> None:
    """Wait until these queues have reconnected; each try has the time-out of an emit."""
    time = asyncio.get_running_loop().time
    end = time() + _BACK
    while True:
        try:
            await queues.emit("probe", None, to="probe")
            return
        except StoreError as error:
            if time() > end:
                what = f"queues that find the node again within {_BACK:g} s"
                raise NotSettled(f"waited in vain for {what}: {error}") from None
        await give_way()  # a store that does nothing more says so at once


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
    ),
    Exercise(
        "09.2",
        "a vendor who is told the truth",
        _the_truth,
        "three things may have happened when emit raises: stored, not stored, and nobody knows. "
        "What can the vendor be told, and what makes it harmless to hand the same package over "
        "again? And which call lets a driver consume a queue?",
    ),
]
