"""A scene as one HTML file, which is stepped through without a network and without a kernel.

Owns the page: what is in it, and that nothing else is loaded or run. Must not know: how a reason is
found, which of the signs and cells stands when (`moments`), how the diagram is drawn.

All that a step can show is in the page, written out here: the script only hides what does not stand
at that step, so no text of a stranger is ever read as a program. Without scripts the page shows
how the scene ended. `replay.css` and `replay.js` are written into the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Iterable
from pathlib import Path
from string import Template

from .deliveries import label, route
from .explain import Message
from .links import BELOW, cell_classes, sheet
from .looks import PAGE, badge
from .moments import Cell, Moments
from .rows import queue_key
from .svg import draw
from .table import MISSED, one_line, width

__all__ = ["page", "write"]

_STYLE = Path(__file__).with_name("replay.css").read_text("utf-8")
_SCRIPT = Path(__file__).with_name("replay.js").read_text("utf-8")
_PAGE = Template(Path(__file__).with_name("replay.html").read_text("utf-8"))
#: The room for the diagram, in pixels: on a usual screen the table is beside it.
_ROOM = 520
#: A mark up to this width, in columns, stays on one line.
_SHORT = 16
_PICTURE = "The table and the list of facts say in words what this picture shows."


def page(told: Moments, title: str) -> str:
    """Return the page of a scene."""
    style = PAGE + _STYLE + sheet("main", told.deliveries.messages)
    return _PAGE.substitute(
        # Hashes: no other script runs, and no other style sheet counts, whatever is in the page.
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(_SCRIPT)}; "
        "base-uri 'none'; form-action 'none'",
        title=html.escape(one_line(title)),
        style=style,
        script=_SCRIPT,
        first=told.first,
        last=told.last,
        before=told.first - told.begun,
        end=told.last - told.begun,
        begin=html.escape(told.cut or "before the first fact"),
        cut=f"<p>{html.escape(told.cut)}</p>" if told.cut else "",
        diagram=draw(told.layout, told.cut, _PICTURE, linked=True, room=_ROOM),
        table=_table(told),
        below=BELOW,
        legend="".join(f"<p>{_text(text)}</p>" for text in told.legend),
        facts="".join(_facts(told)),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _facts(told: Moments) -> Iterable[str]:
    for number, words in enumerate(told.words, told.first - told.begun + 1):
        yield f'<li value="{number}">{_text(words)}</li>'


def _table(told: Moments) -> str:
    shown = told.deliveries
    heads = "".join(
        f'<th scope="col">{badge(shown.marks.get(head))}{_text(one_line(head))}</th>'
        for head in shown.table().headers
    )
    rows = "".join(_row(message, told) for message in shown.messages)
    return f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"


def _row(message: Message, told: Moments) -> str:
    number, shown = message.emitted.message, told.deliveries
    queues = dict.fromkeys(each.life.queue for each in shown.messages if each.life)
    cells = [told.cells.get((number, queue_key(queue)), ()) for queue in queues]
    parts = [f"<td>{_states(states)}</td>" for states in cells]
    for name in shown.columns:
        states = told.cells.get((number, name), ())
        long = " long" if any(width(state.mark) > _SHORT for state in states) else ""
        pointed = f' class="{cell_classes(message, name)}{long}" tabindex="0"' if states else ""
        parts.append(f"<td{pointed}>{_states(states)}</td>")
    return (
        f'<tr data-from="{told.begins[number]}"><td>{number}</td>'
        f'<th scope="row">{_text(one_line(label(message)))}</th>'
        f'<td class="long">{_text(one_line(route(message)))}</td>'
        f"{''.join(parts)}</tr>"
    )


def _states(states: Iterable[Cell]) -> str:
    """Return all that is ever in a cell; what ends before the last step is hidden."""
    return "".join(
        f"<span{_missed(state)}{_times(state)}>{_text(one_line(state.mark))}"
        f"{_why(state.reason)}</span>"
        for state in states
    )


def _missed(state: Cell) -> str:
    return ' class="chatq-missed"' if state.mark.startswith(MISSED) else ""


def _times(state: Cell) -> str:
    begin = "" if state.begin is None else f' data-from="{state.begin}"'
    return begin if state.end is None else f'{begin} data-until="{state.end}" hidden=""'


def _why(reason: str) -> str:
    return f'<span class="chatq-why"> {_text(reason)}</span>' if reason else ""


def _text(text: str) -> str:
    """Return a text as it stands between tags."""
    return html.escape(text, quote=False)


def write(path: Path, text: str) -> Path:
    """Write a file, or replace it: nobody finds half of one. Returns its path."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
