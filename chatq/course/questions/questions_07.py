"""The predictions of lesson 07: which version of a queue loses what.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _what_ada_gets(seen: Seen) -> str:
    got = [one for one in seen.messages("pickup") if "ada" in one.got_by]
    return {0: "nothing", 1: "one of them", 2: "both"}[len(got)]


def _still_in_the_box(seen: Seen) -> str:
    seen.messages("pickup")
    return "yes" if seen["waiting"]["ada"] else "no"


QUESTIONS = [
    Question(
        "07.a",
        "Who gets anything?",
        {
            "ada": "",
            "bob": "you may have thought that each of them gets what has come in. There is one "
            "list for all, and whoever asks first empties it.",
            "nobody": "you may have thought that what came in while they were off is lost. That "
            "was lesson 06; this hub keeps it.",
        },
        lambda seen: seen.who_got_any("pickup") - {"server"},
        missed="Ada asks first, and the list is full.",
    ),
    Question(
        "07.b",
        "What does she get?",
        {
            "both": "you may have thought that what did not arrive is still in her box. The hub "
            "took it out when it had sent it.",
            "one of them": "you may have thought that one of the two had arrived, or that one was "
            "left. Both had been sent, and neither was read.",
            "nothing": "",
        },
        _what_ada_gets,
        one=True,
    ),
    Question(
        "07.c",
        "Are they still in her box afterwards?",
        {
            "yes": "you may have thought that without a handler there is no acknowledgement. The "
            "client acknowledges the packet, whether or not anybody listens.",
            "no": "",
        },
        _still_in_the_box,
        one=True,
    ),
]
