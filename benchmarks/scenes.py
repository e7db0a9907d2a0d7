"""How many scenes a second a stage plays: over sockets and in memory, side by side, in one run.

    python benchmarks/scenes.py [--scenes 100] [--json FILE]

A scene opens a stage on a new server, connects clients, lets them talk, settles and closes. The two
networks take turns, scene by scene, so that a machine whose speed drifts slows both; each figure is
the median of the scenes, each ratio the median of the ratios of neighbouring scenes. Measured by
the clock, and by the processor time of this process, which does not count what other programs take.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import socketio  # type: ignore[import-untyped]

from chatq import Stage

NETWORKS = ("sockets", "memory")


def make_server() -> socketio.AsyncServer:
    sio = socketio.AsyncServer(async_mode="aiohttp")

    async def say(sid: str, text: str) -> None:
        await sio.emit("news", text, skip_sid=sid)

    sio.on("say", say)
    return sio


async def talk(stage: Stage, clients: int, messages: int, **options: Any) -> None:
    """So many clients, of whom the first says something so many times to the others."""
    connected = await stage.clients(*(f"client {i}" for i in range(clients)), **options)
    for client in connected:
        client.on("news", lambda text: None)
    for n in range(messages):
        await connected[0].emit("say", f"hello {n}")
    await stage.settle()


SCENES: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "3 clients, 3 messages": lambda stage: talk(stage, 3, 3),
    "3 clients, 100 messages": lambda stage: talk(stage, 3, 100),
    "20 clients, 3 messages": lambda stage: talk(stage, 20, 3),
    "3 that poll, 3 messages": lambda stage: talk(stage, 3, 3, transports=["polling"]),
}


async def played(scene: Callable[[Stage], Awaitable[None]], network: Any) -> tuple[float, float]:
    """Play a scene; return the seconds that it took by the clock, and of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    async with Stage(make_server(), network=network) as stage:
        await scene(stage)
    return time.perf_counter() - began, time.process_time() - worked


async def measure(scenes: int) -> dict[str, Any]:
    result = {}
    for done, (name, scene) in enumerate(SCENES.items(), start=1):
        print(f"[{done}/{len(SCENES)}] {name}", file=sys.stderr)
        rounds = []
        for n in range(scenes + 5):
            gc.collect()
            took = {}
            for network in NETWORKS if n % 2 else reversed(NETWORKS):
                took[network] = await played(scene, network)
            if n >= 5:  # the first ones warm up
                rounds.append(took)
        row: dict[str, Any] = {}
        for place, clock in enumerate(("by the clock", "of processor time")):
            row[clock] = {
                network: round(1 / statistics.median(took[network][place] for took in rounds), 1)
                for network in NETWORKS
            }
            ratios = [took["sockets"][place] / took["memory"][place] for took in rounds]
            row[clock]["ratio"] = round(statistics.median(ratios), 3)
        result[name] = row
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--json", help="write the figures to this file, too")
    options = parser.parse_args()
    result = asyncio.run(measure(options.scenes))
    print(f"{'scenes a second':46}{'sockets':>10}{'memory':>10}{'ratio':>8}")
    for name, row in result.items():
        for clock, found in row.items():
            print(
                f"{name + ', ' + clock:46}{found['sockets']:>10}{found['memory']:>10}"
                f"{found['ratio']:>8}"
            )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
