"""The solutions, in ten times as many scenes as a check plays, drawn with another seed."""

from __future__ import annotations

import answers
import pytest

from chatq.course.check import exercise
from chatq.course.generate import try_scenes
from chatq.course.sandbox import Fence

SCENES, SEED = 1000, 2026


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
        tried = await try_scenes(
            exercise(name).generated, answers.solution(name), fence, scenes=SCENES, seed=SEED
        )
    assert tried.outcome is None, tried.outcome
    assert tried.scenes == SCENES
