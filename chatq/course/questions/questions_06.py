"""The predictions of lesson 06: which packages are lost, and who hears of it.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ...views.explain import Reason
from ..question import Question, Seen

__all__ = ["QUESTIONS"]

_PICKED_UP = "picked up "


def _picked_up(seen: Seen, *asked: str, last: str) -> set[str]:
    """Return which of these the driver has got, as soon as it has got the `last`."""
    lines = seen["driver"].lines
    got = {line.removeprefix(_PICKED_UP) for line in lines if line.startswith(_PICKED_UP)}
    if last not in got:
        raise LookupError(f"{last} has not arrived")
    return got & {*asked}


def _what_becomes_of_o_5(seen: Seen) -> str:
    if _PICKED_UP + "O-5" not in seen["driver"].lines:
        return "it is lost"
    report = seen.messages("delivered")[-1]
    if report.reached_nobody:
        return "it is picked up, and the vendor never hears of that"
    return "it is picked up, and the vendor hears of that"


def _what_becomes_of_o_6(seen: Seen) -> str:
    seen.messages("pickup")
    lost = seen["stage"].reason("driver", "pickup") is Reason.LOST
    return "it is lost, though it was sent" if lost else "the hub keeps it for the driver"


def _what_becomes_of_o_10(seen: Seen) -> str:
    if "BadNamespaceError" in seen["late"].lines[-1]:
        return "the client refuses it, with an error"
    return "it is lost without a word"


QUESTIONS = [
    Question(
        "06.a",
        "Which of them does it get?",
        {
            "O-2": "you may have thought that what the hub has acknowledged is safe with it. The "
            "acknowledgement says that its handler ran; the handler passed O-2 on to nobody, and "
            "kept nothing.",
            "O-3": "you may have thought that the newest package still waits somewhere. Nobody "
            "has it: the handler passed it on to nobody, and kept nothing.",
            "none of them": "",
        },
        lambda seen: _picked_up(seen, "O-2", "O-3", last="O-4"),
        cells=2,
        folds=3,
    ),
    Question(
        "06.b",
        "What becomes of O-5?",
        {
            "it is lost": "you may have thought that a frozen driver is as good as none. Its "
            "connection is open and holds what was sent, until it reads on, or is given up.",
            "it is picked up, and the vendor hears of that": "you may have thought that the "
            "report waits for the vendor, as O-5 waited for the driver. The driver was connected, "
            "the vendor is not any more.",
            "it is picked up, and the vendor never hears of that": "",
        },
        _what_becomes_of_o_5,
        one=True,
        cells=2,
    ),
    Question(
        "06.c",
        "What becomes of O-6?",
        {
            "it is lost, though it was sent": "",
            "the hub keeps it for the driver": "you may have thought that the hub notices that "
            "O-6 was not read, and keeps it. It has handed it to the network, which tells nobody "
            "what was read.",
            "the vendor is told that it was not read": "you may have thought of a letter that "
            "comes back. Nobody knows who would have to be told: the hub has answered the vendor "
            "long ago.",
        },
        _what_becomes_of_o_6,
        one=True,
    ),
    Question(
        "06.d",
        "Which of them does it get?",
        {
            "O-7": "you may have thought that a client that comes back by itself is told what it "
            "has missed. It gets a new connection, and for the hub that is a new guest.",
            "O-8": "",
            "none of them": "you may have thought that after a cut somebody has to start the "
            "driver again. The client dials by itself until it gets through.",
        },
        lambda seen: _picked_up(seen, "O-7", "O-8", last="O-8"),
        missed="O-8 was sent when the driver was back.",
    ),
    Question(
        "06.e",
        "What becomes of O-10?",
        {
            "the client keeps it until the hub is back": "you may have thought of the JavaScript "
            "client, which does that, for as long as the page lives. The Python client does not.",
            "it is lost without a word": "you may have thought of the hub, whose emit to nobody "
            "says nothing. A client knows whether it is connected, and says so.",
            "the client refuses it, with an error": "",
        },
        _what_becomes_of_o_10,
        one=True,
    ),
]
