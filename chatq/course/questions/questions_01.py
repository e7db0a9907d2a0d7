"""The predictions of lesson 01: who hears what, on a line and without one.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _hears_of_the_kitchen(seen: Seen) -> str:
    if seen["cy"].name in seen["stage"].deliveries().who_got("chat message"):
        return "yes, as soon as Cy has dialled"
    return "no"


QUESTIONS = [
    Question(
        "01.a",
        "Who hears it?",
        {
            "the page": "you may have thought that a page that was loaded stays in touch. It was "
            "sent like a letter; only a call (a socket) stays open, and nobody has made one.",
            "the server": "you may have thought that whoever emits hears it, too. An emit goes to "
            "the other end of the line: the server's goes to clients.",
            "nobody": "",
        },
        lambda seen: seen.who_got("chat message") or "nobody",
        one=True,
    ),
    Question(
        "01.b",
        "Who hears anything of it?",
        {
            "server": "",
            "ada": "",
            "bob": "",
            "nobody": "you may have thought of the emit before, when nobody was on the line. Now "
            "two are, and the server has a handler for this event.",
        },
        lambda seen: seen.who_got_any("chat message"),
        missed="Follow it in two steps: first from Ada to the server, the only one that a client "
        "can talk to. Then the server's handler emits to everyone, and nobody is left out, "
        "also not the one who spoke.",
        folds=3,
    ),
    Question(
        "01.c",
        "Does Cy hear about the kitchen?",
        {
            "yes, as soon as Cy has dialled": "you may have thought of a chat that shows what was "
            "said before you came in. Such a chat has a program that kept it; the line and emit "
            "keep nothing.",
            "no": "",
        },
        _hears_of_the_kitchen,
        one=True,
    ),
]
