"""chatq in pytest: the fixture `stage`, and words for what did not hold.

Owns pytest's hooks. Must not know: how stages are opened and closed, what is said of a failure. It
is loaded in every run of pytest where chatq is installed, so it imports nothing until a test asks
for a stage.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing.stages import Stages

__all__ = [
    "pytest_assertrepr_compare",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_teardown",
    "stage",
]

_stages = pytest.StashKey["Stages"]()


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Real Socket.IO servers and clients: `ada, bob = await stage(sio).clients("ada", "bob")`.

    `stage(…)` takes what `chatq.Stage` takes: your `socketio.AsyncServer`, and your application if
    there is one. It is closed when the test ends; errors of handlers that nobody has seen fail it.
    `stage.settle()`, `stage.deliveries()` and the rest are those of the stage that is open.
    """
    from .testing.stages import Stages

    test = request.node

    def folder() -> Path:
        """The test's own `tmp_path` if it has asked for one, else a new folder beside those."""
        own: Path | None = test.funcargs.get("tmp_path")
        return own or tmp_path_factory.mktemp(re.sub(r"\W", "_", test.name)[:30])

    stages = test.stash[_stages] = Stages(folder)
    return stages


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let a test close its stages, whoever runs it; of Hypothesis, each example its own."""
    __tracebackhide__ = True
    stages = item.stash.get(_stages, None)
    if stages is None:
        return (yield)
    hypothesis = getattr(getattr(item, "obj", None), "hypothesis", None)
    owner, name = (hypothesis, "inner_test") if hypothesis else (item, "obj")
    test = getattr(owner, name, None)
    if not inspect.iscoroutinefunction(test):
        return (yield)
    setattr(owner, name, stages.around(test, often=hypothesis is not None))
    try:
        return (yield)
    finally:
        setattr(owner, name, test)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Close the stages that the test has not closed, as long as there is the loop of each."""
    __tracebackhide__ = True
    try:
        if stages := item.stash.get(_stages, None):
            stages.close_left()
    finally:
        result = yield
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failure what its stages know, and the files that they leave."""
    stages = item.stash.get(_stages, None)
    if stages is None:
        return (yield)
    if call.excinfo is not None:
        stages.shorten(call.excinfo.value)
    report = yield
    if report.failed and (text := stages.evidence()):
        report.sections.append(("chatq", text))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a comparison of those who got a message: for each name why."""
    views = sys.modules.get("chatq.views.deliveries")
    return views.compared(op, left, right) or None if views else None
