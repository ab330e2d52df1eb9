"""One client's stream of server-sent events: a connection of the hub that the client only receives on."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from starlette.types import Receive, Send

from ws_service.hub.codes import (
    BAD_COMMAND,
    BAD_REQUEST,
    INVALID_TOKEN,
    LIMIT_EXCEEDED,
    SLOW,
    TOKEN_EXPIRED,
    comes_back,
)
from ws_service.hub.counts import Counts
from ws_service.hub.encoded import Encoded
from ws_service.hub.handshake import Receiver
from ws_service.hub.messages import PING, is_push
from ws_service.hub.stream_events import KEEP_ALIVE, StreamEvents
from ws_service.hub.stream_query import Wanted
from ws_service.hub.stream_queue import StreamQueue
from ws_service.hub.topics import SlowPolicy

SILENCE = 20.0
"""Seconds without an event after which a comment is sent. Proxies close what is silent: some after 30, nginx after
60."""

STALLED = 30.0
"""Seconds for a client to take some of what is sent; then it is cut. Precedent: nginx 60."""

CONNECT = 15.0
"""Seconds for the broker to answer about the topics of a stream that begins."""

RETRY = 1.0, 5.0
"""Seconds after which a client comes back, at least and at most, so that not all of them come at once."""

FIELDS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx and others in front are not to collect events
]

_STATUS = {
    LIMIT_EXCEEDED.code: 400,
    BAD_REQUEST.code: 400,
    TOKEN_EXPIRED.code: 401,
    INVALID_TOKEN.code: 401,
    BAD_COMMAND.code: 400,
}
"""Of the response, by the codes of errors and of ends; for any other 403."""


class Refusal(NamedTuple):
    """Why a stream does not begin. status: of the response; None: the client is to come back in a moment, which an
    EventSource does only after a response that begins well."""

    status: int | None
    message: str


class EventStream:
    """A stream; it is a ``ClientConnection``, which its hub sends to. ``run`` writes.

    wanted: what the client has asked for. limit: bytes that may wait for it. counts: of the hub. abort: cuts the
    connection. None: the server has nothing of the kind, and TCP finds a client that does not read.
    """

    def __init__(self, wanted: Wanted, limit: int, counts: Counts, abort: Callable[[], None] | None) -> None:
        self._wanted = wanted
        self._events = StreamEvents(wanted)
        self._counts = counts
        self._queue = StreamQueue(limit, counts.drop)
        self._abort = abort
        self._asked: dict[int, str] = {}  # topics of subscribe commands that are not answered yet, by their ids
        self._is_connected = self._has_begun = False
        self._is_over = False  # nothing more is queued
        self._is_gone = False  # nothing more is written
        self._is_finished = False
        self._refusal: Refusal | None = None
        self._changed = asyncio.Event()

    # -- for the client of the hub

    def send(self, message: bytes) -> None:
        """Send a reply, or a push that is for this client alone."""
        if self._is_over:
            return
        if is_push(message):
            self._add(self._events.push(message))
            self._is_over = self._is_over or self._events.is_over
            self._changed.set()
        elif message != PING:
            self._answered(json.loads(message))

    def deliver(self, message: Encoded) -> None:
        """Send a publication, or queue it as its topic's policy says."""
        if self._is_over:
            return
        if self._queue.publish(message.topic, self._events.publication(message), message.policy):
            self._changed.set()
        else:
            self._counts.drop(message.topic, SlowPolicy.DISCONNECT)
            self._counts.disconnect(SLOW.code)
            self._cut()

    def close(self, code: int, reason: str) -> None:
        """Send what waits and the end."""
        if self._is_over:
            return
        if self._has_begun:
            self._counts.disconnect(code)
            self._add([self._events.disconnected(code, reason)])
            self._end()
        else:
            self._refuse(code, reason, is_temporary=comes_back(code))

    def pause_reading(self) -> None:
        """Do nothing: the client sends nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""

    # -- for the server

    async def run(self, connect: Callable[[EventStream], Receiver], receive: Receive, send: Send) -> Refusal | None:
        """Serve the stream to its end. connect: makes the client.

        Returns why it does not begin; then nothing is sent. Cancelling it gives everything back.
        """
        watching = asyncio.get_running_loop().create_task(
            _disconnect(receive), name="watches a client of an event stream"
        )
        watching.add_done_callback(self._left)
        client: Receiver | None = None
        try:
            client = connect(self)
            await self._begin(client)
            if self._refusal is None and not self._is_gone:
                self._has_begun = True
                await self._write_all(send)
            if self._is_gone and self._refusal is None:  # the server has to know of an end before the app returns
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await _disconnect(receive)
            return self._refusal
        finally:
            self._is_finished = True
            self._end()
            self._queue.clear()
            if client is not None:
                client.closed()
            watching.cancel()
            await asyncio.wait([watching])

    def _left(self, watching: asyncio.Task[None]) -> None:
        """Write nothing more: the client is gone. If it would not be known when it is, it is cut."""
        if (watching.cancelled() or watching.exception() is not None) and not self._is_finished:
            self._cut()
        self._is_gone = True
        self._end()

    async def _begin(self, client: Receiver) -> None:
        """Have the client connected and subscribed, or refused."""
        try:
            async with asyncio.timeout(CONNECT):
                client.receive(self._wanted.connect())
                await self._until(lambda: self._is_connected)
                asked, commands = self._wanted.subscribe(self._events.topics)
                if asked and not self._is_over:
                    self._asked = asked
                    client.receive(commands)
                await self._until(lambda: not self._asked)
        except TimeoutError:
            self._refusal = Refusal(None, "the broker does not answer")
        if not self._events.topics and self._refusal is None and not self._is_gone:
            self._refusal = Refusal(400, "name topics: ?channels=a,b")

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so() and not self._is_over:
            self._changed.clear()
            await self._changed.wait()

    async def _write_all(self, send: Send) -> None:
        await self._write(send, {"type": "http.response.start", "status": 200, "headers": FIELDS})
        await self._write(send, _body(retry_line()))
        while not self._is_gone:
            events = self._queue.take()
            if events:
                await self._write(send, _body(events))
            elif self._is_over:
                await self._write(send, _body(b"", is_last=True))
                return
            elif not await self._has_changed():
                await self._write(send, _body(KEEP_ALIVE))

    async def _has_changed(self) -> bool:
        """Wait for something to write. Returns whether there is; else there was silence."""
        self._changed.clear()
        try:
            async with asyncio.timeout(SILENCE):
                return await self._changed.wait()
        except TimeoutError:
            return False

    async def _write(self, send: Send, message: dict[str, Any]) -> None:
        """Write, and cut a client that takes nothing."""
        self._queue.is_held_up = True
        try:
            async with asyncio.timeout(STALLED):
                await send(message)
        except TimeoutError:
            self._cut()
        finally:
            self._queue.is_held_up = False

    # -- inside

    def _answered(self, reply: dict[str, Any]) -> None:
        if "error" in reply:
            error = reply["error"]
            topic = self._asked.get(reply["id"], "")
            message = f"{topic}: {error['message']}" if topic else error["message"]
            self._refuse(error["code"], message, is_temporary=bool(error.get("temporary")))
        elif reply["id"] == 1:
            self._is_connected = True
            self._add(self._events.connected(reply["connect"]))
        else:
            self._add(self._events.subscribed(self._asked.pop(reply["id"]), reply["subscribe"]))
        self._changed.set()

    def _add(self, events: list[bytes]) -> None:
        if not all([self._queue.add(event) for event in events]):
            self._cut()
        self._changed.set()

    def _refuse(self, code: int, message: str, *, is_temporary: bool) -> None:
        self._refusal = Refusal(None if is_temporary else _STATUS.get(code, 403), message)
        self._end()

    def _cut(self) -> None:
        """Give up on a client that does not read; it comes back, and recovers from the last id that it has seen."""
        self._is_gone = True
        self._end()
        if self._abort is not None:
            self._abort()

    def _end(self) -> None:
        self._is_over = True
        self._changed.set()


async def _disconnect(receive: Receive) -> None:
    """Wait until the client has left. A body means nothing here."""
    while (await receive())["type"] != "http.disconnect":
        pass


def retry_line() -> bytes:
    """Return the field that says when a client comes back."""
    return b"retry: %d\n\n" % random.randint(*(int(seconds * 1000) for seconds in RETRY))


def _body(content: bytes, *, is_last: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": not is_last}
