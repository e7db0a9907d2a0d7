"""A prediction: what a reader says will happen, and its mark when it has.

Owns its states, from a question that is asked to the mark. Must not know: how it is shown as
widgets, which cells run.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .question import Question, Seen

__all__ = ["Mark", "Prediction"]


@dataclass(frozen=True)
class Mark:
    """The comparison of a prediction with what happened. `chosen`: None if none was made."""

    question: Question
    chosen: tuple[str, ...] | None
    right: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Return whether exactly the right things were ticked."""
        return self.chosen == self.right

    @property
    def verdict(self) -> str:
        """Return the mark in one line."""
        right = ", ".join(self.right)
        if self.chosen is None:
            return f"It is: {right}. (You made no prediction.)"
        if self.good:
            return f"✓ You said so: {right}."
        return f"✗ You said: {', '.join(self.chosen)}. It is: {right}."

    @property
    def replies(self) -> list[str]:
        """Return what is said of each wrong choice, and of what was left out."""
        if self.chosen is None:
            return []
        question, said = self.question, dict[str, list[str]]()
        for choice in self.chosen:
            if choice not in self.right and (reply := question.choices[choice]):
                said.setdefault(reply, []).append(choice)  # several may have the same
        if question.one:
            return [reply[0].upper() + reply[1:] for reply in said]
        replies = [f"{', '.join(wrong)}: {reply}" for reply, wrong in said.items()]
        if question.missed and not {*self.right} <= {*self.chosen}:
            replies.append(question.missed)
        return replies

    def __repr__(self) -> str:
        return "\n  ".join([self.verdict, *self.replies])


class Prediction:
    """What a reader says will happen; `predict` asks for it.

    It is made (`choose`) or given up (`show`), once; and it is marked as soon as it is both that
    and known what happened (`look`).
    """

    question: Question
    #: The ticked choices, in order; None: nothing was predicted.
    chosen: tuple[str, ...] | None
    #: The right choices; None: it has not happened yet.
    right: tuple[str, ...] | None
    #: Whether the reader has asked for the answer.
    shown: bool

    def __init__(self, question: Question, seen: Seen, shown: bool = False) -> None:
        self.question, self.seen, self.shown = question, seen, shown
        self.chosen = self.right = None
        #: Called after each change.
        self.changed: Callable[[], None] = lambda: None
        #: Whether it was made by a call, so that its mark is shown below the scene.
        self.by_call = False
        #: Makes its widgets, when it is shown first; raises `ModuleNotFoundError` without them.
        self.widgets: Callable[[Prediction], Any] | None = None
        self._box: Any = None

    @property
    def open(self) -> bool:
        """Return whether the reader has neither predicted nor asked for the answer."""
        return self.chosen is None and not self.shown

    @property
    def mark(self) -> Mark | None:
        """Return the mark; None: it is open, or nothing has happened yet."""
        if self.open or self.right is None:
            return None
        return Mark(self.question, self.chosen, self.right)

    def choose(self, *choices: str) -> Prediction:
        """Predict this, without widgets. Raises `ValueError` for an unknown choice, for none, for
        several if only one can be right, and if it is not open any more."""
        self.by_call = True
        return self.predicted(choices)

    def predicted(self, choices: Iterable[str]) -> Prediction:
        """See `choose`."""
        known, given = self.question.choices, [*choices]
        if not self.open:
            raise ValueError("this one is answered: run its cell again to predict again")
        for choice in given:
            if choice not in known:
                raise ValueError(f"there is no {choice!r} to choose, only {', '.join(known)}")
        chosen = tuple(choice for choice in known if choice in given)
        if not chosen or (self.question.one and len(chosen) > 1):
            some = "exactly one" if self.question.one else "at least one"
            raise ValueError(f"choose {some} of {', '.join(known)}")
        self.chosen = chosen
        self.changed()
        return self

    def show(self) -> Prediction:
        """Show what happened, without a prediction."""
        self.shown = True
        self.changed()
        return self

    def look(self) -> None:
        """Look whether it has happened by now."""
        if self.right is None:
            self.right = self.question.right_ones(self.seen)
            if self.right is not None:
                self.changed()

    @property
    def said(self) -> str:
        """Return in one line, or several, how it stands."""
        if self.mark is not None:
            return repr(self.mark)
        if self.chosen is not None:
            return f"You say: {', '.join(self.chosen)}. Now run the cells below."
        if self.shown:
            return "Nothing is hidden any more. Run the cells below."
        return ""

    def __repr__(self) -> str:
        ticked, known = self.chosen or (), self.question.choices
        empty, full = ("( )", "(x)") if self.question.one else ("[ ]", "[x]")
        boxes = "   ".join(f"{full if c in ticked else empty} {c}" for c in known)
        return "\n".join(filter(None, [self.question.text, boxes, self.said or self._how]))

    @property
    def _how(self) -> str:
        first = next(iter(self.question.choices))
        call = f'.choose("{first}"' + (")" if self.question.one else ", …)")
        what = "choose one" if self.question.one else "tick"
        return f"({what}, or add {call} to the line; .show() if you would rather be told)"

    def page(self) -> str:
        """Return it as HTML without widgets."""
        empty, full = "○◉" if self.question.one else "☐☑"
        boxes = "".join(
            f"<div>{full if choice in (self.chosen or ()) else empty} {html.escape(choice)}</div>"
            for choice in self.question.choices
        )
        said = "".join(f"<div>{html.escape(line)}</div>" for line in self.said.splitlines())
        return f"<div><strong>{html.escape(self.question.text)}</strong>{boxes}{said}</div>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        page: dict[str, object] = {"text/plain": repr(self), "text/html": self.page()}
        try:
            if self._box is None and self.widgets is not None:
                self._box = self.widgets(self)
        except ModuleNotFoundError:
            pass
        return page if self._box is None else {**self._box._repr_mimebundle_(), **page}
