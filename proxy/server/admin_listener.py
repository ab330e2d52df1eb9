"""The sockets of the admin listener: few, and none of them for long.

Health must be answered while other clients have connections and send nothing. So no place is taken for good: each
connection has a deadline from its beginning to its end, and when all places are taken the oldest connection is closed.
A request that is here already when its connection is accepted, as every one is that has waited in the kernel's queue,
is answered at once.

It shares the strict reader with the public listener, and not its connections. A transport is made in a task and reads
in the fourth turn of the event loop, and its socket is closed a turn after it is told: twice the CPU time for each
connection (measured), and no answer at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

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
"""Seconds from connecting to the end: for the head, and for the client to take the answer and close. Precedents:
HAProxy timeout check, Kubernetes timeoutSeconds 1; what they ask is one segment."""

_BATCH = 16
"""Connections accepted before other callbacks run. Fewer than there are places, so that each gets one."""

_MAX_RECEIVED = 1 << 20
"""Bytes of a connection. What comes after a request is read and dropped; above this the connection is cut."""

_LIMITS = HeadLimits(MAX_HEAD, MAX_HEAD, MAX_HEAD)
"""``MAX_HEAD`` is for all of a head, so its parts have no limits of their own."""

Answer = Callable[[Head | ProtocolError, bool], bytes]
"""From the head of a request, or why it cannot be read, and whether it came through a unix socket, to the answer."""


class AdminListener:
    """Answers on sockets that listen, from now on.

    answer: to requests.
    places: connections at a time; one more closes the oldest.
    deadline: seconds for each, from its beginning to its end.

    It waits for nothing: ``close`` ends everything at once.
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
        """End the oldest connection: of those that have their answer, if there are any."""
        oldest = next((one for one in self._connections if one.is_answered), None)
        self._end(oldest or next(iter(self._connections)))

    def _read(self, connection: _Connection) -> None:
        try:
            goes_on = connection.read(self._answer)
        except BlockingIOError:
            return
        except OSError:  # a probe that did not wait is not worth a log line
            goes_on = False
        if not goes_on:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        del self._connections[connection]
        self._deadlines.end(connection)
        self._loop.remove_reader(connection.sock)
        connection.sock.close()


class _Connection:
    """One connection: a head, its answer, and what is thrown away after it until the client closes.

    ``is_answered``: the kernel has the answer; to close loses nothing of it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_answered = False
        self._reader = RequestReader(_LIMITS)
        self._received = 0

    def read(self, answer: Answer) -> bool:
        """Take what there is, and answer when that is a head. Tell whether there is more to do. Raises OSError."""
        data = self.sock.recv(MAX_HEAD)
        if not data:
            return False
        self._received += len(data)
        if self.is_answered:
            return self._received <= _MAX_RECEIVED
        request = self._request(data)
        if request is None:
            return True
        self.is_answered = True
        whole = answer(request, self.sock.family == socket.AF_UNIX)
        # It fits into the kernel's empty send buffer. Closing waits for the client: a close with unread bytes would
        # reset the connection, and the client could lose the response (RFC 9112, 9.6).
        if self.sock.send(whole) < len(whole):
            return False
        with suppress(OSError):  # it has gone already; the next read reports it
            self.sock.shutdown(socket.SHUT_WR)
        return True

    def _request(self, data: bytes) -> Head | ProtocolError | None:
        """Return the head of the request, or why it is none; None as long as it has not come whole."""
        try:
            self._reader.feed(data)
        except ProtocolError as error:
            return error
        if (self._reader.head_size or self._received) > MAX_HEAD:
            return ProtocolError("the head is too large", 431)
        return self._reader.head
