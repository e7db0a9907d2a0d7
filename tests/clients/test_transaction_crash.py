"""A message is there if, and only if, its row is; whatever is killed between, and when."""

import asyncio
from random import Random

import pytest
from places import SUPPORT
from shop import STEPS, left, new_shop, orders, taken
from sizes import first
from watched_hub import Hub, Program

from chatq import Outbox, Queues, Rules

SHOP = SUPPORT / "shop.py"


async def run(database, queues, numbers, step="", times=0):
    """Run a process until it ends or kills itself; return what it printed."""
    ends = numbers.start, numbers.stop
    process = await Program.start(SHOP, database, queues, *ends, step, times)
    lines = []
    while line := await process.line():
        lines.append(line)
    await process.kill()
    return lines


async def delivered(path):
    async with await Queues.open(f"sqlite:///{path}") as queues:
        return await taken(queues)


@pytest.mark.parametrize("step", first(4, STEPS[::2] + STEPS[1::2]))
@pytest.mark.parametrize("journal", first(1, ["wal", "delete"]))
async def test_a_process_that_is_killed_at_any_step_sends_what_is_committed_once(
    tmp_path, step, journal
):
    database, queues = tmp_path / "shop.db", tmp_path / "queues.db"
    new_shop(database, journal).close()
    assert "flushed" not in await run(database, queues, range(16), step, 2)
    assert await run(database, queues, range(0)) == ["flushed"]
    assert orders(database)
    assert await delivered(queues) == orders(database)
    assert left(database) == 0


@pytest.mark.parametrize(
    "step", first(3, ["publishing", "storing", "stored", "deleting", *STEPS[:3]])
)
async def test_so_does_one_that_sends_to_a_hub(tmp_path, step):
    database = tmp_path / "shop.db"
    new_shop(database).close()
    hub = await Hub.open()
    # The first is sent alone, and above it is a batch.
    assert "flushed" not in await run(database, hub.url, range(16), step, 1)
    assert await run(database, hub.url, range(0)) == ["flushed"]
    assert await taken(hub.queues) == orders(database)
    await hub.close()


@pytest.mark.long
@pytest.mark.parametrize("journal", first(1, ["wal", "delete"]))
async def test_hundreds_of_transactions_and_kills_at_seeded_moments(tmp_path, journal):
    """Exactly those whose row is there are delivered, each once, in the order of the commits."""
    random, each = Random(16), 25
    database, queues = tmp_path / "shop.db", tmp_path / "queues.db"
    new_shop(database, journal).close()
    kills, rounds = 0, 30
    for round in range(rounds):
        numbers = range(round * each, (round + 1) * each)
        if round % 3 == 2:  # from outside, at whatever it is just then
            process = await Program.start(
                SHOP, database, queues, numbers.start, numbers.stop, "", 0
            )
            for _ in range(random.randrange(each)):
                await process.line()
            lines = await process.kill()
        else:
            lines = await run(database, queues, numbers, random.choice(STEPS), random.randint(1, 8))
        kills += "flushed" not in lines
    assert kills >= rounds * 0.8
    assert await run(database, queues, range(0)) == ["flushed"]
    assert len(orders(database)) > 0.3 * rounds * each / 2
    assert await delivered(queues) == orders(database)
    assert left(database) == 0


WRITER = """
import sqlite3, sys
from shop import sell

db = sqlite3.connect(sys.argv[1], timeout=30)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    with db:
        sell(db, number)
    print(number, flush=True)
"""


@pytest.mark.long
async def test_processes_that_only_write_may_be_killed_while_another_sends(tmp_path):
    random, path, rounds = Random(5), tmp_path / "shop.db", 10
    new_shop(path).close()
    rules = Rules(back_off=0.01, longest_back_off=0.05)
    async with (
        await Queues.open("memory:") as queues,
        await Outbox.inside(path, queues, rules=rules, look=0.01) as outbox,
    ):
        for round in range(rounds):
            starts = [1000 * (2 * round + half) for half in (0, 1)]
            writers = await asyncio.gather(
                *(Program.start(WRITER, path, start, start + 1000) for start in starts)
            )
            for _ in range(random.randint(5, 60)):
                for writer in writers:
                    assert await writer.line()
            for writer in writers:
                await writer.kill()
        await outbox.flush()
        assert len(orders(path)) >= 2 * 5 * rounds
        assert await taken(queues) == orders(path)
        assert (outbox.pending, left(path)) == (0, 0)
