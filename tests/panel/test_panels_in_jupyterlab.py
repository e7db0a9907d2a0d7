"""Panels in a real JupyterLab, by clicking and typing alone.

Whatever is asserted is what the page shows.
"""

import contextlib
import re

import nbformat
import pytest
from foreign_client import PeerError
from jupyterlab_page import named, pictures
from lesson_server import NOTEBOOKS

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.needs("node", "chromium"),
    pytest.mark.long,
]

PANEL = ".chatq-panel"
LINE = f"{PANEL} .chatq-line"
LOG = f"{PANEL} [role=log]"
RUN = "Run this line"
STEP = named("spinbutton", "Step", PANEL)

#: In the page, `root` being a panel: the rows of a table, by its headers, without the reasons.
TABLE = """((name, root) => {
    const mark = (cell) => [...cell.childNodes].filter((part) => part.className !== "chatq-why")
        .map((part) => part.textContent).join("").trim();
    const text = (parts) => parts.map((part) => part.textContent).join("").trim();
    const parts = (cell) => {
        const small = cell.querySelector("small"), all = [...cell.childNodes];
        if (small) return [text([all[0]]), text(all.slice(1, -1)), text([small])];
        return [cell.querySelector(".chatq-mark") ? text(all.slice(1)) : mark(cell)];
    };
    const [head, ...rows] = [...root.querySelectorAll(`[aria-label="${name}"] tr`)].map(
        (row) => [...row.children].flatMap(parts));
    return rows.filter((row) => row.length === head.length)
        .map((row) => Object.fromEntries(row.map((cell, index) => [head[index], cell])));
})"""
#: The controls of a panel that can be seen, each with its name and place, and what has the focus.
CONTROLS = """(() => {
    const panel = document.querySelector(".chatq-panel");
    const controls = "button:enabled, input:enabled, select:enabled, textarea:enabled, [tabindex]";
    const before = (one, other) => {
        const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
        if (a.bottom <= b.top + 2) return -1;
        return b.bottom <= a.top + 2 ? 1 : a.left - b.left;
    };
    const block = (one) => one.closest(".chatq-card") ?? [...panel.children].find(
        (child) => child.contains(one));
    const seen = [...panel.querySelectorAll(controls)].filter((one) =>
        one.tabIndex >= 0 && one.checkVisibility({ checkVisibilityCSS: true }));
    window.chatqSeen = seen.sort((one, other) => block(one) === block(other)
        ? before(one, other) : before(block(one), block(other)));
    return seen.map((one) =>
        (one.labels?.[0]?.innerText || one.textContent.slice(0, 20) || one.ariaLabel || "")
            .replaceAll("\u200b", "").trim() || `nameless: ${one.outerHTML}`);
})()"""
FOCUS = "chatqSeen.indexOf(document.activeElement)"


@contextlib.asynccontextmanager
async def lesson(jupyter, number):
    """Open a lesson, run all of it, and find no fault."""
    (path,) = NOTEBOOKS.glob(f"{number}-*.ipynb")
    async with jupyter.notebook(path) as page:
        counts = await page.run_all()
        assert await page.outputs_with_errors() == []
        cells = nbformat.read(path, as_version=4).cells
        assert counts == list(range(1, 1 + sum(cell.cell_type == "code" for cell in cells)))
        await page.see("facts", within=PANEL)
        yield page


def card(name, panel=PANEL):
    """Return the selector of the card of a client or a process."""
    return f'{panel} .chatq-card:has(strong:text-is("{name}"))'


def table(name="deliveries", root=f'document.querySelector("{PANEL}")'):
    """Return the script that gives the rows of a table of a panel."""
    return f'{TABLE}("the table of {name}", {root})'


async def send(page, line):
    """Run this line, as soon as the panel shows it; return the row that it adds to the table."""
    await page.see(line, within=f"{LINE} code")
    assert await page.text(f"{LINE} code") == line
    seen = max(int(row["no."]) for row in await page.evaluate(table()))
    await page.click("button", RUN, within=PANEL)
    await page.see(f">>> {line}", within=f"{LOG} pre >> nth=0")
    rows = await page.until(
        table(), f"(rows) => rows.some((row) => row['no.'] > {seen})", f"a row for {line}", 8
    )
    return rows[-1]


async def photograph(page, name, folder, panel=PANEL):
    """Take pictures of the panel, light and dark, on a wide page and a narrow one."""
    for theme in ("dark", "light"):
        for width in (1300, 900):
            path = pictures(folder) / f"panel-{name}-{theme}-{width}.png"
            await page.screenshot(path, of=panel, theme=theme, width=width)


# -- the lessons ----------------------------------------------------------------------------------


async def test_a_lesson_that_nobody_has_run_shows_the_picture_of_its_panel(jupyter, tmp_path):
    """Nobody trusts a notebook that has just been fetched: its HTML is stripped."""
    (path,) = NOTEBOOKS.glob("03-*.ipynb")
    async with jupyter.notebook(path) as page:
        await page.until(
            "[...document.querySelectorAll('.jp-OutputArea p img')].map((one) => one.naturalWidth)",
            "(widths) => widths.length === 1 && widths[0] > 300",
            "the picture of the panel",
        )
        await page.screenshot(tmp_path / "not run.png", of=".jp-OutputArea:has(p img)")


async def test_a_panel_shows_who_gets_it_and_when(jupyter, tmp_path):
    async with lesson(jupyter, "03") as page:
        await photograph(page, "03", tmp_path)
        row = await send(page, "await sio.emit('news', 'hello', skip_sid=ada.get_sid())")
        assert {name: row[name] for name in ("ada", "bob")} == {"ada": "✗ skipped", "bob": "✓"}
        await page.choose("To", "everyone", within=PANEL)
        row = await send(page, "await sio.emit('news', 'hello')")
        assert [row[name] for name in ("ada", "bob", "cy", "dan")] == ["✓"] * 4
        newest = await page.evaluate(table())
        await steps(page, newest)
        await page.fill("Payload", '{"a": ', within=PANEL)
        await page.see("the payload begins like JSON and is not", within=LINE)
        with pytest.raises(PeerError, match="not enabled"):
            await page.do("click", selector=named("button", RUN, PANEL), within=300)
        await page.fill("Payload", '{"a": [1]}', within=PANEL)
        row = await send(page, "await sio.emit('news', {'a': [1]})")
        assert row["message"] == "news {'a': [1]}"
        assert await page.do("texts", selector=f"{PANEL} .chatq-complaint") == []


async def steps(page, newest):
    """Go back in time, and forth again, in all the ways there are."""
    shown = "document.querySelector('.chatq-panel input[type=number]').value"
    last = await page.evaluate(shown)
    await page.fill("Step", "12", role="spinbutton", within=PANEL)
    await page.press("Enter")
    older = await page.until(table(), "(rows) => rows.length < 6", "an older picture", 8)
    assert older
    assert older == newest[: len(older)] or older[0]["no."] == "1"
    await page.drag(f"{PANEL} .noUi-handle", right=60)
    await page.until(table(), f"(rows) => rows.length > {len(older)}", "a younger picture", 8)
    await page.click("button", "First", within=PANEL)
    await page.until(table(), "(rows) => rows.length === 0", "the first picture", 8)
    await page.fill("Step", str(int(last) - 1), role="spinbutton", within=PANEL)
    await page.press("Enter")
    await page.until(shown, f"(value) => value === '{int(last) - 1}'", "the step before", 8)
    await page.click("button", "Play", within=PANEL)
    await page.until(shown, f"(value) => value === '{last}'", "the play to end", 8)
    await page.see("Play", within=f"{PANEL} .widget-toggle-button")
    await page.click("button", "First", within=PANEL)
    await page.until(table(), "(rows) => rows.length === 0", "the first picture again", 8)
    await page.click("button", "Newest", within=PANEL)
    found = "(rows) => JSON.stringify(rows) === " + f"JSON.stringify({newest!r})"
    await page.until(table(), found, "the newest picture", 8)


async def test_a_room_is_joined_and_left_and_who_hangs_up_is_told_why(jupyter):
    async with lesson(jupyter, "04") as page:
        to_room = "await sio.emit('said', 'page 138', to='book club')"
        to_all = "await sio.emit('said', 'page 138')"
        row = await send(page, to_room)
        assert (row["ada"], row["cy"]) == ("✓", "✗ not in room")
        await page.click("button", "Join", within=card("cy"))
        await page.see("type the name of a room first", within=f"{PANEL} [role=alert]")
        await page.fill("Room", "book club", within=card("cy"))
        await page.click("button", "Join", within=card("cy"))
        await page.see(">>> await sio.enter_room(cy.get_sid(), 'book club')", within=LOG)
        await page.see("(room book club)", within=card("cy"))
        assert (await send(page, to_room))["cy"] == "✓"
        await page.click("button", "Leave", within=card("cy"))
        await page.see(">>> await sio.leave_room(cy.get_sid(), 'book club')", within=LOG)
        assert (await send(page, to_room))["cy"] == "✗ left room"
        await page.choose("To", "everyone", within=PANEL)
        for _ in range(2):  # a button that has changed answers on another thread from then on
            await page.click("button", "Hang up", within=card("cy"))
            await page.see("○ off the line", within=card("cy"))
            assert (await send(page, to_all))["cy"] == "✗ gone"
            await page.click("button", "Dial", within=card("cy"))
            await page.see("● connected", within=card("cy"))
            assert (await send(page, to_all))["cy"] == "✓"
        await page.click("button", "Freeze", within=card("cy"))
        await page.click("button", "Thaw", within=card("cy"))
        await page.click("button", "Freeze", within=card("cy"))
        await page.see("frozen", within=card("cy"))
        assert await page.do("texts", selector=f"{LOG} pre.bad") == []


async def test_a_driver_is_killed_and_started_again_and_so_is_a_hub(jupyter, tmp_path):
    first, second = (f":nth-match({PANEL}, {number})" for number in (1, 2))

    def about(package):
        return f"(rows) => rows.find((row) => row.message === `pickup '{package}'` && " + (
            "row['from → to'].startsWith('server'))"
        )

    async with lesson(jupyter, "06") as page:
        await photograph(page, "06", tmp_path, first)
        await page.click("button", "Kill", within=card("driver", first))
        await page.see("killed", within=card("driver", first))
        await page.click("button", RUN, within=first)
        rows = await page.until(table(), about("O-11"), "the package O-11", 8)
        assert re.match("✗ (cut off|killed)", rows[-1]["driver"])
        await page.click("button", "Start again", within=card("driver", first))
        await page.see("● connected, running", within=card("driver", first))
        await page.fill("Payload", "O-12", within=first)
        await page.click("button", RUN, within=first)
        await page.see("picked up O-12", within=card("driver", first))
        rows = await page.until(table(), about("O-12"), "the package O-12", 8)
        (row,) = [r for r in rows if r["message"] == "pickup 'O-12'" and r["driver"] != "·"]
        assert row["driver"] == "✓ sent"

        log = f"{second} [role=log]"
        await page.click("button", "Kill", within=card("hub", second))
        for name in ("vendor", "driver"):
            await page.see("○ off the line", within=card(name, second))
        await page.click("button", RUN, within=second)
        await page.see("/caps is not a connected namespace", within=log)
        await page.click("button", "Start again", within=card("hub", second))
        await page.see(">>> await stage.restart('hub')", within=log)
        for name in ("vendor", "driver"):
            await page.click("button", "Dial", within=card(name, second))
            await page.see("● connected", within=card(name, second))
        await page.see(">>> await driver.connect(url=hub, namespaces=['/caps'])", within=log)
        await page.click("button", RUN, within=second)
        root = f'document.querySelectorAll("{PANEL}")[1]'
        got = "(rows) => rows.some((row) => row.driver === '✓' && row.message.includes('O-13'))"
        await page.until(table(root=root), got, "the package O-13", 8)
        await photograph(page, "06-hub", tmp_path, second)


async def test_a_queue_keeps_what_waits_for_its_listener(jupyter):
    def counts(wait, settled):
        return (
            f"([row]) => row.wait === '{wait}' && row.settled === '{settled}'",
            f"{wait} to wait and {settled} to be settled",
            8,
        )

    async with lesson(jupyter, "07b") as page:
        await page.until(table("queues"), *counts(0, 2))
        await page.click("button", "Stop listening", within=PANEL)
        await page.see(">>> await queues.unsubscribe(driver.get_sid(), 'drivers')", within=LOG)
        row = await send(page, "await queues.emit('pickup', 'O-7', to='drivers')")
        assert "waits" in row["queue drivers"]
        await page.until(table("queues"), *counts(1, 2))
        await page.click("button", "Listen", within=PANEL)
        await page.until(table("queues"), *counts(0, 3))
        (row,) = [row for row in await page.evaluate(table()) if row["message"] == "pickup 'O-7'"]
        assert row["driver"] == "✓ attempt 1, settled"
        await page.click("button", "Redrive the dead", within=PANEL)
        await page.see(">>> await queues.redrive('drivers')", within=f"{LOG} pre >> nth=0")


# -- a scene with two panels ----------------------------------------------------------------------

SCENE = """
import asyncio
import socketio
from chatq import Stage

sio, asked = socketio.AsyncServer(async_mode="aiohttp"), asyncio.Event()

@sio.event
async def chat(sid, text):
    print("the server heard", text)
    asked.set()
    await sio.emit("chat", text, skip_sid=sid)

@sio.event
async def breaks(sid, text):
    raise KeyError("spanner")

stage = await Stage.open(sio)
for client in await stage.clients("ada", "bob"):
    client.on("chat", lambda text: None)
"""
SHOWN = 'stage.panel("Who hears it?", sender="ada", event="chat", data="hi", target="the server")'
WAITS = 'await asked.wait()\nprint("asked")'


@contextlib.asynccontextmanager
async def scene(jupyter, folder, *more):
    """Open a notebook with a scene and two panels of it, and these cells; run the first three."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in (SCENE, SHOWN, SHOWN, *more)]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    folder = folder / "scene"
    folder.mkdir()
    nbformat.write(made, folder / "scene.ipynb")
    async with jupyter.notebook(folder / "scene.ipynb") as page:
        for number in (1, 2, 3):
            await page.run_cell(number)
        await page.see("facts", within=f"{PANEL} >> nth=1")
        yield page


async def test_panels_work_while_a_cell_waits_agree_and_say_what_is_over(jupyter, tmp_path):
    async with scene(jupyter, tmp_path, WAITS) as page:
        one, other = f"{PANEL} >> nth=0", f"{PANEL} >> nth=1"
        line = f"{one} >> .chatq-line"
        waiting = await page.start_cell(4)
        for text in ("first", "second", "third"):  # what was answered wrongly is stuck after one
            await page.fill("Payload", text, within=one)
            await page.see(f"await ada.emit('chat', '{text}')", within=line)
        for who in ("bob", "ada", "bob"):
            await page.choose("From", who, within=one)
            await page.see(f"await {who}.emit('chat', 'third')", within=line)
        assert "asked" not in await page.text(f"{page.cell(4)} >> .jp-OutputArea")
        await page.click("button", RUN, within=one)
        await page.ran(waiting)
        for panel in (one, other):
            await page.see("the server heard third", within=f"{panel} >> [role=log]")
        await page.fill("Event", "breaks", within=one)
        await page.click("button", RUN, within=one)
        for panel in (one, other):
            await page.see("spanner", within=f"{panel} >> [role=log]")
        await page.click("button", "Hang up", within=f"{other} >> {card('bob')[len(PANEL) :]}")
        both = f"[...document.querySelectorAll('{PANEL}')]"
        seen = await page.until(
            f"{both}.map((panel) => [...panel.querySelectorAll('.chatq-card, td, pre')]"
            ".map((part) => part.innerText).join())",
            "(seen) => seen.every((one) => one.includes('off the line') && one === seen[0])",
            "both panels to show the same",
            8,
        )
        assert "✗ hung up" not in seen[0]
        size = f"{both}.map((panel) => panel.querySelector('td').getBoundingClientRect().height)"
        small = await page.evaluate(size)
        await page.click("checkbox", "Projector size", within=one)
        await page.until(
            size, f"([one, other]) => one > {small[0]} * 1.2 && other === {small[1]}", "it to grow"
        )
        await page.click("button", "Reset", within=one)
        await page.see(">>> await stage.reset()", within=f"{other} >> [role=log]")
        await page.see("● connected", within=f"{other} >> {card('bob')[len(PANEL) :]}")
        await page.click("button", "Close the stage", within=other)
        for panel in (one, other):
            await page.see("this stage is closed: run its cells", within=f"{panel} >> [role=alert]")
        assert await page.outputs_with_errors() == []
        await page.restart_kernel()
        await page.see("This panel's kernel is gone", within=f"{one} >> .chatq-gone")
        controls = "button, input, select, textarea, .noUi-target"
        visible = f"[...document.querySelectorAll('{PANEL}')].flatMap((panel) => [...panel" + (
            f".querySelectorAll('{controls}')]).filter((one) =>"
            " one.checkVisibility({ checkVisibilityCSS: true })).length"
        )
        assert await page.evaluate(visible) == 0


@pytest.mark.parametrize("end", ["shutdown()", "session.kernel.requestExecute({ code: CRASH })"])
async def test_a_panel_says_that_its_kernel_is_gone(jupyter, tmp_path, end):
    """Shut down, nothing tells a widget so; the page knows. One that has died starts again."""
    async with scene(jupyter, tmp_path) as page:
        await page.evaluate(
            'const CRASH = "import os; os._exit(1)";'
            f"void jupyterapp.shell.currentWidget.context.sessionContext.{end}"
        )
        await page.see("This panel's kernel is gone", within=f"{PANEL} >> nth=0 >> .chatq-gone")


async def test_a_panel_is_accessible_and_tab_reaches_every_control_in_order(jupyter, tmp_path):
    async with scene(jupyter, tmp_path) as page:
        await page.click("button", RUN, within=f"{PANEL} >> nth=0")
        await page.see("the server heard hi", within=f"{PANEL} >> nth=0 >> [role=log]")
        for theme in ("dark", "light"):
            await page.theme(theme)
            assert await page.axe(PANEL) == []
        names = await page.evaluate(CONTROLS)
        assert [name for name in names if name.startswith("nameless")] == []
        assert {"Projector size", "Hang up", "Join", "Payload", RUN, "Step"} <= set(names)
        await page.evaluate("chatqSeen[0].focus()")
        reached = []
        for _ in names:
            reached.append(await page.evaluate(FOCUS))
            await page.press("Tab")
        assert [names[at] for at in reached] == names
        assert reached == [*range(len(names))]


#: Of each panel: the messages whose lines are lit, the columns whose signs are, and what can be
#: read below the table.
LIT = """[...document.querySelectorAll(".chatq-panel")].map((panel) => {
    const all = (selector) => [...panel.querySelectorAll(selector)];
    const stroke = (part) => getComputedStyle(part).stroke;
    const lit = (selector) => all(selector).filter((part) => stroke(part) !== "none");
    const seen = all(".chatq-why, .chatq-below").filter((part) =>
        part.getBoundingClientRect().width > 100 &&
        getComputedStyle(part).visibility === "visible");
    return {
        lines: lit(".chatq-band").map((band) => band.parentElement.classList[1]),
        signs: lit(".chatq-ring").map((ring) => ring.parentElement.getAttribute("class")),
        said: seen.map((part) => part.textContent.trim()),
    };
})"""


async def test_a_cell_that_is_pointed_at_lights_its_line_and_says_why(jupyter, tmp_path):
    hint = ["Why? Point at a mark, or reach it with the Tab key."]
    nothing = {"lines": [], "signs": [], "said": hint}
    async with scene(jupyter, tmp_path) as page:
        one, other = f"{PANEL} >> nth=0", f"{PANEL} >> nth=1"
        await page.click("button", RUN, within=one)
        for panel in (one, other):
            await page.see("the server heard hi", within=f"{panel} >> [role=log]")
        await page.until(
            LIT, f"(all) => all.every(({{ said }}) => said[0] === '{hint[0]}')", "hints"
        )
        ada_of_2 = ".chatq-cell.chatq-m2.chatq-c1"
        await page.do("hover", selector=f"{one} >> {ada_of_2}")
        skipped = "ada did not get 'chat': it was the sender that skip_sid left out."
        shown = {"lines": ["chatq-m2"], "signs": ["chatq-c1"], "said": [skipped]}
        assert await page.evaluate(LIT) == [shown, nothing]
        await page.do("hover", selector=f"{one} >> .chatq-head")
        await page.do("focus", selector=f"{other} >> .chatq-cell.chatq-m1.chatq-c0")
        got = {"lines": ["chatq-m1"], "signs": ["chatq-c0"], "said": ["server got 'chat'."]}
        assert await page.evaluate(LIT) == [nothing, got]
        await page.press("Tab")
        got = {"lines": ["chatq-m1"], "signs": ["chatq-c1"], "said": ["ada sent 'chat' itself."]}
        assert await page.evaluate(LIT) == [nothing, got]
        assert await page.axe(PANEL) == []
        await page.screenshot(pictures(tmp_path) / "panel-lit.png", of=other)
