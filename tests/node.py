"""Other people's code, run by Node: what `tests/js` holds, and what it needs on this machine.

What is missing skips the test and names the command that brings it; in CI it fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "js"
IN_CI = os.environ.get("CI") == "true"


def missing(what: str, command: str) -> None:
    """Skip this test, or fail it in CI: `what` is not here, and `command` would bring it."""
    text = f"{what} is not installed: {command}"
    if IN_CI:
        pytest.fail(text)
    pytest.skip(text)


def needed() -> str:
    """Return the path of Node; the packages of `tests/js` are there, too."""
    node = shutil.which("node")
    if node is None:
        missing("Node.js", "install it from nodejs.org or your system's packages")
    if not (FOLDER / "node_modules").is_dir():
        missing("what tests/js/package.json names", "npm ci --prefix tests/js")
    return str(node)


def chromium() -> str:
    """Return the path of the system's Chromium or Chrome."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    missing("Chromium", "apt-get install chromium, or your system's way to get it")
    raise AssertionError("unreachable")


def run(script: str, *arguments: str, within: float = 60) -> Any:
    """Run `tests/js/<script>` to its end; return what it printed, read as JSON.

    `within`: a deadline in seconds.
    """
    done = subprocess.run(
        [needed(), str(FOLDER / script), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=within,
        check=False,
    )
    assert done.returncode == 0, f"{script} failed:\n{done.stderr}"
    return json.loads(done.stdout)
