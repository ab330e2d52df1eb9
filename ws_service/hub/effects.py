"""What a session asks its client to do. An operation is asked of the broker, and its outcome is told to the session."""

from __future__ import annotations

from dataclasses import dataclass

from ws_service.hub.broker import Keep
from ws_service.hub.codes import TOKEN_EXPIRED, EndCode, ErrorCode
from ws_service.hub.encoded import Encoded
from ws_service.hub.messages import error_reply, reply
from ws_service.hub.publication import ClientInfo, Publication
from ws_service.hub.recovery import Look
from ws_service.hub.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to this client. is_counted: whether it is an error that a client can avoid."""

    message: bytes
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Deliver:
    """Deliver publications that have waited for a subscription."""

    publications: list[Encoded]


@dataclass(frozen=True, slots=True)
class Release:
    """Give back what a subscription holds: its place under its topic, and its presence.

    info: of the client, as others have seen it.
    """

    subscription: Subscription
    info: ClientInfo


@dataclass(frozen=True, slots=True)
class End:
    """End the connection."""

    end: EndCode


@dataclass(frozen=True, slots=True)
class PauseReading:
    """Take nothing more from the client for now."""


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """Take messages again."""


@dataclass(frozen=True, slots=True)
class Enter:
    """Operation: register a subscription, read its history, and count its client as present. Outcome: the History;
    None where ``look`` is None."""

    subscription: Subscription
    look: Look | None
    info: ClientInfo


@dataclass(frozen=True, slots=True)
class PublishTo:
    """Operation: publish. Outcome: the position, which a client is not told."""

    topic: str
    publication: Publication
    keep: Keep


@dataclass(frozen=True, slots=True)
class ReadPresence:
    """Operation: read which clients are present. Outcome: ClientInfo by id."""

    topic: str


@dataclass(frozen=True, slots=True)
class ReadTopic:
    """Operation: read the history. Outcome: the History."""

    topic: str
    keep: Keep
    look: Look


Operation = Enter | PublishTo | ReadPresence | ReadTopic
Effect = Send | Deliver | Release | End | PauseReading | ResumeReading | Operation

OPERATIONS = (Enter, PublishTo, ReadPresence, ReadTopic)


def answer(number: int, name: str, result: bytes = b"{}") -> Send:
    """Answer a command. number: its id. name: its kind. result: JSON."""
    return Send(reply(number, name, result))


def refuse(number: int, error: ErrorCode) -> Send:
    """Answer a command with an error. Those of a moment are not counted: they come in numbers when a broker is
    unreachable, or when the tokens of a page have expired together."""
    return Send(error_reply(number, error), is_counted=not error.is_temporary and error != TOKEN_EXPIRED)
