"""What lesson 00b says of async functions, in Python and in JavaScript."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import nodejs
import pytest


async def _called_without_await() -> list[Any]:
    seen: list[Any] = []

    async def brew() -> None:
        seen.append("the water boils")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cup: Any = brew()
        seen.append("called")
        seen.append(asyncio.iscoroutine(cup))
        del cup
    assert [str(one.message).partition("was")[2] for one in told] == [" never awaited"]
    return seen


async def _nothing_to_wait_for() -> list[str]:
    seen: list[str] = []
    door = asyncio.Event()
    door.set()

    async def waits(name: str) -> None:
        seen.append(f"{name} 1")
        await door.wait()
        seen.append(f"{name} 2")

    await asyncio.gather(waits("ada"), waits("bob"))
    return seen


async def _made_in_a_loop() -> list[str]:
    said = [lambda: name for name in ("ada", "bob", "cy")]
    return [say() for say in said]


#: claim: asked of Python, Python's outcome, Node's.
CLAIMS: dict[str, Any] = {
    "called without await": (
        _called_without_await,
        ["called", True],
        ["the water boils", "called", True],
    ),
    "an await with nothing to wait for": (
        _nothing_to_wait_for,
        ["ada 1", "ada 2", "bob 1", "bob 2"],
        ["ada 1", "bob 1", "ada 2", "bob 2"],
    ),
    "functions made in a loop": (_made_in_a_loop, ["cy"] * 3, ["ada", "bob", "cy"]),
}


@pytest.mark.parametrize("claim", CLAIMS)
async def test_python_does_as_the_lesson_claims(claim: str) -> None:
    ask, outcome, _ = CLAIMS[claim]
    assert await ask() == outcome


@pytest.mark.needs("node")
def test_node_does_as_the_lesson_claims() -> None:
    told = nodejs.run("claims_async.mjs")
    assert told == {
        **{claim: outcome for claim, (_, _, outcome) in CLAIMS.items()},
        "awaited": "a cup of tea",
        "warnings": [],
    }
