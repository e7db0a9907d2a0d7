"""Invariants of a scene, checked on its journal: who got what, how often, in which order.

Owns the invariants, and the words for one that does not hold. Must not know: how a scene is played,
the task of an exercise, the text of an answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Any

from ..internals.client_tap import Client
from ..journal.facts import SERVER, Received
from ..journal.journal import preview
from ..stage.stage import Stage
from ..views.deliveries import cell, label, route
from ..views.explain import Message
from ..views.sentence import sentence

__all__ = ["Invariants", "Wrong", "listing", "times"]


class Wrong(Exception):
    """The first counter-example, as lines: what was expected of which client, and what it got."""

    lines: tuple[str, ...]

    def __init__(self, **fields: str) -> None:
        super().__init__(fields)
        self.lines = tuple(f"{name:9} {text}" for name, text in fields.items() if text)


class Invariants(ABC):
    """The checks of one scene; `proved` collects the invariants that hold."""

    stage: Stage

    def __init__(self) -> None:
        #: The invariants that hold, in words.
        self.proved: list[str] = []

    @abstractmethod
    async def settle(self) -> None:
        """Wait until nothing is under way."""

    @abstractmethod
    def deaf(self, event: str, namespace: str = "/") -> str:
        """Return a text that no handler listens to this event, or "" if there is one."""

    def got(
        self,
        event: str,
        who: Iterable[str],
        what: str,
        *,
        since: int = 0,
        data: Any = ...,
        namespace: str = "/",
    ) -> None:
        """Require that exactly `who` got an `event` from the server, each once.

        `what`: the message in words; `since`: only messages with a higher number; `data`: its data
        (`...`: any); `namespace`: the only one in which they may get it. Raises `Wrong`.
        """
        wanted = {*who}
        sent = self._sent(event, since)
        for name in self.stage.view().kinds:
            times = sum(
                isinstance(fact, Received) and fact.client == name and fact.handled
                for message in sent
                for fact in self._received(message)
            )
            if times != (name in wanted):
                message = next((m for m in reversed(sent) if self._concerns(m, name, times)), None)
                self._wrong(what, name, name in wanted, times, message, event, since)
            if times:
                self._check_message(what, name, sent, data, namespace)
        once = "each once" if len(wanted) > 1 else "once"
        reached = f"{_list(wanted)}, {once}, and nobody else" if wanted else "nobody"
        self.proved.append(f"{what} reaches {reached}")

    def _check_message(
        self, what: str, name: str, sent: list[Message], data: Any, namespace: str
    ) -> None:
        """Require that the one message that `name` got has this data and namespace."""
        (message,) = [
            m for m in sent if any(f.client == name and f.handled for f in self._received(m))
        ]
        emitted = message.emitted
        text = f"{what.rstrip(',')}: {label(message)} ({route(message)})"
        if emitted.namespace != namespace:
            got = f"gets it in {emitted.namespace}"
            raise Wrong(message=text, client=name, expected=f"gets it in {namespace}", got=got)
        if data is not ... and emitted.data != (wanted := preview((data,))):
            raise Wrong(message=text, client=name, expected=f"gets {wanted}", got=emitted.data)

    def _concerns(self, message: Message, name: str, times: int) -> bool:
        return not times or any(fact.client == name for fact in self._received(message))

    def _sent(self, event: str, since: int) -> list[Message]:
        return [
            m
            for m in self.stage.view().messages
            if m.emitted.event == event and m.emitted.sender == SERVER and m.emitted.message > since
        ]

    def _received(self, message: Message) -> list[Received]:
        number = message.emitted.message
        return [f for f in self.stage.journal if isinstance(f, Received) and f.message == number]

    def _wrong(
        self,
        what: str,
        name: str,
        should: bool,
        count: int,
        message: Message | None,
        event: str,
        since: int,
    ) -> None:
        expected = "gets it, once" if should else "does not get it"
        if message is None:
            raise Wrong(
                message=f"{what.rstrip(',')}: {event!r}",
                client=name,
                expected=expected,
                got=f"the server emits no {event!r} at all" + self._instead(since),
            )
        mark = cell(message.explanations.get(name)).replace("✓", "gets it")
        raise Wrong(
            message=f"{what.rstrip(',')}: {label(message)} ({route(message)})",
            client=name,
            expected=expected,
            got=self._too_often(name, event, since) if count > 1 else mark,
            why=sentence(message, name),
        )

    def _instead(self, since: int) -> str:
        """Return what the server emits instead, and an event of clients that has no handler."""
        new = [m.emitted for m in self.stage.view().messages if m.emitted.message > since]
        sent = [*dict.fromkeys(one.event for one in new if one.sender == SERVER)]
        received = dict.fromkeys((m.event, m.namespace) for m in new if m.sender != SERVER)
        deaf = [text for one in received if (text := self.deaf(*one))]
        return (f"; it emits {listing(sent)}" if sent else "") + "".join(deaf[:1])

    def _too_often(self, name: str, event: str, since: int) -> str:
        got = [
            message.emitted.data
            for message in self._sent(event, since)
            for fact in self._received(message)
            if fact.client == name and fact.handled
        ]
        if len({*got}) == 1:
            return f"gets it {times(len(got))}"
        return f"gets {len(got)}, not one: {', '.join(got)}"

    async def told(
        self,
        client: Client,
        event: str,
        data: Any,
        expected: Any,
        what: str,
        *,
        namespace: str = "/",
    ) -> None:
        """Emit `event` from `client`, and require that the handler returns `expected`."""
        answers: list[Any] = []

        def note(*answer: Any) -> None:
            answers.append(answer[0] if len(answer) == 1 else answer or None)

        await client.emit(event, data, namespace=namespace, callback=note)
        await self.settle()
        if not answers:
            raise Wrong(
                message=what,
                client=client.name,
                expected=repr(expected),
                got=f"no answer: the server has no handler for {event!r}" + self.deaf(event),
            )
        self.equal(what, client.name, answers[0], expected)

    def equal(self, what: str, client: str, got: Any, expected: Any, why: str = "") -> None:
        """Require that `got`, which `client` got as an answer, is `expected`."""
        if got != expected:
            raise Wrong(
                message=what, client=client, expected=repr(expected), got=repr(got), why=why
            )
        self.proved.append(f"{what}: {client} is told {expected!r}")

    def in_order(self, what: str, client: str, got: list[Any], expected: list[Any]) -> None:
        """Require that `client` got exactly these, each once, in this order."""
        for item in expected:
            count = got.count(item)
            if count != 1:
                raise Wrong(
                    message=f"{what}: {item!r}",
                    client=client,
                    expected="gets it, once",
                    got="never got it" if not count else f"got it {times(count)}",
                    why=f"what came: {listing(got)}",
                )
        if extra := [item for item in got if item not in expected]:
            self.nothing(what, client, extra, among=got)
        for n, item in enumerate(expected):
            if got[n] != item:
                raise Wrong(
                    message=f"{what}: {item!r}",
                    client=client,
                    expected=f"gets it as number {n + 1}",
                    got=f"number {got.index(item) + 1}",
                    why=f"what came: {listing(got)}",
                )
        self.proved.append(f"{what}: {client} gets {len(expected)}, each once, in order")

    def nothing(
        self, what: str, client: str, got: list[Any], *, among: list[Any] | None = None
    ) -> None:
        """Require that `client` got none of these; `among`: all that it got."""
        if got:
            raise Wrong(
                message=f"{what}: {got[0]!r}",
                client=client,
                expected="does not get it",
                got="got it",
                why=f"what came: {listing(among or got)}",
            )
        self.proved.append(f"{what}: {client} gets nothing")


def listing(got: list[Any]) -> str:
    """Return the items of a list as text."""
    return ", ".join(map(repr, got)) or "nothing"


def times(count: int) -> str:
    """Return a number of times in words: "once", "3 times"."""
    return ("never", "once", "twice")[count] if count < 3 else f"{count} times"


def _list(names: Collection[str]) -> str:
    return " and ".join(", ".join(sorted(names)).rsplit(", ", 1))
