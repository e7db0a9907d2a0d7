"""The clock of the queues, beside one on the wall that is set back and forth."""

from __future__ import annotations

import time

import pytest
from clock import Clock

from chatq import Queues, Rules
from chatq.queues.steady_clock import steady


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -1e9])
def test_a_jump_of_the_time_of_day_is_not_seen(monkeypatch, jump: float) -> None:
    real = time.time
    clock = steady(real)
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert clock() == pytest.approx(real(), abs=5.0)
    assert clock() <= clock()
    again = steady(time.time)  # another function now, as after a restart of the process
    assert again() == pytest.approx(real() + jump, abs=5.0)


def test_a_clock_moved_by_hand_goes_forward_only() -> None:
    clock = Clock()
    seen = steady(clock)
    start = seen()
    assert start == clock.now
    clock.now += 30.5
    assert seen() == start + 30.5
    clock.now -= 3600
    assert seen() == start + 30.5
    clock.now += 1
    clock.now -= 0.25
    clock.now += 2
    assert seen() == start + 33.25
    assert steady(seen) is seen


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_queues_do_not_look_at_the_time_of_day_again(monkeypatch, tmp_path, jump) -> None:
    """Whoever sets the clock back or forth ends no lease by it, and keeps none from ending."""
    async with await Queues.open(f"sqlite:///{tmp_path}/q.db", Rules(lease=0.2)) as queues:
        await queues.emit("job", 1, to="q")
        [first] = (await queues.store.claim("q", 1, 30.0, in_order=False)).attempts
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        assert (await queues.stats("q")).leased == 1
        assert (await queues.store.claim("q", 1, 30.0, in_order=False)).attempts == []
        assert await queues.store.ack([first.receipt]) == [True]
