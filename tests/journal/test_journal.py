"""The journal keeps what happened, in order, bounded, and still knows who is where."""

import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sizes import size

from chatq import Journal, Reason, Stage
from chatq.journal import facts, journal
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
    assert {type(fact) for fact in ONE_OF_EACH} == {*journal._KINDS.values()}


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


def test_json_lines_round_trip():
    file = io.StringIO()
    write(Journal(), *ONE_OF_EACH).write(file)
    read = []
    for line in file.getvalue().splitlines():
        fields = json.loads(line)
        kind = getattr(facts, fields.pop("fact"))
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        read.append(kind(**values))
    assert read == ONE_OF_EACH


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
