"""`python -m chatq progress` on notebooks that nobody would want to run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

GOOD = """
    @sio.event
    async def say(sid, text):
        await sio.emit("news", text, skip_sid=sid)
"""
WRONG = GOOD.replace(", skip_sid=sid", "")
CHECK = 'await check("03.1", answer)'
CELLS = {
    "solved": f"def answer(sio):{GOOD}{CHECK}",
    "wrong": f"def answer(sio):{WRONG}{CHECK}",
    "stub": f"def answer(sio): ...\n{CHECK}",
    "loops": f"while True: pass\n{CHECK}",
    "blocks": f"def answer(sio):\n    while True: pass\n{CHECK}",
    "waits": f"import asyncio\nawait asyncio.Event().wait()\n{CHECK}",
    "dies": f"import os; os._exit(1)\n{CHECK}",
    "talks": f"while True: print('x' * 1000)\n{CHECK}",
    "shows": f"'x' * 10_000_000\n{CHECK}",
    "raises": f"1/0\n{CHECK}",
    "mistyped": f"def answer(:\n{CHECK}",
    "other": "print('hello')",
    "boasts": "print('✓ 03.1 everyone but the sender')",
    "redefines": "async def check(*_): print('✓ 03.1 all')\n"
    "class Yes:\n    __repr__ = lambda self: '✓ 03.1 everyone but the sender'\n"
    f"def answer(sio): ...\n{CHECK}\nYes()",
    "reads": f"input()\n{CHECK}",
}


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "source": cell} for cell in cells]
    path.write_text(json.dumps({"cells": cells}), "utf-8")


def progress(folder, *options):
    return subprocess.run(
        [sys.executable, "-m", "chatq", "progress", str(folder), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=280,
    )


@pytest.mark.long
def test_nobody_is_lost_whatever_is_in_a_notebook(tmp_path):
    """Most of them have a second cell that is fine."""
    again = CELLS["solved"]
    for number, (name, cell) in enumerate(CELLS.items()):
        first = "from chatq import check"
        notebook(
            tmp_path / f"{name}-{number:02}" / "03.ipynb",
            first,
            cell,
            again.replace("03.1", "03.2"),
        )
    (tmp_path / "text.ipynb").write_text("this is no notebook", "utf-8")
    (tmp_path / "list.ipynb").write_text("[]", "utf-8")
    done = progress(tmp_path, "--cell", "3")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    marks = {"solved": "✓", "wrong": "✗ wrong", "stub": "… not done", "blocks": "✗ wrong"}
    marks |= {"other": "–", "boasts": "–"}
    for number, name in enumerate(CELLS):
        row = rows[f"{name}-{number:02}"]
        assert f"  {marks.get(name, '✗ no verdict')}  " in f"{row}  ", row
        assert row.count("✗ wrong") == 1 + (name in ("wrong", "blocks")), row  # 03.2 is another
    for what in (
        "was not over after 3 s",
        "ended its kernel",
        "said more than 200000 characters",
        "raised ZeroDivisionError: division by zero",
        "raised SyntaxError",
        "text.ipynb: cannot be read",
        "list.ipynb: cannot be read",
    ):
        assert what in done.stdout
    bars = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(bars) == len(CELLS) + 3
    assert bars[-1].startswith(f"[####################] {len(CELLS) + 2}/")


def test_errors_of_one_kind_are_told_once_and_the_real_check_decides(tmp_path):
    cells = [CELLS["stub"], "x = missing", "y = missing", "1/0", "z = x"]
    notebook(tmp_path / "ada" / "03.ipynb", "async def check(*_): print('✓ 03.1 all')", *cells)
    done = progress(tmp_path)
    header, _, row, *rest = done.stdout.splitlines()
    assert header.split() == ["learner", "solved", "03.1", "notes"]
    assert row.split("  ")[-1] == "see below"
    assert "… not done" in row
    assert rest[1:] == [
        "ada/03.ipynb: code cell 3 raised NameError: name 'missing' is not defined "
        "(and 2 more cells raised NameError)",
        "ada/03.ipynb: code cell 5 raised ZeroDivisionError: division by zero",
    ]


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_a_folder_without_notebooks_is_told(tmp_path, name):
    if name == "file":
        (tmp_path / "file").write_text("x")
    done = progress(tmp_path / name)
    assert done.returncode == 2
    assert "there are no notebooks in" in done.stderr
