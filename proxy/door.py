"""The public listening sockets: who is let in, and when nobody is.

Accepting is done here and not by the event loop, because three things are
only possible before a connection has been made of a socket: to leave it in
the kernel's backlog while there is no room, to turn a client away at the
price of two system calls, and to see that no descriptor is free.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp.web_protocol import RequestHandler

from proxy.errors import TooMany
from proxy.limits import Admission, Slot, TurnAway

logger = logging.getLogger("proxy")

_BACKLOG = 2048
"""Connections that wait to be accepted; the kernel caps it (somaxconn). Precedents: nginx 511, uvicorn 2048."""

_AT_ONCE = 16
"""Connections accepted from one socket before everybody else has a turn. Precedents: nginx 1 (multi_accept off), and
all, HAProxy 4 to 64 (tune.maxaccept)."""

_LOOK = 1.0
"""Seconds between two looks whether what speaks against accepting is over, where nothing else says so. Precedents:
asyncio 1s, nginx 0.5s (accept_mutex_delay)."""

_QUIET = 60.0
"""Seconds in which the log says once that accepting pauses for one reason."""

_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Door:
    """Accepts clients from the public listening sockets, as long as nothing speaks against it.

    admission: who counts. capacity: how many connections there may be now, and why. most_of: how many of them the
    client at an address may have; None: no limit.
    protocol: makes the protocol of a connection; it releases the slot that it gets.

    Both are asked anew for each connection, so that a reload counts at once.
    """

    def __init__(
        self,
        admission: Admission,
        *,
        capacity: Callable[[], tuple[int, str]],
        most_of: Callable[[str], int | None],
        protocol: Callable[[Slot], RequestHandler],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._admission = admission
        self._capacity = capacity
        self._most_of = most_of
        self._protocol = protocol
        self._sockets: list[socket.socket] = []
        self._reasons: dict[str, Callable[[], bool]] = {}
        self._said: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._arriving: set[asyncio.Task[Any]] = set()
        admission.connections.on_leave = self._left

    def open(self, sockets: list[socket.socket]) -> None:
        """Begin to accept from listening sockets, which are the door's from here on."""
        self._sockets += sockets
        self._watch()

    def close(self) -> None:
        """Close the listening sockets. Who has been accepted stays."""
        self._unwatch()
        self._forget_timer()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def abort(self) -> None:
        """Cut those who are still arriving."""
        for task in self._arriving:
            task.cancel()

    @property
    def names(self) -> list[object]:
        """What the sockets are bound to, as ``getsockname`` says it."""
        return [sock.getsockname() for sock in self._sockets]

    @property
    def is_paused(self) -> bool:
        """Whether nobody is accepted at the moment; who comes waits in the kernel's backlog."""
        return bool(self._reasons)

    def pause(self, reason: str, is_over: Callable[[], bool], sentence: str) -> None:
        """Accept nobody until the reason is over. There can be several; accepting goes on when all of them are.

        reason: a name; the log says each once a minute at most. is_over:
        asked once a second, and whenever a connection ends. sentence: for
        the log, what speaks against accepting and what the operator can do.
        """
        self._reasons[reason] = is_over
        self._unwatch()
        now = time.monotonic()
        if now - self._said.get(reason, -_QUIET) >= _QUIET:
            self._said[reason] = now
            logger.warning("accepting nobody for now: %s", sentence)
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK, self._look)

    # -- inside

    def _watch(self) -> None:
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._knock, sock)

    def _unwatch(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _left(self) -> None:
        if self._reasons:
            self._reconsider()

    def _look(self) -> None:
        self._timer = None
        self._reconsider()
        if self._reasons:
            self._timer = self._loop.call_later(_LOOK, self._look)

    def _reconsider(self) -> None:
        self._reasons = {reason: is_over for reason, is_over in self._reasons.items() if not is_over()}
        if not self._reasons:
            self._forget_timer()
            self._watch()

    def _is_full(self) -> bool:
        return self._admission.connections.total >= self._capacity()[0]

    def _knock(self, sock: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if self._is_full():
                taken = self._admission.connections.total
                self.pause("room", lambda: not self._is_full(), f"{taken} connections are open; {self._capacity()[1]}")
                return
            try:
                accepted, name = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:  # the client has gone before it was accepted
                    continue
                self.pause("files", lambda: True, f"{error.strerror}; {self._capacity()[1]}")
                return
            accepted.setblocking(False)
            self._arrived(accepted, name[0] if isinstance(name, tuple) else "unix")

    def _arrived(self, accepted: socket.socket, address: str) -> None:
        verdict = self._admission.connection(address, self._most_of(address), time.monotonic())
        if isinstance(verdict, TurnAway):
            if verdict.notice:
                logger.warning("%s", verdict.notice)
            _turn_away(accepted, verdict.error)
            return
        connecting = self._loop.connect_accepted_socket(partial(self._protocol, verdict.slot), accepted)
        task = self._loop.create_task(connecting, name=f"arrival of {address}")
        self._arriving.add(task)
        task.add_done_callback(partial(self._connected, accepted, verdict.slot))

    def _connected(self, accepted: socket.socket, slot: Slot, task: asyncio.Task[Any]) -> None:
        self._arriving.discard(task)
        if task.cancelled() or task.exception() is not None:
            accepted.close()
            slot.release()


def _turn_away(accepted: socket.socket, error: TooMany) -> None:
    """Say in one packet why, without having read what was asked, and close.

    A person who is turned away by mistake (an office, a proxy that is not
    named) then sees more than "connection reset".
    """
    body = json.dumps({"error": error.message, "status": error.status}).encode() + b"\n"
    fields = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body)), *error.headers]
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in (*fields, (b"Connection", b"close"))]
    try:
        accepted.send(b"\r\n".join((*lines, b"", body)))
    except OSError:
        pass  # it is gone already
    accepted.close()


async def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Listen on a TCP port of every address that a host has; an empty one is every address of this machine.

    Raises OSError, with nothing left open.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            made = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
            # Anew, so that it knows its protocol: asyncio turns Nagle's algorithm off for those alone that say TCP.
            sockets.append(socket.socket(fileno=made.detach()))
            sockets[-1].setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def listening_unix_socket(path: str) -> socket.socket:
    """Listen on a unix socket; a socket file that is there already is replaced. Raises OSError."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
