"""The exercises of lesson 01: the line is open, but it has no memory.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

from .check import Exercise
from .generated.scenes_01 import LastWord, ToEveryone
from .trial import Trial

__all__ = ["EXERCISES"]


async def _to_everyone(trial: Trial) -> None:
    await trial.serve()
    names = ["ada", "bob"]
    clients = dict(zip(names, await trial.clients(*names, hears=["news"]), strict=True))
    for late in ("cy", "dan", ""):  # somebody dials after each text
        speaker, text = trial.random.choice(names), f"it is {len(names)} o'clock"
        before = trial.stage.journal.messages
        await clients[speaker].emit("say", text)
        await trial.settle()
        if late:
            (clients[late],) = await trial.clients(late, hears=["news"])
            await trial.settle()
        trial.got("news", names, f"what {speaker} says", since=before, data=text)
        names += [late] if late else []


async def _the_last_word(trial: Trial) -> None:
    await trial.serve()
    ada, bob = await trial.clients("ada", "bob", hears=["news"])
    await trial.settle()
    trial.got("news", [], "what is told before anybody has spoken")
    before = trial.stage.journal.messages
    await ada.emit("say", "the soup is hot")
    await trial.settle()
    text = "the soup is hot"
    trial.got("news", ["ada", "bob"], "what ada says", since=before, data=text)
    await _dials(trial, "cy", text)
    before = trial.stage.journal.messages
    text = "the soup is gone"
    await bob.emit("say", text)
    await trial.settle()
    trial.got("news", ["ada", "bob", "cy"], "what bob says", since=before, data=text)
    await _dials(trial, "dan", text)


async def _dials(trial: Trial, name: str, text: str) -> None:
    before = trial.stage.journal.messages
    await trial.clients(name, hears=["news"])
    await trial.settle()
    trial.got("news", [name], f"what is told to {name} on dialling", since=before, data=text)


EXERCISES = [
    Exercise(
        "01.1",
        "say it to everyone on the line",
        _to_everyone,
        "a client's emit ends at the server: which event arrives there, and which one has to leave "
        "it, for whom?",
        ToEveryone,
    ),
    Exercise(
        "01.2",
        "the last word for whoever dials too late",
        _the_last_word,
        "the line remembers nothing, so who has to, and at which moment can it tell the one caller "
        "who has just dialled?",
        LastWord,
    ),
]
