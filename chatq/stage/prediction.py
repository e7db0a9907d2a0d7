"""A guess that is made before a cell is run, and marked after.

Owns the question, what was ticked, and how it compares with what happened. Must not know: the
stage, what the question is about.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

__all__ = ["Mark", "Prediction"]


class Prediction:
    """A question with things to tick: shown as check boxes where there are widgets.

        guess = Prediction("Who gets 'news'?", "ada", "bob", "cy")
        guess                        # tick, or: guess.choose("bob", "cy")
        ...                          # the cell that shows it
        guess.mark(stage.deliveries().who_got("news"))

    `choices`: all that can be ticked, also none or several of them.
    """

    def __init__(self, question: str, *choices: str) -> None:
        if not choices or len(set(choices)) < len(choices):
            raise ValueError(f"a prediction needs different things to choose from, not {choices}")
        self.question, self.choices = question, choices
        self._chosen: tuple[str, ...] | None = None
        self._boxes: list[Any] = []
        self._box: Any = None
        self._marked = False

    @property
    def chosen(self) -> tuple[str, ...] | None:
        """What was ticked, in the order of the choices; None: no guess was made."""
        return self._chosen

    def choose(self, *choices: str) -> Prediction:
        """Guess these, without widgets. Raises `ValueError` for what is no choice, and when it has
        been marked: a guess afterwards is none."""
        if self._marked:
            raise ValueError("this prediction has been marked: run its cell again to guess again")
        self._chosen = self._known(choices)
        for box in self._boxes:
            box.value = box.description in self._chosen
        self._chosen = self._known(choices)  # also if that is nothing
        return self

    def _known(self, choices: Iterable[str]) -> tuple[str, ...]:
        given = [*choices]
        for choice in given:
            if choice not in self.choices:
                raise ValueError(
                    f"there is no {choice!r} to choose, only {', '.join(self.choices)}"
                )
        return tuple(choice for choice in self.choices if choice in given)

    def mark(self, right: Iterable[str]) -> Mark:
        """Compare the guess with what happened: `right` should have been ticked, and nothing else.

        Raises `ValueError` for what is no choice.
        """
        mark = Mark(
            self.question, self._chosen, self._known([right] if isinstance(right, str) else right)
        )
        self._marked = True
        for box in self._boxes:
            box.disabled = True
        if self._box is not None:
            self._box.children = [*self._box.children[: len(self._boxes) + 1], _told(mark)]
        return mark

    def __repr__(self) -> str:
        ticked = self._chosen or ()
        boxes = "   ".join(f"[{'x' if c in ticked else ' '}] {c}" for c in self.choices)
        first = f'"{self.choices[0]}"'
        return f"{self.question}\n{boxes}\n(tick, or call choose({first}, …))"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        ticked = self._chosen or ()
        boxes = "".join(
            f"<div>{'☑' if choice in ticked else '☐'} {html.escape(choice)}</div>"
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
            for choice in self.choices:
                ticked = choice in (self._chosen or ())
                box = widgets.Checkbox(description=choice, value=ticked, indent=False, layout=wide)
                box.observe(self._ticked, "value")
                if hasattr(box.comm, "_reply_subshell_for"):  # see `board`
                    box.comm._reply_subshell_for = None
                self._boxes.append(box)
            question = widgets.HTML(f"<strong>{html.escape(self.question)}</strong>")
            self._box = widgets.VBox([question, *self._boxes])
        return self._box

    def _ticked(self, _: object) -> None:
        self._chosen = tuple(box.description for box in self._boxes if box.value)


def _told(mark: Mark) -> Any:
    import ipywidgets as widgets

    return widgets.HTML(f'<div role="status">{html.escape(repr(mark))}</div>')


class Mark:
    """How a guess compares with what happened."""

    def __init__(
        self, question: str, chosen: tuple[str, ...] | None, right: tuple[str, ...]
    ) -> None:
        self.question, self.chosen, self.right = question, chosen, right

    @property
    def good(self) -> bool:
        """Whether exactly the right things were ticked."""
        return self.chosen == self.right

    def __repr__(self) -> str:
        right = ", ".join(self.right) or "none of them"
        if self.chosen is None:
            return f"{self.question} It is: {right}. (You made no guess.)"
        if self.good:
            return f"✓ {self.question} You said so: {right}."
        said = ", ".join(self.chosen) or "none of them"
        return f"✗ {self.question} You said: {said}. It is: {right}."
