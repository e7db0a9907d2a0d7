"""Fixtures of nearly every test: a server of python-socketio, and an open stage for it."""

import re
from functools import partial

import pytest
import pytest_asyncio
import socketio
from foreign_client import peer
from jupyterlab_page import lab
from nats_nodes import end_shared

from chatq import Stage
from chatq.course.generate import try_scenes


@pytest.fixture
def sio():
    return socketio.AsyncServer(async_mode="aiohttp")


@pytest.fixture(params=["sockets", "memory"])
def network(request, monkeypatch):
    """The network of each stage that does not name one: what asks for this runs on both."""
    for function in (Stage.__init__, Stage.open.__func__):
        monkeypatch.setitem(function.__kwdefaults__, "network", request.param)
    return request.param


@pytest.fixture
async def stage(sio):
    async with Stage(sio) as stage:
        yield stage


@pytest.fixture
async def browser():
    """A real browser, driven from outside."""
    async with peer() as one:
        yield one


@pytest.fixture
def complaints():
    """Return a script's stderr without asyncio's remarks (`-X dev`) that a step took long.

    Those tell of the machine's load, not of the script; all else counts.
    """
    return lambda text: re.sub(r"(?m)^Executing <.*> took \d+\.\d+ seconds\n", "", text)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def jupyter():
    """One JupyterLab for all tests that want one; they run on the session's loop, too."""
    async with lab() as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def shared_nats():
    """End the NATS server that tests share (see `nats_nodes`), whoever has started it."""
    yield
    end_shared()


@pytest.fixture
def few_scenes():
    """Checks play few generated scenes, where something else is in question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chatq.course.check.try_scenes", partial(try_scenes, scenes=5))
        yield
