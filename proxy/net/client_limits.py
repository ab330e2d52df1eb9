"""Limits for each client: connections, WebSockets, handshakes and buffered bytes.

The counts live as long as the process. The limits are arguments of each
decision, so a reload changes them and keeps all counts. A decision also
counts what it admits, so no other request can come between.

A client without anything is removed from the counts. For the rate of
handshakes one float is kept for each client, for about two seconds, and for a
bounded number of clients.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.config import Limits, Settings
from proxy.errors import TooMany
from proxy.net.peer import is_trusted
from ws_service.net.client_key import client_key as client_key  # the service counts by the same keys

_BURST = 1.0
"""Seconds whose handshakes a client may make in a burst. A page that is reloaded opens its WebSockets together.
Precedents: nginx burst= (a number), Envoy a bucket of a fill interval."""

_MAX_DELAY = 1.0
"""The longest delay of a handshake, in seconds. A client's own timeout is at least 10 s."""

_EARLY = 0.0005
"""Seconds: a handshake that is early by less is on time. Timers are not more precise, nor are sums of floats."""

_REMEMBERED = 16384
"""Clients whose rate is known, about 2.5 MiB; the least recently used ones are dropped. Precedent: nginx's zone of 10
MiB holds 160,000, and then the oldest are dropped as well."""

_RETRY = 5
"""Retry-After, in seconds, for a client at a limit; it cannot be known when one of its connections ends."""

_QUIET = 60.0
"""Seconds in which one line is logged for each client and limit."""

_NOTICES = 100
"""Lines about clients that are written within that time, however many clients there are."""

_RESERVE = 64
"""Open files that are not for clients: listeners, the admin listener's connections, the log, the services' channels;
a quarter of all where that is less."""


class Lease(Protocol):
    """Something that an exchange has acquired, and that must be released at its end, however it ends."""

    def release(self) -> None:
        """Release it. Safe to call again: then it does nothing."""


class Slot:
    """One connection or WebSocket of a client, or some bytes; it counts until it is released."""

    __slots__ = ("_count", "_counter", "_key")

    def __init__(self, counter: ClientCounter, key: str, count: int = 1) -> None:
        counter.enter(key, count)
        self._counter: ClientCounter | None = counter
        self._key = key
        self._count = count

    def release(self) -> None:
        """Subtract it. Safe to call again, and after ``hand_over``: then it does nothing."""
        counter, self._counter = self._counter, None
        if counter is not None:
            counter.leave(self._key, self._count)

    def hand_over(self) -> str:
        """Return the client's key. The caller has to subtract it; ``release`` does nothing any more."""
        self._counter = None
        return self._key


class ClientCounter:
    """How many of one thing each client has.

    ``on_leave`` is called whenever something was subtracted: a paused acceptor resumes then.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.total = 0
        self.on_leave: Callable[[], None] = _no_waiter

    @property
    def clients(self) -> int:
        """How many clients have any."""
        return len(self._counts)

    def of(self, key: str) -> int:
        """Return how many one client has."""
        return self._counts.get(key, 0)

    def enter(self, key: str, count: int = 1) -> None:
        """Add some; 0 does nothing."""
        if not count:
            return
        self._counts[key] = self._counts.get(key, 0) + count
        self.total += count

    def leave(self, key: str, count: int = 1) -> None:
        """Subtract some. Raises KeyError when the client does not have so many: then the counts are wrong."""
        if not count:
            return
        left = self._counts[key] - count
        if left < 0:
            raise KeyError(f"{key} has {left + count}, and {count} are to leave")
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
        self.total -= count
        self.on_leave()


class RateLimit:
    """A rate limit for each client: the generic cell rate algorithm (ITU-T I.371), a token bucket that needs one float.

    The float is the moment at which the bucket is full again. capacity:
    clients that are remembered.
    """

    def __init__(self, capacity: int = _REMEMBERED) -> None:
        self._capacity = capacity
        self._paid: OrderedDict[str, float] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._paid)

    def ask(self, key: str, rate: int, now: float) -> float:
        """Return after how many seconds the client may make one more; up to ``_MAX_DELAY`` it is counted as made.

        rate: handshakes per second. now: seconds of a monotonic clock.
        """
        before = max(self._paid.get(key, now), now)
        paid = before + 1 / rate
        wait = paid - now - _BURST
        if wait < _EARLY:
            wait = 0.0
        elif wait > _MAX_DELAY + _EARLY:
            return wait
        self._paid[key] = paid
        self._paid.move_to_end(key)
        self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        """Drop two of the least recently used, if their bucket is full, or if there are too many clients."""
        for _ in range(2):
            key, paid = next(iter(self._paid.items()))
            if paid > now and len(self._paid) <= self._capacity:
                return
            del self._paid[key]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Admitted. slot: to be released at its end. delay: seconds to wait first."""

    slot: Slot
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not admitted. error: the client's response. notice: a line for the log; empty if it was logged a moment ago."""

    error: TooMany
    notice: str


class ClientLimits:
    """The counts of all clients, and the decisions by them. One for the life of the process.

    A delayed handshake counts as a WebSocket while it waits, and so does one
    whose upstream has not answered yet. At most one second's handshakes of
    one client are delayed at a time, each with its connection.
    """

    def __init__(self) -> None:
        self.connections = ClientCounter()
        self.websockets = ClientCounter()
        self.buffered = ClientCounter()  # bytes
        self._handshakes = RateLimit()
        self._notices: OrderedDict[tuple[str, str], float] = OrderedDict()

    def connection(self, address: str, most: int | None, now: float) -> Admitted | Rejected:
        """Decide on a connection, and count it.

        address: of the peer, as far as it is known; when a PROXY header names
        the client, the caller releases the slot and calls this again.
        most: ``connections_per_client``; None for no limit, and for a trusted
        proxy, which has many clients. now: seconds of a monotonic clock.
        """
        key = client_key(address)
        if most is None or self.connections.of(key) < most:
            return Admitted(Slot(self.connections, key))
        return Rejected(
            TooMany("Your address has as many connections here as one client may have.", retry_after=_RETRY),
            self._notice(
                key,
                "connections_per_client",
                f"{key} has {most} connections, the most that gateway.limits.connections_per_client allows, and gets "
                "no more; if it is a proxy, name it in gateway.trusted_proxies",
                now,
            ),
        )

    def buffer(self, address: str, size: int, most: int | None, now: float) -> Admitted | Rejected:
        """Decide whether so many bytes may wait on a stuck connection of a client, and count them.

        address: of the client. most: ``buffered_per_client``; None for no limit. now: seconds of a monotonic clock.
        """
        key = client_key(address)
        if most is None or self.buffered.of(key) + size <= most:
            return Admitted(Slot(self.buffered, key, size))
        what = f"{self.buffered.of(key)} bytes wait on connections of {key} that are not read, and {size} more would"
        return Rejected(
            TooMany("More waits for your address than may.", detail=what, retry_after=_RETRY),
            self._notice(
                key,
                "buffered_per_client",
                f"{what} exceed gateway.limits.buffered_per_client ({most}); such a connection is cut; "
                "if it is a proxy, name it in gateway.trusted_proxies",
                now,
            ),
        )

    def websocket(self, address: str, limits: Limits, now: float) -> Admitted | Rejected:
        """Decide on a WebSocket handshake, and count the WebSocket that it may become.

        address: the client's, with trusted proxies applied. now: seconds of a
        monotonic clock. A handshake that is refused does not count.
        """
        key, most, rate = client_key(address), limits.websockets_per_client, limits.handshakes_per_second
        if most is not None and self.websockets.of(key) >= most:
            what = f"{key} has {most} WebSockets, the most that gateway.limits.websockets_per_client allows"
            return Rejected(
                TooMany(
                    "Your address has as many WebSockets here as one client may have.",
                    advice="Close some of them, or come back later.",
                    detail=what,
                    retry_after=_RETRY,
                ),
                self._notice(
                    key,
                    "websockets_per_client",
                    f"{what}, and gets no more; if it is a proxy, name it in gateway.trusted_proxies",
                    now,
                ),
            )
        delay = 0.0 if rate is None else self._handshakes.ask(key, rate, now)
        if delay > _MAX_DELAY + _EARLY:
            what = f"{key} opens more than the {rate} per second that gateway.limits.handshakes_per_second allows"
            return Rejected(
                TooMany(
                    "Your address opens WebSockets faster than one client may.",
                    advice="Wait a little longer before each new attempt.",
                    detail=what,
                    retry_after=math.ceil(delay - _MAX_DELAY),
                ),
                self._notice(
                    key,
                    "handshakes_per_second",
                    f"{what}; those beyond a second's worth are refused. If it is a proxy, name it in "
                    "gateway.trusted_proxies",
                    now,
                ),
            )
        return Admitted(Slot(self.websockets, key), delay)

    def _notice(self, key: str, setting: str, sentence: str, now: float) -> str:
        while self._notices and now - next(iter(self._notices.values())) >= _QUIET:
            self._notices.popitem(last=False)
        if (key, setting) in self._notices or len(self._notices) >= _NOTICES:
            return ""
        self._notices[key, setting] = now
        return sentence


class ConnectionLimiter:
    """Whether connections are accepted, by the settings in force.

    limits: counts. files: that this process may open.
    """

    def __init__(self, limits: ClientLimits, settings: Settings, files: int) -> None:
        self._client_limits = limits
        self._settings = settings
        self._files = files

    def reconfigure(self, settings: Settings) -> None:
        """Decide by other settings from now on; open connections stay."""
        self._settings = settings

    @property
    def connections(self) -> ClientCounter:
        """The count of open connections, by client."""
        return self._client_limits.connections

    @property
    def is_full(self) -> bool:
        """Whether all connections are in use."""
        return self.connections.total >= capacity(self._settings.limits.connections, self._files)

    @property
    def capacity_notice(self) -> str:
        """A sentence for the log: how many connections there may be at a time, and why."""
        return capacity_notice(self._settings.limits.connections, self._files)

    def admit(self, address: str, now: float) -> Admitted | Rejected:
        """Decide on a connection, and count it. address: of the peer, or of the client in its PROXY header. now:
        monotonic seconds."""
        most = None if self.is_free(address) else self._settings.limits.connections_per_client
        return self._client_limits.connection(address, most, now)

    def is_free(self, address: str) -> bool:
        """Tell whether this is a trusted proxy: it has many clients, and no limit for one client."""
        return is_trusted(address, self._settings.trusted_proxies)


def capacity(wished: int | None, files: int) -> int:
    """Return how many connections there may be at a time.

    wished: ``limits.connections``, which is used as it is: an idle connection takes one file, not two, and when none is
    left accepting pauses. None: as many as ``files`` allow, the number of files that this process may open.
    """
    return max(1, (files - min(_RESERVE, files // 4)) // 2) if wished is None else wished


def admin_places(files: int) -> int:
    """Return how many connections the admin listener may have: half of the files that are not for clients."""
    return max(1, min(_RESERVE, files // 4) // 2)


def capacity_notice(wished: int | None, files: int) -> str:
    """Return a sentence for the log: how many there may be, and why; the arguments are those of ``capacity``."""
    most = capacity(None, files)
    if wished is None:
        return f"room for {most} connections: {files} files may be open, and each connection may take two"
    if wished <= most:
        return f"room for {wished} connections (gateway.limits.connections)"
    return (
        f"room for {wished} connections (gateway.limits.connections), of which {most} may have an upstream at a time: "
        f"{files} files may be open, and such a connection takes two; raise that (ulimit -n, LimitNOFILE=)"
    )


def _no_waiter() -> None:
    pass
