"""The sockets of the admin listener: few, and none of them for long.

Health must be answered while other clients have connections and send nothing. So no place is taken for good: each
connection has a deadline from its beginning to its end, and when all places are taken the oldest connection is closed.
A request that is here already when its connection is accepted, as every one is that has waited in the kernel's queue,
is answered at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

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

_MAX_DISCARDED = 1 << 20
"""Bytes that are read and dropped after a request; then the connection is cut."""


class AdminListener:
    """Answers on sockets that listen, from now on.

    answer: to the head of a request; told whether it came through a unix socket.
    places: connections at a time; one more closes the oldest.
    deadline: seconds for each, from its beginning to its end.

    It waits for nothing: ``close`` ends everything at once.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        answer: Callable[[bytes, bool], bytes],
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
        self._head = b""
        self.is_answered = False
        self._discarded = 0

    def read(self, answer: Callable[[bytes, bool], bytes]) -> bool:
        """Take what there is, and answer when that is a head. Tell whether there is more to do. Raises OSError."""
        data = self.sock.recv(MAX_HEAD)
        if not data:
            return False
        if self.is_answered:
            self._discarded += len(data)
            return self._discarded <= _MAX_DISCARDED
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0 and len(self._head) <= MAX_HEAD:
            return True
        head = self._head if end < 0 else self._head[: end + 4]
        self.is_answered = True
        whole = answer(head, self.sock.family == socket.AF_UNIX)
        # It fits into the kernel's empty send buffer. Closing waits for the client: a close with unread bytes would
        # reset the connection, and the client could lose the response (RFC 9112, 9.6).
        if self.sock.send(whole) < len(whole):
            return False
        with suppress(OSError):  # it has gone already; the next read reports it
            self.sock.shutdown(socket.SHUT_WR)
        return True
