"""Cells of a notebook as they run: when each begins and ends, and folding of what it shows.

Owns these touches, and the form of what is folded. Must not know: why anything is folded.

Touches ipykernel 7.4: `register_hook` of its display hook and its display publisher, which may
change what a cell shows on its way out; and IPython's events. Elsewhere nothing is folded.
"""

from __future__ import annotations

import html
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


class _Tee:
    """Stands in for `sys.stdout` while a cell runs: keeps what is printed, and passes it on unless
    `quiet`."""

    def __init__(self, stdout: Any, quiet: bool) -> None:
        self.stdout, self.quiet = stdout, quiet
        self.printed, self._passed_on = "", 0

    def write(self, text: str) -> int:
        self.printed += text
        if not self.quiet:
            self.stdout.write(self.rest())
        return len(text)

    def rest(self) -> str:
        """Return what was not passed on yet; now it is."""
        text, self._passed_on = self.printed[self._passed_on :], len(self.printed)
        return text

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stdout, name)


class Cells:
    """The cells of one kernel: whoever sets `begins` and `ended` is told of each.

    `begins` is given what tells a cell from others, and returns the fold for what it shows, if any;
    `ended` is given what it has printed. That is shown when a folded cell has ended, or before its
    result: as one text, since a stream cannot be folded.
    """

    def __init__(self, shell: Any) -> None:
        self.begins: Callable[[str], Fold | None] = lambda _: None
        self.ended: Callable[[str], None] = lambda _: None
        self._shell = shell
        self._fold: Fold | None = None
        self._tee: _Tee | None = None
        self._can_fold = hasattr(shell.displayhook, "register_hook")
        shell.events.register("pre_run_cell", self._on_begin)
        shell.events.register("post_run_cell", self._on_end)
        if self._can_fold:
            shell.displayhook.register_hook(self._on_the_way)
            shell.display_pub.register_hook(self._on_the_way)

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
        if self._tee is not None and self._tee.quiet:
            self._tee.quiet = False
            self._tee.write("")

    def _on_begin(self, info: Any) -> None:
        self._restore()  # after a cell whose end nobody has told
        fold = self.begins(info.cell_id or info.raw_cell)
        self._fold = fold if self._can_fold else None
        self._tee = _Tee(sys.stdout, quiet=self._fold is not None)
        sys.stdout = self._tee

    def _on_end(self, _: Any) -> None:
        self._show_printed()
        printed = self._tee.printed if self._tee else ""
        self._restore()
        self._fold = None
        self.ended(printed)

    def _restore(self) -> None:
        if self._tee is not None and sys.stdout is self._tee:
            sys.stdout = self._tee.stdout
        self._tee = None

    def _show_printed(self) -> None:
        if self._fold and self._tee and (printed := self._tee.rest()):
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
