"""Fixtures for consumers and outboxes: a hub, clients, and nothing left when they end."""

import pytest
from watched_hub import Hub, Program, connect, hang_up, new_client


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
