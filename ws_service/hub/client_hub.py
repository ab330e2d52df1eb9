"""What a client asks of the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ws_service.hub.access import Access
from ws_service.hub.broker import Broker, Keep
from ws_service.hub.counts import Counts
from ws_service.hub.limits import Limits
from ws_service.hub.publication import ClientInfo, Position, Publication
from ws_service.hub.subscription import Subscription
from ws_service.hub.topics import Namespaces
from ws_service.hub.turns import Share, Turns

if TYPE_CHECKING:
    from ws_service.hub.client import Client


class ClientHub(Protocol):
    """The hub, as its clients see it."""

    broker: Broker
    namespaces: Namespaces
    access: Access
    limits: Limits
    turns: Turns
    endings: Share
    counts: Counts

    def add(self, client: Client) -> None:
        """Keep a client: its timers are swept, and orders of the API find it by its id and, once it has one, its user.

        Its ``user`` may change once, at its connect command.
        """

    def remove(self, client: Client) -> None:
        """Keep it no more. It may be gone already."""

    def now(self) -> float:
        """Return the seconds that the sweep of timers counts: time in which this process stands still is not in it."""

    async def publish(self, topic: str, publication: Publication, keep: Keep) -> Position | None:
        """Publish; see ``Broker.publish``. Raises BrokerError."""

    async def subscribe(self, subscription: Subscription) -> None:
        """Register a subscription under its topic: at once, before the first await; the broker is asked if it is the
        first there. After the return no publication of the topic is missed.

        Raises BrokerError. Where it raises, or is cancelled, the caller unsubscribes.
        """

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription at once; the hub tells the broker later if none is left. It may be gone already."""

    def leave(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client out that has joined, or may have; the hub tells the broker, also after the client's end."""
