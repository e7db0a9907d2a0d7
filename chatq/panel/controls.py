"""The controls of panels, and the hop from their call-backs to the stage's event loop.

Owns their looks, and that hop. Must not know: what they are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..internals.comm import answer_on_own_shell

try:
    import ipywidgets as widgets  # type: ignore[import-untyped]
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "a panel is made of widgets: pip install ipywidgets", name=missing.name
    ) from None

__all__ = [
    "WIDE",
    "Act",
    "Soon",
    "button",
    "disable",
    "field",
    "offer",
    "row",
    "scrolls",
    "widgets",
]

#: Runs the line that the function returns; returns None if that raised, and shows its error.
Act = Callable[[Callable[[], str]], "asyncio.Task[None] | None"]

WIDE = {"description_width": "70px"}


def row(*children: Any, **layout: str) -> Any:
    """Return controls side by side, wrapped into lines; `layout` as in ipywidgets."""
    given = {"flex_flow": "row wrap", "align_items": "center", **layout}
    return widgets.HBox(children, layout=widgets.Layout(**given))


class Soon:
    """Schedules call-backs on the stage's event loop.

    A widget's call-back may run on another thread: JupyterLab names a subshell in its messages, and
    the kernel may handle them there.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)

    def changed(self, widget: Any, call: Callable[[], None]) -> None:
        """Schedule `call` whenever the value of a widget changes."""
        widget.observe(lambda _: self(call), "value")
        answer_on_own_shell(widget)


def button(soon: Soon, text: str, tooltip: str, click: Callable[[], object], **options: Any) -> Any:
    """Return a button; `click` is called on the stage's event loop. While a task that it returns
    runs, the button shows that it is busy."""

    def clicked() -> None:
        if isinstance(running := click(), asyncio.Task):
            made.add_class("chatq-busy")
            running.add_done_callback(lambda _: made.remove_class("chatq-busy"))

    made = widgets.Button(
        description=text,
        tooltip=tooltip,
        layout=widgets.Layout(width="auto", margin="2px"),
        **options,
    )
    made.on_click(lambda _: soon(clicked))
    return made


def field(kind: str, label: str, value: str, **options: Any) -> Any:
    """Return a field with a label; `kind`: the name of its class in ipywidgets."""
    layout = widgets.Layout(width="218px", margin="2px")
    style = {"description_width": "72px"}
    make = getattr(widgets, kind)
    return make(description=label, value=value, layout=layout, style=style, **options)


def offer(choice: Any, options: list[str]) -> None:
    """Set the options of a choice, and keep its value."""
    chosen = choice.value
    if chosen not in options:
        options = [*options, chosen]
    if [*choice.options] != options:
        choice.options = options
        choice.value = chosen


def scrolls(what: str, content: str, *, newest: bool = False) -> str:
    """Return content in a scrollable frame, which the keyboard can reach, too; `newest`: its end is
    in sight."""
    more = " chatq-newest" if newest else ""
    return (
        f'<div class="chatq-scroll{more}" tabindex="0" role="group" aria-label="{what}">'
        f'<div class="chatq-frame">{content}</div></div>'
    )


def disable(widget: Any) -> None:
    """Disable a widget, with all its children."""
    if widget.has_trait("disabled"):
        widget.disabled = True
    for child in getattr(widget, "children", ()):
        disable(child)
