"""The methods of the API: what Centrifugo's HTTP API calls so, with its parameters and results.

Sources: centrifugal.dev, "Server API walkthrough". Parameters that the hub does not obey are refused with error 107
where ignoring one would do something else than was asked for: ``version`` would promise an order that is not kept,
``whitelist`` and ``session`` would end more connections than was meant, ``b64data`` would publish nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol

from ws_service.hub import messages
from ws_service.hub.api_parameters import Parameters
from ws_service.hub.broker import Broker, BrokerError, Control, Keep
from ws_service.hub.codes import (
    BAD_REQUEST,
    FORCE_NO_RECONNECT,
    INTERNAL,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    NOT_AVAILABLE,
    UNRECOVERABLE_POSITION,
    UNSUBSCRIBED_BY_SERVER,
    ErrorCode,
)
from ws_service.hub.counts import OTHER, Counts
from ws_service.hub.fields import Refusal, topic
from ws_service.hub.protocol import write_json
from ws_service.hub.publication import ClientInfo, Position, Publication
from ws_service.hub.topics import Namespaces
from ws_service.hub.turns import Pace

Method = Callable[[Parameters], Awaitable[bytes]]


class ApiHub(Protocol):
    """What the API asks of the hub."""

    broker: Broker
    namespaces: Namespaces
    counts: Counts

    async def publish(
        self, topic: str, publication: Publication, keep: Keep, idempotency_key: str | None = None
    ) -> Position | None:
        """Publish; see ``Broker.publish``. Raises BrokerError."""

    @property
    def clients(self) -> int:
        """How many clients there are in this process."""

    @property
    def users(self) -> int:
        """How many users there are in this process."""

    @property
    def topics(self) -> Mapping[str, int]:
        """The topics of this process, with the numbers of their subscriptions."""


class Methods:
    """The methods, by name.

    hub: what they act on. name, uid: of this process. most_names: clients that an answer about presence names at most.
    """

    def __init__(self, hub: ApiHub, name: str, uid: str, most_names: int) -> None:
        self._hub = hub
        self._name = name
        self._uid = uid
        self._most_names = most_names
        self._started = time.monotonic()
        self._methods: dict[str, Method] = {
            "publish": self._publish,
            "broadcast": self._broadcast,
            "presence": self._presence,
            "presence_stats": self._presence_stats,
            "history": self._history,
            "channels": self._channels,
            "disconnect": self._disconnect,
            "unsubscribe": self._unsubscribe,
            "info": self._info,
        }

    async def answer(self, name: str, values: Any) -> bytes:
        """Execute a method. Returns the response: JSON with ``result``, ``error``, or ``replies`` of a batch.

        values: its parameters. Cancelling it may leave a part of a batch or of a broadcast undone.
        """
        if name == "batch":
            return await self._batch(values)
        result = await self._execute(name, values)
        return b'{"result":%b}' % result if isinstance(result, bytes) else _error(result)

    def refuse(self, name: str, error: ErrorCode) -> None:
        """Count a request that is answered with a status of HTTP. error: that of the protocol for it."""
        self._count(name, error.code)

    async def _execute(self, name: str, values: Any) -> bytes | ErrorCode:
        result = await self._result(name, values)
        self._count(name, result.code if isinstance(result, ErrorCode) else 0)
        return result

    def _count(self, name: str, code: int) -> None:
        self._hub.counts.api_requests[name if name in self._methods or name == "batch" else OTHER, code] += 1

    async def _result(self, name: str, values: Any) -> bytes | ErrorCode:
        method = self._methods.get(name)
        if method is None:
            return METHOD_NOT_FOUND
        try:
            return await method(Parameters(values))
        except Refusal as refusal:
            return refusal.error
        except BrokerError:
            return INTERNAL

    async def _batch(self, values: Any) -> bytes:
        try:
            commands = Parameters(values).list_of("commands")
        except Refusal as refusal:
            return _error(refusal.error)
        replies, pace = [], Pace()  # a broker in memory waits for nothing
        for command in commands:
            await pace.keep()
            replies.append(await self._reply(command))
        return b'{"replies":[%b]}' % b",".join(replies)

    async def _reply(self, command: Any) -> bytes:
        """Execute one command of a batch: an object with one name."""
        if not isinstance(command, dict) or len(command) != 1:
            return _error(BAD_REQUEST)
        ((name, values),) = command.items()
        result = await self._execute(name, values)
        return b"{%b:%b}" % (write_json(name), result) if isinstance(result, bytes) else _error(result)

    async def _publish(self, given: Parameters) -> bytes:
        return await self._publish_to(given.topic(), given, _publication(given))

    async def _broadcast(self, given: Parameters) -> bytes:
        topics, publication = given.list_of("channels"), _publication(given)
        responses, pace = [], Pace()
        for name in topics:
            await pace.keep()
            try:
                responses.append(b'{"result":%b}' % await self._publish_to(topic(name), given, publication))
            except Refusal as refusal:
                responses.append(_error(refusal.error))
            except BrokerError:
                responses.append(_error(INTERNAL))
        return b'{"responses":[%b]}' % b",".join(responses)

    async def _publish_to(self, name: str, given: Parameters, publication: Publication) -> bytes:
        keep = Keep(0) if given.flag("skip_history") else self._hub.namespaces.of(name).keep
        position = await self._hub.publish(name, publication, keep, given.idempotency_key())
        return b"{}" if position is None else write_json({"offset": position.offset, "epoch": position.epoch})

    async def _presence(self, given: Parameters) -> bytes:
        clients = await self._present(given)
        if len(clients) > self._most_names:
            raise Refusal(LIMIT_EXCEEDED)
        return messages.presence_result(clients)

    async def _presence_stats(self, given: Parameters) -> bytes:
        return messages.presence_stats_result(await self._present(given))

    async def _present(self, given: Parameters) -> Mapping[str, ClientInfo]:
        name = given.topic()
        if not self._hub.namespaces.of(name).presence:
            raise Refusal(NOT_AVAILABLE)
        return await self._hub.broker.presence(name)

    async def _history(self, given: Parameters) -> bytes:
        name, since, limit, is_reversed = given.topic(), given.since(), given.number("limit"), given.flag("reverse")
        keep = self._hub.namespaces.of(name).keep
        if not keep.size:
            raise Refusal(NOT_AVAILABLE)
        part = await self._hub.broker.history(name, keep, since, limit, is_reversed=is_reversed)
        if since is not None and since.epoch not in ("", part.position.epoch):
            raise Refusal(UNRECOVERABLE_POSITION)
        return messages.history_result(part.position, part.publications)

    async def _channels(self, given: Parameters) -> bytes:
        pattern = given.text("pattern")
        if "{" in pattern:  # alternatives, which only Centrifugo's patterns have
            raise Refusal
        here = self._hub.topics
        found = {}
        for name, processes in (await self._hub.broker.topics()).items():
            if not pattern or fnmatchcase(name, pattern):
                others = processes - (name in here)
                found[name] = {"num_clients": here.get(name, 0) + max(others, 0)}
        return write_json({"channels": found})

    async def _disconnect(self, given: Parameters) -> bytes:
        given.refuse("whitelist", "session")
        code, reason = given.end() or (FORCE_NO_RECONNECT.code, FORCE_NO_RECONNECT.reason)
        await self._order(given, None, code, reason)
        return b"{}"

    async def _unsubscribe(self, given: Parameters) -> bytes:
        given.refuse("session")
        await self._order(given, given.topic(), UNSUBSCRIBED_BY_SERVER.code, UNSUBSCRIBED_BY_SERVER.reason)
        return b"{}"

    async def _order(self, given: Parameters, name: str | None, code: int, reason: str) -> None:
        user, client = given.text("user") or None, given.text("client") or None
        if user is None and client is None:  # it would be for every connection without a user
            raise Refusal
        await self._hub.broker.control(Control(user, client, name, code, reason))

    async def _info(self, given: Parameters) -> bytes:
        topics = self._hub.topics
        node = {
            "uid": self._uid,
            "name": self._name,
            "version": "",
            "num_clients": self._hub.clients,
            "num_users": self._hub.users,
            "num_subs": sum(topics.values()),
            "num_channels": len(topics),
            "uptime": int(time.monotonic() - self._started),
        }
        return write_json({"nodes": [node]})


def _publication(given: Parameters) -> Publication:
    given.refuse("version", "version_epoch", "b64data")
    return Publication(given.data(), tags=given.tags())


def _error(error: ErrorCode) -> bytes:
    return b'{"error":%b}' % write_json({"code": error.code, "message": error.message})
