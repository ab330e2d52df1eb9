"""What a client that cannot send commands asks for in the query of its URL: topics, tokens, positions. Pure.

Two forms: ``cf_connect``, Centrifugo's, with the connect command as JSON; and ``channels``, for an EventSource or curl
that is written by hand.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from ws_service.hub.publication import Position
from ws_service.hub.topics import is_valid

_LONGEST = 64 << 10
"""Bytes of a query, and of an event's id that comes back. The gateway takes 16 KiB of a query by default
(``limits.request_line``)."""

_SAFE = ":/#,"
"""What ids need not escape."""

MOST_POSITIONS = 16
"""Topics of a stream whose events carry positions: each event carries those of all."""

_LONGEST_NAMES = 4096
"""Bytes of their names in an id. A browser sends the last id in a field of its next request, of which the gateway takes
64 KiB and most servers 8; and a publication of ten bytes is not to become an event of fifty thousand."""

_MOST_NAMES = 1024
"""Topics in a query. Even for one that asks for too many each is written into a command."""


class BadQuery(Exception):
    """The query asks for nothing that can be served; the message is for people."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    is_raw: whether a publication is sent as its data alone. token: of the connection; empty for none.
    topics: with the token of each, empty for none. positions: what the client has of some of them.
    """

    is_raw: bool
    token: str = ""
    topics: Mapping[str, str] = field(default_factory=dict)
    positions: Mapping[str, Position] = field(default_factory=dict)

    def connect(self) -> bytes:
        """Return the connect command."""
        subs = {topic: _recovery(position) for topic, position in self.positions.items()}
        return json.dumps({"id": 1, "connect": {"token": self.token, "subs": subs}}).encode()

    def subscribe(self, has: Container[str]) -> tuple[dict[int, str], bytes]:
        """Return the topics that are missing, by the ids of the commands that subscribe to them, and these commands.

        has: the topics that the client is subscribed to.
        """
        asked = dict(enumerate((topic for topic in self.topics if topic not in has), 2))
        return asked, b"\n".join(self._subscribe(topic, number) for number, topic in asked.items())

    def _subscribe(self, topic: str, number: int) -> bytes:
        position = self.positions.get(topic)
        request = {"channel": topic, "token": self.topics[topic], **(_recovery(position) if position else {})}
        return json.dumps({"id": number, "subscribe": request}).encode()


def read_query(query: str, last_event_id: str | None = None) -> Wanted:
    """Read a query. last_event_id: of an EventSource that comes back; None for none. Raises BadQuery."""
    if len(query) > _LONGEST:
        raise BadQuery(f"the query has more than {_LONGEST} bytes")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=1024)
    except ValueError:
        raise BadQuery("the query cannot be read") from None
    wanted = _centrifugos(pairs) if any(name == "cf_connect" for name, _ in pairs) else _by_hand(pairs)
    if len(wanted.topics) > _MOST_NAMES:
        raise BadQuery(f"a query names at most {_MOST_NAMES} topics")
    if not all(map(is_valid, wanted.topics)):
        raise BadQuery("a topic has 1 to 255 printable characters")
    positions = {**wanted.positions, **read_event_id(last_event_id)}
    return Wanted(wanted.is_raw, wanted.token, wanted.topics, positions)


def has_event_ids(topics: Collection[str]) -> bool:
    """Tell whether the events of a stream of these topics carry positions."""
    return len(topics) <= MOST_POSITIONS and sum(len(_escaped(topic)) for topic in topics) <= _LONGEST_NAMES


def write_event_id(positions: Iterable[tuple[str, Position]]) -> bytes:
    """Return the id of an event: where the client is in each of its topics."""
    return "&".join(f"{_escaped(topic)}={at.offset}.{_escaped(at.epoch)}" for topic, at in positions).encode()


def read_event_id(text: str | None) -> dict[str, Position]:
    """Return the positions in an event's id; none where there is no such id."""
    found: dict[str, Position] = {}
    if text is None or len(text) > _LONGEST:
        return found
    for pair in text.split("&", MOST_POSITIONS)[:MOST_POSITIONS]:
        topic, _, at = pair.rpartition("=")
        offset, dot, epoch = at.partition(".")
        if dot and offset.isascii() and offset.isdecimal() and len(offset) < 19:
            found[unquote(topic)] = Position(unquote(epoch), int(offset))
    return found


@lru_cache(maxsize=1024)
def _escaped(text: str) -> str:
    """Escape a name; it is the same for each event, and takes ten times as long as the rest of it."""
    return quote(text, _SAFE)


def _by_hand(pairs: list[tuple[str, str]]) -> Wanted:
    """Read the form with ``channels``, separated by commas, or ``channel``, one with commas in its name."""
    names = [name for key, value in pairs if key == "channels" for name in value.split(",")]
    names += [value for key, value in pairs if key == "channel"]
    tokens = [value for key, value in pairs if key == "token" and value]
    if not names and not tokens:
        raise BadQuery("name topics: ?channels=a,b, with &raw=1 for the data alone")
    of_topics = {_channel_of(token): token for token in tokens}
    connection = of_topics.pop(None, "")
    is_raw = any(name == "raw" and value not in ("", "0", "false") for name, value in pairs)
    return Wanted(is_raw, connection, {name: of_topics.get(name, "") for name in names})


def _channel_of(token: str) -> str | None:
    """Return the topic that a token says it is for; None for that of a connection. It is verified when it is used."""
    try:
        payload = token.split(".")[1]
        channel = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("channel")
    except (IndexError, ValueError, AttributeError, RecursionError):
        return None
    return channel if isinstance(channel, str) else None


def _centrifugos(pairs: list[tuple[str, str]]) -> Wanted:
    try:
        command = json.loads(next(value for name, value in pairs if name == "cf_connect"))
    except (ValueError, RecursionError):
        raise BadQuery("cf_connect is no JSON") from None
    if not isinstance(command, dict):
        raise BadQuery("cf_connect is no object")
    subs = command.get("subs") or {}
    if not isinstance(subs, dict) or not all(isinstance(sub, dict) for sub in subs.values()):
        raise BadQuery('subs of cf_connect is {"topic": {…}}')
    tokens = {topic: _text(sub, "token") for topic, sub in subs.items()}
    positions = {
        topic: Position(_text(sub, "epoch"), _offset(sub)) for topic, sub in subs.items() if sub.get("recover") is True
    }
    is_raw = any(name == "raw" and value == "1" for name, value in pairs)
    return Wanted(is_raw, _text(command, "token"), tokens, positions)


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise BadQuery(f"{name} of cf_connect is text")
    return value


def _offset(values: Mapping[str, Any]) -> int:
    value = values.get("offset", 0)
    if type(value) is not int or value < 0:
        raise BadQuery("offset of cf_connect is a number")
    return value


def _recovery(position: Position) -> dict[str, Any]:
    return {"recover": True, "epoch": position.epoch, "offset": position.offset}
