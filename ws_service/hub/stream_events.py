"""Messages to a client as server-sent events, in two forms. Pure.

Centrifugo's form has the pushes of the protocol without the object around them, and what a client would get as replies
as pushes too (centrifugal.dev, "Unidirectional SSE"). The raw form has the data of publications; what else a client
must hear are events with a name, which an EventSource does not take for messages. Format: HTML, section 9.2.6.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ws_service.hub.codes import subscribes_again
from ws_service.hub.encoded import Encoded
from ws_service.hub.messages import content_of
from ws_service.hub.protocol import write_json
from ws_service.hub.publication import Position
from ws_service.hub.stream_query import Wanted, has_event_ids, write_event_id

KEEP_ALIVE = b":\n\n"
"""A comment, which clients leave out."""


class StreamEvents:
    """Makes the events of one stream, and follows the positions that their ids tell.

    wanted: what the client has asked for.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._is_raw = wanted.is_raw
        self._wanted = wanted.topics
        self._has_ids = has_event_ids(wanted.topics)
        self._positions: dict[str, Position] = {}
        self.topics: set[str] = set()
        """Those that the client is subscribed to."""
        self.is_over = False
        """Whether the client has to come back for what it lacks, or has no topic left."""

    def connected(self, result: Mapping[str, Any]) -> list[bytes]:
        """Return the events of the answer to connect. result: as it was parsed."""
        begun: list[bytes] = []
        subscriptions = result.get("subs", {})
        self._has_ids = has_event_ids({*self._wanted, *subscriptions})  # from the beginning: the last id is a promise
        for topic, subscription in subscriptions.items():
            begun += self._begun(topic, subscription, is_told=False)
        return begun if self._is_raw else [self._id() + _event(write_json({"connect": result}))]

    def subscribed(self, topic: str, result: Mapping[str, Any]) -> list[bytes]:
        """Return the events of the answer to a subscribe command."""
        return self._begun(topic, result, is_told=True)

    def publication(self, message: Encoded) -> bytes:
        """Return a publication as an event."""
        content = message.raw_event if self._is_raw else message.event
        if not message.offset:
            return content
        return self._id(message.topic, message.offset) + content

    def push(self, message: bytes) -> list[bytes]:
        """Return a push that is for this client alone as events."""
        content = content_of(message)
        push = json.loads(content) if b'"unsubscribe":' in content else {}
        if "unsubscribe" in push:
            self._ended(push["channel"], push["unsubscribe"]["code"])
            return [_event(content, b"unsubscribe" if self._is_raw else b"")]
        return [] if self._is_raw else [_event(content)]

    def disconnected(self, code: int, reason: str) -> bytes:
        """Return the event of the connection's end."""
        content = write_json({"disconnect": {"code": code, "reason": reason}})
        return _event(content, b"disconnect" if self._is_raw else b"")

    def _ended(self, topic: str, code: int) -> None:
        self.topics.discard(topic)
        # The position of a topic that has lost some stays: the client recovers from it when it comes back.
        self.is_over = subscribes_again(code) or not self.topics

    def _begun(self, topic: str, result: Mapping[str, Any], *, is_told: bool) -> list[bytes]:
        self.topics.add(topic)
        publications = result.get("publications", [])
        if result.get("positioned"):
            self._positions[topic] = Position(str(result.get("epoch", "")), int(result.get("offset", 0)))
        has_gap = bool(result.get("was_recovering")) and not result.get("recovered")
        return list(self._beginning(topic, result, publications, is_told=is_told, has_gap=has_gap))

    def _beginning(
        self, topic: str, result: Mapping[str, Any], publications: list[Any], *, is_told: bool, has_gap: bool
    ) -> Iterator[bytes]:
        if not is_told and not self._is_raw:  # the answer to connect has it all
            for each in publications:
                self._note(topic, each.get("offset", 0))
        elif self._is_raw:
            position = self._id()
            if has_gap:
                yield position + _event(write_json({"channel": topic}), b"gap")
            elif position:
                yield position + b"\n"  # an event without data is an id alone
            for each in publications:
                yield self._id(topic, each.get("offset", 0)) + _event(write_json(each["data"]))
        else:
            told = {name: value for name, value in result.items() if name != "publications"}
            yield self._id() + _event(write_json({"channel": topic, "subscribe": told}))
            for each in publications:
                yield self._id(topic, each.get("offset", 0)) + _event(write_json({"channel": topic, "pub": each}))

    def _note(self, topic: str, offset: int) -> None:
        before = self._positions.get(topic)
        if before is not None and offset > before.offset:
            self._positions[topic] = Position(before.epoch, offset)

    def _id(self, topic: str = "", offset: int = 0) -> bytes:
        """Return the line with the positions after a publication; nothing where no topic has one, or they are long."""
        self._note(topic, offset)
        if not self._has_ids or not self._positions:
            return b""
        return b"id: %b\n" % write_event_id(self._positions.items())


def _event(content: bytes, name: bytes = b"") -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, content) if name else b"data: %b\n\n" % content
