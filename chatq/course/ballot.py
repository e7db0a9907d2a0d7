"""A prediction as widgets: boxes to tick, two buttons, and the mark.

Owns how it looks and how it is worked, and the style that opens what was folded. Must not know:
which cells run, where the right choices come from.
"""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from ..internals.comm import answer_on_own_shell
from ..views.looks import LESSON
from .prediction import Prediction

__all__ = ["Ballot"]

#: Opens a fold, and takes away the line that would open it. A browser that cannot style what a
#: closed one hides leaves it to a click.
_OPEN = """<style>
@supports selector(::details-content) {{
    details.{0} > summary {{ display: none }}
    details.{0}::details-content {{ content-visibility: visible; block-size: auto }}
}}
</style>"""
_STYLE = (
    f"""<style>{LESSON}</style>"""
    + """<style>
.chatq-ballot { border-left: 4px solid var(--jp-brand-color1, #1976d2); padding: 8px 12px }
.chatq-ballot .widget-html-content { line-height: 1.45; white-space: normal }
.chatq-ballot ul { margin: 4px 0 0; padding-left: 1.4em }
.chatq-ballot .jupyter-widget-radio-box label {
    display: flex; height: auto; white-space: normal; overflow-wrap: anywhere
}
.chatq-ballot .jupyter-widget-radio-box input { flex: none; order: -1 }
</style>"""
)


class Ballot:
    """The widgets of one prediction: `box`."""

    box: Any

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction
        question, wide = prediction.question, widgets.Layout(width="auto")
        choices, chosen = [*question.choices], prediction.chosen or ()
        if question.one:
            value = chosen[0] if chosen else None
            self._boxes = [widgets.RadioButtons(options=choices, value=value, layout=wide)]
        else:
            self._boxes = [
                widgets.Checkbox(description=c, value=c in chosen, indent=False, layout=wide)
                for c in choices
            ]
        self._made = widgets.Button(description="That is my prediction", layout=wide)
        self._show = widgets.Button(description="Show me", layout=wide)
        self._made.on_click(self._on_made)
        self._show.on_click(lambda _: prediction.show())
        for widget in (self._made, self._show, *self._boxes):
            answer_on_own_shell(widget)
        self._said = widgets.HTML()
        self._fold = widgets.HTML()
        asked = widgets.HTML(f"{_STYLE}<strong>{html.escape(question.text)}</strong>")
        buttons = widgets.HBox([self._made, self._show])
        self.box = widgets.VBox([asked, *self._boxes, buttons, self._said, self._fold])
        self.box.add_class("chatq-ballot")
        prediction.changed = self._draw
        self._draw()

    def _ticked(self) -> list[str]:
        if self._prediction.question.one:
            return [box.value for box in self._boxes if box.value is not None]
        return [box.description for box in self._boxes if box.value]

    def _on_made(self, _: object) -> None:
        try:
            self._prediction.predicted(self._ticked())
        except ValueError as error:
            self._said.value = _status(f"{error}")

    def _draw(self) -> None:
        prediction = self._prediction
        for widget in (*self._boxes, self._made, self._show):
            widget.disabled = not prediction.open
        if prediction.chosen is not None and prediction.mark is None:
            self._show.disabled = prediction.shown
        if prediction.mark is not None:
            self._said.value = _status(prediction.mark.verdict, prediction.mark.replies)
        else:
            self._said.value = _status(prediction.said) if prediction.said else ""
        revealed = prediction.mark is not None or prediction.shown
        self._fold.value = _OPEN.format(prediction.question.fold) if revealed else ""


def _status(line: str, more: list[str] | None = None) -> str:
    items = "".join(f"<li>{html.escape(one)}</li>" for one in more or ())
    return f'<div role="status">{html.escape(line)}{f"<ul>{items}</ul>" if items else ""}</div>'
