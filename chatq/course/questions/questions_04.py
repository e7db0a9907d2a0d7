"""The predictions of lesson 04: who is in a room, who may speak there, and what a room forgets.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

from ..question import Question, Seen

__all__ = ["QUESTIONS"]

_EVERYBODY = {"ada", "bob", "cy", "dan"}


def _of_an_empty_list(seen: Seen) -> str:
    got = seen.messages("said")[0].got_by
    return "everyone" if got == _EVERYBODY else ", ".join(sorted(got)) or "nobody"


def _how_often(seen: Seen) -> str:
    heard = seen["heard"]
    times = {1: "once", 2: "twice"}
    first, second = heard.count("one emit"), heard.count("two emits")
    return f"the first {times[first]}, the second {times[second]}"


def _stays(seen: Seen) -> str:
    return "yes" if "cooks" in seen["sio"].manager.rooms["/"] else "no"


def _in_her_rooms(seen: Seen) -> str:
    told = "book club" in seen.messages("said")[-1].emitted.rooms
    after = "ada" in seen["who_is_in"]("book club")
    if told:
        return "yes, and afterwards, too" if after else "yes, but not afterwards"
    return "no, she is out by then"


def _after_her_return(seen: Seen) -> str:
    page_135, page_136 = ("ada" in one.got_by for one in seen.messages("said")[-2:])
    if page_136:
        return "both pages" if page_135 else "page 136 only"
    return "neither"


QUESTIONS = [
    Question(
        "04.a",
        "Who gets it?",
        {
            "ada": "",
            "bob": "",
            "cy": "you may have thought that everybody who is connected hears what the server "
            "says. With to= only the members of that room do, and Cy has not asked to join.",
            "dan": "you may have thought that everybody who is connected hears what the server "
            "says. With to= only the members of that room do, and Dan has not asked to join.",
            "nobody": "you may have thought that somebody has to open the room first. The first "
            "to join makes it.",
        },
        lambda seen: seen.who_got("said"),
        missed="Both have asked to join, and our handler put both on the list. The emit is the "
        "server's own, so it leaves out none of them.",
        folds=2,
    ),
    Question(
        "04.b",
        "Who hears what Dan says?",
        {
            "ada": "",
            "bob": "",
            "cy": "you may have thought that Dan, who is no member, speaks to everybody. The "
            "handler emits to the room that he names, and Cy is not in it.",
            "dan": "you may have thought that one hears oneself. skip_sid leaves out the one who "
            "spoke, and he is not in the room either.",
            "nobody": "you may have thought that one has to be in a room to speak in it. It is the "
            "server that emits, and emit does not ask on whose behalf.",
        },
        lambda seen: seen.who_got("said"),
        missed="Both are in the room, and neither of them is the one who spoke.",
    ),
    Question(
        "04.c",
        "Who gets an emit to an empty list of rooms?",
        {
            "nobody": "you may have thought that an empty list of rooms has no members. emit asks "
            "only whether to= is given, and takes an empty list for nothing given.",
            "everyone": "",
            "it raises an error": "you may have thought that nonsense is noticed. For emit it is "
            "no nonsense: it is the same as leaving to= out.",
        },
        _of_an_empty_list,
        one=True,
    ),
    Question(
        "04.d",
        "Will he be in?",
        {
            "yes": "",
            "no": "you may have thought that a room is private, as a group chat is. Somebody has "
            "to guard it: our handler lets in whoever asks.",
        },
        lambda seen: "yes" if "dan" in seen["who_is_in"]("book club") else "no",
        one=True,
    ),
    Question(
        "04.e",
        "Who is in at the end?",
        {
            "ada": "",
            "bob": "",
            "cy": "you may have thought of a member of the cooks. Cy has not asked to join the "
            "book club.",
            "dan": "you may have thought that one of Dan's tries succeeds, for instance with a "
            "room of his own making. Each handler asks for something that he does not have.",
            "nobody": "you may have thought of close_room, which put everybody out. That was "
            "before: the first two come in again, with the word that lets them in.",
        },
        lambda seen: seen["who_is_in"]("book club"),
        missed="Ada and Bob both say the word of the invitation.",
    ),
    Question(
        "04.f",
        "How often does Bob hear the first, and how often the second text?",
        {
            "the first once, the second once": "you may have thought that Bob hears a text once, "
            "however it is sent. The second text is two emits, one to each room, and he is in "
            "both.",
            "the first once, the second twice": "",
            "the first twice, the second twice": "you may have thought that an emit to two rooms "
            "is two emits. The members of all rooms are put into one list first, and nobody is on "
            "it twice.",
        },
        _how_often,
        one=True,
    ),
    Question(
        "04.g",
        "Does an empty room stay?",
        {
            "yes": "you may have thought of a real room, which is there when nobody is in. This "
            "one is a list of members; when the last is taken off, the list is dropped.",
            "no": "",
        },
        _stays,
        one=True,
    ),
    Question(
        "04.h",
        "Is Ada still in her rooms when that handler runs?",
        {
            "yes, but not afterwards": "",
            "yes, and afterwards, too": "you may have thought that only leave_room takes somebody "
            "out. A disconnect ends with taking the sid off all lists.",
            "no, she is out by then": "you may have thought that the handler is told when all is "
            "over. It runs before the lists are tidied, so that it can still tell her rooms.",
        },
        _in_her_rooms,
        one=True,
        folds=2,
    ),
    Question(
        "04.i",
        "What does she get of what Bob says?",
        {
            "both pages": "you may have thought that a room keeps for its members what they have "
            "missed. It is a list of who is here now; and she is no member any more.",
            "page 136 only": "you may have thought that she is still a member when she comes back. "
            "She has a new sid, and that is on no list.",
            "neither": "",
        },
        _after_her_return,
        one=True,
        folds=2,
    ),
]
