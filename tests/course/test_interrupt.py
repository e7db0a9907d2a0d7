"""A check that is interrupted ends with all that it had begun, and says so in two lines."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import answers
import pytest
from kernel import kernel
from nbclient.exceptions import CellExecutionError
from sizes import first

from chatq import check
from chatq.course.generated.scenes_04 import Doors
from chatq.course.search import Search
from chatq.waiting import give_way

SAID = "KeyboardInterrupt: the check of {} was interrupted.\nAll that it had begun has ended.\n"

#: `here()` says at the FIFO that it was called for the nth time; `left()`: what is still there.
SCRIPT = """
import asyncio, os, signal, sqlite3, sys, threading, warnings
from contextlib import suppress
from pathlib import Path
import socketio
from chatq import check
from chatq.course.generated.scenes_04 import Doors
from chatq.course.search import Search
from chatq.waiting import give_way

calls, n, fifo, name = [], int(sys.argv[1]), sys.argv[2], sys.argv[3]

def here():
    calls.append(1)
    if len(calls) >= n and (name != "07.4" or "search" not in str(threading.enumerate())):
        with suppress(OSError):  # nobody reads it any more
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))

def left():
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    return [
        [each.name for each in threading.enumerate()],
        signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT),
        signal.getitimer(signal.ITIMER_REAL), sys.get_coroutine_origin_tracking_depth(),
        sqlite3.connect, sys.stdout, sys.stderr, warnings.showwarning, warnings.filters[:],
        socketio.AsyncServer.emit, socketio.AsyncServer.on, asyncio.all_tasks,
        children.read_text() if children.exists() else "",
    ]

SOLUTION
solution = answer

def answer(*given):
    here()
    return solution(*given)

before = left()
try:
    asyncio.run(check(name, answer))
finally:
    if left() != before:
        print(before, left(), sep="\\n")
"""


@pytest.mark.needs("linux")
@pytest.mark.parametrize("group", first(1, [False, True]), ids=["the process", "its group"])
@pytest.mark.parametrize(
    ("exercise", "calls"),
    [("03.1", 1), ("04.1", 1), ("04.1", 5), ("07.4", 1)],
    ids=["told", "told, then generated", "generated", "in processes"],
)
def test_a_script_that_is_interrupted_says_so_and_leaves_nothing(tmp_path, exercise, calls, group):
    fifo = tmp_path / "here"
    os.mkfifo(fifo)
    script = SCRIPT.replace("SOLUTION", answers.SOLUTIONS[exercise])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(calls), str(fifo), exercise],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            os.close(os.open(fifo, os.O_RDONLY))
            (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (out, err) == ("", SAID.format(exercise))
    assert process.returncode == -signal.SIGINT


async def test_a_cell_that_is_interrupted_shows_two_lines():
    begins = f"from chatq import check\n{answers.SOLUTIONS['04.1']}\nsolution = answer\n"
    begins += "def answer(*given):\n    print('here', flush=True)\n    solution(*given)"
    async with kernel(begins, "await check('04.1', answer)", "1 + 1") as runs:
        await runs.run(0)
        running = asyncio.create_task(runs.run(1))
        await runs.printed.wait()
        await runs.km.interrupt_kernel()
        with pytest.raises(CellExecutionError):
            await running
        (error,) = [one for one in runs.nb.cells[1].outputs if one.output_type == "error"]
        assert "\n".join([*error.traceback, ""]) == SAID.format("04.1")
        assert await runs.run(2) == ["2"]


async def test_a_check_that_is_cancelled_is_cancelled():
    begun = asyncio.Event()

    def answer(sio):
        begun.set()
        sio.on("say", lambda sid, text: None)

    checking = asyncio.create_task(check("03.1", answer))
    await begun.wait()
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking


async def test_a_search_that_is_cancelled_ends_after_what_it_plays():
    begun, ended = asyncio.Event(), False

    async def play(script):
        nonlocal ended
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await give_way()
            ended = True

    search = asyncio.create_task(Search(Doors, play, scenes=5, seed=1, steps=len).run())
    await begun.wait()
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert ended


@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize(
    ("exercise", "missing"),
    [("04.1", "hypothesis"), ("07.4", "cloudpickle"), ("09.1", "cloudpickle")],
)
async def test_what_is_not_installed_is_named_with_the_command(monkeypatch, exercise, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {missing}: .*pip install 'chatq\[les"):
        await check(exercise, answers.solution(exercise))
    monkeypatch.undo()
    assert (await check("03.1", answers.solution("03.1"))).passed
