"""Lesson 10 builds one server in three steps: each has what the one before lacks, and the last is
right at all of them."""

from __future__ import annotations

import json

import answers
import pytest

from chatq import check

STEPS = ("10.1", "10.2", "10.3")


def yesterday():
    """Return the server that the lesson shows first."""
    (path,) = answers.NOTEBOOKS.glob("10-*.ipynb")
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"]]
    (text,) = [cell for cell in cells if "\ndef yesterday(" in cell]
    names = {}
    exec(text, names)
    return names["yesterday"]


@pytest.mark.parametrize(
    ("before", "name", "client", "lacks"),
    [
        ("10.1", "10.2", "ada", "no handler listens to 'pickup'"),
        ("10.2", "10.3", "dan", "no handler listens to 'delivered' in /drivers"),
    ],
)
async def test_the_server_of_one_step_is_wrong_at_the_next(before, name, client, lacks):
    verdict = await check(name, answers.solution(before))
    assert verdict.state == "failed"
    assert f"client    {client}" in verdict.lines
    assert lacks in verdict.lines[3]


@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize("name", STEPS)
async def test_the_last_server_is_right_at_every_step(name):
    verdict = await check(name, answers.solution("10.3"))
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("name", "client", "what"),
    [
        ("10.1", "ada", "dan is on the way with order 7 of flowers"),  # without a name
        ("10.2", "eve", "order 7 waits, and eve has no good key"),
        ("10.3", "dan", "order 7 of flowers: '7'"),
    ],
)
async def test_yesterday_s_server_is_wrong_at_every_step(name, client, what):
    verdict = await check(name, yesterday())
    assert verdict.state == "failed"
    assert what in verdict.lines[0]
    assert verdict.lines[1] == f"client    {client}"
