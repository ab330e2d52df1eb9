"""What one client of the hub may hold and do, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from ws_service.config.hub_settings import HubSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one client's connection. Seconds, unless said otherwise. Precedents are Centrifugo's defaults.

    connect: until its connect command, else it is stale. Precedent: 10.
    ping: between pings of the server; 0 for none. Precedent: 25. pong: until the answer. Precedent: 8.
    grace: from the expiry of a token to the end of what it was for; the client refreshes in it. Precedent: 25.
    subscriptions: at a time. Precedent: 128. commands: a second, on average; ten times as many at once; 2 KiB count as
    one. errors: answers with an error that is not temporary; one a second is forgiven. recovered: publications of one
    recovery, or of one look at the history. Precedent: 300. buffered, buffered_bytes: publications that arrive while a
    subscription is being made. message: bytes of one message of the client. Precedent: 64 KiB. queue: bytes that wait
    for a client that does not read, and bytes of publications in one answer. Precedent: 1 MiB. presence:
    clients that one answer names; of more there is the number alone.
    """

    connect: float = 10.0
    ping: float = 25.0
    pong: float = 8.0
    grace: float = 25.0
    subscriptions: int = 128
    commands: float = 100.0
    errors: int = 256
    recovered: int = 300
    buffered: int = 1024
    buffered_bytes: int = 1 << 20
    message: int = 1 << 16
    queue: int = 1 << 20
    presence: int = 1000

    @classmethod
    def from_settings(cls, settings: HubSettings) -> Limits:
        """Return the bounds that ``ws_service.hub`` says."""
        return cls(
            connect=settings.connect,
            ping=settings.ping,
            pong=settings.pong,
            subscriptions=settings.subscriptions,
            recovered=settings.recovered,
            message=settings.max_message,
            queue=settings.queue,
            presence=settings.presence_names,
        )


DEFAULTS = Limits()
