"""A table as text for a terminal: aligned, cut to its width, and with nothing that could steer it.

Owns how wide text is, how it is cut, and how characters are shown that are no text. Must not know:
what is in the cells.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["shown", "text_table"]

#: Columns are not cut to less, and the one that is cut first is the widest.
_LEAST = 8


def shown(text: object) -> str:
    """Return text in one line; what steers a terminal, or turns the direction, by its number."""
    return "".join(c if c.isprintable() else _numbered(c) for c in str(text))


def text_table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], width: int, right: Sequence[int] = ()
) -> str:
    """Return a table at most `width` wide; `right`: the columns that are aligned there."""
    lines = [[shown(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(_width(line[n]) for line in lines) for n in range(len(headers))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return "\n".join(
        "  ".join(_fitted(cell, widths[n], n in right) for n, cell in enumerate(line)).rstrip()
        for line in lines
    )


def _fitted(text: str, width: int, right: bool) -> str:
    if _width(text) > width:
        while _width(text) > width - 1:
            text = text[:-1]
        text += "…"
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _numbered(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
