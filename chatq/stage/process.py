"""A Python program in a real child process that never outlives its parent.

Owns starting it, reading its output, suspending and killing it, and the folder for its files. Must
not know: the stage, sockets, the journal.

Nothing is left behind, even if the parent is killed
- The program's text is sent through a pipe to the child, so there is no file of it; so are its
  arguments, which no list of processes shows.
- The pipe stays open for as long as the parent lives; when it closes, the child ends. Where there
  is `prctl` (Linux), the kernel does that, too, also while the child is suspended.
- A folder has a watchdog, a tiny process at the end of such a pipe, that removes it then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ..journal.activity import wait_for

__all__ = ["Folder", "Process"]

_KEPT = 10_000  # lines
_LONGEST = 1_000  # characters of a line
_ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+")

#: Run by the new process: it reads its program from the pipe, and ends when the pipe does.
_BOOT = r"""
import ctypes, json, linecache, os, sys, threading, traceback
try:
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
except (OSError, AttributeError, TypeError):
    pass
name, size = sys.argv[1:]
told = b""
while len(told) < int(size):
    told += os.read(0, int(size) - len(told)) or os._exit(1)
arguments, source = json.loads(told)
reading, writing = os.pipe()
sys.stdin = open(reading)
def watch(stop=os._exit, read=os.read, write=os.write):
    while data := read(0, 65536):
        write(writing, data)
    stop(1)
threading.Thread(target=watch, daemon=True).start()
sys.argv = [name, *arguments]
linecache.cache[name] = (len(source), None, source.splitlines(True), name)
try:
    exec(compile(source, name, "exec"), {"__name__": "__main__"})
except Exception as error:  # the interpreter's own report would look for a file
    traceback.print_exception(error.with_traceback(error.__traceback__.tb_next))
    sys.exit(1)
"""

_WATCHDOG = """
import os, shutil, sys
sys.stdin.read()
for _ in range(3):
    if os.path.exists(sys.argv[1]):
        shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class Process:
    """A running program called `name`; see `start`.

    `lines`: its output, errors included.
    """

    frozen: bool

    def __init__(self, name: str, child: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.lines: list[str] = []
        #: The exit code; None while it runs.
        self.code: int | None = None
        self.frozen = False
        #: Called when it is being killed.
        self.on_kill: Callable[[], None] = lambda: None
        self._child = child
        self._returned = 0  # lines that `line` has passed
        self._killed = False
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    async def start(cls, name: str, program: str, *arguments: str, folder: Path) -> Self:
        """Run the Python `program`, with these `sys.argv[1:]`, in a new process and in `folder`.

        Raises `SyntaxError` if it is no Python.
        """
        compile(program, f"{name}.py", "exec")
        # Not in another thread: Linux would end the process with the thread that started it.
        told = json.dumps([arguments, program]).encode()
        command = [sys.executable, "-u", "-c", _BOOT, f"{name}.py", str(len(told))]
        child = subprocess.Popen(  # noqa: ASYNC220
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,  # Jupyter's "interrupt" is not for it
        )
        process = cls(name, child)
        process._write(told)
        threading.Thread(target=process._read, daemon=True).start()
        return process

    # -- input ----------------------------------------------------------------------------------

    def write(self, line: str) -> None:
        """Give it a line to read (`input()`).

        Raises `ChildProcessError` if it has ended.
        """
        if self.code is not None:
            raise ChildProcessError(f"{self.name} has ended and does not read {line!r}")
        self._write(f"{line}\n".encode())

    def _write(self, data: bytes) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(data)
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it has just ended; its output says why

    # -- waiting --------------------------------------------------------------------------------

    async def line(self, text: str, within: float = 10.0) -> str:
        """Return the next line printed that contains `text`; each line is returned once.

        `within`: a deadline in seconds. Raises `NotSettled` when it has passed, and
        `ChildProcessError` if the program has ended and no such line is left.
        """
        await self._until(lambda: self._find(text) or self.code is not None, repr(text), within)
        found = self._find(text)
        if not found:
            raise ChildProcessError(
                f"{self.name} ended with exit code {self.code} and never printed {text!r}; its "
                f"last lines: {self.lines[-5:]}"
            )
        self._returned = found
        return self.lines[found - 1]

    async def ended(self, within: float = 10.0) -> int:
        """Return the exit code when the program has ended (below 0: killed by that signal).

        `within`: a deadline in seconds. Raises `NotSettled` when it has passed.
        """
        await self._until(lambda: self.code is not None, "its end", within)
        assert self.code is not None
        return self.code

    def _find(self, text: str) -> int:
        for number in range(self._returned, len(self.lines)):
            if text in self.lines[number]:
                return number + 1
        return 0

    async def _until(self, condition: Callable[[], object], what: str, within: float) -> None:
        await wait_for(condition, self.listen, f"{what} of {self.name}", within)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each line of output and at its end; return what ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- faults ---------------------------------------------------------------------------------

    async def kill(self) -> None:
        """Kill it (SIGKILL), with no chance to say goodbye; return when it has ended.

        Killing a process that has ended is harmless.
        """
        if self.code is None:
            self._killed = True
            self._child.kill()
            self.on_kill()
            await self.ended()

    async def freeze(self) -> None:
        """Suspend it (SIGSTOP): its connections stay open, and it does nothing.

        Raises `NotImplementedError` where processes cannot be suspended.
        """
        if not hasattr(signal, "SIGSTOP"):
            raise NotImplementedError(f"cannot freeze {self.name}: this system has no SIGSTOP")
        if self.code is None and not self.frozen:
            self.frozen = True
            self._child.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(self._stopped)

    def _stopped(self) -> None:
        """Return when it is suspended, or has ended."""
        with contextlib.suppress(ChildProcessError):  # it has ended, and `_read` was told so
            if hasattr(os, "waitid"):
                os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                return
            # macOS before Python 3.13: what has ended is heard of once, so it has to be noted.
            _, status = os.waitpid(self._child.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                self._child.returncode = os.waitstatus_to_exitcode(status)

    def thaw(self) -> None:
        """Resume it after `freeze` (SIGCONT)."""
        if self.code is None and self.frozen:
            self.frozen = False
            self._child.send_signal(signal.SIGCONT)

    # -- the reading thread ---------------------------------------------------------------------

    def _read(self) -> None:
        assert self._child.stdout is not None
        assert self._child.stdin is not None
        with self._child.stdout as output:
            for line in output:
                self._post(line.decode("utf-8", "replace").rstrip("\r\n")[:_LONGEST], None)
        code = self._child.wait()
        self._child.stdin.close()
        self._post(None, code)

    def _post(self, line: str | None, code: int | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._note, line, code)
        except RuntimeError:
            pass  # the event loop is closed

    def _note(self, line: str | None, code: int | None) -> None:
        if line is not None and len(self.lines) < _KEPT:
            self.lines.append(line)
        if code is not None:
            self.code, self.frozen = code, False
        for listener in tuple(self._listeners):
            listener()

    @property
    def address(self) -> str:
        """The last address of a server on this machine in its output; "" if none."""
        for line in reversed(self.lines):
            if found := _ADDRESS.search(line):
                return found[0]
        return ""

    @property
    def state(self) -> str:
        """Its state in words: running, frozen, killed, or ended with its exit code."""
        if self.code is not None:
            return "killed" if self._killed else f"ended with {self.code}"
        return "frozen" if self.frozen else "running"

    def __repr__(self) -> str:
        return f"<process {self.name}: {self.state}>"


class Folder:
    """A temporary folder that is removed when it is closed, or when this process ends."""

    path: Path

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="chatq-"))
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a kernel is killed with all of its group
        )

    async def close(self) -> None:
        """Remove it, with its contents."""
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        await asyncio.to_thread(self._watchdog.wait)
