"""Cells of a notebook as they run: when each begins and ends, and folding of what it shows.

Owns these touches, and the form of what is folded. Must not know: why anything is folded.

Touches ipykernel 7.4: `register_hook` of its display hook and its display publisher, which may
change what a cell shows on its way out; and IPython's events. Elsewhere nothing is folded.
"""

from __future__ import annotations

import html
import io
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .wrapping import kept_on

__all__ = ["Cells", "Fold", "cells"]

_WIDGET = "application/vnd.jupyter.widget-view+json"


class Fold(NamedTuple):
    """A fold: the CSS class of its `<details>`, and the line that stays in sight, of what is
    printed and of what is shown."""

    name: str
    printed: str
    shown: str


class Cells:
    """The cells of one kernel: whoever sets `begins` and `ended` is told of each.

    `begins` is given what tells a cell from others, and returns the fold for what it shows, if any;
    `ended` is called when it has run. What is printed in a folded cell is shown when it has ended,
    or before its result: as one text, since a stream cannot be folded. Text stays as it is.
    """

    def __init__(self, shell: Any) -> None:
        self.begins: Callable[[str], Fold | None] = lambda _: None
        self.ended: Callable[[], None] = lambda: None
        self._shell = shell
        self._fold: Fold | None = None
        self._printed = io.StringIO()
        self._stdout: Any = None
        shell.events.register("pre_run_cell", self._on_begin)
        shell.events.register("post_run_cell", self._on_end)
        for way_out in (shell.displayhook, shell.display_pub):
            if hasattr(way_out, "register_hook"):
                way_out.register_hook(self._on_the_way)

    @property
    def names(self) -> Mapping[str, Any]:
        """The variables of the notebook."""
        names: Mapping[str, Any] = self._shell.user_ns
        return names

    def show(self, data: Mapping[str, str]) -> None:
        """Show this below the cell that runs, unfolded: texts by their MIME type."""
        fold, self._fold = self._fold, None
        self._shell.display_pub.publish(dict(data))
        self._fold = fold

    def unfold(self) -> None:
        """Fold nothing of the cell that runs, also not what it has printed."""
        self._fold = None
        printed = self._take()
        if printed:
            print(printed, end="", flush=True)

    def _on_begin(self, info: Any) -> None:
        self.unfold()  # of a cell whose end nobody has told
        self._fold = self.begins(info.cell_id or info.raw_cell)
        if self._fold and hasattr(self._shell.display_pub, "register_hook"):
            self._stdout, sys.stdout = sys.stdout, self._printed

    def _on_end(self, _: Any) -> None:
        self._show_printed()
        self.unfold()
        self.ended()

    def _take(self) -> str:
        if self._stdout is not None and not self._fold:
            sys.stdout, self._stdout = self._stdout, None
        printed = self._printed.getvalue()
        self._printed.seek(0)
        self._printed.truncate()
        return printed

    def _show_printed(self) -> None:
        if self._fold and (printed := self._take()):
            text = {"text/plain": printed.removesuffix("\n")}
            self.show(folded(self._fold.name, self._fold.printed, text))

    def _on_the_way(self, message: dict[str, Any]) -> dict[str, Any]:
        data = message["content"].get("data", {})
        if self._fold and "text/plain" in data and _WIDGET not in data:
            self._show_printed()
            message["content"]["data"] = folded(self._fold.name, self._fold.shown, data)
        return message


def folded(name: str, summary: str, data: Mapping[str, str]) -> dict[str, str]:
    """Return these forms of one thing with its page folded; its text stays as it is."""
    text = data["text/plain"]
    page = data.get("text/html") or data.get("image/svg+xml")
    if page is None:
        page = f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'
    summary = f"<summary>{html.escape(summary)}</summary>"
    return {
        "text/plain": text,
        "text/html": f'<details class="{name}">{summary}\n{page}</details>',
    }


def cells() -> Cells | None:
    """Return the cells of the notebook that this runs in; None: it runs elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return None if shell is None else kept_on(shell, Cells)
