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
        "connection",
        "consumer",
        "explain",
        "journal",
        "outbox",
        "policy",
        "queues",
        "settle",
        "stage",
        "store",
    },
    "answers": {"connection"},
    "__main__": {"doctor", "hub"},
    "caps": {"caps_words", "guard", "message", "policy", "queues", "store"},
    "caps_words": set(),
    "client": {"journal", "links", "server_tap", "settle", "wire"},
    "doctor": set(),
    "connection": {"frame"},
    "consumer": {"answers", "connection", "inbox", "policy"},
    "deliveries": {"explain", "journal", "table"},
    "drawing": {"deliveries", "explain", "journal", "table"},
    "explain": {"journal"},
    "frame": {"message", "store"},
    "guard": set(),
    "hub": {"caps", "guard", "native", "queues", "store"},
    "inbox": {"store"},
    "journal": set(),
    "leases": set(),
    "links": {"journal", "settle"},
    "memory_store": {"leases", "store"},
    "message": {"store"},
    "native": {"guard", "message", "policy", "queues", "store"},
    "policy": set(),
    "outbox": {"connection", "message", "policy", "sqlite_store", "store"},
    "process": {"settle"},
    "pump": {"frame", "message", "policy", "store"},
    "queue_facts": set(),
    "queue_tap": {"journal", "links", "queue_facts"},
    "queues": {"memory_store", "message", "policy", "pump", "queue_facts", "sqlite_store", "store"},
    "relay": set(),
    "server_tap": {"journal", "links"},
    "settle": set(),
    "sqlite_rows": {"leases", "store"},
    "sqlite_store": {"sqlite_rows", "store"},
    "stage": {
        "client",
        "deliveries",
        "drawing",
        "explain",
        "journal",
        "links",
        "process",
        "queue_facts",
        "queue_tap",
        "relay",
        "server_tap",
        "settle",
        "table",
    },
    "store": set(),
    "table": set(),
    "wire": {"table"},
}
#: Names that say nothing of what is inside.
EMPTY_NAMES = {"utils", "helpers", "manager", "types", "errors"}

FOLDER = Path(chatq.__file__).parent
SOURCES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path.read_text("utf-8")
    for path in FOLDER.rglob("*.py")
}
PUBLIC = sorted(name for name in SOURCES if not name.startswith("_"))


def imported(source: str) -> set[str]:
    """Return the modules of chatq that a program imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(level=0, module=str(module)) if module.split(".")[0] != "chatq":
                pass
            case ast.ImportFrom(level=1, module=None, names=names):
                found |= {name.name for name in names}
            case ast.ImportFrom(level=1, module=str(module)):
                found.add(module)
            case ast.Import(names=names) if all(n.name.split(".")[0] != "chatq" for n in names):
                pass
            case ast.Import() | ast.ImportFrom():
                raise ValueError(f"inside chatq, import as `from .x import y`: {ast.unparse(node)}")
    return found


def test_the_arrows_are_those_of_the_map() -> None:
    assert {name: imported(source) for name, source in SOURCES.items()} == IMPORTS


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
    for hidden in ["import chatq.a", "from chatq import a", "from chatq.a import b"]:
        with pytest.raises(ValueError, match="inside chatq"):
            imported(hidden)
