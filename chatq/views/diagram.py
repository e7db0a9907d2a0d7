"""The sequence diagram of a journal, as SVG and as text.

Owns the diagram, and its text. Must not know: the stage, sockets, how the journal becomes rows
(`rows`), SVG (`svg`).
"""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from urllib.parse import quote

from ..journal.facts import Fact
from .explain import Message
from .looks import SHEET
from .rows import Layout, broken, lay_out, legend
from .svg import draw, draw_heads
from .table import width

__all__ = ["Diagram"]

#: The widest line of the legend as text, in columns.
_WIDE = 100


class Diagram:
    """A sequence diagram: SVG on a screen, text everywhere else.

    Keeps the newest `rows` rows, with a note when it cuts.
    """

    def __init__(
        self,
        facts: Sequence[Fact],
        messages: Sequence[Message],
        names: Sequence[str],
        rows: int = 60,
        cut: str = "",
        forgotten: int = 0,
        strangers: Collection[str] = (),
    ) -> None:
        """`forgotten`: how many facts were written before these; `strangers`: those of `names`, or
        the server, that no message is about."""
        if rows < 1:
            raise ValueError(f"a diagram has at least 1 row, not {rows}")
        layout = lay_out(facts, messages, names, forgotten, strangers)
        older = len(layout.rows) - rows
        if older > 0:
            layout.rows, layout.alive = layout.rows[older:], layout.alive[older:]
            cut = f"{older} older rows are not drawn"
        self._layout = layout
        self._cut = cut

    def __repr__(self) -> str:
        return _as_text(self._layout, self._cut)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        page = f'<div class="chatq"><style>{SHEET}</style>{self.image()}</div>'
        return {"text/html": page, "text/plain": repr(self)}

    def image(self) -> str:
        """Return the picture as an image in HTML, which no page takes apart: one of a notebook that
        nobody trusts removes all but the texts of an SVG. It says to none which theme it has."""
        source = quote(self.svg(), safe=" /:;,=()'")
        return (
            f'<img class="chatq-picture" src="data:image/svg+xml;charset=utf-8,{source}" '
            f'alt="{html.escape(repr(self))}">'
        )

    def heads(self) -> str:
        """Return the heads of the columns alone, as SVG."""
        return draw_heads(self._layout)

    def svg(self, fresh: int | None = None, *, linked: bool = False) -> str:
        """Return the picture as a standalone SVG document.

        `fresh`: rows after so many facts are animated, unless the reader prefers reduced motion.
        `linked`: a cell of the table beside it lights its line, see `links`.
        """
        return draw(self._layout, self._cut, repr(self), fresh, linked=linked)


def _as_text(layout: Layout, cut: str) -> str:
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
    return "\n".join([*lines, *broken(legend(layout), _WIDE)])
