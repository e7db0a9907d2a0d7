"""`python -m chatq progress` on notebooks that nobody would want to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sizes import first

from chatq.course.excerpt import Cells
from chatq.course.isolated import _processes

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
    "dies": f"import os\nanswer = os._exit(1)\n{CHECK}",
    "talks": f"answer = print('x' * 1_000_000)\n{CHECK}",
    "raises": f"answer = 1 / 0\n{CHECK}",
    "mistyped": f"def answer(:\n{CHECK}",
    "other": "print('hello')",
    "boasts": "print('✓ 03.1 everyone but the sender')",
    "reads": f"answer = input()\n{CHECK}",
}


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "source": cell} for cell in cells]
    path.write_text(json.dumps({"cells": cells}), "utf-8")


def progress(folder, *options, **env):
    return subprocess.run(
        [sys.executable, "-m", "chatq", "progress", str(folder), *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=280,
        env={**os.environ, **env},
    )


@pytest.mark.long
def test_nobody_is_lost_whatever_is_in_a_notebook(tmp_path):
    for name, cell in CELLS.items():
        notebook(tmp_path / name / "03.ipynb", "from chatq import check", cell)
    (tmp_path / "text.ipynb").write_text("this is no notebook", "utf-8")
    (tmp_path / "list.ipynb").write_text("[]", "utf-8")
    (tmp_path / "deep.ipynb").write_text("[" * 100_000, "utf-8")
    os.mkfifo(tmp_path / "fifo.ipynb")
    done = progress(tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    marks = {"solved": "✓", "wrong": "✗ wrong", "stub": "… not done", "blocks": "✗ wrong"}
    marks |= {"other": "–", "boasts": "–"}
    for name in CELLS:
        assert f"  {marks.get(name, '✗ no verdict')}  " in f"{rows[name]}  ", done.stdout
    for what in (
        "loops/03.ipynb: 03.1 has no verdict: NameError: name 'answer' is not defined",
        "dies/03.ipynb: 03.1 ended its process, or spoke in its place",
        "talks/03.ipynb: 03.1 has no verdict: TypeError: an answer is a function, not NoneType",
        "raises/03.ipynb: 03.1 has no verdict: ZeroDivisionError: division by zero",
        "mistyped/03.ipynb: code cell 2 is no Python: invalid syntax",
        "reads/03.ipynb: 03.1 has no verdict: EOFError",
        "text.ipynb: cannot be read",
        "list.ipynb: cannot be read",
        "deep.ipynb: cannot be read",
        "fifo.ipynb: cannot be read: it is no file",
    ):
        assert what in done.stdout, done.stdout
    bars = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(bars) == len(CELLS) + 5
    assert bars[-1].startswith(f"[####################] {len(CELLS) + 4}/")


def test_what_never_ends_is_ended_after_its_limit(tmp_path):
    cell = f"def wait():\n    while True: pass\nanswer = wait()\n{CHECK}"
    notebook(tmp_path / "03.ipynb", "from chatq import check", cell)
    done = progress(tmp_path, "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert "03.ipynb: 03.1 was not over after 1 s, and was ended" in done.stdout


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_a_folder_without_notebooks_is_told(tmp_path, name):
    if name == "file":
        (tmp_path / "file").write_text("x")
    done = progress(tmp_path / name)
    assert done.returncode == 2
    assert "there are no notebooks in" in done.stderr


# -- answers that pretend ---------------------------------------------------------------------

#: In a cell of the notebook, where it has no effect: so the answer is what it is.
IN_A_CELL = {
    "a check of its own": "async def check(*_): return '✓'",
    "the verdicts": "import chatq.course.check as c\nc._given = {'03.1': 'passed'}",
    "chatq's check": "import chatq\nasync def yes(*_): return True\nchatq.check = yes",
    "passed": "from chatq.course.check import Verdict\nVerdict.passed = property(lambda v: True)",
    "a module": "import sys, types\nsys.modules['chatq.course.check'] = types.ModuleType('c')",
    "socketio": "import socketio\nsocketio.AsyncServer.emit = lambda *_, **__: None",
    "an exit": "import atexit, os\natexit.register(print, 'passed')\nos._exit(0)",
}
#: In the body of the answer, where it runs.
IN_THE_ANSWER = {
    "passed": (
        "from chatq.course.check import Verdict\nVerdict.passed = property(lambda verdict: True)",
        "chatq.course.check.Verdict.passed",
    ),
    "attempt": (
        "import chatq.course.check as c\nfrom chatq.course.attempt import Outcome\n"
        "async def attempt(*_): return Outcome('passed')\nc.attempt = attempt",
        "chatq.course.check.attempt",
    ),
    "an invariant": (
        "from chatq.course.invariants import Invariants\nInvariants.got = lambda *_, **__: None",
        "chatq.course.invariants.Invariants.got",
    ),
    "code": (
        "from chatq.course.invariants import Invariants\n"
        "Invariants.got.__code__ = (lambda self, *_, **__: None).__code__",
        "chatq.course.invariants.Invariants.got",
    ),
    "the outcome": (
        "from chatq.course.attempt import Outcome\n"
        "Outcome.__getattribute__ = lambda o, n: 'passed' if n == 'state' else"
        " object.__getattribute__(o, n)",
        "chatq.course.attempt.Outcome.__getattribute__",
    ),
    "the exercise": (
        "import chatq.course.lesson_03 as lesson\nasync def scene(trial): ...\n"
        "object.__setattr__(lesson.EXERCISES[0], 'scene', scene)",
        "chatq.course.lesson_03.EXERCISES",
    ),
    "a module": (
        "import sys, types\nsys.modules['chatq.course.invariants'] = types.ModuleType('i')",
        "chatq.course.invariants",
    ),
    "socketio": (
        "import socketio\nemit = socketio.AsyncServer.send\nsocketio.AsyncServer.send = print",
        "socketio.async_server.AsyncServer.send",
    ),
    "builtins": (
        "import builtins\nbuiltins.sum = lambda *_: 1",
        "builtins.sum",
    ),
    "for a while": (
        "from chatq.course.invariants import Invariants\ngot = Invariants.got\n"
        "Invariants.got = lambda *_, **__: None\n"
        "sio.on('disconnect', lambda sid: setattr(Invariants, 'got', got))",
        "chatq.course.invariants.Invariants.got",
    ),
    "what it says": (
        'import os\nos.write(1, b\'{"state": "passed", "why": ""}\\n\')',
        None,
    ),
}


def indented(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


@pytest.mark.long
def test_an_answer_that_pretends_has_no_verdict_or_its_own(tmp_path):
    for number, cell in enumerate(IN_A_CELL.values()):
        source = f"from chatq import check\n{cell}", f"def answer(sio):{WRONG}{CHECK}"
        notebook(tmp_path / f"cell-{number}" / "03.ipynb", *source)
    for number, (body, _) in enumerate(IN_THE_ANSWER.values()):
        answer = f"def answer(sio):\n{indented(body)}{WRONG}{CHECK}"
        notebook(tmp_path / f"body-{number}" / "03.ipynb", answer)
    given = ["(exec('import chatq.course.check as c; c.attempt = None'), answer)[1]", "lambda s: 1"]
    notebook(
        tmp_path / "given-0" / "03.ipynb",
        f"def answer(sio):{WRONG}",
        f"await check('03.1', {given[0]})",
    )
    # What lies beside the notebook takes no module's place.
    notebook(tmp_path / "beside" / "03.ipynb", f"def answer(sio):{WRONG}{CHECK}")
    for name in ("chatq", "socketio", "json", "asyncio"):
        (tmp_path / "beside" / f"{name}.py").write_text("raise SystemExit")
    done = progress(tmp_path)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    for number in range(len(IN_A_CELL)):
        assert "✗ wrong" in rows[f"cell-{number}"]
    for number, (_, told) in enumerate(IN_THE_ANSWER.values()):
        row, note = rows[f"body-{number}"], rows.get(f"body-{number}/03.ipynb:", "")
        if told is None:
            assert "✗ wrong" in row
        else:
            assert "✗ no verdict" in row
            assert note.endswith(f"it replaces a part of what tries it: {told}"), note
    assert "✗ no verdict" in rows["given-0"]
    assert "✗ wrong" in rows["beside"]


# -- what an answer needs ---------------------------------------------------------------------


def excerpt(*cells):
    return Cells([*cells]).asked["03.1"].source.splitlines()


def test_only_what_an_answer_needs_is_run():
    cells = [
        "import socketio\nimport os\nfrom math import *\nwords = {}",
        "words['a'] = 1\nother = 2\nwords.update(b=2)\nos.remove('x')",
        "def answer(sio): ...",
        "def helper(): return words, later()\nwhile True: pass",
        "limit = 3\ndoubled = limit * 2\nlimit = 4\ndef later(): return doubled",
        "def answer(sio, n=limit):\n    return helper()\nprint(answer)",
        f"{CHECK}\nanswer = None",
    ]
    assert excerpt(*cells) == [
        "from math import *",
        "words = {}",
        "words['a'] = 1",
        "words.update(b=2)",
        "def helper():",
        "    return (words, later())",
        "limit = 3",
        "doubled = limit * 2",
        "limit = 4",
        "def later():",
        "    return doubled",
        "def answer(sio, n=limit):",
        "    return helper()",
    ]


@pytest.mark.parametrize(
    "cell",
    [
        CHECK,
        f"result = {CHECK}\nresult",
        f"%time {CHECK}",
        f"!pip install chatq\n%matplotlib inline\n{CHECK}",
        "print(await chatq.check('03.1', answer))",
        "await check(answer=answer, name='03.1')",
        f"if True:\n    {CHECK}",
        f"try:\n    {CHECK}\nexcept Exception: ...",
    ],
)
def test_a_check_is_found_in_whatever_form(cell):
    assert excerpt("def answer(sio): ...", cell) == ["def answer(sio):", "    ..."]


def test_the_newest_check_of_an_exercise_counts():
    found = Cells([f"def answer(a): ...\n{CHECK}", f"def answer(b): ...\n{CHECK}"]).asked["03.1"]
    assert (found.source, found.answer) == ("def answer(b):\n    ...", "answer")


# -- what is printed, what is given, and what is left -------------------------------------------


def test_what_is_printed_is_one_safe_line_for_each_note(tmp_path):
    evil = "\\x1b[2J\\r\\n\\u202e\\u2028rm\\x07"
    cell = f"def fail(): raise ValueError('{evil}')\nanswer = fail()\n{CHECK}"
    notebook(tmp_path / "a\x1b[31m\u202eda" / "03.ipynb", cell)
    done = progress(tmp_path)
    for text in (done.stdout, done.stderr):
        assert all(line.isprintable() for line in text.split("\n")), text
    *_, note = done.stdout.splitlines()
    assert r"ValueError: \x1b[2J\r\n\u202e\u2028rm\x07" in note
    assert r"a\x1b[31m\u202eda" in note


def test_an_answer_sees_nothing_of_the_teacher_and_writes_nothing_beside_it(tmp_path):
    learner = tmp_path / "class" / "ada"
    says = (
        "import os\n"
        "def answer(sio):\n"
        "    kept = dict(os.environ), os.path.expanduser('~'), sorted(os.listdir())\n"
        f"    raise ValueError(open('{tmp_path}/seen', 'w').write(repr(kept)))\n"
        "def clears():\n"
        "    os.remove('data.txt'), open('new.txt', 'w').close()\n"
        "    return open(os.path.expanduser('~/.rc'), 'w').close()\n"
        f"cleared = clears()\nif cleared is None: answer = answer\n{CHECK}"
    )
    notebook(learner / "03.ipynb", says)
    (learner / "data.txt").write_text("mine")
    (learner / "link").symlink_to("/etc")
    (learner / "more").mkdir()
    progress(tmp_path / "class", GITHUB_TOKEN="a secret", HOME=str(tmp_path))
    environment, home, files = eval((tmp_path / "seen").read_text())
    assert "a secret" not in environment.values()
    assert not environment.keys() & {"GITHUB_TOKEN", "USER", "PWD", "SSH_AUTH_SOCK"}
    assert home != str(tmp_path)
    assert not Path(home).exists()
    assert files == ["more", "new.txt"]
    assert sorted(one.name for one in learner.iterdir()) == ["03.ipynb", "data.txt", "link", "more"]
    assert (learner / "data.txt").read_text() == "mine"
    assert {"class", "seen"} == {one.name for one in tmp_path.iterdir()}


STARTS = """
import os, subprocess, sys
def start(**options):
    sleeps = [sys.executable, '-c', 'import time; time.sleep(600)']
    process = subprocess.Popen(sleeps, **options)
    with open('{file}', 'a') as out:
        print(process.pid, file=out)
def answer(sio):
    start()
    start(start_new_session=True)
    start(env={{}}, process_group=0)
    if not os.fork():
        start(env={{}}, start_new_session=True)
        os._exit(0)
    {then}
"""


@pytest.mark.needs("linux")
@pytest.mark.parametrize("then", first(2, ["os._exit(0)", "while True: pass", "pass", "1 / 0"]))
def test_processes_end_with_the_answer_that_began_them(tmp_path, then):
    begun = tmp_path / "begun"
    notebook(tmp_path / "ada" / "03.ipynb", STARTS.format(file=begun, then=then) + CHECK)
    done = progress(tmp_path)
    assert done.returncode == 0, done.stderr
    pids = {int(pid) for pid in begun.read_text().split()}
    assert len(pids) == 4
    assert not pids & {pid for pid, _, _ in _processes()}


def test_the_help_says_what_it_cannot_protect_from():
    text = " ".join(progress("--help").stdout.split())
    assert "run as you" in text
    assert "a container or a virtual machine" in text
