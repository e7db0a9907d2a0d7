"""The lessons in a real JupyterLab, and the harness itself: what it sees, types and clicks."""

import aiohttp
import nbformat
import pytest
import pytest_asyncio
from lab import lab, pictures
from lesson import NOTEBOOKS
from peer import PeerError, mentioning

pytestmark = pytest.mark.asyncio(loop_scope="module")

LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb"))

CONTROLS = '''
import asyncio, threading
import ipywidgets as widgets

loop, asked = asyncio.get_running_loop(), asyncio.Event()
said = widgets.HTML("nothing yet")
said.add_class("said")

def say(text):  # a callback may run in another thread, on that one's loop: it hops over
    asyncio.run_coroutine_threadsafe(says(text), loop)

async def says(text):
    asked.set() if text == "sent" else None
    where = "main" if threading.current_thread() is threading.main_thread() else "another"
    said.value = f"{text}, in the {where} thread"

def on(widget, what):
    widget.observe(lambda change: say(f"{what} {change['new']}"), "value")
    return widget

send = widgets.Button(description="Send", icon="check", tooltip="Send it to everyone")
send.on_click(lambda _: say("sent"))
event = on(widgets.Text(description="Event", continuous_update=False), "event")
room = on(widgets.Dropdown(description="Room", options=["red", "blue"]), "room")
step = widgets.BoundedIntText(description="Step", min=0, max=9)
slider = on(widgets.IntSlider(min=0, max=9, readout=False), "step")
play = widgets.Play(min=0, max=9, interval=50)
play.layout.display = "none"
toggle = widgets.ToggleButton(description="Play", icon="play")
links = [
    widgets.jslink((toggle, "value"), (play, "playing")),
    widgets.jslink((play, "value"), (slider, "value")),
    widgets.jslink((slider, "value"), (step, "value")),
]
# The main shell does not say "idle" while a cell waits; the page would wait for it for ever.
for one in (event, room, step, slider, play, toggle):
    one.comm._reply_subshell_for = None

gone = widgets.HTML("""<style>
.gone { display: none }
.jupyter-widgets-disconnected .gone { display: block }
.panel.jupyter-widgets-disconnected button { opacity: 0.4; pointer-events: none }
.panel .noUi-handle { visibility: hidden }
.panel .noUi-handle::after {
    content: ""; visibility: visible; position: absolute; inset: 0; display: block;
    width: auto; height: auto; transform: none;
    border: 1px solid #767676; border-radius: 50%; background: #fff;
}
</style><p class="gone" role="status">Run the notebook again.</p>""")
panel = widgets.VBox([gone, send, event, room, step, slider, toggle, play, said])
panel.add_class("panel")
panel
'''
#: JupyterLab names a subshell in each message of a widget; once ipykernel has echoed one, it
#: gives that widget's messages to the subshell: all but the first. So callbacks have to hop.
THREADS = """
import asyncio, threading
import ipywidgets as widgets

cells = asyncio.get_running_loop()
said = widgets.HTML()
said.add_class("said")

def changed(_):
    thread = "main" if threading.current_thread() is threading.main_thread() else "thread"
    loop = "the cells'" if asyncio.get_running_loop() is cells else "another"
    cells.call_soon_threadsafe(setattr, said, "value", f"{thread}: {loop} loop")

room = widgets.Dropdown(description="Room", options=["red", "blue", "green"])
room.observe(changed, "value")
widgets.VBox([room, said])
"""
WAITS = """
asked.clear()
await asked.wait()
print("asked")
"""
FAILS = """
import sys
print("a complaint", file=sys.stderr)
1 / 0
"""

#: What has serious findings by itself, and what we use instead (see CONTROLS), or how.
ALONE = {
    "widgets.IntSlider(description='Step')": ["aria-input-field-name"],
    "widgets.SelectionSlider(description='Step', options=['a', 'b'])": ["aria-input-field-name"],
    "widgets.Play()": ["button-name"],
    "widgets.Button(icon='check')": ["button-name"],
    "widgets.Dropdown(options=['a'])": ["select-name"],
    "widgets.Text(tooltip='Event')": ["label-title-only"],
    "widgets.Button(description='Send')": [],
    "widgets.Text(description='Event')": [],
    "widgets.Textarea(description='Payload')": [],
    "widgets.BoundedIntText(description='Step')": [],
    "widgets.IntProgress(description='Depth')": [],
    "widgets.Dropdown(description='Room', options=['a'])": [],
    "widgets.Select(description='Room', options=['a'])": [],
    "widgets.SelectMultiple(description='Rooms', options=['a'])": [],
    "widgets.ToggleButton(description='Listen')": [],
    "widgets.ToggleButtons(description='To', options=['a', 'b'])": [],
    "widgets.RadioButtons(description='Guess', options=['a', 'b'])": [],
    "widgets.Checkbox(description='Listen')": [],
    "widgets.Tab([widgets.HTML('x')], titles=['One'])": [],
    "widgets.Accordion([widgets.HTML('x')], titles=['One'])": [],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jupyter():
    async with lab() as one:
        yield one


def notebook(folder, *cells):
    """Write a notebook with these code cells; return its path."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path = folder / "notebook.ipynb"
    nbformat.write(made, path)
    return path


# -- the lessons --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LESSONS)
async def test_a_lesson_runs_in_jupyterlab_without_an_error(jupyter, name, tmp_path):
    async with jupyter.notebook(NOTEBOOKS / f"{name}.ipynb") as page:
        counts = await page.run_all()
        await page.screenshot(pictures(tmp_path) / f"{name}.png")
        assert await page.outputs_with_errors() == []
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    assert counts == list(range(1, 1 + sum(cell.cell_type == "code" for cell in cells)))


# -- what somebody does there -------------------------------------------------------------------


async def test_clicks_keys_and_choices_reach_the_main_loop_also_while_a_cell_waits(
    jupyter, tmp_path
):
    where = ", in the main thread"
    async with jupyter.notebook(notebook(tmp_path, CONTROLS, WAITS)) as page:
        await page.run_cell(1)
        await page.start_cell(2)
        await page.fill("Event", "pickup")
        await page.press("Enter")
        await page.see(f"event pickup{where}", within=".said")
        await page.choose("Room", "blue")
        await page.see(f"room blue{where}", within=".said")
        await page.fill("Step", "3", role="spinbutton")
        await page.press("Enter")
        await page.see(f"step 3{where}", within=".said")
        await page.press("ArrowUp")
        await page.see(f"step 4{where}", within=".said")
        await page.drag(".panel .noUi-handle", right=-1000)
        await page.see(f"step 0{where}", within=".said")
        await page.click("button", "Play", within=".panel")
        await page.see(f"step 9{where}", within=".said")
        assert "[*]" in await page.text(page.cell(2))
        await page.click("button", "Send", within=page.cell(1))
        await page.see(f"sent{where}", within=".said")
        await page.ran(2)
        assert "asked" in await page.text(page.cell(2))
        assert await page.do("complaints") == []


async def test_a_callback_may_run_in_another_thread_on_another_loop(jupyter, tmp_path):
    async with jupyter.notebook(notebook(tmp_path, THREADS)) as page:
        await page.run_cell(1)
        await page.choose("Room", "blue")
        await page.see("main: the cells' loop", within=".said")
        await page.choose("Room", "green")
        await page.see("thread: another loop", within=".said")


async def test_a_panel_whose_kernel_was_restarted_says_so_by_css_alone(jupyter, tmp_path):
    async with jupyter.notebook(notebook(tmp_path, CONTROLS)) as page:
        await page.run_cell(1)
        assert "Run the notebook again." not in await page.text(".panel")
        await page.restart_kernel()
        await page.see("Run the notebook again.", within=".panel .gone")
        look = (
            "[...document.querySelectorAll('.panel, .panel .jupyter-widgets')].map("
            "(one) => one.classList.contains('jupyter-widgets-disconnected'))"
        )
        assert all(await page.evaluate(look))
        with pytest.raises(PeerError, match="intercepts pointer events"):
            await page.do("click", selector=".panel button >> nth=0", within=500)
        await page.screenshot(pictures(tmp_path) / "stale-light.png", of=".panel")
        await page.screenshot(pictures(tmp_path) / "stale-dark.png", theme="dark", width=900)
        await page.run_all()
        await page.click("button", "Send")
        await page.see("sent", within=".said")


async def test_which_widgets_are_accessible_alone_and_what_helps_the_others(jupyter, tmp_path):
    shown = [f"display({source})" for source in ALONE]
    path = notebook(tmp_path, "import ipywidgets as widgets", *shown, CONTROLS)
    async with jupyter.notebook(path) as page:
        await page.run_all()
        await page.see("nothing yet", within=".said")
        found = {}
        for number, source in enumerate(ALONE, start=2):
            await page.see(within=f"{page.cell(number)} >> .jp-OutputArea-output")
            serious = await page.axe(f".jp-Cell:nth-child({number} of .jp-Cell) .jp-OutputArea")
            found[source] = [one.split(":")[0].split()[1] for one in serious]
        assert found == ALONE
        for theme in ("dark", "light"):
            await page.theme(theme)
            assert await page.axe(".panel") == []


# -- the harness itself -------------------------------------------------------------------------


async def test_errors_and_complaints_of_cells_are_seen(jupyter, tmp_path):
    async with jupyter.notebook(notebook(tmp_path, "1", FAILS, "2")) as page:
        assert await page.run_all() == [1, 2, 0]
        complaint, traceback = await page.outputs_with_errors()
        assert complaint.strip() == "a complaint"
        assert "ZeroDivisionError" in traceback


async def test_every_cell_of_a_long_notebook_is_in_the_page(jupyter, tmp_path):
    path = notebook(tmp_path, *(f"print({number})" for number in range(120)))
    async with jupyter.notebook(path) as page:
        assert await page.run_all() == list(range(1, 121))
        assert len(await page.do("texts", selector=".jp-OutputArea-output")) == 120


async def test_a_wait_in_vain_says_what_was_pending(jupyter, tmp_path):
    waits = "import asyncio\nawait asyncio.Event().wait()"
    async with jupyter.notebook(notebook(tmp_path, waits)) as page:
        await page.start_cell(1)
        with pytest.raises(PeerError, match=r"in vain for cell 1 to have run; there: .*\[\*\]"):
            await page.ran(1, within=0.1)
        with pytest.raises(PeerError, match=r'waited 100 ms for 1 of \.jp-OutputArea with "x"'):
            await page.see("x", within=".jp-OutputArea", deadline=0.1)


async def test_nothing_is_left_behind_when_a_test_fails(tmp_path):
    async def failing(seen):
        async with lab() as one, one.notebook(notebook(tmp_path, "1")) as page:
            await page.run_all()
            seen += [one.url, one.root.parent]
            assert len(mentioning(str(seen[1]))) >= 2  # the server and a kernel
            raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        await failing(seen)
    url, scratch = seen
    assert mentioning(str(scratch)) == []
    assert not scratch.exists()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)
