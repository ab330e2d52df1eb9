"""A session as a play: messages in, effects out, with a broker that answers when the play says so."""

from __future__ import annotations

import json
from typing import Any

from ws_service.hub.access import Grant, Identity
from ws_service.hub.broker import Keep
from ws_service.hub.codes import PERMISSION_DENIED, TOKEN_EXPIRED, UNAUTHORIZED, ErrorCode
from ws_service.hub.effects import OPERATIONS, Deliver, Effect, End, Enter, Operation, Release, Send
from ws_service.hub.encoded import Encoded
from ws_service.hub.limits import Limits
from ws_service.hub.publication import History, Position, Publication
from ws_service.hub.session import Session
from ws_service.hub.subscription import Subscription
from ws_service.hub.topics import Namespaces, Recovery, SlowPolicy, TopicOptions

WALL = 1_000_000.0

NAMESPACES = Namespaces(
    {
        "stream": TopicOptions(recovery=Recovery.STREAM),
        "bare": TopicOptions(keep=Keep(0)),
        "seen": TopicOptions(presence=True, join_leave=True),
    }
)


class Rights:
    """Tokens are written out: ``user`` or ``user,seconds`` (to the expiry) for a connection, with ``+topic`` for each
    topic of the server; ``ok`` or ``ok,seconds`` for a subscription. Topics with ``secret`` need one."""

    def identify(self, token: str, now: float) -> Identity | ErrorCode:
        if token == "bad":
            return UNAUTHORIZED
        token, *topics = token.split("+")
        user, _, seconds = token.partition(",")
        if seconds and float(seconds) <= 0:
            return TOKEN_EXPIRED
        return Identity(user, b'{"name":"A"}', WALL + float(seconds) if seconds else None, tuple(topics))

    def may_subscribe(self, topic: str, user: str, token: str, now: float) -> Grant | ErrorCode:
        if "secret" in topic and not token:
            return PERMISSION_DENIED
        if token and not token.startswith("ok"):
            return PERMISSION_DENIED
        seconds = token.partition(",")[2]
        if seconds and float(seconds) <= 0:
            return TOKEN_EXPIRED
        return Grant(None, WALL + float(seconds) if seconds else None)

    def may_publish(self, topic: str, user: str, *, is_subscribed: bool) -> ErrorCode | None:
        return None if is_subscribed else PERMISSION_DENIED


class Play:
    """One session; ``now`` and ``wall`` are set by the test."""

    def __init__(self, limits: Limits = Limits(), **options: Any) -> None:  # noqa: B008 - frozen
        self.now, self.wall = 0.0, WALL
        self.session = Session("c1", Rights(), NAMESPACES, limits, self.now, spread=0.5, **options)
        self.effects: list[Effect] = []

    def say(self, *commands: Any) -> Play:
        """Send one message of several commands, as objects."""
        return self.send("\n".join(json.dumps(each) for each in commands).encode())

    def send(self, message: bytes) -> Play:
        """Send one message."""
        self.effects += self.session.receive(message, self.now, self.wall)
        return self

    def done(self, outcome: object) -> Play:
        """Have the operation that was asked for end."""
        self.effects += self.session.done(outcome, self.now, self.wall)
        return self

    def tick(self, *, now: float | None = None, wall: float | None = None) -> Play:
        """Look at what is due. now, wall: seconds from the beginning."""
        self.now = self.now if now is None else now
        self.wall = self.wall if wall is None else WALL + wall
        self.effects += self.session.tick(self.now, self.wall)
        return self

    def take(self) -> list[Effect]:
        """Return what has been asked for since the last look."""
        taken, self.effects = self.effects, []
        return taken

    def heard(self) -> list[Any]:
        """Return the messages that the client has been sent since the last look."""
        return [json.loads(each.message) for each in self.take() if isinstance(each, Send)]

    def operation(self) -> Operation:
        """Return the one operation that has been asked for since the last look."""
        (found,) = [each for each in self.take() if isinstance(each, OPERATIONS)]
        return found

    def ends(self) -> list[int]:
        """Return the codes with which the connection was to end, since the last look."""
        return [each.end.code for each in self.take() if isinstance(each, End)]

    def connected(self, token: str = "") -> Play:
        """Connect."""
        self.say({"id": 1, "connect": {"token": token} if token else {}})
        self.take()
        return self

    def subscribed(self, topic: str, history: History | None = None, **request: Any) -> Subscription:
        """Subscribe, and return the subscription. history: what the broker finds; None: that of a new topic."""
        self.say({"id": 99, "subscribe": {"channel": topic, **request}})
        operation = self.operation()
        assert isinstance(operation, Enter)
        self.done(history if history is not None or operation.look is None else found())
        return operation.subscription


def found(epoch: str = "e", offset: int = 0, *offsets: int) -> History:
    """Return a history: its position, and publications with these offsets."""
    return History(Position(epoch, offset), tuple(Publication(b"%d" % each, each) for each in offsets))


def encoded(offset: int, topic: str = "t") -> Encoded:
    """Return a publication as the hub hands it to a subscription."""
    return Encoded(topic, b'{"n":%d}' % offset, b"%d" % offset, offset, SlowPolicy.LATEST)


__all__ = ["NAMESPACES", "WALL", "Deliver", "Play", "Release", "Rights", "encoded", "found"]
