"""What an open panel costs, and how much it sends to the browser, in a real kernel.

    python benchmarks/panel.py [--seconds 10]

A stage with two clients in a kernel of its own, as JupyterLab starts one; what the kernel sends to
the widgets is counted on this side of the connection. First 1,000 messages a second for ten
seconds; then as many as can be sent, with the panel and without it taking turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient

SCENE = """
import asyncio, json, statistics, time
import socketio
from chatq import Stage
sio = socketio.AsyncServer(async_mode="aiohttp")
stage = await Stage.open(sio)
ada, bob = await stage.clients("ada", "bob")
for client in (ada, bob):
    client.on("news", lambda *_: None)

async def paced(seconds, rate=1000, burst=20):
    "Emit at this rate; return the rate that it was."
    loop = asyncio.get_running_loop()
    begin, sent = loop.time(), 0
    while sent < seconds * rate:
        due = loop.create_future()
        loop.call_at(begin + sent / rate, due.set_result, None)
        await due
        for _ in range(burst):
            await sio.emit("news", {"n": sent})
            sent += 1
    await stage.settle()
    return sent / (loop.time() - begin)

async def flat_out(seconds):
    "Emit and settle, as quickly as it goes; return the rate."
    begin, sent = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for _ in range(50):
            await sio.emit("news", {"n": sent})
            sent += 1
        await stage.settle()
    return sent / (time.perf_counter() - begin)
"""
PANEL = "panel = stage.panel('Who gets it?')\npanel"
#: Without a panel: nobody listens to the stage.
TURNS = """
rates = {{"with": [], "without": []}}
for _ in range({rounds}):
    rates["with"].append(await flat_out({seconds}))
    listeners, stage._listeners[:] = stage._listeners[:], []
    facts, stage.journal._listeners[:] = stage.journal._listeners[:], []
    rates["without"].append(await flat_out({seconds}))
    stage._listeners[:], stage.journal._listeners[:] = listeners, facts
print(json.dumps(rates))
"""


class Client(NotebookClient):
    """Counts what a kernel sends to widgets."""

    #: Whether it carried a picture, with which a drawing begins; and its size in bytes.
    sent: list[tuple[bool, int]]

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["msg_type"].startswith("comm_"):
            text = json.dumps(msg["content"], ensure_ascii=False)
            self.sent.append(("<svg" in text, len(text.encode())))
        return super().process_message(msg, cell, cell_index)


async def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Run all of it; return the figures."""
    cells = [SCENE, PANEL, f"print(await paced({seconds}))"]
    cells.append(TURNS.format(rounds=rounds, seconds=max(0.5, seconds / 5)))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    client = Client(notebook, kernel_name="python3", timeout=300)
    kernel = client.create_kernel_manager().kernel_spec
    assert kernel is not None
    kernel.argv[0] = sys.executable
    client.sent = []
    async with client.async_setup_kernel():
        for number in (0, 1):
            await client.async_execute_cell(notebook.cells[number], number)
        client.sent = []
        await client.async_execute_cell(notebook.cells[2], 2)
        paced = client.sent
        await client.async_execute_cell(notebook.cells[3], 3)
    rate, turns = ("".join(o["text"] for o in cell.outputs) for cell in notebook.cells[2:])
    drawings: list[int] = []
    for begins, size in paced:
        if begins or not drawings:
            drawings.append(0)
        drawings[-1] += size
    half = len(drawings) // 2
    rates = json.loads(turns)
    pairs = zip(rates["with"], rates["without"], strict=True)
    return {
        "paced": float(rate),
        "drawings a second": len(drawings) / seconds,
        "bytes a drawing, median": statistics.median(drawings),
        "bytes a drawing, first half": statistics.median(drawings[:half]),
        "bytes a drawing, second half": statistics.median(drawings[half:]),
        "bytes a drawing, most": max(drawings),
        "flat out with a panel": statistics.median(rates["with"]),
        "flat out without": statistics.median(rates["without"]),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def main() -> int:
    """Measure and print; the exit status is 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.seconds, options.rounds))
    for name, value in figures.items():
        print(f"{name:32} {value:>12,.3f}")
    good = (
        figures["drawings a second"] <= 10
        and figures["ratio"] >= 0.9
        and figures["bytes a drawing, second half"] <= 1.2 * figures["bytes a drawing, first half"]
    )
    print("all bounds kept" if good else "a bound was missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
