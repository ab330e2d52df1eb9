"""A client of the hub: drives its session with the hub and the broker."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Iterable

from ws_service.hub.broker import BrokerError, Keep
from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.client_hub import ClientHub
from ws_service.hub.codes import INTERNAL, SERVER_ERROR, EndCode
from ws_service.hub.effects import (
    OPERATIONS,
    Deliver,
    Effect,
    End,
    Enter,
    Operation,
    PauseReading,
    PublishTo,
    ReadPresence,
    ReadTopic,
    Release,
    ResumeReading,
    Send,
)
from ws_service.hub.publication import ClientInfo, History
from ws_service.hub.recovery import Look
from ws_service.hub.session import Session
from ws_service.hub.subscription import Subscription

_log = logging.getLogger(__name__)


class Client:
    """One client, for as long as its connection lives.

    id: of the connection, unique.
    """

    __slots__ = ("__weakref__", "_address", "_connection", "_hub", "_session", "_task", "id")

    def __init__(
        self,
        hub: ClientHub,
        connection: ClientConnection,
        user: str = "",
        address: str = "",
        *,
        answers_pings: bool = True,
    ) -> None:
        """Begin, and be kept by the hub.

        user: whom the gateway has found it to be; empty for none. address: what all connections of one address share
        (``client_key``). answers_pings: False for a connection that only receives; it is not pinged.
        """
        self.id = str(uuid.uuid4())
        self._hub = hub
        self._connection = connection
        self._address = address
        self._task: asyncio.Task[None] | None = None
        self._session = Session(
            self.id,
            hub.access,
            hub.namespaces,
            hub.limits,
            hub.now(),
            user=user,
            spread=random.uniform(0.5, 1.0),
            answers_pings=answers_pings,
            counts=hub.counts,
        )
        hub.add(self)

    def __repr__(self) -> str:
        return f"<client {self.id} {self._session.state.value}>"

    @property
    def user(self) -> str:
        """Whose it is; empty for none. Its connect command may change it."""
        return self._session.topics.me.user

    def is_of(self, user: str) -> bool:
        """Tell whether orders about a user are for this client. user: not empty."""
        return self._session.topics.is_of(user)

    @property
    def topics(self) -> list[str]:
        """The topics that it is subscribed to, or is about to be."""
        return list(self._session.topics)

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What executes an operation; None while there is none. The hub keeps the client until it is done."""
        return self._task

    def receive(self, message: bytes) -> None:
        """Take one message of the client: commands, one a line."""
        self._begin(self._carry_out(self._session.receive(message, self._hub.now(), time.time())))

    def closed(self) -> None:
        """Give everything back: the connection is over. Calling it again does nothing.

        Where many end at once it may be a moment later; the connection takes nothing until then.
        """
        self._hub.endings.do(self._give_back)

    def _give_back(self) -> None:
        self._carry_out(self._session.end(None))
        if self._task is None:
            self._hub.remove(self)
        elif self._task is not asyncio.current_task():
            self._task.cancel()

    def end(self, end: EndCode) -> None:
        """End the connection, and give everything back. After its end it does nothing."""
        self._carry_out(self._session.end(end))

    def end_subscription(self, topic: str, end: EndCode) -> None:
        """End a subscription and tell the client; nothing where there is none."""
        self._carry_out(self._session.end_subscription(topic, end))

    def tick(self, now: float, wall: float) -> None:
        """Do what is due: pings, deadlines, expired tokens. now: of the hub's clock; wall: seconds since the epoch.

        The hub's sweep calls it about once a second.
        """
        if effects := self._session.tick(now, wall):
            self._carry_out(effects)

    # -- inside

    def _carry_out(self, effects: Iterable[Effect]) -> Operation | None:
        """Do what the session asks for. Returns the operation that is to be executed: there is one at a time."""
        operation = None
        for effect in effects:
            match effect:
                case Send():
                    self._connection.send(effect.message)
                case Deliver():
                    for message in effect.publications:
                        self._connection.deliver(message)
                        self._hub.counts.of(message.topic).delivered += 1
                case Release():
                    self._release(effect)
                case End():
                    self._connection.close(effect.end.code, effect.end.reason)
                    self._give_back()
                case PauseReading():
                    self._connection.pause_reading()
                case ResumeReading():
                    self._connection.resume_reading()
                case _ if isinstance(effect, OPERATIONS):
                    operation = effect
        return None if self._session.is_ended else operation

    def _release(self, release: Release) -> None:
        subscription = release.subscription
        self._hub.unsubscribe(subscription)
        if subscription.is_present:
            subscription.is_present = False
            self._hub.leave(subscription.topic, release.info, is_told=subscription.options.join_leave)

    def _begin(self, operation: Operation | None) -> None:
        if operation is not None:
            self._task = asyncio.get_running_loop().create_task(self._work(operation), name=f"hub client {self.id}")
            self._task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        """Not the task's own end: one that is cancelled before its first step has none."""
        if self._task is task:
            self._task = None
        if task.cancelled():
            self.end(SERVER_ERROR)
        if self._session.is_ended and self._task is None:
            self._hub.remove(self)

    async def _work(self, operation: Operation | None) -> None:
        """Execute operations until the session asks for none. Cancelling it ends the connection (``_worked``)."""
        try:
            while operation is not None:
                await self._hub.turns.next(self._address)  # a broker in memory waits for nothing
                try:
                    outcome = await self._execute(operation)
                except BrokerError:
                    outcome = INTERNAL
                operation = self._carry_out(self._session.done(outcome, self._hub.now(), time.time()))
                if operation is not None:
                    await asyncio.sleep(0)  # others have their turn
        except Exception:
            _log.exception("An operation of a client has failed; the client comes back")
            self.end(SERVER_ERROR)

    async def _execute(self, operation: Operation) -> object:
        broker = self._hub.broker
        match operation:
            case Enter():
                return await self._enter(operation)
            case PublishTo():
                return await self._hub.publish(operation.topic, operation.publication, operation.keep)
            case ReadPresence():
                return await broker.presence(operation.topic)
            case ReadTopic():
                return await self._read(operation.topic, operation.keep, operation.look)

    async def _enter(self, operation: Enter) -> History | None:
        """Register first, so that no publication is between the history and what is received."""
        subscription, look = operation.subscription, operation.look
        options = subscription.options
        subscription.client = self
        subscription.connection = self._connection
        await self._hub.subscribe(subscription)
        history = None
        if look is not None:
            history = await self._read(subscription.topic, options.keep, look)
        if options.presence or options.join_leave:
            await self._join(operation.info, subscription)
        return history

    async def _read(self, topic: str, keep: Keep, look: Look) -> History:
        return await self._hub.broker.history(topic, keep, look.since, look.limit, is_reversed=look.is_reversed)

    async def _join(self, info: ClientInfo, subscription: Subscription) -> None:
        if subscription.is_ended:
            return
        subscription.is_present = True  # first: an operation that is cancelled may have happened
        await self._hub.broker.join(subscription.topic, info, is_told=subscription.options.join_leave)
