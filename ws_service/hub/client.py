"""A client of the hub: drives its session with the hub and the broker."""

from __future__ import annotations

from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.client_hub import ClientHub
from ws_service.hub.codes import EndCode


class Client:
    """One client, for as long as its connection lives.

    id: of the connection. user: whose it is; empty for none, and until its connect command.
    """

    def __init__(
        self, hub: ClientHub, connection: ClientConnection, user: str = "", *, answers_pings: bool = True
    ) -> None:
        """Begin, and be kept by the hub. user: whom the gateway has found it to be. answers_pings: False for a
        connection that only receives."""
        self.id = ""
        self.user = user
        raise NotImplementedError

    @property
    def topics(self) -> list[str]:
        """The topics that it is subscribed to."""
        raise NotImplementedError

    def receive(self, message: bytes) -> None:
        """Take one message of the client: commands, one a line."""
        raise NotImplementedError

    def closed(self) -> None:
        """Give everything back: the connection is over. Calling it again does nothing."""
        raise NotImplementedError

    def end(self, end: EndCode) -> None:
        """End the connection, and give everything back."""
        raise NotImplementedError

    def end_subscription(self, topic: str, end: EndCode) -> None:
        """End a subscription and tell the client; nothing where there is none."""
        raise NotImplementedError

    def tick(self, now: float, wall: float) -> None:
        """Do what is due: pings, deadlines, expired tokens. now: of the hub's clock; wall: seconds since the epoch.

        The hub's sweep calls it about once a second.
        """
        raise NotImplementedError
