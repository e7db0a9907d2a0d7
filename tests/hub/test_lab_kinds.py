"""Vendors and drivers as classes write them, under Node, with every kind of habit: live, with the
driver off, and with a hub that is killed in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hubs
import needs
import pytest

pytestmark = pytest.mark.needs("node")

COUNT = 3
#: The table of the class whose hub wraps what waited.
WRAPPED = """
[answers]
"parcels?" = { shape = "order", event = "waiting" }
any-news = { shape = "id-payload", event = "news" }
"""
KINDS = [
    *("bare", "echo", "words", "named", "wrapped", "terse", "mortal", "poison"),
    *("renamed", "ready", "silent", "borrowed", "nameless"),
]
#: Their vendors never ask, or say nothing else in a getAll: nobody else may be there.
UNASKED = ("bare", "mortal", "poison", "renamed", "ready", "silent", "borrowed", "nameless")
#: A driver that dies is started again, so often at most.
STARTS = 12


class Lab:
    """A hub, and the clients of one kind: `start(role, count)`, and `until` they have said it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.said = kind, folder, list[tuple[str, Any]]()
        self.port, self.starts = "0", 0
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._off = False
        (folder / "wrapped.toml").write_text(WRAPPED)
        self.open()

    def open(self) -> None:
        dialect = str(self.folder / "wrapped.toml") if self.kind == "wrapped" else "caps"
        table = self.folder / "quick.toml"
        table.write_text("[give-up]\nwithin = 3\n")
        dialect = str(table) if self.kind in ("mortal", "poison") else dialect
        self.hub = hubs.Hub("--dialect", dialect, "--port", self.port, folder=self.folder)
        self.port = str(self.hub.port)

    async def kill_the_hub(self) -> None:
        await self.hub.stop(signal.SIGKILL)
        hubs.end(self.hub.process)
        self.open()

    def start(self, role: str, count: int = 0) -> asyncio.Task[None]:
        self._tasks.append(asyncio.create_task(self._run(role, count)))
        return self._tasks[-1]

    async def _run(self, role: str, count: int) -> None:
        script, url = str(needs.JS / "lab_kinds.mjs"), self.hub.url + self.hub.namespace
        for _ in range(STARTS if role == "driver" else 1):
            self.starts += role == "driver"
            node = await asyncio.create_subprocess_exec(
                needs.path("node"), script, self.kind, role, url, str(count),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                while line := await node.stdout.readline():
                    self.said.append((role, json.loads(line)))
                    self._news.set()
                await node.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    node.kill()
                await node.communicate()

    async def stop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task])

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(40):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what}: {self.said}\n{self.hub.log}") from None

    async def ready(self, role: str) -> None:
        await self.until(lambda: (role, "ready") in self.said, f"ready {role}")

    def ids(self, what: str) -> set[str]:
        return {one[what] for _, one in self.said if isinstance(one, dict) and what in one}

    async def deliveries_wait(self) -> None:
        """Return when an in-transit and a delivered of each package wait for the vendor."""
        watcher, waiting = await self.hub.client(), 0
        async with asyncio.timeout(40):
            while waiting < 2 * COUNT:
                asked = await self.hub.call(watcher, "getAll", {"store": "corner-books"})
                waiting = asked["count"]
        await watcher.disconnect()

    async def all_delivered(self) -> None:
        every = {f"order-{n}" for n in range(COUNT)}
        await self.until(lambda: self.ids("delivered") >= every, "thanks for all packages")

    async def end(self) -> None:
        for task in self._tasks:
            await self.stop(task)
        hubs.end(self.hub.process)


async def live(lab: Lab) -> None:
    lab.start("driver")
    await lab.ready("driver")
    lab.start("vendor", COUNT)
    await lab.all_delivered()


async def driver_off(lab: Lab) -> None:
    lab.start("vendor", COUNT)
    await lab.ready("vendor")
    lab.start("driver")
    await lab.all_delivered()


async def killed(lab: Lab) -> None:
    """The driver is off and the hub is killed; then the vendor is off and the hub is killed."""
    vendor = lab.start("vendor", COUNT)
    await lab.ready("vendor")
    await lab.stop(vendor)
    await lab.kill_the_hub()
    driver = lab.start("driver")
    await lab.until(lambda: len(lab.ids("picked")) >= COUNT, "picked up packages")
    if lab.kind in UNASKED:
        await lab.until(lambda: len(lab.ids("stored")) >= COUNT, "stored deliveries")
    else:
        await lab.deliveries_wait()
    await lab.stop(driver)
    await lab.kill_the_hub()
    lab.start("vendor")
    await lab.all_delivered()


#: What is tried in the quick run: each kind once, and each scene.
QUICK = [
    ("echo", live),
    ("words", live),
    ("bare", driver_off),
    ("named", driver_off),
    ("wrapped", driver_off),
    ("terse", driver_off),
    ("echo", killed),
    ("renamed", live),
    ("ready", driver_off),
    ("silent", driver_off),
    ("borrowed", driver_off),
    ("nameless", killed),
]


def cases() -> list[Any]:
    """Each kind live, with the driver off, and over a SIGKILL; most of it long."""
    return [
        pytest.param(
            kind,
            scene,
            marks=[] if (kind, scene) in QUICK else [pytest.mark.long],
            id=f"{kind}-{scene.__name__}",
        )
        for kind in KINDS
        for scene in (live, driver_off, killed)
    ]


@pytest.mark.parametrize(("kind", "scene"), cases())
async def test_a_kind_of_class(
    kind: str, scene: Callable[[Lab], Awaitable[None]], tmp_path: Path
) -> None:
    lab = Lab(kind, tmp_path)
    try:
        await scene(lab)
        if kind == "poison":
            assert "gave up a message" in lab.hub.log
            assert lab.starts <= 8
        elif kind == "ready":
            picked = [one["picked"] for _, one in lab.said if "picked" in one]
            assert len(picked) == len({*picked}), "no package comes twice"
        elif kind != "mortal":
            assert lab.starts == 1, "no driver has died"
            assert "refused" not in lab.hub.log
    finally:
        await lab.end()
