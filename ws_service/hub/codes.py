"""The protocol's codes: errors of commands, ends of subscriptions and of connections.

The numbers and texts are those of Centrifugo's client protocol, because clients act on them (centrifugal.dev, "Client
protocol").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """Why a command failed. is_temporary: whether the client should send it again."""

    code: int
    message: str
    is_temporary: bool = False


INTERNAL = ErrorCode(100, "internal server error", is_temporary=True)
UNAUTHORIZED = ErrorCode(101, "unauthorized")
PERMISSION_DENIED = ErrorCode(103, "permission denied")
METHOD_NOT_FOUND = ErrorCode(104, "method not found")
ALREADY_SUBSCRIBED = ErrorCode(105, "already subscribed")
LIMIT_EXCEEDED = ErrorCode(106, "limit exceeded")
BAD_REQUEST = ErrorCode(107, "bad request")
NOT_AVAILABLE = ErrorCode(108, "not available")
TOKEN_EXPIRED = ErrorCode(109, "token expired")
TOO_MANY_REQUESTS = ErrorCode(111, "too many requests", is_temporary=True)
UNRECOVERABLE_POSITION = ErrorCode(112, "unrecoverable position")


@dataclass(frozen=True, slots=True)
class EndCode:
    """Why a subscription or a connection ends; a client decides by ``code`` whether it comes back."""

    code: int
    reason: str


# Ends of subscriptions: below 2500 the client does not subscribe again, from 2500 on it does.
UNSUBSCRIBED_BY_SERVER = EndCode(2000, "server unsubscribe")
INSUFFICIENT_STATE = EndCode(2500, "insufficient state")
SUBSCRIPTION_EXPIRED = EndCode(2501, "subscription expired")

# Ends of connections, which are also close codes of the WebSocket: 3000-3499 and 4000-4499 mean that the client comes
# back, 3500-3999 and 4500-4999 that it does not.
SHUTDOWN = EndCode(3001, "shutdown")
SERVER_ERROR = EndCode(3004, "internal server error")
CONNECTION_EXPIRED = EndCode(3005, "connection expired")
SUBSCRIPTION_TOKEN_EXPIRED = EndCode(3006, "subscription expired")
SLOW = EndCode(3008, "slow")
POSITION_LOST = EndCode(3010, "insufficient state")
NO_PONG = EndCode(3012, "no pong")
TOO_MANY_COMMANDS = EndCode(3013, "too many requests")
INVALID_TOKEN = EndCode(3500, "invalid token")
BAD_COMMAND = EndCode(3501, "bad request")
STALE = EndCode(3502, "stale")
FORCE_NO_RECONNECT = EndCode(3503, "force disconnect")
DENIED = EndCode(3507, "permission denied")
TOO_MANY_ERRORS = EndCode(3509, "too many errors")


def subscribes_again(code: int) -> bool:
    """Tell whether a client subscribes again after a subscription that ended with a code."""
    return code >= 2500


def comes_back(code: int) -> bool:
    """Tell whether a client connects again after a connection that ended with a code."""
    return not (3500 <= code <= 3999 or 4500 <= code <= 4999 or code == 1009)
