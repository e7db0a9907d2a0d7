"""How long a lesson takes: said once, in its first cell; the tables that repeat it agree."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from places import NOTEBOOKS, ROOT

LESSONS = {path.name.partition("-")[0]: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}
#: "25 minutes, 45 with the exercises"; what is optional stands behind it, and is not counted.
SAID = re.compile(
    r"(?m)^(\d+) minutes(?:, (\d+) with the exercises)?(?:, \d+ more if you want more)? ·"
)
#: A row of a table: the number of a lesson, its name, and both minutes.
ROW = re.compile(r"(?m)^\| (\d\d[a-z]?)(?: \||(?= [a-z])).*? \| (\d+) \| (\d+) \|")
#: Minutes, with the exercises: what is longer is two lessons, or has something optional.
AT_MOST = 45


def said(path: Path) -> tuple[int, int]:
    """Return the minutes that a lesson says of itself, without and with its exercises."""
    found = SAID.search(nbformat.read(path, as_version=4).cells[0].source)
    assert found, f"{path.name}: its first cell does not say 'N minutes, M with the exercises'"
    return int(found[1]), int(found[2] or found[1])


def rows(text: str) -> dict[str, tuple[int, int]]:
    return {number: (int(alone), int(with_all)) for number, alone, with_all in ROW.findall(text)}


def index() -> str:
    cells = nbformat.read(LESSONS["00"], as_version=4).cells
    return "\n".join(cell.source for cell in cells)


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_lesson_takes_a_beginner_longer_than_one_sitting(lesson: str) -> None:
    without, with_all = said(LESSONS[lesson])
    assert 0 < without <= with_all <= AT_MOST


@pytest.mark.parametrize(
    ("where", "text", "left_out"),
    [
        ("the index", index(), {"00"}),
        ("README.md", (ROOT / "README.md").read_text("utf-8"), set()),
        ("TEACHING.md", (NOTEBOOKS / "TEACHING.md").read_text("utf-8"), set()),
    ],
)
def test_every_table_says_what_the_lessons_say(where: str, text: str, left_out: set[str]) -> None:
    minutes = {lesson: said(path) for lesson, path in LESSONS.items() if lesson not in left_out}
    assert rows(text) == minutes, where
