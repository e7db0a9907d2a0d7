"""Predictions in a real JupyterLab: what is folded, and what opens it.

Whatever is asserted is what the page shows.
"""

import contextlib

import pytest
from jupyterlab_page import CODE, pictures
from lesson_server import NOTEBOOKS

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.needs("node", "chromium"),
    pytest.mark.long,
]

MADE, SHOW = "That is my prediction", "Show me"
MARK = "[role=status]"
BALLOT = ".jp-CodeCell .jp-OutputArea:has(.chatq-ballot)"
#: Code cells of lesson 03: the first question, the scene that answers it, and why.
ASKED, SCENE, WHY = 2, 3, 4

#: In the page: of all that a prediction folds, whether what is inside can be seen.
SEEN = """[...document.querySelectorAll(".jp-Notebook details.chatq-03-a")].map((fold) =>
    [...fold.children].some((one) => one.localName !== "summary" && one.checkVisibility(
        { contentVisibilityAuto: true })))"""


@contextlib.asynccontextmanager
async def lesson(jupyter, number="03"):
    (path,) = NOTEBOOKS.glob(f"{number}-*.ipynb")
    async with jupyter.notebook(path) as page:
        yield page


async def all_are(page, seen):
    """Wait until all three folds of the first prediction (two outputs, a text) are as `seen`."""
    what = "true" if seen else "false"
    met = f"(all) => all.length === 3 && all.every((one) => one === {what})"
    await page.until(SEEN, met, f"folds to be {'open' if seen else 'closed'}", 8)


async def predict(page, *who):
    asked = page.cell(ASKED)
    for name in who:
        await page.click("checkbox", name, within=asked)
    await page.click("button", MADE, within=asked)


async def test_run_all_hides_the_answers_until_a_prediction_is_made(jupyter, tmp_path):
    async with lesson(jupyter) as page:
        await all_are(page, seen=False)  # as stored
        for _ in range(2):  # twice in a row
            await page.run_all()
            await all_are(page, seen=False)
            assert "skipped" not in await page.text(page.cell(SCENE))
        await photograph(page, "hidden", tmp_path)
        asked = page.cell(ASKED)
        assert await page.axe(BALLOT) == []
        await page.click("button", MADE, within=asked)
        await page.see("choose at least one of ada, bob, cy", within=f"{asked} >> {MARK}")
        await predict(page, "ada", "bob")
        await page.see("✗ You said: ada, bob. It is: bob, cy, dan.", within=f"{asked} >> {MARK}")
        await page.see("ada: you may have thought of lesson 01", within=f"{asked} >> {MARK}")
        await page.see("skip_sid leaves out the one", within=f"{asked} >> {MARK}")
        await all_are(page, seen=True)
        assert "skipped" in await page.text(page.cell(SCENE))
        assert await page.axe(BALLOT) == []
        await photograph(page, "marked", tmp_path)


async def test_what_runs_after_a_prediction_is_not_folded_and_marks_it(jupyter):
    async with lesson(jupyter) as page:
        await page.run_cell(1)
        await page.run_cell(ASKED)
        await predict(page, "bob", "cy", "dan")
        asked = page.cell(ASKED)
        await page.see("You say: bob, cy, dan. Now run", within=f"{asked} >> {MARK}")
        await all_are(page, seen=False)  # what is stored stays hidden until the scene has run
        await page.run_cell(SCENE)
        await page.see("✓ You said so: bob, cy, dan.", within=f"{asked} >> {MARK}")
        assert "skipped" in await page.text(page.cell(SCENE))
        await page.run_cell(ASKED)  # once more: a new prediction
        await page.run_cell(SCENE)
        assert "skipped" not in await page.text(page.cell(SCENE))
        await predict(page, "nobody")
        await page.see("✗ You said: nobody.", within=f"{asked} >> {MARK}")
        await page.run_cell(SCENE)  # and once more the scene alone
        assert "skipped" in await page.text(page.cell(SCENE))


async def test_show_me_shows_it_without_a_prediction(jupyter):
    async with lesson(jupyter) as page:
        await page.run_all()
        asked = page.cell(ASKED)
        await page.click("button", SHOW, within=asked)
        await page.see("It is: bob, cy, dan. (You made no", within=f"{asked} >> {MARK}")
        await all_are(page, seen=True)


async def test_by_keys_alone(jupyter):
    async with lesson(jupyter) as page:
        await page.run_all()
        asked = page.cell(ASKED)
        await page.press("Tab", on=f"{asked} >> input >> nth=0")
        await page.press(" ")  # bob
        for _ in range(4):  # cy, dan, nobody, the button
            await page.press("Tab")
        await page.press(" ")
        await page.see("✗ You said: bob.", within=f"{asked} >> {MARK}")


async def test_a_fold_can_be_opened_by_itself(jupyter):
    async with lesson(jupyter) as page:
        await page.run_all()
        await page.press("Enter", on=f"{page.cell(SCENE)} >> summary")
        await page.until(SEEN, "(all) => all[0] && !all[1]", "the first fold to open", 8)


async def photograph(page, name, folder):
    """Take pictures of the page, light and dark, wide and narrow."""
    for theme in ("dark", "light"):
        for width in (1300, 900):
            cell = f"document.querySelectorAll('{CODE}')[{ASKED - 1}]"
            await page.evaluate(f"{cell}.scrollIntoView()")
            path = pictures(folder) / f"prediction-{name}-{theme}-{width}.png"
            await page.screenshot(path, theme=theme, width=width)
