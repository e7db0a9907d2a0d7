"""A guard over the stored notebooks: what a reader sees who runs nothing.

nbval runs the lessons and compares; but it passes a notebook whose outputs were cleared, and says
nothing about what an output gives away. The rules are functions over one notebook, so that they are
tested, too: every rule is shown a notebook that breaks it.
"""

from __future__ import annotations

import ast
import copy
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import needs
import pictures
import pytest
import regenerate
from engineio.base_server import BaseServer
from places import NOTEBOOKS, ROOT

from chatq.course.question import Question, question

LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
INDEX, GLOSSARY = "00-start-here.ipynb", "glossary.ipynb"

Notebook = dict[str, Any]

#: What changes from run to run or from machine to machine, and so must be in no output.
LEAKS = {
    # 12 random bytes and a 3-byte count, in base64: while the count is below 4096 it begins "AA".
    "a sid": r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{16}AA[A-Za-z0-9_-]{2}(?![A-Za-z0-9_-])",
    "a port": r"(?:127\.0\.0\.1|0\.0\.0\.0|localhost):\d+",
    "a path": r"(?<![\w.])/(?:home|root|tmp|work|usr|var|Users)/|\b[C-Z]:\\\w",
    "a time of day": r"\b[0-2]\d:[0-5]\d\b",
    "a date": r"\b(?:19|20)\d\d-\d\d-\d\d\b",
    "a memory address": r"\b0x[0-9a-fA-F]{6,}\b",
}
IGNORED = "nbval-ignore-output"
PROMPT = "> **Predict.**"


# -- the rules ----------------------------------------------------------------------------------


def complaints(notebook: Notebook) -> list[str]:
    """Return what is wrong with a stored notebook, whatever it teaches."""
    return [
        *_metadata(notebook),
        *_counts(notebook),
        *(complaint for cell in _code(notebook) for complaint in _cell(cell)),
        *_closes(notebook),
    ]


def _metadata(notebook: Notebook) -> Iterator[str]:
    metadata = notebook["metadata"]
    if metadata.get("kernelspec", {}).get("name") != "python3":
        yield "asks for another kernel than python3"
    if "widgets" in metadata:
        yield "stores the state of widgets"


def _counts(notebook: Notebook) -> Iterator[str]:
    counts = [cell.get("execution_count") for cell in _code(notebook)]
    if counts != [*range(1, len(counts) + 1)]:
        yield f"was not run once from top to bottom: {counts}"


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    outputs, tags = cell["outputs"], cell["metadata"].get("tags", [])
    name = cell["source"].partition("\n")[0]
    if "no-output" in tags and outputs:
        yield f"{name}: tagged no-output, but it shows something"
    if "no-output" not in tags and not outputs:
        yield f"{name}: shows nothing (cleared, or it needs the tag no-output)"
    if IGNORED in tags and not re.search(r"(?m)^# ignored because \S", cell["source"]):
        yield f"{name}: is ignored, but no comment says '# ignored because …'"
    if re.search(r"\bsleep\b", cell["source"]):
        yield f"{name}: sleeps; a lesson settles"
    if cell["source"].rstrip().endswith(";"):
        yield f"{name}: ends in ';', which Jupyter takes for silence, and nbval does not"
    for output in outputs:
        if output["output_type"] == "error" and "raises-exception" not in tags:
            yield f"{name}: raised {output['ename']}"
        if output.get("name") == "stderr":
            yield f"{name}: wrote to stderr"
        if regenerate.WIDGET_VIEW in output.get("data", {}):
            yield f"{name}: stores the random name of a widget"
    shown = "\n".join(_texts(outputs))
    for what, pattern in LEAKS.items():
        if found := re.search(pattern, shown):
            yield f"{name}: shows {what}: {found.group()}"


def _closes(notebook: Notebook) -> Iterator[str]:
    code = "\n".join(cell["source"] for cell in _code(notebook))
    opened = len(re.findall(r"\bStage(?:\.open)?\(", code))
    closed = len(re.findall(r"\.close\(\)|async with Stage\(", code))
    # The stage of a panel stays open, for the reader to drive; after the last come exercises.
    panels = [
        n for n, cell in enumerate(_code(notebook)) if re.match(r"\w+\.panel\(", cell["source"])
    ]
    after = (
        "".join(cell["source"] for cell in _code(notebook)[panels[-1] :]) if panels else "Stage("
    )
    stays = len(panels) if "Stage" not in after else 0
    if closed + stays < opened:
        yield f"opens {opened} stages and closes {closed}"


def prose_complaints(notebook: Notebook) -> list[str]:
    """Return what a lesson lacks of the sections that every lesson has."""
    cells = notebook["cells"]
    first = cells[0]["source"] if cells and cells[0]["cell_type"] == "markdown" else ""
    found = []
    if not first.startswith("# "):
        found.append("does not begin with a title")
    if "you will be able to" not in first.lower():
        found.append("does not say at once what 'you will be able to' do")
    if not re.search(r"(?m)^#+ .*\bRecap\b", _prose(notebook)):
        found.append("has no Recap")
    return [*found, *_predictions(cells), *_characters(notebook), *_alone(notebook)]


def _predictions(cells: list[dict[str, Any]]) -> Iterator[str]:
    """Each prompt is followed by its widget, which asks the same, and nothing answers in sight."""
    asked: list[str] = []
    for number, cell in enumerate(cells):
        calls = re.findall(r'(?m)^predict\("(.*)"\)$', cell["source"])
        if PROMPT in cell["source"]:
            after = cells[number + 1]["source"] if number + 1 < len(cells) else ""
            if not re.search(r'^predict\(".*"\)$', after, re.M):
                prompt = cell["source"].partition(PROMPT)[2].strip()
                yield f"nobody asks for the prediction: {prompt}"
        if cell["cell_type"] == "code" and calls:
            asked += calls
            yield from _prediction(question(calls[0]), cells[number - 1], cells[number:])
    for fold in re.findall(r'(?m)^<details class="chatq-(.*?)"', _prose({"cells": cells})):
        if fold.replace("-", ".") not in asked:
            yield f"folded for a prediction that nobody asks for: {fold}"


def _prediction(
    asked: Question, prompt: dict[str, Any], cells: list[dict[str, Any]]
) -> Iterator[str]:
    if _plain(asked.text) not in _plain(prompt["source"]):
        yield f"{asked.text!r} is not what the text before it asks"
    following = [cell for cell in cells[1:] if cell["cell_type"] == "code"]
    for cell in following[: max(asked.cells, asked.folds)]:
        if not all(_is_folded(output, asked.fold) for output in cell.get("outputs", [])):
            yield f"{asked.name} is answered in sight: {cell['source']}"
    if f'<details class="{asked.fold}">' not in _prose({"cells": cells}):
        yield f"{asked.name}: nothing says what happened, folded"


def _is_folded(output: dict[str, Any], fold: str) -> bool:
    page = output.get("data", {})
    return page.keys() == {"text/plain", "text/html"} and page["text/html"].startswith(
        f'<details class="{fold}">'
    )


def _plain(text: str) -> str:
    return re.sub(r"[`*'\"]", "", text).casefold()


def _characters(notebook: Notebook) -> Iterator[str]:
    """A picture is drawn, and has a description, see `pictures`."""
    for picture in re.findall(r"(?s)```text\n(.*?)```", _prose(notebook)):
        if re.search("[─│▶◀═▼▲]", picture):
            yield f"a picture is made of characters: {picture.strip().splitlines()[0]}"


def _alone(notebook: Notebook) -> Iterator[str]:
    """An exercise's cell runs in a kernel that was just started."""
    for cell in _code(notebook):
        if "await check(" in cell["source"] and not re.search(
            r"^from chatq import .*\bcheck\b", cell["source"], re.M
        ):
            yield f"does not import what it calls: {cell['source'].partition('await')[2]}"


def links(notebook: Notebook) -> list[str]:
    """Return the files that the prose links to, relative to the notebook."""
    targets = re.findall(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)\"", _prose(notebook))
    paths = ["".join(target).partition("#")[0] for target in targets]
    return [path for path in paths if path and not re.match(r"[a-z]+:", path)]


def ignored(notebook: Notebook) -> int:
    """Return how many cells nbval does not compare."""
    return sum(IGNORED in cell["metadata"].get("tags", []) for cell in _code(notebook))


def _code(notebook: Notebook) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _prose(notebook: Notebook) -> str:
    return "\n\n".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown")


def _texts(outputs: list[dict[str, Any]]) -> Iterator[str]:
    for output in outputs:
        yield output.get("text", "")
        yield from output.get("traceback", [])
        for kind, value in output.get("data", {}).items():
            if kind.startswith("text/") or kind == "image/svg+xml":
                yield value


def sleeps(source: str) -> list[int]:
    """Return the lines of a program that call something named sleep."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    called = [(call.lineno, ast.unparse(call.func)) for call in calls]
    return sorted(line for line, name in called if name.rpartition(".")[2].endswith("sleep"))


# -- the lessons --------------------------------------------------------------------------------


def read(path: Path) -> Notebook:
    return dict(nbformat.read(path, as_version=4))


@pytest.fixture(params=LESSONS, ids=lambda path: path.name)
def lesson(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_lessons() -> None:
    assert INDEX in [path.name for path in LESSONS]


def test_a_lesson_is_stored_as_it_ran(lesson: Path) -> None:
    assert complaints(read(lesson)) == []


def test_a_lesson_has_its_sections(lesson: Path) -> None:
    if lesson.name == GLOSSARY:
        return  # it is no lesson
    assert prose_complaints(read(lesson)) == []


def test_a_lesson_is_stored_in_canonical_form(lesson: Path) -> None:
    notebook = nbformat.read(lesson, as_version=4)
    regenerate.make_canonical(notebook)
    assert nbformat.writes(notebook, version=4) + "\n" == lesson.read_text(encoding="utf-8")


def test_a_lesson_links_to_files_that_exist(lesson: Path) -> None:
    assert [link for link in links(read(lesson)) if not (NOTEBOOKS / link).is_file()] == []


def test_the_index_lists_every_lesson() -> None:
    listed = links(read(NOTEBOOKS / INDEX))
    assert [path.name for path in LESSONS if path.name not in [INDEX, *listed]] == []


def test_hardly_a_cell_is_ignored() -> None:
    assert sum(ignored(read(path)) for path in LESSONS) <= 2


async def test_the_picture_shows_what_happens_now() -> None:
    assert regenerate.PICTURE.read_text(encoding="utf-8") == await regenerate.picture()


# -- everything else that is stored --------------------------------------------------------------


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_picture_of_a_lesson_is_stored_as_it_is_drawn(name: str) -> None:
    svg = pictures.drawn(name)
    assert (pictures.FOLDER / f"{name}.svg").read_text("utf-8") == svg
    root = ElementTree.fromstring(svg)
    title, description = (root.findtext(f"{{*}}{tag}") or "" for tag in ("title", "desc"))
    assert len(title) > 10
    notebook = (NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")
    assert f"![{description}](pictures/{name}.svg)" in notebook
    wide = float(root.get("width") or 0)
    for box in root.iter("{*}rect"):
        x, width = float(box.get("x") or 0), float(box.get("width") or 0)
        assert 0 <= x <= x + width <= wide, "a box sticks out"


@pytest.mark.parametrize("folder", ["chatq", "tests"])
def test_nothing_sleeps(folder: str) -> None:
    sources = {path.name: path.read_text("utf-8") for path in (ROOT / folder).rglob("*.py")}
    sources.pop("test_messages.py", None)  # it has learners who would sleep, and never await it
    assert {name: lines for name, source in sources.items() if (lines := sleeps(source))} == {}


#: Written in parts, so that this file does not find itself.
MACHINES = [
    rf"(?<![\w.~-])/(?:{'home'}|{'root'}|{'work'}|{'Users'}|{'tmp'})/\w",
    rf"(?i)\b(?:{'pypi'}\.org|{'pythonhosted'}\.org|{'registry'}\.npmjs)",
    rf"--(?:{'extra-'})?{'index'}-url|--{'find'}-links",
]


@pytest.mark.needs("checkout")
def test_no_file_names_a_machine_or_a_registry() -> None:
    listing = subprocess.run(
        [needs.path("checkout"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = []
    for name in filter(None, listing.stdout.decode().split("\0")):
        path = ROOT / name
        text = path.read_text("utf-8", errors="ignore") if path.is_file() else ""
        found += [(name, hit.group()) for p in MACHINES if (hit := re.search(p, text))]
    assert found == []


# -- the guard itself: each rule is shown what breaks it -----------------------------------------


TITLE = "# A title\n\nYou will be able to say hello. [Next](01-next.ipynb#top)"


def good() -> Notebook:
    def code(count: int, source: str, text: str) -> dict[str, Any]:
        output = {"output_type": "stream", "name": "stdout", "text": text}
        return {
            "cell_type": "code",
            "execution_count": count,
            "metadata": {},
            "outputs": [output],
            "source": source,
        }

    def prose(source: str) -> dict[str, Any]:
        return {"cell_type": "markdown", "metadata": {}, "source": source}

    return {
        "metadata": copy.deepcopy(regenerate.METADATA),
        "cells": [
            prose(TITLE),
            code(1, "stage = await Stage.open(sio)\nstage", "<Stage: open, clients: ada>"),
            code(2, "await stage.close()\nprint('closed')", "closed"),
            prose("## Recap\n\n[Node](https://example.org/a) and ![it](broadcast.svg)"),
        ],
    }


def showing(text: str, kind: str = "text/plain") -> Notebook:
    notebook = good()
    shown = {"output_type": "display_data", "metadata": {}, "data": {kind: text}}
    notebook["cells"][1]["outputs"] = [shown]
    return notebook


def changed(cell: int, **values: Any) -> Notebook:
    notebook = good()
    notebook["cells"][cell].update(values)
    return notebook


def predicted(
    prompt: str = "Who hears it?",
    shows: str = '<details class="chatq-01-a">',
    says: str = '<details class="chatq-01-a">',
) -> Notebook:
    """Return a notebook that asks for the prediction 01.a."""
    notebook = good()
    _, asks, scene, recap = notebook["cells"]
    asks["source"] = 'predict("01.a")'
    data = {"text/plain": "nobody", "text/html": shows}
    scene["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": data}]
    recap["source"] += f"\n\n{says}"
    notebook["cells"][0]["source"] += f"\n{PROMPT} {prompt}"
    return notebook


def tagged(tag: str, source: str = "stage", **values: Any) -> Notebook:
    return changed(2, metadata={"tags": [tag]}, source=f"{source}\nstage.close()", **values)


def test_a_good_notebook_is_not_complained_about() -> None:
    assert complaints(good()) == prose_complaints(good()) == []
    assert complaints(tagged(IGNORED, "# ignored because it counts seconds")) == []
    assert complaints(tagged("no-output", outputs=[])) == []
    assert prose_complaints(predicted()) == []
    assert complaints(tagged("raises-exception", outputs=[ERROR])) == []
    assert complaints(showing("margin:0; 1:2, word-of-twenty-chars, port 80, a:\\n /news")) == []
    assert links(good()) == ["01-next.ipynb", "broadcast.svg"]


SID = BaseServer().generate_id()
ERROR = {"output_type": "error", "ename": "KeyError", "evalue": "1", "traceback": ["KeyError: 1"]}
STDERR = {"output_type": "stream", "name": "stderr", "text": "a warning"}
WIDGET = {
    "output_type": "display_data",
    "metadata": {},
    "data": {regenerate.WIDGET_VIEW: {"model_id": "1f"}, "text/plain": "Button()"},
}
ELSEWHERE = {"kernelspec": {"name": "conda-env-x"}}


@pytest.mark.parametrize(
    ("notebook", "complaint"),
    [
        (changed(1, outputs=[]), "shows nothing"),
        (tagged("no-output"), "tagged no-output"),
        (changed(1, execution_count=None), "not run once"),
        (changed(1, execution_count=3), "not run once"),
        (changed(2, execution_count=3), "not run once"),
        ({**good(), "metadata": {**regenerate.METADATA, "widgets": {}}}, "state of widgets"),
        (changed(1, outputs=[WIDGET]), "random name of a widget"),
        ({**good(), "metadata": {}}, "another kernel"),
        ({**good(), "metadata": ELSEWHERE}, "another kernel"),
        (showing(f"to {SID}"), "a sid"),
        (showing(f'{{"sid":"{SID}"}}', "text/html"), "a sid"),
        (showing(f"<title>{SID}</title>", "image/svg+xml"), "a sid"),
        (changed(1, outputs=[{**STDERR, "name": "stdout", "text": SID}]), "a sid"),
        (showing("http://127.0.0.1:41233/"), "a port"),
        (showing("localhost:8000"), "a port"),
        (showing("File /" + "home/ada/lesson.py"), "a path"),
        (showing("/" + "tmp/ipykernel_1/2.py"), "a path"),
        (showing("/" + "root/x"), "a path"),
        (showing("C:\\Users\\ada"), "a path"),
        (showing("at 12:59:01"), "a time of day"),
        (showing("at 09:30"), "a time of day"),
        (showing("on 2024-02-29"), "a date"),
        (showing("<object at 0x7f3b9c0d1e50>"), "a memory address"),
        (changed(1, outputs=[ERROR]), "raised KeyError"),
        (changed(1, outputs=[STDERR]), "wrote to stderr"),
        (tagged(IGNORED), "is ignored"),
        (tagged(IGNORED, "# ignored because"), "is ignored"),
        (changed(2, source="await asyncio.sleep(1)\nstage.close()"), "sleeps"),
        (changed(2, source="stage.close();"), "ends in ';'"),
        (changed(2, source="print('closed')"), "opens 1 stages and closes 0"),
    ],
)
def test_the_guard_complains(notebook: Notebook, complaint: str) -> None:
    (found,) = complaints(notebook)
    assert complaint in found


@pytest.mark.parametrize(
    ("notebook", "complaint"),
    [
        (changed(0, source="## You will be able to"), "title"),
        (changed(0, cell_type="raw"), "title"),
        (changed(0, source="# A title"), "you will be able to"),
        (changed(3, source="That was all. Recap."), "Recap"),
        (changed(0, source=f"{TITLE}\n{PROMPT} Who?"), "nobody asks for the prediction: Who?"),
        (predicted(prompt="Who knows?"), "'Who hears it?' is not what the text before it asks"),
        (predicted(shows="text"), "01.a is answered in sight"),
        (predicted(shows='<details class="chatq-01-b">'), "01.a is answered in sight"),
        (predicted(says="Nobody."), "01.a: nothing says what happened, folded"),
        (
            predicted(says='<details class="chatq-01-a">\n<details class="chatq-01-b">'),
            "folded for a prediction that nobody asks for: 01-b",
        ),
        (changed(3, source=f"## Recap\n```text\n{'─' * 65}\n```"), "made of characters"),
        (changed(2, source='await check("01.1", answer)\nstage.close()'), "does not import"),
    ],
)
def test_the_guard_complains_about_the_prose(notebook: Notebook, complaint: str) -> None:
    assert complaint in prose_complaints(notebook)[0]


def test_the_guard_counts_ignored_cells() -> None:
    assert ignored(good()) == 0
    assert ignored(tagged(IGNORED)) == 1


def test_the_guard_finds_sleeps() -> None:
    program = "import asyncio, time\nsleeping = 'time.sleep(1)'\nawait asyncio.sleep(0)\nusleep(1)"
    assert sleeps(program) == [3, 4]
    assert sleeps("x = loop.sleepy()") == []


def test_the_guard_knows_every_sid_of_a_long_scene() -> None:
    server = BaseServer()
    assert all(re.fullmatch(LEAKS["a sid"], server.generate_id()) for _ in range(4096))


def test_the_guard_finds_machines() -> None:
    for bad in ["/" + "work/x", "cd /" + "home/ada", "py" + "pi.org/simple", "--index" + "-url x"]:
        assert any(re.search(pattern, bad) for pattern in MACHINES), bad
    for fine in ["https://example.org/" + "home/x", "~/" + "work/x", "./" + "tmp/x", "/workers"]:
        assert not any(re.search(pattern, fine) for pattern in MACHINES), fine
