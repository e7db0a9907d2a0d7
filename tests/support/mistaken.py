"""Answers with a mistake in them, and what their verdicts have to say of it.

Every module of such tests has a list of its own, parametrizes one test with it, and awaits `names`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from chatq import check

__all__ = ["Mistakes", "names"]


class Mistakes:
    """The answers of one module, as parameters of a test."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []

    def says(
        self, exercise: str, *texts: str, no: Collection[str] = (), id: str = ""
    ) -> Callable[..., Any]:
        """Note the answer below as one whose verdict contains these texts, and none of `no`."""
        marks = [pytest.mark.needs("nats")] if exercise.startswith("09.") else []

        def note(answer: Callable[..., Any]) -> Callable[..., Any]:
            name = id or answer.__name__
            given = exercise, answer, texts, no
            self.parameters.append(pytest.param(*given, id=name, marks=marks))
            return answer

        return note


async def names(
    exercise: str, answer: Callable[..., Any], texts: Collection[str], no: Collection[str]
) -> None:
    """Require that the verdict says so, and the same each time."""
    text = repr(await check(exercise, answer))
    assert text.startswith("✗"), text
    for one in texts:
        assert one in text
    for one in no:
        assert one not in text
    assert repr(await check(exercise, answer)) == text
