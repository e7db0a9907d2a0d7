"""The house as data: which module may import which, and what every module says about itself."""

from __future__ import annotations

import ast
import importlib
import inspect
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import chatq

#: Which modules of chatq each module imports. An arrow that is not here has to be argued for.
IMPORTS: dict[str, set[str]] = {
    "__init__": {
        "exercises.check",
        "hub.nats_manager",
        "peers.connection",
        "peers.consumer",
        "peers.outbox",
        "queues.policy",
        "queues.queues",
        "queues.store",
        "stage.composer",
        "stage.explain",
        "stage.journal",
        "stage.nats_server",
        "stage.prediction",
        "stage.settle",
        "stage.stage",
    },
    "__main__": {"doctor", "exercises.progress", "hub.serve"},
    "doctor": set(),
    "exercises.blame": set(),
    "exercises.check": {
        "exercises.blame",
        "exercises.guard",
        "exercises.trial",
        "stage.settle",
        "stage.stage",
    },
    "exercises.errands": {"exercises.trial", "queues.policy", "queues.queues", "stage.client"},
    "exercises.guard": set(),
    "exercises.lesson_01": {"exercises.check", "exercises.trial"},
    "exercises.lesson_02": {"exercises.check", "exercises.trial", "stage.client"},
    "exercises.lesson_03": {"exercises.check", "exercises.trial", "stage.client"},
    "exercises.lesson_04": {"exercises.check", "exercises.trial", "stage.client"},
    "exercises.lesson_05": {"exercises.check", "exercises.trial"},
    "exercises.lesson_06": {"exercises.check", "exercises.trial", "stage.client"},
    "exercises.lesson_07": {
        "exercises.check",
        "exercises.errands",
        "exercises.trial",
        "queues.policy",
        "stage.client",
        "stage.stage",
    },
    "exercises.lesson_08": {
        "exercises.check",
        "exercises.errands",
        "exercises.trial",
        "queues.policy",
        "stage.client",
    },
    "exercises.lesson_09": {
        "exercises.check",
        "exercises.trial",
        "queues.queues",
        "queues.store",
        "stage.client",
        "stage.nats_server",
        "stage.settle",
        "stage.stage",
    },
    "exercises.progress": {"stage.table"},
    "exercises.trial": {
        "exercises.blame",
        "exercises.guard",
        "stage.client",
        "stage.deliveries",
        "stage.explain",
        "stage.journal",
        "stage.server_tap",
        "stage.stage",
    },
    "hub.caps": {
        "hub.caps_words",
        "hub.guard",
        "queues.message",
        "queues.policy",
        "queues.queues",
        "queues.store",
    },
    "hub.caps_words": set(),
    "hub.guard": set(),
    "hub.native": {
        "hub.guard",
        "queues.message",
        "queues.policy",
        "queues.queues",
        "queues.store",
    },
    "hub.nats_manager": {"queues.nats_address", "queues.nats_log", "queues.store", "turn"},
    "hub.serve": {"hub.caps", "hub.guard", "hub.native", "queues.queues", "queues.store"},
    "peers.answers": {"peers.connection"},
    "peers.connection": {"queues.frame", "turn"},
    "peers.consumer": {
        "peers.answers",
        "peers.connection",
        "peers.inbox",
        "queues.message",
        "queues.policy",
        "turn",
    },
    "peers.inbox": {"queues.store"},
    "peers.outbox": {
        "peers.connection",
        "queues.message",
        "queues.policy",
        "queues.sqlite_store",
        "queues.store",
        "turn",
    },
    "queues.answers": {"queues.dispatch", "queues.store"},
    "queues.dispatch": {
        "queues.facts",
        "queues.policy",
        "queues.pump",
        "queues.store",
        "queues.telling",
        "turn",
    },
    "queues.facts": set(),
    "queues.frame": {"queues.message", "queues.store"},
    "queues.leases": set(),
    "queues.memory_store": {"queues.leases", "queues.store"},
    "queues.message": {"queues.store"},
    "queues.nats_address": set(),
    "queues.nats_bodies": {"queues.nats_record", "queues.store"},
    "queues.nats_connection": {"queues.nats_address", "queues.store", "turn"},
    "queues.nats_log": {
        "queues.nats_address",
        "queues.nats_connection",
        "queues.nats_reader",
        "queues.store",
    },
    "queues.nats_queue": set(),
    "queues.nats_reader": {"queues.nats_connection", "queues.store"},
    "queues.nats_record": {"queues.store"},
    "queues.nats_snapshots": {"queues.nats_state", "queues.store"},
    "queues.nats_state": {"queues.nats_queue", "queues.nats_record", "queues.store"},
    "queues.nats_store": {
        "queues.nats_address",
        "queues.nats_bodies",
        "queues.nats_connection",
        "queues.nats_log",
        "queues.nats_queue",
        "queues.nats_record",
        "queues.nats_snapshots",
        "queues.nats_state",
        "queues.store",
    },
    "queues.policy": set(),
    "queues.pump": {"queues.frame", "queues.message", "queues.policy", "queues.store"},
    "queues.queues": {
        "queues.answers",
        "queues.dispatch",
        "queues.facts",
        "queues.memory_store",
        "queues.message",
        "queues.nats_store",
        "queues.policy",
        "queues.sqlite_store",
        "queues.store",
    },
    "queues.sqlite_rows": {"queues.leases", "queues.store"},
    "queues.sqlite_store": {"queues.sqlite_rows", "queues.store"},
    "queues.store": set(),
    "queues.telling": {"queues.facts", "queues.message", "queues.store"},
    "stage.board": {
        "stage.composer",
        "stage.driving",
        "stage.journal",
        "stage.process",
        "stage.roster",
        "stage.table",
    },
    "stage.client": {
        "stage.journal",
        "stage.links",
        "stage.server_tap",
        "stage.settle",
        "stage.wire",
        "turn",
    },
    "stage.composer": {"stage.journal"},
    "stage.deliveries": {"stage.explain", "stage.journal", "stage.table"},
    "stage.drawing": {"stage.explain", "stage.journal", "stage.rows", "stage.svg", "stage.table"},
    "stage.driving": set(),
    "stage.explain": {"stage.journal"},
    "stage.journal": set(),
    "stage.links": {"stage.journal", "stage.settle"},
    "stage.nats_server": {
        "queues.nats_address",
        "queues.nats_connection",
        "queues.store",
        "stage.process",
        "stage.settle",
        "turn",
    },
    "stage.panel": {
        "stage.board",
        "stage.composer",
        "stage.drawing",
        "stage.driving",
        "stage.journal",
        "stage.view",
    },
    "stage.prediction": set(),
    "stage.process": {"stage.settle"},
    "stage.queue_tap": {"queues.facts", "stage.journal", "stage.links"},
    "stage.relay": set(),
    "stage.roster": {"stage.journal", "stage.table"},
    "stage.rows": {"stage.deliveries", "stage.explain", "stage.journal", "stage.table"},
    "stage.server_tap": {"stage.journal", "stage.links", "stage.settle"},
    "stage.settle": set(),
    "stage.stage": {
        "queues.facts",
        "stage.client",
        "stage.composer",
        "stage.deliveries",
        "stage.drawing",
        "stage.driving",
        "stage.explain",
        "stage.journal",
        "stage.links",
        "stage.panel",
        "stage.process",
        "stage.queue_tap",
        "stage.relay",
        "stage.roster",
        "stage.server_tap",
        "stage.settle",
        "stage.table",
        "stage.view",
    },
    "stage.svg": {"stage.rows", "stage.table"},
    "stage.table": set(),
    "stage.view": {
        "stage.deliveries",
        "stage.drawing",
        "stage.explain",
        "stage.journal",
        "stage.roster",
        "stage.table",
    },
    "stage.wire": {"stage.table"},
    "turn": set(),
}
#: What is in no room, and every room may use.
HALL = {"turn"}
#: Which rooms each room may know at all.
ROOMS = {
    "exercises": {"queues", "stage"},
    "hub": {"queues"},
    "peers": {"queues"},
    "queues": set(),
    "stage": {"queues"},
}
#: Names that say nothing of what is inside.
EMPTY_NAMES = {"utils", "helpers", "manager", "types", "errors"}

FOLDER = Path(chatq.__file__).parent
SOURCES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path.read_text("utf-8")
    for path in FOLDER.rglob("*.py")
}
#: What says something of a room, and imports nothing.
DOORS = {f"{room}.__init__" for room in ROOMS}
PUBLIC = sorted(name for name in SOURCES if not name.rpartition(".")[2].startswith("_"))


def imported(source: str, room: str = "") -> set[str]:
    """Return the modules of chatq that a program in a room imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(level=0, module=str(module)) if module.split(".")[0] != "chatq":
                pass
            case ast.ImportFrom(level=level, module=module, names=names) if level in (1, 2):
                above = f"{room}." if level == 1 and room else ""
                found |= {
                    above + name for name in ([module] if module else [n.name for n in names])
                }
            case ast.Import(names=names) if all(n.name.split(".")[0] != "chatq" for n in names):
                pass
            case ast.Import() | ast.ImportFrom():
                raise ValueError(f"inside chatq, import as `from .x import y`: {ast.unparse(node)}")
    return found


def room_of(name: str) -> str:
    return name.rpartition(".")[0]


def test_the_arrows_are_those_of_the_map() -> None:
    found = {name: imported(source, room_of(name)) for name, source in SOURCES.items()}
    assert found == {**IMPORTS, **{door: set() for door in DOORS}}


def test_a_room_knows_only_the_rooms_it_may() -> None:
    for name, arrows in IMPORTS.items():
        if room := room_of(name):
            assert {room_of(arrow) for arrow in arrows - HALL} <= {room, *ROOMS[room]}, name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_owns(room: str) -> None:
    text = " ".join((importlib.import_module(f"chatq.{room}").__doc__ or "").split())
    assert "Owns " in text
    assert "Must not know" in text


def test_the_arrows_make_no_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert EMPTY_NAMES.isdisjoint(part for name in SOURCES for part in name.split("."))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_says_what_it_owns(name: str) -> None:
    module = importlib.import_module(f"chatq.{name}")
    text = " ".join((module.__doc__ or "").split())
    assert "Owns " in text
    assert "Must not know" in text
    assert sorted(module.__all__) == sorted(set(module.__all__))
    assert all(hasattr(module, public) for public in module.__all__)


@pytest.mark.parametrize("name", ["__init__", *PUBLIC])
def test_everything_public_is_explained(name: str) -> None:
    module = importlib.import_module("chatq" if name == "__init__" else f"chatq.{name}")
    assert undocumented(module) == []


def undocumented(module: object) -> list[str]:
    """Return the public functions, classes and methods without a docstring of their own."""
    found = []
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        if not thing.__doc__:
            found.append(name)
        members = vars(thing).items() if inspect.isclass(thing) else ()
        for member, value in members:
            what = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if not member.startswith("_") and inspect.isroutine(what) and not what.__doc__:
                found.append(f"{name}.{member}")
    return found


def test_the_map_is_read_from_programs_in_all_their_forms() -> None:
    program = "import os\nfrom . import a\nfrom .b import c\ndef f():\n    from .d import e"
    assert imported(program) == {"a", "b", "d"}
    program = "from . import a\nfrom .b import c\nfrom ..d.e import f"
    assert imported(program, "room") == {"room.a", "room.b", "d.e"}
    for hidden in ["import chatq.a", "from chatq import a", "from chatq.a import b"]:
        with pytest.raises(ValueError, match="inside chatq"):
            imported(hidden)
