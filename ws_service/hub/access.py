"""What a session asks about rights: whose a connection is, which topics it may read, and where it may publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ws_service.hub.codes import ErrorCode


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a connection is.

    user: the name; empty for none. info: JSON that others see of the connection; None for none. expires_at: seconds
    since the epoch; None: never. topics: that the connection is subscribed to by the server at connect.
    """

    user: str = ""
    info: bytes | None = None
    expires_at: float | None = None
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """A right to read a topic.

    info: JSON that others see of the subscription; None for none. expires_at: seconds since the epoch; None: never.
    user: the only one who has the right; empty for any.
    """

    info: bytes | None = None
    expires_at: float | None = None
    user: str = ""


class Access(Protocol):
    """Decides, and waits for nothing. now: seconds since the epoch. No method raises."""

    def identify(self, token: str, now: float) -> Identity | ErrorCode:
        """Read a connection token. TOKEN_EXPIRED for one that was good; any other error means that it is not."""

    def may_subscribe(self, topic: str, user: str, token: str, now: float) -> Grant | ErrorCode:
        """Decide whether a user may read a topic. token: of the subscription; empty for none.

        TOKEN_EXPIRED for a token that was good; PERMISSION_DENIED for any other without the right.
        """

    def may_publish(self, topic: str, user: str, *, is_subscribed: bool) -> ErrorCode | None:
        """Decide whether a client may publish; None: it may."""
