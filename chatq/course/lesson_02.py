"""The exercises of lesson 02: who is there, and who has gone.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from ..internals.client_tap import Client
from .check import Exercise
from .generated.scenes_02 import Goodbyes, WhoIsThere
from .trial import Trial

__all__ = ["EXERCISES"]


async def _tell_those_who_stay(trial: Trial) -> None:
    await trial.serve()
    names = ["ada", "bob", "cy", "dan"]
    ada, bob, cy, _ = await trial.clients(*names, hears=["gone"])
    the_door = partial(trial.sio.disconnect, ada.get_sid())
    goodbyes: list[tuple[str, str, Callable[[], Awaitable[None]], str]] = [
        ("bob", "hangs up", bob.disconnect, "client disconnect"),
        ("cy", "loses the connection", partial(trial.stage.cut, cy), "transport close"),
        ("ada", "is shown the door", the_door, "server disconnect"),
    ]
    for name, how, goodbye, reason in goodbyes:
        before = trial.stage.journal.messages
        await goodbye()
        await trial.settle()
        names.remove(name)
        trial.got("gone", names, f"the news that {name} {how}", since=before, data=reason)


async def _who_is_there(trial: Trial) -> None:
    await trial.serve(ping_interval=1, ping_timeout=2)  # seconds; the frozen are given up after 3
    ada, bob, cy, dan, eve = await trial.clients("ada", "bob", "cy", "dan", "eve", hears=["left"])
    for client in (dan, cy, bob, ada):
        await client.emit("here", client.name)
        await trial.settle()
    await _asks(trial, ada, ["ada", "bob", "cy", "dan"], "when all but eve have said their names")

    before = trial.stage.journal.messages
    await bob.disconnect()
    await _left(trial, "bob", ["ada", "cy", "dan", "eve"], "hangs up", before)
    await _asks(trial, ada, ["ada", "cy", "dan"], "when bob has hung up")
    await bob.connect()
    await bob.emit("here", "bob")
    await trial.settle()
    await _asks(trial, ada, ["ada", "bob", "cy", "dan"], "when bob is back")

    before = trial.stage.journal.messages
    await eve.disconnect()
    await trial.settle()
    trial.got("left", [], "the news that eve, who never said a name, hangs up", since=before)
    before = trial.stage.journal.messages
    await trial.stage.cut(dan)
    await _left(trial, "dan", ["ada", "bob", "cy"], "loses the connection", before)

    await trial.stage.freeze(cy)
    await _asks(trial, ada, ["ada", "bob", "cy"], "when cy is silent, for how long nobody knows")
    before = trial.stage.journal.messages
    await trial.stage.until(
        lambda: not trial.stage.connected("cy"), "the server to give cy up", within=10
    )
    await _left(trial, "cy", ["ada", "bob"], "is given up", before)
    await _asks(trial, bob, ["ada", "bob"], "when the server has given cy up")


async def _left(trial: Trial, name: str, stay: list[str], how: str, before: int) -> None:
    await trial.settle()
    trial.got("left", stay, f"the news that {name} {how}", since=before, data=name)


async def _asks(trial: Trial, client: Client, expected: list[str], when: str) -> None:
    await trial.told(client, "who", None, expected, f"who is there {when}")


EXERCISES = [
    Exercise(
        "02.1",
        "tell those who stay",
        _tell_those_who_stay,
        "which handler runs in the end, however a line ends, and what is it told besides the sid?",
        Goodbyes,
    ),
    Exercise(
        "02.2",
        "who is really there",
        _who_is_there,
        "the goodbye brings a sid and no name: what did you note, and under what, when the name "
        "was said?",
        WhoIsThere,
    ),
]
