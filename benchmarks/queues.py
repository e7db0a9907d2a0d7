"""What the durable queues cost, and what they are compared with, all in one run.

    pip install -e .[bench]
    python benchmarks/queues.py [--quick] [--only PART ...] [--directory DIR] [--json FILE]

Each row of the table is a measured value and, if it has one, the bound that it has to keep; the
exit status is 1 if one is missed. All figures are of the disk that holds `--directory`: take one
that is no file system in memory. Parts: see `--help`. `measure` says how figures are taken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import storage
import users
import wire
from measure import FULL, QUICK, TINY, Bench, Row, sync_times

PARTS = {**storage.PARTS, **wire.PARTS, **users.PARTS}
PACKAGES = (
    *("aiohttp", "chatq", "huey", "litequeue", "orjson", "persist-queue"),
    *("python-engineio", "python-socketio", "uvloop"),
)


def environment(folder: Path) -> dict[str, Any]:
    """What the figures are of: versions, processors, the disk."""
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    syncs = sync_times(folder, 200)
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.system(),
        "processors": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "sync_us": round(statistics.median(syncs) * 1e6, 1),
        "packages": packages,
    }


def show(rows: list[Row]) -> None:
    """Print the table."""
    width = max(len(row.name) for row in rows)
    print(f"{'':{width}}  {'measured':>18}  {'middle half':>16}  {'bound':>14}")
    part = ""
    for row in rows:
        if row.part != part:
            part = row.part
            print(f"[{part}]")
        value = f"{_number(row.value)} {row.unit.strip()}".strip()
        middle = f"{_number(row.spread.low)} to {_number(row.spread.high)}" if row.spread else ""
        bound = ""
        if row.at_least is not None:
            bound = f"at least {_number(row.at_least)}"
        elif row.at_most is not None:
            bound = f"at most {_number(row.at_most)}"
        verdict = {True: "ok", False: "MISSED", None: ""}[row.good]
        print(f"{row.name:{width}}  {value:>18}  {middle:>16}  {bound:>14}  {verdict}".rstrip())


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def main(arguments: list[str] | None = None) -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and rough, within two minutes")
    parser.add_argument("--tiny", action="store_true", help="no figures, only to see that it runs")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=[*PARTS], metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--directory", help="where files are made, on the disk to be measured")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args(arguments)
    sizes = TINY if options.tiny else QUICK if options.quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that files are removed, too
    rows: list[Row] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chatq-", dir=options.directory) as name:
        directory = Path(name)
        machine = environment(directory)
        if machine["sync_us"] < 10:
            print(f"{directory} seems to be in memory: give a --directory on a disk")
        bench = Bench(sizes, directory)
        for number, part in enumerate(options.only, start=1):
            bench.heading = f"[{number}/{len(options.only)}] {part}:"
            try:
                rows += asyncio.run(PARTS[part](bench))
            except ModuleNotFoundError as missing:
                sys.exit(f"{missing.name} is not installed: pip install -e .[bench]")
    missed = [row for row in rows if row.good is False]
    print(json.dumps(machine))
    show(rows)
    print(
        f"{sum(row.good is True for row in rows)} bounds kept, {len(missed)} missed, "
        f"{time.monotonic() - begun:.0f} s"
    )
    if options.json:
        result = {
            "sizes": asdict(sizes),
            "environment": machine,
            "rows": [row.as_json() for row in rows],
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
