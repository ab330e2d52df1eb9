"""The sockets of the admin listener: few, and none of them for long.

Health must be answered while other clients have connections and send nothing. So no place is taken for good: each
connection has a deadline from its beginning to its end, and when all places are taken the oldest connection is closed.
A request that is here already when its connection is accepted, as every one is that has waited in the kernel's queue,
is answered at once. An answer that is larger than the kernel's buffer is sent as its client reads it, and one that
takes long to make is made in a task.

It shares the strict reader with the public listener, and not its connections. A transport is made in a task and reads
in the fourth turn of the event loop, and its socket is closed a turn after it is told: twice the CPU time for each
connection (measured), and no answer at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from proxy.http1.chunked import ProtocolError
from proxy.http1.head_checks import HeadLimits
from proxy.http1.headers import Head
from proxy.http1.request_reader import RequestReader
from proxy.net.timers import Deadlines
from proxy.server.admin import MAX_HEAD
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.accept_loop import AcceptLoop
from ws_service.net.descriptors import accept_failure

logger = logging.getLogger("proxy")

_DEADLINE = 5.0
"""Seconds from connecting to the end: for the head, for the answer to be made, and for the client to take it and
close. Precedents: HAProxy timeout check, Kubernetes timeoutSeconds 1, Prometheus scrape_timeout 10."""

_BATCH = 16
"""Connections accepted before other callbacks run. Fewer than there are places, so that each gets one."""

_MAX_RECEIVED = 1 << 20
"""Bytes of a connection. What comes after a request is read and dropped; above this the connection is cut."""

_LIMITS = HeadLimits(MAX_HEAD, MAX_HEAD, MAX_HEAD)
"""``MAX_HEAD`` is for all of a head, so its parts have no limits of their own."""

Answer = Callable[[Head | ProtocolError, bool], bytes | Coroutine[Any, Any, bytes]]
"""From the head of a request, or why it cannot be read, and whether it came through a unix socket, to the answer, or to
a coroutine that makes it and raises nothing."""


class AdminListener:
    """Answers on sockets that listen, from now on.

    answer: to requests.
    places: connections at a time; one more closes the oldest.
    deadline: seconds for each, from its beginning to its end.

    ``close`` ends everything at once, and ``wait_closed`` waits for the tasks that it has cancelled.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        answer: Answer,
        *,
        places: int,
        deadline: float = _DEADLINE,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._places = places
        self._connections: dict[_Connection, None] = {}  # in the order in which they came
        self._tasks: set[asyncio.Task[bytes]] = set()  # each makes one answer
        self._deadlines = Deadlines[_Connection](self._end)
        self._deadline = deadline
        self._log = LimitedLog(logger)
        self._accepting = AcceptLoop(sockets, self._accepted, self._accept_failed, batch=_BATCH)

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def close(self) -> None:
        """Accept nothing any more, and end every connection. The sockets are the caller's to close."""
        self._accepting.close()
        for connection in list(self._connections):
            self._end(connection)

    async def wait_closed(self) -> None:
        """Wait until no answer is being made any more; called after ``close``. Safe to cancel."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    # -- inside

    def _accepted(self, sock: socket.socket, _: object) -> None:
        if len(self._connections) >= self._places:
            self._close_oldest()
        connection = _Connection(sock)
        self._connections[connection] = None
        self._deadlines.begin(connection, self._deadline)
        self._loop.add_reader(sock, self._read, connection)
        self._read(connection)

    def _accept_failed(self, error: OSError) -> None:
        sentence = "no connection is accepted on gateway.admin: %s, or lower gateway.limits.connections"
        self._log.say("accept", logging.WARNING, sentence, accept_failure(error))
        if self._connections:
            self._close_oldest()

    def _close_oldest(self) -> None:
        """End the oldest connection: of those that have their answer, if there are any, or have asked for none."""
        answered = next((one for one in self._connections if one.is_answered), None)
        silent = next((one for one in self._connections if not one.has_asked), None)
        self._end(answered or silent or next(iter(self._connections)))

    def _read(self, connection: _Connection) -> None:
        try:
            request = connection.read()
        except BlockingIOError:
            return
        except EOFError:
            self._no_more_comes(connection)
        except OSError:  # a probe that did not wait is not worth a log line
            self._end(connection)
        else:
            if request is not None:
                self._give(connection, self._answer(request, connection.sock.family == socket.AF_UNIX))

    def _no_more_comes(self, connection: _Connection) -> None:
        """The client has closed, or only its direction: then it may still wait for its answer."""
        if connection.has_asked and not connection.is_answered:
            connection.has_ended = True
            self._loop.remove_reader(connection.sock)
        else:
            self._end(connection)

    def _give(self, connection: _Connection, answer: bytes | Coroutine[Any, Any, bytes]) -> None:
        if isinstance(answer, bytes):
            connection.unsent = memoryview(answer)
            self._write(connection)
            return
        task = connection.making = self._loop.create_task(answer, name="answer of the admin listener")
        self._tasks.add(task)
        task.add_done_callback(partial(self._made, connection))

    def _made(self, connection: _Connection, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        connection.making = None
        if connection not in self._connections:
            return
        if task.cancelled():
            self._end(connection)
        else:
            self._give(connection, task.result())

    def _write(self, connection: _Connection) -> None:
        """Send what the kernel takes; the rest when it takes more."""
        try:
            connection.write()
        except OSError:
            self._end(connection)
            return
        if not connection.is_answered:
            self._loop.add_writer(connection.sock, self._write, connection)
            return
        self._loop.remove_writer(connection.sock)
        if connection.has_ended:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        del self._connections[connection]
        self._deadlines.end(connection)
        if connection.making is not None:
            connection.making.cancel()
        self._loop.remove_reader(connection.sock)
        self._loop.remove_writer(connection.sock)
        connection.sock.close()


class _Connection:
    """One connection: a head, its answer, and what is thrown away after it until the client closes.

    ``making``: the task that makes the answer. ``unsent``: what the kernel has not taken of the answer.
    ``has_asked``: its request has come. ``has_ended``: nothing more comes. ``is_answered``: the kernel has the whole
    answer; to close loses nothing of it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.making: asyncio.Task[bytes] | None = None
        self.unsent = memoryview(b"")
        self.has_asked = self.has_ended = self.is_answered = False
        self._reader = RequestReader(_LIMITS)
        self._received = 0

    def read(self) -> Head | ProtocolError | None:
        """Take what there is. Return the request when it is there, once.

        Raises EOFError when no more comes, and OSError when the connection is lost, or is to be cut.
        """
        data = self.sock.recv(MAX_HEAD)
        if not data:
            raise EOFError
        self._received += len(data)
        if not self.has_asked:
            request = self._request(data)
            self.has_asked = request is not None
            return request
        if self._received > _MAX_RECEIVED:
            raise ConnectionAbortedError
        return None

    def write(self) -> None:
        """Send what the kernel takes. Raises OSError when the connection is lost."""
        with suppress(BlockingIOError):
            self.unsent = self.unsent[self.sock.send(self.unsent) :]
        if self.unsent:
            return
        self.is_answered = True
        # Closing waits for the client: a close with unread bytes would reset the connection, and the client could lose
        # the response (RFC 9112, 9.6).
        with suppress(OSError):  # it has gone already; the next read reports it
            self.sock.shutdown(socket.SHUT_WR)

    def _request(self, data: bytes) -> Head | ProtocolError | None:
        """Return the head of the request, or why it is none; None as long as it has not come whole."""
        try:
            self._reader.feed(data)
        except ProtocolError as error:
            return error
        if (self._reader.head_size or self._received) > MAX_HEAD:
            return ProtocolError("the head is too large", 431)
        return self._reader.head
