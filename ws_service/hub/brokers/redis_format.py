"""What the Redis broker writes: names of keys and channels, publications, clients, orders. Pure.

Keys of one topic share a hash tag, so that they are in one slot of a cluster (Redis, "Cluster specification").
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, NamedTuple

from ws_service.hub.broker import Control, Event, Joined, Left, Published
from ws_service.hub.publication import ClientInfo, Publication

CONTROL = "\0control"
"""The topic of orders to every process. No topic of a client has such a name."""

_PUBLICATION, _JOIN, _LEAVE = b"p", b"j", b"l"


class Keys(NamedTuple):
    """Names in one Redis. prefix: of all of them. database: channels have none, so their names carry it."""

    prefix: str
    database: int

    def of(self, topic: str, kind: str) -> str:
        """Return the key of what a topic has, such as its ``stream``."""
        tag = topic.replace("%", "%25").replace("}", "%7D")
        return f"{self.prefix}:{{{tag}}}:{kind}"

    def channel(self, topic: str) -> bytes:
        """Return the channel of a topic's events."""
        return f"{self.prefix}:{self.database}:{topic}".encode()

    def topic(self, channel: bytes) -> str:
        """Return the topic of a channel."""
        return channel.decode().split(":", 2)[2]

    def pattern(self) -> str:
        """Return a pattern of all channels."""
        return f"{self.prefix}:{self.database}:*"


def encode_body(publication: Publication) -> bytes:
    """Return a publication without its offset: a line about it, and its data."""
    about: dict[str, Any] = {}
    if publication.info is not None:
        about["info"] = _client(publication.info)
    if publication.tags:
        about["tags"] = dict(publication.tags)
    return (json.dumps(about).encode() if about else b"") + b"\n" + publication.data


def decode_body(body: bytes, offset: int) -> Publication:
    """Return the publication. Raises ValueError."""
    about, _, data = body.partition(b"\n")
    if not data:
        raise ValueError("a publication without data")
    if not about:
        return Publication(data, offset)
    fields = _fields(about)
    info, tags = fields.get("info"), fields.get("tags", {})
    if not isinstance(tags, dict):
        raise ValueError("tags that are no object")
    return Publication(data, offset, None if info is None else _client_info(info), tags)


def encode_joined(info: ClientInfo) -> bytes:
    """Return the message that a client has subscribed."""
    return _JOIN + encode_client(info)


def encode_left(info: ClientInfo) -> bytes:
    """Return the message that a client is gone."""
    return _LEAVE + encode_client(info)


def decode_event(topic: str, message: bytes) -> Event:
    """Return the event that a message of a topic's channel is. Raises ValueError.

    The script writes publications as ``p<offset> <epoch>``, a line end, and the body.
    """
    kind, rest = message[:1], message[1:]
    if kind == _PUBLICATION:
        place, _, body = rest.partition(b"\n")
        offset, _, epoch = place.decode().partition(" ")
        return Published(topic, decode_body(body, int(offset)), epoch)
    if kind == _JOIN:
        return Joined(topic, decode_client(rest))
    if kind == _LEAVE:
        return Left(topic, decode_client(rest))
    raise ValueError("unknown kind of message")


def encode_client(info: ClientInfo) -> bytes:
    """Return a client as JSON."""
    return json.dumps(_client(info)).encode()


def decode_client(text: bytes) -> ClientInfo:
    """Return the client. Raises ValueError."""
    return _client_info(_fields(text))


def encode_control(order: Control) -> bytes:
    """Return an order as JSON."""
    return json.dumps(asdict(order)).encode()


def decode_control(text: bytes) -> Control:
    """Return the order. Raises ValueError."""
    try:
        order = Control(**_fields(text))
    except TypeError as error:
        raise ValueError(str(error)) from None
    is_text = all(isinstance(one, str | None) for one in (order.user, order.client, order.topic))
    if not is_text or type(order.code) is not int or not isinstance(order.reason, str):
        raise ValueError("not an order")
    return order


def _fields(text: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("not an object of JSON")
    return fields


def _client(info: ClientInfo) -> dict[str, str]:
    fields = {"client": info.client, "user": info.user}
    if info.connection is not None:
        fields["connection"] = info.connection.decode()
    if info.subscription is not None:
        fields["subscription"] = info.subscription.decode()
    return fields


def _client_info(fields: dict[str, str]) -> ClientInfo:
    try:
        if not isinstance(fields["client"], str) or not isinstance(fields["user"], str):
            raise ValueError("not a client: its id or user is no text")
        connection, subscription = fields.get("connection"), fields.get("subscription")
        return ClientInfo(
            fields["client"],
            fields["user"],
            None if connection is None else connection.encode(),
            None if subscription is None else subscription.encode(),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a client: {error}") from None
