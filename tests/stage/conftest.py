"""What a stage promises it promises for every kind of server that it serves, on each network."""

import pytest
import socketio

from chatq import Stage

#: The kinds of servers, and the networks.
WORLDS = [("aiohttp", "sockets"), ("asgi", "sockets"), ("aiohttp", "memory")]


@pytest.fixture(params=WORLDS, ids="-".join)
def world(request):
    return request.param


@pytest.fixture
def sio(request, world):
    """The server, of each kind; `@pytest.mark.parametrize("sio", ["aiohttp"], indirect=True)`: of
    this kind only."""
    return socketio.AsyncServer(async_mode=getattr(request, "param", world[0]))


@pytest.fixture
def network(world, monkeypatch):
    """The network of each stage that does not name one."""
    for function in (Stage.__init__, Stage.open.__func__):
        monkeypatch.setitem(function.__kwdefaults__, "network", world[1])
    return world[1]
