"""What lesson 06 says of Node's remedies for lost packages, run on Node's own server and client."""

from __future__ import annotations

from typing import Any

import nodejs
import pytest

pytestmark = pytest.mark.needs("node")


@pytest.fixture(scope="module")
def claims() -> Any:
    return nodejs.run("claims_packages.mjs")


LOST = {"recovered": False, "heard": []}


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        ("recovery after a short break", {"recovered": True, "heard": ["O-1", "O-2"]}),
        ("recovery before the first package", LOST),
        ("no recovery unless it is switched on", {"recovered": False, "heard": ["O-1"]}),
        ("recovery for a new process", LOST),
        ("recovery for one who was never there", LOST),
        ("recovery after the hub was started again", {"recovered": False, "heard": ["O-1"]}),
        ("buffer while the hub is off", {"buffered": 1, "got": ["O-1"], "anew": 0}),
        ("buffer while the driver is off", {"buffered": 0, "heard": []}),
    ],
)
def test_what_lesson_06_says_of_node(claims: Any, claim: str, outcome: Any) -> None:
    assert claims[claim] == outcome


def test_every_scenario_is_looked_at(claims: Any) -> None:
    assert len(claims) == 8
