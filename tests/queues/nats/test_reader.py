"""A reader asks for no more at once than it can take, and for enough for the largest record."""

from __future__ import annotations

import json

import nats
import pytest
from nats_nodes import new_stream, shared_url

from chatq.queues.nats.address import Address
from chatq.queues.nats.log import NatsLog

pytestmark = pytest.mark.needs("nats")


async def test_much_is_read_by_one_consumer_in_several_requests_with_a_limit_in_bytes():
    """A server cuts a client off as a slow consumer that has asked for more than it reads."""
    url = new_stream()
    name = url.rpartition("/")[2]
    log = await NatsLog.open(Address.parse(url))
    sizes = [400_000] * 30 + [log.largest - 1_000] + [400_000] * 30
    places = [await log.append("log", size * b"x") for size in sizes]
    watcher = await nats.connect(shared_url())
    asking = await watcher.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.{name}.>")
    making = await watcher.subscribe(f"$JS.API.CONSUMER.CREATE.{name}")
    await watcher.flush()
    read: list[tuple[int, int]] = []
    await log.read(places[0] - 1, lambda at, _, data: read.append((at, len(data))), list)
    await watcher.flush()
    assert read == [*zip(places, sizes, strict=True)]
    assert making.pending_msgs == 1, "a full request is no lost consumer"
    asked = [json.loads((await asking.next_msg()).data) for _ in range(asking.pending_msgs)]
    assert len(asked) > 1
    assert {request["max_bytes"] for request in asked} == {2 * log.largest}
    await watcher.close()
    await log.close()
