"""A generated scene: steps that are drawn, played one after the other, and judged by a model.

Owns what a scene is made of, how its steps are played and judged, and its story. Must not know: who
draws the steps, the task of an exercise, verdicts.

A scene of an exercise is a class: its state is the model of the task, its methods marked as `step`
are what may happen. A step acts, and returns who must hear what of it; nobody hears anything else:

    class Everyone(Scene):
        hears = ("news",)

        @step("{who} says {text!r}", who=("ada", "bob"), text=("hi", ""))
        async def says(self, who, text):
            await self.emit(who, "say", text)
            return self.to(self.there, "news", text)
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..internals.client_tap import Client
from ..internals.engine import give_up
from ..journal.facts import SERVER, Emitted, Received
from ..waiting import give_way
from .attempt import Outcome
from .invariants import Wrong
from .sandbox import replaced
from .trial import Trial

__all__ = [
    "Expected",
    "Heard",
    "Played",
    "Scene",
    "Script",
    "Skip",
    "Step",
    "same",
    "same_in_any_order",
    "step",
    "story",
]


class Heard(NamedTuple):
    """One event that a client hears, or has to hear."""

    event: str
    arguments: tuple[Any, ...]
    namespace: str = "/"

    def __str__(self) -> str:
        what = ", ".join(map(repr, self.arguments))
        where = "" if self.namespace == "/" else f" in {self.namespace}"
        return f"{self.event} {what}".rstrip() + where


#: What each client has to hear of a step; who is not named hears nothing.
Expected = dict[str, list[Heard]]


class Step(NamedTuple):
    """One step of a script: the method, and what is drawn for its parameters."""

    name: str
    operands: dict[str, Any]


Script = list[Step]


class Played(NamedTuple):
    """What came of a script that went wrong: with its step of this number, and what was played
    until then."""

    script: Script
    outcome: Outcome
    steps: int


class Skip(Exception):
    """The step makes no sense here, as nobody can hang up who is not there: it is left out."""


@dataclass(frozen=True)
class _Mark:
    words: str
    operands: dict[str, Sequence[Any]]


_Method = TypeVar("_Method", bound=Callable[..., Awaitable[Expected | None]])


def step(words: str, **operands: Sequence[Any]) -> Callable[[_Method], _Method]:
    """Mark a method of a `Scene` as a step.

    `words`: what it is in a story, with the operands in braces; `operands`: for each parameter what
    it may be, the simplest first.
    """

    def mark(method: _Method) -> _Method:
        vars(method)["step"] = _Mark(words, operands)
        return method

    return mark


class Scene:
    """One scene, for one new trial of an answer; see the module."""

    #: The greatest number of steps; half as many are usual.
    longest: int = 24
    #: The events that clients listen to; others are not looked at.
    hears: tuple[str, ...] = ()
    #: Whether each client has to hear the events of one step in this order.
    ordered: bool = True
    #: Whether it is played in a process of its own, so that a step may kill it: see `dies`.
    in_processes: bool = False
    #: The steps at the end of every scene, which show what has come of the others.
    finale: tuple[Step, ...] = ()
    #: What all scenes together prove, in words: "whoever joins, leaves or is gone".
    proves: str = ""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        #: Those whose line is open, by name.
        self.lines: dict[str, Client] = {}
        #: What `shares` gives.
        self.shared: Any = None
        #: What is known of the task; handed on to the next life where this one is killed.
        self.model: Any = None
        #: The number of steps so far, and those that were not skipped.
        self.position, self.played = 0, Script()
        self._inboxes: dict[str, list[Heard]] = {}

    @classmethod
    def steps(cls) -> dict[str, _Mark]:
        """Return the marks of the steps, by the names of the methods, in their order."""
        found = {}
        for one in reversed(cls.__mro__):
            for name in vars(one):
                mark = getattr(getattr(cls, name), "step", None)
                if isinstance(mark, _Mark):
                    found[name] = mark
        return found

    @classmethod
    @contextlib.asynccontextmanager
    async def shares(cls) -> AsyncIterator[Any]:
        """Give what all scenes of one check share, as a server that takes long to start."""
        yield None

    async def opens(self) -> None:
        """Begin: serve the answer."""
        await self.trial.serve()

    # -- what steps do

    @property
    def there(self) -> list[str]:
        """The names of those whose line is open."""
        return [*self.lines]

    async def line(self, who: str) -> Client:
        """Return the line of this client, which dials if it is not there yet."""
        if who not in self.lines:
            self.lines[who] = await self.dial(who)
        return self.lines[who]

    async def dial(self, who: str) -> Client:
        """Connect a client that hears. Raises `Wrong` if it is not let in."""
        client = await self.trial.stage.client(who, connect=False)
        self.listen(client)
        await self.trial.enters(client)
        return client

    def listen(self, client: Client, namespace: str = "/") -> None:
        """Let a client note what it hears."""
        inbox = self.inbox(client.name)
        for event in self.hears:
            note = partial(_note, inbox, event, namespace)
            client.on(event, note, namespace=namespace)

    def gone(self, who: str) -> Client:
        """Return the line of a client, which is open no more; skip the step if there is none."""
        if who not in self.lines:
            raise Skip
        return self.lines.pop(who)

    async def is_given_up(self, client: Client, namespace: str = "/") -> None:
        """Let a client be silent until the server gives it up."""
        await self.trial.stage.freeze(client)
        await give_up(self.trial.sio, client.get_sid(namespace), namespace)
        await self.trial.settle()
        await self.trial.stage.cut(client)

    async def emit(self, who: str, event: str, *data: Any) -> None:
        """Emit this from a client, which dials first if need be."""
        await (await self.line(who)).emit(event, data)

    async def asks(self, who: str, event: str, *data: Any) -> Any:
        """Emit this from a client, and return what the handler returns."""
        return await self.trial.asks(await self.line(who), event, *data)

    async def at_once(self, *said: tuple[Any, ...]) -> list[Any]:
        """Emit each `(who, event, *data)` before anything comes of the others; return what each
        handler returns."""
        answers: list[Any] = [None] * len(said)
        lines = [await self.line(who) for who, *_ in said]
        await self.trial.settle()
        for at, (line, (_, event, *data)) in enumerate(zip(lines, said, strict=True)):
            await line.emit(event, tuple(data), callback=partial(_keep, answers, at))
        await self.trial.settle()
        return answers

    async def meanwhile(self, first: tuple[Any, ...], second: tuple[Any, ...]) -> list[Any]:
        """Emit `first`, an `(who, event, *data)`, and `second` so that it comes in while the server
        emits for the first time; return what each handler returns."""
        answers: list[Any] = [None, None]
        lines = [await self.line(who) for who, *_ in (first, second)]
        await self.trial.settle()
        sio, emit, outside = self.trial.sio, self.trial.sio.emit, contextvars.copy_context()
        begun = False

        async def says(at: int, event: str, *data: Any) -> None:
            await lines[at].emit(event, data, callback=partial(_keep, answers, at))

        async def emits(*given: Any, **options: Any) -> None:
            nonlocal begun
            await emit(*given, **options)
            if not begun:
                begun = True
                before = self._taken(second[1])
                await asyncio.create_task(says(1, *second[1:]), context=outside)
                await self.trial.stage.until(
                    lambda: self._taken(second[1]) > before, "the other event to come in"
                )
                await give_way()  # its handler begins

        with replaced(sio, "emit", emits):
            await says(0, *first[1:])
            await self.trial.settle()
        if not begun:
            await says(1, *second[1:])
        await self.trial.settle()
        return answers

    def _taken(self, event: str) -> int:
        """Return how often the server has taken in an event."""
        sent = {
            fact.message
            for fact in self.trial.stage.journal
            if isinstance(fact, Emitted) and fact.event == event
        }
        return sum(
            isinstance(fact, Received) and fact.client == SERVER and fact.message in sent
            for fact in self.trial.stage.journal
        )

    async def heard(self, who: str) -> list[Heard]:
        """Return what a client has heard since the last judgement, where more than one is right."""
        await self.trial.settle()
        return [*self.inbox(who)]

    def dies(self) -> None:
        """Kill this process; the next step is played by a new one, with this `model`."""
        raise Skip  # there is no process of its own

    # -- what must come of it

    def to(self, who: Iterable[str], event: str, *arguments: Any, namespace: str = "/") -> Expected:
        """Return that exactly these have to hear this, once."""
        return {name: [Heard(event, arguments, namespace)] for name in who}

    def inbox(self, who: str) -> list[Heard]:
        """Return what this client has heard in this step so far; cleared, it is not judged."""
        return self._inboxes.setdefault(who, [])

    def answered(self, who: str, got: Any, expected: Any) -> None:
        """Require that the answer that `who` got is `expected`."""
        if not same(got, expected):
            raise Wrong(
                client=who,
                expected=f"is answered {expected!r}",
                got="gets no answer" if got is None else f"is answered {got!r:.100}",
            )

    def judge(self, expected: Expected | None) -> None:
        """Require that everybody has heard what he had to hear since the last time."""
        for name, inbox in self._inboxes.items():
            want, got = (expected or {}).get(name, []), [*inbox]
            inbox.clear()
            if not (same(got, want) if self.ordered else same_in_any_order(got, want)):
                raise Wrong(client=name, expected=_hears(want), got=_hears(got))

    async def play(self, script: Script) -> None:
        """Play a script and the finale. Raises `Wrong`, or what the answer raised: see `played`."""
        await self.opens()
        await self.trial.settle()
        for one in (*script, *self.finale):
            self.position += 1
            self.played.append(one)
            try:
                expected = await getattr(self, one.name)(**one.operands)
            except Skip:
                self.played.pop()
                continue
            await self.trial.settle()
            self.judge(expected)


def _keep(answers: list[Any], at: int, *given: Any) -> None:
    answers[at] = given[0] if len(given) == 1 else None


def _note(inbox: list[Heard], event: str, namespace: str, *arguments: Any) -> None:
    inbox.append(Heard(event, arguments, namespace))


def same(got: Any, expected: Any) -> bool:
    """Return whether these are equal, and of one kind: `True` is not 1."""
    if isinstance(got, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(got) == len(expected) and all(map(same, got, expected))
    return bool(got == expected) and isinstance(got, bool) == isinstance(expected, bool)


def same_in_any_order(got: Collection[Any], expected: Collection[Any]) -> bool:
    """Return whether these are the same in some order."""
    left = [*expected]
    for one in got:
        for index, other in enumerate(left):
            if same(one, other):
                del left[index]
                break
        else:
            return False
    return not left


def _hears(what: list[Heard]) -> str:
    return "hears " + (", then ".join(map(str, what)) or "nothing")


# -- in words ------------------------------------------------------------------------------------

#: Where the actor ends in what is said of a step: "ada", "the hub", "ada and bob", "all three".
_AT_VERB = re.compile(r"(?<!^the)(?<!^all)(?<! and) (?!and )")
#: How many lines the steps of a story may take, and how long one should be.
_LINES, _WIDTH = 3, 72


def story(scene: type[Scene], played: Script) -> list[str]:
    """Return what has been played in words, in at most three lines: who did what, in order."""
    marks = scene.steps()
    sentences: list[str] = []
    last = ""
    for one in played:
        text = marks[one.name].words.format(**one.operands)
        who, what = _AT_VERB.split(text, maxsplit=1)
        if who == last:
            sentences[-1] += f", then {what}"
        else:
            sentences.append(text)
        last = who
    lines: list[str] = []
    for sentence in sentences:
        if lines and len(lines[-1]) + len(sentence) + 2 <= _WIDTH:
            lines[-1] += f"; {sentence}"
        else:
            lines.append(sentence)
    if len(lines) > _LINES:  # a long story: fewer lines, and longer
        size = -(-len(sentences) // _LINES)
        lines = ["; ".join(sentences[at : at + size]) for at in range(0, len(sentences), size)]
    return lines or ["nothing has happened yet"]
