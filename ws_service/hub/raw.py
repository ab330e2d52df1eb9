"""The raw form of a WebSocket: ``…/connection/websocket?channels=a,b&raw=1`` sends the data of publications alone.

For components that know no protocol, such as the WebSocket of dash-extensions, and for people with a terminal. Nothing
that the client sends means anything; it is told of an end by the close code alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any, Protocol

from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.codes import (
    BAD_COMMAND,
    DENIED,
    FORCE_NO_RECONNECT,
    INVALID_TOKEN,
    PERMISSION_DENIED,
    POSITION_LOST,
    SERVER_ERROR,
    TOKEN_EXPIRED,
    EndCode,
    subscribes_again,
)
from ws_service.hub.encoded import Encoded
from ws_service.hub.handshake import ConnectionHub, Handshake, Receiver
from ws_service.hub.protocol import write_json
from ws_service.hub.stream_query import BadQuery, Wanted, read_query

PING = 25.0
"""Seconds between two pings (RFC 6455, section 5.5.2), which every client answers by itself, so that proxies do not
take a quiet connection for a dead one."""

_ENDS = {PERMISSION_DENIED.code: DENIED, TOKEN_EXPIRED.code: INVALID_TOKEN}
"""By the error of a command; any other is a mistake in the query."""


class RawSocket(ClientConnection, Protocol):
    """The connection below."""

    def ping(self) -> None:
        """Send a ping of WebSocket."""


def is_raw(query: str) -> bool:
    """Tell whether a query asks for the raw form."""
    try:
        return "raw=" in query and read_query(query).is_raw
    except BadQuery:
        return True  # RawClient tells what is wrong with it


class RawClient:
    """Connects and subscribes for a client that cannot, and takes the protocol off what is sent to it.

    It stands between a connection and its client of the hub: to the one it is the client, to the other the connection.
    """

    def __init__(self, hub: ConnectionHub, socket: RawSocket, handshake: Handshake) -> None:
        self._socket = socket
        self._asked: dict[int, str] = {}  # topics of subscribe commands that are not answered
        self._topics: set[str] = set()
        self._client: Receiver | None = None
        self._pinging: asyncio.TimerHandle | None = None
        self._wanted = Wanted(is_raw=True)
        try:
            self._wanted = read_query(handshake.query)
        except BadQuery as error:
            socket.close(BAD_COMMAND.code, str(error))
            return
        self._ping_later()
        self._client = hub.connect(self, handshake, answers_pings=False)
        self._client.receive(self._wanted.connect())

    # -- for the connection

    @property
    def user(self) -> str:
        """Whose it is; empty for none."""
        return self._client.user if self._client is not None else ""

    @property
    def topics(self) -> Collection[str]:
        """The topics that it is subscribed to."""
        return self._topics

    def receive(self, message: bytes) -> None:
        """Do nothing: what the client sends means nothing."""

    def closed(self) -> None:
        """Give everything back."""
        client, self._client = self._client, None
        if self._pinging is not None:
            self._pinging.cancel()
            self._pinging = None
        if client is not None:
            client.closed()

    # -- for the client of the hub

    def send(self, message: bytes) -> None:
        """Take a reply, or a push that is for this client alone."""
        said = json.loads(message)
        if "error" in said:
            self._refused(said["error"])
        elif "connect" in said:
            self._subscribe(said["connect"].get("subs", {}))
        elif "subscribe" in said:
            self._begun(self._asked.pop(said["id"], ""), said["subscribe"])
        elif "unsubscribe" in said.get("push", {}):
            self._ended(said["push"]["channel"], said["push"]["unsubscribe"]["code"])

    def deliver(self, message: Encoded) -> None:
        """Send the data of a publication, or queue it as its topic's policy says."""
        self._socket.deliver(message)

    def close(self, code: int, reason: str) -> None:
        """End the connection, after what is queued for it."""
        self._socket.close(code, reason)

    def pause_reading(self) -> None:
        """Do nothing: nothing is read."""

    def resume_reading(self) -> None:
        """Do nothing."""

    # -- inside

    def _subscribe(self, by_server: dict[str, Any]) -> None:
        for topic, result in by_server.items():
            self._begun(topic, result)
        self._asked, commands = self._wanted.subscribe(by_server)
        if self._asked and self._client is not None:
            self._client.receive(commands)
        elif not self._topics:  # a token of a connection that names no topics
            self._end(BAD_COMMAND)

    def _begun(self, topic: str, result: dict[str, Any]) -> None:
        self._topics.add(topic)
        for publication in result.get("publications", ()):
            self._socket.send(write_json(publication["data"]))

    def _ended(self, topic: str, code: int) -> None:
        self._topics.discard(topic)
        if subscribes_again(code):
            self._end(POSITION_LOST)
        elif not self._topics:
            self._end(FORCE_NO_RECONNECT)

    def _refused(self, error: dict[str, Any]) -> None:
        self._end(SERVER_ERROR if error.get("temporary") else _ENDS.get(error["code"], BAD_COMMAND))

    def _end(self, end: EndCode) -> None:
        self._socket.close(end.code, end.reason)
        self.closed()

    def _ping_later(self) -> None:
        self._pinging = asyncio.get_running_loop().call_later(PING, self._ping)

    def _ping(self) -> None:
        self._socket.ping()
        self._ping_later()
