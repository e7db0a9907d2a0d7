"""Lesson 09 leaves nothing behind: no node, no server, no folder, whatever ends it."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from kernel import kernel
from nbclient.exceptions import CellExecutionError
from places import NOTEBOOKS
from processes import gone
from sizes import first

pytestmark = pytest.mark.needs("nats", "linux")

SOURCES = [
    cell["source"]
    for cell in nbformat.read(NOTEBOOKS / "09-more-than-one-machine.ipynb", as_version=4)["cells"]
    if cell["cell_type"] == "code"
]
#: The cells that open something, up to where somebody dies, and the one that opens West.
OPENING = [
    source
    for source in SOURCES[: next(n for n, s in enumerate(SOURCES) if "await node.kill()" in s)]
    if "# at north" not in source
] + [source for source in SOURCES if source.startswith("WEST = ")]
LOOK = """
import json
await west.line("open at")
running = [node._process._child.pid for node in nats.nodes] + [west._child.pid]
print(json.dumps([running, [str(nats._folder.path), str(stage_south.folder)]]))
"""


def there(pids: list[int], folders: list[str]) -> bool:
    return all(Path(path).is_dir() for path in [*folders, *(f"/proc/{pid}" for pid in pids)])


@pytest.mark.parametrize("how", first(1, ["it is run again", "it is restarted", "a cell raises"]))
async def test_nothing_is_left_behind(how: str) -> None:
    cells = [*OPENING, LOOK, "raise RuntimeError('a cell raised')"]
    async with kernel(*cells) as runs:
        for index in range(len(cells) - 2):
            await runs.run(index)
        pids, folders = json.loads((await runs.run(len(cells) - 2))[0])
        assert len(pids) == 4
        assert there(pids, folders)
        if how == "a cell raises":
            with pytest.raises(CellExecutionError):
                await runs.run(len(cells) - 1)
        elif how == "it is restarted":
            await runs.restart()
            assert all(gone(pid) for pid in pids)
        else:
            await runs.run(0)
            assert all(gone(pid) for pid in pids)
            assert not there([], folders)
    assert all(gone(pid) for pid in pids)
