"""How everything looks: marks that differ, colours that can be read in both themes, white paper."""

import itertools
import re

import pytest

from chatq.views import looks
from chatq.views.looks import PAGE, PANEL, SHEET, STANDALONE, badge, marks
from chatq.views.rows import _SIGNS


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(one * weight for one, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_each_client_has_a_mark_of_its_own_and_keeps_it_from_scene_to_scene():
    names = ["ada", "bob", "cy", "dan", "driver", "vendor", "another ada", "7", "漢", ""]
    given = marks(names)
    assert len({(mark.shape, mark.number) for mark in given.values()}) == len(names)
    assert marks(reversed(names[:4])) == {name: given[name] for name in names[:4]}
    many = marks(f"client {n}" for n in range(64))
    assert len({*many.values()}) == 64
    eight = [*many.values()][:8]  # so many differ in both
    assert len({mark.shape for mark in eight}) == len({mark.number for mark in eight}) == 8


def test_a_mark_is_no_sign_of_a_diagram():
    assert {mark.shape for mark in marks("abcdefgh").values()}.isdisjoint(_SIGNS)
    assert badge(None) == ""
    assert 'aria-hidden="true"' in badge(marks(["ada"])["ada"])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_is_written_can_be_read(dark):
    page = {name: both[dark] for name, both in looks._PAGE.items()}
    for name, paper in itertools.product(["ink", "quiet", "bad"], ["paper", "head", "missed"]):
        assert contrast(page[name], page[paper]) >= 4.5, (name, paper)
    for name in ["ink", "quiet"]:
        assert contrast(page[name], page["lit"]) >= 4.5
    assert contrast(page["main"], page["paper"]) >= 4.5
    for name, paper in itertools.product([f"client-{n}" for n in range(8)], ["paper", "head"]):
        assert contrast(page[name], page[paper]) >= 4.5, (name, paper)
    picture = {light: both[dark] for light, *both in ((a, a, b) for a, b in looks._PICTURE.items())}
    for ink in ("#111", "#444", "#0b6b3a", "#a01c1c"):
        assert contrast(picture[ink], picture["#fff"]) >= 4.5, ink


@pytest.mark.parametrize("sheet", [PAGE, PANEL, SHEET, STANDALONE])
def test_paper_is_white(sheet):
    """The colours of dark themes count on screens alone."""
    dark = {both[1] for both in looks._PAGE.values()} | {*looks._PICTURE.values()}
    depth, begins = 0, ""
    for rule in re.split(r"(?<=[{}])", sheet):
        if any(re.search(rf"{colour}\b", rule) for colour in dark - {"#fff"}):
            assert begins.startswith("@media screen"), rule
        depth += rule.count("{") - rule.count("}")
        if depth == 1 and rule.endswith("{"):
            begins = rule.strip()
        elif depth == 0:
            begins = ""
