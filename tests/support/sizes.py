"""The sizes of what is tested many times: always, and with `--long`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["first", "full", "size"]

#: Whether everything is at its full size: with `--long` (see `conftest.py` beside this folder).
full = False


def size(small: int, large: int) -> int:
    """Return how many there should be."""
    return large if full else small


def first(number: int, cases: Iterable[Any]) -> list[Any]:
    """Return the cases for `parametrize`; those after the first so many are marked `long`."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[] if place < number else [pytest.mark.long],
        )
        for place, case in enumerate(cases)
    ]
