"""Lesson 07 builds a queue in steps: each step's answer is wrong at the next one, and for the
reason that the lesson gives. And answers of another kind than the stored ones are right, too."""

from __future__ import annotations

import json
import re
import sqlite3

import answers
import pytest

from chatq import check

READERS = ("ada", "bob")

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


def a_log_and_offsets(sio):
    log, offsets = [], {}
    sio.on("pickup", lambda sid, package: log.append(package))

    @sio.on("get-all")
    async def get_all(sid, name):
        while (offset := offsets.get(name, 0)) < len(log):
            offsets[name] = offset + 1
            await sio.emit("pickup", log[offset], to=sid)


def files(sio, path):
    def boxes(changes=None):
        kept = json.loads(path.read_text()) if path.exists() else {name: [] for name in READERS}
        if changes:
            changes(kept)
            path.write_text(json.dumps(kept))
        return kept

    @sio.event
    async def pickup(sid, package):
        boxes(lambda kept: [packages.append(package) for packages in kept.values()])

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in boxes()[name]:
            await sio.emit("pickup", package, to=sid)

    @sio.event
    def received(sid, name, package):
        boxes(lambda kept: kept[name].remove(package))


def all_in_one_transaction(sio, path, clock):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("CREATE TABLE IF NOT EXISTS box (name, package, sent, tries)")

    @sio.event
    async def pickup(sid, package):
        for name in READERS:
            db.execute("INSERT INTO box VALUES (?, ?, NULL, 0)", [name, package])

    @sio.on("get-all")
    async def get_all(sid, name):
        free = "SELECT package, tries FROM box WHERE name = ? AND (sent IS NULL OR sent <= ?)"
        for package, tries in db.execute(free, [name, clock() - 30]).fetchall():
            lease = "UPDATE box SET sent = ?, tries = tries + 1 WHERE name = ? AND package = ?"
            db.execute(lease, [clock(), name, package])
            await sio.emit("pickup", (package, tries + 1), to=sid)

    @sio.event
    async def received(sid, name, package):
        db.execute("DELETE FROM box WHERE name = ? AND package = ?", [name, package])


def a_dict_and_a_plain_function(reader, work):
    done = {}

    def pickup(package, delivery):
        if delivery["id"] not in done:
            done[delivery["id"]] = work(package)
        return delivery["receipt"]

    reader.on("pickup", pickup)


def look_then_write(driver, db):
    @driver.on("pickup")
    async def pickup(package, delivery):
        known = db.execute("SELECT 1 FROM inbox WHERE id = ?", [delivery["id"]]).fetchone()
        if not known:
            db.execute("INSERT INTO doorstep VALUES (?)", [package])
            db.execute("INSERT INTO inbox VALUES (?)", [delivery["id"]])
            db.commit()
        await driver.emit("received", {"receipt": delivery["receipt"]})


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("07.2", a_log_and_offsets),
        ("07.4", files),
        ("07.5", all_in_one_transaction),
        ("07.6", a_dict_and_a_plain_function),
        ("08.1", look_then_write),
    ],
)
async def test_another_right_answer_passes(name, answer):
    verdict = await check(name, answer)
    assert verdict.passed, verdict
