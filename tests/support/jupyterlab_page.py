"""A real JupyterLab, as somebody in front of it: a server of its own, pages, clicks, keys.

    async with lab() as jupyter:
        async with jupyter.notebook(path) as page:
            await page.run_all()
            await page.click("button", "Send")

A copy of the notebook is opened, cells count from 1 (code only), and every wait has a deadline
that says what was pending. However a test ends: no process, port or file is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import needs
from foreign_client import Peer, peer

#: Deadlines in seconds: for the server, for a page that opens, and for what cells do.
STARTS, OPENS, RUNS = 60.0, 60.0, 90.0

#: What JupyterLab would do by itself, or only for what is in sight; each plugin's settings.
SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"adaptive-theme": True},  # as the browser says: light or dark
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
}

#: JupyterLab, and beside it what ends it when stdin does: so also when the tests are killed. It is
#: asked once; if it is not gone by then, it is not asked again. Kernels end without their server.
GUARD = """
import subprocess, sys, threading
command = [sys.executable, "-m", "jupyterlab", *sys.argv[1:]]
lab = subprocess.Popen(command, stdin=subprocess.DEVNULL)
def watch():
    sys.stdin.buffer.raw.read()
    lab.terminate()
    try:
        lab.wait(10)
    except subprocess.TimeoutExpired:
        lab.kill()
threading.Thread(target=watch, daemon=True).start()
sys.exit(lab.wait())
"""

TALL = 3000  #: pixels
CODE = ".jp-Notebook .jp-CodeCell"
OUTPUTS = ".jp-Notebook .jp-OutputArea"
ICONS = r"[\ue000-\uf8ff\s]*"  #: of Font Awesome: characters without a meaning
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'  #: tracebacks, too

#: In the page: how far the notebook is. Its indicator says "idle" also while it has no kernel yet;
#: what is chosen from a menu then is for no notebook, or for one that cannot run.
READY = """(() => {
    const { context, content } = window.jupyterapp?.shell.currentWidget ?? {};
    const kernel = context?.sessionContext.session?.kernel;
    return {
        notebook: !!context?.isReady && !!content?.widgets.length,
        focus: !!content?.node.contains(document.activeElement),
        session: !!context?.sessionContext.isReady,
        kernel: kernel?.connectionStatus === "connected" && kernel.status,
        dialog: document.querySelector(".jp-Dialog")?.innerText ?? "none",
    };
})()"""
IS_READY = """({ notebook, focus, session, kernel, dialog }) =>
    notebook && focus && session && kernel === 'idle' && dialog === 'none'"""
#: Keeps what the page's commands do: JupyterLab's own word on whether one has begun, and ended. Of
#: cells it says so when the first has failed, though others are still to run: what is asked of the
#: kernel then is answered after all of them.
KEEP = """
    window.commands = [];
    const later = () => jupyterapp.shell.currentWidget.context.sessionContext.session.kernel
        .requestExecute({ code: "", silent: true, store_history: false }).done;
    jupyterapp.commands.commandExecuted.connect((_, { id, result }) => {
        const command = { id, over: false };
        window.commands.push(command);
        result.catch(() => undefined).then(id.startsWith("notebook:run-") ? later : () => undefined)
            .finally(() => (command.over = true));
    });
"""
#: What can be seen of the code cells that have code.
CELLS = f"""[...document.querySelectorAll("{CODE}")]
    .filter((cell) => cell.querySelector(".cm-content").textContent.trim())
    .map((cell) => cell.querySelector(".jp-InputPrompt").textContent.trim())"""

#: What the items of the menus do, by the name of the command that each of them ends in.
COMMANDS = {
    "Clear Outputs of All Cells": "notebook:clear-all-cell-outputs",
    "Restart Kernel…": "kernelmenu:restart",
    "Run All Cells": "notebook:run-all-cells",
    "Run Selected Cell and All Below": "notebook:run-all-below",
    "Run Selected Cell and Do not Advance": "notebook:run-cell",
}


class Page:
    """One notebook in one page, and what somebody can do there."""

    def __init__(self, browser: Peer, name: str) -> None:
        self.browser = browser
        self.name = name

    async def do(self, what: str, **options: Any) -> Any:
        """Give one of the commands of `peer.mjs` for pages."""
        return await self.browser.do(what, page=self.name, **options)

    # -- cells and the kernel

    async def run_all(self, within: float = RUNS) -> list[int]:
        """Run all cells; return their counts when JupyterLab is through with all of them.

        A cell that was not run has 0.
        """
        await self._over(await self.menu("Run", "Run All Cells"), within)
        return await self.counts()

    async def run_from(self, number: int, within: float = RUNS) -> list[int]:
        """Run this code cell and all below it, as `run_all` does; return the counts of all."""
        await self._select(number)
        await self._over(await self.menu("Run", "Run Selected Cell and All Below"), within)
        return await self.counts()

    async def run_cell(self, number: int, *, within: float = RUNS) -> None:
        """Run one code cell, and wait until it has run."""
        await self._over(await self.start_cell(number), within)

    async def start_cell(self, number: int) -> int:
        """Run one code cell; return as soon as it is running what `ran` waits for."""
        await self._select(number)
        return await self.menu("Run", "Run Selected Cell and Do not Advance")

    async def ran(self, started: int, *, within: float = RUNS) -> None:
        """Wait until the cell that was started has run."""
        await self._over(started, within)

    async def counts(self) -> list[int]:
        """Return the counts of the code cells that have code; 0: it has none."""
        return [int(re.sub(r"\D", "", prompt) or 0) for prompt in await self.evaluate(CELLS)]

    async def _select(self, number: int) -> None:
        await self.do("click", selector=f"{self.cell(number)} >> .jp-InputPrompt")

    async def _over(self, command: int, within: float) -> None:
        await self.until(
            f"({{ prompts: {CELLS}, command: commands[{command}] }})",
            "({ command }) => command.over",
            "all cells that were started to have run",
            within,
        )

    def cell(self, number: int) -> str:
        """Return the selector of a code cell; they count from 1."""
        return f"{CODE} >> nth={number - 1}"

    async def outputs_with_errors(self) -> list[str]:
        """Return the text of each traceback, and of all else on stderr."""
        return list(await self.do("texts", selector=f".jp-Notebook {STDERR}"))

    async def restart_kernel(self) -> None:
        """Restart the kernel, and say yes; returns when it is idle again."""
        await self.menu("Kernel", "Restart Kernel…")
        await self.click("button", "Confirm Kernel Restart", within=".jp-Dialog")
        await self.ready()

    async def ready(self) -> None:
        """Wait until the notebook is there, has the focus, and its kernel has nothing to do."""
        await self.until(READY, IS_READY, "a notebook that can be run", OPENS)

    async def menu(self, bar: str, item: str) -> int:
        """Choose from a menu of the menu bar, as labelled; return the number of what that began."""
        before = await self.evaluate("commands.length")
        await self.do("click", selector=f'.lm-MenuBar-item:has(:text-is("{bar}"))')
        entry = f'.lm-Menu-item:has(:text-is("{item}"))'
        await self.do("hover", selector=entry)
        await self.do("see", selector=f"{entry}.lm-mod-active")  # the menu has noticed
        await self.do("press", key="Enter")
        found = await self.until(
            f"commands.slice({before}).map(({{ id }}) => id)",
            f"(ids) => ids.includes({COMMANDS[item]!r})",
            f"{item} to begin",
        )
        return int(before) + int(found.index(COMMANDS[item]))

    # -- widgets, and all else

    async def click(self, role: str, name: str, *, within: str = "") -> None:
        """Click what a screen reader calls `name`, as a `role`, inside the selector `within`."""
        await self.do("click", selector=named(role, name, within))

    async def fill(self, label: str, text: str, *, within: str = "", role: str = "textbox") -> None:
        """Type `text` instead of what is in the field called `label`."""
        await self.do("fill", selector=named(role, label, within), text=text)

    async def choose(self, label: str, option: str, *, within: str = "") -> None:
        """Choose the `option` that is shown so in the list called `label`."""
        await self.do("choose", selector=named("combobox", label, within), option=option)

    async def drag(self, selector: str, *, right: int) -> None:
        """Drag what fits `selector` with the mouse, by this many pixels to the right."""
        await self.do("drag", selector=selector, right=right)

    async def press(self, key: str, *, on: str = "") -> None:
        """Press a key ("Tab", "ArrowRight"), where the focus is or after setting it `on`."""
        if on:
            await self.do("focus", selector=on)
        await self.do("press", key=key)

    async def until(self, look: str, met: str, pending: str, within: float = RUNS) -> Any:
        """Return what the script `look` gives, as soon as the function `met` says yes to it."""
        what = {"look": look, "met": met, "pending": pending}
        return await self.do("until", **what, within=within * 1000)

    async def see(self, text: str = "", *, within: str = OUTPUTS, deadline: float = 8) -> list[str]:
        """Wait until something that fits the selector `within` shows `text`; return its texts."""
        return list(await self.do("see", selector=within, text=text, within=deadline * 1000))

    async def text(self, selector: str) -> str:
        """Return the text of what fits `selector`, as shown."""
        return str(await self.do("text", selector=selector))

    async def evaluate(self, script: str) -> Any:
        """Return what a script in the page gives."""
        return await self.do("evaluate", script=script)

    # -- how it looks

    async def axe(self, selector: str = CODE) -> list[str]:
        """Return what axe finds seriously or critically wrong within `selector` (CSS)."""
        found = await self.do("axe", inside=selector)
        return [one for one in found if one.startswith(("serious", "critical"))]

    async def theme(self, name: str) -> None:
        """Change to the "light" theme or the "dark" one."""
        await self.do("scheme", value=name)
        await self.until(
            "document.body.dataset.jpThemeLight",
            f"(light) => light === '{str(name == 'light').lower()}'",
            f"the {name} theme",
        )

    async def screenshot(
        self, path: Path, *, of: str = "", theme: str = "light", width: int = 1300
    ) -> None:
        """Store a picture of the page (or of what fits the selector `of`) as a PNG."""
        await self.theme(theme)
        await self.do("resize", width=width, height=TALL if of else 900)  # all of it is in sight
        await self.do("screenshot", path=str(path), of=of)
        await self.do("resize", width=1300, height=900)


class Lab:
    """One JupyterLab: where it is, and the notebooks that are opened in it."""

    def __init__(self, url: str, token: str, root: Path, browser: Peer) -> None:
        self.url = url
        self.token = token
        self.root = root  #: the folder that it serves
        self.browser = browser
        self._names = itertools.count(1)

    @contextlib.asynccontextmanager
    async def notebook(self, path: Path, *, files: bool = False) -> AsyncIterator[Page]:
        """Open a copy of a notebook, with what lies beside it, and its kernel; close both after.

        The page is 1300 px wide; `files`: with the file browser beside the notebook.
        """
        name = f"page {next(self._names)}"
        folder = self.root / name.replace(" ", "-")
        shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns(".*"))
        page = Page(self.browser, name)
        mode = "lab" if files else "doc"
        address = f"{self.url}/{mode}/tree/{folder.name}/{path.name}?token={self.token}&reset"
        how = {"height": 900, "profile": "jupyter"}  # what one has loaded, the next need not
        await self.browser.open(name, address, arguments=("--no-sandbox",), **how)
        try:
            await page.ready()
            await page.evaluate(KEEP)
            yield page
        finally:
            await page.do("leave")
            await self._end_kernels()
            shutil.rmtree(folder, ignore_errors=True)

    async def _end_kernels(self) -> None:
        async with self._session() as session:
            async with session.get("/api/sessions") as answer:
                open_ones = await answer.json()
            for one in open_ones:
                async with session.delete(f"/api/sessions/{one['id']}") as answer:
                    answer.raise_for_status()

    def _session(self) -> aiohttp.ClientSession:
        headers = {"Authorization": f"token {self.token}"}
        return aiohttp.ClientSession(
            self.url, headers=headers, timeout=aiohttp.ClientTimeout(STARTS)
        )


@contextlib.asynccontextmanager
async def lab(**settings: dict[str, Any]) -> AsyncIterator[Lab]:
    """Start a JupyterLab and a browser, and end both; `settings`: instead of those in SETTINGS."""
    needs.path("chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        async with (
            peer() as browser,
            _server(Path(scratch), browser, {**SETTINGS, **settings}) as running,
        ):
            yield running


@contextlib.asynccontextmanager
async def _server(
    scratch: Path, browser: Peer, settings: dict[str, dict[str, Any]]
) -> AsyncIterator[Lab]:
    token = secrets.token_hex(16)
    root = scratch / "root"
    root.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GUARD, "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={root}"),
        *("--ServerApp.terminals_enabled=False", "--LabApp.extension_manager=readonly"),
        "--LabApp.expose_app_in_browser=True",  # see READY
        *("--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        env=_environment(scratch, token, settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    said: list[str] = []
    try:
        url = await _address(process.stderr, said)
        async with asyncio.TaskGroup() as reading:
            reading.create_task(_read(process.stderr, said))
            try:
                yield Lab(url, token, root, browser)
            finally:
                process.stdin.close()
                await _ended(process, said)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # a kernel ends when its server has
            await process.wait()


async def _ended(process: asyncio.subprocess.Process, said: list[str]) -> None:
    try:
        async with asyncio.timeout(STARTS):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise TimeoutError(f"JupyterLab did not end in {STARTS} s:\n{''.join(said)}") from None


async def _address(stderr: asyncio.StreamReader, said: list[str]) -> str:
    """Return where the server says that it is, as soon as it does."""
    try:
        async with asyncio.timeout(STARTS):
            while line := (await stderr.readline()).decode():
                said.append(line)
                if found := re.search(r"(http://127\.0\.0\.1:[1-9]\d*)/lab", line):
                    return found[1]
    except TimeoutError:
        raise TimeoutError(f"JupyterLab did not start in {STARTS} s:\n{''.join(said)}") from None
    raise RuntimeError(f"JupyterLab ended before it served:\n{''.join(said)}")


async def _read(stderr: asyncio.StreamReader, said: list[str]) -> None:
    async for line in stderr:
        said.append(line.decode())


def _environment(scratch: Path, token: str, settings: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return an environment in which nothing of the user's own Jupyter is read or written."""
    own = {kind: scratch / kind for kind in ("config", "data", "runtime", "ipython")}
    for plugin, own_settings in settings.items():
        name, _, part = plugin.partition("/")
        folder = own["config"] / "lab/user-settings/@jupyterlab" / name
        path = folder / f"{part}.jupyterlab-settings"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(own_settings), encoding="utf-8")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")},
        "JUPYTER_CONFIG_DIR": str(own["config"]),
        "JUPYTER_DATA_DIR": str(own["data"]),
        "JUPYTER_RUNTIME_DIR": str(own["runtime"]),
        "JUPYTER_TOKEN": token,
        "IPYTHONDIR": str(own["ipython"]),
    }


def pictures(otherwise: Path) -> Path:
    """Return the folder for screenshots: what CHATQ_SCREENSHOTS names, or `otherwise`."""
    folder = Path(os.environ.get("CHATQ_SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def named(role: str, name: str, within: str = "") -> str:
    """Return the selector of what a screen reader calls `name`, as a `role`; icons do not count."""
    found = f"role={role}[name=/^{ICONS}{re.escape(name).replace('/', '[/]')}$/]"
    return f"{within} >> {found}" if within else found
