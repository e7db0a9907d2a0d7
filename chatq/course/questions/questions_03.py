"""The predictions of lesson 03: whom an emit reaches, and what an acknowledgement says.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _is_missing(seen: Seen) -> str:
    answers = seen["answers"]
    if len(answers) < 4:
        return "an answer: somebody's"
    named = any(name in str(answers) for name in ("ada", "bob", "cy", "dan"))
    return "nothing" if named else "the names: who gave which answer"


def _emits_into_the_cellar(seen: Seen) -> str:
    (message,) = seen.messages("news")
    return "no, and nobody ever gets it" if message.reached_nobody else "no, and somebody gets it"


QUESTIONS = [
    Question(
        "03.a",
        "Who gets what Ada says?",
        {
            "ada": "you may have thought of lesson 01, where the one who spoke heard it, too. This "
            "handler passes skip_sid=sid, and sid is the one who spoke.",
            "bob": "",
            "cy": "",
            "dan": "",
            "nobody": "you may have thought that a client's emit ends at the server. It does; but "
            "the server's handler emits another one.",
        },
        lambda seen: seen.who_got("news"),
        missed="skip_sid leaves out the one that it names. An emit without to= goes to all others.",
        folds=2,
    ),
    Question(
        "03.b",
        "Who else sees it?",
        {
            "ada": "you may have thought that an emit is for everyone, and to= only says whom it "
            "concerns. to= decides who is sent anything at all.",
            "cy": "you may have thought that an emit is for everyone, and to= only says whom it "
            "concerns. to= decides who is sent anything at all.",
            "dan": "you may have thought that an emit is for everyone, and to= only says whom it "
            "concerns. to= decides who is sent anything at all.",
            "nobody": "",
        },
        lambda seen: seen.who_got("news") - {"bob"},
    ),
    Question(
        "03.c",
        "Who gets the cake?",
        {
            "ada": "you may have thought that several rooms are as good as everyone. Ada is in "
            "neither of the two.",
            "bob": "",
            "cy": "",
            "dan": "",
            "nobody": "you may have thought that one has to be in all the rooms of a list. One of "
            "them is enough.",
        },
        lambda seen: seen.who_got("news"),
        missed="A list of rooms means whoever is in at least one of them: the kitchen has Bob and "
        "Cy, the balcony Cy and Dan.",
    ),
    Question(
        "03.d",
        "What will be missing?",
        {
            "nothing": "you may have thought that an acknowledgement says from whom it comes. It "
            "carries what the handler returned, and nothing else.",
            "an answer: somebody's": "you may have thought that Cy, who says nothing, or Dan, who "
            "does not listen, gives no acknowledgement. Both clients send an empty one.",
            "the names: who gave which answer": "",
        },
        _is_missing,
        one=True,
    ),
    Question(
        "03.e",
        "Does emit raise?",
        {
            "yes": "you may have thought that a room has to be made before one can speak in it, "
            "so that a misspelt name would be noticed. A room is only a list of members, and an "
            "empty list is no error.",
            "no, and nobody ever gets it": "",
            "no, and whoever joins later gets it": "you may have thought that a room keeps what "
            "was said in it. It is a list of who is here now.",
        },
        _emits_into_the_cellar,
        one=True,
    ),
]
