"""Predictions in a notebook: which is asked, what is folded below it, and when it is marked.

Owns these. Must not know: how cells are folded (`internals.cells`), what a question asks.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from typing import Any

from ..internals.cells import Fold, cells
from .prediction import Prediction
from .question import Seen, question

__all__ = ["predict"]

#: "open": nothing is folded, for a teacher who shows a lesson.
_VARIABLE = "CHATQ_PREDICTIONS"
#: The lines that stay in sight of what is folded.
_PRINTED = "Predict first, then look: what this cell prints"
_SHOWN = "Predict first, then look: what this cell shows"


class _Asked:
    """The predictions of one notebook, and the cells that have run since the newest."""

    def __init__(self) -> None:
        self.by_name: dict[str, Prediction] = {}
        #: The newest, and the cells that have run since it was asked, each once.
        self.newest: Prediction | None = None
        self.since: list[str] = []

    def ask(self, name: str, names: Mapping[str, Any]) -> Prediction:
        shown = os.environ.get(_VARIABLE) == "open"
        self.newest = self.by_name[name] = Prediction(question(name), Seen(names), shown)
        self.newest.widgets = _ballot
        self.since = []
        return self.newest

    def begins(self, cell: str) -> Fold | None:
        """Count the cell; return the fold for what it shows, if it would give the answer away."""
        if self.newest is None:
            return None
        if cell not in self.since:
            self.since.append(cell)
        asked = self.newest.question
        if self.newest.open and self.since.index(cell) < max(asked.cells, asked.folds):
            return Fold(asked.fold, _PRINTED, _SHOWN)
        return None

    def ended(self, printed: str) -> Prediction | None:
        """Look whether it has happened; return the prediction if its mark is to be shown now."""
        newest = self.newest
        if newest is None or newest.right is not None or not self.since:  # its own cell
            return None
        newest.seen.printed += printed
        if len(self.since) < newest.question.cells:
            return None
        newest.look()
        return newest if newest.by_call and newest.mark is not None else None


def _ballot(prediction: Prediction) -> Any:
    from .ballot import Ballot  # needs ipywidgets, without which one can predict, too

    return Ballot(prediction).box


_asked = _Asked()


def predict(name: str) -> Prediction:
    """Ask for the prediction called `name`: boxes to tick where there are widgets.

        predict("03.a")                         # or:
        predict("03.a").choose("bob", "cy")     # without widgets; .show() tells the answer

    What the next cells show is folded until it is made, or given up; then it is opened, and marked
    as soon as the scene has been played. With `CHATQ_PREDICTIONS=open` in the environment nothing
    is folded. Raises `LookupError` for an unknown name.
    """
    notebook = cells()
    if notebook is None:
        return _asked.ask(name, {})
    notebook.unfold()  # of an earlier prediction: this cell shows the next

    def ended(printed: str) -> None:
        if marked := _asked.ended(printed):
            text = repr(marked.mark)
            page = f'<div role="status" style="white-space: pre-wrap">{html.escape(text)}</div>'
            notebook.show({"text/plain": text, "text/html": page})

    prediction = _asked.ask(name, notebook.names)
    notebook.begins, notebook.ended = _asked.begins, ended
    return prediction
