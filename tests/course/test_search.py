"""The search for a scene that goes wrong: what it draws, finds and shrinks, and how it ends."""

from __future__ import annotations

import asyncio
import sys
import threading
import types

import pytest

from chatq.course.scenes import Scene, Skip, Step, step, story
from chatq.course.search import Search


class Counting(Scene):
    """Somebody counts, and somebody else does, too."""

    longest = 16

    @step("{who} says {number}", who=("ada", "bob"), number=range(10))
    async def says(self, who, number): ...

    @step("the hub stops")
    async def stops(self): ...


async def searched(wrong, scenes=100, seed=1, slow=lambda told: False):
    """Return what was found, and every script that was played."""
    played = []

    async def play(script):
        played.append(script)
        begins = [script[: at + 1] for at in range(len(script))]
        return next(((told, len(each)) for each in begins if (told := wrong(each))), None)

    search = Search(Counting, play, scenes=scenes, seed=seed, steps=lambda told: told[1], slow=slow)
    return await search.run(), played


def numbers(script, who="ada"):
    return [one.operands["number"] for one in script if one.operands.get("who") == who]


async def test_a_hundred_scenes_are_a_hundred_different_ones():
    found, played = await searched(lambda script: None)
    assert found is None
    assert len(played) == len({repr(script) for script in played}) == 100
    lengths = sorted(len(script) for script in played)
    assert lengths[50] >= 6
    assert lengths[-1] <= 16
    kinds = [{one.name for one in script} for script in played]
    assert sum(each == {"says"} for each in kinds) > 5
    assert sum(each == {"says", "stops"} for each in kinds) > 20


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda script: "a 7" if 7 in numbers(script) else None, ["ada says 7"]),
        (
            lambda script: "both" if numbers(script) and numbers(script, "bob") else None,
            ["ada says 0; bob says 0"],
        ),
        (
            lambda script: "twice" if len(numbers(script)) > 1 else None,
            ["ada says 0, then says 0"],
        ),
        (
            lambda script: "after" if any(
                one.name == "stops" and numbers(script[at:]) for at, one in enumerate(script)
            ) else None,
            ["the hub stops; ada says 0"],
        ),
    ],
)  # fmt: skip
async def test_the_smallest_that_fails_is_told(wrong, told):
    found, played = await searched(wrong)
    assert story(Counting, found.script) == told
    assert found.told == (wrong(found.script), len(found.script))
    assert len(played) <= 100 + 250


class Ending(Counting):
    """What has come of it is seen at the end only."""

    finale = (Step("stops", {}),)


async def test_what_is_seen_at_the_end_is_not_known_from_a_longer_scene():
    """That one went well, to its own end, says nothing of how it would have ended before."""

    async def play(script):
        if script and script[-1].operands.get("who") == "ada":
            return len(script) + 1
        return None

    found = await Search(Ending, play, scenes=100, seed=1, steps=lambda told: told).run()
    assert story(Ending, found.script) == ["ada says 0"]


async def test_the_same_is_found_whatever_modules_the_program_has(monkeypatch, tmp_path):
    """Hypothesis draws constants that it finds in the program's own modules."""
    seen = []
    for name in ("", "of_the_learner", "another"):
        if name:
            path = tmp_path / f"{name}.py"
            path.write_text(f"numbers = {[*range(3, 9)]}\nwords = 'ada', {name!r}\n")
            module = types.ModuleType(name)
            module.__file__ = str(path)
            monkeypatch.setitem(sys.modules, name, module)
        seen.append(await searched(lambda script: None))
    assert seen[0] == seen[1] == seen[2]
    assert await searched(lambda script: None, seed=2) != seen[0]


async def test_what_is_slow_is_hardly_shrunk():
    def wrong(script):
        return "late" if len(script) > 2 else None

    _, quick = await searched(wrong)
    _, slow = await searched(wrong, slow=lambda told: True)
    first = next(at for at, script in enumerate(slow) if wrong(script))
    assert len(slow) <= first + 1 + 3 < len(quick)


async def test_an_error_of_what_plays_is_raised():
    async def play(script):
        raise ZeroDivisionError("of the player")

    with pytest.raises(ZeroDivisionError, match="of the player"):
        await Search(Counting, play, scenes=10, seed=1, steps=len).run()


async def test_who_gives_it_up_waits_for_nothing_and_leaves_no_thread():
    begun = asyncio.Event()

    async def play(script):
        begun.set()
        await asyncio.Event().wait()

    search = asyncio.create_task(Search(Counting, play, scenes=10, seed=1, steps=len).run())
    await begun.wait()
    search.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await search
    left = [one for one in threading.enumerate() if one.name == "search"]
    for one in left:
        one.join(10)
    assert not any(one.is_alive() for one in left)


async def test_nothing_is_written_where_the_learner_works(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found, _ = await searched(lambda script: "wrong" if 7 in numbers(script) else None)
    assert found
    assert [*tmp_path.iterdir()] == []


# -- stories ---------------------------------------------------------------------------------------


class Long(Scene):
    @step("{who} joins {room!r} and says what is to be said there", who=("ada", "bob"), room="AB")
    async def joins(self, who, room):
        raise Skip


def test_a_long_story_has_three_lines():
    script = [Step("joins", {"who": who, "room": "A"}) for who in ("ada", "bob") * 5]
    told = story(Long, script)
    assert len(told) == 3
    assert "; ".join(told).count("joins") == 10
    assert story(Long, []) == ["nothing has happened yet"]
