"""The ids of messages: the name of their store or stream, and their number there.

Owns their form. Must not know: stores, what a number stands for.
"""

from __future__ import annotations

__all__ = ["make_id", "number_in"]


def make_id(name: str, number: int) -> str:
    """Return the id of message `number`, from 1 on, of the store `name`."""
    return f"{name}-{number}"


def number_in(id: object, name: str) -> int:
    """Return the number in an id of the store `name`; 0 for anything else."""
    if not isinstance(id, str):
        return 0
    theirs, _, number = id.partition("-")
    mine = theirs == name and number.isascii() and number.isdigit() and len(number) < 19
    return int(number) if mine and not number.startswith("0") else 0
