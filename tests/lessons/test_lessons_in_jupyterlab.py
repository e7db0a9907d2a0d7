"""Whole lessons in a real JupyterLab: nothing keeps anybody out, and links lead where they say."""

import nbformat
import pytest
from jupyterlab_page import lab
from lesson_server import NOTEBOOKS

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.needs("node", "chromium"),
    pytest.mark.long,
]

#: What is JupyterLab's own, in its editors and around the cells, is not judged.
INSIDE = ".jp-RenderedMarkdown, .jp-OutputArea-output"
#: In the page: its name, and the headings that can be seen.
SEEN = """(() => {
    const panel = jupyterapp.shell.currentWidget;
    const seen = [...panel.node.querySelectorAll("h2, h3")].filter((one) => {
        const { top, bottom } = one.getBoundingClientRect();
        return top > 60 && bottom > top && bottom < innerHeight;
    });
    return [panel.title.label, ...seen.map((one) => one.textContent.replace("¶", ""))];
})()"""
#: In the page: the tables, pictures and panels that are wider than there is room.
CUT = """(() => {
    const out = (one, frame) => one.right > frame.right + 2 || one.left < frame.left - 2;
    return [...document.querySelectorAll(".chatq-frame, .chatq-picture, .chatq-panel")].filter(
        (one) => out(one.getBoundingClientRect(),
            one.closest(".jp-OutputArea").getBoundingClientRect()))
        .map((one) => one.className);
})()"""


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
async def test_a_lesson_runs_and_its_panel_is_there_and_nobody_is_kept_out(jupyter, path):
    """axe finds nothing serious, in either theme; nothing is wider than its page."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    async with jupyter.notebook(path, files=True) as page:
        assert await page.run_all() == list(range(1, 1 + len(cells)))
        assert await page.outputs_with_errors() == []
        if any(".panel(" in cell.source for cell in cells):
            await page.see("facts", within=".chatq-panel")
        for theme in ("dark", "light"):
            await page.theme(theme)
            assert await page.axe(INSIDE) == []
        for width in (1300, 900):
            await page.do("resize", width=width, height=900)
            assert await page.evaluate(CUT) == []


async def test_a_link_of_the_index_leads_to_its_section_at_the_first_click():
    """As JupyterLab is installed: only cells in sight are in the page."""
    async with (
        lab(**{"notebook-extension/tracker": {}}) as jupyter,
        jupyter.notebook(NOTEBOOKS / "00-start-here.ipynb", files=True) as page,
    ):
        await page.do("click", selector='.jp-Notebook a:text-is("04, Leave")')
        await page.until(SEEN, "(seen) => seen.includes('Leave')", "the section", 30)
