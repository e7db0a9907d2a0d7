"""The fixture `stage` in real runs of pytest: whoever runs the tests, stages open and close."""

import subprocess
import sys

import pytest
from pytest_runs import ANYIO, AUTO, STRICT
from sizes import first

from chatq import Stages

GOOD = """
async def test_it(stage):
    await talk(stage)
    assert stage.deliveries().who_got("news") == {"bob"}

async def test_again_on_the_same_server(stage):
    await talk(stage)
    assert stage.deliveries().who_got("news") == {"bob"}
"""


@pytest.mark.parametrize(
    ("mark", "options"),
    first(
        3,
        [
            ("", AUTO),
            ("asyncio", STRICT),
            ("anyio", ANYIO),
            ("anyio", (*STRICT, *ANYIO)),
            ('asyncio(loop_scope="module")', STRICT),
            ('asyncio(loop_scope="session")', STRICT),
        ],
    ),
)
def test_whoever_runs_the_tests(run, mark, options):
    ran = run((f"pytestmark = pytest.mark.{mark}\n" if mark else "") + GOOD, *options)
    assert [*ran.outcomes.values()] == ["passed", "passed"], ran.text
    assert not [*ran.folder.rglob("journal*")]


@pytest.mark.long
def test_a_test_in_a_class_with_parameters_and_several_processes(run):
    program = """
class TestRooms:
    @pytest.mark.parametrize("times", [1, 2, 3, 4])
    async def test_it(self, stage, times):
        await talk(stage)
        for _ in range(times - 1):
            await stage["ada"].emit("say", "again")
        await stage.settle()
        assert stage.deliveries().got_in_order("bob", *["news"] * min(times, 3))
"""
    ran = run(program, "-p", "xdist", "-n", "4", *AUTO)
    assert [ran.outcomes[f"TestRooms::test_it[{n}]"] for n in (1, 2, 3, 4)] == [
        "passed", "passed", "passed", "failed"
    ], ran.text  # fmt: skip
    said = ran.of("TestRooms.test_it[4]")
    assert "- chatq -" in said
    [journal] = ran.folder.rglob("journal.jsonl")
    assert f"journal: {journal}\n" in said


def test_what_nobody_has_seen_fails_a_test_that_has_passed(run):
    program = """
async def test_it(stage):
    ada = await stage(sio).client("ada")
    await ada.emit("trip")
"""
    ran = run(program)
    assert ran.outcomes == {"test_it": "failed"}, ran.text
    assert "HandlerRaised: server's handler of 'trip' raised ValueError: over its own feet" in (
        said := ran.of("test_it")
    )
    assert 'raise ValueError("over its own feet")' in said  # the cause
    assert "journal: " in said


@pytest.mark.parametrize(
    "options", [AUTO, (*ANYIO, "-o", "anyio_mode=auto")], ids=["asyncio", "anyio"]
)
def test_how_a_test_fails_is_told_first(run, options):
    program = """
async def test_it(stage):
    ada = await stage(sio).client("ada")
    await ada.emit("trip")
    assert "the moon" == "cheese"

async def test_skips(stage):
    await (await stage(sio).client("ada")).emit("trip")
    pytest.skip("no wish to")

@pytest.mark.xfail(strict=True, raises=KeyError)
async def test_is_known_to_fail(stage):
    await (await stage(sio).client("ada")).emit("trip")
    raise KeyError

async def test_runs_out_of_time(stage):
    ada = await stage(sio).client("ada")
    await ada.emit("trip")
    async with asyncio.timeout(0.05):
        await asyncio.Event().wait()

async def test_is_cancelled(stage):
    ada = await stage(sio).client("ada")
    asyncio.current_task().cancel()
    await asyncio.Event().wait()
"""
    ran = run(program, *options)
    assert ran.outcomes == {
        "test_it": "failed",
        "test_is_known_to_fail": "xfail",
        "test_runs_out_of_time": "failed",
        "test_is_cancelled": "failed",
    }, ran.text
    assert "1 skipped" in ran.text
    assert "AssertionError: assert 'the moon' == 'cheese'" in (said := ran.of("test_it"))
    assert "closing it raised HandlerRaised: server's handler of 'trip' raised ValueError" in said
    assert "TimeoutError" in ran.of("test_runs_out_of_time")
    assert len([*ran.folder.rglob("journal.jsonl")]) == 3


def test_a_fixture_may_open_the_stage(run):
    program = """
import pytest_asyncio

@pytest_asyncio.fixture
async def room(stage):
    room = await stage(sio)
    await room.clients("ada", "bob")
    yield room
    assert room.closed

@pytest_asyncio.fixture
async def broken(room):
    raise LookupError("no key")

@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere(stage):
    yield await stage(sio)
    torn_down.append(1)

torn_down = []

async def test_it(room):
    await room["ada"].emit("say", "hello")
    await room.settle()
    assert room.deliveries().who_got("news") == set()

async def test_never_runs(room, broken): ...

def test_is_no_coroutine(room):
    assert not room.closed
    assert room.roster()

async def test_on_another_loop(elsewhere):
    assert not elsewhere.closed

async def test_trips_on_another_loop(elsewhere, stage):
    elsewhere._recorder.failures.append(("trip", "somebody tripped", ValueError()))

def test_all_was_torn_down():
    assert len(torn_down) == 2
"""
    ran = run(program)
    assert ran.outcomes == {
        "test_it": "passed",
        "test_never_runs": "error",
        "test_is_no_coroutine": "passed",
        "test_on_another_loop": "passed",
        "test_trips_on_another_loop": "error",
        "test_all_was_torn_down": "passed",
    }, ran.text
    assert "LookupError: no key" in (said := ran.of("test_never_runs"))
    assert "journal: " in said
    assert "HandlerRaised: somebody tripped" in ran.of("test_trips_on_another_loop")


def test_the_fixtures_of_anyio_may_open_it_too(run):
    program = """
pytestmark = pytest.mark.anyio

@pytest.fixture
async def room(stage):
    room = await stage(sio)
    await room.clients("ada", "bob")
    return room

@pytest.fixture
async def broken(room):
    raise LookupError("no key")

async def test_it(room):
    await room["ada"].emit("say", "hello")
    await room.settle()
    assert room.deliveries().who_got("news") == set()

async def test_never_runs(room, broken): ...
"""
    ran = run(program, *ANYIO)
    assert ran.outcomes == {"test_it": "passed", "test_never_runs": "error"}, ran.text
    assert "LookupError: no key" in ran.of("test_never_runs")


@pytest.mark.parametrize(
    "options", first(1, [(AUTO,), ((*ANYIO, "-o", "anyio_mode=auto"),)]), ids=["asyncio", "anyio"]
)
def test_each_example_of_hypothesis_has_its_own_stages(run, options):
    program = """
from hypothesis import HealthCheck, given, settings, strategies

opened = []
quick = settings(
    max_examples=5, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

@pytest.fixture
async def room(stage):
    room = await stage(socketio.AsyncServer(async_mode="aiohttp"))
    await room.client("ada")
    return room

@quick
@given(times=strategies.integers(0, 3))
@pytest.mark.parametrize("most", [3, 1])
async def test_it(room, stage, times, most):
    assert all(each.closed for each in opened)
    assert not room.closed
    opened.append(own := await stage(sio))
    ada, bob = await own.clients("ada", "bob")
    bob.on("news", lambda text: None)
    for _ in range(times):
        await ada.emit("say", "hello")
    await own.settle()
    if times:
        assert own.deliveries().got_in_order("bob", *["news"] * min(times, most))
"""
    ran = run(program, "-p", "hypothesispytest", *options)
    assert sorted(ran.outcomes.values()) == ["failed", "passed"], ran.text
    assert "bob got 'news' then 'news', and not 'news'" in ran.text
    # Of the stage of the fixture, and of the example that is shown.
    assert {path.name for path in ran.folder.rglob("*.jsonl")} == {
        "journal.jsonl",
        "journal2.jsonl",
    }


def test_two_stages_in_one_test(run):
    program = """
def server():
    return socketio.AsyncServer(async_mode="aiohttp")

async def test_it(stage):
    first, second = await stage(server()), await stage(server())
    await first.client("ada")
    await second.clients("ada", "bob")
    assert "bob" in repr(second) and "bob" not in repr(first)
    with pytest.raises(AttributeError, match="has opened 2 stages, so say which"):
        stage.deliveries()
    with pytest.raises(LookupError, match="has opened 2 stages, so say which"):
        stage["ada"]
    await first.close()
    assert stage.roster().seats == second.roster().seats  # there is but one left

async def test_fails(stage):
    first, second = await stage(server()), await stage(server())
    raise ValueError
"""
    ran = run(program)
    assert ran.outcomes == {"test_it": "passed", "test_fails": "failed"}, ran.text
    assert {path.name for path in ran.folder.rglob("*.jsonl")} == {
        "journal.jsonl",
        "journal2.jsonl",
    }


def test_what_is_asked_wrongly_is_said(run):
    program = """
def test_no_coroutine(stage):
    stage(sio)

async def test_too_early(stage):
    stage.deliveries()

async def test_no_server(stage):
    await stage("sio")
"""
    ran = run(program)
    assert {*ran.outcomes.values()} == {"failed"}
    assert "RuntimeError: a stage needs asyncio: let the test be `async def`" in ran.of(
        "test_no_coroutine"
    )
    assert "this test has opened no stage: ada, bob = await stage(sio)" in ran.of("test_too_early")
    assert "TypeError: a stage needs a socketio.AsyncServer, not str" in ran.of("test_no_server")
    for test in ran.outcomes:
        assert "_the_one" not in ran.of(test)  # it ends where the reader wrote it


def test_a_coroutine_that_trio_runs_is_told_what_a_stage_needs(tmp_path):
    """Trio itself is not needed to see that asyncio does not run."""

    async def test(stage):
        await stage("sio")

    stages = Stages(lambda: tmp_path)
    with pytest.raises(RuntimeError, match=r"a stage needs asyncio: .* not \"trio\"") as raised:
        stages.around(test)(stages).send(None)
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def test_a_stage_of_ones_own_comes_first(run):
    program = """
@pytest.fixture
def stage():
    return "a stage of wood"

async def test_it(stage):
    assert stage == "a stage of wood"
"""
    assert run(program).outcomes == {"test_it": "passed"}


def test_a_run_without_a_stage_pays_for_nothing():
    program = (
        "import sys, pytest, chatq.pytest_plugin;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'aiohttp', 'asyncio',"
        " 'socketio'}), *sorted(name for name in sys.modules if name.startswith('chatq')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert told == "chatq chatq.pytest_plugin\n"


@pytest.mark.long
def test_without_the_plug_in_there_is_no_fixture(run):
    ran = run(GOOD, "-p", "no:chatq", *AUTO, PYTEST_DISABLE_PLUGIN_AUTOLOAD="")
    assert "fixture 'stage' not found" in ran.text
    assert {*ran.outcomes.values()} == {"error"}


def test_to_ask_again_for_a_server_that_is_on_a_stage_is_to_ask_for_that_stage(run):
    program = """
async def test_it(stage):
    ada = await stage(sio).client("ada")
    bob = await stage(sio).client("bob")
    bob.on("news", print)
    await ada.emit("say", "hello")
    await stage.settle()
    assert stage.deliveries().who_got("news") == {"bob"}
    assert await stage(sio) is await stage(sio)
    await (await stage(sio)).close()
    await stage(sio).client("ada")
    assert ada.connected is False
"""
    ran = run(program)
    assert ran.outcomes == {"test_it": "passed"}, ran.text
