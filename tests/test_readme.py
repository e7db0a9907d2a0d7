"""The README is executed: its script prints what it says it prints."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"the README has no {language} block"
    return found[1]


def test_the_script_prints_what_the_readme_says_it_prints(complaints):
    script = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-X", "utf8", "-c", block("python")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert complaints(script.stderr) == ""
    assert script.stdout == block("text")


def test_the_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (README.parent / link).exists()]
    assert not missing
    assert len(links) > 5
