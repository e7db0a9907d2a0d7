"""A Python process for code that nobody has looked at: with a folder of its own, and to its end.

Owns what such a process is given and what becomes of it. Must not know: what it is for.

It has few variables of the environment, a home and a folder for temporary files that are thrown
away, and runs in a copy of its files; with it, all processes are ended that it has begun. It is no
prison: it runs as the user who began it, and may read and write what he may, by its full path, and
use the network. On Linux, processes are found that have made a session of their own; elsewhere only
those of its group, and on Windows its children.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["TooLate", "run_isolated"]

#: The only variables that are handed on.
_GIVEN = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "SYSTEMDRIVE",
    "WINDIR", "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
)  # fmt: skip
#: By this variable the processes of one run are known.
_MARK = "CHATQ_ISOLATED"
#: What no code needs of a folder.
_LEFT_OUT = {".git", ".venv", "__pycache__", ".ipynb_checkpoints", "node_modules"}
#: The longest answer, in bytes; and for how many seconds to look for processes that are left.
_LONGEST, _ENDING = 2**16, 10.0
_LINUX = sys.platform == "linux"


class TooLate(Exception):
    """It was not over in time."""


async def run_isolated(
    module: str, request: bytes, *, files: Path, deep: bool, within: float
) -> bytes:
    """Call `serve` of a module, with this line as its input, in a copy of the folder `files`.

    Returns the first line that it writes, or b"".

    `deep`: with its folders; `within`: seconds. Raises `TooLate`.
    """
    with tempfile.TemporaryDirectory(prefix="chatq-", ignore_cleanup_errors=True) as folder:
        home, copy = Path(folder, "home"), Path(folder, "files")
        await asyncio.to_thread(home.mkdir)
        await asyncio.to_thread(_copy, files, copy, deep)
        mark = secrets.token_hex(16)
        with _all_ended(mark) as group:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", f"from {module} import serve; serve()"),
                cwd=copy,
                env=_environment(home, mark),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                limit=_LONGEST,
                start_new_session=True,
            )
            group.append(process.pid)
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(within):
                    process.stdin.write(request + b"\n")
                    with suppress(ConnectionError):
                        await process.stdin.drain()
                    return await process.stdout.readline()
            except TimeoutError:
                raise TooLate from None
            except ValueError:  # the line is too long
                return b""
            finally:
                _end_group(process.pid)
                await process.wait()


def _environment(home: Path, mark: str) -> dict[str, str]:
    given = {name: os.environ[name] for name in _GIVEN if name in os.environ}
    for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"):
        given[name] = str(home)
    given["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent.parent)
    # What lies in the folder takes no module's place.
    return given | {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", _MARK: mark}


def _copy(files: Path, copy: Path, deep: bool) -> None:
    """Copy what code may need: no notebooks, and nothing that only refers to something else."""
    copy.mkdir()
    for one in files.iterdir():
        if one.is_symlink() or one.name in _LEFT_OUT or one.suffix == ".ipynb":
            continue
        if one.is_dir() and deep:
            _copy(one, copy / one.name, deep)
        elif one.is_file():
            with suppress(OSError):  # it may not be read
                shutil.copyfile(one, copy / one.name)


# -- processes ------------------------------------------------------------------------------------


@contextmanager
def _all_ended(mark: str) -> Iterator[list[int]]:
    """End, on leaving, what was begun in here, and whatever has this mark."""
    group: list[int] = []
    before = _children() if _LINUX else set()
    if _LINUX:  # orphans become children of this process
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    try:
        yield group
    finally:
        until = time.monotonic() + _ENDING
        while _LINUX and time.monotonic() < until:
            left = (_children() - before - {*group}) | _marked(mark)
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):  # of others: their parents do
                    os.waitpid(pid, 0)
            if not left:
                break


def _end_group(pid: int) -> None:
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False)
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _children() -> set[int]:
    """Return the processes whose parent is this one."""
    return {pid for pid, parent, _ in _processes() if parent == os.getpid()}


def _marked(mark: str) -> set[int]:
    """Return the processes that run with this mark in their environment."""
    text, found = f"{_MARK}={mark}".encode(), set()
    for pid, _, state in _processes():
        with suppress(OSError):
            if state != "Z" and text in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield each process's number, that of its parent, and its state."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                yield int(folder.name), int(fields[1]), fields[0]
