"""A stage in Jupyter: where prints appear, running things again, interrupting.

Every test has a real kernel of its own. nbclient, like nbval, drops what is printed for a cell
other than the one that runs, so a print that is found stands under the cell that caused it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import nbformat
import pytest
import regenerate
from kernel import kernel
from nbclient.exceptions import CellExecutionError
from nbformat import v4

SCENE = [
    """
import socketio
from chatq import Stage

sio = socketio.AsyncServer(async_mode="aiohttp")

@sio.event
def connect(sid, environ):
    print("server: connect")

@sio.event
async def ask(sid, text):
    print("server: ask")
    await sio.emit("answer", text, to=sid)

@sio.event
def disconnect(sid, reason):
    print("server: disconnect")

class Lab(socketio.AsyncNamespace):
    def on_connect(self, sid, environ):
        print("lab: connect")

    async def on_ask(self, sid, text):
        print("lab: ask")

    def on_disconnect(self, sid, reason):
        print("lab: disconnect")

sio.register_namespace(Lab("/lab"))
stage = await Stage.open(sio)
print("opened")
""",
    """
class LabClient(socketio.AsyncClientNamespace):
    def on_news(self, text):
        print("ada in lab: news")

ada = await stage.client("ada", connect=False)
ada.register_namespace(LabClient("/lab"))

@ada.event
def news(text):
    print("ada: news")

@ada.event
def answer(text):
    print("ada: answer")

@ada.event
def disconnect(reason):
    print("ada: disconnect")

await ada.connect(namespaces=["/", "/lab"], transports=["TRANSPORT"])
await stage.settle()
""",
    'await sio.emit("news", "1")\nawait stage.settle()',
    "print('nothing happens here')",
    'await ada.emit("ask", "?")\nawait stage.settle()',
    'await sio.emit("news", "2", namespace="/lab")\nawait stage.settle()',
    'await ada.emit("ask", "?", namespace="/lab")\nawait stage.settle()',
    "await GOODBYE\nawait stage.settle()",
    "await stage.close()\nprint('closed')",
]


def scene(transport: str, goodbye: str, mode: str = "aiohttp") -> list[str]:
    words = {"TRANSPORT": transport, "GOODBYE": goodbye, '"aiohttp"': f'"{mode}"'}
    cells = SCENE
    for word, meant in words.items():
        cells = [cell.replace(word, meant) for cell in cells]
    return cells


SHOWN = [
    ["opened"],
    ["lab: connect", "server: connect"],
    ["ada: news"],
    ["nothing happens here"],
    ["ada: answer", "server: ask"],
    ["ada in lab: news"],
    ["lab: ask"],
    ["ada: disconnect", "lab: disconnect", "server: disconnect"],
    ["closed"],
]


@pytest.mark.parametrize("mode", ["aiohttp", "asgi"])
async def test_a_print_stands_under_the_cell_that_caused_it(mode: str) -> None:
    async with kernel(*scene("websocket", "ada.disconnect()", mode)) as runs:
        assert await runs.run_all() == SHOWN


async def test_a_print_stands_under_its_cell_over_long_polling_too() -> None:
    # The server ends it: a polling client's own `disconnect` takes as long as its open poll.
    async with kernel(*scene("polling", "sio.disconnect(ada.get_sid())")) as runs:
        *shown, goodbye, closing = await runs.run_all()
    assert shown == SHOWN[:-2]
    assert goodbye == ["ada: disconnect", "server: disconnect"]
    assert closing == ["closed", "lab: disconnect"]


LESSON = [
    'import socketio\nfrom chatq import Stage\nsio = socketio.AsyncServer(async_mode="aiohttp")',
    """
@sio.event
def connect(sid, environ):
    print("a user connected")
""",
    "stage = await Stage.open(sio)\nstage",
    """
ada, bob = await stage.clients("ada", "bob")

@bob.event
def news(text):
    print("bob got", text)
""",
    """
await sio.emit("news", "hello", skip_sid=ada.get_sid())
await stage.settle()
stage.why("bob", "news")
""",
    "await stage.close()\nprint('closed')",
]


async def test_a_lesson_can_be_run_again_as_a_whole_and_cell_by_cell() -> None:
    async with kernel(*LESSON) as runs:
        first = await runs.run_all()
        assert first[3:5] != [[], []]
        await runs.restart()
        assert await runs.run_all() == first
        assert await runs.run_all() == first  # without a restart, after everything was closed
        for index, shown in enumerate(first):
            await runs.run(index)
            again = await runs.run(index)
            if index != 2:  # a new stage, or the one that its reader forgot to close
                assert again == shown
        await runs.run(2)
        await runs.run(2)  # one that is still open, on the same server
        assert [await runs.run(index) for index in (3, 4, 5)] == first[3:]


async def test_an_interrupt_leaves_the_stage_usable() -> None:
    async with kernel(
        """
import asyncio, socketio
from chatq import Stage

# ipykernel acts on an interrupt when its loop next wakes up: here, at a ping.
sio = socketio.AsyncServer(async_mode="aiohttp", ping_interval=1)

@sio.event
async def work(sid):
    print("working for ever")
    await asyncio.Event().wait()

stage = await Stage.open(sio)
ada, bob = await stage.clients("ada", "bob")
heard = []
bob.on("news", heard.append)
""",
        'await ada.emit("work")\nawait stage.settle(within=60)',
        'await sio.emit("news", "still here")\nawait stage.until(lambda: heard)\nprint(*heard)',
        "await stage.close()\nprint(stage)",
        'async with Stage(sio) as again:\n    await again.clients("ada")\n    print(again)',
    ) as runs:
        await runs.run(0)
        runs.printed.clear()
        settling = asyncio.create_task(runs.run(1))
        await runs.printed.wait()
        await runs.km.interrupt_kernel()
        with pytest.raises(CellExecutionError, match=r"KeyboardInterrupt|CancelledError"):
            await settling
        assert await runs.run(2) == ["still here"]
        assert await runs.run(3) == ["<Stage: closed, clients: ada, bob>"]
        assert await runs.run(4) == ["<Stage: open, clients: ada>"]


@pytest.mark.long
def test_regenerating_twice_changes_nothing_and_a_failing_cell_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "01-good.ipynb", tmp_path / "02-bad.ipynb"
    prints = "for text in 'ab':\n    print(text, flush=True)\n'c'"
    button = "import ipywidgets\nipywidgets.Button()"
    sources = [prints, button, "1 / 0"]
    cells = [v4.new_markdown_cell("# É"), *(v4.new_code_cell(source) for source in sources)]
    messy = v4.new_notebook(cells=cells, metadata={"widgets": {}})
    messy.cells[3].metadata = {"collapsed": True, "tags": ["raises-exception"]}
    messy.nbformat_minor = 4  # cells had no ids then
    for cell in messy.cells:
        del cell["id"]
    nbformat.write(messy, good)
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("1 / 0")]), bad)
    before = bad.read_bytes()

    assert regenerate.main([str(good), str(bad)]) == 1
    told = capsys.readouterr()
    assert "ZeroDivisionError" in told.err
    assert "01-good.ipynb: written" in told.out
    assert "02-bad.ipynb: FAILED" in told.out
    assert bad.read_bytes() == before

    written = good.read_bytes()
    assert regenerate.main([str(good)]) == 0
    assert good.read_bytes() == written

    stored = nbformat.read(good, as_version=4)
    assert stored.metadata == regenerate.METADATA
    assert [cell.id for cell in stored.cells] == ["01-1", "01-2", "01-3", "01-4"]
    prints, button, error = (cell.outputs for cell in stored.cells[1:])
    assert [output.get("text") for output in prints] == ["a\nb\n", None]
    assert [list(output.data) for output in button] == [["text/plain"]]
    assert [output.traceback for output in error] == [["ZeroDivisionError: division by zero"]]
    assert stored.cells[3].metadata == {"tags": ["raises-exception"]}
