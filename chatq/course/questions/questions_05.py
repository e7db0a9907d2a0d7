"""The predictions of lesson 05: what one namespace has of its own, and who is in which.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]


def _answers(seen: Seen) -> str:
    lines = [line.partition("answers: ")[2] for line in seen.printed.splitlines()]
    what = "two answers" if len({*filter(None, lines)}) == 2 else "the same answer twice"
    one_each = len(seen["sio"].eio.sockets) == 2  # of two clients
    return f"{what}, {'one connection' if one_each else 'two connections'}"


def _gets_in(seen: Seen) -> str:
    if seen["stage"].connected("ada", "/tenant-rome"):
        return "yes"
    return (
        "no, approve refuses her" if "tenant" in seen.printed else "no, approve is not even asked"
    )


QUESTIONS = [
    Question(
        "05.a",
        "How many answers does she get, over how many connections?",
        {
            "two answers, one connection": "",
            "two answers, two connections": "you may have thought that each namespace is dialled "
            "by itself. She dials once; each frame says for which namespace it is.",
            "the same answer twice, one connection": "you may have thought that the second handler "
            "for an event takes the place of the first. It does, within one namespace.",
        },
        _answers,
        one=True,
        folds=3,
    ),
    Question(
        "05.b",
        "Who gets it?",
        {
            "ada": "you may have thought that whoever is in a namespace is also in /. One is in "
            "those that one has asked for, and Ada has asked for two others.",
            "bob": "you may have thought that whoever is in a namespace is also in /. One is in "
            "those that one has asked for, and Bob has asked for two others.",
            "nobody": "",
        },
        lambda seen: seen.who_got("news"),
    ),
    Question(
        "05.c",
        "Who hears that the juice is ready?",
        {
            "ada": "",
            "bob": "you may have thought that there is one table 4. There is one in the bar and "
            "one in the kitchen, and he sits at the other.",
            "nobody": "you may have thought that a name can be given only once. Each namespace "
            "has names of its own.",
        },
        lambda seen: seen.messages("ready")[0].got_by,
        missed="The juice is for table 4 in the bar, and there she sits.",
    ),
    Question(
        "05.d",
        "Who gets in?",
        {
            "cy": "",
            "dan": "you may have thought that a key of any kind will do. The handler compares it, "
            "and refuses.",
            "eve": "",
            "nobody": "you may have thought that a handler that returns nothing says no. It says "
            "no by raising; everything else is a yes.",
        },
        lambda seen: {one.name for one in (seen["cy"], seen["dan"], seen["eve"]) if one.connected},
        missed="Cy has the key. And Eve needs none: the door is that of /staff, and in /bar nobody "
        "asks.",
    ),
    Question(
        "05.e",
        "Does she get in?",
        {
            "yes": "you may have thought that a class for every name is enough. The server looks "
            "first whether it takes the name at all.",
            "no, approve refuses her": "you may have thought that something is wrong with her key. "
            "It is right; but nobody has looked at it.",
            "no, approve is not even asked": "",
        },
        _gets_in,
        one=True,
    ),
    Question(
        "05.f",
        "Who hears the last one?",
        {
            "ada": "you may have thought that '*' means all namespaces for emit, too. It is taken "
            "as the name of one, and nobody is in that.",
            "bob": "you may have thought that '*' means all namespaces for emit, too. It is taken "
            "as the name of one, and nobody is in that.",
            "eve": "you may have thought that the last one goes to everybody who has dialled. She "
            "was refused, and is in no namespace.",
            "fay": "you may have thought that the last one goes to everybody who has dialled. She "
            "was refused, and is in no namespace.",
            "nobody": "",
        },
        lambda seen: seen.who_got("news"),
    ),
]
