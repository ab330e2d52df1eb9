"""What a client of the hub asks of its connection, whichever kind that is: WebSocket, event stream, raw."""

from __future__ import annotations

from typing import Protocol

from ws_service.hub.encoded import Encoded


class ClientConnection(Protocol):
    """A connection to one client. No method raises, also after its end; then they do nothing."""

    def send(self, message: bytes) -> None:
        """Send one message of the protocol: a reply, or a push that is for this client alone."""

    def deliver(self, message: Encoded) -> None:
        """Send a publication that is for many clients, or queue it as the topic's policy for slow clients says."""

    def close(self, code: int, reason: str) -> None:
        """End the connection, after what is queued for it."""

    def pause_reading(self) -> None:
        """Take nothing more from the client, until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Take messages again."""
