"""The exercises of lesson 05: separate namespaces, and one that needs a key.

Owns their tasks. Must not know: how an answer is tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .check import Exercise
from .invariants import Wrong
from .trial import Trial

__all__ = ["EXERCISES"]

_T = TypeVar("_T")

_BAR, _KITCHEN, _STAFF = "/bar", "/kitchen", "/staff"
_KEYS = {"key of cy": "cy", "key of dan": "dan"}


async def _two_channels(trial: Trial) -> None:
    await trial.serve()
    both = await trial.clients("ada", "bob", hears=["news"], namespaces=[_BAR, _KITCHEN])
    (cy,) = await trial.clients("cy", hears=["news"], namespaces=[_BAR])
    (dan,) = await trial.clients("dan", hears=["news"], namespaces=[_KITCHEN])
    inside = {_BAR: [*both, cy], _KITCHEN: [*both, dan]}
    for place in (_BAR, _KITCHEN, _BAR, _KITCHEN):
        speaker = trial.random.choice(inside[place])
        before = trial.stage.journal.messages
        text = f"{speaker.name} is in {place}"
        await speaker.emit("say", text, namespace=place)
        await trial.settle()
        who = [client.name for client in inside[place]]
        what = f"what {speaker.name} says in {place}"
        trial.got("news", who, what, since=before, data=text, namespace=place)


async def _staff_only(trial: Trial) -> None:
    look_up = _LookUp()

    async def who_is(key: object) -> str | None:
        return await look_up(key)

    await trial.serve(who_is)
    staff: dict[str, Any] = {"hears": ["news"], "namespaces": [_STAFF]}
    (cy,) = await trial.clients("cy", auth={"key": "key of cy"}, **staff)
    before = trial.stage.journal.messages
    await cy.emit("say", "good morning", namespace=_STAFF)
    await trial.settle()
    _check_news(trial, ["cy"], "what cy says, alone in there,", before, "cy: good morning")

    before = trial.stage.journal.messages
    dialling = trial.clients("dan", auth={"key": "key of dan"}, **staff)
    secret = cy.call("say", "a secret", namespace=_STAFF)
    (dan,) = await look_up.meanwhile("dan", dialling, secret)
    await trial.settle()
    _check_news(trial, ["cy"], "what cy says while dan waits at the door", before, "cy: a secret")
    for speaker in (cy, dan):
        before = trial.stage.journal.messages
        await speaker.emit("say", "hello", namespace=_STAFF)
        await trial.settle()
        what, text = f"what {speaker.name} says to both", f"{speaker.name}: hello"
        _check_news(trial, ["cy", "dan"], what, before, text)

    before = trial.stage.journal.messages
    knocking = trial.knock("eve", auth={"key": "a guess"}, **staff)
    secret = dan.call("say", "a secret", namespace=_STAFF)
    _, refusals = await look_up.meanwhile("eve", knocking, secret)
    await trial.settle()
    what = "what dan says while eve waits at the door"
    _check_news(trial, ["cy", "dan"], what, before, "dan: a secret")
    word = refusals.get(_STAFF, "come in")
    trial.equal("the word at the door for eve, who is not staff", "eve", word, "you are not staff")


def _check_news(trial: Trial, who: list[str], what: str, before: int, text: str) -> None:
    trial.got("news", who, what, since=before, data=text, namespace=_STAFF)


class _LookUp:
    """Looks up the owner of a key; slowly while something else is to happen `meanwhile`."""

    def __init__(self) -> None:
        self._begun: asyncio.Queue[asyncio.Event] | None = None

    async def __call__(self, key: object) -> str | None:
        if self._begun is not None:
            go_on = asyncio.Event()
            self._begun.put_nowait(go_on)
            await go_on.wait()
        return _KEYS.get(key) if isinstance(key, str) else None

    async def meanwhile(
        self, name: str, dialling: Coroutine[Any, Any, _T], doing: Coroutine[Any, Any, object]
    ) -> _T:
        """Connect `name`; when its key is looked up, do something before there is a result."""
        self._begun = asyncio.Queue()
        dials = asyncio.create_task(dialling)
        asked = asyncio.create_task(self._begun.get())
        try:
            await asyncio.wait({dials, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                await dials  # its error says more
                raise Wrong(
                    message=f"{name} dials",
                    client=name,
                    expected="is let in or refused when who_is has been asked",
                    got="who_is is not asked",
                )
            await doing
            asked.result().set()
            return await dials
        finally:
            self._begun = None
            doing.close()
            dials.cancel()
            asked.cancel()


EXERCISES = [
    Exercise(
        "05.1",
        "two channels on one line",
        _two_channels,
        "a handler belongs to one channel, and so does what it emits: where does it go if you name "
        "none?",
    ),
    Exercise(
        "05.2",
        "staff only",
        _staff_only,
        "whoever waits at the door is in the namespace already: what is it not in, before you say "
        "yes?",
    ),
]
