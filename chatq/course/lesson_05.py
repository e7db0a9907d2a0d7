"""The exercises of lesson 05: separate namespaces, and one that needs a key.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ..internals.client_tap import Client
from ..journal.activity import NotSettled
from ..journal.facts import Received
from .check import Exercise
from .generated.scenes_05 import BAR, KITCHEN, STAFF, Channels, LookUp, StaffOnly
from .invariants import Wrong
from .trial import Trial

__all__ = ["EXERCISES"]

_T = TypeVar("_T")

_KEYS = {"key of cy": "cy", "key of dan": "dan"}


async def _two_channels(trial: Trial) -> None:
    await trial.serve()
    both = await trial.clients("ada", "bob", hears=["news"], namespaces=[BAR, KITCHEN])
    (cy,) = await trial.clients("cy", hears=["news"], namespaces=[BAR])
    (dan,) = await trial.clients("dan", hears=["news"], namespaces=[KITCHEN])
    inside = {BAR: [*both, cy], KITCHEN: [*both, dan]}
    for place in (BAR, KITCHEN, BAR, KITCHEN):
        speaker = trial.random.choice(inside[place])
        before = trial.stage.journal.messages
        text = f"{speaker.name} is in {place}"
        await speaker.emit("say", text, namespace=place)
        await trial.settle()
        who = [client.name for client in inside[place]]
        what = f"what {speaker.name} says in {place}"
        trial.got("news", who, what, since=before, data=text, namespace=place)


async def _staff_only(trial: Trial) -> None:
    look_up = LookUp(_KEYS)
    await trial.serve(look_up.who_is)
    staff: dict[str, Any] = {"hears": ["news"], "namespaces": [STAFF]}
    (cy,) = await trial.clients("cy", auth={"key": "key of cy"}, **staff)
    before = trial.stage.journal.messages
    await cy.emit("say", "good morning", namespace=STAFF)
    await trial.settle()
    _check_news(trial, ["cy"], "what cy says, alone in there,", before, "cy: good morning")

    before = trial.stage.journal.messages
    dialling = trial.clients("dan", auth={"key": "key of dan"}, **staff)
    (dan,) = await _waits(look_up, "dan", dialling, _secret(trial, cy))
    await trial.settle()
    _check_news(trial, ["cy"], "what cy says while dan waits at the door", before, "cy: a secret")
    for speaker in (cy, dan):
        before = trial.stage.journal.messages
        await speaker.emit("say", "hello", namespace=STAFF)
        await trial.settle()
        what, text = f"what {speaker.name} says to both", f"{speaker.name}: hello"
        _check_news(trial, ["cy", "dan"], what, before, text)

    before = trial.stage.journal.messages
    knocking = trial.knock("eve", auth={"key": "a guess"}, **staff)
    _, refusals = await _waits(look_up, "eve", knocking, _secret(trial, dan))
    await trial.settle()
    what = "what dan says while eve waits at the door"
    _check_news(trial, ["cy", "dan"], what, before, "dan: a secret")
    if STAFF not in refusals:
        raise Wrong(
            message="eve dials, whose key is nobody's",
            client="eve",
            expected="is refused, and told 'you are not staff'",
            got="is let in",
        )
    word = refusals[STAFF]
    trial.equal("the word at the door for eve, who is not staff", "eve", word, "you are not staff")


def _check_news(trial: Trial, who: list[str], what: str, before: int, text: str) -> None:
    trial.got("news", who, what, since=before, data=text, namespace=STAFF)


async def _secret(trial: Trial, client: Client) -> None:
    """Say it, and return when it was heard: while somebody waits, the stage does not settle."""
    before = trial.stage.journal.messages

    def heard() -> bool:
        return any(
            isinstance(fact, Received) and fact.client == client.name and fact.message > before
            for fact in trial.stage.journal
        )

    await client.call("say", "a secret", namespace=STAFF)
    with suppress(NotSettled):  # what was not heard by then is judged
        await trial.stage.until(heard, "the news", within=3)


async def _waits(
    look_up: LookUp, name: str, dialling: Coroutine[Any, Any, _T], doing: Coroutine[Any, Any, None]
) -> _T:
    """Connect `name`; when its key is looked up, do something before there is a result."""
    (dialled,), asked = await look_up.wait([dialling], doing)
    if not asked:
        raise Wrong(
            message=f"{name} dials",
            client=name,
            expected="is let in or refused when who_is has been asked",
            got="who_is is not asked",
        )
    return dialled


EXERCISES = [
    Exercise(
        "05.1",
        "two channels on one line",
        _two_channels,
        "a handler belongs to one channel, and so does what it emits: where does it go if you name "
        "none?",
        Channels,
    ),
    Exercise(
        "05.2",
        "staff only",
        _staff_only,
        "whoever waits at the door is in the namespace already: what is it not in, before you say "
        "yes?",
        StaffOnly,
    ),
]
