"""What a failed test says: for each name why, the last rows of the table, and the files it left."""

import re

import pytest
from pytest_runs import AUTO, run_pytest

from chatq import Journal
from chatq.journal.facts import Emitted

#: One message of four outcomes.
NEWS = """
async def news(stage):
    ada, bob, cy, dee = await stage(sio).clients("ada", "bob", "cy", "dee")
    for client in (ada, bob, cy):
        client.on("news", lambda text: None)
    for client in (bob, cy, dee):
        await sio.enter_room(client.get_sid(), "friends")
    await sio.leave_room(cy.get_sid(), "friends")
    await sio.emit("news", "soup", to="friends")
    await stage.settle()
    return stage.deliveries()
"""
SAID = """
E       AssertionError: assert {'bob'} == {'ada', 'cy', 'dee', 'eve'}
E        \x20
E         message 1: news 'soup', server → room 'friends'
E           too many: bob got 'news'.
E           too few: ada did not get 'news': it was not in room 'friends'.
E           too few: cy did not get 'news': it had left room 'friends' before.
E           too few: 'news' arrived at dee, but no handler listens to that name.
E           too few: no client is called 'eve'; there are ['ada', 'bob', 'cy', 'dee']
"""


def test_who_got_it_and_who_should_have(run):
    program = """
async def test_it(stage):
    assert (await news(stage)).who_got("news") == {"ada", "cy", "dee", "eve"}
"""
    ran = run(NEWS + program)
    said = ran.of("test_it")
    assert SAID in said
    table, _, files = said.partition("- chatq -")[2].partition("\n\n")
    assert "1    news 'soup'  server → room 'friends'" in table
    assert "✗ not in room  ✓    ✗ left room  ○" in table
    [journal] = ran.folder.rglob("journal.jsonl")
    assert f"journal: {journal}\n" in files
    with journal.open(encoding="utf-8") as file:
        facts = [*Journal.read(file)]
    assert [fact.event for fact in facts if isinstance(fact, Emitted)] == ["news"]
    assert {type(fact).__name__ for fact in facts} == {
        "Connected", "Joined", "Left", "Emitted", "Received"
    }, "closing is not in it"  # fmt: skip


#: What is asked of `got`, the deliveries of `news`, and words of what is said since it fails.
CASES = {
    'got.who_got("news") == {"bob", "ada"}': ["too few: ada did not get"],
    '{"bob", "ada"} == got.who_got("news")': ["too few: ada did not get"],
    'got.who_got("news") == set()': ["assert {'bob'} == set()", "too many: bob got 'news'."],
    'got.who_got("news") != {"bob"}': ["too many: bob got 'news'."],
    'got.who_got("news") <= {"ada"}': ["assert {'bob'} <= {'ada'}", "too many: bob got 'news'."],
    '{"ada"} >= got.who_got("news")': ["assert {'ada'} >= {'bob'}", "too many: bob got 'news'."],
    'got.who_got("news") >= {"bob", "cy"}': ["too few: cy did not get 'news': it had left"],
    'got.who_got("news") == ["bob"]': ["equals no list: compare it with {'bob'}"],
    '"ada" in got.who_got("news")': ["assert 'ada' in {'bob'}", "too few: ada did not get"],
    '"bob" not in got.who_got("news")': ["assert 'bob' not in {'bob'}", "too many: bob got"],
    'not got.who_got("news")': ["assert not {'bob'}", "+  where {'bob'} = who_got('news')"],
    'got.who_got("news") == got.who_got("other")': [
        "message 2: other 'tea', server → everyone",
        "other' arrived at bob, but no handler listens",
    ],
    'got.got_in_order("bob", "news", "news")': ["bob got 'news', and not 'news' then 'news'"],
    'got.got_in_order("cy", "news")': [
        "cy got none of them, and not 'news'. cy did not get 'news'"
    ],
    'got.got_once("ada", "news")': ["ada did not get 'news': it was not in room"],
    'got.nobody_got("news")': ["bob got 'news'. 'news' arrived at dee, but no handler listens"],
    'got.who_got("nwes") == set()': ["no message 'nwes' in this table; there are: 'news', 'other'"],
    'got.nobody_got("nwes")': ["no message 'nwes'", "assert 'nwes' not in stage.deliveries()"],
    'got.got_once("eve", "news")': ["no client is called 'eve'; there are ['ada', 'bob', 'cy'"],
    '"news" not in got': [
        "assert 'news' not in deliveries",
        "message 1: news 'soup', server → room",
    ],
    '"nwes" in got': ["assert 'nwes' in deliveries", "there are: 'news', 'other'"],
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    tests = [
        f"async def test_{number}(stage):\n"
        "    await news(stage)\n"
        '    await sio.emit("other", "tea")\n'
        "    await stage.settle()\n"
        "    got = stage.deliveries()\n"
        f"    assert {condition}\n"
        for number, condition in enumerate(CASES)
    ]
    return run_pytest(tmp_path_factory.mktemp("answers"), NEWS + "\n".join(tests), *AUTO)


@pytest.mark.parametrize("condition", CASES)
def test_each_question_says_why_it_does_not_hold(answers, condition):
    number = [*CASES].index(condition)
    assert answers.outcomes[f"test_{number}"] == "failed"
    said = answers.of(f"test_{number}").partition("- chatq -")[0]
    for words in CASES[condition]:
        assert words in said
    assert "no.  message" not in said, "the table is below"
    assert "chatq/" not in said, "it ends where the question is"


@pytest.mark.long
def test_there_is_as_much_of_the_table_as_one_reads(run):
    program = """
async def test_it(stage):
    await stage(sio).clients(*(f"user{n}" for n in range(40)))
    for n in range(30):
        await sio.emit("news", n)
    await stage.settle()
    assert stage.deliveries().who_got("news") == {"user7"}

async def test_on_the_way(stage):
    await news(stage)
    await sio.emit("news", "tea")
    assert stage.deliveries().who_got("news") == {"bob"}
"""
    ran = run(NEWS + program)
    head, *rows = ran.of("test_it").partition("- chatq -")[2].splitlines()[1:]
    assert head == "the last 10 of 30 messages:"
    assert [row.split()[0] for row in rows[2:12]] == [str(n) for n in range(21, 31)]
    assert max(map(len, rows[:12])) == 240
    # As it was then: the last message arrived while it was closed.
    waits = "'news' is still on its way to ada, bob, cy, dee: await stage.settle() first"
    assert waits in ran.of("test_on_the_way")
    assert re.search(
        r"(?m)^2 +news 'tea' +server → everyone +↗( +…){4}$", ran.of("test_on_the_way")
    )


def test_without_a_message_it_says_who_came(run):
    program = """
@sio.event
def connect(sid, environ, auth):
    if not auth:
        raise socketio.exceptions.ConnectionRefusedError("no token")

async def test_it(stage):
    await stage(sio).client("ada", auth={"token": 1})
    await stage.client("eve")
"""
    said = run(program).of("test_it")
    assert "ConnectionError" in said
    assert "eve is refused: no token" in said.partition("- chatq -")[2]


def test_the_files_lie_in_the_folder_that_the_test_has_asked_for(run):
    program = """
async def test_it(stage, tmp_path):
    await stage(sio)
    assert not tmp_path
"""
    ran = run(program)
    [journal] = ran.folder.rglob("journal.jsonl")
    assert f"not PosixPath('{journal.parent}')" in ran.of("test_it").replace(
        "WindowsPath", "PosixPath"
    )


def test_each_failure_of_a_test_is_told_as_it_was(run):
    program = """
@pytest.fixture
def untidy(stage):
    yield
    raise LookupError("where is the mop?")

async def test_it(untidy, stage):
    await stage(sio).client("ada")
    await sio.emit("news")
    assert "the moon" == "cheese"
"""
    ran = run(program)
    assert ran.text.count("- chatq -") == 2  # the test, and its teardown
    assert len(re.findall(r"(?m)^1 +news +server → everyone +↗ +…$", ran.text)) == 2
    assert len([*ran.folder.rglob("journal.jsonl")]) == 1


def test_what_cannot_be_written_hides_nothing(run):
    program = """
async def test_it(stage, tmp_path):
    await stage(sio)
    (tmp_path / "journal.jsonl").mkdir()
    assert "the moon" == "cheese"
"""
    said = run(program).of("test_it")
    assert "assert 'the moon' == 'cheese'" in said
    assert "there is no journal: " in said


def test_there_is_a_replay_beside_the_journal(run):
    program = """
async def test_it(stage):
    ada = await stage(sio).client("ada")
    await sio.emit("news")
    await stage.settle()
    assert stage.deliveries().who_got("news") == {"ada"}
"""
    ran = run(program)
    [path] = ran.folder.rglob("replay.html")
    assert f"replay:  {path}\n" in ran.of("test_it")
    assert "but no handler listens to that name" in path.read_text("utf-8")


def test_who_got_it_is_seen_of_everybody_though_much_was_said(run):
    program = """
@sio.event
async def long(sid, text):
    return {"answer": text}

async def test_it(stage):
    ada, *_ = await stage(sio).clients(*(f"user{n}" for n in range(8)))
    await ada.call("long", "word " * 30)
    await sio.emit("news", {"text": "word " * 30}, skip_sid=ada.get_sid())
    await stage.settle()
    assert stage.deliveries().reached("news") == {"user0"}
"""
    said = run(program).of("test_it")
    (row,) = [line for line in said.splitlines() if line.startswith("2  ")]
    assert re.search(r"… +server → everyone but user0 +↗ +✗ skipped( +○){7}$", row)
    assert "too many: 'news' arrived at user1, but no handler listens to that name." in said
