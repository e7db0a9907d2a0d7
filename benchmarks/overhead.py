"""What a stage costs: the same traffic on bare python-socketio and on a stage, in one run.

    python benchmarks/overhead.py [--blocks 60] [--json FILE]

Both servers are open at once and take turns in blocks of a few hundredths of a second, so that a
machine whose speed drifts slows both; each figure is the median of the blocks, each ratio the
median of the ratios of neighbouring blocks. The clock is the processor time of this process, which
runs the servers and the clients: it does not count what other programs take. Measured:
acknowledged round trips (`client.call`, 20 under way), a broadcast to 50 clients, and opening a
server with 3 clients; the first two over ASGI, too, served by uvicorn. The memory of the journal is
measured with `tracemalloc`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import socketio
import uvicorn
from aiohttp import web

from chatq import Journal, Stage
from chatq.waiting import give_way

CALLS, UNDER_WAY = 200, 20
LISTENERS, BROADCASTS = 50, 8


def make_server(mode: str) -> socketio.AsyncServer:
    sio = socketio.AsyncServer(async_mode=mode)
    sio.on("echo", lambda sid, data: data)
    return sio


@asynccontextmanager
async def served(sio: socketio.AsyncServer) -> AsyncIterator[str]:
    """The server as one serves it without chatq."""
    if sio.async_mode == "asgi":
        server = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(sio), port=0, log_config=None))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await give_way()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        await sio.shutdown()
        server.should_exit = True
        await serving
        return
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=0.5, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await sio.shutdown()
    await runner.cleanup()


@asynccontextmanager
async def bare(mode: str, n: int) -> AsyncIterator[tuple[Any, list[Any]]]:
    """The server and `n` clients as one writes them without chatq."""
    sio = make_server(mode)
    async with served(sio) as url:
        clients = []
        for _ in range(n):
            client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
            await client.connect(url, transports=["websocket"])
            clients.append(client)
        yield sio, clients
        for client in clients:
            await client.disconnect()


@asynccontextmanager
async def staged(mode: str, n: int) -> AsyncIterator[tuple[Any, list[Any]]]:
    """The same on a stage."""
    async with Stage(make_server(mode)) as stage:
        yield stage.sio, await stage.clients(*(f"client {i}" for i in range(n)))


Scene = Callable[[int], Any]
Block = Callable[[], Awaitable[float]]


@asynccontextmanager
async def round_trips(scene: Scene) -> AsyncIterator[Block]:
    """Seconds for one acknowledged round trip."""
    async with scene(1) as (_, [client]):

        async def caller() -> None:
            for _ in range(CALLS // UNDER_WAY):
                await client.call("echo", "hello")

        async def block() -> float:
            start = time.process_time()
            await asyncio.gather(*(caller() for _ in range(UNDER_WAY)))
            return (time.process_time() - start) / CALLS

        yield block


@asynccontextmanager
async def broadcast(scene: Scene) -> AsyncIterator[Block]:
    """Seconds for one broadcast to reach all clients."""
    async with scene(LISTENERS) as (sio, clients):
        heard, all_heard = 0, asyncio.Event()

        def listen(_: object) -> None:
            nonlocal heard
            heard += 1
            if heard == LISTENERS:
                all_heard.set()

        for client in clients:
            client.on("news", listen)

        async def block() -> float:
            nonlocal heard
            start = time.process_time()
            for _ in range(BROADCASTS):
                heard = 0
                all_heard.clear()
                await sio.emit("news", "hello")
                await all_heard.wait()
            return (time.process_time() - start) / BROADCASTS

        yield block


@asynccontextmanager
async def opening(scene: Scene) -> AsyncIterator[Block]:
    """Seconds to open a server and connect three clients."""

    async def block() -> float:
        start = time.process_time()
        async with scene(3):
            return time.process_time() - start

    yield block


CASES: dict[str, tuple[Callable[[Scene], Any], str, float]] = {
    "acknowledged round trip": (round_trips, "aiohttp", 1.12),
    f"broadcast to {LISTENERS} clients": (broadcast, "aiohttp", 1.12),
    "open + 3 clients": (opening, "aiohttp", 1.5),
    "ASGI: round trip": (round_trips, "asgi", 1.15),
    f"ASGI: broadcast to {LISTENERS}": (broadcast, "asgi", 1.15),
}


async def measure(blocks: int) -> dict[str, Any]:
    result = {}
    for done, (name, (case, mode, limit)) in enumerate(CASES.items(), start=1):
        print(f"[{done}/{len(CASES)}] {name}", file=sys.stderr)
        pairs = []
        scenes = partial(bare, mode), partial(staged, mode)
        async with case(scenes[0]) as on_bare, case(scenes[1]) as on_stage:
            for n in range(blocks + 5):
                first, second = (on_bare, on_stage) if n % 2 else (on_stage, on_bare)
                seconds = {first: await first(), second: await second()}
                if n >= 5:  # the first blocks warm up
                    pairs.append((seconds[on_bare], seconds[on_stage]))
        result[name] = {
            "bare_us": round(statistics.median(b for b, _ in pairs) * 1e6, 1),
            "stage_us": round(statistics.median(s for _, s in pairs) * 1e6, 1),
            "ratio": round(statistics.median(s / b for b, s in pairs), 3),
            "limit": limit,
        }
    return result


async def _traffic(keep: int, broadcasts: int) -> Journal:
    async with Stage(make_server("aiohttp"), keep=keep) as stage:
        await stage.clients("ada", "bob", "cy")
        for n in range(broadcasts):
            await stage.sio.emit("news", f"message number {n}")
        await stage.settle(within=60)
        return stage.journal


def journal_memory() -> dict[str, Any]:
    """Bytes that the journal of a real session takes, and that it stops growing."""
    sizes = {}
    for name, broadcasts in (("full", 2_500), ("four times over", 10_000)):
        gc.collect()
        tracemalloc.start()
        journal = asyncio.run(_traffic(keep=10_000, broadcasts=broadcasts))
        gc.collect()
        with_it = tracemalloc.get_traced_memory()[0]
        facts, forgotten = len(journal), journal.forgotten
        del journal
        gc.collect()
        sizes[name] = {
            "facts_kept": facts,
            "forgotten": forgotten,
            "bytes": with_it - tracemalloc.get_traced_memory()[0],
        }
        tracemalloc.stop()
        sizes[name]["bytes_per_fact"] = round(sizes[name]["bytes"] / facts)
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--json", help="write the figures to this file, too")
    options = parser.parse_args()
    result = {"cost": asyncio.run(measure(options.blocks)), "journal": journal_memory()}
    print(f"{'':28}{'bare us':>10}{'stage us':>10}{'ratio':>8}{'at most':>9}")
    for name, row in result["cost"].items():
        mark = "" if row["ratio"] <= row["limit"] else "  over"
        print(
            f"{name:28}{row['bare_us']:>10}{row['stage_us']:>10}{row['ratio']:>8}"
            f"{row['limit']:>9}{mark}"
        )
    for name, row in result["journal"].items():
        print(
            f"journal, {name}: {row['facts_kept']} facts kept, {row['forgotten']} forgotten, "
            f"{row['bytes']} bytes, {row['bytes_per_fact']} bytes a fact"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
