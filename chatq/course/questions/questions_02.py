"""The predictions of lesson 02: what a server sees of a client that goes, or falls silent.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ...journal.facts import Disconnected
from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _closed_without_a_word(seen: Seen) -> set[str]:
    facts = [fact for fact in seen["stage"].journal if isinstance(fact, Disconnected)]
    reasons = {fact.client: fact.reason for fact in facts}
    return {who for who in ("ada", "bob", "cy") if reasons[who] == "transport close"}


def _is_noticed(seen: Seen) -> str:
    seen.messages("news")
    counts = seen["stage"].connected("ada")
    return "nothing: Ada counts as connected" if counts else "that Ada is gone"


def _read_the_news(seen: Seen) -> set[str]:
    stage = seen["stage"]
    if "frozen" in stage.why("ada", "news"):
        raise LookupError("the train is still in the tunnel")
    return set(stage.deliveries("news").messages[0].got_by)


QUESTIONS = [
    Question(
        "02.a",
        "For whom is it 'transport close'?",
        {
            "ada": "you may have thought that a line is closed whoever ends it. It is, but the "
            "server ended this one itself, and knows that: 'server disconnect'.",
            "bob": "you may have thought that hanging up closes the line, and that is all there is "
            "to see. Before that his client says goodbye, in a frame of its own, and the server "
            "has read it: 'client disconnect'.",
            "cy": "",
            "nobody": "you may have thought that a process that dies without a word is only "
            "missed later, by a 'ping timeout'. Its operating system closes the line for it, and "
            "that the server sees at once.",
        },
        _closed_without_a_word,
        missed="Nobody said anything on Cy's line, and yet it was closed: that is what 'transport "
        "close' means.",
        cells=3,
        folds=4,
    ),
    Question(
        "02.b",
        "What does the server notice?",
        {
            "nothing: Ada counts as connected": "",
            "emit raises an error": "you may have thought that emit waits until the news has been "
            "read. It returns when the news has been handed to the network; what becomes of it "
            "there, emit never learns.",
            "that Ada is gone": "you may have thought that the server sees at once who does not "
            "read. Her line is open, and a line on which nothing is said looks the same whether "
            "the other end listens or not.",
        },
        _is_noticed,
        one=True,
    ),
    Question(
        "02.c",
        "Who of them will read the news, sooner or later?",
        {
            "ada": "",
            "cy": "you may have thought that what was sent before the end arrives. It had reached "
            "Cy's phone, but no program had read it from there when the battery died.",
            "nobody": "you may have thought that what was sent to somebody who is given up is "
            "taken back. It was on Ada's side already, and the server cannot reach it there.",
        },
        _read_the_news,
        missed="Ada's phone had the news all the time, unread; it reads on where it had stopped, "
        "whatever the server thinks by then.",
        folds=2,
    ),
]
