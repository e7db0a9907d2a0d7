"""The journal as a picture: one layout, drawn as SVG and as text.

Owns the sequence diagram. Must not know: the stage, sockets.

How to read the diagram (and how it is laid out): one column for the server and one for each
client, time runs down, and a row is one thing that happened: its distance from the next says
nothing. A client's line is drawn while it is connected. A message is one row: it leaves the
sender (●), passes along the row, and ends at each column in the mark of what became of it there.
A mark is always a sign, never a colour alone; what the sign means is written under the picture.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from .deliveries import cell, label, route
from .explain import Message, Reason
from .journal import (
    SERVER,
    Connected,
    Died,
    Disconnected,
    Emitted,
    Fact,
    Froze,
    HungUp,
    Joined,
    Killed,
    Left,
    Raised,
    Redriven,
    Refused,
    Returned,
    Settled,
    Subscribed,
    Thawed,
)
from .table import one_line, width

__all__ = ["Diagram"]


@dataclass(slots=True)
class _Row:
    """One row of the diagram: its signs by column, and what it says; a message also has a route."""

    text: str
    signs: dict[int, str]
    route: str = ""
    tips: dict[int, str] = field(default_factory=dict)
    #: How many facts had been written when this one was.
    number: int = 0
    #: Columns that it was not meant for: that it did not get there is no failure.
    not_meant: set[int] = field(default_factory=set)


@dataclass
class _Layout:
    """What both renderings draw: the columns, the rows, and who is connected at each row."""

    names: list[str]
    rows: list[_Row]
    alive: list[set[int]]


def _layout(
    facts: Sequence[Fact], messages: Sequence[Message], names: Sequence[str], forgotten: int
) -> _Layout:
    # Queues stand between the server and the clients; no client's name looks like these.
    queues = [*dict.fromkeys(m.life.queue for m in messages if m.life)]
    heads = [SERVER, *(_queue(queue) for queue in queues), *names]
    columns = {name: i for i, name in enumerate(heads)}
    by_number = {m.emitted.message: m for m in messages}
    shown: list[_Row] = []
    alive: list[set[int]] = []
    inside: dict[int, set[str]] = {}

    def row(text: str, column: int, sign: str) -> None:
        shown.append(_Row(one_line(text), {column: sign}))

    for number, fact in enumerate(facts, forgotten + 1):
        column = columns.get(getattr(fact, "client", SERVER), -1)
        match fact:
            case Emitted() if fact.message in by_number:
                shown.append(_message_row(by_number[fact.message], columns))
            case Connected(client=client, namespace=namespace) if column >= 0:
                inside.setdefault(column, set()).add(namespace)
                row(f"{client} connects{_to(namespace)}", column, "┬")
            case Refused(client=client, namespace=namespace, reason=reason) if column >= 0:
                row(f"{client} is refused{_to(namespace)}: {reason}", column, "✗")
            case Disconnected(client=client, namespace=namespace, reason=reason) if column >= 0:
                inside.setdefault(column, set()).discard(namespace)
                row(f"{client} is gone{_from(namespace)}: {reason}", column, "┴")
            case Joined(client=client, namespace=namespace, room=room) if column >= 0:
                row(f"{client} joins room {room!r}{_in(namespace)}", column, "+")
            case Left(client, namespace, room, gone=False) if column >= 0:  # gone is a row already
                row(f"{client} leaves room {room!r}{_in(namespace)}", column, "−")
            case HungUp(client=client) if column >= 0:
                row(f"{client} hangs up", column, "↓")
            case Froze(client=client) if column >= 0:
                row(f"{client} freezes", column, "‖")
            case Thawed(client=client) if column >= 0:
                row(f"{client} thaws", column, "▸")
            case Killed(client=client) if column >= 0:
                row(f"{client} is killed", column, "†")
            case Subscribed(client=client, queue=queue) if column >= 0:
                row(f"{client} consumes queue {queue!r}", column, "⊕")
            case Settled() | Returned() | Died() | Redriven() if fact.message in by_number:
                shown.append(_life_row(by_number[fact.message], fact, columns))
            case Raised(client=client, event=event, error=error) if column >= 0:
                row(f"{client}'s handler of {event!r} raised {error}", column, "⚡")
        while len(alive) < len(shown):
            shown[len(alive)].number = number
            alive.append({*range(len(queues) + 1), *(c for c, spaces in inside.items() if spaces)})
    return _Layout([one_line(name, 20) for name in heads], shown, alive)


def _to(namespace: str) -> str:
    return "" if namespace == "/" else f" to {namespace}"


def _from(namespace: str) -> str:
    return "" if namespace == "/" else f" from {namespace}"


def _in(namespace: str) -> str:
    return "" if namespace == "/" else f" of {namespace}"


def _message_row(message: Message, columns: dict[str, int]) -> _Row:
    signs, tips = {}, {}
    not_meant = set()
    stored = message.attempt_of
    if message.life:
        signs = {columns[_queue(message.life.queue)]: "▣"}
        if message.emitted.sender == SERVER:
            signs[0] = "●"
        return _Row(one_line(label(message)), signs, one_line(route(message)))
    if stored and stored.life:
        source = columns[_queue(stored.life.queue)]
        ends = [name for name in message.emitted.recipients if name in columns]
        signs = {source: "●", **{columns[n]: message.verdicts[n].reason.value[0] for n in ends}}
        text = f"to {', '.join(ends)}"
        return _Row(one_line(label(message)), signs, one_line(text))
    for name, verdict in message.verdicts.items():
        if name not in columns or verdict.reason is Reason.TO_SERVER:
            continue
        sign = "●" if verdict.reason is Reason.SENDER else verdict.reason.value[0]
        signs[columns[name]] = sign
        if verdict.reason in _NOT_MEANT:
            not_meant.add(columns[name])
        tips[columns[name]] = one_line(f"{name}: {cell(verdict)}")
    text, way = one_line(label(message)), one_line(route(message))
    return _Row(text, signs, way, tips, not_meant=not_meant)


_NOT_MEANT = (
    Reason.NOT_ADDRESSED,
    Reason.NOT_IN_ROOM,
    Reason.LEFT_ROOM,
    Reason.SKIPPED,
    Reason.OTHER_NAMESPACE,
    Reason.OTHER_CONSUMER,
)


def _queue(name: str) -> str:
    return f"▤ {name}"


def _life_row(
    message: Message, fact: Settled | Returned | Died | Redriven, columns: dict[str, int]
) -> _Row:
    assert message.life is not None
    column = columns[_queue(message.life.queue)]
    what = label(message)
    match fact:
        case Settled(client=client) if client in columns:
            signs = {column: "■", columns[client]: "●"}
            return _Row(one_line(f"{what}: settled"), signs, f"{client} answers with its receipt")
        case Returned(client=client, reason=reason):
            return _Row(one_line(f"{what} of {client} is back: {reason}"), {column: "↺"})
        case Died(reason=reason):
            return _Row(one_line(f"{what} is dead: {reason}"), {column: "✗"})
    return _Row(one_line(f"{what} is back: redriven"), {column: "↺"})


class Diagram:
    """A sequence diagram: SVG where there is a screen for it, text everywhere else.

    Keeps the newest `rows` rows, and says so when it cuts.
    """

    def __init__(
        self,
        facts: Sequence[Fact],
        messages: Sequence[Message],
        names: Sequence[str],
        rows: int = 60,
        cut: str = "",
        forgotten: int = 0,
    ) -> None:
        """`forgotten`: how many facts were written before these."""
        if rows < 1:
            raise ValueError(f"a diagram has at least 1 row, not {rows}")
        layout = _layout(facts, messages, names, forgotten)
        older = len(layout.rows) - rows
        if older > 0:
            layout.rows, layout.alive = layout.rows[older:], layout.alive[older:]
            cut = f"{older} older rows are not drawn"
        self._layout = layout
        self._cut = cut

    def __repr__(self) -> str:
        return _as_text(self._layout, self._cut)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}

    def svg(self, fresh: int | None = None) -> str:
        """Return the picture as a standalone SVG document.

        `fresh`: what happened after so many facts comes in moving, unless the reader prefers that
        nothing moves.
        """
        return _as_svg(self._layout, self._cut, repr(self), fresh)


_SIGNS = (
    "● sends   ✓ got it   ○ arrived, no handler   ✗ did not get it   … on the way, or unread"
    "   ⚡ raised   ┬ connects   ↓ hangs up   ┴ is gone for the server   + joins   ⊕ consumes"
    "   − leaves   ‖ freezes   ▸ thaws   † is killed   ▣ is stored   ■ is settled, and gone"
    "   ↺ is back in the queue"
)


def _legend(layout: _Layout) -> str:
    used = {sign for row in layout.rows for sign in row.signs.values()}
    return "   ".join(text for text in _SIGNS.split("   ") if text[0] in used)


def _as_text(layout: _Layout, cut: str) -> str:
    step = max(9, *(width(name) + 3 for name in layout.names))
    lines = [cut] if cut else []
    lines.append("".join(name.ljust(step) for name in layout.names).rstrip())
    for row, alive in zip(layout.rows, layout.alive, strict=True):
        ends = sorted(row.signs)
        line = ""
        for i in range(len(layout.names)):
            passing = row.route and ends[0] <= i < ends[-1]
            space = "─" if passing else " "
            cell = row.signs.get(i) or ("│" if i in alive else space)
            line += cell + space * (step - width(cell))
        route = f"   ({row.route})" if row.route else ""
        lines.append(f"{line}{row.text}{route}".rstrip())
    return "\n".join([*lines, *_lines(_legend(layout), _WIDE)])


#: In pixels: the height of a row, of each further line of text in it, and of what stands above.
_ROW, _LINE, _TOP = 30, 16, 46
#: About as wide as a letter is, of the text and of the heads, in pixels.
_LETTER, _BOLD = 7, 7.8
#: What a notebook beside an open file browser has room for, in pixels: texts are broken to fit,
#: but not to less than so many columns.
_ROOM, _SHORTEST = 728, 30
#: Wider than this a legend of text is broken, in columns.
_WIDE = 100
#: A message comes along its row, and stays where it was going.
_MOVING = (
    "<style>@keyframes chatq-row{from{opacity:0}}"
    "@keyframes chatq-dot{from{transform:translateX(var(--way))}to{opacity:0}}"
    ".chatq-fresh{animation:chatq-row .5s ease-out}"
    ".chatq-dot{opacity:0;animation:chatq-dot .6s ease-in-out}"
    "@media (prefers-reduced-motion:reduce){.chatq-fresh,.chatq-dot{animation:none}}</style>"
)
_FONT = "font-family='ui-sans-serif,system-ui,sans-serif'"


def _lines(text: str, longest: int) -> list[str]:
    """Break a legend between its signs."""
    lines: list[str] = []
    for part in filter(None, text.split("   ")):
        if lines and len(lines[-1]) + 3 + len(part) <= longest:
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return lines


@dataclass
class _Places:
    """Where what is drawn stands, in pixels: the columns, their heads, and what a row says."""

    columns: list[int]
    heads: list[int]
    text: int
    #: How many columns of text a line has.
    room: int

    @classmethod
    def of(cls, names: Sequence[str]) -> _Places:
        """A column for each name, as wide as its head."""
        heads = [max(60, round(_BOLD * width(name)) + 18) for name in names]
        begins = [8 + sum(heads[:i]) + 14 * i for i in range(len(heads))]
        columns = [begin + head // 2 for begin, head in zip(begins, heads, strict=True)]
        text = begins[-1] + heads[-1] + 14
        return cls(columns, heads, text, max((_ROOM - text - 12) // _LETTER, _SHORTEST))

    def says(self, row: _Row) -> list[str]:
        """The lines of what a row says, of which the route is the last."""
        if width(row.text + row.route) + 3 <= self.room:
            return [row.text, row.route]
        texts = textwrap.wrap(row.text, self.room) or [""]
        return [*texts, "", *textwrap.wrap(row.route, self.room)]


def _as_svg(layout: _Layout, cut: str, description: str, fresh: int | None) -> str:
    places = _Places.of(layout.names)
    heads, ys, y = _svg_heads(layout.names, places), [], _TOP
    for row in layout.rows:
        tall = _ROW + _LINE * (_lines_of(places.says(row)) - 1)
        ys.append((y, tall))
        y += tall
    longest = max([_longest(places.says(row)) for row in layout.rows] or [0])
    wide = max(places.text + _LETTER * longest + 12, _ROOM if layout.rows else 0, 360)
    legend = [*([cut] if cut else []), *_lines(_legend(layout), (wide - 30) // _LETTER)]
    y += 6
    tall = y + 14 + 18 * len(legend)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{wide}' height='{tall}' "
        f"viewBox='0 0 {wide} {tall}' role='img' {_FONT} font-size='13'>",
        "<title>Who sent what, and whom it reached</title>",
        f"<desc>{html.escape(description)}</desc>",
        # White paper in both themes, with an edge so that it is a picture on a dark page, too.
        f"<rect x='.5' y='.5' width='{wide - 1}' height='{tall - 1}' rx='8' fill='#fff' "
        "stroke='#99a'/>",
        *([] if fresh is None else [_MOVING]),
        *heads,
    ]
    for row, alive, (top, height) in zip(layout.rows, layout.alive, ys, strict=True):
        moves = fresh is not None and row.number > fresh
        parts += _svg_row(row, alive, top, height, places, moves)
    for line in legend:
        y += 18
        line = html.escape(line).replace("   ", "\N{NO-BREAK SPACE}" * 4)
        parts.append(f"<text x='12' y='{y}' fill='#444'>{line}</text>")
    return "".join([*parts, "</svg>"])


def _lines_of(says: Sequence[str]) -> int:
    return len(says) - 1 if len(says) > 2 else 1


def _longest(says: Sequence[str]) -> int:
    return max(map(width, says)) if len(says) > 2 else width("".join(says)) + 3


def _svg_heads(names: Sequence[str], places: _Places) -> list[str]:
    return [
        f"<rect x='{x - head // 2}' y='8' width='{head}' height='26' rx='6' "
        f"fill='{'#e8eef7' if i == 0 else '#f4f4f4'}' stroke='#667'/>"
        f"<text x='{x}' y='26' text-anchor='middle' font-weight='600' fill='#111'>"
        f"{html.escape(name)}</text>"
        for i, (name, x, head) in enumerate(zip(names, places.columns, places.heads, strict=True))
    ]


_GOOD, _BAD, _PLAIN = "#0b6b3a", "#a01c1c", "#333"
_COLOURS = {"✓": _GOOD, "✗": _BAD, "⚡": _BAD}


def _svg_row(
    row: _Row, alive: set[int], top: int, height: int, places: _Places, moves: bool
) -> list[str]:
    y, at = top + _ROW // 2, places.columns
    parts = ["<g class='chatq-fresh'>"] if moves else []
    for i in sorted(alive | {i for i, sign in row.signs.items() if sign == "┴"}):
        begin = y if row.signs.get(i) == "┬" else top
        end = y if i not in alive else top + height
        parts.append(
            f"<line x1='{at[i]}' y1='{begin}' x2='{at[i]}' y2='{end}' stroke='#99a' "
            "stroke-width='1.5'/>"
        )
    ends = sorted(row.signs)
    if row.route and len(ends) > 1:
        x1, x2 = at[ends[0]], at[ends[-1]]
        tip = html.escape(f"{row.text} ({row.route})")
        arrow = f"<line x1='{x1}' y1='{y}' x2='{x2}' y2='{y}' stroke='#333'/>"
        wider = arrow.replace("stroke='#333'", "stroke='#fff' stroke-opacity='0' stroke-width='14'")
        parts.append(f"<g><title>{tip}</title>{wider}{arrow}</g>")
        if moves:
            parts += _svg_dots(row, y, at)
    for i, sign in sorted(row.signs.items()):
        tip = f"<title>{html.escape(row.tips.get(i, row.text))}</title>"
        parts.append(f"<g>{tip}{_svg_sign(sign, at[i], y, i in row.not_meant)}</g>")
    parts += _svg_says(row, y + 4, places)
    return [*parts, "</g>"] if moves else parts


def _svg_says(row: _Row, y: int, places: _Places) -> list[str]:
    """What a row says: a message in bold, its route behind it, or below where there is no room."""
    texts, route = places.says(row), ""
    if len(texts) == 2:
        texts, route = texts[:1], f"<tspan dx='12'>{html.escape(row.route)}</tspan>"
    parts, bold = [], " font-weight='600' fill='#111'" if row.route else ""
    for text in texts:
        if not text:
            bold = ""
            continue
        line = f"<tspan{bold}>{html.escape(text)}</tspan>{route if row.route else ''}"
        parts.append(f"<text x='{places.text}' y='{y}' fill='#444'>{line}</text>")
        y += _LINE
    return parts


def _svg_dots(row: _Row, y: int, at: Sequence[int]) -> list[str]:
    """What moves: from where the message begins to each column where it ends."""
    begin = next((i for i, sign in sorted(row.signs.items()) if sign == "●"), min(row.signs))
    return [
        f"<circle class='chatq-dot' cx='{at[i]}' cy='{y}' r='6' fill='#1a56c4' "
        f"style='--way:{at[begin] - at[i]}px'/>"
        for i, sign in sorted(row.signs.items())
        if i != begin and sign not in "✗"
    ]


def _svg_sign(sign: str, x: int, y: int, not_meant: bool) -> str:
    colour = _PLAIN if not_meant else _COLOURS.get(sign, _PLAIN)
    if sign == "●":
        return f"<circle cx='{x}' cy='{y}' r='5' fill='{colour}'/>"
    if sign in "┬┴":  # where a client's line begins and ends: a T that stands on its head there
        stem = y if sign == "┬" else y - 10
        return (
            f"<rect x='{x - 9}' y='{y - 2}' width='18' height='4' fill='{colour}'/>"
            f"<rect x='{x - 2}' y='{stem}' width='4' height='10' fill='{colour}'/>"
        )
    return (
        f"<circle cx='{x}' cy='{y}' r='9' fill='#fff' stroke='{colour}'/>"
        f"<text x='{x}' y='{y + 4}' text-anchor='middle' font-size='12' fill='{colour}'>"
        f"{sign}</text>"
    )
