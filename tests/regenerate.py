"""Run the lessons and store what they show: `python tests/regenerate.py [notebook ...]`.

Without arguments: all lessons, and the picture that the README shows. Each notebook runs from top
to bottom in a fresh kernel of the interpreter that runs this. It is written back in one canonical
form, without anything that changes from run to run, so that running this twice changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import socketio
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from chatq import Stage

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PICTURE = NOTEBOOKS / "broadcast.svg"

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
#: Names a widget by a random number; its text/plain stays.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def main(arguments: list[str]) -> int:
    """Run the notebooks named, or everything; return how many failed."""
    paths = [Path(argument) for argument in arguments] or sorted(NOTEBOOKS.glob("*.ipynb"))
    failed = 0
    for path in paths:
        start = time.perf_counter()
        try:
            path.write_text(executed(path), encoding="utf-8")
            outcome = "written"
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(error, file=sys.stderr)
            outcome = "FAILED, left as it was"
            failed += 1
        print(f"{path.name}: {outcome}, {time.perf_counter() - start:.1f} s", flush=True)
    if not arguments:
        PICTURE.write_text(asyncio.run(picture()), encoding="utf-8")
        print(f"{PICTURE.name}: written")
    return failed


def executed(path: Path) -> str:
    """Run the notebook at `path`; return what the file should hold then."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    name_cells(stored["cells"], path.stem.split("-")[0])
    notebook = nbformat.from_dict({**stored, "nbformat": 4, "nbformat_minor": 5})
    for cell in notebook.cells:
        cell.source = "".join(cell.source)  # a file may hold a list of lines
    client(notebook, path.parent).execute()
    make_canonical(notebook)
    return nbformat.writes(notebook, version=4) + "\n"


def client(notebook: Any, folder: Path, kind: type[NotebookClient] = NotebookClient) -> Any:
    """Return what runs `notebook` in `folder`, in a new kernel of this interpreter."""
    runs = kind(
        notebook,
        kernel_name="python3",
        timeout=30,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,  # how often a stream was flushed is chance; nbval does the same
        resources={"metadata": {"path": str(folder)}},
    )
    # Whatever else on this machine is called python3.
    runs.create_kernel_manager().kernel_spec.argv[0] = sys.executable
    return runs


def name_cells(cells: list[dict[str, Any]], prefix: str) -> None:
    """Give each cell without an id of its own the next free one: 01-1, 01-2, ..."""
    taken = {cell.get("id") for cell in cells}
    seen = set()
    number = 1
    for cell in cells:
        if "id" not in cell or cell["id"] in seen:
            while f"{prefix}-{number}" in taken:
                number += 1
            cell["id"] = f"{prefix}-{number}"
            taken.add(cell["id"])
        seen.add(cell["id"])


def make_canonical(notebook: Any) -> None:
    """Take everything away that is not the lesson, or is not the same on every run."""
    notebook.metadata = METADATA
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if output.output_type == "error":
                # The rest of a traceback shows colours, files and the libraries' own lines.
                output.traceback = [f"{output.ename}: {output.evalue}"]


async def picture() -> str:
    """Return the README's picture: a server passes on what ada says to all others."""
    sio = socketio.AsyncServer(async_mode="aiohttp")

    @sio.event
    async def chat(sid: str, text: str) -> None:
        await sio.emit("chat", text, skip_sid=sid)

    async with Stage(sio) as stage:
        ada, *others = await stage.clients("ada", "bob", "cy")
        for client in [ada, *others]:
            client.on("chat", lambda text: None)
        await ada.emit("chat", "hi")
        await stage.settle()
        return stage.diagram().svg() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
