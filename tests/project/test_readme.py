"""The README is executed: its scripts print what it says they print."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from importlib import metadata

import hubs
import pytest
from places import ROOT
from pytest_runs import SERVER, run_pytest

README = ROOT / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("number", "output"), [(0, 0), (1, 1), (5, 2)])
def test_the_scripts_print_what_the_readme_says_they_print(number, output, complaints, tmp_path):
    scripts, outputs = blocks("python"), blocks("text")
    assert (len(scripts), len(outputs)) == (6, 3)
    script = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-X", "utf8", "-c", scripts[number]],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert complaints(script.stderr) == ""
    assert script.stdout == outputs[output]


def test_the_test_fails_as_the_readme_says_it_does(tmp_path):
    """What is no script of its own is marked `py`, and what a terminal shows, `console`."""
    [test], [said] = blocks("py"), blocks("console")
    assert len(test.splitlines()) <= 6
    server = SERVER.replace('async_mode="aiohttp"', 'async_mode="asgi"')
    application = "from fastapi import FastAPI\napp = FastAPI()\n"
    (tmp_path / "server.py").write_text(server + application, encoding="utf-8")
    ran = run_pytest(tmp_path, f"from server import app, sio\n{test}")
    shown = ran.of("test_news")
    assert said in re.sub(r"(?m)^E +\n", "", shown)
    assert "- chatq -" in shown
    assert "journal: " in shown
    assert "replay: " in shown


@contextlib.contextmanager
def started(script, folder):
    """One of the README's programs, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        hubs.end(process)


@contextlib.contextmanager
def own_server(port, folder):
    """The README's server in the place of the hub."""
    with started(blocks("python")[4].replace("3001", port), folder) as server:
        with hubs.deadline(server):
            assert server.stdout.readline() == "waiting for both ends\n"
        yield
        server.send_signal(signal.SIGINT)  # Ctrl-C
        assert server.communicate(timeout=10) == ("", "")
        assert server.returncode == 0


@pytest.mark.parametrize("server", ["hub", "own"])
def test_the_two_ends_may_be_started_before_the_hub_or_a_server_of_ones_own(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    producer, consumer = (script.replace("3001", port) for script in blocks("python")[2:4])
    with started(producer, tmp_path) as first, started(consumer, tmp_path) as second:
        serves = (
            hubs.hub("--port", port, folder=tmp_path)
            if server == "hub"
            else own_server(port, tmp_path)
        )
        with serves:
            for end, line in (
                (first, "the hub has it\n"),
                (second, "on the way with {'order': 17}\n"),
            ):
                with hubs.deadline(end):
                    assert end.stdout.readline() == line
            assert first.wait(10) == 0
            second.send_signal(signal.SIGINT)  # Ctrl-C
            assert second.communicate(timeout=10) == ("", "")
            assert second.returncode == 0


def test_the_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (README.parent / link).exists()]
    assert not missing
    assert len(links) > 5


def test_an_index_shows_the_readme_without_links_that_lead_nowhere():
    """The README as pyproject.toml changes it when chatq is built, and as it is installed here."""
    shown = metadata.metadata("chatq").get_payload()
    targets = re.findall(r"\]\(([^)]*)\)", shown)
    assert [target for target in targets if "://" not in target] == []
    assert targets
    for words in ("*Ada says", "| Start here |", "[NATS](https://nats.io)", blocks("python")[1]):
        assert words in shown
