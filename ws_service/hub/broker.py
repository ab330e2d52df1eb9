"""What the hub asks of a broker, and what a broker tells the hub.

The broker is the only author of order, offsets and epochs. It never knows a subscriber: each event reaches the hub of
every process once, in the order of its topic, and the hub delivers it to its own clients.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ws_service.hub.publication import ClientInfo, History, Position, Publication

IDEMPOTENCY_TTL = 300.0
"""Seconds for which an idempotency key is remembered. Precedent: Centrifugo 5 min."""


def new_epoch() -> str:
    """Return an epoch that no topic had before."""
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class Keep:
    """How much history a topic keeps. size: publications, 0 for none. ttl: seconds since the newest one."""

    size: int = 0
    ttl: float = 300.0


@dataclass(frozen=True, slots=True)
class Published:
    """A publication. epoch: of its offset; empty where the topic keeps no history."""

    topic: str
    publication: Publication
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """A client has subscribed."""

    topic: str
    info: ClientInfo


@dataclass(frozen=True, slots=True)
class Left:
    """A client has unsubscribed, or is gone."""

    topic: str
    info: ClientInfo


@dataclass(frozen=True, slots=True)
class Lost:
    """Publications of a topic may have been lost: its subscribers must recover, or be told that they cannot."""

    topic: str


@dataclass(frozen=True, slots=True)
class Control:
    """An order of the API to every process: end connections or subscriptions.

    user: whose; None: of any. client: which connection alone; None: all of the user. topic: the subscription to end;
    None: the connection. code, reason: what the client is told.
    """

    user: str | None
    client: str | None
    topic: str | None
    code: int
    reason: str


Event = Published | Joined | Left | Lost | Control


class BrokerError(Exception):
    """The broker cannot be asked at the moment: the command fails with a temporary error."""


class Broker(Protocol):
    """Order, history and presence. Every method but ``start`` and ``close`` may raise BrokerError.

    Cancelling one leaves the broker whole; the operation may have happened.

    name: of its kind, for the status page.
    """

    name: str

    @property
    def is_connected(self) -> bool:
        """Whether it can be asked at the moment, as far as it knows."""

    async def start(self, receive: Callable[[Event], None]) -> None:
        """Begin. receive: gets each event of the topics that this process has subscribed to, and every Control."""

    async def close(self) -> None:
        """End every task and connection."""

    async def subscribe(self, topic: str) -> None:
        """Begin to receive a topic's events; after the return none is missed."""

    async def unsubscribe(self, topic: str) -> None:
        """Receive them no more."""

    async def publish(
        self, topic: str, publication: Publication, keep: Keep, idempotency_key: str | None = None
    ) -> Position | None:
        """Publish; the broker sets the offset. Returns the position, None where the topic keeps no history.

        idempotency_key: the same key within ``IDEMPOTENCY_TTL`` publishes once, and returns the first position.
        """

    async def history(
        self, topic: str, keep: Keep, since: Position | None = None, limit: int = 0, *, is_reversed: bool = False
    ) -> History:
        """Return publications after ``since`` (None: from the oldest that is kept; reversed: from the newest).

        limit: how many at most; 0: none, the position alone; -1: all that are kept. The caller compares the epoch.
        """

    async def join(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client of this process as present, until ``leave``. is_told: whether others get a Joined."""

    async def leave(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count it out."""

    async def presence(self, topic: str) -> Mapping[str, ClientInfo]:
        """Return the clients that are present, of all processes, by their ids."""

    async def topics(self) -> Mapping[str, int]:
        """Return the topics that have subscribers in any process, with the number of processes that have some."""

    async def lag(self) -> float | None:
        """Return the seconds that a message takes to the broker and back, on the way on which publications come; None:
        it has not come back in half a second. Raises nothing."""

    async def control(self, order: Control) -> None:
        """Send an order to every process, this one included."""
