"""The page of a hub in a real browser: what it shows, to whom, and over a hub's end.

Each is tried with the official client, as it is installed beside a hub, and with what takes its
place where there is none.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import hubs
import needs
import pytest
import pytest_asyncio
from foreign_client import PeerError, peer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("node", "chromium"),
    pytest.mark.long,
]

CLIENT = Path("node_modules/socket.io-client/dist/socket.io.min.js")
NAMES = [
    "<script>document.title = 'stolen'</script>",
    "<img src=x onerror=\"document.title = 'stolen'\">",
    "شركة التوصيل",
    "w" * 100,
    "__proto__",
    "&lt;b&gt;",
]
#: The rows of the table, each a list of texts.
ROWS = """[...document.querySelectorAll("tbody tr")].map(
    (row) => [...row.children].map((cell) => cell.textContent))"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with peer() as running:
        yield running


@pytest.fixture(params=["official", "small"])
def folder(request, tmp_path: Path) -> Path:
    """A folder in which the official client is installed, or not."""
    if request.param == "official":
        install(tmp_path)
    return tmp_path


def install(folder: Path) -> None:
    (folder / CLIENT).parent.mkdir(parents=True)
    shutil.copyfile(needs.JS / CLIENT, folder / CLIENT)


class Opened:
    """A page in the browser."""

    def __init__(self, browser: Any, name: str) -> None:
        self.browser, self.name = browser, name

    async def do(self, what: str, **options: Any) -> Any:
        return await self.browser.do(what, page=self.name, **options)

    async def says(self, text: str) -> None:
        await self.do("see", selector="#status", text=text, within=15_000)

    async def shows(self, met: str, pending: str) -> Any:
        """Return the rows as soon as the function `met` says yes to them."""
        return await self.until(ROWS, met, pending)

    async def until(self, look: str, met: str, pending: str, within: int = 15_000) -> Any:
        """Return what `look` gives as soon as the function `met` says yes to it, when the page has
        changed. (Nothing that has to be compiled again: the page's policy forbids it.)"""
        script = f"""new Promise((resolve) => {{
            const watch = new MutationObserver(() => looked());
            const looked = () => {{
                const seen = {look};
                if ((({met}))(seen)) (watch.disconnect(), resolve(seen));
            }};
            const all = {{ subtree: true, childList: true, characterData: true, attributes: true }};
            watch.observe(document, all);
            looked();
        }})"""
        try:
            return await self.do("evaluate", script=script, within=within)
        except PeerError:
            seen = await self.do("evaluate", script=look)
            raise AssertionError(f"waited in vain for {pending}; there: {seen}") from None


async def opened(browser: Any, hub: hubs.Hub, name: str = "wall", **how: Any) -> Opened:
    await browser.open(name, f"{hub.url}/", **how)
    return Opened(browser, name)


async def publish(hub: hubs.Hub, client: Any, queue: str, *data: Any, **more: Any) -> list[str]:
    asked = [{"queue": queue, "event": "e", "data": each, **more} for each in data]
    ids: list[str] = (await hub.call(client, "publish", {"messages": asked}))["ids"]
    return ids


async def test_it_shows_what_waits_for_whom_as_it_is(browser, folder) -> None:
    with hubs.hub(folder=folder) as hub:
        client = await hub.client()
        page = await opened(browser, hub)
        await page.do("see", selector="caption", text="No queue yet")
        await publish(hub, client, "drivers", "secret-1", "secret-2", "secret-3")
        await publish(hub, client, "drivers", "later", delay=3_600)
        rows = await page.shows("(rows) => rows.length", "a row")
        assert [row[:4] + row[5:] for row in rows] == [
            ["drivers", "4 (1 later)", "0", "0", "nobody"]
        ]
        inbox = hubs.Inbox(client, hub.namespace)
        asked = {"queue": "drivers", "window": 2, "name": "<b>ann</b>"}
        await hub.call(client, "subscribe", asked)
        await page.shows('(rows) => rows[0][5] === "<b>ann</b>\\u00a0(2\\u00a0out)"', "ann")
        for receipt in inbox.receipts:
            await hub.call(client, "received", {"receipt": receipt})
        await inbox.until(3)
        await hub.call(client, "received", {"receipt": inbox.receipts[2]})
        await page.shows("(rows) => rows[0][1] === '1 (1 later)' && rows[0][2] === '0'", "an end")
        assert "secret" not in await page.do("evaluate", script="document.body.innerHTML")
        assert await page.do("complaints") == []
        official = await page.do("evaluate", script="!!io.Manager")
        assert official == (folder / CLIENT).exists()
        await client.disconnect()
        # Everything is this hub's, and nothing is asked for but the page.
        assert {url.rpartition("/")[0] for url in await page.do("requests")} == {hub.url}


async def test_names_are_text(browser, folder) -> None:
    with hubs.hub(folder=folder) as hub:
        client = await hub.client()
        for name in NAMES:
            await publish(hub, client, name, 1)
            await hub.call(client, "subscribe", {"queue": name, "name": name})
        page = await opened(browser, hub)
        rows = await page.shows(f"(rows) => rows.length === {len(NAMES)}", "all rows")
        assert sorted(row[0] for row in rows) == sorted(NAMES)
        assert await page.do("evaluate", script="document.title") == "What waits for whom"
        assert await page.do("evaluate", script="document.querySelector('td b, td img')") is None
        assert await page.do("complaints") == []
        for width in (1300, 900, 1920):
            await page.do("resize", width=width, height=900)
            for scheme in ("light", "dark"):
                await page.do("scheme", value=scheme)
                assert await page.do("axe") == []
            wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert await page.do("evaluate", script=wide), width
        await client.disconnect()


async def test_a_row_that_is_read_stays(browser, folder) -> None:
    with hubs.hub(folder=folder) as hub:
        client = await hub.client()
        await publish(hub, client, "m", 1)
        page = await opened(browser, hub)
        await page.shows("(rows) => rows.length", "a row")
        await page.do(
            "evaluate", script="void (globalThis.row = document.querySelector('tbody tr'))"
        )
        said = "new MutationObserver((all) => { globalThis.said += all.length; }).observe"
        watch = (
            f"globalThis.said = 0; {said}(document.querySelector('#status'), {{childList: true}})"
        )
        await page.do("evaluate", script=f"void ({watch.replace('; ', ', ', 1)})")
        for queue in ("a", "z"):
            await publish(hub, client, queue, 1)
        await page.shows("(rows) => rows.length === 3", "three rows")
        same = "globalThis.row === document.querySelectorAll('tbody tr')[1]"
        assert await page.do("evaluate", script=same)
        assert await page.do("evaluate", script="globalThis.said") == 0  # nothing is read aloud
        await client.disconnect()


async def test_a_hub_that_comes_back_and_a_token_that_is_kept_nowhere(browser, folder) -> None:
    with hubs.hub(folder=folder) as hub:
        page = await opened(browser, hub)
        await page.says("live")
        assert await hub.stop() < 2  # although somebody looks
        assert "Traceback" not in hub.log
        await page.says("does not answer")
    with hubs.hub("--port", str(hub.port), "--token", "sesame", folder=folder) as hub:
        await page.says("asks for a token")
        assert await page.do("axe") == []
        await page.do("fill", selector="#token", text="wrong")
        await page.do("press", key="Enter")
        await page.do("see", selector="#refusal", text="not a token of this hub")
        await page.do("fill", selector="#token", text="sesame")
        await page.do("press", key="Enter")
        await page.says("live")
        await hub.stop(signal.SIGKILL)
        await page.says("does not answer")
    with hubs.hub("--port", str(hub.port), "--token", "sesame", folder=folder) as hub:
        await page.says("live")
        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert await page.do("evaluate", script=kept) == '[{},{},""]'
        assert "sesame" not in await page.do("evaluate", script="document.body.outerHTML")
        await page.do("reload")
        await page.says("asks for a token")
        assert "sesame" not in hub.log


async def test_a_token_that_may_not_look_is_told_so_and_another_can_be_tried(
    browser, folder
) -> None:
    tokens = folder / "tokens.toml"
    text = '[shop]\ntoken="NOT-1"\npublish=["*"]\n[boss]\ntoken="NOT-2"\nmanage=["*"]\n'
    tokens.write_text(text)
    with hubs.hub("--token-file", str(tokens), folder=folder) as hub:
        page = await opened(browser, hub)
        await page.says("asks for a token")
        refusal = "The token of shop does not permit looking after all queues"
        for token, selector, seen in (
            ("NOT-1", "#refusal", refusal),
            ("NOT-3", "#refusal", "not a token of this hub"),
            ("NOT-1", "#refusal", refusal),
            ("NOT-2", "#status", "live"),
        ):
            await page.do("fill", selector="#token", text=token)
            await page.do("press", key="Enter")
            await page.do("see", selector=selector, text=seen, within=15_000)
        there = "[document.querySelector('#door').hidden, document.querySelector('#frame').hidden]"
        assert await page.do("evaluate", script=there) == [True, False]
        # What it may is taken from it while it looks.
        (folder / "new").write_text(text.replace("manage", "consume"))
        (folder / "new").replace(tokens)
        boss = "The token of boss does not permit looking after all queues"
        await page.do("see", selector="#refusal", text=boss, within=15_000)
        assert await page.do("evaluate", script=there) == [False, True]
        assert await page.do("axe") == []
        if where := os.environ.get("CHATQ_SCREENSHOTS"):
            await page.do("screenshot", path=str(Path(where) / f"refused-{folder.name}.png"))


async def test_a_class(browser, tmp_path) -> None:
    """Five browsers and three programs on one hub, its page on a wall; it is killed in between."""
    install(tmp_path)
    orders, roles = 40, ["driver", "store", "driver", "store", "driver"]
    source = (needs.JS / "pupil.mjs").read_text("utf-8")
    pupil = source[: source.index("\nif (typeof process")].replace("export ", "")
    async with AsyncExitStack() as stack:
        hub = stack.enter_context(hubs.hub(folder=tmp_path))
        wall = await opened(browser, hub, width=1920, height=1080)
        tabs = []
        for n, role in enumerate(roles):
            tabs.append(await opened(browser, hub, f"tab{n}", profile=f"pupil{n}"))
            url = json.dumps(hub.url + hub.namespace)
            told = "(me) => { document.body.dataset.confirmed = me.confirmed; }"
            begin = f'pupil(io, {url}, "tab {n}", "{role}", {orders}, {told})'
            await tabs[n].do("evaluate", script=f"{pupil}; void (globalThis.me = {begin})")
        programs = []
        for name, role in (("node 1", "store"), ("node 2", "store"), ("node 3", "driver")):
            programs.append(await Program.start(stack, hub, name, role, orders))
        await programs[0].until(lambda state: state["confirmed"] > 5)
        await hub.stop(signal.SIGKILL)
        await wall.says("does not answer")
        hub = stack.enter_context(hubs.hub("--port", str(hub.port), folder=tmp_path))
        await wall.says("live")
        for program in programs[:2]:
            await program.until(lambda state: state["confirmed"] == orders)
        for n in (1, 3):
            look = "globalThis.me.confirmed"
            met = f"(n) => n === {orders}"
            await tabs[n].until(look, met, "all its orders to be confirmed", 30_000)
        done = '(rows) => rows[0][1] === "0" && rows[0][2] === "0" && rows[0][5].includes("tab 4")'
        await wall.until(ROWS, done, "an empty queue", 60_000)
        states = [await tab.do("evaluate", script="globalThis.me") for tab in tabs]
        states += [program.state for program in programs]
        ids = [id for state in states for id in state["done"]]
        assert len({*ids}) == 4 * orders
        drivers = [state for state in states if state["done"]]
        assert len(drivers) == 4, states  # all had some of the work
        # At most what was out when the hub was killed has come again.
        assert len(ids) - len({*ids}) + sum(state["again"] for state in states) <= 4 * 2
        if where := os.environ.get("CHATQ_SCREENSHOTS"):
            await wall.do("screenshot", path=str(Path(where) / "class.png"))


class Program:
    """A pupil under Node, and its last state."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.process = process
        self.state: dict[str, Any] = {"who": name, "confirmed": 0, "done": [], "again": 0}
        self.changed = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, stack: AsyncExitStack, hub: hubs.Hub, name: str, role: str, orders: int
    ) -> Program:
        arguments = [hub.url + hub.namespace, name, role, str(orders)]
        program = cls(
            await asyncio.create_subprocess_exec(
                needs.path("node"),
                str(needs.JS / "pupil.mjs"),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**20,
            ),
            name,
        )
        stack.push_async_callback(program.end)
        return program

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.state = json.loads(line)
            self.changed.set()

    async def until(self, met: Any) -> None:
        async with asyncio.timeout(60):
            while not met(self.state):
                self.changed.clear()
                await self.changed.wait()

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(10):
            await self.process.wait()
        await self.reading
