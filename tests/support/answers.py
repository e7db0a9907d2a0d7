"""The solutions that the lessons hold, collapsed, as functions.

In a lesson, a solution is a markdown cell: `<details><summary>Solution 03.1</summary>`, then a
block of Python that defines `answer`, as the stub above it does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from places import NOTEBOOKS

__all__ = ["EXERCISES", "NOTEBOOKS", "SOLUTIONS", "made", "solution", "stub"]

_SOLUTION = re.compile(
    r"<details>\s*<summary>Solution (\d\d\.\d+)</summary>\s*```python\n(.*?)```\s*</details>", re.S
)
_CHECKED = re.compile(r"await check\(\"(\d\d\.\d+)\", (\w+)\)")


def _cells(kind: str) -> list[str]:
    return [
        "".join(cell["source"])
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        if cell["cell_type"] == kind
    ]


SOLUTIONS = {n: text for cell in _cells("markdown") for n, text in _SOLUTION.findall(cell)}
#: The cell that holds the stub, by exercise.
STUBS = {m[1]: cell for cell in _cells("code") for m in _CHECKED.finditer(cell)}
EXERCISES = sorted(STUBS)


def solution(exercise: str) -> Callable[..., Any]:
    """Return the answer that the lesson gives itself."""
    return made(exercise, SOLUTIONS[exercise])


def stub(exercise: str) -> Callable[..., Any]:
    """Return the answer as the reader finds it."""
    return made(exercise, _CHECKED.sub("", STUBS[exercise]))


def made(exercise: str, text: str) -> Callable[..., Any]:
    """Return the answer that this text defines, as a cell of the exercise would."""
    checked = _CHECKED.search(STUBS[exercise])
    assert checked is not None
    names: dict[str, Any] = {"__name__": f"exercise {exercise}"}
    exec(compile(text, f"exercise {exercise}", "exec"), names)
    answer: Callable[..., Any] = names[checked[2]]
    return answer
