"""Messages of widgets to a kernel: where it answers them, and which cell it takes for the newest.

Owns these touches. Must not know: what widgets are for.

Touches ipykernel 7.4: `BaseComm._reply_subshell_for`, which is absent where there are no subshells,
and `set_parent` of its kernel.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .wrapping import Wrapped, kept_on

__all__ = ["answer_on_own_shell"]

#: How many cells that have run are remembered: more than can be asked for while one runs.
_REMEMBERED = 256


def answer_on_own_shell(widget: Any) -> None:
    """Answer messages to this widget on the shell that they came from.

    Else, while a cell is waiting, the widget would send no more messages.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = None
    if hasattr(kernel := getattr(widget.comm, "kernel", None), "set_parent"):
        kept_on(kernel, NewestCell)


class NewestCell:
    """Keeps the cell that a kernel takes for the newest from being one that has run before it.

    While a cell runs, the kernel answers messages of widgets beside it, and afterwards names that
    cell as the newest again; if another has begun meanwhile, that one never ends on the page, and
    nor does "Run All Cells".
    """

    def __init__(self, kernel: Any) -> None:
        self._begun: deque[str] = deque(maxlen=_REMEMBERED)
        Wrapped().method(kernel, "set_parent", self._on_set_parent)

    def _on_set_parent(
        self, original: Any, ident: Any, parent: dict[str, Any], channel: str = "shell"
    ) -> None:
        header = parent.get("header", {})
        if channel == "shell" and header.get("msg_type") == "execute_request":
            cell = header["msg_id"]
            if cell not in self._begun:
                self._begun.append(cell)
            elif cell != self._begun[-1]:
                return
        original(ident, parent, channel)
