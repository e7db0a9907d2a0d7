"""The exercises of lesson 04: who is let in to a room, who may speak there, and how one leaves.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..internals.client_tap import Client
from .check import Exercise
from .generated.scenes_04 import WORDS, Doors, Members
from .trial import Trial

__all__ = ["EXERCISES"]


async def _ask_before_you_let_in(trial: Trial) -> None:
    await trial.serve({**WORDS})
    ada, bob, cy, dan = await trial.clients("ada", "bob", "cy", "dan", hears=["said"])
    tries: list[tuple[Client, str, str | None, list[str]]] = [
        (ada, "book club", "moby-dick", ["ada"]),
        (dan, "book club", "let me in", ["ada"]),
        (bob, "cooks", "saffron", ["bob"]),
        (cy, "book club", "saffron", ["ada"]),
        (dan, "a room of dan's making", None, []),
    ]
    for client, room, word, inside in tries:
        before = trial.stage.journal.messages
        await client.emit("join", (room, word))
        await trial.settle()
        await trial.sio.emit("said", "welcome, whoever is in", to=room)
        await trial.settle()
        when = f"when {client.name} has tried the word {word!r}"
        trial.got("said", inside, f"what is said in {room!r} {when}", since=before)
    yes, no = ("book club", "moby-dick"), ("book club", "saffron")
    await trial.told(ada, "join", yes, True, "the answer to the right word")
    await trial.told(cy, "join", no, False, "the answer to the word of another room")


async def _a_room_for_members(trial: Trial) -> None:
    await trial.serve({**WORDS})
    ada, bob, cy, dan = await trial.clients("ada", "bob", "cy", "dan", hears=["said", "left"])
    for room, members in (("book club", [ada, bob, cy]), ("cooks", [bob, cy])):
        for client in members:
            await client.emit("join", (room, WORDS[room]))
            await trial.settle()
    await _says(trial, bob, "book club", ["ada", "cy"])
    await _says(trial, dan, "book club", [], "dan, who is not in,")
    await _says(trial, dan, "", [], "dan, who is nowhere,")

    before = trial.stage.journal.messages
    await bob.emit("leave", "cooks")
    await _left(trial, ["cy"], "the news that bob leaves 'cooks'", before, "cooks")
    await _says(trial, cy, "cooks", [])
    await _says(trial, ada, "book club", ["bob", "cy"])
    before = trial.stage.journal.messages
    await dan.emit("leave", "book club")
    await _left(trial, [], "the news that dan, who is not in, leaves 'book club'", before)

    await bob.emit("leave", own := bob.get_sid())
    await trial.settle()
    before = trial.stage.journal.messages
    await trial.sio.emit("said", "for bob alone", to=own)
    await trial.settle()
    what = "what the server says to bob's sid, which he tried to leave as a room,"
    trial.got("said", ["bob"], what, since=before)

    before = trial.stage.journal.messages
    await trial.stage.cut(cy)
    await _left(trial, ["ada", "bob"], "the news that cy loses the connection", before, "book club")
    await cy.connect()
    await _says(trial, ada, "book club", ["bob"])


async def _says(
    trial: Trial, client: Client, room: str, hear: Iterable[str], who: str = ""
) -> None:
    before = trial.stage.journal.messages
    text = f"{client.name} speaks"
    await client.emit("say", (room, text))
    await trial.settle()
    what = f"what {who or client.name} says in {room!r}"
    trial.got("said", hear, what, since=before, data=text)


async def _left(trial: Trial, hear: Iterable[str], what: str, before: int, room: str = "") -> None:
    await trial.settle()
    trial.got("left", hear, what, since=before, data=room)


EXERCISES = [
    Exercise(
        "04.1",
        "ask before you let in",
        _ask_before_you_let_in,
        "both the room and the word are only somebody's claim: what do you hold them against, "
        "and is it this room's word?",
        Doors,
    ),
    Exercise(
        "04.2",
        "a room for its members",
        _a_room_for_members,
        "the server knows at every moment who is in which room: ask it before you send, and mind "
        "who is on the list while you do",
        Members,
    ),
]
