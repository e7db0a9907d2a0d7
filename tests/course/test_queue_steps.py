"""Lesson 07 builds a queue in steps: each step's answer is wrong at the next one, and for the
reason that the lesson gives. And answers of another kind than the stored ones are right, too."""

from __future__ import annotations

import json
import re

import answers
import pytest
import socketio

from chatq import check

#: The step that an answer is tried at, who suffers, and at what.
REASONS = [
    ("07.1", "07.2", "bob", "bob asks after ada: 'O-1'", "never got it"),
    ("07.2", "07.3", "ada", "ada's computer died before it read them", "never got it"),
    ("07.3", "07.4", "ada", "the hub was stopped and started again: 'O-1'", "never got it"),
    ("07.4", "07.5", "helper", "while both packages are out to ada: 'O-1'", "got it"),
]


@pytest.mark.parametrize(("before", "name", "client", "what", "got"), REASONS)
async def test_the_answer_to_one_step_is_wrong_at_the_next(before, name, client, what, got):
    verdict = await check(name, answers.solution(before))
    assert verdict.state == "failed"
    message, who, *_, came, _ = verdict.lines
    assert what in message
    assert who == f"client    {client}"
    assert came == f"got       {got}"


async def test_the_reader_that_the_lesson_shows_first_does_the_work_twice():
    (path,) = answers.NOTEBOOKS.glob("07-*.ipynb")
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"]]
    (text,) = [cell for cell in cells if cell.startswith("### 07.6")]
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.S)[1], names)
    verdict = await check("07.6", names["answer"])
    assert verdict.lines[:2] == (
        "message   ada's cable was cut after the work, before the answer; it comes again: 'O-1'",
        "client    ada",
    )
    assert "got       did it twice" in verdict.lines


# -- a right answer need not be the lesson's ------------------------------------------------------


def in_a_room(sio):
    @sio.event
    async def connect(sid, environ):
        await sio.enter_room(sid, "all")

    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("gone", reason, room="all")


def in_a_class(sio):
    class Root(socketio.AsyncNamespace):
        async def on_disconnect(self, sid, reason):
            await self.emit("gone", reason, skip_sid=sid)

    sio.register_namespace(Root("/"))


def in_the_session(sio):
    @sio.event
    async def here(sid, name):
        await sio.save_session(sid, {"name": name})

    @sio.event
    async def who(sid):
        sids = [sid for sid, _ in sio.manager.get_participants("/", None)]
        said = [(await sio.get_session(sid)).get("name") for sid in sids]
        return sorted(name for name in said if name)

    @sio.event
    async def disconnect(sid, reason):
        name = (await sio.get_session(sid)).get("name")
        if name:
            await sio.emit("left", name, skip_sid=sid)


def in_a_catch_all(sio):
    there = []

    @sio.on("*")
    async def anything(event, sid, *arguments):
        if event == "here":
            there.append((arguments[0], sid))
        return [name for name, _ in sorted(there)]

    @sio.event
    async def disconnect(sid):  # the old form, without a reason
        for name, other in [one for one in there if one[1] == sid]:
            there.remove((name, other))
            await sio.emit("left", name)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("02.1", in_a_room),
        ("02.1", in_a_class),
        ("02.2", in_the_session),
        ("02.2", in_a_catch_all),
    ],
)
async def test_another_right_answer_passes(name, answer):
    verdict = await check(name, answer)
    assert verdict.passed, verdict
