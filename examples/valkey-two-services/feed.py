"""Publishes 1, 2, 3, … without leaving one out: while its service is restarted it tries again."""

import itertools
import time
from typing import Any

from ws_service import PublishError, publish


def publish_surely(topic: str, data: Any, key: str) -> None:
    """Publish once. key: of this message; what arrived and was not answered is not published a second time."""
    while True:
        try:
            publish(topic, data, idempotency_key=key, raise_errors=True)
            return
        except PublishError:
            time.sleep(0.2)


if __name__ == "__main__":
    run = time.time_ns()
    for n in itertools.count(1):
        publish_surely("numbers", {"n": n}, f"{run}-{n}")
        time.sleep(0.1)
