"""What is pushed to many clients, encoded."""

from __future__ import annotations

from typing import Protocol

from ws_service.hub.publication import ClientInfo, Publication


class Pushes(Protocol):
    """Encodes messages of the protocol, without a line end."""

    def publication(self, topic: str, publication: Publication) -> bytes:
        """Return the push of a publication."""

    def join(self, topic: str, info: ClientInfo) -> bytes:
        """Return the push of a client that has subscribed."""

    def leave(self, topic: str, info: ClientInfo) -> bytes:
        """Return the push of a client that has left."""
