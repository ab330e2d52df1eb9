"""Who may take how much: connections, WebSockets and handshakes, counted for each client.

What is counted lives as long as the process. The limits are given at each
decision, so that a reload changes them and forgets nobody. A decision also
claims what it admits: between the question and the counting nobody else can
come.

A client that has nothing left is forgotten. Of handshakes one float is kept
for each client, for about two seconds, and for so many clients at most.
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
from ws_service.net.client_key import client_key as client_key  # the service counts under the same names

_BURST = 1.0
"""Seconds whose handshakes a client may have at once: what it did not use in the last second is not lost. A page that
is reloaded opens its sockets together. Precedents: nginx burst= (a number), Envoy a bucket of a fill interval."""

_PATIENCE = 1.0
"""Seconds that a handshake is made to wait at most. A client's own timeout is at least 10 s."""

_EARLY = 0.0005
"""Seconds: a handshake that is early by less is on time. Timers are no finer, and sums of floats no truer."""

_REMEMBERED = 16384
"""Clients whose pace is known, about 2.5 MiB; of more, those that were heard last. Precedent: nginx's zone of 10 MiB
holds 160,000, and then the oldest are dropped as well."""

_RETRY = 5
"""Seconds after which a client that has all it may have is told to try again; nobody knows when one of them ends."""

_QUIET = 60.0
"""Seconds in which the log says the same of a client once."""

_NOTICES = 100
"""Lines about clients that are written within that time, however many clients there are."""

_RESERVE = 64
"""Open files for everything that is no client: listeners, the admin's connections, the log, the services' channels;
a quarter of all where that is less."""


class Lease(Protocol):
    """Something that an exchange has, and that must be given back at its end, however it ends."""

    def release(self) -> None:
        """Give it back. Safe to call again: then it does nothing."""


class Slot:
    """One of what a client has, or some bytes of it; it counts until it is released."""

    __slots__ = ("_count", "_key", "_tally")

    def __init__(self, tally: ClientCounter, key: str, count: int = 1) -> None:
        tally.enter(key, count)
        self._tally: ClientCounter | None = tally
        self._key = key
        self._count = count

    def release(self) -> None:
        """Count it out. Safe to call again, and behind ``hand_over``: then it does nothing."""
        tally, self._tally = self._tally, None
        if tally is not None:
            tally.leave(self._key, self._count)

    def hand_over(self) -> str:
        """Return the client's key: whoever calls this counts it out, and ``release`` does nothing any more."""
        self._tally = None
        return self._key


class ClientCounter:
    """How many of one thing each client has.

    ``on_leave`` is called whenever something has been counted out; it is for whoever waits for room.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.total = 0
        self.on_leave: Callable[[], None] = _nobody_waits

    @property
    def clients(self) -> int:
        """How many clients have any."""
        return len(self._counts)

    def of(self, key: str) -> int:
        """Return how many one client has."""
        return self._counts.get(key, 0)

    def enter(self, key: str, count: int = 1) -> None:
        """Count some in; none is nothing to count."""
        if not count:
            return
        self._counts[key] = self._counts.get(key, 0) + count
        self.total += count

    def leave(self, key: str, count: int = 1) -> None:
        """Count some out. Raises KeyError when the client does not have so many: then the books are wrong."""
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
    """How fast each client may go on: the generic cell rate algorithm (ITU-T I.371), a bucket that needs one float.

    The float is the moment at which everything that the client has done is
    paid for, at so many per second. capacity: clients that are remembered.
    """

    def __init__(self, capacity: int = _REMEMBERED) -> None:
        self._capacity = capacity
        self._paid: OrderedDict[str, float] = OrderedDict()  # in the order in which they were heard last

    def __len__(self) -> int:
        return len(self._paid)

    def ask(self, key: str, rate: int, now: float) -> float:
        """Return in how many seconds the client may do one thing more; up to ``_PATIENCE`` it is taken for done.

        rate: things per second. now: seconds of a monotonic clock.
        """
        before = max(self._paid.get(key, now), now)
        paid = before + 1 / rate
        wait = paid - now - _BURST
        if wait < _EARLY:
            wait = 0.0
        elif wait > _PATIENCE + _EARLY:
            return wait
        self._paid[key] = paid
        self._paid.move_to_end(key)
        self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        """Drop two of those that were heard longest ago, if they owe nothing any more, or if there are too many."""
        for _ in range(2):
            key, paid = next(iter(self._paid.items()))
            if paid > now and len(self._paid) <= self._capacity:
                return
            del self._paid[key]


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may have it. slot: to be released at its end. delay: seconds that it is to wait first."""

    slot: Slot
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """It may not. error: what the client is told. notice: a line for the log; empty where it was said a moment ago."""

    error: TooMany
    notice: str


class ClientLimits:
    """What all clients have, and who may have more. One for the life of the process.

    A delayed handshake counts as a WebSocket while it waits, and so does one
    whose upstream has not answered yet. So many as one second's handshakes of
    one client wait at most, each with its connection.
    """

    def __init__(self) -> None:
        self.connections = ClientCounter()
        self.websockets = ClientCounter()
        self.buffered = ClientCounter()  # bytes
        self._handshakes = RateLimit()
        self._notices: OrderedDict[tuple[str, str], float] = OrderedDict()

    def connection(self, address: str, most: int | None, now: float) -> Admitted | Rejected:
        """Decide on a connection, and count it.

        address: of whoever is at its other end as far as that is known; who
        learns better (by a PROXY header) releases the slot and asks again.
        most: ``connections_per_client``; None for no limit, and for a trusted
        proxy, whose clients are many. now: seconds of a monotonic clock.
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
        """Decide whether so many bytes may wait for a client, or for an upstream to take them from it; count them.

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

        address: the client's, as trusted proxies tell it. now: seconds of a
        monotonic clock. A handshake that is refused costs its client nothing.
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
        if delay > _PATIENCE + _EARLY:
            what = f"{key} opens more than the {rate} per second that gateway.limits.handshakes_per_second allows"
            return Rejected(
                TooMany(
                    "Your address opens WebSockets faster than one client may.",
                    advice="Wait a little longer before each new attempt.",
                    detail=what,
                    retry_after=math.ceil(delay - _PATIENCE),
                ),
                self._notice(
                    key,
                    "handshakes_per_second",
                    f"{what}; those behind a second's worth are refused. If it is a proxy, name it in "
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
    """Which connections are accepted, by the settings in force.

    limits: counts. files: that this process may open.
    """

    def __init__(self, limits: ClientLimits, settings: Settings, files: int) -> None:
        self._client_limits = limits
        self._settings = settings
        self._files = files

    def reconfigure(self, settings: Settings) -> None:
        """Decide by other settings from here on; connections that are open stay."""
        self._settings = settings

    @property
    def connections(self) -> ClientCounter:
        """Those who are in."""
        return self._client_limits.connections

    @property
    def is_full(self) -> bool:
        """Whether nobody more may come in."""
        return self.connections.total >= capacity(self._settings.limits.connections, self._files)

    @property
    def room(self) -> str:
        """How many connections there may be at a time, and why: a sentence."""
        return room(self._settings.limits.connections, self._files)

    def admit(self, address: str, now: float) -> Admitted | Rejected:
        """Decide on a connection, and count it. address: of the peer, or whom it announces. now: monotonic seconds."""
        most = None if self.is_free(address) else self._settings.limits.connections_per_client
        return self._client_limits.connection(address, most, now)

    def is_free(self, address: str) -> bool:
        """Tell whether this is no client but a trusted proxy: its clients are many, and it has no limit of one."""
        return is_trusted(address, self._settings.trusted_proxies)


def capacity(wished: int | None, files: int) -> int:
    """Return how many connections there may be at a time.

    wished: ``limits.connections``, which holds as it is: an idle connection takes one file, not two, and without one
    left accepting pauses; None: as many as ``files`` allow, the number of them that this process may open.
    """
    return max(1, (files - min(_RESERVE, files // 4)) // 2) if wished is None else wished


def admin_places(files: int) -> int:
    """Return how many connections the admin listener may have: half of what is kept for what is no client."""
    return max(1, min(_RESERVE, files // 4) // 2)


def room(wished: int | None, files: int) -> str:
    """Return the sentence that says how many there may be, and why; its arguments are those of ``capacity``."""
    most = capacity(None, files)
    if wished is None:
        return f"room for {most} connections: {files} files may be open, and each connection may take two"
    if wished <= most:
        return f"room for {wished} connections (gateway.limits.connections)"
    return (
        f"room for {wished} connections (gateway.limits.connections), of which {most} may have an upstream at a time: "
        f"{files} files may be open, and such a connection takes two; raise that (ulimit -n, LimitNOFILE=)"
    )


def _nobody_waits() -> None:
    pass
