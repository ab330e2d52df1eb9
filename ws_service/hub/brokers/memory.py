"""The broker of one process: order, history and presence in memory. They end with the process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from ws_service.hub.broker import IDEMPOTENCY_TTL, Control, Event, Joined, Keep, Left, Published, new_epoch
from ws_service.hub.brokers.continuity import Continuity
from ws_service.hub.history import DEFAULT_MAX_BYTES, Histories
from ws_service.hub.presence import Presence
from ws_service.hub.publication import ClientInfo, History, Position, Publication

MAX_IDEMPOTENCY_KEYS = 1 << 16
"""Keys that are remembered, of all publishers together; beyond them the oldest is forgotten: 200 a second for five
minutes, since one publisher that is faster takes the others' away. One has 0.5 KiB."""

_NO_HISTORY = History(Position("", 0))


class MemoryBroker:
    """A ``Broker`` in memory.

    max_history: bytes of all histories together; the topic that was used least lately loses its history beyond them,
    and its subscribers are told with the next publication. clock: seconds of a steady clock.
    """

    name = "memory"
    is_connected = True

    def __init__(self, max_history: int = DEFAULT_MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._histories = Histories(new_epoch, max_history)
        self._presence = Presence()
        self._subscribed: dict[str, Continuity] = {}
        self._idempotency = IdempotencyKeys()
        self._receive: Callable[[Event], None] = _ignore

    async def start(self, receive: Callable[[Event], None]) -> None:
        """Begin to give events; each comes before the call that causes it returns."""
        self._receive = receive

    async def close(self) -> None:
        """Give no more events."""
        self._receive = _ignore

    async def subscribe(self, topic: str) -> None:
        """Begin to receive a topic's events."""
        self._subscribed.setdefault(topic, Continuity(topic))

    async def unsubscribe(self, topic: str) -> None:
        """Receive them no more."""
        self._subscribed.pop(topic, None)

    async def publish(
        self, topic: str, publication: Publication, keep: Keep, idempotency_key: str | None = None
    ) -> Position | None:
        """Publish; see ``Broker.publish``."""
        now = self._clock()
        if idempotency_key is None:
            return self._publish(topic, publication, keep, now)
        is_known, position = self._idempotency.get((topic, idempotency_key), now)
        if not is_known:
            position = self._publish(topic, publication, keep, now)
            self._idempotency.put((topic, idempotency_key), position, now)
        return position

    async def history(
        self, topic: str, keep: Keep, since: Position | None = None, limit: int = 0, *, is_reversed: bool = False
    ) -> History:
        """Return a part of the history; see ``Broker.history``."""
        if not keep.size:
            return _NO_HISTORY
        part = self._histories.read(topic, self._clock(), since, limit, is_reversed=is_reversed)
        if topic in self._subscribed:
            self._subscribed[topic].expect(part.position)
        return part

    async def join(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client as present."""
        if self._presence.join(topic, info) and is_told:
            self._tell(topic, Joined(topic, info))

    async def leave(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count it out."""
        if self._presence.leave(topic, info) and is_told:
            self._tell(topic, Left(topic, info))

    async def presence(self, topic: str) -> Mapping[str, ClientInfo]:
        """Return the clients that are present."""
        return self._presence.of(topic)

    async def topics(self) -> Mapping[str, int]:
        """Return the topics that have subscribers."""
        return dict.fromkeys(self._subscribed, 1)

    async def lag(self) -> float:
        """Return 0: what is published is told at once."""
        return 0.0

    async def control(self, order: Control) -> None:
        """Send an order to this process, which is the only one."""
        self._receive(order)

    def _publish(self, topic: str, publication: Publication, keep: Keep, now: float) -> Position | None:
        if not keep.size:
            self._tell(topic, Published(topic, publication))
            return None
        position = self._histories.add(topic, publication, keep, now)
        self._tell(topic, Published(topic, publication.with_offset(position.offset), position.epoch))
        return position

    def _tell(self, topic: str, event: Event) -> None:
        if topic in self._subscribed:
            for one in self._subscribed[topic].receive(event):
                self._receive(one)


class IdempotencyKeys:
    """The positions of publications by their topic and idempotency key, for five minutes."""

    def __init__(self) -> None:
        self._positions: OrderedDict[tuple[str, str], tuple[float, Position | None]] = OrderedDict()

    def get(self, key: tuple[str, str], now: float) -> tuple[bool, Position | None]:
        """Tell whether a key is known, and with which position."""
        expires, position = self._positions.get(key, (now, None))
        return expires > now, position

    def put(self, key: tuple[str, str], position: Position | None, now: float) -> None:
        """Remember a key."""
        self._positions.pop(key, None)
        self._positions[key] = (now + IDEMPOTENCY_TTL, position)
        while len(self._positions) > MAX_IDEMPOTENCY_KEYS or next(iter(self._positions.values()))[0] <= now:
            self._positions.popitem(last=False)


def _ignore(event: Event) -> None:
    """Take an event before the start or after the end."""
