"""What lessons 01 and 02 say of the client in a browser, in Chromium, on both servers.

The page comes from one server and dials another, as one from Vite would, so each of these is about
CORS, too. What is expected is read in the tables of the lessons.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import nbformat
import needs
import pytest
import socketio
from aiohttp import web
from foreign_client import Peer
from lesson_server import lesson
from places import NOTEBOOKS

from chatq import Stage
from chatq.journal.facts import Disconnected

pytestmark = [pytest.mark.long, pytest.mark.needs("node", "chromium")]

CLIENT = needs.JS / "node_modules/socket.io-client/dist/socket.io.min.js"
PAGE = """<!doctype html><title>A page</title><script src="socket.io.min.js"></script><script>
const said = new URLSearchParams(location.search);
const socket = io(said.get("to"), JSON.parse(said.get("options")));
const told = []; // reasons, and whether it dials again by itself
let connects = 0;
socket.on("connect", () => (connects += 1));
socket.on("disconnect", (reason) => told.push([reason, socket.active]));
socket.on("connect_error", (error) => told.push([error.message, socket.active]));
</script>"""
#: A server that says its port, who comes, and why they left; "out" shows all the door.
NODE = """
import { createInterface } from "node:readline";
import { Server } from "socket.io";
const io = new Server(JSON.parse(process.argv[2]));
io.on("connection", (socket) => {
  console.log("came");
  socket.on("disconnect", (reason) => console.log("left " + reason));
});
io.listen(0, { host: "127.0.0.1" });
io.httpServer.on("listening", () => console.log("port " + io.httpServer.address().port));
createInterface({ input: process.stdin }).on("line", () => io.disconnectSockets());
"""


def table(name: str, cell: str, first: str) -> list[list[str]]:
    """Return the rows of the table in a lesson's cell whose head begins with `first`."""
    cells = nbformat.read(NOTEBOOKS / name, as_version=4).cells
    [source] = [one.source for one in cells if one.id == cell]
    lines = source.partition(f"| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[part.strip(" `") for part in line[1:-1].split("|")] for line in lines]


class NodeServer:
    """A Node server in a process of its own."""

    url: str

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            return (await self.process.stdout.readline()).decode().strip()

    async def left(self) -> str:
        """Return why the next one leaves."""
        while not (line := await self.line()).startswith("left "):
            assert line, "the server has ended"
        return line.removeprefix("left ")

    async def send_off(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"out\n")


@contextlib.asynccontextmanager
async def node_server(**options: Any) -> AsyncIterator[NodeServer]:
    process = await asyncio.create_subprocess_exec(
        *(needs.path("node"), "--input-type=module", "--eval", NODE, "-", json.dumps(options)),
        cwd=needs.JS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    server = NodeServer(process)
    try:
        word, _, port = (await server.line()).partition(" ")
        assert word == "port"
        server.url = f"http://127.0.0.1:{port}"
        yield server
    finally:
        process.kill()
        await process.wait()


class PythonServer:
    """A Python server on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.url = stage.url
        self.seen = 0

    def _gone(self) -> list[str]:
        return [fact.reason for fact in self.stage.journal if isinstance(fact, Disconnected)]

    async def left(self) -> str:
        await self.stage.until(lambda: len(self._gone()) > self.seen, "one to leave")
        self.seen += 1
        return self._gone()[self.seen - 1]


@contextlib.asynccontextmanager
async def python_server(origins: Any) -> AsyncIterator[PythonServer]:
    sio = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins=origins)
    async with Stage(sio) as stage:
        yield PythonServer(stage)


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """Where the page comes from."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def client(request: web.Request) -> web.FileResponse:
        return web.FileResponse(CLIENT)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/socket.io.min.js", client)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def dials(browser: Peer, origin: str, to: str, **options: Any) -> None:
    await browser.open("eve", f"{origin}/?to={to}&options={json.dumps(options)}")


async def meets(browser: Peer, look: str, met: str) -> Any:
    return await browser.do("until", page="eve", look=look, met=met, pending=f"{look}: {met}")


async def connected(browser: Peer) -> None:
    """Wait until the page speaks over its websocket."""
    await meets(
        browser, "socket.connected && socket.io.engine.transport.name", '(t) => t === "websocket"'
    )


async def test_the_network_tab_shows_polling_and_then_the_upgrade(browser: Peer) -> None:
    async with lesson("01-the-phone-call") as names:
        await browser.open("eve", f"{names['stage'].url}/?name=eve")
        await browser.do("websocket", page="eve")
        traffic = await browser.do("traffic", page="eve", whole=True)
    rows = [
        (where.partition(" ")[0].strip("`"), sent, came)
        for where, sent, came, _ in table("01-the-phone-call.ipynb", "01-browser-1", "there")
    ]
    letters = [
        (one["method"], one["sent"] or "", one["came"].partition(":")[0])
        for one in traffic
        if one["transport"] == "polling"
    ]
    said = [(where, sent, came.partition(":")[0]) for where, sent, came in rows]
    # What is nothing but a sign that there is nothing may come twice.
    assert sorted({*letters}) == sorted(one for one in said if one[0] in ("GET", "POST"))
    frames = [one for one in traffic if one["transport"] == "websocket"]
    framed = [one for one in rows if one[0] not in ("GET", "POST")]
    assert [one["sent"] for one in frames if one["sent"]] == [sent for _, sent, _ in framed if sent]
    assert [came for _, _, came in framed if came] == ["3probe"]
    assert "3probe" in [one["came"] for one in frames]


GOODBYES = table("02-proof-of-life.ipynb", "02-browser-1", "in the page")
TOLD = table("02-proof-of-life.ipynb", "02-browser-1", "reason")


@pytest.mark.parametrize("number", [1, 2])
async def test_a_page_says_goodbye_only_if_it_hangs_up(
    browser: Peer, origin: str, number: int
) -> None:
    """1: what a Python server is told; 2: a Node server."""
    said = [row[number + 1] for row in GOODBYES]
    here = python_server([origin]) if number == 1 else node_server(cors={"origin": origin})
    async with here as server:
        await dials(browser, origin, server.url)
        await connected(browser)
        await browser.do("evaluate", page="eve", script="void socket.disconnect()")
        heard = [await server.left()]
        traffic = await browser.do("traffic", page="eve")
        assert [e["sent"] for e in traffic if e["sent"]][-1] == "41"
        await browser.do("evaluate", page="eve", script="void socket.connect()")
        await connected(browser)
        await browser.do("reload", page="eve")
        reloaded = await server.left()
        await connected(browser)
        await browser.do("leave", page="eve")
        heard += [await server.left(), reloaded]
    assert heard == said
    traffic = await browser.do("traffic", page="eve")
    assert [e["sent"] for e in traffic if e["sent"]].count("41") == 1  # and none since


@pytest.mark.needs("posix")
async def test_a_page_is_told_why_and_comes_back_by_itself(browser: Peer, origin: str) -> None:
    quick = {"pingInterval": 300, "pingTimeout": 300}
    async with node_server(cors={"origin": origin}, **quick) as server:
        await dials(browser, origin, server.url, reconnectionDelay=100)
        await connected(browser)
        await browser.do("evaluate", page="eve", script="void socket.disconnect()")
        await browser.do("evaluate", page="eve", script="void socket.connect()")
        await connected(browser)
        await server.send_off()
        await meets(browser, "told", "(told) => told.length === 2")
        await browser.do("evaluate", page="eve", script="void socket.connect()")
        await connected(browser)
        await browser.do("offline", page="eve", value=True)
        await meets(browser, "told", "(told) => told.length >= 3")
        told = (await browser.do("evaluate", page="eve", script="told"))[:3]
        await browser.do("offline", page="eve", value=False)
        await connected(browser)
        first = await browser.do("evaluate", page="eve", script="told.splice(0) && socket.id")
        server.process.send_signal(signal.SIGSTOP)
        told += (await meets(browser, "told", "(told) => told.length >= 1"))[:1]
        server.process.send_signal(signal.SIGCONT)
        await connected(browser)
        assert await browser.do("evaluate", page="eve", script="socket.id") != first
    assert told == [[reason, again.startswith("yes")] for reason, _, again in TOLD]


@pytest.mark.parametrize("which", ["python", "node"])
async def test_a_page_from_another_door_is_let_in_if_its_door_is_named(
    browser: Peer, origin: str, which: str
) -> None:
    strict = python_server(None) if which == "python" else node_server()
    async with strict as server:
        await dials(browser, origin, server.url)
        [told] = await meets(browser, "told.slice(0, 1)", "(told) => told.length")
        assert told == ["xhr poll error", True]
        complaints = await browser.do("complaints", page="eve")
        assert any("CORS policy" in text for text in complaints)
        letter = f"{server.url}/socket.io/?EIO=4&transport=polling"
        async with aiohttp.request("GET", letter, headers={"Origin": origin}) as answer:
            assert answer.status == {"python": 400, "node": 200}[which]
        await browser.do("leave", page="eve")
        # A websocket is not under CORS: its server looks at the header Origin, or does not.
        await dials(browser, origin, server.url, transports=["websocket"])
        if which == "node":
            await connected(browser)
        else:
            [told] = await meets(browser, "told.slice(0, 1)", "(told) => told.length")
            assert told == ["websocket error", True]
        await browser.do("leave", page="eve")
    named = python_server([origin]) if which == "python" else node_server(cors={"origin": origin})
    async with named as server:
        await dials(browser, origin, server.url)
        await connected(browser)
