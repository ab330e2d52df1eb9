"""The broker on Redis or Valkey: several processes, on several machines, are one hub.

Order, offsets and epochs are made by scripts in the server; each process receives through one connection. What happens
while the server is unreachable is in ``docs/scaling.md``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ws_service.hub.broker import IDEMPOTENCY_TTL, Control, Event, Keep, Lost, Published, new_epoch
from ws_service.hub.brokers.redis_errors import as_broker_error
from ws_service.hub.brokers.redis_format import CONTROL, Keys, decode_body, decode_control, encode_body, encode_control
from ws_service.hub.brokers.redis_presence import PRESENCE_TTL, RedisPresence
from ws_service.hub.brokers.redis_scripts import HISTORY, PUBLISH
from ws_service.hub.brokers.redis_subscriber import RedisSubscriber
from ws_service.hub.publication import ClientInfo, History, Position, Publication
from ws_service.logs.limited_log import LimitedLog

log = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds for an answer of the server."""

META_TTL = 7 * 24 * 3600
"""Seconds for which a topic's epoch and offset are kept after its last use. Precedent: Centrifugo 30 days."""

MAX_MISSED, MAX_MISSED_BYTES = 1000, 8 * 1024 * 1024
"""What is read of a topic's history after an interruption; more is told as lost. Subscribers then ask for themselves,
each within its own limit."""

_READ = 50
"""Publications of one reading of what was missed."""

_CONNECTIONS = 16
"""Connections of this process at most; a command waits for one that is free."""

_KEEP_ORDERS = Keep(1000, 3600.0)
"""Orders that are kept, for processes that were disconnected when they were given."""

_NEWEST_ID = 2**64 - 1
"""The largest id of a stream's entry."""


def plain_url(url: str) -> str:
    """Return a URL as redis-py knows it: Valkey speaks the protocol of Redis."""
    scheme, colon, rest = url.partition(":")
    return {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme) + colon + rest


def tls_options(url: str) -> dict[str, bool]:
    """Return what a connection with TLS needs: redis-py before 6.0 takes the certificate of any host for the server's.

    An option of the URL takes precedence.
    """
    parts = urlsplit(url)
    is_verified = parts.scheme in ("rediss", "valkeys") and "ssl_cert_reqs=" not in parts.query
    return {"ssl_check_hostname": True} if is_verified else {}


def name_of(url: str) -> str:
    """Return a URL without user, password and options, for the log."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class RedisBroker:
    """A ``Broker`` on a Redis or Valkey.

    url: of redis-py, or with ``valkey``. prefix: of its keys and channels, without ``{``, ``}`` and ``:``.
    timeout: seconds for an answer. presence_ttl: see ``PRESENCE_TTL``.
    """

    name = "redis"

    def __init__(
        self, url: str, prefix: str = "dash-ws", timeout: float = TIMEOUT, presence_ttl: float = PRESENCE_TTL
    ) -> None:
        pool = BlockingConnectionPool.from_url(
            plain_url(url),
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # a publication that was not answered may have happened
            protocol=2,
            **tls_options(url),
        )
        self._client = Redis.from_pool(pool)
        self._keys = Keys(prefix, int(pool.connection_kwargs.get("db") or 0))
        self._publish, self._history = map(self._client.register_script, (PUBLISH, HISTORY))
        self._presence = RedisPresence(self._client, self._keys, presence_ttl)
        self._receive: Callable[[Event], None] = lambda event: None
        self._limited_log = LimitedLog(log)
        self._subscriber = RedisSubscriber(
            self._client.pubsub, self._keys, name_of(url), timeout, self._read_missed, self._take
        )

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that receives the topics' events."""
        return self._subscriber.is_connected

    async def start(self, receive: Callable[[Event], None]) -> None:
        """Begin. Where the server cannot be reached it is tried again and again, and the rest fails until then."""
        self._receive = receive
        self._presence.start()
        await self._subscriber.start()

    async def close(self) -> None:
        """End every task and connection."""
        await self._presence.close()
        await self._subscriber.close()
        await self._client.aclose()

    async def subscribe(self, topic: str) -> None:
        """Begin to receive a topic's events; see ``Broker.subscribe``."""
        await self._subscriber.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        """Receive them no more."""
        await self._subscriber.unsubscribe(topic)

    async def publish(
        self, topic: str, publication: Publication, keep: Keep, idempotency_key: str | None = None
    ) -> Position | None:
        """Publish; see ``Broker.publish``. Not tried a second time: a failed one may have happened."""
        keys = [self._keys.of(topic, kind) for kind in ("meta", "stream", f"once:{idempotency_key or ''}")]
        once = 0 if idempotency_key is None else int(IDEMPOTENCY_TTL * 1000)
        ttl = max(1, int(keep.ttl * 1000))
        place = (self._keys.channel(topic), encode_body(publication), keep.size, ttl, new_epoch(), META_TTL, once)
        with as_broker_error():
            epoch, offset = await self._publish(keys=keys, args=place)
            return Position(epoch.decode(), offset) if epoch else None

    async def history(
        self, topic: str, keep: Keep, since: Position | None = None, limit: int = 0, *, is_reversed: bool = False
    ) -> History:
        """Return a part of the history; see ``Broker.history``."""
        if not keep.size:
            return History(Position("", 0))
        part = await self._read(topic, since, limit, is_reversed=is_reversed)
        self._subscriber.expect(topic, part.position)
        return part

    async def join(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client as present; see ``RedisPresence.join``."""
        await self._presence.join(topic, info, is_told=is_told)

    async def leave(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count it out; see ``RedisPresence.leave``."""
        await self._presence.leave(topic, info, is_told=is_told)

    async def presence(self, topic: str) -> Mapping[str, ClientInfo]:
        """Return the clients that are present in all processes."""
        return await self._presence.of(topic)

    async def topics(self) -> Mapping[str, int]:
        """Return the topics that have subscribers in any process."""
        with as_broker_error():
            channels = await self._client.pubsub_channels(self._keys.pattern())
            counted = await self._client.pubsub_numsub(*channels)
            topics = {
                self._keys.topic(channel): number
                for channel, number in counted
                if number and isinstance(channel, bytes)
            }
        topics.pop(CONTROL, None)
        return topics

    async def lag(self) -> float | None:
        """Return the seconds of a ping through the connection of the topics; see ``Broker.lag``."""
        return await self._subscriber.lag()

    async def control(self, order: Control) -> None:
        """Send an order to every process; one that is disconnected gets it afterwards."""
        await self.publish(CONTROL, Publication(encode_control(order)), _KEEP_ORDERS)

    async def _read(self, topic: str, since: Position | None, limit: int, *, is_reversed: bool = False) -> History:
        keys = [self._keys.of(topic, "meta"), self._keys.of(topic, "stream")]
        arguments = (new_epoch(), META_TTL, *_span(since, is_reversed), limit)
        with as_broker_error():
            epoch, offset, entries = await self._history(keys=keys, args=arguments)
            publications = (decode_body(fields[1], int(entry.partition(b"-")[0])) for entry, fields in entries)
            return History(Position(epoch.decode(), offset), tuple(publications))

    async def _read_missed(self, topic: str, since: Position | None) -> History | None:
        if since is None:
            return await self._read(topic, None, 0)
        missed: list[Publication] = []
        size, reached = 0, since
        while True:
            part = await self._read(topic, reached, _READ)
            missed += part.publications
            size += sum(len(one.data) for one in part.publications)
            if len(part.publications) < _READ or part.position.epoch != since.epoch:
                return History(part.position, tuple(missed))
            if len(missed) >= MAX_MISSED or size > MAX_MISSED_BYTES:
                return None
            reached = Position(since.epoch, missed[-1].offset)

    def _take(self, topic: str, event: Event) -> None:
        if topic != CONTROL:
            self._receive(event)
        elif isinstance(event, Published):
            self._order(event.publication.data)
        elif isinstance(event, Lost):
            log.warning("orders to end connections or subscriptions may have been lost with the data of Redis")

    def _order(self, text: bytes) -> None:
        try:
            order = decode_control(text)
        except ValueError as error:
            self._limited_log.say("order", logging.WARNING, "an order of another program: %s", error)
        else:
            self._receive(order)


def _span(since: Position | None, is_reversed: bool) -> tuple[str, str, str]:
    """Return the command that reads a part of a stream, and between which ids."""
    if not is_reversed:
        return "XRANGE", "-" if since is None else str(min(since.offset + 1, _NEWEST_ID)), "+"
    return "XREVRANGE", "+" if since is None else str(max(min(since.offset, _NEWEST_ID) - 1, 0)), "-"
