"""Fixtures for consumers and outboxes: a hub, clients, and nothing left when they end."""

import contextlib
from random import Random

import pytest
from shop import new_shop, watched
from watched_hub import NAMESPACE, Hub, Program, connect, hang_up, new_client

from chatq import Outbox, Queues, Rules

QUICK = Rules(back_off=0.01, longest_back_off=0.05)


@pytest.fixture(autouse=True)
async def nothing_stays():
    yield
    await Hub.close_all()
    await Program.kill_all()


@pytest.fixture
async def hub():
    hub = await Hub.open()
    yield hub
    await hub.close()


@pytest.fixture
async def dial():
    """Return clients, connected if a URL is given, and end them afterwards."""
    clients = []

    async def dial(url=None, **options):
        client = new_client(**options)
        clients.append(client)
        if url:
            await connect(client, url)
        return client

    yield dial
    for client in clients:
        await hang_up(client)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shop.db"


@pytest.fixture(params=["wal", "delete"])
def db(path, request):
    with contextlib.closing(new_shop(path, request.param)) as db:
        yield db


@pytest.fixture
async def queues():
    async with await Queues.open("memory:") as queues:
        yield watched(queues)


@pytest.fixture
async def inside(path, queues):
    """Open outboxes inside the database, and close them afterwards."""
    outboxes = []

    async def inside(end=None, **options):
        outbox = await Outbox.inside(
            path, end or queues, NAMESPACE, QUICK, random=Random(1), **options
        )
        outboxes.append(outbox)
        return outbox

    yield inside
    for outbox in outboxes:
        await outbox.close(0)
