"""Plausible wrong answers to the exercises: real misunderstandings, each of which a check has to
find, naming the right client and the right message.

One module for each lesson. `@wrong("03.1", client="dan", says="what dan says")` above an answer:
the verdict has to be "failed", its counter-example about that client, and `says` in its text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["WRONG", "Misunderstanding", "wrong"]


@dataclass(frozen=True)
class Misunderstanding:
    """One wrong answer, and what its verdict has to say; no `client`: it never came that far;
    "anybody": it is about somebody, and who that is, is chance."""

    exercise: str
    answer: Callable[..., Any]
    client: str
    says: str


WRONG: list[Misunderstanding] = []


def wrong(exercise: str, *, client: str = "", says: str) -> Callable[..., Any]:
    """Note the function as a wrong answer; what is wrong with it is its docstring."""

    def note(answer: Callable[..., Any]) -> Callable[..., Any]:
        assert answer.__doc__, f"{answer.__name__}: what is misunderstood?"
        WRONG.append(Misunderstanding(exercise, answer, client, says))
        return answer

    return note
