"""The predictions of all lessons: each marks itself, and answers whoever is wrong.

And nothing on a stored page gives an answer away before it is unfolded.
"""

import ast
import html
import re
import string

import nbformat
import pytest
import regenerate
from nbconvert import HTMLExporter
from places import NOTEBOOKS

from chatq.course.question import question

#: A lesson's name, and what its kernel must have for it.
NATS = {"09": ["nats"]}
NUMBERS = sorted(path.name.partition("-")[0] for path in NOTEBOOKS.glob("*-*.ipynb"))[1:]
LESSONS = [
    pytest.param(
        number,
        marks=[pytest.mark.needs(*NATS.get(number, [])), *[pytest.mark.long] * (number != "01")],
    )
    for number in NUMBERS
]
ASKED = "from chatq.course.predict import _asked\n"
RIGHT = f"{ASKED}print({{name: one.right for name, one in _asked.by_name.items()}})"


def questions(number):
    module = __import__(f"chatq.course.questions.questions_{number}", fromlist=["QUESTIONS"])
    return module.QUESTIONS


def read(number):
    (path,) = NOTEBOOKS.glob(f"{number}-*.ipynb")
    return path, nbformat.read(path, as_version=4)


@pytest.mark.parametrize("number", LESSONS)
async def test_each_marks_itself_and_answers_each_wrong_choice(number):
    path, notebook = read(number)
    notebook.cells = [cell for cell in notebook.cells if "await check(" not in cell.source]
    for _ in range(2):  # run all, twice in a row
        notebook.cells.append(nbformat.v4.new_code_cell(RIGHT))
    once = len(notebook.cells) - 2
    first, last = notebook.cells[:once], notebook.cells[once:]
    again = [nbformat.from_dict({**cell}) for cell in first]
    notebook.cells = [*first, last[0], *again, last[1]]
    await regenerate.client(notebook, path.parent).async_execute()
    told = [notebook.cells[at].outputs[-1].text for at in (once, -1)]
    rights = ast.literal_eval(told[0])
    assert ast.literal_eval(told[1]) == rights
    assert [*rights] == [one.name for one in questions(number)]
    for name, right in rights.items():
        assert right, f"{name} is not marked"
        choices = question(name).choices
        assert {one for one in choices if not choices[one]} == {*right}, name


@pytest.mark.parametrize("number", NUMBERS)
def test_a_choice_is_answered_in_sentences_and_a_name_is_given_once(number):
    asked = questions(number)
    assert [one.name for one in asked] == [
        f"{number}.{letter}" for letter in string.ascii_lowercase
    ][: len(asked)]
    for one in asked:
        assert all(
            reply == "" or reply.endswith(".") for reply in [*one.choices.values(), one.missed]
        )
        assert one.one or not one.missed or len(one.choices) > 2


@pytest.mark.parametrize("number", NUMBERS)
def test_a_page_without_a_kernel_shows_no_answer_unfolded(number):
    """The outputs from a question to the last one that answers it, with everything folded."""
    _, notebook = read(number)
    hidden = {f"exclude_{part}": True for part in ("input", "markdown", "output_prompt")}
    exporter = HTMLExporter(template_name="basic", **hidden)
    for one in questions(number):
        call = f'predict("{one.name}")'
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        (at,) = [n for n, cell in enumerate(cells) if call in cell.source]
        following = cells[at : at + 1 + max(one.cells, one.folds)]
        page, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=following))
        text = html.unescape(re.sub(r"<[^>]*>", " ", _without_what_is_folded(page)))
        for shown in [one.text, *sorted(one.choices, key=len, reverse=True)]:
            assert text.count(shown) == 1
            text = text.replace(shown, "")
        assert re.sub(r"[☐○\s]", "", text) == "", one.name


def _without_what_is_folded(page):
    folded = re.compile(r"<details(?:(?!<details).)*?</details>", re.S)
    while "<details" in page:
        page, count = folded.subn("", page)
        assert count
    return page
