"""Runs of pytest as other people have them: in a project of its own, with the plug-ins it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["ANYIO", "AUTO", "SERVER", "STRICT", "Ran", "run_pytest"]

#: pytest-asyncio in its two modes; anyio's plug-in.
STRICT = ("-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function")
AUTO = (*STRICT, "-o", "asyncio_mode=auto")
ANYIO = ("-p", "anyio")

#: How each program begins: a server that repeats what is said to everybody else.
SERVER = """
import asyncio
import pytest
import socketio

sio = socketio.AsyncServer(async_mode="aiohttp")

@sio.event
async def say(sid, text):
    await sio.emit("news", text, skip_sid=sid)

@sio.event
async def trip(sid):
    raise ValueError("over its own feet")

async def talk(stage):
    ada, bob, cy = await stage(sio).clients("ada", "bob", "cy")
    bob.on("news", lambda text: None)
    await ada.emit("say", "hello")
    await stage.settle()

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
_OUTCOME = re.compile(r"(?m)^(PASSED|FAILED|ERROR|XFAIL|XPASS|SKIPPED) test_it\.py::(\S+)")


class Ran(NamedTuple):
    """A run of pytest that is over: the outcome of each test, all that was printed, the folder."""

    outcomes: dict[str, str]
    text: str
    folder: Path

    def of(self, test: str) -> str:
        """What was printed of the failure of a test."""
        head = rf"(?ms)^_+ (?:ERROR at \w+ of )?{re.escape(test)} _+\n(.*?)(?=^_____|^=====)"
        [part] = re.findall(head, self.text)
        return str(part)


def run_pytest(folder: Path, program: str, *options: str, **environ: str) -> Ran:
    """Run pytest on a program that begins with `SERVER`; warnings are errors.

    `options`: those of pytest, instead of `AUTO`; chatq's plug-in is loaded if they do not name it.
    """
    (folder / "test_it.py").write_text(SERVER + program, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    options = options or AUTO
    if "no:chatq" not in options:
        options = ("-p", "chatq", *options)
    command = [sys.executable, "-X", "utf8", "-m", "pytest", "-rA", "-W", "error"]
    done = subprocess.run(
        [*command, f"--basetemp={folder / 'temporary'}", *options],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # most of the time they would take
            "CI": "",  # there, pytest does not cut what it explains
            "COLUMNS": "100",
            **environ,
        },
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    text = done.stdout + done.stderr
    return Ran({name: end.lower() for end, name in _OUTCOME.findall(text)}, text, folder)
