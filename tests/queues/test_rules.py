"""The rules of delivery: limits, back-off and verdicts, with time and chance as arguments."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatq.queues.rules import Rules, back_off, undeliverable

RULES = Rules(attempts=5, back_off=1.0, longest_back_off=60.0)


class Chance(Random):
    """Chance that always says the same."""

    def __init__(self, value):
        self.value = value

    def random(self):
        return self.value


@pytest.mark.parametrize(("counted", "longest"), [(1, 1), (2, 2), (3, 4), (4, 8)])
def test_the_wait_doubles_and_is_at_least_half(counted, longest):
    assert back_off(counted, RULES, Chance(0.0)) == longest / 2
    assert back_off(counted, RULES, Chance(1.0)) == longest


def test_the_last_attempt_is_the_last():
    assert back_off(5, RULES, Random(1)) is None
    assert back_off(6, RULES, Random(1)) is None
    assert back_off(1, Rules(attempts=1), Random(1)) is None


@pytest.mark.parametrize("name", ["dead_memory", "dead_length", "queue_memory"])
def test_what_is_kept_may_be_nothing_and_not_less(name):
    assert getattr(Rules(**{name: 0}), name) == 0
    with pytest.raises(ValueError, match=f"{name} has to be 0 or more, not -1"):
        Rules(**{name: -1})


@pytest.mark.parametrize("name", ["lease", "attempts", "back_off", "window", "key_memory", "keys"])
@pytest.mark.parametrize("value", ["x", None, True])
def test_what_is_no_number_is_said(name, value):
    with pytest.raises(TypeError, match=f"{name} is a number, not {value!r}"):
        Rules(**{name: value})


@settings(deadline=None, derandomize=True, database=None)
@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 100), st.floats(0, 1e6))
def test_the_wait_is_within_its_limits(counted, chance, first, more):
    rules = Rules(attempts=10**7, back_off=first, longest_back_off=first + more)
    wait = back_off(counted, rules, Chance(chance))
    assert wait is not None
    assert 0 <= wait <= first + more
    assert wait >= min(first, first + more) / 2


def test_jitter_comes_from_the_chance_that_is_given():
    waits = {back_off(3, RULES, Random(seed)) for seed in range(20)}
    assert len(waits) == 20
    assert back_off(3, RULES, Random(7)) == back_off(3, RULES, Random(7))


@pytest.mark.parametrize(
    ("failures", "number", "expires", "why"),
    [
        (0, 1, None, None),
        (4, 5, None, None),
        (4, 50, None, None),
        (5, 6, None, "not acknowledged in 5 attempts"),
        (0, 51, None, "broken off 50 times, and never answered"),
        (0, 1, 100.1, None),
        (0, 1, 100.0, "expired"),
        (8, 9, 99.0, "expired"),
    ],
)
def test_the_verdict(failures, number, expires, why):
    assert undeliverable(failures, number, expires, RULES, now=100.0) == why


def test_one_attempt_is_said_in_the_singular():
    assert undeliverable(1, 2, None, Rules(attempts=1), 0.0) == "not acknowledged in 1 attempt"


@pytest.mark.parametrize("name", ["lease", "attempts", "length", "payload", "window", "key_memory"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_have_to_be_more_than_nothing(name, value):
    with pytest.raises(ValueError, match=f"{name} has to be more than 0"):
        Rules(**{name: value})


@pytest.mark.parametrize("waits", [(-1.0, 60.0), (2.0, 1.0), (float("nan"), 1.0)])
def test_back_off_is_no_longer_than_the_longest(waits):
    with pytest.raises(ValueError, match="back_off has to be between"):
        Rules(back_off=waits[0], longest_back_off=waits[1])
