"""Frames: cut, packed and unpacked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatq.queues import frame
from chatq.queues.frame import cut, delivery, pack, unpack
from chatq.queues.message import encode
from chatq.queues.store import Attempt, Body

LARGEST = frame._LARGEST


def attempt(n: int, body: Body = "1", event: str = "pickup", number: int = 1) -> Attempt:
    return Attempt(f"id-{n}", "drivers", event, body, number, 0, None, f"receipt {n}")


def lengths(attempts: list[Attempt], most: int) -> list[int]:
    frames = [*cut(attempts, most)]
    assert [one for frame in frames for one in frame] == attempts, "lost, or out of order"
    return [len(frame) for frame in frames]


@pytest.mark.parametrize(
    ("n", "most", "expected"),
    [(0, 3, []), (1, 3, [1]), (3, 3, [3]), (4, 3, [3, 1]), (7, 3, [3, 3, 1]), (3, 1, [1, 1, 1])],
)
def test_a_frame_has_so_many_messages_and_no_more(n: int, most: int, expected: list[int]) -> None:
    assert lengths([attempt(n) for n in range(n)], most) == expected


@pytest.mark.parametrize("kind", ["text", "bytes"])
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([LARGEST], [1]),
        ([LARGEST // 2, LARGEST // 2], [2]),
        ([LARGEST // 2, LARGEST // 2 + 1], [1, 1]),
        ([LARGEST // 4] * 9, [4, 4, 1]),
        ([LARGEST + 1, 1, 1], [1, 2]),
        ([1, LARGEST + 1, 1], [1, 1, 1]),
        ([1, 1, 2 * LARGEST], [2, 1]),
        ([LARGEST - 1, 1, 1], [2, 1]),
    ],
)
def test_a_frame_has_so_much_data_and_no_more_and_what_is_larger_goes_alone(
    kind: str, sizes: list[int], expected: list[int]
) -> None:
    one = "x" if kind == "text" else b"x"
    attempts = [attempt(n, one * size) for n, size in enumerate(sizes)]
    assert lengths(attempts, 100) == expected


DATA: list[Any] = [
    None,
    True,
    -1.5e300,
    "",
    'Grüße an \U0001f69a, \u2028\0"\\ and </script>',
    [],
    {},
    {"a": [{"b": [[[None]]]}], "ключ": "значение", "": 0},
    [[[[["deep"]]]]],
]
BYTES: list[Any] = [b"", b"\0\xff", {"photo": b"\x89PNG", "of": [b"a", {"b": bytearray(b"c")}]}]


@pytest.mark.parametrize(
    "data", [[one] for one in [*DATA, *BYTES]] + [DATA, DATA + BYTES], ids=lambda d: repr(d)[:30]
)
def test_what_is_packed_is_unpacked_as_it_was(data: list[Any]) -> None:
    attempts = [
        attempt(n, encode(one, LARGEST), f'ev"ent ü{n}', number=n + 1) for n, one in enumerate(data)
    ]
    packed = pack(attempts)
    assert isinstance(packed, list if any(isinstance(a.body, bytes) for a in attempts) else str)
    entries = unpack(packed)
    assert entries == [[a.event, one, delivery(a)] for a, one in zip(attempts, data, strict=True)]
    assert [entry[2]["redelivered"] for entry in entries] == [n > 0 for n in range(len(data))]


def test_a_text_is_what_any_client_reads() -> None:
    assert json.loads(pack([attempt(1, '{"n":1}')])) == [
        [
            "pickup",
            {"n": 1},
            {
                "id": "id-1",
                "queue": "drivers",
                "attempt": 1,
                "redelivered": False,
                "receipt": "receipt 1",
            },
        ]
    ]


@pytest.mark.parametrize(
    "what", [None, 5, {}, "", "{}", "[", "5", "null", "[" * 100_000], ids=lambda w: repr(w)[:9]
)
def test_what_is_no_frame_has_no_entries(what: object) -> None:
    assert unpack(what) == []
