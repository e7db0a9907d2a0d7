"""A queue for each of many users who never come back: what stays of them, in memory and on disk.

    python benchmarks/retention.py [--users 1000000] [--store sqlite:///FILE, or memory:]

Each user gets one message with a time to live; expired, it is a dead letter for a while, and then
its queue has nothing in it. The clock is moved by hand, a day at a time; users come in waves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from chatq.queues.queues import Queues
from chatq.queues.rules import Rules

DAY = 24 * 3600.0
WAVES = 10


def memory() -> float:
    """Return the memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def files(path: Path) -> float:
    """Return the size of a store and of what is beside it, in MB."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e6


def sqlite(queues: Queues) -> bool:
    """Return whether these are kept in a file."""
    return hasattr(queues.store, "_rows")


async def main() -> None:
    """Let the users come and go."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--store", default="")
    given = parser.parse_args()
    now = time.time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(given.store.removeprefix("sqlite:///") or Path(folder) / "users.db")
        url = given.store or f"sqlite:///{path}"
        rules = Rules(dead_memory=DAY, queue_memory=DAY, key_memory=DAY)
        async with await Queues.open(url, rules, clock=lambda: now) as queues:
            print(f"at first: {memory():.0f} MB of memory, {files(path):.1f} MB of files")
            user = 0
            for wave in range(1, WAVES + 4):
                began = time.perf_counter()
                while wave <= WAVES and user < given.users * wave / WAVES:
                    some = range(user, user + 500)
                    user = some.stop
                    data = {"text": "you have a message" * 5}
                    await asyncio.gather(
                        *(
                            queues.emit("note", data, to=f"user-{n}", key=f"k{n}", ttl=DAY / 2)
                            for n in some
                        )
                    )
                now += DAY
                longest = 0.0
                while True:  # all of it in slices, as a timer would have it done
                    asked = time.perf_counter()
                    queues.tick()
                    await queues.used("somebody")
                    longest = max(longest, time.perf_counter() - asked)
                    if not sqlite(queues) or queues.store._rows.due > now:  # type: ignore[attr-defined]
                        break
                known = len(await queues.names())
                print(
                    f"day {wave:2}: {user:9,} users so far, {known:8,} queues known, "
                    f"{memory():5.0f} MB of memory, {files(path):6.1f} MB of files; "
                    f"a request waited {longest * 1000:.0f} ms at most "
                    f"({time.perf_counter() - began:.0f} s)",
                    flush=True,
                )
            for _ in range(2000):  # space comes back in slices, one a second
                now += 1.0
                queues.tick()
                await queues.used("somebody")
            print(f"a while later: {memory():.0f} MB of memory, {files(path):.1f} MB of files")
        print(f"closed: {files(path):.1f} MB of files")


if __name__ == "__main__":
    asyncio.run(main())
