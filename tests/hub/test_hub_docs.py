"""`docs/hub.md`, followed to the letter: its tokens, its certificate, its programs and its page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import hubs
import needs
import pytest
from aiohttp import web
from foreign_client import peer

import chatq
from chatq.__main__ import main

TEXT = (Path(chatq.__file__).parent.parent / "docs" / "hub.md").read_text("utf-8")
CLIENT = needs.JS / "node_modules/socket.io-client/dist"
CDN = "https://cdn.socket.io/4.8.1/"


def block(language: str, containing: str = "") -> str:
    """Return the first block of code in this language that contains a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return next(each for each in blocks if containing in each)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A folder with what the page has one write and make."""
    (tmp_path / "tokens.toml").write_text(block("toml"))
    (tmp_path / "tokens.toml").chmod(0o600)
    command = block("sh", "openssl").partition("python -m chatq")[0].replace("\\\n", "")
    program, *arguments = shlex.split(command)
    subprocess.run(
        [needs.path(program), *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=20
    )
    return tmp_path


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("containing", "printed"),
    [
        ('client.call("publish"', r"\{'id': '[\w-]+'\}\n"),
        ("Outbox.open", r"on the way with \{'order': 17\}\n"),
    ],
)
def test_the_python_clients_of_the_page(folder: Path, containing: str, printed: str) -> None:
    options = ["--token-file", "tokens.toml", "--certificate", "cert.pem", "--key", "key.pem"]
    assert " ".join(options) in block("sh", "openssl")
    with hubs.hub(*options, folder=folder) as hub:
        program = block("py", containing).replace("localhost:3001", f"localhost:{hub.port}")
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(printed, done.stdout)
        assert hub.log.count("warning") == 0, hub.log


@pytest.mark.long
@pytest.mark.needs("openssl", "node", "chromium")
async def test_the_page_of_another_origin_of_the_page(folder: Path) -> None:
    text = block("html").replace(CDN, "/")
    assert text != block("html")

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=text.replace(":3001", f":{hub.port}"), content_type="text/html")

    application = web.Application()
    application.router.add_get("/", page)
    application.router.add_static("/", CLIENT)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    options = ["--token-file", "tokens.toml", "--certificate", "cert.pem", "--key", "key.pem"]
    with hubs.hub(*options, "--allow-origin", f"http://localhost:{port}", folder=folder) as hub:
        names = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",)
        async with peer() as browser:
            await browser.open("page", f"http://localhost:{port}/", arguments=names)
            await browser.do("see", page="page", selector="body", text='{"id":"')
        assert hub.log.count("warning") == 0, hub.log
    await runner.cleanup()


def test_all_options_are_those_of_the_hub(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    told = set(re.findall(r"--[a-z][a-z-]+", TEXT)) - {"--token"}
    assert told <= known, told - known
    protocol = (Path(chatq.__file__).parent / "PROTOCOL.md").read_text("utf-8")
    usage = re.search(r"```text\npython -m chatq serve(.*?)```", protocol, re.DOTALL)
    assert usage is not None
    assert set(re.findall(r"--[a-z][a-z-]+", usage[1])) <= known
