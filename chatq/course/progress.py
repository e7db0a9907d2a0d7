"""The progress of a class: the answers in learners' notebooks are tried, and put in a table.

Owns the command and its table. Must not know: the task of any exercise, how a notebook is read, how
an answer is tried.

    python -m chatq progress FOLDER

Stored outputs do not count, nor what a notebook calls `check`: each answer is tried anew, with what
it needs of the cells above it and nothing else. A learner is a folder of notebooks, or a notebook
in FOLDER itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ..views.table import Table, one_line
from .excerpt import Asked, Cells
from .isolated import TooLate, run_isolated

__all__ = ["Run", "add_arguments", "run"]

_WORDS = {"passed": "✓", "failed": "✗ wrong", "not done yet": "… not done"}
_NO_VERDICT = "✗ no verdict"
_JUDGE = f"{__package__}.judge"
#: The largest notebook, in bytes, and the longest note, in characters.
_LARGEST, _NOTE = 50_000_000, 300
#: Said by the command itself, since who runs it has to know.
_WARNING = (
    "Answers are code, and are run as you: each in a process of its own with few variables of the "
    "environment, in a copy of its folder. That protects from mistakes, and from answers that "
    "pretend to be right; not from who takes pains to read or delete what you may, or to fool the "
    "check from inside. For a class that you do not know: a container or a virtual machine."
)


@dataclass
class Run:
    """The result of one notebook: a mark for each exercise, and what there is to say."""

    learner: str
    path: Path
    marks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m chatq progress`."""
    parser.description = _WARNING
    parser.add_argument("folder", type=Path, help="where the notebooks are")
    parser.add_argument(
        "--limit", type=float, default=60.0, help="for each answer, in seconds (%(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Try the answers and print the table; return the exit status: 0, or 2 if there are none."""
    paths = [
        path
        for path in sorted(options.folder.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    ]
    if not paths:
        print(f"there are no notebooks in {options.folder}", file=sys.stderr)
        return 2
    records = asyncio.run(_run_all(options.folder, paths, options.limit, sys.stderr))
    print(table(records))
    for record in records:
        for note in record.notes:
            print(one_line(f"{record.path.relative_to(options.folder)}: {note}", _NOTE))
    return 0


async def _run_all(folder: Path, paths: list[Path], limit: float, progress: TextIO) -> list[Run]:
    records = []
    for number, path in enumerate(paths):
        _show(progress, number, len(paths), str(path.relative_to(folder)))
        parent = path.parent.relative_to(folder)
        learner = str(parent) if parent.parts else path.stem
        records.append(await _record(learner, path, limit, deep=bool(parent.parts)))
    _show(progress, len(paths), len(paths), "")
    print(file=progress)
    return records


def _show(out: TextIO, done: int, all: int, name: str) -> None:
    """Draw a progress bar, in place on a terminal, and as lines elsewhere."""
    bar = "#" * (20 * done // all)
    end = "" if out.isatty() else "\n"
    start = "\r\033[K" if out.isatty() else ""
    print(f"{start}[{bar:20}] {done}/{all} {one_line(name, 60)}".rstrip(), end=end, file=out)
    out.flush()


async def _record(learner: str, path: Path, limit: float, *, deep: bool) -> Run:
    record = Run(learner, path)
    try:
        cells = Cells(_cells(path))
    except (OSError, ValueError, RecursionError) as error:
        record.notes.append(f"cannot be read: {error}")
        return record
    record.notes += cells.problems
    for number, asked in sorted(cells.asked.items()):
        try:
            mark, note = await _try(asked, path.parent, limit, deep=deep)
        except Exception as error:  # one answer must not stop the others
            mark, note = _NO_VERDICT, f"could not be tried: {type(error).__name__}: {error}"
        record.marks[number] = mark
        if note and note not in cells.problems:
            record.notes.append(f"{number} {note}")
    return record


async def _try(asked: Asked, files: Path, limit: float, *, deep: bool) -> tuple[str, str]:
    """Try one answer; return its mark, and why there is no verdict."""
    if asked.problem:
        return _NO_VERDICT, asked.problem
    token = secrets.token_hex(16)
    request = {
        "token": token, "number": asked.number, "source": asked.source, "answer": asked.answer,
    }  # fmt: skip
    try:
        line = await run_isolated(
            _JUDGE, json.dumps(request).encode(), files=files, deep=deep, within=limit
        )
    except TooLate:
        return _NO_VERDICT, f"was not over after {limit:g} s, and was ended"
    try:
        told = json.loads(line)
        known = told["token"] == token
        mark, why = _WORDS.get(told["state"], _NO_VERDICT), str(told["why"])
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        return _NO_VERDICT, "ended its process, or spoke in its place"
    return mark, f"has no verdict: {why}" if mark == _NO_VERDICT else ""


def _cells(path: Path) -> list[str]:
    """Return the sources of the code cells. Raises `ValueError` if it is no notebook."""
    if not path.is_file():
        raise ValueError("it is no file")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    notebook = json.loads(path.read_text("utf-8"))
    try:
        return [
            "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"
        ]
    except (KeyError, TypeError):
        raise ValueError("it is no notebook of version 4") from None


def table(records: list[Run]) -> Table:
    """Return the table: a row for each learner, a column for each exercise."""
    exercises = sorted({name for record in records for name in record.marks})
    rows = []
    for learner in dict.fromkeys(record.learner for record in records):
        mine = [record for record in records if record.learner == learner]
        marks = {name: mark for record in mine for name, mark in record.marks.items()}
        passed = sum(mark == "✓" for mark in marks.values())
        cells = [marks.get(name, "–") for name in exercises]
        notes = "" if not any(record.notes for record in mine) else "see below"
        rows.append([learner, f"{passed} of {len(exercises)}", *cells, notes])
    return Table(
        ("learner", "solved", *exercises, "notes"),
        rows,
        notes=["✓ solved   ✗ wrong   … not done yet   – no such cell in the notebook"],
    )
