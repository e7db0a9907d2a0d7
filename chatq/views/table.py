"""A table, as HTML on a screen and as text everywhere else.

Owns the two renderings of rows and columns. Must not know what is in the cells.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Table", "one_line", "width"]

# White in both themes: a lesson is projected and printed. Each cell has the style, since a
# notebook's own style sheet colours rows and headers.
_CELL = (
    "background:#fff;color:#111;padding:3px 10px;border-bottom:1px solid #ddd;"
    "text-align:left;vertical-align:top"
)
#: Cells up to the first width are not broken, those up to the second not into many lines.
_SHORT, _MARK = 10, 16


@dataclass(frozen=True)
class Table:
    """Headers, rows of text, a caption above and notes below."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = ()
    #: The cells that can be pointed at, by row and column: their classes, and what they say then.
    hints: Mapping[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        headers, *rows = [[one_line(cell) for cell in row] for row in (self.headers, *self.rows)]
        widths = [max(width(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
        rule = "  ".join("─" * n for n in widths)
        body = [_line(row, widths) for row in rows] or ["(nothing yet)"]
        head = [self.caption] if self.caption else []
        return "\n".join([*head, _line(headers, widths), rule, *body, *self.notes])

    def _repr_html_(self) -> str:
        head = "".join(
            f'<th scope="col" style="{_CELL};border-bottom:2px solid #888">{_markup(header)}</th>'
            for header in self.headers
        )
        body = "".join(
            "<tr>" + "".join(_td(c, self.hints.get((i, j))) for j, c in enumerate(row)) + "</tr>"
            for i, row in enumerate(self.rows)
        )
        body = body or f'<tr><td style="{_CELL}">(nothing yet)</td></tr>'
        notes = "".join(
            f'<div style="white-space:pre-wrap;padding-top:6px">{html.escape(note)}</div>'
            for note in self.notes
        )
        caption = self.caption and (
            '<caption style="text-align:left;color:#333;padding:0 0 6px">'
            f"{html.escape(self.caption)}</caption>"
        )
        return (
            '<div style="display:inline-block;max-width:100%;overflow-x:auto;background:#fff;'
            "color:#111;border:1px solid #99a;border-radius:8px;padding:8px 10px;"
            'font-size:13px;line-height:1.45">'
            '<table style="border-collapse:collapse;margin:0">'
            f"{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}</div>"
        )


def one_line(text: str, longest: int = 120) -> str:
    """Return `text` with all that is not printable written as escapes, cut to `longest`."""
    line = text
    if not text.isprintable():
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def width(text: str) -> int:
    """Return the width of `text` in columns of a terminal."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (c + " " * (n - width(c)) for c, n in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _td(cell: str, hint: tuple[str, str] | None) -> str:
    if hint is None:
        return f'<td style="{_style(cell)}">{_markup(cell)}</td>'
    classes, said = hint
    return (
        f'<td class="{classes}" tabindex="0" style="{_style(cell)}">{_markup(cell)}'
        f'<span class="chatq-why"> {html.escape(said)}</span></td>'
    )


def _style(cell: str) -> str:
    # A mark and its word stay on one line, and prose keeps a readable width; the table scrolls.
    if width(cell) <= _SHORT:
        return f"{_CELL};white-space:nowrap"
    return f"{_CELL};min-width:{'5.5em' if width(cell) <= _MARK else '11em;overflow-wrap:anywhere'}"


def _markup(cell: str) -> str:
    text = html.escape(one_line(cell))
    # `code` in back-ticks is set as code; nothing else is marked up.
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return text
    return "".join(
        f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts) if part
    )
