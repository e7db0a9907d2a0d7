"""The progress of a class: learners' notebooks are run again, and their verdicts put in a table.

Owns the running of untrusted notebooks: each in a kernel of its own, each cell with a time limit.
Must not know: the task of any exercise.

    python -m chatq progress FOLDER

Stored outputs do not count: every cell is run. A learner is a folder of notebooks, or a notebook in
FOLDER itself.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..views.table import Table, one_line

__all__ = ["Run", "add_arguments", "run"]

_CHECKED = re.compile(r"\bcheck\(\s*[\"'](\d\d\.\d+)[\"']")
_WORDS = {"passed": "✓", "failed": "✗ wrong", "not done yet": "… not done"}
#: Evaluated in a kernel: the verdicts of chatq's own `check`, whatever the notebook calls `check`.
_TAKE = "__import__('importlib').import_module('chatq.course.check').take_given()"
#: The longest output of a cell before it is interrupted, in characters; and the time limit of a
#: notebook, in seconds.
_LONGEST, _NOTEBOOK = 200_000, 300.0


@dataclass
class Run:
    """The result of one notebook: a mark for each exercise, and errors."""

    learner: str
    path: Path
    marks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m chatq progress`."""
    parser.add_argument("folder", type=Path, help="where the notebooks are")
    parser.add_argument(
        "--cell", type=float, default=30.0, help="a limit for each cell, in seconds (%(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the notebooks and print the table; return the exit status: 0, or 2 if there are none."""
    try:
        import ipykernel  # noqa: F401
    except ModuleNotFoundError:
        print("progress runs notebooks: pip install ipykernel", file=sys.stderr)
        return 2
    paths = [
        path
        for path in sorted(options.folder.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    ]
    if not paths:
        print(f"there are no notebooks in {options.folder}", file=sys.stderr)
        return 2
    records = asyncio.run(_run_all(options.folder, paths, options.cell, sys.stderr))
    print(table(records))
    for record in records:
        for note in _grouped(record.notes):
            print(f"{record.path.relative_to(options.folder)}: {note}")
    return 0


def _grouped(notes: list[str]) -> list[str]:
    """Return the first of the errors of each kind, with the number of the others."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(re.sub(r"^code cell \d+ |(?<=Error):.*", "", note, flags=re.S), []).append(
            note
        )
    return [
        first + (f" (and {len(more)} more cells {kind})" if more else "")
        for kind, (first, *more) in kinds.items()
    ]


async def _run_all(folder: Path, paths: list[Path], limit: float, progress: TextIO) -> list[Run]:
    records = []
    for number, path in enumerate(paths):
        _show(progress, number, len(paths), str(path.relative_to(folder)))
        parent = path.parent.relative_to(folder)
        learner = str(parent) if parent.parts else path.stem
        records.append(await _record(learner, path, limit))
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


async def _record(learner: str, path: Path, limit: float) -> Run:
    record = Run(learner, path)
    try:
        cells = _cells(path)
    except (OSError, ValueError) as error:
        record.notes.append(f"cannot be read: {error}")
        return record
    for source in cells:
        for name in _CHECKED.findall(source):
            record.marks.setdefault(name, "not reached")
    try:
        async with asyncio.timeout(_NOTEBOOK):
            await _run_cells(record, cells, limit)
    except TimeoutError:
        record.notes.append(f"was not over after {_NOTEBOOK:g} s")
    except Exception as error:  # one notebook must not stop the others
        record.notes.append(f"could not be run: {type(error).__name__}: {error}")
    return record


def _cells(path: Path) -> list[str]:
    """Return the sources of the code cells. Raises `ValueError` if it is no notebook."""
    notebook = json.loads(path.read_text("utf-8"))
    try:
        return [
            "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"
        ]
    except (KeyError, TypeError):
        raise ValueError("it is no notebook of version 4") from None


async def _run_cells(record: Run, cells: Iterable[str], limit: float) -> None:
    kernel = _Kernel(record.path.parent)
    try:
        for number, source in enumerate(cells, 1):
            names = _CHECKED.findall(source)
            if names:  # a notebook may have its own `check`, or none in a restarted kernel
                await kernel.run("from chatq import check", limit)
            went_wrong = (await kernel.run(source, limit))[1]
            given = await kernel.ask(_TAKE, limit) if names else {}
            for name in names:
                if given.get(name) in _WORDS:
                    record.marks[name] = _WORDS[given[name]]
                elif record.marks[name] == "not reached":
                    record.marks[name] = "✗ no verdict"
                    went_wrong = went_wrong or "gave no verdict: is its `check` that of chatq?"
            if went_wrong:
                record.notes.append(f"code cell {number} {went_wrong}")
    finally:
        await kernel.end()


class _Kernel:
    """A kernel that is interrupted when a cell takes too long or prints too much, and restarted
    when the interrupt does not help, or it has died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manager: Any = None
        self._client: Any = None
        #: The imports and definitions so far, for a restarted kernel.
        self._definitions: list[str] = []

    async def _begin(self) -> None:
        from jupyter_client.manager import AsyncKernelManager

        self._manager = AsyncKernelManager(kernel_name="python3")
        self._manager.kernel_spec.argv[0] = sys.executable
        await self._manager.start_kernel(
            cwd=str(self._folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=60)

    async def run(self, source: str, limit: float) -> tuple[str, str]:
        """Run a cell; return its output (as text) and its error, or ""."""
        if self._client is None:
            await self._begin()
            earlier, self._definitions = self._definitions, []
            for one in earlier:  # some may fail without the rest of their notebook
                await self.run(one, limit)
        self._definitions += _definitions(source)
        request = self._client.execute(source, allow_stdin=False)
        output: list[str] = []
        try:
            async with asyncio.timeout(limit):
                raised = await self._collect(request, output)
            return "".join(output), raised
        except TimeoutError:
            return "".join(output), await self._stop(request, f"was not over after {limit:g} s")
        except _TooMuch:
            why = f"said more than {_LONGEST} characters"
            return "".join(output), await self._stop(request, why)
        except _Died:
            await self.end()
            return "".join(output), "ended its kernel; the cells after it ran in a new one"

    async def ask(self, expression: str, limit: float) -> dict[str, str]:
        """Return the dict that `expression` evaluates to; empty without a kernel."""
        if self._client is None:
            return {}
        try:
            given = ast.literal_eval((await self.run(expression, limit))[0].strip())
        except (SyntaxError, ValueError):
            return {}
        return given if isinstance(given, dict) else {}

    async def _collect(self, request: str, output: list[str]) -> str:
        """Collect the output of a cell until it is over; return its exception, or ""."""
        raised, length = "", 0
        while True:
            message = await self._message()
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    text = content["text"]
                case "execute_result" | "display_data":
                    text = content["data"].get("text/plain", "") + "\n"
                case "error":
                    raised, text = f"raised {content['ename']}: {content['evalue']}"[:200], ""
                case "status" if content["execution_state"] == "idle":
                    return raised
                case _:
                    text = ""
            length += len(text)
            if length > _LONGEST:
                raise _TooMuch
            output.append(text)

    async def _message(self) -> Any:
        waiting = asyncio.ensure_future(self._client.get_iopub_msg())
        try:
            # A kernel that has died sends nothing.
            while not (await asyncio.wait({waiting}, timeout=1.0))[0]:
                if not await self._manager.is_alive():
                    raise _Died
            return waiting.result()
        finally:
            waiting.cancel()

    async def _stop(self, request: str, why: str) -> str:
        """Interrupt a cell; if that does not help, end its kernel. Return what happened."""
        await self._manager.interrupt_kernel()
        with contextlib.suppress(_TooMuch, _Died, TimeoutError):
            async with asyncio.timeout(5):
                while True:
                    message = await self._message()
                    idle = message["content"].get("execution_state") == "idle"
                    if idle and message["parent_header"].get("msg_id") == request:
                        return f"{why}, and was interrupted"
        await self.end()
        return f"{why}, and its kernel was ended; the cells after it ran in a new one"

    async def end(self) -> None:
        """End the kernel, if there is one."""
        if self._client is not None:
            self._client.stop_channels()
            self._client = None
        if self._manager is not None:
            await self._manager.shutdown_kernel(now=True)
            self._manager = None


def _definitions(source: str) -> list[str]:
    """Return the imports, functions and classes of a cell, without its other statements."""
    try:
        # With `await` outside of functions, as cells may have it.
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        nodes = compile(source, "<cell>", "exec", flags).body
    except (SyntaxError, ValueError, RecursionError):
        return []
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [ast.unparse(node) for node in nodes if isinstance(node, kinds)]


class _TooMuch(Exception):
    """The output of a cell is too long."""


class _Died(Exception):
    """The kernel has died."""


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
