"""``publish()``: from a callback, a Celery task, a cron script or a notebook to every page that listens.

Importing this module costs little; what publishing needs is imported with the first message.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ws_service.hub.publication import Position
    from ws_service.publisher.publisher import Publisher

TIMEOUT = 1.0
"""Seconds that a publication may take. On one host it takes less than a millisecond."""

_publisher: Publisher | None = None
_making = threading.Lock()


def publish(
    topic: str,
    data: Any,
    *,
    raise_errors: bool = False,
    idempotency_key: str | None = None,
    timeout: float = TIMEOUT,
) -> Position | None:
    """Publish a message to every client that is subscribed to a topic, in this and in every other process.

    It may be called in each thread and each process, also after a fork, and in a running event loop, which it blocks
    for the time of one request. The hub is found by itself: by the config file that ``DASH_WS_PROXY_CONFIG`` names,
    else ``config.yaml`` of the working directory; on another host by ``DASH_WS_HUB_URL`` and ``DASH_WS_HUB_KEY``.

    topic: 1 to 255 characters, for example ``prices`` or ``job:42``.
    data: what JSON has, and with Plotly installed also what its encoder accepts (numpy, pandas, dates, Decimal,
        figures); NaN and Infinity become null.
    raise_errors: whether a message that is not published raises PublishError. False: it is logged as a warning by
        ``ws_service.publish``, and None is returned.
    idempotency_key: the same key within five minutes publishes once: for a task that may run again. None: each call
        publishes.
    timeout: seconds for the whole call, but for the resolver of host names. After a timeout the hub is not asked for
        5 s: those calls fail at once.

    Returns the position in the topic's history; None where it keeps none, and where nothing was published. In the event
    loop of the service itself it returns None too: the message is published as soon as the caller gives up the loop.

    Raises TypeError or ValueError when the data cannot be encoded or is too large, or the topic is none. They are
    faults of the caller and raised also without ``raise_errors``. An exception that comes from outside during the call
    (KeyboardInterrupt, Celery's time limit) leaves it open whether the message is published.
    """
    return (_publisher or _made()).publish(
        topic, data, raise_errors=raise_errors, idempotency_key=idempotency_key, timeout=timeout
    )


def _made() -> Publisher:
    """Return this process's publisher, made by the first call."""
    global _publisher
    from ws_service.publisher.publisher import Publisher

    with _making:
        if _publisher is None:
            _publisher = Publisher()
            atexit.register(_publisher.close)
    return _publisher


def _forked() -> None:
    """Have the child of a fork open connections of its own: two processes would read each other's answers."""
    global _making
    _making = threading.Lock()  # another thread of the parent may have held it
    if _publisher is not None:
        _publisher.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
