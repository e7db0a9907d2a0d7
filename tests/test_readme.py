"""The README is executed: its scripts print what it says they print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_the_scripts_print_what_the_readme_says_they_print(number, complaints, tmp_path):
    scripts, outputs = blocks("python"), blocks("text")
    assert len(scripts) == len(outputs) == 2
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


def test_the_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (README.parent / link).exists()]
    assert not missing
    assert len(links) > 5
