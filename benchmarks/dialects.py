"""How a subscriber talks to each kind of server: what it sends once it is open, and what it answers. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Protocol

TOPIC = "bench:prices"

_NUMBER = re.compile(rb'"n":(\d+)')

_POSITION = re.compile(rb'"(epoch|offset)":"?([^",}]+)')


class Dialect(Protocol):
    """One subscriber's side of a protocol, over all of its connections."""

    def hello(self) -> bytes | None:
        """Return the first message of a new connection; None: there is none, and the handshake is all."""

    def take(self, message: bytes) -> tuple[Sequence[int], bytes | None]:
        """Read a message; return the numbers of the publications in it, and the answer to it, if it wants one."""

    @property
    def is_subscribed(self) -> bool:
        """Whether publications come from now on."""


def numbers(message: bytes) -> list[int]:
    """Return the numbers of the publications in a message."""
    return [int(number) for number in _NUMBER.findall(message)]


class Plain:
    """A server that sends to all whose handshake is done."""

    is_subscribed = True

    def hello(self) -> None:
        """Say nothing."""

    def take(self, message: bytes) -> tuple[Sequence[int], None]:
        """Every message is a publication."""
        return numbers(message), None


class SocketIO:
    """Socket.IO 5 on Engine.IO 4, over WebSocket alone."""

    def __init__(self) -> None:
        self.is_subscribed = False

    def hello(self) -> None:
        """Wait for the server's ``0``, as clients do."""
        self.is_subscribed = False

    def take(self, message: bytes) -> tuple[Sequence[int], bytes | None]:
        """Connect to the default namespace after ``0``; answer pings; ``42`` is an event."""
        if message.startswith(b"42"):
            return numbers(message), None
        if message.startswith(b"40"):
            self.is_subscribed = True
        return (), b"40" if message.startswith(b"0") else b"3" if message == b"2" else None


class Centrifugo:
    """The hub's protocol, with recovery: a subscriber that comes back says where it was."""

    def __init__(self) -> None:
        self.is_subscribed = False
        self._position: dict[str, object] = {}

    def hello(self) -> bytes:
        """Connect and subscribe in one frame."""
        self.is_subscribed = False
        subscribe: dict[str, object] = {"channel": TOPIC}
        if self._position:
            subscribe |= {"recover": True, **self._position}
        return b'{"id":1,"connect":{}}\n' + json.dumps({"id": 2, "subscribe": subscribe}).encode()

    def take(self, message: bytes) -> tuple[Sequence[int], bytes | None]:
        """Remember the position; answer pings, which are empty objects."""
        if message == b"{}":
            return (), message
        if b'"subscribe":' in message:
            self.is_subscribed = True
        for name, value in _POSITION.findall(message):  # the last offset is the newest
            self._position[name.decode()] = int(value) if name == b"offset" else value.decode()
        return numbers(message), None
