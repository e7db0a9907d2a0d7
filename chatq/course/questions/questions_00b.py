"""The predictions of lesson 00b: when a function is called, and who goes on meanwhile.

Owns what they ask. Must not know: how a question is shown.

This lesson has no stage: what happens is what its cells print.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _printed_now(seen: Seen) -> str:
    return "I hear: hello" if "I hear: hello" in seen.printed else "nothing: nobody calls hear"


def _in_a_loop(seen: Seen) -> str:
    return seen.printed.splitlines()[0].replace(" ", ", ")


def _boils(seen: Seen) -> str:
    if "the water boils" in seen.printed:
        return "yes, and there is tea" if "a cup" in seen.printed else "yes, but there is no tea"
    return "no"


def _order(seen: Seen) -> str:
    lines = seen.printed.splitlines()
    if lines.index("bob waits") < lines.index("ada comes in"):
        return "both wait, the door opens, both come in"
    return "one waits and comes in, then the other, and the door opens at the end"


QUESTIONS = [
    Question(
        "00b.a",
        "What is printed then?",
        {
            "nothing: nobody calls hear": "you may have thought that a function is called only by "
            "its own name. handlers[event] is the same function, and brackets call it.",
            "I hear: news": "you may have thought that a handler is told the name of the event. "
            "The name only finds it; its argument is what came in.",
            "I hear: hello": "",
        },
        _printed_now,
        one=True,
    ),
    Question(
        "00b.b",
        "What does each of them say?",
        {
            "ada, bob, cy": "you may have thought that each function keeps the value that the "
            "variable had. It keeps the variable, and there is one for all three.",
            "cy, cy, cy": "",
            "ada, ada, ada": "you may have thought that the first value stays. The variable goes "
            "on to the next round, and the functions look at it when they are called.",
        },
        _in_a_loop,
        one=True,
    ),
    Question(
        "00b.c",
        "Does the water boil?",
        {
            "yes, and there is tea": "you may have thought of an ordinary function, which works "
            "when it is called. Calling this one makes a coroutine, and nothing of it has begun.",
            "yes, but there is no tea": "you may have thought that await only fetches the result. "
            "It does the work, too: without it nothing begins.",
            "no": "",
        },
        _boils,
        one=True,
    ),
    Question(
        "00b.d",
        "In which order do the three print their lines?",
        {
            "both wait, the door opens, both come in": "",
            "one waits and comes in, then the other, and the door opens at the end": "you may have "
            "thought that gather runs one after the other. Whoever waits at an await lets the next "
            "one begin.",
            "ada waits, and nothing more happens": "you may have thought that whoever waits keeps "
            "the turn. await gives it to the next, in the end to the host, who opens the door.",
        },
        _order,
        one=True,
    ),
]
