"""The rendering of a diagram as SVG.

Owns the picture's measures, shapes and colours. Must not know: what the rows mean, the journal.

It fits into a notebook beside an open file browser: a column is as wide as its head, and the text
of a row is broken to fit.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from .rows import Layout, Row, Sign, broken, legend
from .table import width

__all__ = ["draw"]

#: In pixels: the height of a row, of each further line of text in it, and of the heads.
_ROW, _LINE, _TOP = 30, 16, 46
#: The average width of a letter, of the text and of the heads, in pixels.
_LETTER, _BOLD = 7, 7.8
#: The width of a notebook beside an open file browser, in pixels; and the narrowest text, in
#: columns.
_ROOM, _SHORTEST = 728, 30
#: The animation: a message moves along its row.
_MOVING = (
    "<style>@keyframes chatq-row{from{opacity:0}}"
    "@keyframes chatq-dot{from{transform:translateX(var(--way))}to{opacity:0}}"
    ".chatq-fresh{animation:chatq-row .5s ease-out}"
    ".chatq-dot{opacity:0;animation:chatq-dot .6s ease-in-out}"
    "@media (prefers-reduced-motion:reduce){.chatq-fresh,.chatq-dot{animation:none}}</style>"
)
_FONT = "font-family='ui-sans-serif,system-ui,sans-serif'"


@dataclass
class _Places:
    """The positions of columns, heads and texts, in pixels."""

    columns: list[int]
    heads: list[int]
    text: int
    #: The width of a line of text, in columns.
    room: int

    @classmethod
    def of(cls, names: Sequence[str], room: int) -> _Places:
        """Return the positions: a column for each name, as wide as its head."""
        heads = [max(60, round(_BOLD * width(name)) + 18) for name in names]
        begins = [8 + sum(heads[:i]) + 14 * i for i in range(len(heads))]
        columns = [begin + head // 2 for begin, head in zip(begins, heads, strict=True)]
        text = begins[-1] + heads[-1] + 14
        return cls(columns, heads, text, max((room - text - 12) // _LETTER, _SHORTEST))

    def lines(self, row: Row) -> list[tuple[str, str]]:
        """Return the lines of a row's text: text and route in one, or the route below the text."""
        if _width(row.text, row.route) <= self.room:
            return [(row.text, row.route)]
        texts = [(text, "") for text in textwrap.wrap(row.text, self.room)]
        return [*texts, *(("", route) for route in textwrap.wrap(row.route, self.room))]


def draw(
    layout: Layout,
    cut: str,
    description: str,
    fresh: int | None = None,
    *,
    linked: bool = False,
    room: int = _ROOM,
) -> str:
    """Return a standalone SVG document; `description`: the same as text, `fresh`: see `Diagram`.

    `room`: the width that there is for it, in pixels; it is wider if it has to be.

    `linked`: rows and signs have the classes by which a cell of the table lights them (`links`). A
    row whose signs have a history is marked with the step from which on it is there; each sign is
    drawn once then, and used wherever it stands, since there are many.
    """
    places = _Places.of(layout.names, room)
    heads, ys, y = _svg_heads(layout.names, places), [], _TOP
    texts = [places.lines(row) for row in layout.rows]
    for lines in texts:
        tall = _ROW + _LINE * (len(lines) - 1)
        ys.append((y, tall))
        y += tall
    longest = max([_width(*line) for lines in texts for line in lines] or [0])
    wide = max(places.text + _LETTER * longest + 12, room if layout.rows else 0, 360)
    notes = [*([cut] if cut else []), *broken(legend(layout), (wide - 30) // _LETTER)]
    y += 6
    tall = y + 14 + 18 * len(notes)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{wide}' height='{tall}' "
        f"viewBox='0 0 {wide} {tall}' role='img' {_FONT} font-size='13'>",
        "<title>Who sent what, and whom it reached</title>",
        f"<desc>{html.escape(description)}</desc>",
        # White paper in both themes, with an edge so that it is a picture on a dark page, too.
        f"<rect x='.5' y='.5' width='{wide - 1}' height='{tall - 1}' rx='8' fill='#fff' "
        "stroke='#99a'/>",
        *([] if fresh is None else [_MOVING]),
        _svg_definitions(layout.rows),
        *([] if linked else heads),
    ]
    for row, alive, (top, height) in zip(layout.rows, layout.alive, ys, strict=True):
        moves = fresh is not None and row.number > fresh
        numbers = layout.places if linked else []
        one = _svg_row(row, alive, top, height, places, moves, numbers)
        parts += [_row_begin(row, top, height, wide), *one, "</g>"] if linked else one
    if linked:  # above the rows: a page may keep them in sight while they scroll
        paper = f"<rect x='1' y='1' width='{wide - 2}' height='{_TOP - 6}' fill='#fff'/>"
        parts += ["<g class='chatq-heads'>", paper, *heads, "</g>"]
    for line in notes:
        y += 18
        line = html.escape(line).replace("   ", "\N{NO-BREAK SPACE}" * 4)
        parts.append(f"<text x='12' y='{y}' fill='#444'>{line}</text>")
    return "".join([*parts, "</svg>"])


def _width(text: str, route: str) -> int:
    return width(text) + width(route) + (3 if text and route else 0)


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
    row: Row,
    alive: set[int],
    top: int,
    height: int,
    places: _Places,
    moves: bool,
    numbers: Sequence[int | None],
) -> list[str]:
    y, at = top + _ROW // 2, places.columns
    parts = ["<g class='chatq-fresh'>"] if moves else []
    lines = []
    for i in sorted(alive | {i for i, sign in row.signs.items() if sign == "┴"}):
        begin = y if row.signs.get(i) == "┬" else top
        end = y if i not in alive else top + height
        lines.append((at[i], begin, end))
    parts += _svg_lifelines(lines, row.history is not None)
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
        linked = bool(numbers) and numbers[i] is not None
        name = f" class='chatq-c{numbers[i]}'" if linked else ""
        for shown in row.history[i] if row.history else ():
            title = f"<title>{html.escape(shown.tip, quote=False)}</title>"
            used = f"<use href='#{_id(shown.sign)}' x='{at[i]}' y='{y}'/>"
            parts.append(f"<g{name}{_times(shown)}>{title}{used}</g>")
        if row.history is None:
            title = f"<title>{html.escape(row.tips.get(i, row.text))}</title>"
            ring = _RING.format(x=at[i], y=y) if linked else ""
            parts.append(f"<g{name}>{title}{ring}{_svg_sign(sign, at[i], y)}</g>")
    parts += _svg_text(row, y + 4, places)
    return [*parts, "</g>"] if moves else parts


#: What is around a sign that is lit.
_RING = "<circle class='chatq-ring' cx='{x}' cy='{y}' r='12' fill='none'/>"


def _id(sign: str) -> str:
    return f"sign-{ord(sign):x}"


def _svg_definitions(rows: Sequence[Row]) -> str:
    """Return the signs of all histories, each once; "" if there are none."""
    histories = [each for row in rows if row.history for each in row.history.values()]
    signs = {each.sign for history in histories for each in history}
    drawn = [
        f"<g id='{_id(sign)}'>{_RING.format(x=0, y=0)}{_svg_sign(sign, 0, 0)}</g>"
        for sign in sorted(signs)
    ]
    return f"<defs>{''.join(drawn)}</defs>" if drawn else ""


def _svg_lifelines(lines: Sequence[tuple[int, int, int]], short: bool) -> list[str]:
    """Return lines down from each (x, begin, end); `short`: as one shape."""
    if short:
        path = "".join(f"M{x} {begin}V{end}" for x, begin, end in lines)
        return [f"<path d='{path}' fill='none' stroke='#99a' stroke-width='1.5'/>"]
    return [
        f"<line x1='{x}' y1='{begin}' x2='{x}' y2='{end}' stroke='#99a' stroke-width='1.5'/>"
        for x, begin, end in lines
    ]


def _row_begin(row: Row, top: int, height: int, wide: int) -> str:
    """Return the begin of a row that can be lit: its classes, and the band behind it."""
    about = f" chatq-m{row.message}" if row.message else ""
    begin = f" data-from='{row.number}'" if row.history is not None else ""
    return (
        f"<g class='chatq-row{about}'{begin}><rect class='chatq-band' x='4' y='{top + 1}' "
        f"width='{wide - 8}' height='{height - 2}' rx='4' fill='none'/>"
    )


def _times(sign: Sign) -> str:
    """Return when a sign stands, as attributes; what ends before the last step is hidden."""
    begin = "" if sign.begin is None else f" data-from='{sign.begin}'"
    return begin if sign.end is None else f"{begin} data-until='{sign.end}' hidden=''"


def _svg_text(row: Row, y: int, places: _Places) -> list[str]:
    """Return a row's text: a message in bold, its route behind it, or below if that is too long."""
    parts, bold = [], " font-weight='600' fill='#111'" if row.route else ""
    for n, (text, route) in enumerate(places.lines(row)):
        line = f"<tspan{bold}>{html.escape(text)}</tspan>" if text else ""
        if route:
            gap = " dx='12'" if text else ""
            line += f"<tspan{gap}>{html.escape(route)}</tspan>"
        parts.append(f"<text x='{places.text}' y='{y + _LINE * n}' fill='#444'>{line}</text>")
    return parts


def _svg_dots(row: Row, y: int, at: Sequence[int]) -> list[str]:
    """Return the animated dots: from the message's sender to each column where it ends."""
    begin = next((i for i, sign in sorted(row.signs.items()) if sign == "●"), min(row.signs))
    return [
        f"<circle class='chatq-dot' cx='{at[i]}' cy='{y}' r='6' fill='#1a56c4' "
        f"style='--way:{at[begin] - at[i]}px'/>"
        for i, sign in sorted(row.signs.items())
        if i != begin and sign not in "✗"
    ]


def _svg_sign(sign: str, x: int, y: int) -> str:
    colour = _COLOURS.get(sign, _PLAIN)
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
