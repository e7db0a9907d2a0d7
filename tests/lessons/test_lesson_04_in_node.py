"""Claims of lesson 04 that no fold of it shows, on python-socketio and on the real Node server.

`CLAIMS` is the table: what the claim is called, what comes of it in Python, and in Node. Every
claim is played twice: here on a stage, and by `js/claims_rooms.mjs`. Where the two differ, the
lesson must say so, and `says` is what it says.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any, NamedTuple

import nodejs
import pytest
import socketio
from places import NOTEBOOKS

from chatq import Reason, Stage
from chatq.doctor import at_least
from chatq.internals.client_tap import Client
from chatq.journal.facts import Connected

pytestmark = pytest.mark.skipif(
    not at_least(metadata.version("python-socketio"), "5.18"),
    reason="what lesson 04 says is so since python-socketio 5.18: "
    "python -m pip install -r requirements.txt",
)

LESSON = NOTEBOOKS / "04-rooms.ipynb"
NAMES = ("ada", "bob", "cy", "dan")


class Scene:
    """Four clients on a stage, and what each of them hears."""

    def __init__(self, stage: Stage, clients: list[Client]) -> None:
        self.stage, self.sio = stage, stage.sio
        self.clients = dict(zip(NAMES, clients, strict=True))
        self.ada, self.bob, self.cy, self.dan = clients
        self.heard: dict[str, list[str]] = {name: [] for name in NAMES}
        for name in NAMES:
            self.clients[name].on("said", self.heard[name].append)

    async def join(self, room: object, *names: str) -> None:
        for name in names:
            await self.sio.enter_room(self.clients[name].get_sid(), room)

    async def say(self, to: object, text: str = "x", **more: Any) -> list[str]:
        await self.sio.emit("said", text, to=to, **more)
        return await self.got(text)

    async def got(self, text: str = "x") -> list[str]:
        """Return who got `text`, and how often if it was more than once."""
        await self.stage.settle()
        times = {name: self.heard[name].count(text) for name in NAMES}
        return [f"{name} x{n}" if n > 1 else name for name, n in times.items() if n]

    def inside(self, room: object) -> list[str]:
        sids = {sid for sid, _ in self.sio.manager.get_participants("/", room)}
        return [name for name in NAMES if self.clients[name].get_sid() in sids]

    def rooms_of(self, sid: str) -> list[object]:
        return ["own" if room == sid else room for room in self.sio.rooms(sid)]


@pytest.fixture
async def scene(stage):
    return Scene(stage, await stage.clients(*NAMES))


# -- the claims ---------------------------------------------------------------------------------


async def words_of_the_client(s: Scene) -> Any:
    return [name for name in dir(s.ada) if re.search("room|^join$|^leave$", name)]


async def words_of_the_server(s: Scene) -> Any:
    return [name for name in dir(s.sio) if re.search("room|^join$|^leave$", name)]


async def join_without_a_handler(s: Scene) -> Any:
    await s.ada.emit("join", "r")
    await s.stage.settle()
    return s.rooms_of(s.ada.get_sid())


async def what_the_frame_says(s: Scene) -> Any:
    await s.join("secret room", "ada")
    await s.say("secret room")
    return [word in repr(s.stage.wire("ada")) for word in ("said", "secret")]


async def rooms_of_one(s: Scene) -> Any:
    await s.join("r", "ada")
    return [type(s.sio.rooms(s.ada.get_sid())).__name__, s.rooms_of(s.ada.get_sid())]


async def joining_at_once(s: Scene) -> Any:
    joining = s.sio.enter_room(s.ada.get_sid(), "r")
    outcome = [joining is None, "r" in s.rooms_of(s.ada.get_sid())]
    joining.close()
    return outcome


async def joining_a_list(s: Scene) -> Any:
    try:
        await s.join(["a", "b"], "ada")
    except TypeError:
        return "TypeError"
    return s.rooms_of(s.ada.get_sid())


async def joining_twice(s: Scene) -> Any:
    await s.join("r", "ada", "ada")
    return await s.say("r")


async def sender_not_left_out(s: Scene) -> Any:
    async def say(sid: str, room: str) -> None:
        await s.sio.emit("said", "x", to=room)

    s.sio.on("say", say)
    await s.join("r", "ada", "bob")
    await s.bob.emit("say", "r")
    return await s.got()


def emit_to(nowhere: object) -> Callable[[Scene], Awaitable[Any]]:
    async def play(s: Scene) -> Any:
        await s.join("r", "ada")
        return await s.say(nowhere)

    return play


async def the_room_of_another(s: Scene) -> Any:
    try:
        await s.join(s.bob.get_sid(), "dan")
    except ValueError:
        return "ValueError"
    return await s.say(s.bob.get_sid())


async def all_but_a_room(s: Scene) -> Any:
    words = [*dir(s.sio), *inspect.signature(s.sio.emit).parameters]
    return [word for word in words if "except" in word] or "none"


async def putting_everybody_out(s: Scene) -> Any:
    await s.join("r", "ada", "bob")
    await s.sio.close_room("r")
    return s.inside("r")


async def a_room_after_the_last_goodbye(s: Scene) -> Any:
    await s.join("r", "cy")
    await s.cy.disconnect()
    await s.stage.settle()
    return "r" in s.sio.manager.rooms["/"]


async def hearing_of_rooms(s: Scene) -> Any:
    return [name for name in ("on", "once", "event") if hasattr(s.sio.manager, name)] or "none"


async def rooms_during_a_goodbye(s: Scene) -> Any:
    seen: list[object] = []
    s.sio.on("disconnect", lambda sid, reason: seen.extend(["disconnect", s.rooms_of(sid)]))
    await s.join("r", "ada")
    await s.ada.disconnect()
    await s.stage.settle()
    return seen


async def coming_back(s: Scene) -> Any:
    await s.join("r", "ada")
    before = s.ada.get_sid()
    await s.ada.disconnect()
    await s.ada.connect()
    await s.stage.settle()
    outcome = [s.ada.get_sid() != before, s.rooms_of(s.ada.get_sid()), await s.say("r")]
    assert s.stage.reason("ada", "said") is Reason.LEFT_ROOM
    return outcome


async def breaking_and_mending(s: Scene) -> Any:
    s.ada = s.clients["ada"] = await s.stage.client("ada", reconnection=True)
    s.ada.on("said", s.heard["ada"].append)
    s.ada.reconnection_delay = s.ada.randomization_factor = 0
    await s.join("r", "ada")
    before = s.ada.get_sid()
    await s.stage.cut("ada")
    came = Connected("ada", "/")
    await s.stage.until(lambda: [*s.stage.journal].count(came) == 3, "Ada to connect again")
    await s.stage.settle()
    return [s.ada.get_sid() != before, s.rooms_of(s.ada.get_sid()), await s.say("r")]


async def two_namespaces(s: Scene) -> Any:
    s.sio.on("connect", lambda sid, environ: None, namespace="/other")
    other, times = await s.stage.client("eve", namespaces=["/other"]), []
    other.on("said", times.append, namespace="/other")
    await s.sio.enter_room(other.get_sid("/other"), "r", namespace="/other")
    await s.join("r", "ada")
    return [await s.say("r"), len(times)]


class Claim(NamedTuple):
    """One line of the table; `says`: the lesson's words where Python and Node differ."""

    name: str
    play: Callable[[Scene], Awaitable[Any]]
    python: Any
    node: Any
    says: str = ""


def same(name: str, play: Callable[[Scene], Awaitable[Any]], outcome: Any) -> Claim:
    return Claim(name, play, outcome, outcome)


EVERYONE = list(NAMES)
NOT_EVERYONE = '| emit to `None`, `""`, `0` | everyone | nobody (`null`, `""`, `0`) |'
CLAIMS = [
    same("a client has no word for rooms", words_of_the_client, []),
    Claim(
        "the server has words for rooms",
        words_of_the_server,
        ["close_room", "enter_room", "leave_room", "rooms"],
        ["join", "leave", "rooms"],
        '| leave | `await sio.leave_room(sid, "r")` | `socket.leave("r")` |',
    ),
    same(
        "a client that says join to a server without a handler is in no room",
        join_without_a_handler,
        ["own"],
    ),
    same(
        "what comes to a member does not say that it was for a room",
        what_the_frame_says,
        [True, False],
    ),
    Claim(
        "the server knows the rooms of one",
        rooms_of_one,
        ["list", ["own", "r"]],
        ["Set", ["own", "r"]],
        "| the rooms of one | `sio.rooms(sid)`, a list | `socket.rooms`, a Set |",
    ),
    Claim(
        "to join takes effect at once",
        joining_at_once,
        [False, False],
        [True, True],
        'without the `await` nobody joins | `socket.join("r")`, at once',
    ),
    Claim(
        "one call joins a list of rooms",
        joining_a_list,
        "TypeError",
        ["own", "a", "b"],
        "it also takes a list of rooms",
    ),
    same("joining twice is joining once", joining_twice, ["ada"]),
    same("a member speaks and is not left out", sender_not_left_out, ["ada", "bob"]),
    same("an emit to an empty list", emit_to([]), EVERYONE),
    Claim("an emit to null", emit_to(None), EVERYONE, [], NOT_EVERYONE),
    Claim("an emit to the empty text", emit_to(""), EVERYONE, [], NOT_EVERYONE),
    Claim("an emit to the number 0", emit_to(0), EVERYONE, [], NOT_EVERYONE),
    Claim(
        "the room of somebody else's sid",
        the_room_of_another,
        "ValueError",
        ["bob", "dan"],
        "| the room of somebody else's sid | `ValueError` | may be joined: ask first |",
    ),
    Claim(
        "all but a room",
        all_but_a_room,
        "none",
        ["ada", "cy", "dan"],
        '| all but a room | none, see lesson 03 | `io.except("r").emit(e, d)` |',
    ),
    same("everybody is put out", putting_everybody_out, []),
    same("a room is gone with the last connection", a_room_after_the_last_goodbye, False),
    Claim(
        "rooms that come and go can be heard of",
        hearing_of_rooms,
        "none",
        ["create-room", "join-room", "leave-room", "delete-room"],
        '| to hear of rooms that come and go | none | `io.of("/").adapter.on("create-room", …)`',
    ),
    Claim(
        "the rooms that the handlers of a goodbye see",
        rooms_during_a_goodbye,
        ["disconnect", ["own", "r"]],
        ["disconnecting", ["own", "r"], "disconnect", []],
        "still there in `disconnecting`; in `disconnect`, already none",
    ),
    same("who comes back is in no room, and has a new sid", coming_back, [True, ["own"], []]),
    same(
        "a line that breaks and mends has lost its rooms",
        breaking_and_mending,
        [True, ["own"], []],
    ),
    same("rooms of one name in two namespaces are two", two_namespaces, [["ada"], 0]),
]
each = pytest.mark.parametrize("claim", CLAIMS, ids=[claim.name for claim in CLAIMS])


@each
async def test_python(scene, claim):
    assert await claim.play(scene) == claim.python


@pytest.fixture(scope="module")
def in_node():
    return nodejs.run("claims_rooms.mjs")


@pytest.mark.needs("node")
@each
def test_node(in_node, claim):
    assert in_node[claim.name] == claim.node


@pytest.mark.needs("node")
def test_node_plays_the_claims_of_the_table_and_no_others(in_node):
    assert [*in_node] == [claim.name for claim in CLAIMS]


def test_where_they_differ_the_lesson_says_so():
    cells = json.loads(LESSON.read_text("utf-8"))["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    for claim in CLAIMS:
        assert (claim.python != claim.node) == bool(claim.says), claim.name
        assert claim.says in prose, claim.name


# -- the lesson's own server --------------------------------------------------------------------


@pytest.fixture
async def lesson():
    """The names of lesson 04 as they are before its last cell: the stage is still open."""
    names: dict[str, Any] = {}
    for cell in json.loads(LESSON.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if "stage.close()" in source:
            break
        if cell["cell_type"] == "code":
            program = compile(source, LESSON.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if asyncio.iscoroutine(running := eval(program, names)):
                await running
    yield names
    await names["stage"].close()


@pytest.mark.needs("node")
async def test_guests_from_node_are_at_home_in_the_rooms_of_the_lesson(lesson):
    stage, sio = lesson["stage"], lesson["sio"]
    before = {room: set(sids) for room, sids in sio.manager.rooms["/"].items()}
    outcomes = await asyncio.to_thread(nodejs.run, "guest_rooms.mjs", stage.url)
    assert outcomes == {
        "hostile": ["not without an invitation", "you are not in it"],
        "still there": "you are not in it",
        "without invitation": "not without an invitation",
        "a stranger speaks": "you are not in it",
        "nora": "welcome",
        "omar": "welcome",
        "nora speaks": "said",
        "omar leaves": "goodbye",
        "nora speaks again": "said",
        "heard": {"nora": [], "omar": ["from nora"]},
    }
    for guest in ("nora", "omar"):
        await stage.until(lambda guest=guest: not stage.connected(guest), f"{guest} to be gone")
    await stage.settle()
    said = {m.emitted.data: m for m in stage.deliveries("said").messages}
    assert "'from a stranger'" not in said
    assert said["'from nora'"].got_by == {"ada", "bob"}
    assert said["'from nora'"].explanations["omar"].reason is Reason.SENT
    assert said["'without omar'"].explanations["omar"].reason is Reason.LEFT_ROOM
    assert said["'somebody has left'"].got_by == {"ada", "bob"}  # nora, who just hung up
    assert {room: set(sids) for room, sids in sio.manager.rooms["/"].items()} == before


async def test_the_goodbye_handler_runs_on_the_word_of_a_client_who_stays(lesson, capsys):
    stage, dan = lesson["stage"], lesson["dan"]
    sid = dan.get_sid()
    capsys.readouterr()
    await dan.call("disconnect", "I only say so")
    assert capsys.readouterr().out == "somebody leaves '17'\n"
    assert stage.sio.manager.is_connected(sid, "/")
    assert lesson["who_is_in"]("17") == ["dan"]


async def test_why_the_lessons_leave_asks(scene):
    """The room None is the library's list of everybody; who is off it is nowhere, for good."""
    sid = scene.ada.get_sid()
    await scene.sio.leave_room(sid, None)
    assert not scene.sio.manager.is_connected(sid, "/")
    assert sid in scene.sio.manager.rooms["/"]


def test_python_socketio_still_is_what_the_table_is_about():
    assert inspect.iscoroutinefunction(socketio.AsyncServer.enter_room)
    assert not inspect.iscoroutinefunction(socketio.AsyncServer.rooms)
