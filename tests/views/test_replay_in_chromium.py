"""A replay in a real browser, opened from a file with the network off: by keys, mouse and slider.

Whatever is asserted is what the page shows.
"""

import asyncio

import pytest
import pytest_asyncio
import socketio
from foreign_client import peer
from test_replay import HOSTILE, Page, busy, heard, kept

from chatq import Queues, Stage
from chatq.journal.facts import SERVER, Connected, Emitted

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("node", "chromium"),
]

#: Whether a part of a picture can be seen: `checkVisibility` says yes of all of them.
SEEN = "globalThis.seen = (part) => part.getBoundingClientRect().height > 0"
#: Each row of the table that can be seen: the marks in it, as `Page.table` gives them.
MARKS = """[...document.querySelectorAll("tbody tr")].filter((row) => row.checkVisibility()).map(
    (row) => [...row.children].map((cell) => {
        const seen = [...cell.children].filter((part) => part.checkVisibility());
        return (seen.length ? seen[0] : cell).firstChild?.data ?? "";
    }))"""
#: Each row of the diagram that can be seen: how many signs are in it.
SIGNS = """[...document.querySelectorAll(".chatq-row")].filter(seen).map(
    (row) => [...row.querySelectorAll("use")].filter(seen).length)"""
STEP = "Number(document.querySelector('#step').value)"
SAID = "document.querySelector('[role=status]').textContent"
FOCUS = """(({ id, tagName, textContent }) => id || `${tagName} ${textContent.slice(0, 12)}`)(
    document.activeElement)"""
#: What is lit, and in sight: of which message the lines are, and in which column the sign.
LIT = """(() => {
    const pane = document.querySelector("#diagram").getBoundingClientRect();
    const lit = [...document.querySelectorAll(".chatq-row:not(.now)")].filter((row) =>
        getComputedStyle(row.querySelector(".chatq-band")).stroke !== "none");
    const inside = lit.map((row) => row.getBoundingClientRect()).every(
        ({ top, bottom }) => top >= pane.top && bottom <= pane.bottom);
    const color = (sign) => getComputedStyle(sign).getPropertyValue("--chatq-sign");
    return {
        lines: lit.map((row) => row.classList[1]), seen: inside,
        signs: [...document.querySelectorAll(".chatq-row g")].filter(
            (sign) => seen(sign) && ![ "", "none" ].includes(color(sign))
                && !sign.matches(".now")).map((sign) => sign.getAttribute("class")),
    };
})()"""
#: The reason that can be read, and the hint that stands there otherwise.
WHY = """[...document.querySelectorAll(".chatq-why, .chatq-below")].filter((one) => {
    const { width, height, top, bottom } = one.getBoundingClientRect();
    const style = getComputedStyle(one);
    return width > 100 && height > 10 && style.visibility === "visible" && top < innerHeight
        && one.checkVisibility();
}).map((one) => one.textContent.trim())"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with peer() as running:
        yield running


class Opened:
    """A replay in the browser."""

    def __init__(self, browser, path, name):
        self.browser, self.path, self.name = browser, path, name
        self.page = Page(path)

    async def do(self, what, **options):
        return await self.browser.do(what, page=self.name, **options)

    async def read(self, script):
        return await self.do("evaluate", script=f"({SEEN}, {script})")

    async def press(self, *keys):
        for key in keys:
            await self.do("press", key=key)

    async def shows(self, step):
        """Assert that it shows this step, in all its parts."""
        page = self.page
        assert await self.read(STEP) == step
        assert await self.read(MARKS) == [[*marks.values()] for marks, _ in page.table(step)]
        assert await self.read(SIGNS) == [len(signs) for _, signs in page.diagram(step)]
        place = step - page.first
        told = page.facts[place - 1][1] if place else "before the first fact"
        assert await self.read(SAID) == told.replace("&lt;", "<").replace("&gt;", ">")
        count = f"{step} of {page.last}"
        assert await self.read("document.querySelector('#count').textContent") == count
        assert await self.read("document.querySelector('#step').ariaValueText") == f"fact {count}"


@pytest_asyncio.fixture(loop_scope="module")
async def opened(browser, request):
    """Return what opens a replay; at the end, it has asked for nothing but itself."""
    names = []

    async def open(path, **how):
        names.append(f"{request.node.name} {len(names)}")
        url = path.as_uri()
        await browser.open(names[-1], url, arguments=("--no-sandbox",), offline=True, **how)
        return Opened(browser, path, names[-1])

    yield open
    for name in names:
        (url,) = await browser.do("requests", page=name)
        assert url.startswith("file:")
        assert await browser.do("complaints", page=name) == []
        await browser.do("leave", page=name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory):
    """The replay of a busy scene."""
    sio = socketio.AsyncServer(async_mode="aiohttp")
    async with await Queues.open("memory:") as queues, Stage(sio) as stage:
        await busy(sio, stage, queues)
        return stage.replay(tmp_path_factory.mktemp("replay") / "scene.html", "Who hears it?")


async def test_keys_step_through_all_of_it_back_and_forth(opened, scene):
    page = await opened(scene)
    first, last = page.page.first, page.page.last
    for step in range(last, first - 1, -1):
        await page.shows(step)
        await page.press("ArrowLeft")
    await page.shows(first)  # there is nothing before
    for step in range(first, last + 1):
        await page.shows(step)
        await page.press("ArrowRight")
    await page.shows(last)
    await page.press("Home")
    await page.shows(first)
    await page.press("End")
    await page.shows(last)
    await page.press("Control+ArrowLeft", "Alt+Home", "Shift+ArrowLeft")  # the browser's own
    assert await page.read(STEP) == last


async def test_the_slider_and_the_buttons_step_too(opened, scene):
    page = await opened(scene)
    last = page.page.last
    await page.do("fill", selector="#step", text="7")
    await page.shows(7)
    await page.do("focus", selector="#step")
    await page.press("ArrowRight")
    await page.shows(8)
    await page.press("ArrowLeft", "ArrowLeft")
    await page.shows(6)
    await page.press("Home")
    await page.shows(0)
    for button, step in (("next", 1), ("next", 2), ("back", 1), ("last", last), ("first", 0)):
        await page.do("click", selector=f"#{button}")
        await page.shows(step)


async def test_it_plays_to_the_end_and_pauses_on_request(opened, scene):
    page = await opened(scene, clock=True)
    last = page.page.last
    offers = "document.querySelector('#play').textContent"
    await page.do("click", selector="#play")
    await page.do("pass", time=2 * 900 + 100)
    assert (await page.read(STEP), await page.read(offers)) == (2, "Pause")
    await page.do("click", selector="#play")
    await page.do("pass", time=5_000)
    assert (await page.read(STEP), await page.read(offers)) == (2, "Play")
    await page.press("Enter")  # the button has the focus
    await page.do("pass", time=1_000)
    await page.press("ArrowLeft")  # who steps by hand has the page
    await page.do("pass", time=5_000)
    assert (await page.read(STEP), await page.read(offers)) == (2, "Play")
    await page.do("click", selector="#play")
    await page.do("pass", time=900 * last)
    assert (await page.read(STEP), await page.read(offers)) == (last, "Play")


async def test_the_keyboard_reaches_everything_and_is_kept_nowhere(opened, scene):
    page = await opened(scene)
    reached, outlines = [], []
    for _ in range(11):
        await page.press("Tab")
        reached.append(await page.read(FOCUS))
        outlines.append(await page.read("getComputedStyle(document.activeElement).outlineWidth"))
    ends = ["first", "back", "step", "next", "last", "play", "diagram", "table"]
    assert reached[:8] == ends
    assert reached[8].startswith("TD ")
    assert reached[9] == "SUMMARY All facts in"
    assert reached[10].startswith("BODY")  # and out of the page
    assert set(outlines[:10]) == {"3px"}
    await page.press("Shift+Tab", "Shift+Tab")
    assert (await page.read(FOCUS)).startswith("TD ")
    await page.press("Shift+Tab")
    assert await page.read(FOCUS) == "table"


async def test_in_the_table_arrows_go_from_cell_to_cell_and_each_says_why(opened, scene):
    page = await opened(scene, height=900)
    rows = page.page.table(page.page.last)
    names = [SERVER, "ada", "bob", "cy", "dan"]
    hint = "Why? Point at a mark, or reach it with the Tab key."
    assert await page.read(WHY) == [hint]
    assert (await page.read(LIT))["lines"] == []
    await page.do("focus", selector=".chatq-cell >> nth=0")
    for number, (marks, reasons) in enumerate(rows):
        if number:
            await page.press("ArrowDown", "Home")
        for name in names:
            assert await page.read(WHY) == [reasons[name]]
            lit = await page.read(LIT)
            message = f"chatq-m{marks['no.']}"
            if number < len(rows) - 1:  # the newest is marked as new already
                assert set(lit["lines"]) == {message}
            assert set(lit["signs"]) <= {f"chatq-c{names.index(name)}"}
            assert lit["seen"] or len(lit["lines"]) > 1
            await page.press("ArrowRight")
    await page.press("ArrowUp", "End")
    assert await page.read(WHY) == [rows[-2][1]["dan"]]
    assert await page.read(STEP) == page.page.last  # these arrows are the table's
    focused = "document.activeElement"
    assert (await page.read(f"{focused}.innerText")).startswith(rows[-2][0]["dan"])
    tab_stops = "document.querySelectorAll('.chatq-cell[tabindex=\"0\"]').length"
    assert await page.read(tab_stops) == 1
    await page.press("Escape", "Tab")
    assert await page.read(WHY) == [hint]


@pytest.mark.parametrize("scripts", [True, False])
async def test_the_mouse_on_a_cell_lights_its_line_and_says_why(opened, scene, scripts):
    page = await opened(scene, height=1_400, scripts=scripts)
    (marks, reasons), *_ = rows = page.page.table(page.page.last)
    assert [[*row.values()] for row, _ in rows] == await page.read(MARKS)
    await page.do("hover", selector="tbody tr >> nth=0 >> .chatq-c2")
    assert await page.read(WHY) == [reasons["bob"]]
    lit = await page.read(LIT)
    assert set(lit["lines"]) == {f"chatq-m{marks['no.']}"}
    assert lit["seen"] or not scripts  # nothing scrolls without them
    await page.do("focus", selector="tbody tr >> nth=1 >> .chatq-c1")
    assert await page.read(WHY) == [reasons["bob"]]  # the mouse comes first
    await page.do("hover", selector="h1")
    assert await page.read(WHY) == [rows[1][1]["ada"]]
    signs = (await page.read(LIT))["signs"]
    assert set(signs) == {"chatq-c1"}


async def test_without_scripts_it_shows_the_end_and_offers_no_controls(opened, scene):
    page = await opened(scene, scripts=False)
    last = page.page.last
    assert await page.read(MARKS) == [[*marks.values()] for marks, _ in page.page.table(last)]
    assert await page.read(SIGNS) == [len(signs) for _, signs in page.page.diagram(last)]
    shown = await page.do("text", selector="body")
    assert "Scripts are off: this is how the scene ended." in shown
    assert await page.read("document.querySelector('#controls').checkVisibility()") is False
    await page.do("click", selector="summary")
    assert "ada connects" in await page.do("text", selector="#facts")


@pytest.mark.parametrize("which", ["busy", "crowd"])
async def test_axe_finds_nothing_and_nothing_sticks_out(opened, scene, which, tmp_path):
    path = scene if which == "busy" else heard(17).replay(tmp_path / "crowd.html")
    page = await opened(path)
    steps = (page.page.first, page.page.last)
    for width in (1300, 600, 320) if which == "busy" else (1300,):
        await page.do("resize", width=width, height=850)
        for scheme in ("light", "dark"):
            await page.do("scheme", value=scheme)
            for step in steps:
                await page.do("fill", selector="#step", text=str(step))
                assert await page.do("axe") == []
        wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        content, window = await page.read(wide)
        assert content <= window
    await page.do("click", selector="summary")
    await page.do("focus", selector=".chatq-cell:visible >> nth=0")
    assert await page.do("axe") == []
    assert await page.read("document.getAnimations().length") == 0


#: Whether the marked sign of the diagram is in sight.
MARKED = """(() => {
    const pane = document.querySelector("#diagram").getBoundingClientRect();
    const { top, bottom } = document.querySelector("#diagram .now").getBoundingClientRect();
    return top >= pane.top && bottom <= pane.bottom;
})()"""


async def test_what_happens_now_stays_in_sight_when_the_window_changes(opened, scene):
    page = await opened(scene)
    for height in (900, 500, 700):
        await page.do("resize", width=1300, height=height)
        await page.read("new Promise(requestAnimationFrame)")
        assert await page.read(MARKED), height


async def test_what_strangers_wrote_is_text_and_the_page_runs_nothing_else(opened, tmp_path):
    names = [one[:40] for one in HOSTILE if one.isprintable()]
    facts = [Connected(name, "/") for name in names]
    facts += [
        Emitted(0, SERVER, event, repr(event)[:100], event, (event,), (), (), tuple(names))
        for event in HOSTILE
    ]
    view = kept(*facts)
    page = await opened(view.replay(tmp_path / "hostile.html", HOSTILE[1]))
    await page.shows(len(facts))
    assert await page.do("text", selector="h1") == HOSTILE[1]
    assert "</script><script>alert(1)</script>" in await page.do("text", selector="table")
    assert await page.read("[document.scripts.length, document.images.length]") == [1, 0]
    # Even if something had been let into the page: no script runs, nothing is loaded.
    added = """(async () => {
        const image = "<img src='data:,' onerror='window.bad = 1'>";
        document.body.insertAdjacentHTML("beforeend", image);
        const script = document.createElement("script");
        script.textContent = "window.bad = 2";
        document.body.append(script);
        const asked = await fetch("data:,hello").then(() => "loaded", () => "refused");
        return asked;
    })()"""
    assert await page.read(added) == "refused"
    async with asyncio.timeout(10):  # each is refused, and says so in its own time
        for what in ("inline script", "data:,hello", "the image", "inline event handler"):
            while not any(what in said for said in await page.do("complaints")):
                pass
    assert await page.read("window.bad ?? 'nothing ran'") == "nothing ran"
    await page.do("forgive")
