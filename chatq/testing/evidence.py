"""What a failed test leaves behind: the last rows of the table, the journal and a replay.

Owns the words of the report, and the names of the files. Must not know: pytest, when a test has
failed, how a table or a replay is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..stage.stage import Stage
from ..views.table import one_line

__all__ = ["files", "last_rows", "without_tables"]

#: So many rows of the table are shown, so much of a line, and of the columns "message" and
#: "from → to".
_ROWS, _WIDTH, _LONGEST = 10, 240, {1: 40, 2: 32}
#: Of what pytest says where a value comes from: the lines with a whole table or the stage in them.
_TABLES = re.compile(r"\n *\+ *where (.* = )?(no\. +message .*|<[Ss]tages?: .*\.deliveries)$", re.M)


def last_rows(stage: Stage) -> str:
    """Return the last rows of the table of deliveries, as it is now; without messages, who came."""
    try:
        view = stage.view()
        before = len(view.deliveries().messages) - _ROWS
        if not view.messages:
            return repr(view.diagram(rows=_ROWS))
        table = view.deliveries(last=_ROWS).table()
        rows = [[_cut(cell, column) for column, cell in enumerate(row)] for row in table.rows]
        lines = repr(replace(table, rows=rows, notes=())).splitlines()
        text = "\n".join([*(one_line(line, _WIDTH) for line in lines), *table.notes])
    except Exception as error:  # the failure of the test is the news
        return f"there is no table: {error!r}"
    if before > 0:
        return f"the last {_ROWS} of {before + _ROWS} messages:\n{text}"
    return text


def _cut(cell: str, column: int) -> str:
    """Shorten what is long in a cell: who got it is to be seen of everybody."""
    return one_line(cell, _LONGEST.get(column, 18))


def files(stages: Sequence[Stage], new_folder: Callable[[], Path]) -> list[str]:
    """Write the journal and the replay of each stage into a folder; return what names them."""
    try:
        folder = new_folder()
        numbers = ["", *map(str, range(2, len(stages) + 1))]
        return ["\n".join(_written(*each, folder)) for each in zip(stages, numbers, strict=True)]
    except Exception as error:  # the failure of the test is the news
        return [f"there is no journal: {error!r}"]


def _written(stage: Stage, number: str, folder: Path) -> Iterator[str]:
    journal = folder / f"journal{number}.jsonl"
    with journal.open("w", encoding="utf-8") as file:
        stage.journal.write(file)
    yield f"journal: {journal}"
    yield f"replay:  {stage.replay(folder / f'replay{number}.html')}"


def without_tables(text: str) -> str:
    """Return the text of a failed `assert` without the lines in which pytest repeats the table."""
    return _TABLES.sub("", text)
