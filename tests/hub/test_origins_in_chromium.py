"""What a real browser does with names that lead here, and with pages of other origins."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import hubs
import needs
import pytest
import socketio
from aiohttp import web

from chatq import Stage

pytestmark = [pytest.mark.long, pytest.mark.needs("node", "chromium")]

CLIENT = needs.JS / "node_modules/socket.io-client/dist"
#: To the browser these names lead here, as an attacker's do in the end.
NAMES = ("--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)

#: What a script of a page can read of whatever answers at its own origin.
ATTACK = """(async () => {
  const where = location.origin + "/socket.io/?EIO=4&transport=";
  const read = await (await fetch(where + "polling")).text();
  const line = new WebSocket(where.replace("http", "ws") + "websocket");
  const opened = await new Promise((resolve) => {
    line.onopen = () => resolve(true);
    line.onerror = () => resolve(false);
  });
  return [read.includes('"sid"'), opened];
})()"""

PAGE = """<!doctype html><title>a page</title><script type="module">
import { io } from "/socket.io.esm.min.js";
const query = new URLSearchParams(location.search);
const options = { auth: { token: query.get("token") }, transports: query.getAll("by") };
window.socket = io(query.get("hub"), { ...options, reconnection: false });
window.ended = new Promise((resolve) => {
  socket.on("connect_error", (error) => resolve(error.context?.responseText ?? error.message));
  socket.on("connect", async () => resolve(await socket.timeout(5000).emitWithAck(
    "publish", { queue: "q", event: "e", data: 1 })));
});
</script>"""


@contextlib.asynccontextmanager
async def pages():
    """A server with a page of its own; gives its port."""
    application = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    application.router.add_get("/", page)
    application.router.add_static("/", CLIENT)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    yield listener.getsockname()[1]
    await runner.cleanup()


async def test_a_page_whose_name_leads_to_a_hub_reads_nothing(browser, tmp_path: Path) -> None:
    with hubs.hub("--allow-host", "hub.example", folder=tmp_path) as hub:
        for name, comes_in in [("evil", False), ("hub", True)]:
            await browser.open(name, f"http://{name}.example:{hub.port}/", arguments=NAMES)
            read = await browser.do("evaluate", page=name, script=ATTACK)
            assert read == [comes_in, comes_in]
        assert "refused a request for the host evil.example" in hub.log


@pytest.mark.parametrize("kind", ["aiohttp", "asgi"])
async def test_a_page_whose_name_leads_to_a_stage_reads_nothing(kind: str, browser) -> None:
    async with Stage(socketio.AsyncServer(async_mode=kind), hosts=["lab.example"]) as stage:
        port = stage.url.rpartition(":")[2]
        for name, comes_in in [("evil", False), ("lab", True)]:
            await browser.open(name, f"http://{name}.example:{port}/", arguments=NAMES)
            read = await browser.do("evaluate", page=name, script=ATTACK)
            assert read == [comes_in, comes_in]


async def test_a_browser_presents_the_secret_of_a_stage_once_it_was_given(browser) -> None:
    async with Stage(socketio.AsyncServer(async_mode="aiohttp"), secret="s3cret") as stage:
        where = stage.url.partition("://")[2]
        await browser.open("with", f"http://me:s3cret@{where}/", arguments=NAMES)
        assert await browser.do("evaluate", page="with", script=ATTACK) == [True, True]


@pytest.mark.parametrize("by", ["polling", "websocket"])
async def test_a_page_of_another_origin_is_let_in_or_told_why(
    by: str, browser, tmp_path: Path
) -> None:
    async with pages() as port:
        shop = f"http://shop.example:{port}"
        with hubs.hub("--allow-origin", shop, "--token", "t", folder=tmp_path) as hub:
            query = f"?hub={hub.url}{hub.namespace}&token=t&by={by}"
            await browser.open("shop", f"{shop}/{query}", arguments=NAMES)
            answer = await browser.do("evaluate", page="shop", script="window.ended")
            assert answer.keys() == {"id"}
            other = f"http://other.example:{port}"
            await browser.open("other", f"{other}/{query}", arguments=NAMES)
            answer = await browser.do("evaluate", page="other", script="window.ended")
            if by == "polling":  # of a websocket a browser tells its page nothing
                assert f"start it with --allow-origin {other}" in answer
            else:
                assert answer == "websocket error"
            assert f"refused a page of {other}: if it is yours, --allow-origin" in hub.log
