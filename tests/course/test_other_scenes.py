"""The solutions, in other scenes than a check plays: drawn with another seed.

A thousand for each, and for each right answer of another style, are played every night: see
`figures.py`.
"""

from __future__ import annotations

import answers
import pytest

from chatq.course.check import exercise
from chatq.course.generate import SCENES, SEED, try_scenes
from chatq.course.sandbox import Fence


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.needs("nats")] if name.startswith("09.") else [])
        for name in answers.EXERCISES
    ],
)
async def test_the_solution_passes_in_all_of_them(name):
    with Fence() as fence:
        generated, solution = exercise(name).generated, answers.solution(name)
        tried = await try_scenes(generated, solution, fence, seed=SEED + 1)
    assert tried.outcome is None, tried.outcome
    assert tried.scenes == SCENES
