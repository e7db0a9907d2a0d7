"""The predictions of lesson 05b: what is heard at a door while it is asked.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _hears_the_secret(seen: Seen) -> str:
    heard = "eve" in seen.who_got("secret")
    return "yes, and is refused afterwards" if heard else "no, she is outside"


def _who_hears_one(seen: Seen) -> set[str]:
    if len(seen.messages("secret")) < 3:
        raise LookupError("not all have knocked")
    return seen.who_got_any("secret")


QUESTIONS = [
    Question(
        "05b.a",
        "Does she hear the secret?",
        {
            "no, she is outside": "you may have thought that nobody is in before the door has said "
            "yes. That is so in Node. python-socketio puts her in first, and asks then.",
            "yes, and is refused afterwards": "",
        },
        _hears_the_secret,
        one=True,
        folds=2,
    ),
    Question(
        "05b.b",
        "Who hears one of them?",
        {
            "eve": "you may have thought that the leak is still there. She is in the namespace "
            "while she waits; but emit now sends to those in the room 'inside'.",
            "cy": "",
            "dan": "you may have thought that he is in when his secret is told. It is told while "
            "he waits, and after him nobody knocks.",
            "nobody": "you may have thought that everybody waits while a secret is told. Only the "
            "one who knocks does; whoever has been let in before hears it.",
        },
        _who_hears_one,
        missed="Cy is inside when Dan knocks, and hears what is said meanwhile.",
        folds=2,
    ),
]
