"""Presence on Redis: each client expires, unless the process that has its connection says again that it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from itertools import islice

from redis.asyncio import Redis

from ws_service.hub.broker import BrokerError
from ws_service.hub.brokers.redis_errors import as_broker_error
from ws_service.hub.brokers.redis_format import Keys, decode_client, encode_client, encode_joined, encode_left
from ws_service.hub.brokers.redis_scripts import JOIN, LEAVE, PRESENCE
from ws_service.hub.presence import Presence
from ws_service.hub.publication import ClientInfo

log = logging.getLogger(__name__)

PRESENCE_TTL = 60.0
"""Seconds after which a client is gone whose process has ended without a word. Precedent: Centrifugo 60 s."""

_BATCH = 100
"""Clients that are refreshed in one message."""


class RedisPresence:
    """The clients of this process, kept present in Redis, and those of all. ttl: see ``PRESENCE_TTL``."""

    def __init__(self, client: Redis, keys: Keys, ttl: float = PRESENCE_TTL) -> None:
        self._client, self._keys, self._ttl = client, keys, ttl
        self._own = Presence()
        self._join, self._leave, self._all = (client.register_script(text) for text in (JOIN, LEAVE, PRESENCE))
        self._refresher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to refresh."""
        self._refresher = asyncio.get_running_loop().create_task(self._stay(), name="hub redis presence")

    async def close(self) -> None:
        """Refresh no more."""
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)

    async def join(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client in. Raises BrokerError; it is present all the same, from the next refresh on."""
        self._own.join(topic, info)
        told = (self._keys.channel(topic), encode_joined(info)) if is_told else (b"", b"")
        with as_broker_error():
            await self._join(keys=self._keys_of(topic), args=[*self._arguments(info), *told])

    async def leave(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client out. Raises BrokerError; then it expires, and nothing is told."""
        self._own.leave(topic, info)
        told = (self._keys.channel(topic), encode_left(info)) if is_told else (b"", b"")
        with as_broker_error():
            await self._leave(keys=self._keys_of(topic), args=[info.client, *told])

    async def of(self, topic: str) -> Mapping[str, ClientInfo]:
        """Return the clients of all processes. Raises BrokerError."""
        with as_broker_error():
            fields = iter(await self._all(keys=self._keys_of(topic)))
            return {client.decode(): decode_client(text) for client, text in zip(fields, fields, strict=True)}

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(self._ttl / 3)
            try:
                await self._refresh()
            except BrokerError as error:
                log.debug("presence is not refreshed: %s", error)

    async def _refresh(self) -> None:
        clients = self._own.all()
        while batch := list(islice(clients, _BATCH)):
            with as_broker_error():
                pipeline = self._client.pipeline(transaction=False)
                for topic, info in batch:
                    await self._join(
                        keys=self._keys_of(topic), args=[*self._arguments(info), b"", b""], client=pipeline
                    )
                await pipeline.execute()
            for topic, info in batch:
                if info.client not in self._own.of(topic):  # it has left while it was refreshed
                    await self.leave(topic, info, is_told=False)

    def _arguments(self, info: ClientInfo) -> tuple[str, bytes, int]:
        return info.client, encode_client(info), int(self._ttl * 1000)

    def _keys_of(self, topic: str) -> list[str]:
        return [self._keys.of(topic, "clients"), self._keys.of(topic, "expiries")]
