"""One connection to Redis' pub/sub, from its beginning to the error that ends it. It never connects again by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ws_service.hub.brokers.redis_errors import as_broker_error, raise_swallowed
from ws_service.hub.turns import Pace

_BATCH = 500
"""Channels of one SUBSCRIBE."""

_ALIVE, _WHOLE = b"alive", b"whole"


class PubSubConnection:
    """Subscribes, and calls back with what comes.

    timeout: seconds for an answer of the server. A connection that is silent for so long is asked, and given up after
    as long again.
    """

    def __init__(self, pubsub: PubSub, timeout: float) -> None:
        self._pubsub = pubsub
        self._timeout = timeout
        self._sending = asyncio.Lock()
        self._tokens = count(1)
        self._answers: dict[bytes, asyncio.Future[None]] = {}
        self._subscriptions_to_first = 0

    async def run(
        self, channels: Sequence[bytes], on_whole: Callable[[], None], on_message: Callable[[bytes, bytes], None]
    ) -> None:
        """Connect, and receive until an error, which is raised: RedisError or OSError.

        channels: at least one. on_whole: called when the server has subscribed to all. on_message: with the channel.
        """
        try:
            for first in range(0, len(channels), _BATCH):
                await self._pubsub.subscribe(*channels[first : first + _BATCH])
            await self._pubsub.ping(_WHOLE)
            await self._read(channels[0], on_whole, on_message)
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(RedisConnectionError("the connection is lost"))
            with suppress(RedisError, OSError):
                await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    async def ask(self, channel: bytes, *, is_wanted: bool) -> None:
        """Subscribe or unsubscribe, and wait until the server has done it: it answers a ping after it.

        Only after ``on_whole``. Raises BrokerError.
        """
        await self._ask(self._pubsub.subscribe if is_wanted else self._pubsub.unsubscribe, channel)

    async def ping(self) -> None:
        """Wait until the server has answered a ping, after all that it had to send before. As ``ask``."""
        await self._ask(None, b"")

    async def _ask(self, change: Callable[[bytes], Awaitable[Any]] | None, channel: bytes) -> None:
        token = b"%d" % next(self._tokens)
        answer = self._answers[token] = asyncio.get_running_loop().create_future()
        try:
            with as_broker_error():
                async with asyncio.timeout(self._timeout):
                    async with self._sending:
                        await self._send(change, channel, token)
                    await answer
        finally:
            del self._answers[token]
            answer.cancel()

    async def _send(self, change: Callable[[bytes], Awaitable[Any]] | None, channel: bytes, token: bytes) -> None:
        try:
            if change is not None:
                await change(channel)
            await self._pubsub.ping(token)
        except AttributeError as error:  # redis-py, when the connection ends while it waits to send
            raise RedisConnectionError("the connection is lost") from error

    async def _read(
        self, first: bytes, on_whole: Callable[[], None], on_message: Callable[[bytes, bytes], None]
    ) -> None:
        is_asked, pace = True, Pace()  # what has been read already is waited for by nothing
        while True:
            await pace.keep()
            raise_swallowed()
            message = await self._pubsub.get_message(timeout=self._timeout)
            if message is None:
                if is_asked:
                    raise RedisConnectionError("no answer")
                await self._pubsub.ping(_ALIVE)
            elif message["type"] == "message":
                on_message(message["channel"], message["data"])
            elif message["type"] == "pong" and message["data"] == _WHOLE:
                on_whole()
            else:
                self._note(message, first)
            is_asked = message is None

    def _note(self, message: dict[str, Any], first: bytes) -> None:
        if message["type"] == "pong" and message["data"] in self._answers:
            answer = self._answers[message["data"]]
            if not answer.done():
                answer.set_result(None)
        elif message["type"] == "subscribe" and message["channel"] == first:
            self._subscriptions_to_first += 1
            if self._subscriptions_to_first > 1:  # redis-py subscribes again where it has connected again
                raise RedisConnectionError("the connection was made anew")
