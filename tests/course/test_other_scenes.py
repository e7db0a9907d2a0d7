"""The solutions, in more scenes than a check plays, drawn with other seeds.

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
@pytest.mark.parametrize("seed", range(SEED + 1, SEED + 4))
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.needs("nats")] if name.startswith("09.") else [])
        for name in answers.EXERCISES
    ],
)
async def test_the_solution_passes_in_all_of_them(name, seed):
    with Fence() as fence:
        tried = await try_scenes(exercise(name).generated, answers.solution(name), fence, seed=seed)
    assert tried.outcome is None, tried.outcome
    assert tried.scenes == SCENES
