"""The benchmarks run: each kind of part once, so small that its figures mean nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from places import BENCHMARKS
from sizes import first

BENCHMARK = BENCHMARKS / "queues.py"
#: In this process, in a fresh one, over Socket.IO, and beside Node if that is here. What is
#: compared with other people's queues needs more than the tests do.
PARTS = ["single", "depth", "opening", "fan-out", "frames"]


@pytest.mark.long
@pytest.mark.parametrize("parts", [PARTS, *first(0, [["users"]])], ids=" ".join)
def test_each_kind_of_part_measures_and_leaves_nothing_behind(
    tmp_path: Path, parts: list[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    result = tmp_path / "result.json"
    command = [sys.executable, str(BENCHMARK), "--tiny", "--only", *parts]
    done = subprocess.run(
        [*command, "--directory", str(work), "--json", str(result)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a bound is missed, at this size no wonder
    assert result.exists(), done.stderr
    rows = json.loads(result.read_text("utf-8"))["rows"]
    assert {row["part"] for row in rows} == set(parts)
    assert all(row["value"] > 0 for row in rows if math.isfinite(row["value"]))
    assert list(work.iterdir()) == []


@pytest.mark.long
@pytest.mark.needs("nats")
def test_a_cluster_is_disturbed_and_loses_nothing(tmp_path: Path) -> None:
    """So short that hardly anything happens; the run that counts takes ten minutes."""
    result = tmp_path / "result.json"
    command = [sys.executable, str(BENCHMARK.with_name("cluster.py")), "--minutes", "0.1"]
    command += ["--lease", "5", "--doses", "0"]
    done = subprocess.run(
        [*command, "--seed", "3", "--json", str(result)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    figures = json.loads(result.read_text("utf-8"))
    assert figures["answered"] > 0
    assert figures["delivered"] == figures["answered"]
    assert figures["dead"] == figures["unexplained"] == 0


@pytest.mark.long
def test_a_week_goes_by_in_half_a_minute() -> None:
    """So few users that the sizes mean nothing."""
    command = [sys.executable, str(BENCHMARK.with_name("week.py")), "--minutes", "0.5"]
    done = subprocess.run(
        [*command, "--users", "50"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "failed" not in done.stderr
    assert "after the first tenth" in done.stdout, done.stderr


@pytest.mark.long
@pytest.mark.needs("nats")
def test_throughput_is_measured_beside_nats_alone(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, str(BENCHMARK.with_name("cluster.py")), "--rate"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--messages", "500", "--json", str(result)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert result.exists(), done.stderr
    assert all(value > 0 for value in json.loads(result.read_text("utf-8")).values())


@pytest.mark.long
def test_scenes_are_played_on_both_networks(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, str(BENCHMARK.with_name("scenes.py")), "--scenes", "1"]
    done = subprocess.run(
        [*command, "--json", str(result)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for row in json.loads(result.read_text("utf-8")).values():
        for figures in row.values():
            assert all(figure > 0 for figure in figures.values())
