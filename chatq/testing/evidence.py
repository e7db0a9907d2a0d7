"""What a failed test leaves behind: the last rows of the table, the journal and a replay.

Owns the words of the report, and the names of the files. Must not know: pytest, when a test has
failed, how a table or a replay is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..stage.stage import Stage
from ..views.table import width

__all__ = ["files", "last_rows", "without_tables"]

#: So much of the table is shown: rows, and columns of a terminal.
_ROWS, _WIDTH = 10, 160
#: Of what pytest says where a value comes from: the lines with a whole table or the stage in them.
_TABLES = re.compile(r"\n *\+ *where (.* = )?(no\. +message .*|<[Ss]tages?: .*\.deliveries)$", re.M)


def last_rows(stage: Stage) -> str:
    """Return the last rows of the table of deliveries, as it is now; without messages, who came."""
    try:
        view = stage.view()
        before = len(view.deliveries().messages) - _ROWS
        shown = view.deliveries(last=_ROWS) if view.messages else view.diagram(rows=_ROWS)
        lines = [_cut(line) for line in repr(shown).splitlines()]
    except Exception as error:  # the failure of the test is the news
        return f"there is no table: {error!r}"
    if before > 0:
        lines.insert(0, f"the last {_ROWS} of {before + _ROWS} messages:")
    return "\n".join(lines)


def _cut(line: str) -> str:
    if width(line) <= _WIDTH:
        return line
    while width(line) >= _WIDTH:
        line = line[:-1]
    return f"{line}…"


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
