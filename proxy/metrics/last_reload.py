"""Whether the configuration was last read with success, and when."""

from __future__ import annotations

import time
from collections.abc import Callable


class LastReload:
    """The last reading of the configuration; that of the start counts too, as with Prometheus itself.

    clock: seconds of the wall clock.

    ``is_successful``: whether the last one was put in force. ``succeeded_at``: when one was, in seconds of the clock.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.succeeded()

    def succeeded(self) -> None:
        """Note that one was put in force."""
        self.is_successful, self.succeeded_at = True, self._clock()

    def failed(self) -> None:
        """Note that one was refused."""
        self.is_successful = False
