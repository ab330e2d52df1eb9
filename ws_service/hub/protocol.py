"""Commands of clients, read: the JSON form of Centrifugo's client protocol, a declared subset of it.

A message is one command, or several joined by line ends. What cannot be read ends the connection; what can be read and
makes no sense is answered with an error (centrifugal.dev, "Client protocol"). Fields and flags that are not known here
are ignored, because clients offer more than a server needs to know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NoReturn

from ws_service.hub.codes import BAD_COMMAND, METHOD_NOT_FOUND, TOO_MANY_COMMANDS, EndCode, ErrorCode
from ws_service.hub.fields import Fields, Refusal
from ws_service.hub.publication import Position
from ws_service.hub.topics import is_valid

MAX_COMMANDS = 1024
"""Commands in one message. A client that comes back subscribes to everything in one."""

MAX_DEPTH = 128
"""Brackets that are open at a time. Python's own reader gives up somewhere near its limit of recursion."""

MAX_ID = (1 << 32) - 1
"""Of a command: an id has 32 bits in Centrifugo's protocol."""

ERROR_IF_UNRECOVERABLE = 2
"""In the flag of subscribe: the answer to a recovery that fails is error 112."""


class UnreadableMessage(Exception):
    """A message that ends the connection. end: what the client is told."""

    def __init__(self, end: EndCode) -> None:
        super().__init__(end.reason)
        self.end = end


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something that is answered. id: of the client, for the answer."""

    id: int


@dataclass(frozen=True, slots=True)
class Connect(Command):
    """Begin. token: of the connection; empty for none. positions: of subscriptions of the server, to recover from."""

    token: str
    positions: Mapping[str, Position]


@dataclass(frozen=True, slots=True)
class Subscribe(Command):
    """Subscribe to a topic.

    token: of the subscription; empty for none. since: the position to recover from; None: no recovery is asked for.
    is_error_if_unrecoverable: whether a recovery that fails is answered with error 112.
    """

    topic: str
    token: str
    since: Position | None
    is_error_if_unrecoverable: bool


@dataclass(frozen=True, slots=True)
class Unsubscribe(Command):
    """End a subscription."""

    topic: str


@dataclass(frozen=True, slots=True)
class Publish(Command):
    """Publish. value: as it was read. It becomes JSON again, with ``write_json``, once it is known to be allowed."""

    topic: str
    value: Any


@dataclass(frozen=True, slots=True)
class Presence(Command):
    """Ask for the clients that are there. is_count: for their number alone."""

    topic: str
    is_count: bool


@dataclass(frozen=True, slots=True)
class ReadHistory(Command):
    """Ask for publications. limit: how many at most; negative for as many as may be.

    since: after which; None: from the end that the direction begins at.
    """

    topic: str
    limit: int
    since: Position | None
    is_reversed: bool


@dataclass(frozen=True, slots=True)
class Refresh(Command):
    """Bring a new token for the connection."""

    token: str


@dataclass(frozen=True, slots=True)
class RefreshSubscription(Command):
    """Bring a new token for a subscription."""

    topic: str
    token: str


@dataclass(frozen=True, slots=True)
class Refused(Command):
    """A command that makes no sense here. error: its answer."""

    error: ErrorCode


def read_message(message: bytes) -> list[Pong | Command]:
    """Return the commands of a message.

    Raises UnreadableMessage for one that is no JSON, is nested too deeply, has numbers that are none, has a command
    without an id, or has too many commands.
    """
    if message.count(b"\n") >= MAX_COMMANDS:
        raise UnreadableMessage(TOO_MANY_COMMANDS)
    return [_read(line) for line in message.split(b"\n") if line and not line.isspace()]


def read_json(text: bytes) -> Any:
    """Return a value. Raises UnreadableMessage; also for NaN and Infinity, which are no JSON."""
    try:
        # As text: of bytes the library guesses the encoding, and UTF-16 would hide its brackets from ``_depth``.
        value = json.loads(text.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnreadableMessage(BAD_COMMAND) from None
    return value


def write_json(value: object) -> bytes:
    """Return a value as compact JSON. Raises ValueError for a number that JSON does not have, such as 1e999."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates: JSON can say it, UTF-8 cannot
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


# -- inside


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _read(line: bytes) -> Pong | Command:
    if line.strip() == b"{}":
        return Pong()
    if _depth(line) > MAX_DEPTH:
        raise UnreadableMessage(BAD_COMMAND)
    value = read_json(line)
    if not isinstance(value, dict):
        raise UnreadableMessage(BAD_COMMAND)
    number = value.get("id", 0)
    if type(number) is not int or not 0 < number <= MAX_ID:
        raise UnreadableMessage(BAD_COMMAND)
    for name, reader in _READERS.items():
        if name in value:
            return _read_request(number, value[name], reader)
    return Refused(number, METHOD_NOT_FOUND)


def _read_request(number: int, request: Any, reader: Callable[[int, Fields], Command]) -> Command:
    try:
        return reader(number, Fields(request))
    except Refusal as refusal:
        return Refused(number, refusal.error)


def _depth(line: bytes) -> int:
    """Return how many brackets are open at a time; an upper bound of it where that is few. 64 KiB take 3 ms."""
    opened = line.count(b"{") + line.count(b"[")
    if opened <= MAX_DEPTH:
        return opened
    brackets = _TEXT.sub(b"", line).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A text in JSON, or what is there of one: it matches at every quote, so that no bytes make it look twice."""

_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _connect(number: int, fields: Fields) -> Command:
    positions = {}
    for topic, each in (fields.object("subs") or Fields({})).objects():
        if is_valid(topic) and each.flag("recover"):
            positions[topic] = each.position()
    return Connect(number, fields.text("token"), positions)


def _subscribe(number: int, fields: Fields) -> Command:
    # A filter that is ignored would deliver what was to be left out; a type is another kind of subscription.
    if fields.has("tf") or fields.has("type"):
        raise Refusal
    is_error = bool(fields.number("flag") & ERROR_IF_UNRECOVERABLE)
    since = fields.position() if fields.flag("recover") else None
    return Subscribe(number, fields.topic(), fields.text("token"), since, is_error)


def _history(number: int, fields: Fields) -> Command:
    return ReadHistory(number, fields.topic(), fields.number("limit"), fields.since(), fields.flag("reverse"))


_READERS: dict[str, Callable[[int, Fields], Command]] = {
    "connect": _connect,
    "subscribe": _subscribe,
    "unsubscribe": lambda number, fields: Unsubscribe(number, fields.topic()),
    "publish": lambda number, fields: Publish(number, fields.topic(), fields.value("data")),
    "presence": lambda number, fields: Presence(number, fields.topic(), is_count=False),
    "presence_stats": lambda number, fields: Presence(number, fields.topic(), is_count=True),
    "history": _history,
    "refresh": lambda number, fields: Refresh(number, fields.text("token")),
    "sub_refresh": lambda number, fields: RefreshSubscription(number, fields.topic(), fields.text("token")),
}
