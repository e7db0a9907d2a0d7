"""The predictions of lesson 09: what reaches another server, and what is promised by whom.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _what_bob_gets(seen: Seen) -> str:
    events = [event for event, name in seen["heard"] if name == "bob"]
    return {0: "nothing", 1: "news", 2: "news and trout", 3: "all three"}[len(events)]


def _what_becomes_of_the_emit(seen: Seen) -> str:
    if not seen["at_once"]:
        return "it waits"
    return "it raises an error" if seen["emit"].exception() else "it returns at once"


def _what_dan_gets(seen: Seen) -> str:
    got = {text for text, _ in seen["parcels"][seen["at_west"] :]}
    return {0: "nothing", 1: "P-2 only", 2: "P-1 and P-2"}[len(got)]


def _how_many_are_told(seen: Seen) -> str:
    words = ("nobody", "one of them", "two of them", "all three")
    return words[seen["answers"].count("accepted")]


def _how_often_read(seen: Seen) -> str:
    texts = [text for text, *_ in seen["read"]]
    first, second = texts.count("L-5"), texts.count("L-6")
    if not first:
        return "L-6 once, and L-5 not at all"
    return "once each" if second == 1 else "L-5 once, and L-6 twice or more often"


QUESTIONS = [
    Question(
        "09.a",
        "Who gets it?",
        {
            "ada only": "",
            "bob only": "you may have thought that an emit goes to the others, as a client's "
            "does. A server's emit goes to the clients of this server.",
            "both": "you may have thought that everyone is everyone. Everyone is everyone who is "
            "connected to this server: nothing has told it of the other one.",
        },
        lambda seen: {1: "ada only", 2: "both"}[len(seen["heard"])],
        one=True,
    ),
    Question(
        "09.b",
        "What does Bob, who is not at north, get?",
        {
            "nothing": "you may have thought of the cell above. Now both servers have a client "
            "manager, and what one emits, the other emits to its own clients.",
            "news": "you may have thought that a room stays in the memory of one server. It does; "
            "but it is south that looks into its own lists, and there Bob is an angler.",
            "news and trout": "",
            "all three": "you may have thought that whatever crosses reaches everybody at south. "
            "It goes where it was meant to go: Bob is not in the namespace /staff.",
        },
        _what_bob_gets,
        one=True,
        cells=2,
    ),
    Question(
        "09.c",
        "What becomes of the emit?",
        {
            "it returns at once": "you may have thought that two of three are enough. They are, to "
            "keep it; but somebody has to put the letters in order, and that was the leader.",
            "it waits": "",
            "it raises an error": "you may have thought that whoever asks a dead node is told so. "
            "The others answer for it, as soon as they know whom to ask; emit has patience until "
            "then.",
        },
        _what_becomes_of_the_emit,
        one=True,
    ),
    Question(
        "09.d",
        "How many of the three are told that their message is accepted?",
        {
            "nobody": "",
            "one of them": "you may have thought that the patient one succeeds, if only it waits; "
            "or that news, which nobody has to keep, needs no second node. Both wait for two of "
            "three, and there is one.",
            "two of them": "you may have thought that an ordinary emit and a patient one get "
            "through. Both wait for two of three, and there is one.",
            "all three": "you may have thought that the leader has all there is, so it can go on "
            "alone. It could; but then a second death would lose what it has promised.",
        },
        _how_many_are_told,
        one=True,
        cells=2,
    ),
    Question(
        "09.e",
        "How often will L-5 and L-6 be read?",
        {
            "once each": "",
            "L-5 once, and L-6 twice or more often": "you may have thought that each try is a "
            "letter. All of them have the same key, so they are one.",
            "L-6 once, and L-5 not at all": "you may have thought that what waited for too long is "
            "dropped. Its producer goes on until it is told.",
        },
        _how_often_read,
        one=True,
    ),
    Question(
        "09.f",
        "What does he get there?",
        {
            "nothing": "you may have thought that what West had was West's. The queue lies with "
            "the nodes, and belongs to no server.",
            "P-2 only": "you may have thought that P-1 was delivered, so it is done. He has not "
            "answered for it: when its lease is over, it comes again.",
            "P-1 and P-2": "",
        },
        _what_dan_gets,
        one=True,
        cells=2,
    ),
    Question(
        "09.g",
        "Which orders are accepted?",
        {
            "O-2": "you may have thought that the leader goes on leading. It does, but there is "
            "nobody to follow it: to accept something takes two of three, and it is one.",
            "O-3": "",
            "none of them": "you may have thought that nothing goes on until the cable is mended. "
            "The two others are a majority: they elect a leader of their own.",
        },
        lambda seen: {order for order, told in seen["outcomes"].items() if told == "accepted"},
        missed="The two others are a majority, and elect a leader of their own.",
        cells=2,
    ),
    Question(
        "09.h",
        "What does she get?",
        {
            "nothing": "you may have thought of a queue, where what is acknowledged is gone. A log "
            "keeps it, whoever has read it.",
            "what the map has not read": "you may have thought that there is one offset. Each "
            "reader with a name of its own has one of its own.",
            "all four": "",
        },
        lambda seen: {0: "nothing", 2: "what the map has not read", 4: "all four"}[
            len(seen["audited"])
        ],
        one=True,
    ),
]
