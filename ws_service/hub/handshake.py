"""What a client of the hub has connected with, and what its connection tells it and asks of the hub."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.counts import Counts
from ws_service.hub.limits import Limits


@dataclass(frozen=True, slots=True)
class Handshake:
    """The head that a connection began with.

    address: of the client, as the gateway has decided it. path: without the query. query: without the question mark.
    fields: in their order, with names in lower case.
    """

    address: str
    path: str = ""
    query: str = ""
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def field(self, name: str) -> str | None:
        """Return the value of the first field of a name, whatever its case; None where there is none."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for found, value in self.fields if found == wanted), None)


class Receiver(Protocol):
    """A client, as far as its connection knows it. No method raises."""

    @property
    def user(self) -> str:
        """Whose it is; empty for none."""

    @property
    def topics(self) -> Collection[str]:
        """The topics that it is subscribed to, or is about to be."""

    def receive(self, message: bytes) -> None:
        """Take one message: commands, one a line."""

    def closed(self) -> None:
        """Hear that the connection has ended, for whichever reason."""


class ConnectionHub(Protocol):
    """The hub, as connections of all kinds know it."""

    limits: Limits
    counts: Counts
    is_closing: bool

    def connect(self, connection: ClientConnection, handshake: Handshake, *, answers_pings: bool = True) -> Receiver:
        """Make the client of a new connection. answers_pings: False for one that only receives."""
