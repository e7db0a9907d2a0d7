"""The exercises of lesson 03: who gets it, and who is left out.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

from ..internals.client_tap import Client
from .check import Exercise
from .generated.scenes_03 import AllOthers, Whispers
from .trial import Trial

__all__ = ["EXERCISES"]


async def _all_but_the_sender(trial: Trial) -> None:
    await trial.serve()
    names = ["ada", "bob", "cy", "dan"]
    clients = dict(zip(names, await trial.clients(*names, hears=["news"]), strict=True))
    for name in trial.random.sample(names, 3):
        before = trial.stage.journal.messages
        text = f"{name} was here"
        await clients[name].emit("say", text)
        await trial.settle()
        trial.got("news", {*names} - {name}, f"what {name} says", since=before, data=text)


async def _whisper(trial: Trial) -> None:
    await trial.serve()
    ada, bob, cy, _ = await trial.clients("ada", "bob", "cy", "dan", hears=["news"])

    async def whispers(who: Client, text: str, to: set[str], what: str) -> None:
        before = trial.stage.journal.messages
        await who.emit("whisper", ("balcony", text))
        await trial.settle()
        trial.got("news", to, f"what {who.name} whispers {what}", since=before, data=text)

    await bob.emit("here", "balcony")
    await cy.emit("here", "balcony")
    await trial.settle()
    await whispers(bob, "cake at noon", {"cy"}, "on the balcony")
    await whispers(ada, "what is up there?", {"bob", "cy"}, "to the balcony")
    await cy.emit("here", "kitchen")
    await trial.settle()
    what = "on the balcony when cy has entered the kitchen, too,"
    await whispers(bob, "still on the balcony?", {"cy"}, what)
    await bob.disconnect()
    await trial.settle()
    await whispers(ada, "still there?", {"cy"}, "when bob has left")


EXERCISES = [
    Exercise(
        "03.1",
        "everyone but the sender",
        _all_but_the_sender,
        "`emit` goes to everyone; its argument `skip_sid` leaves somebody out: whom, and how does "
        "the handler know?",
        AllOthers,
    ),
    Exercise(
        "03.2",
        "whisper to a room",
        _whisper,
        "two arguments of `emit` together: one names the room, the other leaves out who speaks",
        Whispers,
    ),
]
