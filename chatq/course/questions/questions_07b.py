"""The predictions of lesson 07b: when something comes again, and how often it is done.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ...journal.facts import Settled
from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _when_and_how_often(seen: Seen) -> str:
    first, *_, last = [line for line in seen.printed.splitlines() if line.startswith("after")]
    if "helper" not in last:
        return "never; once"
    when = "at once" if "helper" in first else "after 31 seconds"
    return f"{when}; {'twice' if len(seen['worked']) == 2 else 'once'}"


def _worked_on(seen: Seen) -> set[str]:
    return {package for package in ("O-3", "O-4") if package in str(seen["worked"])}


def _in_order(seen: Seen) -> str:
    settled = [fact.message for fact in seen["stage"].journal if isinstance(fact, Settled)]
    packages = {one.emitted.message: one.emitted.data for one in seen.messages("pickup")}
    got = [packages[number] for number in settled if isinstance(number, int)]
    return ", then ".join(package.strip("'") for package in got) or "nothing"


QUESTIONS = [
    Question(
        "07b.a",
        "Who gets O-2?",
        {
            "ada": "",
            "helper": "",
            "nobody": "you may have thought that they are in each other's way. The table is read "
            "by both, one after the other.",
        },
        lambda seen: seen.who_got_any("pickup") - {"server"},
        missed="Both ask before either has answered, and until then O-2 is in the table: the hub "
        "reads it twice.",
    ),
    Question(
        "07b.b",
        "When does it get O-3, and how often is the work done?",
        {
            "at once; twice": "you may have thought that the box notices that Ada is gone. It does "
            "not look; O-3 is hers until the lease is over.",
            "after 31 seconds; once": "you may have thought that work that was not answered for "
            "does not count. It was done: Ada's cable broke after it.",
            "after 31 seconds; twice": "",
            "never; once": "you may have thought that O-3 stays with Ada. A lease ends by itself, "
            "whatever has become of the one who had it.",
        },
        _when_and_how_often,
        one=True,
        cells=2,
    ),
    Question(
        "07b.c",
        "What is worked on?",
        {
            "O-3": "you may have thought that whatever is delivered is worked on. O-3 is "
            "delivered, and answered; but the inbox says that it was done.",
            "O-4": "",
            "none of them": "you may have thought that the restart has emptied the box. It is a "
            "file.",
        },
        _worked_on,
        missed="O-4 is not in the inbox, so it is new.",
        cells=2,
    ),
    Question(
        "07b.d",
        "What does it get, in which order?",
        {
            "nothing": "you may have thought that a queue is gone with its hub. This one is a "
            "file, and emit had returned when both were in it.",
            "O-6, then O-5": "you may have thought of a stack, which gives out the newest first. "
            "A queue begins with the oldest.",
            "O-5, then O-6": "",
        },
        _in_order,
        one=True,
        cells=3,
    ),
]
