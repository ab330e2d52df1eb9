"""A rate limit for each client: the generic cell rate algorithm (ITU-T I.371), a token bucket that needs one float."""

from __future__ import annotations

from collections import OrderedDict

BURST = 1.0
"""Seconds whose handshakes a client may make in a burst. A page that is reloaded opens its WebSockets together.
Precedents: nginx burst= (a number), Envoy a bucket of a fill interval."""

MAX_DELAY = 1.0
"""The longest delay of a handshake, in seconds. A client's own timeout is at least 10 s."""

_EARLY = 0.0005
"""Seconds: a handshake that is early by less is on time. Timers are not more precise, nor are sums of floats."""

_CLIENTS = 16384
"""Clients whose rate is known, about 2.5 MiB; the least recently used ones are dropped. Precedent: nginx's zone of 10
MiB holds 160,000, and then the oldest are dropped as well."""


class RateLimit:
    """A rate for each client.

    The float is the moment at which the bucket is full again; it is kept for about two seconds. capacity: clients that
    are remembered.
    """

    def __init__(self, capacity: int = _CLIENTS) -> None:
        self._capacity = capacity
        self._paid: OrderedDict[str, float] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._paid)

    def ask(self, key: str, rate: int, now: float) -> float:
        """Return after how many seconds a client may make one more; above ``MAX_DELAY`` it is not counted as made.

        rate: handshakes per second. now: seconds of a monotonic clock.
        """
        before = max(self._paid.get(key, now), now)
        paid = before + 1 / rate
        wait = paid - now - BURST
        if wait < _EARLY:
            wait = 0.0
        elif wait > MAX_DELAY + _EARLY:
            return wait
        self._paid[key] = paid
        self._paid.move_to_end(key)
        self._forget(now)
        return min(wait, MAX_DELAY)

    def _forget(self, now: float) -> None:
        """Drop two of the least recently used, if their bucket is full, or if there are too many clients."""
        for _ in range(2):
            key, paid = next(iter(self._paid.items()))
            if paid > now and len(self._paid) <= self._capacity:
                return
            del self._paid[key]
