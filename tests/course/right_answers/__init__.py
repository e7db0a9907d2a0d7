"""Right answers to the exercises in other styles than the lessons': each has to pass.

One module for each lesson, with `@right("03.1")` above an answer; what is different about it is its
docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["RIGHT", "right"]

#: Pairs of an exercise and an answer.
RIGHT: list[tuple[str, Callable[..., Any]]] = []


def right(exercise: str) -> Callable[..., Any]:
    """Note the function as a right answer."""

    def note(answer: Callable[..., Any]) -> Callable[..., Any]:
        assert answer.__doc__, f"{answer.__name__}: what is different about it?"
        RIGHT.append((exercise, answer))
        return answer

    return note
