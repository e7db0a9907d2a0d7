"""Each scene of a lesson stands there in Node, too, and does there what the lesson says.

The folds "The same in Node" run on the official server and client; what they print is compared
with what stands beneath them, line by line in any order, since that of several clients is chance.
Here is, too, which scenes have no twin, and why.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import in_node
import nbformat
import pytest
from in_node import SUMMARY, Twin
from nbformat import v4
from places import NOTEBOOKS

#: What is asked, looked at and put away; all else that a cell does is a scene.
COURSE = {"predict", "check"}
LOOKS = {"why", "wire", "diagram", "deliveries", "panel", "open", "settle"}
#: Code fits beside an open file browser, as pictures of characters do.
WIDTH = 72
LESSONS = [path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if path.name[:3] != "00-"]
#: Those that wait for real seconds.
SLOW = {"02-proof-of-life"}

SQL = "is about SQL in Python; Node's own SQLite came with Node 22.5"
LEASE = "moves the clock of the queue by hand, which a hub does not offer"
#: Scenes without a twin, all those under a heading of a lesson, and why.
WITHOUT = {
    ("01", "The page"): "shows lines of the page, which are JavaScript",
    ("07", "Three statements"): SQL,
    ("07b", "Version 4 again, and two who work"): SQL,
    ("07b", "Version 5: leases"): SQL,
    ("08", "A lease too short"): LEASE,
    ("08", "Out, and not begun"): LEASE,
    ("08", "Order, and the window"): "shows, second, that nothing comes: a stage can tell",
    ("08", "The message that nobody answers"): LEASE,
    ("08", "Back-pressure"): "gives a queue other limits than a hub has",
    ("08", "A lease too long"): LEASE,
    ("08", "Beyond one transaction"): "shows, second, how long a key is kept: " + LEASE,
    ("08b", "The hub is off"): "is about chatq.Outbox; what Node's client keeps, lesson 06 shows",
    ("08b", "Bring your own clients"): "plays a hub for any clients; test_node_clients plays some",
    ("08b", "When a queue is the wrong thing"): LEASE,
}
#: Lessons of which no scene but those with a twin has one, and why.
REST = {
    "00b": "is about Python; where JavaScript differs there is a twin",
    "09": "kills nodes under servers that only Python's side has",
    "10": "is the reader's own server",
}


def slow(path: Path) -> Any:
    marks = [pytest.mark.long] if path.stem in SLOW else []
    return pytest.param(path, marks=marks, id=path.stem)


def lines(text: str) -> list[str]:
    return sorted(text.splitlines())


@pytest.mark.needs("node")
@pytest.mark.parametrize("lesson", [*map(slow, LESSONS)])
def test_node_prints_what_the_lesson_says(lesson: Path) -> None:
    found = in_node.twins(lesson)
    printed = in_node.run(found)
    said = [(twin.cell, lines(twin.prints)) for twin in found]
    assert [(twin.cell, lines(text)) for twin, text in zip(found, printed, strict=True)] == said


def scenes(notebook: Any) -> Iterator[tuple[str, str, bool]]:
    """Yield each scene of a lesson, by the id of its cell: under which heading it is, and whether
    it has a twin: a fold below it, under the same heading."""
    heading, waiting = "", list[str]()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            waiting += [cell.id] if is_a_scene(cell) else []
        elif cell.source.startswith(SUMMARY):
            yield from ((name, heading, True) for name in waiting)
            waiting = []
        elif found := re.findall(r"(?m)^#+ (.*)", cell.source):
            yield from ((name, heading, False) for name in waiting)
            heading, waiting = found[-1], []
    yield from ((name, heading, False) for name in waiting)


def is_a_scene(cell: Any) -> bool:
    """Whether a cell does more than to define, to look, or to ask the reader."""
    if "no-output" in cell.metadata.get("tags", []):
        return False
    called = {
        ast.unparse(node.func).rpartition(".")
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call)
    }
    asks = any(not owner and name in COURSE for owner, _, name in called)
    looks = all(
        name in ("close", "panel") or (owner in ("stage", "Stage") and name in LOOKS)
        for owner, _, name in called
    )
    return not asks and not looks


def lacking(lesson: Path) -> list[tuple[str, str]]:
    """Return the headings of a lesson under which a scene has no twin."""
    number = lesson.name.partition("-")[0]
    found = list(scenes(nbformat.read(lesson, as_version=4)))
    assert found
    headings = [] if number in REST else [heading for _, heading, twin in found if not twin]
    return [*dict.fromkeys((number, heading) for heading in headings)]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_scene_has_its_twin(lesson: Path) -> None:
    assert [one for one in lacking(lesson) if one not in WITHOUT] == []


def test_no_exception_is_left_over() -> None:
    found = [one for lesson in LESSONS for one in lacking(lesson)]
    assert [one for one in WITHOUT if one not in found] == []


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_twin_fits(lesson: Path) -> None:
    found = in_node.twins(lesson)
    wide = [(twin.cell, line) for twin in found for line in twin.code.splitlines()]
    assert [(cell, line) for cell, line in wide if len(line) > WIDTH] == []


# -- what runs them ------------------------------------------------------------------------------


def notebook(*sources: str) -> Any:
    return v4.new_notebook(
        cells=[
            (v4.new_code_cell if source.startswith("await") else v4.new_markdown_cell)(
                source, id=f"c{number}"
            )
            for number, source in enumerate(sources)
        ]
    )


FOLD = f"{SUMMARY}\n\n```js\nconsole.log(1);\n```\n\nIt prints\n\n```text\n1\n```\n\n</details>"
PLAYS = 'await sio.emit("news")'


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ((PLAYS, FOLD), [("c0", "", True)]),
        ((PLAYS, "Words.", PLAYS, FOLD), [("c0", "", True), ("c2", "", True)]),
        ((PLAYS, "## A heading", FOLD), [("c0", "", False)]),
        ((FOLD, PLAYS), [("c1", "", False)]),
        (("await check('1', answer)", "await stage.close()"), []),
        (("await stage.cut('ada')",), [("c0", "", False)]),
    ],
)
def test_a_scene_has_its_twin_below_it(cells: tuple[str, ...], found: Any) -> None:
    assert list(scenes(notebook(*cells))) == found


@pytest.mark.needs("node")
def test_what_is_printed_is_stored_beneath_its_block(tmp_path: Path) -> None:
    path = tmp_path / "lesson.ipynb"
    blocks = [f"{SUMMARY}\n\n```js\n{code}\n```\n\n</details>" for code in ("let n = 1;", "n;")]
    blocks[1] = blocks[1].replace("n;", "console.log(n);")
    nbformat.write(notebook(*blocks), path)
    assert in_node.run(in_node.twins(path)) == ["", "1\n"]
    in_node.store(path)
    assert [twin.prints for twin in in_node.twins(path)] == ["", "1\n"]


@pytest.mark.needs("node")
def test_an_error_in_a_block_is_told() -> None:
    with pytest.raises(AssertionError, match="no such word"):
        in_node.run([Twin("c0", 'throw new Error("no such word");\n', "")])


def test_a_new_server_begins_a_new_program() -> None:
    server = "const io = new Server();\n"
    found = [
        Twin(str(number), code, "") for number, code in enumerate(["1;", server, "2;", server])
    ]
    programs = [[twin.cell for twin in program] for program in in_node.programs(found)]
    assert programs == [["0", "1", "2"], ["3"]]
