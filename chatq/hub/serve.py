"""The hub: queues on a server of their own, as a process.

Owns `python -m chatq serve` from its arguments to its exit status: its address, its output and log,
its end. Must not know: the events of clients, how messages are kept.

It ends within two seconds, even with connected clients; everything confirmed is on disk by then, as
it is after SIGKILL. Clients get no disconnect packet: a Socket.IO client that gets one does not
reconnect by itself, and these shall, when the hub is back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import logging
import logging.handlers
import os
import queue as thread_queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

from aiohttp import web
from socketio.exceptions import ConnectionRefusedError  # type: ignore[import-untyped]

from ..fast import found, new_event_loop
from ..internals.front import before_aiohttp
from ..internals.hub_requests import HEADERS
from ..internals.hub_server import WIRE, hub_server, take_many, written
from ..queues.error_codes import error
from ..queues.location import engine_and_place
from ..queues.queues import Queues
from ..queues.store import StoreError
from ..waiting import end_task
from . import page
from .caps.dialect import Caps, Dialect
from .caps.dialect_table import BadTable
from .gate import Gate, RateLimit
from .inside import NAMESPACE, Inside
from .protocol import Native
from .security import Security, warn_of_mode
from .security import add_arguments as add_security_arguments

__all__ = ["add_arguments", "run", "serve"]

_log = logging.getLogger("chatq.hub")

_STDERR = 2
#: The variable of the environment that says where the queues are.
_STORE = "CHATQ_STORE"
#: The most connections that wait to be accepted; so many may be at once.
_BACKLOG = 1024
#: About how many bytes are read of a connection before it is another's turn.
_READ = 64_000
#: The time-outs for last acknowledgements while the hub closes, that of closing, and that of the
#: answers that are still to be written, in seconds.
_ACKNOWLEDGEMENTS, _CLOSING, _ANSWERS = 0.3, 1.5, 0.2
#: How long a client may go on sending what was refused before it is closed, in seconds.
_LINGERING = 2.0
_SIO = web.AppKey("sio", object)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run` to the parser of a command line."""
    parser.description = (
        "Serve durable queues over Socket.IO. A message is kept in one file, or by a cluster of "
        "NATS servers, until a consumer has acknowledged it. The protocol is described in "
        "chatq/PROTOCOL.md."
    )
    parser.epilog = (
        "The first line of the output says where the hub listens. SIGTERM or Ctrl-C ends it; what "
        "was answered survives SIGKILL, too. One line is logged to stderr for each refusal."
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: %(default)s); any but loopback needs a token",
    )
    parser.add_argument(
        "--port", type=_port, default=3001, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--namespace",
        type=_namespace,
        default="/caps",
        help="the Socket.IO namespace of the clients (default: %(default)s)",
    )
    parser.add_argument(
        "--store",
        default=os.environ.get(_STORE, "sqlite:///chatq.db"),
        metavar="URL",
        help="sqlite:///FILE, sqlite:////FULL/PATH, memory:, or nats://HOST1,HOST2,HOST3/NAME, "
        f"which other hubs may use, too (default: {_STORE} of the environment, where no list of "
        "processes shows a password, or else sqlite:///chatq.db)",
    )
    parser.add_argument(
        "--dialect",
        metavar="caps|FILE.toml",
        help='talk to the clients of the "CAPS" lab instead: join, pickup, getAll, received; a '
        "file says what a class has otherwise (as chatq/hub/caps/caps.toml); on NATS, one such "
        "hub for each stream",
    )
    parser.add_argument(
        "--learn",
        nargs="?",
        type=Path,
        const=Path("caps-learned.toml"),
        metavar="FILE.toml",
        help="with --dialect: write the words that are met and not known to a file which a class "
        "may give to --dialect (if none is named: %(const)s)",
    )
    add_security_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until a signal comes; return the exit status."""
    try:
        security = Security.of(options)
    except ValueError as problem:
        return _cannot(str(problem), 2)
    if security.tokens is None and not _is_loopback(options.host):
        return _cannot(
            f"{options.host} can be reached from other machines: give a --token-file with what "
            "clients have to know, or CHATQ_TOKEN, or keep to 127.0.0.1",
            2,
        )
    if options.learn and not options.dialect:
        return _cannot("--learn is about the words of a --dialect: caps", 2)
    take_many()
    with _logging() as flush:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                status = runner.run(_serve(options, security))
                if status == 0:
                    _exit(flush)
                return status
        except KeyboardInterrupt:  # before the signal handler was installed
            return 0


async def serve(
    queues: Queues,
    listener: socket.socket,
    *,
    namespace: str = "/caps",
    security: Security | None = None,
    dialect: str | Dialect | None = None,
) -> web.AppRunner:
    """Serve `queues` on a bound socket, in this process; the runner's `cleanup` ends it.

    `security`: what is asked of clients (by default no token, and a name of this machine);
    `dialect`: "caps", or None: the hub's own protocol.

    Raises `StoreError` if what the lab's dialect needs cannot be read.
    """
    security = security or Security()
    sio = hub_server(RateLimit().may)
    gate = Gate(sio, namespace, lambda: security.tokens)
    if isinstance(dialect, str):
        dialect = Dialect.read(dialect)
    protocol = Caps(queues, gate, dialect) if dialect else Native(queues, gate)
    await protocol.start()
    inside = Gate(sio, NAMESPACE, lambda: security.tokens)
    Inside(
        queues,
        inside,
        clients=namespace,
        dialect="caps" if dialect else None,
        consumers=protocol.consumers,
        shows=protocol.shows,
    )

    async def elsewhere(*_: object) -> None:
        why = f"no such namespace: clients of this hub connect to {namespace}"
        raise ConnectionRefusedError(why, error("malformed", why))

    sio.on("connect", elsewhere, namespace="*")
    application = web.Application()
    application[_SIO] = sio
    sio.attach(application)

    async def watching(_: web.Application) -> AsyncIterator[None]:
        closing = asyncio.Event()
        task = asyncio.create_task(security.watch([gate, inside], closing))
        yield
        closing.set()
        await end_task(task, _ANSWERS)

    application.cleanup_ctx.append(watching)
    page.add_to(application, namespace)
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=0.1,
        keepalive_timeout=HEADERS,
        lingering_time=_LINGERING,
    )
    await runner.setup()
    before_aiohttp(runner, security.origins.check)
    # Inherited by the connections: else thousands of small packets of one are read at once.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ)
    await web.SockSite(runner, listener, backlog=_BACKLOG, ssl_context=security.context).start()
    return runner


async def _serve(options: argparse.Namespace, security: Security) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
    try:
        dialect = Dialect.read(options.dialect, options.learn) if options.dialect else None
    except BadTable as problem:
        return _cannot(str(problem), 2)
    try:
        listener = _listen(options.host, options.port)
    except OSError as problem:
        code = problem.errno or 0
        why = os.strerror(code) if code > 0 else problem.strerror
        return _cannot(f"cannot listen on {options.host} port {options.port}: {why}", 1)
    with listener:
        try:
            rules = (Caps if dialect else Native).rules
            queues = await Queues.open(options.store, rules)
        except ValueError as problem:
            return _cannot(f"--store: {problem}", 2)
        except (StoreError, OSError) as problem:
            return _cannot(str(problem), 1)
        if dialect and options.store.startswith(("nats:", "tls:")):
            _log.warning(
                "a second hub of the caps dialect on this stream would not see what this one "
                "keeps: run one only"
            )
        try:
            runner = await serve(
                queues,
                listener,
                namespace=options.namespace,
                security=security,
                dialect=dialect,
            )
        except StoreError as problem:  # the lab's dialect reads its queues first
            await queues.close(within=0)
            return _cannot(str(problem), 1)
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again held up everybody
        print(f"chatq hub listening on {_url(listener, options.namespace, security)}", flush=True)
        security.warn(beyond_loopback=not _is_loopback(options.host))
        engine, place = engine_and_place(options.store)
        if engine == "sqlite":
            warn_of_mode(Path(place))
        if packages := found():
            _log.info("faster by %s", " and ".join(packages))
        await stopped.wait()
        await _close(queues, runner)
    return 0


async def _close(queues: Queues, runner: web.AppRunner) -> None:
    try:
        async with asyncio.timeout(_CLOSING):
            await queues.close(within=_ACKNOWLEDGEMENTS)
    except TimeoutError:
        _log.warning("the store did not let go in time")
    await written(runner.app[_SIO], within=_ANSWERS)


def _exit(flush: Callable[[], None]) -> NoReturn:
    """End the process at once: the system closes all connections in no time, where to end a task of
    each of thousands takes seconds. What has to be on disk is there."""
    sys.stdout.flush()
    flush()
    os._exit(0)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _url(listener: socket.socket, namespace: str, security: Security) -> str:
    scheme = "http" if security.context is None else "https"
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}{namespace}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cannot(why: str, status: int) -> int:
    print(f"chatq serve: {why}", file=sys.stderr)
    return status


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _namespace(text: str) -> str:
    good = text.startswith("/") and text.isprintable() and len(text) <= 100
    if not good or set(text) & set(",?# \"'"):
        raise argparse.ArgumentTypeError(f"a namespace is like /caps, not {text!r}")
    if text == NAMESPACE:
        raise argparse.ArgumentTypeError(f"{text} is where a hub is looked into: give another")
    return text


# -- the log ------------------------------------------------------------------------------------


class _OneLine(logging.Formatter):
    """Formats a record as one line; an exception by its type and place: its text may quote data."""

    def format(self, record: logging.LogRecord) -> str:
        text = " ".join(record.getMessage().split())[:500]
        if record.name == WIRE:  # these texts quote the packet
            kind = record.exc_info[0] if record.exc_info else None
            return f"warning: refused a {'packet: ' + kind.__name__ if kind else 'request'}"
        if record.exc_info and record.exc_info[0] is not None:
            text = "a step failed" if not record.name.startswith("chatq.hub") else text
            text += f" [{record.exc_info[0].__name__}"
            if frames := traceback.extract_tb(record.exc_info[2]):
                text += f" in {frames[-1].name}, line {frames[-1].lineno} of {frames[-1].filename}"
            text += "]"
        return f"{record.levelname.lower()}: {text}"


class _ThreadHandler(logging.handlers.QueueHandler):
    """Hands lines to a thread, so that a stderr that is not read does not block the hub."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(thread_queue.Full):
            self.queue.put_nowait(self.format(record))

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


@contextlib.contextmanager
def _logging() -> Iterator[Callable[[], None]]:
    """Log to stderr within this context, which gets a function that writes what is not yet
    written."""
    lines: thread_queue.Queue[str | None] = thread_queue.Queue(10_000)

    def write() -> None:
        # Not through sys.stderr: its lock, held by a blocked write, would keep the interpreter from
        # ending.
        while (line := lines.get()) is not None:
            with contextlib.suppress(OSError):
                os.write(_STDERR, f"{line}\n".encode("utf-8", "replace"))

    handler = _ThreadHandler(lines)
    handler.setFormatter(_OneLine())
    root = logging.getLogger()
    root.addHandler(handler)
    _log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    writer = threading.Thread(target=write, name="chatq log", daemon=True)
    writer.start()

    def flush() -> None:
        with contextlib.suppress(thread_queue.Full):
            lines.put_nowait(None)
        writer.join(0.2)

    try:
        yield flush
    finally:
        root.removeHandler(handler)
        flush()
