"""A prediction that is made before a cell is run, and marked after.

Owns the question, the choices ticked, and their comparison with the right ones. Must not know: the
stage, what the question is about.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import Any

from ..internals.comm import answer_on_own_shell

__all__ = ["Mark", "NotYet", "Prediction"]

#: The right choices; None: not known yet.
Right = Iterable[str] | None
#: Choices that mean that no other is right.
_NONE = ("nobody", "none of them")


class Prediction:
    """A question with choices to tick: shown as check boxes where there are widgets.

        guess = Prediction("Who gets 'news'?", "ada", "bob", "cy", "nobody")
        guess                        # tick, or: guess.choose("bob", "cy")
        ...                          # the cell that shows it
        guess.mark(lambda: stage.deliveries().who_got("news"))

    `choices`: all that can be ticked, also several of them; "nobody" or "none of them" stands for
    none. `one`: only one of them can be right, so they are radio buttons.
    """

    question: str
    choices: tuple[str, ...]
    one: bool

    def __init__(self, question: str, *choices: str, one: bool = False) -> None:
        if not choices or len(set(choices)) < len(choices):
            raise ValueError(f"a prediction needs different things to choose from, not {choices}")
        self.question, self.choices, self.one = question, choices, one
        self._chosen: tuple[str, ...] | None = None
        self._boxes: list[Any] = []
        self._box: Any = None
        self._marked = False

    @property
    def chosen(self) -> tuple[str, ...] | None:
        """The ticked choices, in order; None: no prediction was made."""
        return self._chosen

    def choose(self, *choices: str) -> Prediction:
        """Tick these, without widgets. Raises `ValueError` for an unknown choice, for several if
        only one can be right, and after `mark`."""
        if self._marked:
            raise ValueError("this prediction has been marked: run its cell again to guess again")
        chosen = self._known(choices)
        for box in self._boxes:
            if self.one:
                box.value = chosen[0]
            else:
                box.value = box.description in chosen
        self._chosen = chosen  # also if it is empty
        return self

    def _known(self, choices: Iterable[str]) -> tuple[str, ...]:
        given = [*choices]
        for choice in given:
            if choice not in self.choices:
                raise ValueError(
                    f"there is no {choice!r} to choose, only {', '.join(self.choices)}"
                )
        known = tuple(choice for choice in self.choices if choice in given)
        if self.one and len(known) != 1:
            given_names = ", ".join(known) or "nothing"
            raise ValueError(f"choose exactly one of {', '.join(self.choices)}, not {given_names}")
        return known

    def mark(self, right: Right | Callable[[], Right]) -> Mark | NotYet:
        """Return the mark: exactly the choices `right` should have been ticked.

        `right` may be a function that looks them up. If it raises `LookupError`, `NameError` or
        `OSError`, or `right` is None, the scene has not been run: returns a `NotYet`, and the
        prediction stays open. Raises `ValueError` for an unknown choice.
        """
        if callable(right):
            try:
                right = right()
            except (LookupError, NameError, OSError):
                right = None
        if right is None:
            return NotYet(self.question)
        right = [right] if isinstance(right, str) else [*right]
        if not right:
            right = [choice for choice in self.choices if choice in _NONE]
        mark = Mark(self.question, self._chosen, self._known(right))
        self._marked = True
        for box in self._boxes:
            box.disabled = True
        if self._box is not None:
            self._box.children = [*self._box.children[: len(self._boxes) + 1], _widget(mark)]
        return mark

    def __repr__(self) -> str:
        ticked = self._chosen or ()
        empty, full = ("( )", "(x)") if self.one else ("[ ]", "[x]")
        boxes = "   ".join(f"{full if c in ticked else empty} {c}" for c in self.choices)
        call = f'choose("{self.choices[0]}"' + ("" if self.one else ", …") + ")"
        return f"{self.question}\n{boxes}\n({'choose one' if self.one else 'tick'}, or call {call})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        ticked = self._chosen or ()
        empty, full = "○◉" if self.one else "☐☑"
        boxes = "".join(
            f"<div>{full if choice in ticked else empty} {html.escape(choice)}</div>"
            for choice in self.choices
        )
        question = f"<strong>{html.escape(self.question)}</strong>"
        page = {"text/plain": repr(self), "text/html": f"<div>{question}{boxes}</div>"}
        try:
            return {**self._widgets()._repr_mimebundle_(), **page}
        except ModuleNotFoundError:
            return page

    def _widgets(self) -> Any:
        if self._box is None:
            import ipywidgets as widgets  # type: ignore[import-untyped]

            wide = widgets.Layout(width="auto")
            chosen = self._chosen or ()
            if self.one:
                value = chosen[0] if chosen else None
                options = {"options": self.choices, "value": value}
                self._boxes = [widgets.RadioButtons(layout=wide, **options)]
            else:
                self._boxes = [
                    widgets.Checkbox(description=c, value=c in chosen, indent=False, layout=wide)
                    for c in self.choices
                ]
            for box in self._boxes:
                box.observe(self._ticked, "value")
                answer_on_own_shell(box)
            question = widgets.HTML(f"<strong>{html.escape(self.question)}</strong>")
            self._box = widgets.VBox([question, *self._boxes])
        return self._box

    def _ticked(self, _: object) -> None:
        if self.one:
            (value,) = (box.value for box in self._boxes)
            self._chosen = None if value is None else (value,)
        else:
            self._chosen = tuple(box.description for box in self._boxes if box.value)


def _widget(mark: Mark) -> Any:
    import ipywidgets as widgets

    return widgets.HTML(f'<div role="status">{html.escape(repr(mark))}</div>')


class Mark:
    """The comparison of a prediction with what happened."""

    question: str
    chosen: tuple[str, ...] | None
    right: tuple[str, ...]

    def __init__(
        self, question: str, chosen: tuple[str, ...] | None, right: tuple[str, ...]
    ) -> None:
        self.question, self.chosen, self.right = question, chosen, right

    @property
    def good(self) -> bool:
        """Return whether exactly the right things were ticked."""
        return self.chosen == self.right

    def __repr__(self) -> str:
        right = ", ".join(self.right) or "none of them"
        if self.chosen is None:
            return f"{self.question} It is: {right}. (You made no guess.)"
        if self.good:
            return f"✓ {self.question} You said so: {right}."
        said = ", ".join(self.chosen) or "none of them"
        return f"✗ {self.question} You said: {said}. It is: {right}."


class NotYet:
    """A prediction that cannot be marked yet: the scene has not been run."""

    def __init__(self, question: str) -> None:
        self.question = question

    def __repr__(self) -> str:
        return (
            f"… {self.question} Not marked yet: guess first, then run the cells between the "
            "question and this one, and then this one again."
        )
