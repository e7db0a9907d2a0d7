"""The exercises: their solutions pass, their stubs are not done yet, and misunderstandings are
found. And the checker itself: an answer can do no harm.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import answers
import pytest
from right_answers import RIGHT
from wrong_answers import WRONG

from chatq import NotSettled, Queues, check
from chatq.course import blame, sandbox, two_servers
from chatq.course.check import exercise
from chatq.course.trial import Trial
from chatq.waiting import give_way

for package in ("right_answers", "wrong_answers"):
    for path in sorted((Path(__file__).parent / package).glob("lesson_*.py")):
        importlib.import_module(f"{package}.{path.stem}")


def param(exercise, one, name="", *, long=False):
    """`one`, where what the exercise needs is there."""
    marks = [pytest.mark.needs("nats")] if exercise.startswith("09.") else []
    marks += [pytest.mark.long] if long else []
    return pytest.param(one, id=f"{exercise} {name}".rstrip(), marks=marks)


def misunderstandings():
    """A third of them, and of these the first two of each exercise in the short run: `figures.py`
    tries all, which takes as long as all other tests."""
    for name in answers.EXERCISES:
        for number, one in enumerate(one for one in WRONG if one.exercise == name):
            if number < 2 or number % 3 == 2:
                yield param(name, one, one.answer.__name__, long=number >= 2)


def other_styles():
    """The first of each exercise; `figures.py` tries all."""
    found = dict(reversed(RIGHT))
    return [param(name, (name, found[name]), found[name].__name__) for name in answers.EXERCISES]


each_exercise = pytest.mark.parametrize("name", [param(name, name) for name in answers.EXERCISES])


def test_every_exercise_of_the_package_is_in_a_lesson_and_has_a_solution():
    folder = Path(importlib.import_module("chatq.course").__path__[0])
    known = []
    for path in sorted(folder.glob("lesson_*.py")):
        module = importlib.import_module(f"chatq.course.{path.stem}")
        known += [one.name for one in module.EXERCISES]
    assert known == answers.EXERCISES == sorted(answers.SOLUTIONS)


@pytest.mark.usefixtures("scenes_by_size")
@each_exercise
async def test_the_solution_passes(name):
    verdict = await check(name, answers.solution(name))
    assert verdict.passed, verdict


@pytest.mark.long
@pytest.mark.parametrize("one", other_styles())
async def test_a_right_answer_of_another_style_passes(one):
    verdict = await check(*one)
    assert verdict.passed, verdict


@each_exercise
async def test_the_stub_is_not_done_yet(name):
    verdict = await check(name, answers.stub(name))
    assert repr(verdict) == f"… {name} {exercise(name).task}: not done yet"


@pytest.mark.parametrize("one", [*misunderstandings()])
async def test_a_misunderstanding_is_found(one):
    verdict = await check(one.exercise, one.answer)
    assert verdict.state == "failed", verdict
    text = repr(verdict)
    assert one.says in text
    told = "client    " if one.client == "anybody" else f"client    {one.client}"
    assert told in text if one.client else "client " not in text
    hint = f"hint      {exercise(one.exercise).hint}"
    assert text.endswith(hint) is not (verdict.raised or verdict.story)


def test_there_are_enough_answers_of_both_kinds():
    wrong = {name: sum(one.exercise == name for one in WRONG) for name in answers.EXERCISES}
    assert {name: n for name, n in wrong.items() if n < 10} == {}
    right = {name: sum(one[0] == name for one in RIGHT) for name in answers.EXERCISES}
    assert {name: n for name, n in right.items() if n < 3} == {}


# -- the checker ----------------------------------------------------------------------------------


def says(handler):
    """An answer to 03.1 with this handler."""

    def answer(sio):
        sio.on("say", handler)

    return answer


async def hangs(sid, text):
    await asyncio.Event().wait()


async def blocks(sid, text):
    while True:
        pass


async def leaves(sid, text):
    sys.exit(3)


async def breaks(sid, text):
    raise KeyError("spanner")


def calls(act):
    """An answer to 03.1 whose handler does this with the server."""

    def answer(sio):
        @sio.event
        async def say(sid, text):
            await act(sio, sid)

    return answer


async def shuts_down(sio, sid):
    await sio.shutdown()


async def shuts_the_engine_down(sio, sid):
    await sio.eio.shutdown()


async def cancels_all(sio, sid):
    for task in asyncio.all_tasks():
        task.cancel()


async def stops_the_loop(sio, sid):
    asyncio.get_running_loop().stop()


async def leaves_in_a_task(sio, sid):
    async def leave():
        sys.exit(3)

    sio.start_background_task(leave)


async def forgets_its_handlers(sio, sid):
    sio.handlers.clear()
    sio.eio.handlers.clear()


async def loses_its_handlers(sio, sid):
    del sio.handlers


async def loses_the_engine(sio, sid):
    sio.eio = sio.manager = None


async def cuts_all(sio, sid):
    for socket in [*sio.eio.sockets.values()]:
        await socket.close(wait=False)


async def interrupts(sio, sid):
    raise KeyboardInterrupt


def cancels_the_try(sio):
    asyncio.current_task().cancel()


def loops(sio):
    while True:
        pass


def fails(sio):
    raise ZeroDivisionError("by zero")


@pytest.fixture
def impatient(monkeypatch):
    """Answers that never return are ended soon; gives what makes checks patient again."""
    monkeypatch.setattr(Trial, "patience", 1.0)
    monkeypatch.setattr(sandbox, "_BLOCKING", 0.5)
    return monkeypatch.undo


@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says(hangs), "the handler of 'say' has not returned"),
        (says(blocks), "never gives way"),
        (loops, "kept everything else waiting"),
    ],
)
async def test_an_answer_that_never_returns_is_ended_and_named(answer, told, impatient):
    verdict = await check("03.1", answer)
    assert verdict.state == "failed"
    assert told in repr(verdict)
    impatient()
    assert (await check("03.1", answers.solution("03.1"))).passed


#: A right answer, on a computer that falls asleep while it is at work.
SLEEPS = """
import asyncio, functools, os, signal
import chatq.course.check
from chatq import check

# It falls asleep in each of them.
chatq.course.check.try_scenes = functools.partial(chatq.course.check.try_scenes, scenes=2)

def answer(sio):
    @sio.event
    async def say(sid, text):
        os.kill(os.getpid(), signal.SIGSTOP)
        await sio.emit("news", text, skip_sid=sid)

print(asyncio.run(check("03.1", answer)))
"""


@pytest.mark.needs("linux")
def test_a_computer_that_sleeps_is_not_an_answer_that_blocks():
    process = subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 60
        while os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]):
            while signal.SIGALRM not in pending(process.pid):
                assert time.monotonic() < until, "no timer of the check has run out"
            process.send_signal(signal.SIGCONT)
        assert process.stdout.read().startswith("✓ 03.1")
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def pending(pid):
    """Return the signals that the process will get when it goes on."""
    sets = re.findall(r"^(?:Sig|Shd)Pnd:\t(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return {n for n in range(1, 65) for one in sets if int(one, 16) >> (n - 1) & 1}


@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says(leaves), "sys.exit(3)"),
        (says(breaks), "server's handler of 'say' raised KeyError: 'spanner'"),
        (fails, "raised ZeroDivisionError: by zero"),
        (lambda: None, "raised TypeError"),
        (calls(shuts_down), "shutdown() stops the server that the check is using"),
        (calls(shuts_the_engine_down), "shutdown() stops the server that the check is using"),
        (calls(cancels_all), "cancelled the task that tries it"),
        (calls(stops_the_loop), "loop.stop() ends the program"),
        (calls(leaves_in_a_task), "a task of the answer called sys.exit(3)"),
        (calls(forgets_its_handlers), "emits no 'news'"),
        (calls(loses_its_handlers), "'AsyncServer' object has no attribute 'handlers'"),
        (calls(loses_the_engine), "emits no 'news'"),
        (calls(cuts_all), "emits no 'news'"),
        (calls(interrupts), "was interrupted"),
        (cancels_the_try, "cancelled the task that tries it"),
    ],
)
async def test_an_answer_that_goes_astray_is_ended_and_named(answer, told):
    verdict = await check("03.1", answer)
    assert verdict.state == "failed"
    assert told in repr(verdict)
    assert (await check("03.1", answers.solution("03.1"))).passed


def wakes(sio):
    @sio.event
    async def connect(sid, environ):
        raise KeyError("spanner")


def goes(sio):
    @sio.event
    async def disconnect(sid, reason):
        raise KeyError("spanner")


def unregistered(sio):
    async def say(sid, text):
        await sio.emit("news", text, skip_sid=sid)


def one_unregistered(sio):
    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    async def whisper(sid, room, text):
        await sio.emit("news", text, to=room, skip_sid=sid)


def no_await(sio):
    @sio.event
    async def say(sid, text):
        sio.emit("news", text, skip_sid=sid)


def no_await_and_not_async(sio):
    @sio.event
    def say(sid, text):
        return sio.emit("news", text, skip_sid=sid)


async def no_plain_function(sio):
    sio.on("say", lambda sid, text: None)


def other_event(sio):
    @sio.event
    async def say(sid, text):
        await sio.emit("new", text, skip_sid=sid)


def other_handler(sio):
    @sio.event
    async def sey(sid, text):
        await sio.emit("news", text, skip_sid=sid)


def talks(sio):
    print("x" * 5000)
    other_event(sio)


def throws_out(sio):
    @sio.event
    async def here(sid, room):
        await sio.disconnect(sid)

    @sio.event
    async def whisper(sid, room, text): ...


def who_is_not_awaited(sio, who_is):
    names = {}

    @sio.on("connect", namespace="/staff")
    async def connect(sid, environ, auth):
        names[sid] = who_is(auth["key"])

    @sio.on("say", namespace="/staff")
    async def say(sid, text):
        await sio.emit("news", f"{names[sid]}: {text}", namespace="/staff")


def another_place(sio, who_is):
    @sio.on("connect", namespace="/staff")
    async def connect(sid, environ, auth): ...

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text)


def one_argument(sio):
    @sio.event
    async def join(sid, room, word): ...


@pytest.mark.parametrize(
    ("name", "answer", "told"),
    [
        ("05.2", who_is_not_awaited, "an `await` is missing before a call of who_is"),
        ("05.2", another_place, "no handler listens to 'say' in /staff, only to 'say in /'"),
        ("04.1", one_argument, "raised TypeError: one_argument() takes 1 positional argument"),
        ("03.1", wakes, "raised KeyError: 'spanner'\n  where     line "),
        ("02.1", goes, "raised KeyError: 'spanner'\n  where     line "),
        ("03.1", says(breaks), 'in breaks: raise KeyError("spanner")'),
        ("03.1", unregistered, "'say' is defined, and never registered"),
        ("03.2", one_unregistered, "'whisper' is defined, and never registered"),
        ("03.1", no_await, "an `await` is missing before a call of emit"),
        ("03.1", no_await_and_not_async, "returns a coroutine of emit, which nobody awaits"),
        ("03.1", no_plain_function, "the answer is an `async def`; a plain `def` is asked for"),
        ("03.1", other_event, "emits no 'news' at all; it emits 'new'"),
        ("03.1", other_handler, "no handler listens to 'say', only to 'sey'"),
        ("03.1", talks, "printed   3001 characters more, which are not shown"),
        ("03.2", throws_out, "got       its connection has ended: server disconnect"),
    ],
)
async def test_the_verdict_names_what_can_be_seen_in_the_answer(name, answer, told, capfd):
    verdict = await check(name, answer)
    text = repr(verdict)
    assert verdict.state == "failed"
    assert told in text, text
    assert ("hint  " not in text) is verdict.raised
    out, err = capfd.readouterr()
    assert len(out) <= 2000
    assert err == ""
    assert repr(await check(name, answer)) == text


def leaves_at_work(driver, work):
    driver.on("pickup", lambda package, delivery: sys.exit(3))


def blocks_at_work(driver, work):
    @driver.on("pickup")
    def pickup(package, delivery):
        while True:
            pass


@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize(
    ("answer", "told"), [(leaves_at_work, "sys.exit(3)"), (blocks_at_work, "never gives way")]
)
async def test_a_client_whose_handler_goes_astray_is_named(answer, told, impatient):
    verdict = await check("07.6", answer)
    assert verdict.state == "failed"
    assert told in repr(verdict)
    impatient()
    assert (await check("07.6", answers.solution("07.6"))).passed


class Ledger(sqlite3.Connection):
    """A connection of the answer's own kind."""


@pytest.mark.usefixtures("few_scenes")
async def test_databases_that_an_answer_leaves_open_are_closed():
    """Also those that something still holds: a program that has ended holds none."""
    opened, connect = [], sqlite3.connect

    def answer(sio, path):
        opened.append(sqlite3.connect(path))
        opened.append(sqlite3.connect(path, factory=Ledger))
        answers.solution("07.4")(sio, path)

    verdict = await check("07.4", answer)
    assert verdict.passed, verdict
    assert len(opened) > 4  # the hub was stopped, and started again
    assert {type(database) for database in opened[1::2]} == {Ledger}
    for database in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            database.execute("SELECT 1")
    assert sqlite3.connect is connect


@pytest.mark.usefixtures("few_scenes")
async def test_a_database_is_closed_when_the_hub_is_stopped():
    """Or else what it began and never committed would lock the file when it is started again."""
    opened = []

    def answer(sio, path):
        opened.append(sqlite3.connect(path))
        answers.solution("07.4")(sio, path)
        keep = sio.handlers["/"]["pickup"]

        @sio.event
        async def pickup(sid, package):
            await keep(sid, package)
            if package == "O-2":
                opened[-1].execute("BEGIN IMMEDIATE")

    verdict = await check("07.4", answer)
    assert verdict.passed, verdict


async def test_queues_that_never_find_their_node_again_are_given_up(monkeypatch):
    monkeypatch.setattr(two_servers, "_BACK", 0.05)
    async with await Queues.open("memory:") as queues:
        await queues.store.close()  # so it says at once that it does nothing more
        told = r"that find the node again within 0\.05 s: the store is closed"
        async with asyncio.timeout(10):
            with sandbox.ends_what_blocks(), pytest.raises(NotSettled, match=told):
                await two_servers.back(queues)


def test_only_what_a_line_defines_can_have_been_forgotten():
    """Python 3.14 keeps the annotations of a function in another, which no line defines."""

    def answer(sio):
        def say(sid: str, text: str) -> None: ...

    def annotations(format): ...

    code = answer.__code__
    answer.__code__ = code.replace(co_consts=(*code.co_consts, annotations.__code__))
    (told,) = blame.forgotten(answer, [])
    assert told.startswith("'say' is defined, and never registered")


async def test_what_is_no_exercise_and_no_answer_is_told():
    with pytest.raises(LookupError, match=r"no exercise '03\.9'; there are 03\.1, 03\.2"):
        await check("03.9", lambda sio: None)
    with pytest.raises(LookupError, match="no lesson '99'"):
        await check("99.1", lambda sio: None)
    with pytest.raises(TypeError, match="an answer is a function"):
        await check("03.1", "answer")


# -- right answers of other kinds ------------------------------------------------------------------


def by_start_background_task(sio, emit, *arguments):
    sio.start_background_task(emit, *arguments)


def by_create_task(sio, emit, *arguments):
    LOOSE.add(asyncio.create_task(emit(*arguments)))


def by_a_task_some_turns_later(sio, emit, *arguments):
    async def later():
        for _ in range(10):
            await give_way()
        await emit(*arguments)

    LOOSE.add(asyncio.create_task(later()))


def by_a_thread(sio, emit, *arguments):
    async def later():
        await asyncio.to_thread(int)
        await emit(*arguments)

    LOOSE.add(asyncio.ensure_future(later()))


LOOSE = set()  # an event loop keeps no task


@pytest.fixture(autouse=True)
def loose_tasks():
    """Forget those of the test before: whatever looks through all tasks takes long with many."""
    LOOSE.clear()


@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize("name", ["01.1", "02.1"])
@pytest.mark.parametrize(
    "leave", [by_start_background_task, by_create_task, by_a_task_some_turns_later, by_a_thread]
)
async def test_an_emit_that_is_left_to_the_background_is_right(name, leave):
    def answer(sio):
        if name == "01.1":
            sio.on("say", lambda sid, text: leave(sio, sio.emit, "news", text))
        else:
            sio.on("disconnect", lambda sid, reason: leave(sio, sio.emit, "gone", reason))

    verdict = await check(name, answer)
    assert verdict.passed, verdict
