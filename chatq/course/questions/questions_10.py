"""The predictions of lesson 10: what becomes of an order that nobody is there for.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _who_brings_it(seen: Seen) -> str:
    return "dan" if "dan" in seen.who_got("pickup") else "nobody"


QUESTIONS = [
    Question(
        "10.a",
        "Who brings order 7?",
        {
            "dan": "you may have thought that True means it is safe. It means that the handler has "
            "returned; this one emits to whoever is there, and keeps nothing.",
            "nobody": "",
        },
        _who_brings_it,
        one=True,
    ),
]
