"""The links between a table of deliveries and its diagram: a cell lights its line.

Owns the classes by which the two find each other, and the style sheet that lights a line and its
sign, and shows the reason, while the mouse or the focus is on a cell. Must not know: how a reason
is found, how the table and the diagram are drawn, widgets, pages.

Style sheets alone, since no script runs in the output of a notebook. A cell has the class of its
message, and that of its client; so has what it lights. Its reason is in it as text, which a screen
reader reads, and which is moved below the table when it is to be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .deliveries import Deliveries
from .explain import Message
from .sentence import sentence
from .table import Table, one_line

__all__ = ["BELOW", "cell_classes", "linked", "reason", "sheet"]

#: What stands below the table while no cell is pointed at.
BELOW = '<p class="chatq-below">Why? Point at a mark, or reach it with the Tab key.</p>'

#: The longest reason, in characters.
_LONGEST = 240

_SHEET = """
.chatq-linked{position:relative;padding-bottom:4.6em}
.chatq-why,.chatq-below{position:absolute;left:0;right:0;bottom:0;height:4.2em;margin:0;
 box-sizing:border-box;padding:5px 10px;overflow:auto;line-height:1.4;text-align:left;
 white-space:normal;overflow-wrap:anywhere;border-left:5px solid var(--chatq-lit-edge,#8a6d00);
 color:var(--chatq-ink,#111);background:var(--chatq-lit,#fff0b3)}
.chatq-below{border-left-color:#99a;color:var(--chatq-quiet,#444);background:none}
.chatq-cell{cursor:help}
.chatq-cell:not(:hover,:focus) .chatq-why,
.chatq-linked:has(.chatq-cell:hover) .chatq-cell:not(:hover) .chatq-why{
 width:1px;height:1px;padding:0;right:auto;overflow:hidden;clip-path:inset(50%);
 white-space:nowrap}
.chatq-linked:has(.chatq-cell:is(:hover,:focus)) .chatq-below{visibility:hidden}
.chatq-band{fill:var(--chatq-band,none);stroke:var(--chatq-bound,none)}
.chatq-ring{stroke:var(--chatq-sign,none);stroke-width:4}
.chatq-cell:is(:hover,:focus){outline:3px solid var(--chatq-lit-edge,#8a6d00);outline-offset:-3px}
"""
#: While a cell of the class `{of}` in `{root}` is pointed at; the mouse comes before the focus.
_WHILE = (
    ":is({root}:has(.chatq-cell{of}:hover),"
    "{root}:not(:has(.chatq-cell:hover)):has(.chatq-cell{of}:focus))"
)
#: A line that is lit has an edge, and in it the sign whose column is pointed at has one, too.
_LINE = "--chatq-band:var(--chatq-lit,#fff0b3);--chatq-bound:var(--chatq-lit-edge,#8a6d00)"
_SIGN = "--chatq-sign:var(--chatq-bound,none)"


def cell_classes(message: Message, name: str) -> str:
    """Return the classes of the cell of a message and a client."""
    place = [*message.explanations].index(name)
    return f"chatq-cell chatq-m{message.emitted.message} chatq-c{place}"


def reason(message: Message, name: str) -> str:
    """Return what a cell says: why the client did, or did not, get the message."""
    return one_line(sentence(message, name), _LONGEST)


def linked(deliveries: Deliveries) -> Table:
    """Return the table of deliveries with cells that light their lines."""
    table, names = deliveries.table(), deliveries.columns
    before = len(table.headers) - len(names)
    hints = {
        (row, before + column): (cell_classes(message, name), reason(message, name))
        for row, message in enumerate(deliveries.messages)
        for column, name in enumerate(names)
        if name in message.explanations
    }
    return replace(table, hints=hints)


def sheet(root: str, messages: Iterable[Message]) -> str:
    """Return the style sheet for the table and the diagram of these messages, both in `root`."""
    lines, signs = [], {}
    for message in messages:
        of = f".chatq-m{message.emitted.message}"
        lines.append(f"{_WHILE.format(root=root, of=of)} .chatq-row{of}{{{_LINE}}}")
        signs.update(dict.fromkeys(range(len(message.explanations))))
    for place in signs:
        of = f".chatq-c{place}"
        lines.append(f"{_WHILE.format(root=root, of=of)} svg {of}{{{_SIGN}}}")
    return "\n".join([_SHEET.strip(), *lines])
