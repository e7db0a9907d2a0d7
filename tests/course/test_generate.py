"""Generated scenes: who plays them, what is told of the one that goes wrong, and lives that end."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import answers
import pytest
from sizes import first

from chatq import check
from chatq.course.generate import try_scenes
from chatq.course.sandbox import Fence
from chatq.course.scenes import Scene, Skip, step


class Lists(Scene):
    """What is noted stays, also when the program is killed."""

    in_processes = True
    hears = ("noted",)
    longest = 8

    async def opens(self):
        self.model = self.model or []
        await self.trial.serve(self.trial.folder / "notes")

    @step("ada notes {number}", number=range(3))
    async def notes(self, number):
        await self.emit("ada", "note", number)
        self.model.append(number)
        return {}

    @step("bob reads")
    async def reads(self):
        await self.emit("bob", "read")
        return self.to(["bob"], "noted", self.model)

    @step("the program is killed")
    async def is_killed(self):
        self.dies()
        raise Skip


def in_a_file(sio, path):
    @sio.event
    async def note(sid, number):
        with path.open("a") as file:
            print(number, file=file)

    @sio.event
    async def read(sid):
        noted = [*map(int, path.read_text().split())] if path.exists() else []
        await sio.emit("noted", noted, to=sid)


def in_memory(sio, path):
    noted = []

    @sio.event
    async def note(sid, number):
        noted.append(number)

    @sio.event
    async def read(sid):
        await sio.emit("noted", noted, to=sid)


def in_a_buffer(sio, path):
    file = path.open("a+")

    @sio.event
    async def note(sid, number):
        print(number, file=file)

    @sio.event
    async def read(sid):
        file.seek(0)
        await sio.emit("noted", [*map(int, file.read().split())], to=sid)


def ends_itself(sio, path):
    @sio.event
    async def note(sid, number):
        os._exit(3)

    @sio.event
    async def read(sid): ...


async def tried(answer, scene=Lists):
    with Fence() as fence:
        return await try_scenes(scene, answer, fence, scenes=50)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no process can be forked here")


@needs_fork
async def test_what_is_in_a_file_is_there_in_the_next_life():
    done = await tried(in_a_file)
    assert done.outcome is None, done.outcome
    assert done.scenes == 50


@needs_fork
@pytest.mark.parametrize("answer", first(1, [in_a_buffer, in_memory]))
async def test_what_is_not_is_gone_with_the_process(answer):
    done = await tried(answer)
    assert done.outcome.lines == (
        "story     ada notes 0; the program is killed; bob reads",
        "client    bob",
        "expected  hears noted [0]",
        "got       hears noted []",
    )


@needs_fork
async def test_a_process_that_ends_by_itself_is_told():
    done = await tried(ends_itself)
    assert any("its process ended" in line for line in done.outcome.lines), done.outcome
    assert done.outcome.raised


@needs_fork
async def test_what_another_process_cannot_have_is_told():
    database = sqlite3.connect(":memory:")

    def answer(sio, path):
        sio.on("note", lambda sid, number: database.execute("SELECT 1"))

    done = await tried(answer)
    assert "which is then killed" in done.outcome.lines[0]
    assert "from outside of its function" in done.outcome.lines[1]
    database.close()


@needs_fork
async def test_no_process_and_no_folder_is_left(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = children()
    await tried(in_a_file)
    assert children() == before
    assert [*tmp_path.glob("chatq-*")] == []


def children():
    """Return the numbers of this process's children."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return set()
    return {pid for each in tasks.iterdir() for pid in (each / "children").read_text().split()}


KEPT: list[str] = []


@pytest.mark.long
async def test_an_answer_that_keeps_something_outside_of_its_function_is_told_so():
    """The twentieth wrong word, in whatever scene, opens a door, and none does ever after."""

    def answer(sio, words):
        answers.solution("04.1")(sio, words)
        keep = sio.handlers["/"]["join"]

        @sio.event
        async def join(sid, room, word):
            if await keep(sid, room, word):
                return True
            KEPT.append(room)
            return len(KEPT) == 20

    KEPT.clear()
    verdict = await check("04.1", answer)
    assert verdict.state == "failed"
    assert "played once more, the same scene goes well" in repr(verdict), verdict


@pytest.mark.usefixtures("few_scenes")
async def test_what_an_answer_prints_is_shown_for_the_told_scene_only(capfd):
    def answer(sio, words):
        print("served")
        answers.solution("04.1")(sio, words)

    verdict = await check("04.1", answer)
    assert verdict.passed, verdict
    assert capfd.readouterr().out == "served\n"
    assert verdict.lines[-1].startswith("proved    5 generated scenes: ")
