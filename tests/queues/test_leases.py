"""Leases: who holds what until when, found by receipt and, in the order of their ends, by queue."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from chatq.queues.leases import Leases


def items(leases):
    return [lease.item for lease in leases]


def test_a_lease_is_taken_once():
    leases = Leases()
    [lease] = leases.grant("q", ["x"], until=10)
    assert leases.take(lease.receipt) is lease
    assert leases.take(lease.receipt) is None
    for other in ("", None, 7, [], lease.receipt.upper() + "0"):
        assert leases.take(other) is None


def test_receipts_cannot_be_guessed():
    leases = Leases()
    receipts = [lease.receipt for lease in leases.grant("q", [*range(1000)], until=1)]
    assert len(set(receipts)) == 1000
    assert {len(receipt) for receipt in receipts} == {32}
    bits = sum(int(receipt, 16).bit_count() for receipt in receipts) / 1000
    assert abs(bits - 64) < 6 * math.sqrt(32 / 1000)  # 128 fair coins each


def test_those_that_are_over_are_taken_in_the_order_of_their_ends():
    leases = Leases()
    leases.grant("q", ["long"], until=100)
    leases.grant("q", ["short", "too"], until=10)
    leases.grant("other", ["else"], until=1)
    assert leases.next_end("q") == 10
    assert leases.count("q", 9.9) == 3
    assert items(leases.expired("q", 9.9)) == []
    assert leases.count("q", 10) == 1
    assert items(leases.expired("q", 10)) == ["short", "too"]
    assert items(leases.expired("q", 10)) == []
    assert leases.next_end("q") == 100
    assert leases.next_end("none") is None
    assert items(leases.of("q")) == ["long"]


def test_what_was_taken_back_has_its_old_place():
    leases = Leases()
    [first] = leases.grant("q", [1], until=10)
    leases.grant("q", [2], until=20)
    assert leases.take(first.receipt)
    leases.restore(first)
    assert leases.next_end("q") == 10
    assert items(leases.expired("q", 10)) == [1]


@settings(deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("grant"), st.sampled_from("ab"), st.integers(1, 50)),
            st.tuples(st.just("take"), st.integers(0, 99)),
            st.tuples(st.just("expired"), st.sampled_from("ab"), st.integers(0, 60)),
        )
    )
)
def test_whatever_is_done_they_are_what_a_list_would_be(steps):
    leases, known = Leases(), []
    for step in steps:
        match step:
            case ("grant", queue, until):
                known += leases.grant(queue, [object()], until)
            case ("take", n) if known:
                lease = known.pop(n % len(known))
                assert leases.take(lease.receipt) is lease
            case ("expired", queue, now):
                over = [x for x in known if x.queue == queue and x.until <= now]
                assert {id(x) for x in leases.expired(queue, now)} == {id(x) for x in over}
                known = [x for x in known if x not in over]
        for queue in "ab":
            mine = [lease for lease in known if lease.queue == queue]
            assert leases.next_end(queue) == min((x.until for x in mine), default=None)
            assert leases.count(queue, 25) == sum(x.until > 25 for x in mine)
            assert len([*leases.of(queue)]) == len(mine)
