"""What `chatq[fast]` brings changes nothing but the time; without it, all of it works as well."""

from __future__ import annotations

import json
import math
import sys

import hubs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatq import fast

FOUND = fast.found()
NEEDS_ORJSON = pytest.mark.skipif(
    "orjson" not in FOUND, reason="orjson is not installed: python -m pip install orjson"
)

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()))
    | st.sampled_from(["null", "é", "\ud800", "\x7f\u2028", "NaN", -0.0, 1e16, 1e-7, 2**63, 2**64])
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def encoded(encode, data):
    """Return what the JSON of `data` reads as, and of which types; or which error it is."""
    try:
        text = encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        return type(error)
    assert text.isascii()
    return repr(json.loads(text))


@NEEDS_ORJSON
@given(VALUES)
def test_orjson_encodes_what_reads_as_the_same(data):
    standard = fast._standard()
    assert encoded(fast._quicker(standard), data) == encoded(standard, data)


@NEEDS_ORJSON
def test_it_is_orjson_that_encodes():
    def standard(data):
        raise AssertionError

    encode = fast._quicker(standard)
    assert encode({"a": [1, "b", 2.5, True, None]}) == '{"a":[1,"b",2.5,true,null]}'
    for data in (math.nan, [None, {"a": -math.inf}], "é", 2**64, "\ud800"):
        with pytest.raises(AssertionError):
            encode(data)


@pytest.mark.parametrize("name", ["orjson", "uvloop"])
def test_without_it_python_s_own_takes_its_place(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    standard = fast._standard()
    if name == "orjson":
        assert fast._quicker(standard) is standard
        assert fast._reader() is json.loads
    else:
        loop = fast.new_event_loop()
        assert type(loop).__module__.startswith("asyncio")
        loop.close()


@pytest.mark.parametrize("here", [True, False], ids=["with all that is here", "with neither"])
async def test_the_hub_says_what_it_runs_on(tmp_path, here, monkeypatch):
    if not here:  # as if they were not installed
        (tmp_path / "without").mkdir()
        for name in ("orjson", "uvloop"):
            (tmp_path / "without" / f"{name}.py").write_text(f"raise ModuleNotFoundError({name!r})")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"), prepend=":")
    with hubs.hub(folder=tmp_path) as hub:
        client = await hub.client()
        assert "id" in await hub.call(
            client, "publish", {"queue": "q", "event": "e", "data": {"n": 2**70, "é": None}}
        )
        await client.disconnect()
        await hub.stop()
        told = [line for line in hub.log.splitlines() if "faster" in line]
        assert told == ([f"info: faster by {' and '.join(FOUND)}"] if here and FOUND else [])
