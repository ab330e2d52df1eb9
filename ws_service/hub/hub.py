"""The hub of one process: its clients, their topics, and what the broker tells about these."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from functools import partial

from ws_service.hub import messages
from ws_service.hub.access import Access
from ws_service.hub.broker import Broker, Control, Event, Joined, Keep, Left, Lost, Published
from ws_service.hub.client import Client
from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.codes import INSUFFICIENT_STATE, EndCode
from ws_service.hub.counts import Counts
from ws_service.hub.encoded import Encoded
from ws_service.hub.fan_out import FanOut
from ws_service.hub.handshake import Handshake, Receiver
from ws_service.hub.limits import DEFAULTS, Limits
from ws_service.hub.publication import ClientInfo, Position, Publication
from ws_service.hub.registry import Registry, Seen
from ws_service.hub.subscription import Subscription
from ws_service.hub.tokens import is_user
from ws_service.hub.topics import Namespaces
from ws_service.hub.turns import Share, Turns
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.client_key import client_key
from ws_service.net.periodic_sweep import Pass, PeriodicSweep

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For what a client can cause."""

_TICK = 1.0
"""Seconds between two looks at the timers of clients."""

_CLOSE_WAIT = 1.0
"""Seconds at a stop for the broker to be told which clients have left."""


class Hub:
    """The clients and topics of this process.

    broker: started and closed by the hub. namespaces: the options of topics. access: which client may do what.
    limits: of each client. user_header: the field of a handshake that names the user;
    None: none does.
    """

    def __init__(
        self,
        broker: Broker,
        namespaces: Namespaces,
        access: Access,
        limits: Limits = DEFAULTS,
        user_header: str | None = None,
    ) -> None:
        self.broker = broker
        self.namespaces = namespaces
        self.access = access
        self.limits = limits
        self._user_header = user_header
        self._clients: dict[Client, None] = {}
        self._registry = Registry(broker)
        self.counts = Counts(namespaces.names)
        self._fan_out = FanOut(self.counts.broadcasts)
        self.turns = Turns()
        """Of the operations of all clients."""
        self.endings = Share()
        """Of their ends."""
        self._ticks = PeriodicSweep(self._tick)
        self._now = 0.0
        self.is_closing = False
        """Whether new clients are refused, because the process stops."""

    async def start(self) -> None:
        """Begin. Raises BrokerError where the broker cannot be begun with."""
        await self.broker.start(self.receive)

    def stop(self) -> None:
        """Take no more clients. The server closes the connections of those that are here."""
        self.is_closing = True

    async def close(self) -> None:
        """End every task, and the broker. After the connections: each client has left its topics then."""
        self.stop()
        self._ticks.stop()
        self._fan_out.close()
        await self._end_clients()
        await self._registry.close(_CLOSE_WAIT)
        await self.broker.close()

    def now(self) -> float:
        """Return the seconds that the sweep of timers counts: time in which this process stands still is not in it."""
        return self._now

    def connect(self, connection: ClientConnection, handshake: Handshake, *, answers_pings: bool = True) -> Receiver:
        """Make the client of a new connection. answers_pings: False for one that only receives."""
        user = handshake.field(self._user_header) if self._user_header is not None else None
        if user and not is_user(user):
            limited.say("user", logging.WARNING, "a client has no user: its name is longer than 255 or not printable")
            user = None
        return Client(self, connection, user or "", client_key(handshake.address), answers_pings=answers_pings)

    # -- for clients

    def add(self, client: Client) -> None:
        """Keep a client: its timers are swept, and orders find it."""
        self._clients[client] = None
        self._ticks.start(_TICK)

    def remove(self, client: Client) -> None:
        """Keep it no more. It may be gone already."""
        self._clients.pop(client, None)

    async def subscribe(self, subscription: Subscription) -> None:
        """Register a subscription under its topic, and wait until no publication of the topic is missed.

        Raises BrokerError. Where it raises, or is cancelled, the caller unsubscribes.
        """
        await self._registry.subscribe(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription at once. It may be gone already."""
        self._registry.unsubscribe(subscription)

    def leave(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client out that has joined, or may have; the broker is told later."""
        self._registry.leave(topic, info, is_told=is_told)

    # -- for all that publish

    async def publish(
        self, topic: str, publication: Publication, keep: Keep, idempotency_key: str | None = None
    ) -> Position | None:
        """Have the broker publish; see ``Broker.publish``. What it fails to is not counted."""
        position = await self.broker.publish(topic, publication, keep, idempotency_key)
        self.counts.of(topic).published += 1
        return position

    # -- for the API

    @property
    def clients(self) -> int:
        """How many clients there are here."""
        return len(self._clients)

    @property
    def users(self) -> int:
        """How many users there are here; those without a name count as one."""
        return len({client.user for client in self._clients})

    @property
    def topics(self) -> Mapping[str, int]:
        """The topics that have subscriptions here, with their numbers."""
        return self._registry.counts()

    # -- for the status page

    def largest_topics(self, count: int) -> list[Seen]:
        """The topics with the most subscriptions here. Their times are of ``time.monotonic``."""
        return self._registry.largest(count)

    # -- for the broker

    def receive(self, event: Event) -> None:
        """Take an event of the broker."""
        match event:
            case Published():
                self._publish(event)
            case Joined(topic, info):
                self._tell(topic, messages.join_push(topic, info))
            case Left(topic, info):
                self._tell(topic, messages.leave_push(topic, info))
            case Lost(topic):
                self._fan_out.send(topic, self._registry.of(topic), _lose)
            case Control():
                self._obey(event)

    # -- inside

    async def _end_clients(self) -> None:
        """End those whose connection has not ended by now, and wait for what they are about to do."""
        self.endings.close()
        for client in list(self._clients):
            client.closed()
        tasks = [client.task for client in self._clients if client.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_WAIT)

    def _publish(self, event: Published) -> None:
        topic, publication = event.topic, event.publication
        subscriptions = self._registry.publish(topic, time.monotonic())
        if not subscriptions:
            return
        push, policy = messages.publication_push(topic, publication), self.namespaces.of(topic).slow
        message = Encoded(topic, push, publication.data, publication.offset, policy, event.epoch)
        counts = self.counts.of(topic)

        def deliver(subscription: Subscription) -> None:
            if subscription.receive(message):
                subscription.connection.deliver(message)
                counts.delivered += 1

        self._fan_out.send(topic, subscriptions, deliver, len(push))

    def _tell(self, topic: str, push: bytes) -> None:
        def tell(subscription: Subscription) -> None:
            if subscription.is_live:
                subscription.connection.send(push)

        self._fan_out.send(topic, self._registry.of(topic), tell)

    def _obey(self, order: Control) -> None:
        end = EndCode(order.code, order.reason)
        for client in self._meant_by(order):
            self.endings.do(partial(_carry_out, client, order.topic, end))

    def _meant_by(self, order: Control) -> Iterable[Client]:
        """Return the clients that an order is for. Orders are rare, so no index by user and id is kept."""
        if order.user is None and order.client is None:
            return ()
        return [
            client
            for client in self._clients
            if order.client in (None, client.id) and (order.user is None or client.is_of(order.user))
        ]

    def _tick(self, waited: float) -> Pass:
        self._now += waited
        wall = time.time()
        for client in list(self._clients):
            try:
                client.tick(self._now, wall)
            except Exception:  # a fault of one client must not end the timers of all
                log.exception("the timers of a client could not be looked at")
            yield
        return _TICK if self._clients else None


def _carry_out(client: Client, topic: str | None, end: EndCode) -> None:
    if topic is None:
        client.end(end)
    else:
        client.end_subscription(topic, end)


def _lose(subscription: Subscription) -> None:
    if not subscription.is_ended:
        subscription.client.end_subscription(subscription.topic, INSUFFICIENT_STATE)
