"""Errors of redis-py stop here: the hub knows BrokerError alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from ws_service.hub.broker import BrokerError


@contextmanager
def as_broker_error() -> Iterator[None]:
    """Raise BrokerError in place of what redis-py raises (its own errors, and those of sockets and timeouts), and of
    ValueError: what another program has written there cannot be read."""
    try:
        yield
    except (RedisError, OSError, ValueError) as error:
        raise BrokerError(f"Redis: {error or type(error).__name__}") from error
