"""The words of the glossary: each is linked where a lesson uses it first, and links lead somewhere.

Where a test fails because a lesson has a new word, it says in which cell, and what to write there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from places import NOTEBOOKS

GLOSSARY = NOTEBOOKS / "glossary.ipynb"
LESSONS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))

#: What else stands for a word in a text. Case counts for none but those that are names.
FORMS = {
    "Acknowledgement": r"acknowledg\w+",
    "Back-pressure": r"back-?pressure",
    "Broker": r"brokers?",
    "Consumer group": r"consumer groups?",
    "Dead letter": r"dead letters?",
    "Fencing token": r"fencing tokens?",
    "Idempotent": r"idempoten\w+",
    "Inbox": r"inbox(?:es)?",
    "Lease": r"leases?|leased",
    "Offset": r"offsets?",
    "Outbox": r"outbox(?:es)?",
    "Partition": r"partition(?:s|ed)?",
    "Poison message": r"poison(?: messages?)?",
    "Polling": r"(?:long )?polling",
    "Publish and subscribe": r"publish(?:/| and )subscribe",
    "Quorum": r"quorums?",
    "Upgrade": r"upgrade[sd]?",
}
NAMES = ("CORS", "Raft")

#: What is no place for a link: code, what is one already, headings, and what is folded as HTML.
NO_TEXT = re.compile(
    r"```.*?```|`[^`\n]*`|!?\[[^\]]*\]\([^)]*\)|^#{1,6} [^\n]*$|<details>.*?</details>|<[^>]+>",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def words() -> list[str]:
    cells = nbformat.read(GLOSSARY, as_version=4).cells
    return [w for cell in cells for w in re.findall(r"(?m)^## (.+)$", cell.source)]


def pattern(word: str) -> re.Pattern[str]:
    form = FORMS.get(word, re.escape(word))
    return re.compile(rf"(?<![\w-])(?:{form})(?![\w-])", 0 if word in NAMES else re.I)


def anchor(heading: str) -> str:
    """Return the anchor that JupyterLab gives to a heading."""
    return re.sub(r"[*`]", "", heading).strip().replace(" ", "-")


def place(word: str) -> str:
    """Return the id of a word's cell: JupyterLab does not find a heading in what it has just
    opened, and it does find a cell."""
    return re.sub(r"[^a-z0-9]+", "-", word.lower())


def texts(cells: list[nbformat.NotebookNode]) -> Iterator[tuple[str, str]]:
    """Yield the texts after the first cell, which promises, with the names of their cells."""
    for cell in cells[1:]:
        if cell.cell_type == "markdown":
            yield cell.id, cell.source


def unlinked(cells: list[nbformat.NotebookNode]) -> list[str]:
    """Return what is missing: for each word that a lesson uses, the link at its first use."""
    missing = []
    for word in words():
        target = f"glossary.ipynb#cell-id={place(word)}"
        for name, source in texts(cells):
            plain = NO_TEXT.sub(lambda found: " " * len(found[0]), source)
            used = pattern(word).search(plain)
            linked = source.find(f"]({target})")
            if linked >= 0 and (used is None or linked < used.start()):
                break
            if used:
                missing.append(f"{name}: [{used[0]}]({target})")
                break
    return missing


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.name)
def test_a_word_is_linked_where_a_lesson_uses_it_first(lesson: Path) -> None:
    assert unlinked(nbformat.read(lesson, as_version=4).cells) == []


@pytest.mark.parametrize("notebook", [*LESSONS, GLOSSARY], ids=lambda path: path.name)
def test_links_into_notebooks_lead_to_a_section(notebook: Path) -> None:
    """To the id of its cell (see `place`); on the same page, to its heading."""
    wrong = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for _, target in LINK.findall(cell.source) if cell.cell_type == "markdown" else ():
            path, _, fragment = target.partition("#")
            if fragment and (path or notebook.name).endswith(".ipynb") and ":" not in path:
                there = nbformat.read(NOTEBOOKS / (path or notebook.name), as_version=4).cells
                if fragment not in (places(there) if path else anchors(there)):
                    wrong.append(target)
    assert wrong == []


def places(cells: list[nbformat.NotebookNode]) -> set[str]:
    return {f"cell-id={c.id}" for c in cells if re.search(r"(?m)^#+ ", c.source)}


def anchors(cells: list[nbformat.NotebookNode]) -> set[str]:
    return {anchor(h) for c in cells for h in re.findall(r"(?m)^#+ (.+)$", c.source)}


def test_the_glossary_has_each_word_once_in_order_and_with_a_lesson() -> None:
    cells = nbformat.read(GLOSSARY, as_version=4).cells
    assert words() == sorted(set(words()), key=str.lower)
    assert {*FORMS, *NAMES} <= {*words()}
    assert [cell.id for cell in cells[1:]] == [*map(place, words())]
    for cell in cells[1:]:
        assert re.search(r"(?m)^\*Lesson\*: .*\]\(\d\d", cell.source), cell.source
    listed = re.findall(r"\(#([^)]+)\)", cells[0].source)
    assert listed == [anchor(word) for word in words()]


# -- the guard itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("A lease ends.", ["2: [lease](glossary.ipynb#cell-id=lease)"]),
        ("A [lease](glossary.ipynb#cell-id=lease) ends. Leases do.", []),
        (
            "Leases end, as a [lease](glossary.ipynb#cell-id=lease) does.",
            ["2: [Leases](glossary.ipynb#cell-id=lease)"],
        ),
        ("# A lease\n\n`lease=30`, and [the lease](08.ipynb).", []),
        ("Please release the graft; a raft at sea.", []),
        ("By Raft.", ["2: [Raft](glossary.ipynb#cell-id=raft)"]),
    ],
)
def test_the_guard_finds_words_without_a_link(source: str, found: list[str]) -> None:
    promise = nbformat.v4.new_markdown_cell("A lease.", id="1")
    assert unlinked([promise, nbformat.v4.new_markdown_cell(source, id="2")]) == found
