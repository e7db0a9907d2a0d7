"""Delivery of messages: one subscription for each consumer of each queue.

Owns the subscriptions, from when a client subscribes until it has left. Must not know: servers and
their events, how messages are kept, when a client gets more, what an acknowledgement does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any

from ..internals.connecting import Connecting
from ..internals.server_events import ServerEvents
from ..journal.facts import Died, Queued, Subscribed, Unsubscribed
from .in_flight import InFlight
from .observers import Observer, Observers
from .rules import EXPIRED, Rules
from .store import Stats, Store
from .subscription import Consumers, Subscription
from .turns import Turns

__all__ = ["Deliverer"]


class Deliverer:
    """Delivers messages from `store` to the consumers of their queues.

    `rules`: the limits; `clock`: gives the time in seconds since the epoch; `random`: the source of
    the jitter of the back-off.
    """

    in_flight: InFlight
    observers: Observers

    def __init__(
        self, store: Store, rules: Rules, clock: Callable[[], float], random: Random
    ) -> None:
        self.in_flight = InFlight(store, rules, clock, random, self._notify)
        self.observers = self.in_flight.observers
        #: Whether the queues are closed, or being closed: nothing new begins.
        self.closing = False
        self._store = store
        self._subscriptions: dict[tuple[str, str], Subscription] = {}  # by sid and queue
        self._of_client: dict[str, dict[str, Subscription]] = {}  # the same, by sid, then by queue
        self._turns: dict[str, Turns] = {}  # by sid
        self._consumers: dict[str, Consumers] = {}  # by queue
        self._sweep_at = 64
        self._deaf: list[Callable[[], None]] = []  # each ends that one server is listened to
        store.listen(self._notify)
        store.mourn(self._expired)

    def listen(self, sio: Any, namespace: str) -> None:
        """Take acknowledgements and goodbyes of the clients of `namespace` of `sio`."""
        self._deaf.append(ServerEvents.of(sio).listen(namespace, self))

    async def subscribe(
        self, sio: Any, namespace: str, sid: str, queue: str, window: int, frame: int, name: str
    ) -> Stats:
        """Start a subscription of a client to `queue`, or change its window, frame and name.

        While the client's connect handler runs, it only waits: it begins when the client has been
        let in, and ends if that is refused. Returns the counts of the queue. Raises `StoreError`.
        """
        self._sweep()
        subscription = self._subscriptions.get((sid, queue))
        if subscription is None:
            consumers = self._consumers.setdefault(queue, Consumers(self._drop))
            turns = self._turns_of(sid)
            subscription = Subscription(
                self.in_flight, consumers, sio, namespace, sid, queue, window, frame, turns
            )
            subscription.name = name
            self._subscriptions[sid, queue] = consumers.by_sid[sid] = subscription
            self._of_client.setdefault(sid, {})[queue] = subscription
            self.observers.notify(Subscribed(sid, queue))
            try:
                stats = await self._store.stats(queue)
            except BaseException:
                self._drop(subscription)
                raise
            Connecting.of(sio).then(sid, namespace, partial(self._begin, subscription))
        else:
            subscription.window, subscription.frame, subscription.name = window, frame, name
            self._notify(queue)  # a smaller window may leave something to others
            stats = await self._store.stats(queue)
        return stats or Stats()

    def _begin(self, subscription: Subscription, connected: bool) -> None:
        """Begin to deliver, or forget a subscription whose client was refused or has left."""
        sid, queue = subscription.sid, subscription.queue
        if subscription.stopped:
            return  # it was unsubscribed, or the queues were closed, meanwhile
        if connected:
            running = subscription.start()
            self.in_flight.tasks.add(running, f"the messages for {sid} of queue {queue!r}")
        else:
            self.observers.notify(Unsubscribed(sid, queue))
            self._drop(subscription)

    async def unsubscribe(self, sid: str, queue: str) -> bool:
        """End this client's subscription to `queue`; return whether there was one."""
        subscription = self._subscriptions.get((sid, queue))
        if subscription is None:
            return False
        self.observers.notify(Unsubscribed(sid, queue))
        self._drop(subscription)
        await subscription.stop()
        return True

    def expect(self, queues: Iterable[str]) -> None:
        """Let the next consumer of each of `queues` claim what is put right after this call."""
        for queue in queues:
            if consumers := self._consumers.get(queue):
                next(iter(consumers.by_sid.values())).expect()

    def subscriptions(self, sid: str) -> list[str]:
        """Return the queues that `sid` consumes."""
        return [subscription.queue for subscription in self._of(sid)]

    def consumers(self, queue: str) -> list[tuple[str, int]]:
        """Return the names of the consumers of `queue`, with how many messages are in flight."""
        consumers = self._consumers.get(queue)
        known = consumers.by_sid.values() if consumers is not None else ()
        return [(each.name, len(each.sent)) for each in known]

    def consumed(self, queue: str) -> bool:
        """Return whether `queue` has a consumer."""
        return queue in self._consumers

    async def received(self, sid: str, receipts: list[str]) -> bool:
        """Acknowledge the messages with these receipts; return whether all of them were this
        client's, and current."""
        mine = self._mine(sid, receipts)
        if not mine:
            return not receipts
        return all(await self.in_flight.received(mine)) and len(mine) == len(receipts)

    async def failed(self, sid: str, receipt: str, reason: str, delay: float | None) -> bool:
        """Negatively acknowledge a message; return whether the receipt was this client's, and
        current. `delay`: seconds until the redelivery; None: the back-off."""
        if not self._mine(sid, [receipt]):
            return False
        return await self.in_flight.failed(receipt, reason or "refused by its consumer", delay)

    async def released(self, sid: str, receipts: list[str], *, begun: bool) -> bool:
        """Put back messages that this client has not failed to handle; return whether all of them
        were this client's, and current. `begun`: whether it has begun to."""
        mine = self._mine(sid, receipts)
        why = f"given back, {'broken off' if begun else 'not begun'}"
        done = await self.in_flight.released(mine, why, begun=begun)
        return all(done) and len(mine) == len(receipts)

    async def extend(self, sid: str, receipts: list[str], *, pause: bool) -> bool:
        """Let the leases of messages that this client is working on run anew; return whether all of
        them were this client's, and current. `pause`: send it nothing more until then."""
        mine = self._mine(sid, receipts)
        for receipt in mine if pause else ():
            holder = self.in_flight.holder(receipt)
            if holder and (subscription := self._subscriptions.get((sid, holder.queue))):
                subscription.pause(receipt)
        done = await self.in_flight.extend(mine)
        return all(done) and len(mine) == len(receipts)

    def answered(self, sid: str, callback: Callable[..., object] | None, answer: list[Any]) -> bool:
        """See `ServerListener.answered`: the receipt in the answer decides, not its number."""
        one = isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], str)
        receipt = answer[0] if one else ""
        holder = self.in_flight.holder(receipt)
        if holder is None:
            return False
        if holder.sid == sid and holder.sent[receipt].callback is callback is not None:
            return False  # it comes in time, by its own call-back
        if self._mine(sid, [receipt]):
            self.in_flight.acknowledged(receipt)
        return True

    def left(self, sid: str, *, goodbye: bool) -> None:
        """See `ServerListener.left`: a client that says goodbye is at work no more."""
        for subscription in self._of(sid):
            self._drop(subscription)
        if goodbye and (receipts := self.in_flight.left_by(sid)):
            self.in_flight.release_soon(receipts, "its client has said goodbye")

    def _mine(self, sid: str, receipts: list[str]) -> list[str]:
        """Return those of the receipts that this client may answer with."""

        def consumes(*name: str) -> bool:
            return name in self._subscriptions

        mine = [r for r in receipts if self.in_flight.may_answer(sid, r, consumes)]
        if len(mine) < len(receipts):  # it lives, although it is late
            for subscription in self._of(sid):
                subscription.alive()
        return mine

    def _turns_of(self, sid: str) -> Turns:
        turns = self._turns.get(sid)
        if turns is None:
            turns = self._turns[sid] = Turns(1.25 * self.in_flight.rules.lease)
        return turns

    def _of(self, sid: str) -> list[Subscription]:
        return [*self._of_client.get(sid, {}).values()]

    def watch(self, observer: Observer) -> Callable[[], None]:
        """See `Queues.watch`."""
        return self.observers.add(observer, [Subscribed(*name) for name in self._subscriptions])

    def tick(self) -> None:
        """See `Queues.tick`."""
        self.in_flight.tick()
        for subscription in self._subscriptions.values():
            subscription.wake()

    async def close(self, within: float) -> None:
        """End all subscriptions; see `Queues.close`."""
        for subscription in self._subscriptions.values():
            subscription.end()
        await self.in_flight.close(within)
        for end in self._deaf:
            end()

    def _drop(self, subscription: Subscription) -> None:
        """Remove a subscription whose client has left, or has unsubscribed."""
        subscription.end()
        name, queue = (subscription.sid, subscription.queue), subscription.queue
        if self._subscriptions.get(name) is subscription:
            del self._subscriptions[name]
            mine = self._of_client[subscription.sid]
            del mine[queue]
            if not mine:
                del self._of_client[subscription.sid], self._turns[subscription.sid]
            consumers = self._consumers[queue]
            del consumers.by_sid[subscription.sid]
            if not consumers.by_sid:
                del self._consumers[queue]
            self.in_flight.let_go(subscription)
        self._notify(queue)  # somebody else may claim what this consumer would have claimed next

    def _expired(self, queue: str, id: str, event: str) -> None:
        self.observers.notify(Died(Queued(queue, id, event), EXPIRED))

    def _notify(self, queue: str) -> None:
        if consumers := self._consumers.get(queue):
            consumers.wake()

    def _sweep(self) -> None:
        """Remove subscriptions whose clients have left, each time their number has doubled.

        (A subscription that has something to send notices by itself.)
        """
        if len(self._subscriptions) >= self._sweep_at:
            for subscription in [*self._subscriptions.values()]:
                if subscription.started and not subscription.connected:
                    self._drop(subscription)
            self._sweep_at = max(64, 2 * len(self._subscriptions))
