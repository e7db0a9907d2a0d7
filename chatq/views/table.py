"""A table, as HTML on a screen and as text everywhere else.

Owns the two renderings of rows and columns. Must not know what is in the cells.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .looks import SHEET, Mark, badge

__all__ = ["MISSED", "Table", "one_line", "width"]

#: Cells up to this width are not broken.
_SHORT = 10
#: What a mark begins with that is no success: it is what the eye is to find first.
MISSED = ("✗", "⚡")


@dataclass(frozen=True)
class Table:
    """Headers, rows of text, a caption above and notes below.

    As HTML, cells that are names have the mark of these, and the first `stacked` columns are one,
    which stays in sight: the second of them in bold, the first before it, and the third below.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = ()
    #: The cells that can be pointed at, by row and column: their classes, and what they say then.
    hints: Mapping[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    stacked: int = 0

    def __repr__(self) -> str:
        headers, *rows = [[one_line(cell) for cell in row] for row in (self.headers, *self.rows)]
        widths = [max(width(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
        rule = "  ".join("─" * n for n in widths)
        body = [_line(row, widths) for row in rows] or ["(nothing yet)"]
        head = [self.caption] if self.caption else []
        return "\n".join([*head, _line(headers, widths), rule, *body, *self.notes])

    def _repr_html_(self) -> str:
        return (
            f'<div class="chatq"><style>{SHEET}</style>'
            f'<div class="chatq-frame">{self.markup()}{self.below()}</div></div>'
        )

    def below(self) -> str:
        """Return the notes as HTML."""
        return "".join(f'<div class="chatq-note">{html.escape(note)}</div>' for note in self.notes)

    def markup(self) -> str:
        """Return the table alone as HTML, without its style sheet."""
        first = self.stacked
        heads = [_stack(self.headers[:first])] if first else []
        heads += [self._name(header) + _markup(header) for header in self.headers[first:]]
        head = "".join(f'<th scope="col">{one}</th>' for one in heads)
        body = "".join(self._row(i, row) for i, row in enumerate(self.rows))
        body = body or "<tr><td>(nothing yet)</td></tr>"
        caption = self.caption and f"<caption>{html.escape(self.caption)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _row(self, i: int, row: Sequence[str]) -> str:
        first = self.stacked
        cells = [
            _td(self._name(cell) + _markup(cell), cell, self.hints.get((i, j)))
            for j, cell in enumerate(row)
            if j >= first
        ]
        if first:
            cells.insert(0, f'<th scope="row">{_stack(row[:first])}</th>')
        return f"<tr>{''.join(cells)}</tr>"

    def _name(self, cell: str) -> str:
        return badge(self.marks.get(cell))


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


def _stack(cells: Sequence[str]) -> str:
    number, text, *below = map(_markup, cells)
    under = "".join(f"<br><small>{one}</small>" for one in below)
    return f'<span class="chatq-number">{number}</span> {text}{under}'


def _td(shown: str, cell: str, hint: tuple[str, str] | None) -> str:
    classes = ["chatq-short"] if width(cell) <= _SHORT else []
    classes += ["chatq-missed"] if cell.startswith(MISSED) else []
    if hint is None:
        return f'<td class="{" ".join(classes)}">{shown}</td>' if classes else f"<td>{shown}</td>"
    classes.insert(0, hint[0])
    why = f'<span class="chatq-why"> {html.escape(hint[1])}</span>'
    return f'<td class="{" ".join(classes)}" tabindex="0">{shown}{why}</td>'


def _markup(cell: str) -> str:
    # What has no spaces may be broken where it has commas.
    text = html.escape(one_line(cell)).replace(",", ",<wbr>")
    # `code` in back-ticks is set as code; nothing else is marked up.
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return text
    return "".join(
        f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts) if part
    )
