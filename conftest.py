"""Which tests run: those whose parts are here, and those that take long if they are asked for.

    python -m pytest           # all but what is marked `long`: about six minutes on two cores
    python -m pytest --long    # all, and at full size

What a test needs beyond Python's packages it says itself: see `tests/support/needs.py`.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import needs
import pytest
import sizes
from hypothesis import settings

#: How many tests were left out since they take long.
_left_out = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="all tests, and all at full size")


def pytest_configure(config: pytest.Config) -> None:
    sizes.full = config.getoption("--long")
    # A busy machine is no mistake; a checkout may be read-only; the short run is always the same.
    settings.register_profile("chatq", deadline=None, database=None, derandomize=not sizes.full)
    settings.load_profile("chatq")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for the whole suite, which waits more than it works; none for what somebody looks at."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


#: Files whose tests are handed out one by one: as a whole, one of them would keep a worker at work
#: when the others have ended.
_ONE_BY_ONE = ("tests/course/test_other_scenes.py", "tests/course/test_exercises.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # only the controller needs it

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return nodeid if file in _ONE_BY_ONE else file

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if unknown := _needed(item) - needs.PARTS.keys():
            raise pytest.UsageError(f"{item.nodeid} needs what nobody knows: {sorted(unknown)}")
    for item in items:
        if _is_elsewhere(item) and crc32(item.nodeid.encode()) % 4:
            item.add_marker("long")
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        config.stash[_left_out] = len(long)


def _is_elsewhere(item: pytest.Item) -> bool:
    """Return whether a test of a stage runs in another world than that of the lessons, which is
    aiohttp on sockets: of these, the short run has a quarter."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return params.get("world", ("aiohttp", "sockets")) != ("aiohttp", "sockets") or (
        params.get("network") == "memory"
    )


def _needed(item: pytest.Item) -> set[str]:
    return {name for mark in item.iter_markers("needs") for name in mark.args}


def pytest_collection_finish() -> None:
    # What is there now stays: a tenth of the time went into looking whether it does.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    needs.begin(_needed(item))
    try:
        return (yield)
    finally:
        needs.begin(None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if why := needs.missing(sorted(_needed(item))):
        pytest.skip(why)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    report = yield
    if needs.IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"in CI nothing may be skipped. {report.longrepr[2]}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells how many tests were left out; all of them have left out the same."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left out"] = session.config.stash.get(_left_out, 0)


def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_left_out] = getattr(node, "workeroutput", {}).get("left out", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    skipped = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for why, count in skipped.items():
        terminalreporter.write_line(f"{count} tests: {why}")
    if left_out := config.stash.get(_left_out, 0):
        terminalreporter.write_line(
            f"{left_out} tests take long and were left out: python -m pytest --long runs all"
        )
