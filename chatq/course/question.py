"""What a prediction is asked about: its words, its choices, and where the right ones are found.

Owns the form of a question, and how what has happened since is looked up. Must not know: how a
question is shown or answered, what any lesson asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..journal.journal import Journal
from ..views.explain import Message
from .catalogue import find

__all__ = ["Question", "Seen", "question"]

#: Choices that mean that no other is right.
NONE = ("nobody", "none of them")


class Seen:
    """What the cells of a lesson have left since a question was asked.

    What is not there yet raises `LookupError`: the scene has not been played.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        #: What the cells have printed.
        self.printed = ""
        self._journal = self._now()
        self._before = self._journal.messages if self._journal else 0

    def _now(self) -> Journal | None:
        return getattr(self._names.get("stage"), "journal", None)

    def __getitem__(self, name: str) -> Any:
        """Return a variable of the lesson."""
        return self._names[name]

    def messages(self, *events: str) -> list[Message]:
        """Return the messages on `stage` called so, emitted since: at least one."""
        before = self._before if self._now() is self._journal else 0  # another stage: all of it
        called = self["stage"].deliveries(*events).messages
        found = [one for one in called if one.emitted.message > before]
        if not found:
            raise LookupError(f"nothing called {' or '.join(events)} has been emitted since")
        return found

    def who_got(self, event: str) -> set[str]:
        """Return who got the last message called so."""
        return self.messages(event)[-1].got_by

    def who_got_any(self, event: str) -> set[str]:
        """Return who got at least one of the messages called so."""
        return set().union(*(one.got_by for one in self.messages(event)))


@dataclass(frozen=True)
class Question:
    """One question: its name ("03.a"), its text, and its choices, each with what is said to
    somebody who ticked it and was wrong.

    `right`: looks the right choices up; none: "nobody" or "none of them" is right. `one`: only one
    of the choices can be right. `missed`: what is said to somebody who left out a right one.
    `cells`: how many cells below it play the scene; `folds`: how many of them, and of those that
    follow, would give the answer away, if there are more.
    """

    name: str
    text: str
    choices: Mapping[str, str]
    right: Callable[[Seen], str | Iterable[str]]
    one: bool = False
    missed: str = ""
    cells: int = 1
    folds: int = 0

    @property
    def fold(self) -> str:
        """Return the CSS class of all that it folds, in outputs and in the text of the lesson."""
        return f"chatq-{self.name.replace('.', '-')}"

    def right_ones(self, seen: Seen) -> tuple[str, ...] | None:
        """Return the right choices; None: nobody can say so yet."""
        try:
            right = self.right(seen)
            given = {right} if isinstance(right, str) else {*right}
        except Exception:  # whatever the reader has made of the cells: they do not say it
            return None
        known = tuple(choice for choice in self.choices if choice in given)
        if not known and not self.one:
            known = tuple(choice for choice in self.choices if choice in NONE)
        return known or None


def question(name: str) -> Question:
    """Return the question called so. Raises `LookupError` naming those of the lesson."""
    found: Question = find(name, "questions.questions_", "QUESTIONS", "prediction")
    return found
