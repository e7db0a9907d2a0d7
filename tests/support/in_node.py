"""What the lessons say in Node, run: the folds "The same in Node" beside their scenes.

`python tests/support/in_node.py notebooks/01-the-phone-call.ipynb` runs those of a lesson, and
stores beneath each what it prints; without arguments, those of all.

A fold holds a block of JavaScript and, if it prints anything, what it prints. The blocks of a
lesson are one program on `tests/js/stage.mjs`, up to one that makes a new `Server`: there a new
program begins. There is no other copy of them.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import nodejs
from places import NOTEBOOKS, ROOT

__all__ = ["SUMMARY", "Twin", "run", "twins"]

SUMMARY = "<details><summary>The same in Node</summary>"
#: A block in a fold, and what it prints.
BLOCK = re.compile(
    r"(?s)```js\n(?P<code>.*?)```\n(?:\nIt prints\n\n```text\n(?P<prints>.*?)```\n)?"
)
BEGINS = re.compile(r"(?m)^const io = new Server\(")
HEAD = 'import "./stage.mjs";\nprocess.chdir({folder});\nconst hub = {hub};\n'
HUB = re.compile(r"\bhub\b")
#: Printed after each block.
MARK = "\N{SYMBOL FOR RECORD SEPARATOR}"


@dataclass(frozen=True)
class Twin:
    """One block of a fold: the id of its cell, the block, and what is said that it prints."""

    cell: str
    code: str
    prints: str


def twins(path: Path) -> list[Twin]:
    """Return the blocks in the folds of a lesson."""
    return [
        Twin(cell.id, block["code"], block["prints"] or "")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown" and cell.source.startswith(SUMMARY)
        for block in BLOCK.finditer(cell.source)
    ]


def programs(found: list[Twin]) -> Iterator[list[Twin]]:
    """Part the blocks of a lesson where a new server is made."""
    program: list[Twin] = []
    for twin in found:
        if BEGINS.search(twin.code) and any(BEGINS.search(one.code) for one in program):
            yield program
            program = []
        program.append(twin)
    if program:
        yield program


def run(found: list[Twin]) -> list[str]:
    """Run the blocks of a lesson; return what each has printed."""
    printed: list[str] = []
    for program in programs(found):
        with running_hub(any(HUB.search(twin.code) for twin in program)) as hub:
            head = HEAD.format(folder=json.dumps(str(NOTEBOOKS)), hub=json.dumps(hub))
            blocks = "".join(f'{twin.code}console.log("{MARK}");\n' for twin in program)
            out = nodejs.evaluate(f"{head}{blocks}await closeAll();\n")
        # What is printed while the stages close belongs to none.
        printed += out.split(f"{MARK}\n")[:-1]
    assert len(printed) == len(found)
    return printed


@contextlib.contextmanager
def running_hub(wanted: bool) -> Iterator[str | None]:
    """Give the address of a hub of its own, with its namespace, if one is wanted."""
    if not wanted:
        yield None
        return
    command = [sys.executable, "-m", "chatq", "serve", "--port", "0", "--store", "memory:"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()


def store(path: Path) -> None:
    """Run the blocks of a lesson, and write beneath each what it has printed."""
    printed = iter(run(twins(path)))

    def renewed(block: re.Match[str]) -> str:
        text = next(printed)
        prints = f"\nIt prints\n\n```text\n{text}```\n" if text else ""
        return f"```js\n{block['code']}```\n{prints}"

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith(SUMMARY):
            cell.source = BLOCK.sub(renewed, cell.source)
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for path in [*map(Path, sys.argv[1:])] or sorted(NOTEBOOKS.glob("*.ipynb")):
        store(path)
