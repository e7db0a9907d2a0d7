"""The names of those who got a message: a set that knows which message it is about.

Owns that set, and what is said of a comparison with it: for each name that is too many or too few,
why. Must not know: how a reason is found, who compares, tables.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from .explain import Message
from .sentence import sentence
from .table import one_line

__all__ = ["Got", "comparison"]

#: The other way round: `a <= b` is `b >= a`.
_MIRRORED = {"<=": ">=", "<": ">", ">=": "<=", ">": "<"}


class Got(set[str]):
    """The `names` of those who got one of `messages`, each of which is another client's if they are
    several: a set in all that it does; `about`: the last of them in words.

    What is made of it, a copy too, is a plain set.
    """

    def __init__(self, messages: Sequence[Message], about: str, names: Set[str]) -> None:
        super().__init__(names)
        self._messages, self._about = messages, about

    @property
    def about(self) -> str:
        """Return the message in words."""
        return self._about

    def why(self, name: object) -> str:
        """Return why `name` got the message, or did not, also if there is nobody of that name."""
        last = self._messages[-1]
        own = [each for each in self._messages if name in each.emitted.recipients]
        try:
            return one_line(sentence(own[-1] if own else last, str(name)), 200)
        except LookupError as error:
            return str(error.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return set, ([*self],)

    def __repr__(self) -> str:
        return _told(self)


def comparison(operator: str, left: object, right: object) -> list[str]:
    """Return what is to be said when a comparison does not hold that has a `Got` on one of its
    sides, as lines; nothing if this knows no more than its reader.

    `operator`: "==", "!=", "<=", "<", ">=", ">", "in" or "not in".
    """
    if isinstance(right, Got) and operator in ("in", "not in"):
        name, nobody = {left}, set[object]()
        few_and_many = (name, nobody) if operator == "in" else (nobody, name)
        return _lines(f"{left!r} {operator} {right!r}", right, *few_and_many)
    summary = f"{_told(left)} {operator} {_told(right)}"
    got, other = (left, right) if isinstance(left, Got) else (right, left)
    operator = operator if got is left else _MIRRORED.get(operator, operator)
    if not isinstance(got, Got) or operator not in ("==", "!=", *_MIRRORED):
        return []
    if not isinstance(other, Set):
        names = ", ".join(map(repr, other)) if isinstance(other, list | tuple) else "…"
        kind = type(other).__name__
        advice = f"this is a set of names, and equals no {kind}: compare it with {{{names}}}"
        return [summary, "", advice]
    few: Set[object] = other - got if operator in ("==", ">=", ">") else set()
    many: Set[object] = got - other if operator in ("==", "<=", "<") else set()
    if not few and not many:  # they are the same, and should not be
        many = got
    lines = _lines(summary, got, few, many)
    if isinstance(other, Got):
        lines += [other.about, *(f"  {other.why(name)}" for name in _sorted({*few, *many}))]
    return lines


def _lines(summary: str, got: Got, few: Set[object], many: Set[object]) -> list[str]:
    return [
        summary,
        "",
        got.about,
        *(f"  too many: {got.why(name)}" for name in _sorted(many)),
        *(f"  too few: {got.why(name)}" for name in _sorted(few)),
    ]


def _sorted(names: Set[Any]) -> list[Any]:
    return sorted(names, key=str)


def _told(names: object) -> str:
    """Return a set as Python shows it, but in the same order every time."""
    if not isinstance(names, Set):
        return one_line(repr(names))
    return f"{{{', '.join(map(repr, _sorted(names)))}}}" if names else "set()"
