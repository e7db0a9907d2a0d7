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
    done = subprocess.run(
        [needs.path("node"), str(needs.JS / script), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=within,
        check=False,
    )
    assert done.returncode == 0, f"{script} failed:\n{done.stderr}"
    return json.loads(done.stdout)
