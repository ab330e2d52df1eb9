"""Publishing: on pooled connections, once more where that cannot publish a message twice, with few log lines."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, NamedTuple

from ws_service.errors import PublishError
from ws_service.hub.publication import Position
from ws_service.hub.topics import MAX_NAME, is_valid
from ws_service.logs.limited_log import LimitedLog
from ws_service.publisher import in_process
from ws_service.publisher.answers import position
from ws_service.publisher.connections import Connection, Pool
from ws_service.publisher.hub_address import HubAddress, HubAddresses
from ws_service.publisher.json_data import encode
from ws_service.publisher.outage import PAUSE, Outage

FRESH = 1.0
"""Seconds since its last answer in which a connection is not closed for being idle; uvicorn closes one after 5. Later
the other side may close it in the moment in which it is used again."""

log = logging.getLogger("ws_service.publish")
limited = LimitedLog(log)


class Unreachable(PublishError):
    """The hub was not asked, or has not answered."""


class Message(NamedTuple):
    """What is published. data: JSON. key: for idempotency; None: it may be published twice, if it is sent twice."""

    topic: str
    data: bytes
    key: str | None

    def body(self) -> bytes:
        """Return the request's body."""
        option = b"" if self.key is None else b',"idempotency_key":' + json.dumps(self.key).encode()
        return b'{"channel":%b,"data":%b%b}' % (json.dumps(self.topic).encode(), self.data, option)


class Publisher:
    """Publishes for all threads of a process. env: where the hub is looked for."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._addresses = HubAddresses(env)
        self._pool = Pool()
        self._outage = Outage()
        self._lock = threading.Lock()  # of the outage; never held while something is waited for

    def publish(
        self, topic: str, data: Any, *, raise_errors: bool, idempotency_key: str | None, timeout: float
    ) -> Position | None:
        """Publish, as ``ws_service.client.publish`` says."""
        if not is_valid(topic):
            raise ValueError(f"{topic!r} is not the name of a topic: 1 to {MAX_NAME} printable characters")
        message = Message(topic, encode(data), idempotency_key)
        here = in_process.current
        try:
            if here is not None and here.is_here():
                _check_size(message, here.most)
                here.add(*message)
                return None
            return self._send(message, timeout)
        except PublishError as error:
            if raise_errors:
                raise
            self._log(topic, error)
            return None

    def forked(self) -> None:
        """Begin anew in a process that was forked: the connections are those of its parent."""
        self._lock = threading.Lock()
        self._pool.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def _send(self, message: Message, timeout: float) -> Position | None:
        address = self._addresses.get(time.monotonic())
        if address.most is not None:
            _check_size(message, address.most)
        status, answer = self._ask(address, message, timeout)
        if status == 401:
            self._addresses.forget()
        return position(address, status, answer)

    def _ask(self, address: HubAddress, message: Message, timeout: float) -> tuple[int, bytes]:
        began = time.monotonic()
        with self._lock:
            may_ask = self._outage.may_ask(began, timeout)
        if not may_ask:
            raise Unreachable(f"the hub at {address.url} did not answer lately, and is not asked for {PAUSE:g} s")
        try:
            answer = self._exchange(address, message, began + timeout)
        except (OSError, HTTPException) as error:
            now = time.monotonic()
            with self._lock:
                self._outage.failed(now, now - began)
            raise Unreachable(_sentence(address, error, timeout)) from error
        with self._lock:
            unpublished = self._outage.answered()
        if unpublished is not None:
            log.warning("the hub at %s answers again%s", address.url, _left_out(unpublished))
        return answer

    def _exchange(self, address: HubAddress, message: Message, deadline: float) -> tuple[int, bytes]:
        pooled = self._pool.take(address.place)
        if pooled is not None:
            if message.key is None and time.monotonic() - pooled.used_at > FRESH:
                message = message._replace(key=os.urandom(12).hex())
            try:
                return self._on(pooled, address, message, deadline)
            except (OSError, HTTPException) as error:
                if message.key is None or isinstance(error, TimeoutError):
                    raise  # it may have been published
        return self._on(Connection(address.place, deadline), address, message, deadline)

    def _on(self, connection: Connection, address: HubAddress, message: Message, deadline: float) -> tuple[int, bytes]:
        answer = connection.ask(address, message.body(), deadline)
        self._pool.give(connection)
        return answer

    def _log(self, topic: str, error: PublishError) -> None:
        if not isinstance(error, Unreachable):
            limited.say(f"refused {error.code}", logging.WARNING, "a message for %r is not published: %s", topic, error)
            return
        with self._lock:
            unpublished = self._outage.line(time.monotonic())
        if unpublished is not None:
            log.warning("a message for %r is not published: %s%s", topic, error, _left_out(unpublished - 1))


def _check_size(message: Message, most: int) -> None:
    if len(message.data) > most:
        raise ValueError(
            f"the data has {len(message.data)} bytes as JSON, and a publication may have {most} "
            "(ws_service.hub.max_publication); publish what has changed, or in parts"
        )


def _sentence(address: HubAddress, error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"the hub at {address.url} does not answer within {timeout:g} s; it is not asked again for {PAUSE:g} s"
    what = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"there is no hub at {address.url} ({what}): start dash-ws-service. {address.advice}"


def _left_out(count: int) -> str:
    return f" ({count} more since the last line)" if count else ""
