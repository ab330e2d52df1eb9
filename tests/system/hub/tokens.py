"""Tokens as any program with the hub's key would make them."""

from __future__ import annotations

import time

import jwt

from tests.system.hub.hub import KEY


def connection_token(user: str, *, lasts: float | None = None, key: str = KEY, **claims: object) -> str:
    """Make a token of a connection. lasts: seconds, negative for one that has expired; None: without an end."""
    return _signed({"sub": user, **claims}, lasts, key)


def subscription_token(topic: str, *, lasts: float | None = None, key: str = KEY, **claims: object) -> str:
    """Make a token of a subscription to one topic. lasts: as of a connection."""
    return _signed({"channel": topic, **claims}, lasts, key)


def _signed(claims: dict[str, object], lasts: float | None, key: str) -> str:
    end = {} if lasts is None else {"exp": int(time.time() + lasts)}
    return jwt.encode({**claims, **end}, key, algorithm="HS256")
