"""What redis-py raises stops here: the hub knows BrokerError alone. What it swallows is raised here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from ws_service.hub.broker import BrokerError


@contextmanager
def as_broker_error() -> Iterator[None]:
    """Raise BrokerError in place of what redis-py raises (its own errors, and those of sockets and timeouts), and of
    ValueError: what another program has written there cannot be read. A cancellation stays one."""
    before = _cancellations()
    try:
        yield
    except (RedisError, OSError, ValueError) as error:
        raise_swallowed(before)
        raise BrokerError(f"Redis: {error or type(error).__name__}") from error
    raise_swallowed(before)


def raise_swallowed(before: int = 0) -> None:
    """Raise CancelledError if this task was cancelled and goes on nevertheless. before: cancellations to ignore.

    redis-py sends by ``asyncio.wait_for``, which until Python 3.12 swallowed a cancellation that came together with the
    result (python/cpython#86296).
    """
    if _cancellations() > before:
        raise asyncio.CancelledError


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
