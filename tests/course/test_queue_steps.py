"""Lesson 07 builds a queue in steps: each step's answer is wrong at the next one, and for the
reason that the lesson gives."""

from __future__ import annotations

import json
import re

import answers
import pytest

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
    (path,) = answers.NOTEBOOKS.glob("07b-*.ipynb")
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
