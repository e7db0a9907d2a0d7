"""The README is executed: its scripts print what it says they print."""

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

README = ROOT / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_the_scripts_print_what_the_readme_says_they_print(number, complaints, tmp_path):
    scripts, outputs = blocks("python"), blocks("text")
    assert (len(scripts), len(outputs)) == (4, 2)
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
    assert script.stdout == outputs[number]


def test_the_two_ends_of_the_hub_may_be_started_before_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    ends = [
        subprocess.Popen(
            [sys.executable, "-c", script.replace("3001", port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        for script in blocks("python")[2:]
    ]
    try:
        with hubs.hub("--port", port, folder=tmp_path):
            for end, line in zip(
                ends, ("the hub has it\n", "on the way with {'order': 17}\n"), strict=True
            ):
                with hubs.deadline(end):
                    assert end.stdout.readline() == line
            assert ends[0].wait(10) == 0
            ends[1].send_signal(signal.SIGINT)  # Ctrl-C
            assert ends[1].communicate(timeout=10) == ("", "")
            assert ends[1].returncode == 0
    finally:
        for end in ends:
            hubs.end(end)


def test_the_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (README.parent / link).exists()]
    assert not missing
    assert len(links) > 5


def test_an_index_shows_the_readme_without_links_that_lead_nowhere():
    """What pyproject.toml makes of it when chatq is built, as it is installed here."""
    shown = metadata.metadata("chatq").get_payload()
    targets = re.findall(r"\]\(([^)]*)\)", shown)
    assert [target for target in targets if "://" not in target] == []
    assert targets
    for words in ("*Ada says", "| Start here |", "[NATS](https://nats.io)", blocks("python")[1]):
        assert words in shown
