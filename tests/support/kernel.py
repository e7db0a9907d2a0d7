"""A real kernel, whose cells run in any order and as often as wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import regenerate
from nbclient import NotebookClient
from nbformat import v4

__all__ = ["Kernel", "kernel"]


class Kernel(NotebookClient):
    """Runs the cells of one notebook, in any order and as often as wanted."""

    def __init__(self, notebook: Any, **options: Any) -> None:
        super().__init__(notebook, **options)
        self.printed = asyncio.Event()

    async def run(self, index: int) -> list[str]:
        """Run one cell; return the lines that stand under it, in alphabetical order."""
        cell = await self.async_execute_cell(self.nb.cells[index], index)
        texts = [out.get("text") or out["data"]["text/plain"] for out in cell.outputs]
        return sorted(line for text in texts for line in text.splitlines())

    async def run_all(self) -> list[list[str]]:
        return [await self.run(index) for index in range(len(self.nb.cells))]

    async def restart(self) -> None:
        await self.km.restart_kernel(now=True)
        await self.kc.wait_for_ready(timeout=30)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            self.printed.set()
        return super().process_message(msg, cell, cell_index)


@asynccontextmanager
async def kernel(*cells: str) -> AsyncIterator[Kernel]:
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in cells])
    runs = regenerate.client(notebook, Path.cwd(), Kernel)
    async with runs.async_setup_kernel():
        yield runs
