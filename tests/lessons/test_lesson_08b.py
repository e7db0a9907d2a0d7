"""Lesson 08b: the reader's own clients of lab 12, in Node, dial the hub of its cells."""

from __future__ import annotations

import json

import nbformat
import needs
import pytest
from kernel import kernel
from places import NOTEBOOKS

CELLS = {
    cell.id: cell.source
    for cell in nbformat.read(NOTEBOOKS / "08b-lab-12-to-its-end.ipynb", as_version=4).cells
}
FREE_PORT = """
import socket
with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = str(free.getsockname()[1])
"""
#: Two lines of the lesson that its reader changes.
THEIRS = ('PORT = "0"', "mine, MINE = [], []")


@pytest.mark.needs("node")
async def test_a_driver_in_node_is_given_what_waited_and_the_vendor_is_told() -> None:
    opens = CELLS["08b-24"]
    assert all(line in opens for line in THEIRS)
    command = json.dumps([needs.path("node"), str(needs.JS / "lab12_driver.mjs")])
    opens = opens.replace(THEIRS[0], FREE_PORT)
    opens = opens.replace(THEIRS[1], f"mine, MINE = [], [[*{command}, PORT]]")
    waits = 'await mine[0].line("picked up O-12")'
    # In the lesson a driver of Python's has received O-11 before.
    cells = [CELLS["08b-4"], CELLS["08b-17"], opens, *(CELLS[f"08b-{n}"] for n in (26, 27, 29))]
    cells += [waits, CELLS["08b-29"], CELLS["08b-30"]]
    async with kernel(*cells) as runs:
        *_, shown, closed = await runs.run_all()
    assert "DRIVER: picked up O-12" in shown
    assert not any("O-11" in line for line in shown)
    assert closed[0].startswith("<Stage: closed")
