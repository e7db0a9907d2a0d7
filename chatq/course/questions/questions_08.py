"""The predictions of lesson 08: how often a thing is done, and in which order, if something fails.

Owns what they ask. Must not know: how a question is shown.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from ...journal.facts import Settled
from ..question import Question, Seen

__all__ = ["QUESTIONS"]

_TIMES = ("never", "once", "twice")


def _on_the_doorstep(seen: Seen, package: str) -> str:
    return _TIMES[seen["doorstep"]().count(package)]


def _first(seen: Seen) -> str:
    lines = [line.split()[1] for line in seen["driver"].lines if line.startswith("has")]
    return "O-3 again" if lines[0] == "O-3" else lines[0]


def _in_the_ledger(seen: Seen, package: str) -> str:
    with closing(sqlite3.connect(seen["stage"].folder / "ledger.db")) as ledger:
        (count,) = ledger.execute(
            "SELECT count(*) FROM doorstep WHERE package = ?", [package]
        ).fetchone()
    return _TIMES[count]


def _who_settled(seen: Seen) -> str:
    (settled,) = [fact for fact in seen["stage"].journal if isinstance(fact, Settled)]
    harm = "it does" if settled.client == "slow driver" else "it does not"
    return f"{_on_the_doorstep(seen, 'O-6')}; {harm}"


def _each(seen: Seen) -> str:
    (number,) = {sum(one.startswith(job) for one in seen["worked"]) for job in ("1 ", "2 ")}
    return _TIMES[number]


def _tries_of_poison(seen: Seen) -> str:
    poison, other = (message.life for message in seen.messages("parcel")[:2])
    if not poison or not other or poison.state == "waits":
        raise LookupError("P-1 is still tried")
    ((attempts, *_),) = poison.attempts.values()
    words = {1: "once", 3: "three times"}
    return f"{words[attempts]}; P-2 {'goes through' if other.state == 'settled' else 'waits'}"


def _orders(seen: Seen) -> str:
    numbers = {one.emitted.message: one.emitted.data for one in seen.messages("step")}
    done: dict[str, list[str]] = {"window 1": [], "window 4": []}
    for fact in seen["stage"].journal:
        if isinstance(fact, Settled) and fact.message in numbers:
            done[fact.client].append(numbers[fact.message])
    if any(len(order) < 4 for order in done.values()):
        raise LookupError("not all are done")
    return " and ".join(" ".join(order) for order in done.values())


def _got_the_second(seen: Seen) -> set[str]:
    told = seen["told"]
    names = {(1, 1): "1 for both", (2, 2): "2 for both", (1, 2): "1 for the busy one, 2 for idle"}
    return {names[windows] for windows, why in told.items() if why.startswith("idle got")}


def _done_without_failure(seen: Seen) -> str:
    return " ".join(map(str, seen["done"]))


def _key_that_pays_once(seen: Seen) -> str:
    keys = [f"the {key}" for key, paid in seen["paid"].items() if len(paid) == 1]
    return keys[0] if len(keys) == 1 else "both of them"


def _beside_silent_poison(seen: Seen) -> str:
    narrow, wide = ([done for window, done in seen["log"] if window == which] for which in (1, 4))
    early = {True: "each at once", False: "none until S-1 is dead"}
    if not narrow[-1] or not wide[-1]:
        raise LookupError("not all have come")
    return f"with 1 {early[bool(narrow[1])]}; with 4 {early[bool(wide[1])]}"


def _who_begins(seen: Seen) -> str:
    lines = [line.partition(":") for line in seen.printed.splitlines() if "renewed" in line]
    with_bob = {which: "bob" in names for which, _, names in lines}
    if with_bob["not renewed"] and not with_bob["renewed"]:
        return "Ada and Bob the first time, Ada alone the second"
    return "Ada and Bob both times" if with_bob["renewed"] else "Ada alone both times"


def _what_lies_there(seen: Seen) -> str:
    lies = [one.removeprefix("O-6, ") for one in seen["door"].lies_there]
    return " and ".join(lies).replace("token 1 and token 2", "both, one on the other")


def _before_flowers_2(seen: Seen) -> str:
    done = seen["done"]
    before = {*done[: done.index("flowers 2")]}
    if "pizza 3" not in before:
        return "flowers 1 and pizza 1"
    return "all but flowers 2" if "flowers 3" in before else "flowers 1, and all of pizza"


QUESTIONS = [
    Question(
        "08.a",
        "How often will O-1 lie on the doorstep?",
        {
            "never": "you may have thought that O-1 is lost with its driver. The queue gives a "
            "message out, and forgets it only when somebody has answered for it.",
            "once": "",
            "twice": "you may have thought that each attempt does the work. The first driver died "
            "before it had put anything down.",
        },
        lambda seen: _on_the_doorstep(seen, "O-1"),
        one=True,
    ),
    Question(
        "08.b",
        "How often will O-2 lie on the doorstep in the end?",
        {
            "never": "you may have thought that a driver's work dies with it. What is on the "
            "doorstep stays there.",
            "once": "you may have thought that the queue knows that the work is done. It knows "
            "one thing only, that no answer came; so it was when O-1's driver died, too.",
            "twice": "",
        },
        lambda seen: _on_the_doorstep(seen, "O-2"),
        one=True,
    ),
    Question(
        "08.c",
        "What does the next driver get first?",
        {
            "O-3 again": "you may have thought that whatever a driver that was killed had comes "
            "again. Its answer had arrived, and with that O-3 has left the queue.",
            "O-4": "",
            "nothing": "you may have thought that the queue waits for the driver that is gone. A "
            "queue belongs to no connection: whoever consumes it next gets what there is.",
        },
        _first,
        one=True,
    ),
    Question(
        "08.d",
        "How often will O-5 lie on the doorstep?",
        {
            "never": "you may have thought that the kill takes back what was written. The "
            "transaction was over before it.",
            "once": "",
            "twice": "you may have thought of crash 2. O-5 is delivered twice here, too; but its "
            "id is in the inbox, in the same transaction as the effect.",
        },
        lambda seen: _in_the_ledger(seen, "O-5"),
        one=True,
    ),
    Question(
        "08.e",
        "How often will O-6 lie on the doorstep, and does the slow one's answer take it out of the "
        "queue?",
        {
            "once; it does": "you may have thought that the first one to answer wins, and the "
            "other is called back. Nobody calls a driver back; the second one was on its way.",
            "twice; it does": "you may have thought that an answer is an answer. A receipt belongs "
            "to one attempt, and the slow one's was over with its lease.",
            "twice; it does not": "",
        },
        _who_settled,
        one=True,
    ),
    Question(
        "08.f",
        "How often is each done?",
        {
            "never": "you may have thought that what is out for too long is taken away from Bob. "
            "Both lie before him, and he reads on where he had stopped.",
            "once": "you may have thought that a lease begins when the work does. It runs from the "
            "moment the message is given out, so both were over before he had begun.",
            "twice": "",
        },
        _each,
        one=True,
    ),
    Question(
        "08.g",
        "Who begins the work?",
        {
            "Ada and Bob both times": "you may have thought that a lease is over after 30 seconds, "
            "whatever is said. Each `working` begins it anew, for 30 seconds from then on.",
            "Ada and Bob the first time, Ada alone the second": "",
            "Ada alone both times": "you may have thought that the queue sees that Ada is at work. "
            "It sees answers only; without a word for 30 seconds she might as well be dead.",
        },
        _who_begins,
        one=True,
        cells=2,
    ),
    Question(
        "08.h",
        "What lies on the doorstep in the end?",
        {
            "token 1": "you may have thought that whoever arrives first has it. The doorstep goes "
            "by the highest token that it was shown, and the second one showed 2 as it set out.",
            "token 2": "",
            "both, one on the other": "you may have thought of O-6 above. There nobody asked the "
            "doorstep; this one compares, and refuses.",
        },
        _what_lies_there,
        one=True,
    ),
    Question(
        "08.i",
        "Which key makes Cy pay once?",
        {
            "the receipt": "you may have thought that the receipt stands for the message. It "
            "stands for one attempt: the second one has another, and the bank takes it for "
            "another payment.",
            "the id": "",
            "both of them": "you may have thought that any key will do. It has to be the same at "
            "each attempt, and a receipt is not.",
        },
        _key_that_pays_once,
        one=True,
        cells=2,
    ),
    Question(
        "08.j",
        "How often is P-1 tried, and does P-2 wait for it?",
        {
            "once; P-2 goes through": "you may have thought that a refusal is an end. It ends the "
            "attempt; these queues have three for each message.",
            "three times; P-2 goes through": "",
            "three times; P-2 waits": "you may have thought that a queue is served in order, and "
            "P-1 is first. The window is 2: both are given out, and while P-1 waits for its next "
            "attempt, P-2 is done.",
            "for ever; P-2 waits": "you may have thought of a naive queue, which tries the first "
            "message until it succeeds. This one counts, and puts P-1 aside.",
        },
        _tries_of_poison,
        one=True,
        cells=2,
    ),
    Question(
        "08.k",
        "In which order are they done, with a window of 1 and with a window of 4?",
        {
            "1 2 3 4 and 1 2 3 4": "you may have thought that a queue keeps its order, whatever "
            "happens. With a window of 4 all are given out at once; 3 and 4 do not wait for 2.",
            "1 2 3 4 and 1 3 4 2": "",
            "1 3 4 2 and 1 3 4 2": "you may have thought that what was refused goes to the end. "
            "It keeps its place, and with a window of 1 nobody gets past it.",
        },
        _orders,
        one=True,
        cells=2,
    ),
    Question(
        "08.l",
        "In which order are they done?",
        {
            "0 1 2 3 4 5": "you may have thought that whoever begins first ends first. With a "
            "window of 6 all six are out at once, and a handler that waits holds up nobody.",
            "1 2 3 4 5 0": "",
            "5 4 3 2 1 0": "you may have thought of a pile. They begin in the order in which they "
            "were emitted; only the end depends on how long each takes.",
        },
        _done_without_failure,
        one=True,
    ),
    Question(
        "08.m",
        "What is done before flowers 2 is tried again?",
        {
            "flowers 1 and pizza 1": "you may have thought that a failure holds up everybody. It "
            "holds up its own queue, and pizza has another.",
            "flowers 1, and all of pizza": "",
            "all but flowers 2": "you may have thought of a window of 4. With a window of 1, "
            "flowers 3 waits behind flowers 2.",
        },
        _before_flowers_2,
        one=True,
    ),
    Question(
        "08.n",
        "With which windows does the idle one get message 2?",
        {
            "1 for both": "you may have thought that a window of 1 counts for each consumer by "
            "itself. It is about the whole queue: while message 1 is out, nobody with a window of "
            "1 gets the next.",
            "2 for both": "",
            "1 for the busy one, 2 for idle": "",
            "none of them": "you may have thought that a queue gives out one message at a time. "
            "It does so only to consumers with a window of 1.",
        },
        _got_the_second,
        missed="The window of the one who asks decides: whoever has 2 may overtake.",
    ),
    Question(
        "08.o",
        "When do the others get through, with a window of 1 and with a window of 4?",
        {
            "with 1 each at once; with 4 each at once": "you may have thought that silence holds "
            "up nobody. Until its lease is over S-1 counts as being worked on, and it fills a "
            "window of 1.",
            "with 1 none until S-1 is dead; with 4 each at once": "",
            "with 1 none until S-1 is dead; with 4 none until S-1 is dead": "you may have thought "
            "that poison blocks whatever is behind it. With a window of 4 there is room beside it.",
        },
        _beside_silent_poison,
        one=True,
    ),
]
