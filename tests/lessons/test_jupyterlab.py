"""The harness that drives JupyterLab: what it sees, what it waits for, what it leaves behind."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from foreign_client import PeerError, mentioning
from places import SUPPORT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.needs("node", "chromium")]

FAILS = """
import sys
print("a complaint", file=sys.stderr)
1 / 0
"""
#: The tests of somebody who kills them while a cell is running.
TESTS = """
import asyncio, sys
from pathlib import Path
from jupyterlab_page import lab

async def main():
    async with lab() as jupyter, jupyter.notebook(Path(sys.argv[1])) as page:
        await page.start_cell(1)
        print("running", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
WAITS = "import asyncio\nawait asyncio.Event().wait()"


def notebook(folder, *cells, tag=None):
    """Write a notebook with these code cells, tagged; return its path."""
    metadata = {"tags": [tag] if tag else []}
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, metadata=metadata) for cell in cells]
    )
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path = folder / "notebook" / "notebook.ipynb"
    path.parent.mkdir()
    nbformat.write(made, path)
    return path


async def test_errors_and_complaints_of_cells_are_seen(jupyter, tmp_path):
    async with jupyter.notebook(notebook(tmp_path, "1", FAILS)) as page:
        assert await page.run_all() == [1, 2]
        complaint, traceback = await page.outputs_with_errors()
        assert complaint.strip() == "a complaint"
        assert "ZeroDivisionError" in traceback


async def test_a_cell_that_has_not_run_has_no_count(jupyter, tmp_path):
    """Whether one runs that follows an error is JupyterLab's affair: late ones do."""
    async with jupyter.notebook(notebook(tmp_path, "1", "2")) as page:
        await page.run_cell(1)
        assert await page.counts() == [1, 0]


async def test_all_cells_have_run_and_are_in_the_page_also_when_the_first_has_failed(
    jupyter, tmp_path
):
    cells = ["1 / 0", *(f"print({number})" for number in range(60))]
    async with jupyter.notebook(notebook(tmp_path, *cells, tag="raises-exception")) as page:
        assert await page.run_all() == list(range(1, 62))
        assert len(await page.do("texts", selector=".jp-OutputArea-output")) == 61


async def test_a_wait_in_vain_says_what_was_pending(jupyter, tmp_path):
    async with jupyter.notebook(notebook(tmp_path, WAITS)) as page:
        started = await page.start_cell(1)
        with pytest.raises(PeerError, match=r"vain for all cells .* to have run; there: .*\[\*\]"):
            await page.ran(started, within=0.1)
        with pytest.raises(PeerError, match=r'waited 100 ms for 1 of \.jp-OutputArea with "x"'):
            await page.see("x", within=".jp-OutputArea", deadline=0.1)


@pytest.fixture
def short():
    """A folder with a short path: Chromium's sockets lie below it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.needs("linux")  # it looks for processes there
async def test_no_process_outlives_tests_that_are_killed(short):
    path = notebook(short, WAITS)
    tests = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TESTS, str(path)),
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "TMPDIR": str(short)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            assert await tests.stdout.readline() == b"running\n"
        begun = mentioning(str(short))
        assert len(begun) >= 4  # the tests, JupyterLab, a kernel, a browser, …
        tests.send_signal(signal.SIGKILL)
        async with asyncio.timeout(30):
            for pid in begun:
                await ended(int(pid))
            await tests.wait()
    finally:
        if tests.returncode is None:
            tests.kill()
            await tests.wait()
    assert mentioning(str(short)) == []


async def ended(pid):
    """Return as soon as there is no process `pid`."""
    over = asyncio.Event()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
