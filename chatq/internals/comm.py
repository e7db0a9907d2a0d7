"""The shell channel on which ipykernel answers a widget's message.

Owns that touch. Must not know: what widgets are for.

Touches ipykernel 7.4: `BaseComm._reply_subshell_for`, which is absent where there are no subshells.
"""

from __future__ import annotations

from typing import Any

__all__ = ["answer_on_own_shell"]


def answer_on_own_shell(widget: Any) -> None:
    """Answer messages to this widget on the shell that they came from.

    Else, while a cell is waiting, the widget would send no more messages.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = None
