"""Other people's code, run by Node: what `tests/js` holds."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import needs


def run(script: str, *arguments: str, within: float = 60) -> Any:
    """Run `tests/js/<script>` to its end; return what it printed, read as JSON.

    `within`: a deadline in seconds.
    """
    return json.loads(_node(str(needs.JS / script), *arguments, within=within))


def evaluate(program: str, *, within: float = 60) -> str:
    """Run a program, a module that lies beside those in `tests/js`; return what it printed."""
    return _node("--input-type=module", "-", program=program, within=within)


def _node(*arguments: str, program: str = "", within: float) -> str:
    done = subprocess.run(
        [needs.path("node"), *arguments],
        input=program,
        cwd=needs.JS,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=within,
        check=False,
    )
    assert done.returncode == 0, f"{arguments[0]} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout
