"""Does the README's first command open the first lesson? Start JupyterLab, ask it, and stop it.

python .ci/opens.py .venv/bin/jupyter
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 120.0  # seconds, for all of it
_COMMAND = re.compile(r"^python3 -m venv .* && (\S+)/jupyter (lab .*)$", re.MULTILINE)
_ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)")


def main(jupyter: str) -> None:
    found = _COMMAND.search((ROOT / "README.md").read_text("utf-8"))
    assert found, "the README has no command that opens JupyterLab"
    command = [jupyter, *found[2].split(), "--no-browser"]
    print(*command)
    lab = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8")
    deadline = threading.Timer(DEADLINE, lab.kill)
    deadline.start()
    try:
        assert lab.stderr
        for line in lab.stderr:
            if address := _ADDRESS.search(line):
                break
        else:
            sys.exit(f"JupyterLab has ended, or has not said in {DEADLINE:g} s where it listens")
        host, token = address.groups()
        lesson = Path(command[-2]).name  # JupyterLab serves the folder that it is in
        _ask(f"{host}/lab/tree/{lesson}", token)  # where it sends the browser
        notebook = json.loads(_ask(f"{host}/api/contents/{lesson}", token))
        print(notebook["path"], "has", len(notebook["content"]["cells"]), "cells")
        _ask(f"{host}/api/shutdown", token, "POST")
        lab.communicate()
    finally:
        deadline.cancel()
        lab.kill()
        lab.wait()


def _ask(url: str, token: str, method: str = "GET") -> bytes:
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(url, method=method, headers=headers)
    # It says where it listens a moment before it does.
    until = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
