"""Tokens: what the server has signed about a connection, or about one topic. The claims are those of Centrifugo.

A subscription token lets its bearer read one topic: ``channel``, ``exp``, and if wanted ``sub``, ``info`` and
``expire_at``. A connection token says whose a connection is: ``sub``, ``exp``, and if wanted ``info``, ``channels`` and
``expire_at``. Both are JSON Web Tokens (RFC 7519) with HS256. No other algorithm is ever accepted: with ``none``, or
with a public key taken for a secret, anyone could sign (RFC 8725, sections 2.1 and 3.1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from ws_service.hub.keys import Keys
from ws_service.hub.protocol import write_json
from ws_service.hub.topics import is_valid

LEEWAY = 10.0
"""Seconds that the clocks of the signing and of the checking host may differ."""

_ALGORITHM = "HS256"
_LONGEST_USER = 255
"""Characters of a user's name: it is in messages to other clients, and in the log."""

_OPTIONS: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
"""The times are compared here, because the clock is an argument."""


class TokenError(Exception):
    """A token is not good."""


class ForeignToken(TokenError):
    """It is signed with another key."""


class TokenExpired(TokenError):
    """It was good."""


@dataclass(frozen=True, slots=True)
class SubscriptionToken:
    """A right to read a topic.

    user: whose; empty for any. info: JSON about the subscription; None for none. expires_at: when the subscription
    ends, seconds since the epoch; None: never.
    """

    topic: str
    user: str = ""
    info: bytes | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class ConnectionToken:
    """Whose a connection is. topics: that it is subscribed to by the server. The others as of SubscriptionToken."""

    user: str = ""
    info: bytes | None = None
    expires_at: float | None = None
    topics: tuple[str, ...] = ()


class Tokens:
    """Signs and reads tokens. keys: what is signed with the previous one is read too."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def sign_subscription(
        self, topic: str, *, expires_at: float | None, user: str = "", info: Any = None, is_lasting: bool = False
    ) -> str:
        """Return a token for one topic.

        expires_at: seconds since the epoch; None: never. user: who alone may use it; empty for any.
        info: JSON that others see of the subscription. is_lasting: whether a subscription that was made before the
        token's expiry stays beyond it.

        Raises ValueError when this is no topic or no user, or ``info`` is no JSON.
        """
        if not is_valid(topic):
            raise ValueError(f"{topic!r} is not the name of a topic: 1 to 255 printable characters")
        claims = {"channel": topic, **_common(user, expires_at, info)}
        if is_lasting:
            claims["expire_at"] = 0
        return self._sign(claims)

    def sign_connection(
        self, user: str, *, expires_at: float | None, info: Any = None, topics: tuple[str, ...] = ()
    ) -> str:
        """Return a token that names the user of a connection. topics: that it is subscribed to by the server.

        The other arguments and errors are those of ``sign_subscription``.
        """
        claims: dict[str, Any] = {"sub": "", **_common(user, expires_at, info)}
        if topics:
            claims["channels"] = list(topics)
        return self._sign(claims)

    def read_subscription(self, token: str, now: float) -> SubscriptionToken:
        """Return what a subscription token says. now: seconds since the epoch.

        Raises TokenExpired for one that was good, TokenError for any other that is not, a connection token included.
        """
        claims = self._claims(token, now)
        topic = claims.get("channel")
        if not isinstance(topic, str) or not is_valid(topic):
            raise TokenError("names no topic")
        return SubscriptionToken(topic, _user(claims), _info(claims), _expiry(claims))

    def read_connection(self, token: str, now: float) -> ConnectionToken:
        """Return what a connection token says. now: seconds since the epoch.

        Raises TokenExpired and TokenError as ``read_subscription`` does: a token for a topic is none for a connection,
        although the same key signs both, because the page that got it must not get the user's other rights.
        """
        claims = self._claims(token, now)
        if "channel" in claims:
            raise TokenError("is a token for a topic")
        topics = claims.get("channels", [])
        if not isinstance(topics, list) or not all(map(is_valid, topics)):
            raise TokenError("names topics that are none")
        return ConnectionToken(_user(claims), _info(claims), _expiry(claims), tuple(topics))

    def _sign(self, claims: Mapping[str, Any]) -> str:
        try:
            json.dumps(claims, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the token's info is no JSON: {error}") from None
        return jwt.encode(dict(claims), self._keys.current, algorithm=_ALGORITHM)

    def _claims(self, token: str, now: float) -> Mapping[str, Any]:
        claims = self._verified(token)
        for name in ("nbf", "iat"):
            if (begin := _number(claims, name)) is not None and begin > now + LEEWAY:
                raise TokenError(f"is not valid yet ({name})")
        # What it is for may have ended although the token is good: it would begin anew, for the grace, each time.
        for end in (_number(claims, "exp"), _expiry(claims)):
            if end is not None and end + LEEWAY <= now:
                raise TokenExpired("has expired")
        return claims

    def _verified(self, token: str) -> Mapping[str, Any]:
        for key in (self._keys.current, self._keys.previous):
            if key is None:
                continue
            try:
                claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=[_ALGORITHM], options=_OPTIONS)
                return claims
            except jwt.InvalidSignatureError:
                continue
            # A client can send anything: the library lets some errors of JSON and of UTF-8 through, and the depth.
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                raise TokenError(f"is no token ({type(error).__name__})") from None
        raise ForeignToken("is signed with another key")


def _common(user: str, expires_at: float | None, info: Any) -> dict[str, Any]:
    if not is_user(user):
        raise ValueError(f"{user!r} is not the name of a user: at most {_LONGEST_USER} printable characters")
    claims: dict[str, Any] = {}
    if user:
        claims["sub"] = user
    if expires_at is not None:
        claims["exp"] = math.ceil(expires_at)
    if info is not None:
        claims["info"] = info
    return claims


def is_user(user: object) -> bool:
    """Tell whether a text can be a user's name, or is empty: at most 255 printable characters."""
    return isinstance(user, str) and len(user) <= _LONGEST_USER and (user.isprintable() or not user)


def _user(claims: Mapping[str, Any]) -> str:
    user = claims.get("sub", "")
    if not isinstance(user, str) or not is_user(user):
        raise TokenError("names no user")
    return user


def _info(claims: Mapping[str, Any]) -> bytes | None:
    info = claims.get("info")
    if info is None:
        return None
    try:
        return write_json(info)
    except (ValueError, RecursionError):
        raise TokenError("holds no JSON as its info") from None


def _expiry(claims: Mapping[str, Any]) -> float | None:
    """Return when what the token is for ends. ``expire_at`` takes precedence; 0: never (Centrifugo's claim)."""
    if (at := _number(claims, "expire_at")) is not None:
        return at or None
    return _number(claims, "exp")


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"has a time that is no number ({name})")
    try:
        seconds = float(value)
    except OverflowError:
        raise TokenError(f"has a time that is too large ({name})") from None
    if not math.isfinite(seconds):
        raise TokenError(f"has a time that is too large ({name})")
    return seconds
