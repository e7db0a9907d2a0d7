"""The predictions of lesson 08b: who is told what, and how often, when somebody was away.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _when_he_is_told(seen: Seen) -> str:
    told = [way for way, thanks in seen["told"].items() if thanks]
    return {2: "both times", 1: "only when it goes into a queue", 0: "neither time"}[len(told)]


def _who_heard(seen: Seen) -> str:
    heard = {*seen["heard"]}
    of_ada = len(heard - {"bob"})
    if "bob" not in heard:
        return "one of the three"
    return {1: "Bob's, and one of Ada's", 2: "all three"}[of_ada]


def _how_often(seen: Seen) -> str:
    return {0: "never", 1: "once", 2: "twice"}[seen["delivered"].count("O-10")]


QUESTIONS = [
    Question(
        "08b.a",
        "When is he told that O-5 was delivered?",
        {
            "both times": "you may have thought that a room is called like the store, so it waits "
            "for him. Its name stays, its members do not: a room is who is there now.",
            "only when it goes into a queue": "",
            "neither time": "you may have thought that a report is for those who are there. An "
            "emit is; a queue waits until somebody consumes it.",
        },
        _when_he_is_told,
        one=True,
    ),
    Question(
        "08b.b",
        "Who gets it?",
        {
            "all three": "you may have thought of a room, where everybody hears it. The consumers "
            "of one queue compete: each message goes to one of them.",
            "Bob's, and one of Ada's": "",
            "one of the three": "you may have thought that a message is for one. It is, in each "
            "queue; and here each of the two queues has a copy.",
        },
        _who_heard,
        one=True,
    ),
    Question(
        "08b.c",
        "How often does a driver get O-10?",
        {
            "never": "you may have thought of lesson 06, where what was in the client's memory "
            "died with it. An outbox is on the disk.",
            "once": "",
            "twice": "you may have thought that whoever tries again does it twice. Each try has "
            "the same key, so the hub stores it once.",
        },
        _how_often,
        one=True,
        cells=2,
    ),
]
