"""One client's subscription to one topic: what of the topic it takes, and what waits until its position is known."""

from __future__ import annotations

from typing import Protocol

from ws_service.hub.access import Grant
from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.codes import INSUFFICIENT_STATE, EndCode
from ws_service.hub.encoded import Encoded
from ws_service.hub.limits import DEFAULTS, Limits
from ws_service.hub.session_states import SUBSCRIPTION, SubscriptionState
from ws_service.hub.topics import TopicOptions

_LIVE = SubscriptionState.LIVE
"""Looked up once: in Python 3.11 an enum's member costs 0.3 us, for each delivery."""


class Owner(Protocol):
    """The client that a subscription belongs to. id: of its connection."""

    id: str

    def end_subscription(self, topic: str, end: EndCode) -> None:
        """End the subscription and tell the client."""


class Subscription:
    """A subscription.

    topic: its name. options: of the topic. grant: the right that it stands on. is_by_server: whether it was made at
    connect, without a command of its own. client, connection: whose it is, and where its publications go; set by its
    client before it is registered. is_present: whether the broker has been asked to count it as present.
    """

    __slots__ = (
        "_buffer",
        "_epoch",
        "_limits",
        "_offset",
        "_size",
        "_state",
        "client",
        "connection",
        "grant",
        "is_by_server",
        "is_present",
        "options",
        "topic",
    )

    client: Owner
    connection: ClientConnection

    def __init__(
        self,
        topic: str,
        options: TopicOptions,
        grant: Grant,
        limits: Limits = DEFAULTS,
        *,
        is_by_server: bool = False,
    ) -> None:
        self.topic = topic
        self.options = options
        self.grant = grant
        self.is_by_server = is_by_server
        self.is_present = False
        self._state = SubscriptionState.SUBSCRIBING
        self._limits = limits
        self._offset = 0
        self._epoch = ""
        self._buffer: list[Encoded] | None = []
        self._size = 0

    @property
    def is_live(self) -> bool:
        """Whether publications are delivered."""
        return self._state is _LIVE

    @property
    def is_ended(self) -> bool:
        """Whether it is over."""
        return self._state is SubscriptionState.ENDED

    @property
    def has_overflowed(self) -> bool:
        """Whether more has arrived than may wait, or what does not continue its position: it must be made anew."""
        return self._state is SubscriptionState.SUBSCRIBING and self._buffer is None

    def receive(self, message: Encoded) -> bool:
        """Take a publication of the topic, in order. Returns whether its connection is to deliver it now.

        One that the client has already, by its offset, is for nothing; one that comes before the position is known
        is buffered. One of another epoch than the position's ends the subscription, and the client recovers: the
        history began anew between its reading and its publication, and the offsets cannot be compared.
        """
        if self._state is _LIVE:
            offset = message.offset
            if offset:
                if message.epoch != self._epoch and self._is_foreign(message):
                    self.client.end_subscription(self.topic, INSUFFICIENT_STATE)
                    return False
                if offset <= self._offset:
                    return False
                self._offset = offset
            return True
        if self._buffer is not None and self._state is SubscriptionState.SUBSCRIBING:
            self._keep(message)
        return False

    def know_epoch(self, epoch: str) -> None:
        """Note of which epoch the position will be. Where something of another one has come, it must be made anew."""
        self._epoch = epoch
        if self._buffer is not None and any(map(self._is_foreign, self._buffer)):
            self._buffer = None

    def go_live(self, offset: int) -> list[Encoded]:
        """Begin to deliver after an offset, that of the answer to the client. Returns what has waited, in order."""
        waiting, self._buffer = self._buffer or [], None
        self._move("position known")
        self._offset = offset
        return [message for message in waiting if self.receive(message)]

    def end(self) -> None:
        """End it; it takes nothing more. It may have ended already."""
        if self._state is not SubscriptionState.ENDED:
            self._move("end")
            self._buffer = None

    def _keep(self, message: Encoded) -> None:
        assert self._buffer is not None
        self._size += len(message.push)
        is_too_much = len(self._buffer) >= self._limits.buffered or self._size > self._limits.buffered_bytes
        if is_too_much or self._is_foreign(message):
            self._buffer = None
        else:
            self._buffer.append(message)

    def _is_foreign(self, message: Encoded) -> bool:
        return message.epoch != self._epoch and bool(message.epoch and self._epoch)

    def _move(self, event: str) -> None:
        self._state = SUBSCRIPTION[self._state][event]
