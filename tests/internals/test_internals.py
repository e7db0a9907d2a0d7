"""Every touch on the inside of other libraries is in one room, and its attribute is still there.

A new version of a library that lacks something of it fails here first, by name.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import socketio
from engineio.async_drivers.aiohttp import WebSocket
from engineio.async_socket import AsyncSocket
from engineio.payload import Payload
from socketio.packet import Packet

import chatq

FOLDER = Path(chatq.__file__).parent
PYTHON = "Python"


def server() -> Any:
    return socketio.AsyncServer(async_mode="aiohttp")


def socket() -> Any:
    return AsyncSocket(server().eio, "sid")


def nats_client() -> Any:
    return pytest.importorskip("nats.aio.client", reason="pip install nats-py").Client()


def nats_manager() -> Any:
    return importlib.import_module("socketio.async_pubsub_manager").AsyncPubSubManager


#: What is touched: whose it is (package and a way to one), and its names. An attribute that is set
#: by chatq alone, or may be missing, is not among them.
TOUCHED = {
    "the Socket.IO server": (
        "python-socketio",
        server,
        {
            "_binary_packet",
            "_get_event_handler",
            "_get_namespace_handler",
            "_handle_ack",
            "_handle_connect",
            "_handle_disconnect",
            "_handle_eio_connect",
            "_handle_eio_disconnect",
            "_handle_eio_message",
            "_handle_event",
            "_handle_event_internal",
            "_send_packet",
            "_trigger_event",
            "always_connect",
            "async_handlers",
            "disconnect",
            "eio",
            "handlers",
            "logger",
            "manager",
            "namespace_handlers",
            "packet_class",
            "reason",
        },
    ),
    "the manager of its clients": (
        "python-socketio",
        lambda: server().manager,
        {
            "_generate_ack_id",
            "basic_enter_room",
            "basic_leave_room",
            "callbacks",
            "connect",
            "eio_sid_from_sid",
            "emit",
            "get_participants",
            "is_connected",
            "rooms",
            "sid_from_eio_sid",
            "trigger_callback",
        },
    ),
    "a manager that shares emits": (
        "python-socketio",
        nats_manager,
        {"_handle_emit", "_listen", "_publish"},
    ),
    "the Socket.IO client": (
        "python-socketio",
        socketio.AsyncClient,
        {
            "_binary_packet",
            "_engineio_client_class",
            "_get_event_handler",
            "_get_namespace_handler",
            "_get_real_value",
            "_handle_ack",
            "_handle_connect",
            "_handle_disconnect",
            "_handle_eio_connect",
            "_handle_eio_disconnect",
            "_handle_eio_message",
            "_handle_error",
            "_handle_event",
            "_reconnect_task",
            "_send_packet",
            "_trigger_event",
            "connection_namespaces",
            "eio",
            "handlers",
            "namespaces",
            "reason",
        },
    ),
    "a Socket.IO packet": (
        "python-socketio",
        Packet,
        {
            "add_attachment",
            "attachments",
            "data",
            "decode",
            "encode",
            "json",
            "namespace",
            "packet_type",
        },
    ),
    "the Engine.IO server": (
        "python-engineio",
        lambda: server().eio,
        {
            "_async",
            "create_queue",
            "generate_id",
            "handle_request",
            "handlers",
            "logger",
            "on",
            "reason",
            "send",
            "send_packet",
            "service_task_event",
            "sockets",
            "start_background_task",
            "start_service_task",
        },
    ),
    "a connection of the Engine.IO server": (
        "python-engineio",
        socket,
        {
            "_upgrade_websocket",
            "close",
            "closed",
            "closing",
            "last_ping",
            "poll",
            "queue",
            "send",
            "server",
            "upgraded",
            "upgrading",
        },
    ),
    "a websocket of the Engine.IO server": (
        "python-engineio",
        lambda: WebSocket(lambda _: None, server().eio),
        {"_sock", "handler", "wait"},
    ),
    "the Engine.IO payload": ("python-engineio", lambda: Payload, {"max_decode_packets"}),
    "the Engine.IO client": (
        "python-engineio",
        lambda: socketio.AsyncClient().eio,
        {
            "_receive_packet",
            "_send_packet",
            "_send_request",
            "connect",
            "create_queue",
            "current_transport",
            "disconnect",
            "http",
            "queue",
            "read_loop_task",
            "send",
            "state",
            "write_loop_task",
            "ws",
        },
    ),
    "a websocket of the aiohttp client": (
        "aiohttp",
        lambda: importlib.import_module("aiohttp").ClientWebSocketResponse,
        {"get_extra_info", "receive", "send_bytes", "send_str"},
    ),
    "what Hypothesis draws": (
        "hypothesis",
        lambda: importlib.import_module("hypothesis.internal.conjecture.providers"),
        {"_get_local_constants", "_local_constants"},
    ),
    "the NATS client": ("nats-py", nats_client, {"_server_info"}),
    "a task": (PYTHON, lambda: asyncio.Task, {"_fut_waiter"}),
    "a transport of sockets": (
        PYTHON,
        lambda: asyncio.selector_events,
        {"_SelectorSocketTransport"},
    ),
    "how a file is sent": (PYTHON, lambda: asyncio.constants, {"_SendfileMode"}),
    "the event loop of a transport": (
        PYTHON,
        lambda: asyncio.selector_events.BaseSelectorEventLoop,
        {
            "_add_reader",
            "_add_writer",
            "_remove_reader",
            "_remove_writer",
            "_start_serving",
            "_stop_serving",
            "call_at",
            "call_soon",
            "get_debug",
        },
    ),
    "a future": (PYTHON, lambda: asyncio.Future, {"_callbacks"}),
}
#: Private names that are no inside: the standard library documents them.
NO_INSIDE = {"_asdict", "_exit", "_make", "_replace"}
#: Set or looked for by chatq itself where a library has it, see their modules.
OPTIONAL = {"_handle_emit", "_reply_subshell_for", "_response"}
#: Widgets and errors are shown by a method of theirs that Jupyter calls.
PROTOCOL = {"_render_traceback_", "_repr_html_", "_repr_mimebundle_", "_repr_svg_"}


@pytest.mark.parametrize("what", TOUCHED)
async def test_what_is_touched_is_there(what: str) -> None:
    package, make, names = TOUCHED[what]
    owner = make()
    missing = sorted(name for name in names if not hasattr(owner, name))
    version = metadata.version(package) if package != PYTHON else platform.python_version()
    assert not missing, (
        f"{what} of {package} {version} has no {', '.join(missing)}: look at chatq/internals"
    )


def private_names() -> dict[str, set[str]]:
    """Return the private attributes that chatq uses and does not define, with their modules."""
    defined: set[str] = set()
    used: dict[str, set[str]] = {}
    for path in FOLDER.rglob("*.py"):
        module = ".".join(path.relative_to(FOLDER).with_suffix("").parts)
        inside = module.startswith("internals.")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    defined.add(name) if not inside else None
                case ast.Attribute(attr=name, value=value) if name[:1] == "_" != name[1:2]:
                    mine = isinstance(value, ast.Name) and value.id in ("self", "cls")
                    if mine and isinstance(node.ctx, ast.Store):
                        defined.add(name)
                    elif not mine:
                        used.setdefault(name, set()).add(module)
                case ast.Constant(value=str(name)) if inside and name.isidentifier():
                    if name[:1] == "_" != name[1:2]:  # `getattr`, `hasattr`, a tap by name
                        used.setdefault(name, set()).add(module)
    return {name: where for name, where in used.items() if name not in defined | NO_INSIDE}


def test_nothing_else_is_touched_and_all_of_it_in_one_room() -> None:
    known = OPTIONAL | PROTOCOL | {name for _, _, names in TOUCHED.values() for name in names}
    for name, modules in private_names().items():
        assert name in known, f"{name}, used in {modules}, is not in the table of this test"
        outside = {module for module in modules if not module.startswith("internals.")}
        assert not outside or name in PROTOCOL, f"{outside} use {name}: that is for chatq/internals"


INTERNALS = [path.stem for path in (FOLDER / "internals").glob("[!_]*.py")]


@pytest.mark.parametrize("name", INTERNALS)
def test_each_module_says_which_version_it_was_written_for(name: str) -> None:
    text = " ".join((importlib.import_module(f"chatq.internals.{name}").__doc__ or "").split())
    assert "Touches " in text
