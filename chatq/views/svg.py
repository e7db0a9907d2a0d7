"""The rendering of a diagram as SVG.

Owns the picture's measures and shapes. Must not know: what the rows mean, the journal, which
colours there are (`looks`).

It fits into a notebook beside an open file browser in a narrow window: what is said of a row stands
above its arrow, or beside its only sign, and is broken to fit. A message is an arrow in the colour
of its sender, with a head at each column that it reached; whom it missed is what the eye finds
first.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from .looks import STANDALONE, Mark
from .rows import Layout, Row, Sign, broken, legend
from .table import width

__all__ = ["draw", "draw_heads"]

#: In pixels: the height of a row without its text, of a line of text, of the heads; the radius of
#: a sign.
_ROW, _LINE, _TOP, _RADIUS = 27, 16, 44, 9
#: The average width of a letter, of the text and of the heads, in pixels.
_LETTER, _BOLD = 7, 7.8
#: The width of a notebook beside an open file browser in a narrow window, in pixels; the edge.
_ROOM, _EDGE = 440, 10
#: The signs at the end of an arrow that got there, and those of what did not.
_REACHED, _MISSED = "✓○⚡…?▣■", "✗"
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
    """The positions of columns and heads, and the width of the picture, in pixels."""

    columns: list[int]
    heads: list[int]
    wide: int

    @classmethod
    def of(cls, layout: Layout, room: int) -> _Places:
        """Return the positions: a column for each name, as wide as its head, spread over `room`."""
        heads = [
            max(56, round(_BOLD * width(name)) + 18 + (16 if mark else 0))
            for name, mark in zip(layout.names, layout.marks, strict=True)
        ]
        spare = (room - 2 * _EDGE - sum(heads)) // max(len(heads) - 1, 1)
        gap = max(10, min(spare, 60))
        begins = [_EDGE + sum(heads[:i]) + gap * i for i in range(len(heads))]
        columns = [begin + head // 2 for begin, head in zip(begins, heads, strict=True)]
        return cls(columns, heads, max(room, begins[-1] + heads[-1] + _EDGE))

    def said(self, row: Row) -> tuple[list[tuple[str, str]], int, str]:
        """Return the lines of a row's text (text, route), where they begin, and their anchor.

        Beside a sign that is alone there is one line, if it fits; all others are above the arrow.
        """
        room, ends = (self.wide - 2 * _EDGE) // _LETTER, sorted(row.signs)
        long = _LETTER * _width(row.text, row.route)
        if len(ends) == 1 and not row.route:
            right, left = (self.columns[ends[0]] + step for step in (16, -16))
            if right + long < self.wide - _EDGE:
                return [(row.text, "")], right, "start"
            if left - long > _EDGE:
                return [(row.text, "")], left, "end"
        if ends and long <= room * _LETTER:
            begin = min(self.columns[ends[0]] - _RADIUS, self.wide - _EDGE - long)
            return [(row.text, row.route)], max(begin, _EDGE), ""
        texts = [(text, "") for text in textwrap.wrap(row.text, room)]
        return [*texts, *(("", route) for route in textwrap.wrap(row.route, room))], _EDGE, ""


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

    `linked`: rows and signs have the classes by which a cell of the table lights them (`links`),
    and its page gives it its colours. A row whose signs have a history is marked with the step from
    which on it is there; each sign is drawn once then, and used wherever it stands, since there are
    many.
    """
    places = _Places.of(layout, room)
    heads, wide = _svg_heads(layout, places), places.wide
    body: list[str] = []
    y = _TOP
    for row, alive in zip(layout.rows, layout.alive, strict=True):
        said = places.said(row)
        tall = _ROW + (0 if said[2] else _LINE * len(said[0]))
        moves = fresh is not None and row.number > fresh
        one = _svg_row(row, alive, y, tall, places, layout, moves, linked)
        one += _svg_text(said, y + (18 if said[2] else 15), strong=bool(row.route))
        body += [_row_begin(row, y, tall, wide), *one, "</g>"] if linked else one
        y += tall
    notes = [*([cut] if cut else []), *broken(legend(layout), (wide - 2 * _EDGE) // _LETTER)]
    y += 6
    tall = y + 12 + 18 * len(notes)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{wide}' height='{tall}' "
        f"viewBox='0 0 {wide} {tall}' role='img' {_FONT} font-size='13'>",
        "<title>Who sent what, and whom it reached</title>",
        f"<desc>{html.escape(description)}</desc>",
        *([] if linked else [f"<style>{STANDALONE}</style>"]),
        # Paper, with an edge so that it is a picture on any page.
        f"<rect x='.5' y='.5' width='{wide - 1}' height='{tall - 1}' rx='8' fill='#fff' "
        "stroke='#99a'/>",
        *([] if fresh is None else [_MOVING]),
        _svg_definitions(layout),
        *([] if linked else heads),
        *body,
    ]
    if linked:  # above the rows: a page may keep them in sight while they scroll
        parts += ["<g class='chatq-heads'>", _paper(wide), *heads, "</g>"]
    for line in notes:
        y += 18
        line = html.escape(line).replace("   ", "\N{NO-BREAK SPACE}" * 4)
        parts.append(f"<text x='{_EDGE}' y='{y}' fill='#444'>{line}</text>")
    return "".join([*parts, "</svg>"])


def draw_heads(layout: Layout, room: int = _ROOM) -> str:
    """Return the heads of the picture alone, to be kept in sight above it."""
    places = _Places.of(layout, room)
    heads = "".join(_svg_heads(layout, places))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{places.wide}' height='{_TOP - 5}' "
        f"aria-hidden='true' {_FONT} font-size='13'>{_paper(places.wide, top=0)}{heads}</svg>"
    )


def _paper(wide: int, top: int = 1) -> str:
    return f"<rect x='1' y='{top}' width='{wide - 2}' height='{_TOP - 5 - top}' fill='#fff'/>"


def _width(text: str, route: str) -> int:
    return width(text) + width(route) + (3 if text and route else 0)


def _svg_heads(layout: Layout, places: _Places) -> list[str]:
    parts = []
    for i, (name, mark) in enumerate(zip(layout.names, layout.marks, strict=True)):
        x, head = places.columns[i], places.heads[i]
        parts.append(
            f"<rect x='{x - head // 2}' y='8' width='{head}' height='26' rx='6' "
            f"fill='{'#e8eef7' if layout.places[i] == 0 else '#f4f4f4'}' "
            f"stroke='{mark.colour if mark else '#667'}'/>"
        )
        if mark:
            left = x - head // 2 + 9
            parts.append(f"<text x='{left}' y='26' fill='{mark.colour}'>{mark.shape}</text>")
        parts.append(
            f"<text x='{x + (8 if mark else 0)}' y='26' text-anchor='middle' font-weight='600' "
            f"fill='#111'>{html.escape(name)}</text>"
        )
    return parts


_GOOD, _BAD, _PLAIN, _INK = "#0b6b3a", "#a01c1c", "#444", "#111"


def _svg_row(
    row: Row,
    alive: set[int],
    top: int,
    height: int,
    places: _Places,
    layout: Layout,
    moves: bool,
    linked: bool,
) -> list[str]:
    y, at = top + height - _ROW // 2, places.columns
    colours = [_colour(mark) for mark in layout.marks]
    parts = ["<g class='chatq-fresh'>"] if moves else []
    for i in sorted(alive | {i for i, sign in row.signs.items() if sign == "┴"}):
        begin = y if row.signs.get(i) == "┬" else top
        end = y if i not in alive else top + height
        line = "#99a" if layout.marks[i] is None else colours[i]
        parts.append(f"<path d='M{at[i]} {begin}V{end}' stroke='{line}' stroke-width='1.5'/>")
    if row.route:
        parts += _svg_arrows(row, y, at, colours)
        if moves:
            parts += _svg_dots(row, y, at)
    for i, sign in sorted(row.signs.items()):
        lights = linked and layout.places[i] is not None
        name = f" class='chatq-c{layout.places[i]}'" if lights else ""
        for shown in row.history[i] if row.history else ():
            title = f"<title>{html.escape(shown.tip, quote=False)}</title>"
            used = f"<use href='#{_id(shown.sign, colours[i])}' x='{at[i]}' y='{y}'/>"
            parts.append(f"<g{name}{_times(shown)}>{title}{used}</g>")
        if row.history is None:
            title = f"<title>{html.escape(row.tips.get(i, row.text))}</title>"
            ring = _RING.format(x=at[i], y=y) if lights else ""
            parts.append(f"<g{name}>{title}{ring}{_svg_sign(sign, at[i], y, colours[i])}</g>")
    return [*parts, "</g>"] if moves else parts


def _svg_arrows(row: Row, y: int, at: Sequence[int], colours: Sequence[str]) -> list[str]:
    """Return the arrows of a message: a line to whom it reached, with a head at each of them, and a
    broken one on to whom it missed."""
    if not row.signs:  # of somebody who has no column
        return []
    begin = next((i for i, sign in sorted(row.signs.items()) if sign == "●"), min(row.signs))
    colour, parts = colours[begin], []
    for way in (-1, 1):  # to the left, and to the right
        ends = [i for i in row.signs if (i - begin) * way > 0]
        reached = [at[i] for i in ends if row.signs[i] in _REACHED]
        missed = [at[i] for i in ends if row.signs[i] in _MISSED]
        solid = max(reached, key=lambda x: x * way, default=at[begin])
        broken_off = max(missed, key=lambda x: x * way, default=solid)
        if broken_off * way > solid * way:
            parts.append(
                f"<path d='M{solid} {y}H{broken_off}' stroke='{_BAD}' stroke-width='1.5' "
                "stroke-dasharray='5 4'/>"
            )
        if reached:
            parts.append(f"<path d='M{at[begin]} {y}H{solid}' stroke='{colour}' stroke-width='2'/>")
        for x in reached:
            tip = x - way * (_RADIUS + 1)
            parts.append(f"<path d='M{tip} {y}l{-10 * way} -5v10z' fill='{colour}'/>")
    return parts


#: What is around a sign that is lit.
_RING = "<circle class='chatq-ring' cx='{x}' cy='{y}' r='12' fill='none'/>"


#: The signs that have the colour of their column.
_OWN = "●┬┴"


def _id(sign: str, colour: str) -> str:
    return f"sign-{ord(sign):x}" + (f"-{colour[1:]}" if sign in _OWN else "")


def _svg_definitions(layout: Layout) -> str:
    """Return the signs of all histories, each once; "" if there are none."""
    drawn = {}
    for row in layout.rows:
        for column, history in (row.history or {}).items():
            colour = _colour(layout.marks[column])
            for shown in history:
                name = _id(shown.sign, colour)
                ring = _RING.format(x=0, y=0)
                sign = _svg_sign(shown.sign, 0, 0, colour)
                drawn[name] = f"<g id='{name}'>{ring}{sign}</g>"
    return f"<defs>{''.join(drawn[name] for name in sorted(drawn))}</defs>" if drawn else ""


def _colour(mark: Mark | None) -> str:
    return mark.colour if mark else _INK


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


def _svg_text(said: tuple[list[tuple[str, str]], int, str], y: int, *, strong: bool) -> list[str]:
    """Return a row's text: a message in bold, its route behind it, or below if that is too long.

    It has an edge of paper, since lines pass behind it.
    """
    lines, x, anchor = said
    parts = []
    how = "paint-order='stroke' stroke='#fff' stroke-width='5' stroke-linejoin='round'"
    end = " text-anchor='end'" if anchor == "end" else ""
    for n, (text, route) in enumerate(lines):
        bold = " font-weight='600' fill='#111'" if strong else ""
        line = f"<tspan{bold}>{html.escape(text)}</tspan>" if text else ""
        if route:
            gap = " dx='12'" if text else ""
            line += f"<tspan{gap}>{html.escape(route)}</tspan>"
        parts.append(f"<text x='{x}' y='{y + _LINE * n}' fill='#444' {how}{end}>{line}</text>")
    return parts


def _svg_dots(row: Row, y: int, at: Sequence[int]) -> list[str]:
    """Return the animated dots: from the message's sender to each column where it ends."""
    begin = next((i for i, sign in sorted(row.signs.items()) if sign == "●"), min(row.signs))
    return [
        f"<circle class='chatq-dot' cx='{at[i]}' cy='{y}' r='6' fill='#1a56c4' "
        f"style='--way:{at[begin] - at[i]}px'/>"
        for i, sign in sorted(row.signs.items())
        if i != begin and sign in _REACHED
    ]


def _svg_sign(sign: str, x: int, y: int, colour: str) -> str:
    """Return a sign; `colour`: that of its column."""
    if sign == "●":
        return f"<circle cx='{x}' cy='{y}' r='6' fill='{colour}'/>"
    if sign in "┬┴":  # where a client's line begins and ends: a T that stands on its head there
        stem = y if sign == "┬" else y - 10
        return (
            f"<rect x='{x - 9}' y='{y - 2}' width='18' height='4' fill='{colour}'/>"
            f"<rect x='{x - 2}' y='{stem}' width='4' height='10' fill='{colour}'/>"
        )
    edge = {"✓": _GOOD, "✗": _BAD, "⚡": _BAD}.get(sign, _PLAIN)
    paper, ink, how = "#fff", edge, ""
    if edge == _BAD:  # the only ones that are filled
        paper, ink, how = _BAD, "#fff", " font-weight='700'"
    faint = " stroke-dasharray='2 2'" if sign == "·" else ""
    return (
        f"<circle cx='{x}' cy='{y}' r='{_RADIUS}' fill='{paper}' stroke='{edge}'{faint}/>"
        f"<text x='{x}' y='{y + 4}' text-anchor='middle' font-size='12' fill='{ink}'{how}>"
        f"{sign}</text>"
    )
