"""The journal keeps what happened, in order, bounded, and still knows who is where."""

import dataclasses
import io
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sizes import size

from chatq import Journal, Reason, Stage
from chatq.journal import lines
from chatq.journal.facts import (
    SERVER,
    Acknowledged,
    Connected,
    Died,
    Disconnected,
    Emitted,
    Ended,
    Froze,
    HungUp,
    Joined,
    Killed,
    Left,
    NotUnderstood,
    Raised,
    Received,
    Redriven,
    Rejected,
    Returned,
    Settled,
    Subscribed,
    Thawed,
    Tried,
    Unsubscribed,
)
from chatq.journal.journal import preview
from chatq.views.view import View

ONE_OF_EACH = [
    Connected("ada", "/"),
    Joined("ada", "/", "room"),
    Emitted(1, SERVER, "news", "'hello'", "/", ("room",), ("bob",), ("cy",), ("ada", "bob"), None),
    Received(1, "ada", True),
    Acknowledged(1, "ada", "'ok'"),
    NotUnderstood(1, "ada", "ValueError: Unknown packet type."),
    Raised("ada", "news", "ValueError: ü \n …", 1),
    Froze("ada"),
    Thawed("ada"),
    Killed("ada"),
    Left("ada", "/", "room"),
    HungUp("ada"),
    Ended("ada"),
    Disconnected("ada", "/", "client disconnect"),
    Rejected("bob", "/", "no token"),
    Subscribed("bob", "drivers"),
    Unsubscribed("bob", "drivers"),
    Tried(1, "bob", 1),
    Returned(1, "bob", "its lease ended"),
    Died(1, "expired"),
    Redriven(1),
    Settled(1, "bob"),
]


def write(journal, *facts):
    for fact in facts:
        journal.append(type(fact), *(getattr(fact, name) for name in fact.__match_args__))
    return journal


def test_facts_come_back_in_order_and_equal():
    kept = write(Journal(), *ONE_OF_EACH)
    assert [*kept] == ONE_OF_EACH
    assert len(kept) == len(ONE_OF_EACH)
    assert (kept.forgotten, [*kept.standing()]) == (0, [])
    assert repr(kept) == f"<Journal: {len(ONE_OF_EACH)} facts>"


def test_there_is_a_sample_of_each_kind_of_fact():
    assert {type(fact) for fact in ONE_OF_EACH} == {*lines.KINDS.values()}


def test_messages_are_numbered_from_1():
    kept = Journal(keep=1)
    assert [kept.number() for _ in range(3)] == [1, 2, 3]
    assert kept.messages == 3


@given(keep=st.integers(1, 20), written=st.integers(0, 60))
def test_the_newest_are_kept_and_the_others_counted(keep, written):
    facts = [Received(n, "ada", True) for n in range(written)]
    kept = write(Journal(keep), *facts)
    assert [*kept] == facts[-keep:]
    assert kept.forgotten == max(0, written - keep)
    assert ("forgotten" in repr(kept)) == (written > keep)


@given(
    keep=st.integers(1, 8),
    moves=st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from("xy"))),
)
def test_standing_facts_and_those_kept_tell_who_is_in_which_room(keep, moves):
    """At most `keep` of the standing facts themselves are kept, so 6 keys need 6."""
    facts = [(Joined if joins else Left)(who, "/", room) for joins, who, room in moves]
    kept = write(Journal(max(keep, 6)), *facts)
    last = {(fact.client, fact.room): type(fact) for fact in facts}
    told = {(fact.client, fact.room): type(fact) for fact in [*kept.standing(), *kept]}
    assert told == last


def test_standing_facts_are_bounded_too():
    kept = write(Journal(keep=10), *(Connected(f"client {n}", "/") for n in range(1_000)))
    assert len([*kept.standing()]) == 10
    assert [*kept.standing()][-1] == Connected("client 989", "/")


def test_a_journal_keeps_at_least_one_fact():
    with pytest.raises(ValueError, match="at least 1 fact, not 0"):
        Journal(keep=0)


def test_listeners_hear_of_every_fact_until_they_stop():
    kept, heard = Journal(), []
    stop = kept.listen(lambda: heard.append(len(kept)))
    write(kept, *ONE_OF_EACH[:2])
    stop()
    write(kept, *ONE_OF_EACH[2:])
    assert heard == [1, 2]


def test_a_listener_may_stop_while_it_is_called():
    kept, heard = Journal(), []

    def once():
        heard.append("once")
        stop()

    stop = kept.listen(once)
    kept.listen(lambda: heard.append("always"))
    write(kept, *ONE_OF_EACH[:2])
    assert heard == ["once", "always", "always"]


# -- files --------------------------------------------------------------------------------------


def written(kept):
    file = io.StringIO()
    kept.write(file)
    return file.getvalue()


def read(text):
    return Journal.read(io.StringIO(text))


def all_of(kept):
    """Return whatever can be asked of a journal."""
    counts = (kept.keep, kept.messages, kept.begun, kept.forgotten, kept.written)
    return counts, [*kept.standing()], [*kept], kept.kinds()


def test_each_line_of_a_file_is_json_with_its_kind():
    head, *lines = map(json.loads, written(write(Journal(), *ONE_OF_EACH)).splitlines())
    assert head["journal"] == 1
    assert [line["fact"] for line in lines] == [type(fact).__name__ for fact in ONE_OF_EACH]


#: Any text that a stranger can send. Two halves of a character that follow each other are that
#: character in a file.
SPECIAL = st.sampled_from([*"a\ud800\udfff\u2028\x85\n\r\0\\\"'é🙂"])
STRANGE = (st.text(SPECIAL) | st.text()).filter(
    lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text)
)
NAMES = st.sampled_from(["ada", "bob", "cy <&> 'x'", "\u202eevil", "é\u0301 🙂"])
OF_TYPE = {
    "str": STRANGE,
    "str | int": STRANGE | st.integers(),
    "int": st.integers(),
    "bool": st.booleans(),
    "int | None": st.none() | st.integers(),
    "MessageRef": st.integers(1, 5),
    "tuple[str, ...]": st.lists(NAMES, max_size=3).map(tuple),
    "tuple[str | int, ...]": st.lists(STRANGE | st.integers(), max_size=3).map(tuple),
}


def any_of(kind):
    """Return facts of this kind with any values; names are few, so that they meet."""
    fields = {one.name: OF_TYPE[one.type] for one in dataclasses.fields(kind)}
    return st.builds(kind, **{**fields, **({"client": NAMES} if "client" in fields else {})})


FACTS = st.one_of([any_of(kind) for kind in lines.KINDS.values()])


@given(
    keep=st.integers(1, 12),
    before=st.lists(FACTS, max_size=20),
    after=st.lists(FACTS, max_size=20),
    kinds=st.dictionaries(NAMES, st.sampled_from(["client", "process", "guest"])),
    again=st.booleans(),
)
def test_what_is_written_is_read_as_the_same_journal(
    keep, before, after, kinds, again, tmp_path_factory
):
    kept = write(Journal(keep), *before)
    if again:
        kept.forget()  # as a scene that is reset
    write(kept, *after)
    kept.tell_kinds(lambda: kinds)
    kept.number()
    path = tmp_path_factory.getbasetemp() / "journal.jsonl"
    with path.open("w", encoding="utf-8") as file:
        kept.write(file)
    with path.open(encoding="utf-8") as file:
        found = Journal.read(file)
    assert all_of(found) == all_of(kept)
    write(found, *before)  # and it goes on like the same journal
    write(kept, *before)
    assert all_of(found)[:3] == all_of(kept)[:3]


@pytest.mark.parametrize("part", [9, 3])
async def test_a_journal_that_was_read_explains_as_the_stage_does(sio, stage, part):
    _, bob = await stage.clients("ada", "bob")
    await sio.enter_room(bob.get_sid(), 17)
    stage._names.add_process("zoe")
    await stage.freeze("bob")
    await sio.emit("job", "🙂", room=17)
    await sio.emit("job", room="17")
    await stage.settle()
    view = stage.view(keep=part)
    found = read(written(view.journal))
    again = View(found, found.kinds())
    assert found.kinds() == view.kinds == {"ada": "client", "bob": "client", "zoe": "guest"}
    assert repr(again.deliveries()) == repr(view.deliveries())
    assert repr(again.diagram()) == repr(view.diagram())
    assert repr(again.roster()) == repr(view.roster())


def test_without_its_first_line_a_file_still_has_its_facts():
    """As older versions wrote it."""
    facts = [
        Connected("ada", "/"),
        Connected("eve", "/"),
        Emitted(1, SERVER, "news", "", "/", recipients=("ada", "eve"), skipped=("zoe",)),
        Received(1, "ada", True),
        Killed("driver"),
    ]
    _, _, old = written(write(Journal(), *facts)).partition("\n")
    found = read(old)
    assert [*found] == facts
    assert found.messages == 1
    kinds = {"ada": "client", "eve": "guest", "zoe": "client", "driver": "process"}
    assert found.kinds() == kinds
    assert View(found, kinds).reason("eve", "news") is Reason.SENT


GOOD = written(write(Journal(), Connected("ada", "/"), Joined("ada", "/", 17)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "this file is empty: write a journal into it"),
        ("hello\n", "line 1 of this journal cannot be read: it is not JSON but 'hello'"),
        ("[1, 2]\n", "line 1 .* it is no fact but '\\[1, 2\\]'"),
        ("[" * 100_000 + "\n", "line 1 .* is not JSON"),
        ("1" * 5_000 + "\n", "line 1 .* is not JSON"),
        (GOOD[:-3], "line 3 .* ends in the middle of this line, as if its writer had been killed"),
        (GOOD + "\n", "line 4 .* it is not JSON but ''"),
        (GOOD + GOOD, "line 4 .* another journal begins here"),
        (GOOD + '{"fact": "Flew"}\n', "line 4 .* chatq knows no fact 'Flew': is it of a newer"),
        (GOOD + '{"fact": ["Froze"]}\n', r"line 4 .* chatq knows no fact \['Froze'\]"),
        (GOOD + '{"fact": "Froze"}\n', "line 4 .* Froze has no 'client'"),
        (GOOD + '{"fact": "Froze", "client": 3}\n', "'client' of Froze is a text, not 3"),
        (GOOD + '{"fact": "Froze", "client": "a", "x": 1}\n', "Froze has no field 'x'"),
        (
            GOOD + '{"fact": "Received", "message": true, "client": "a", "handled": true}\n',
            "'message' of Received is a whole number, not True",
        ),
        (
            GOOD + '{"fact": "Joined", "client": "a", "namespace": "/", "room": 1.5}\n',
            "'room' of Joined is a text or a whole number, not 1.5",
        ),
        (GOOD.replace('"journal": 1', '"journal": 2'), "line 1 .* form 2, and this chatq reads 1"),
        (GOOD.replace('"keep": 10000', '"keep": 0'), "line 1 .* counts cannot be"),
        (GOOD.replace('"begun": 0', '"begun": 5'), "line 1 .* counts cannot be"),
        (GOOD.replace('"ada": "guest"', '"ada": "cat"'), "'kinds' of head is an object of names"),
        (
            GOOD + '{"fact": "Froze", "client": "a", "standing": true}\n',
            "line 4 .* a fact that stands is about a client, and comes first",
        ),
        (GOOD + '{"fact": "Froze", "client": "a", "standing": 1}\n', "'standing' is true or false"),
    ],
)
def test_what_is_no_journal_is_refused_by_its_line(text, told):
    with pytest.raises(ValueError, match=told) as refused:
        read(text)
    assert len(str(refused.value)) < 300


def test_a_last_line_may_lack_its_end():
    assert all_of(read(GOOD.rstrip("\n"))) == all_of(read(GOOD))


async def test_a_long_session_still_knows_who_is_connected_and_in_which_room(sio):
    async with Stage(sio, keep=50) as stage:
        ada, bob = await stage.clients("ada", "bob")
        cy = await stage.client("cy")
        await sio.enter_room(ada.get_sid(), "drivers")
        await sio.enter_room(bob.get_sid(), "drivers")
        await sio.leave_room(bob.get_sid(), "drivers")
        await cy.disconnect()
        await stage.settle()
        assert "cut" not in repr(stage.deliveries())
        for client in (ada, bob):
            client.on("news", lambda n: None)
        for n in range(100):
            await sio.emit("news", n)
            await stage.settle()
        await sio.emit("job", room="drivers")
        await stage.settle()
        assert len(stage.journal) == 50
        assert stage.journal.forgotten > 100
        assert all(isinstance(fact, (Emitted, Received)) for fact in stage.journal)
        assert [stage.connected(who) for who in ("ada", "bob", "cy")] == [True, True, False]
        assert (
            stage.why("bob", "job") == "bob did not get 'job': it had left room 'drivers' before."
        )
        assert stage.reason("ada", "job") is Reason.NO_HANDLER
        assert stage.reason("cy", "job") is Reason.LEFT
        assert "cut: only the newest 50 facts are kept" in repr(stage.deliveries())
        assert "cut: only the newest 50 facts are kept" in repr(stage.diagram(rows=1_000))


# -- previews -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=size(10, 40), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(JSON, max_size=6).map(tuple))
def test_a_preview_is_one_short_line(args):
    line = preview(args)
    assert len(line) <= 1_000
    assert "\n" not in line


def nested(width, depth):
    return "leaf" * 20 if depth == 0 else [nested(width, depth - 1)] * width


@pytest.mark.parametrize(
    "args",
    [
        ("x" * 10_000_000,),
        (b"x" * 10_000_000,),
        ([*range(1_000_000)],),
        (dict.fromkeys(range(100_000), "value" * 100),),
        (nested(7, 7),),
        ({"a": nested(7, 5)},),
        tuple(range(100_000)),
        ([b"x" * 1_000_000] * 10,),
    ],
    ids=["string", "bytes", "list", "dict", "nested", "nested dict", "arguments", "bytes in list"],
)
def test_a_preview_of_huge_data_is_short(args):
    length = len(preview(args))  # pytest would print the data
    if length > 1_000:
        pytest.fail(f"a preview of {length:,} characters")


def test_previews_read_like_the_arguments():
    assert preview(()) == ""
    assert preview(("hello",)) == "'hello'"
    assert preview(("order", {"id": 17}, [1, 2])) == "'order', {'id': 17}, [1, 2]"
    assert preview((b"abc", bytearray(2))) == "<3 bytes>, <2 bytes>"
    assert preview(({"picture": b"abc"},)) == "{'picture': <3 bytes>}"
    assert preview(("y" * 100,)).startswith("'yyyy")
    assert "..." in preview(("y" * 100,))


async def test_what_the_journal_shows_does_not_change_when_the_caller_mutates_the_data(sio, stage):
    ada = await stage.client("ada")
    order = {"parcels": [1]}
    await sio.emit("order", order, to=ada.get_sid())
    order["parcels"].append(2)
    await stage.settle()
    shown = [fact.data for fact in stage.journal if isinstance(fact, Emitted)]
    assert shown == ["{'parcels': [1]}"]
