"""The door: how a connection comes in, from the kernel's queue to its protocol.

We accept ourselves, for three reasons. When descriptors run out, uvloop
accepts and closes whoever comes, without a word, and asyncio writes a
traceback for each; here accepting pauses, says so once, and goes on. A PROXY
header must be read to its last byte and no further, so that what follows
reaches TLS or HTTP; a transport reads what there is, and asyncio's
``start_tls`` cannot be fed what was read. And whoever has not sent a whole
ClientHello costs a descriptor here and what the kernel holds, but no TLS
state. It costs about 30 us per connection over uvloop's own listener.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from proxy.errors import TooMany
from proxy.http1.error_pages import error_message
from proxy.listener.client_hello import HelloError, needed
from proxy.listener.proxy_protocol import MAX_HEADER, HeaderError, parse
from proxy.net.client_limits import ConnectionLimiter, Rejected, Slot, client_key
from proxy.net.concurrency import PerClientConcurrency
from proxy.net.peer import Peer, Trusted, is_trusted
from proxy.net.tls import Certificate, why
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.keepalive import keep_alive

logger = logging.getLogger("proxy")

ProtocolFactory = Callable[[Peer | None, Slot | None], asyncio.Protocol]
"""Makes the protocol of a connection. It is told who the client is where a proxy in front has announced it (None: the
transport knows), and what the connection counts as, to be released at its end (None: nobody counts)."""

_AT_ONCE = 64
"""Connections accepted before everybody else has a turn."""

_BACKLOG = 4096
"""Connections that the kernel's queue may hold: the usual limit (somaxconn)."""

PAUSE = 0.5
"""Seconds between two tries while descriptors are out. asyncio waits 1 s."""

_OUT_OF = {
    errno.EMFILE: "this process has no descriptor left",
    errno.ENFILE: "the system has no descriptor left",
    errno.ENOBUFS: "the system has no memory left for sockets",
    errno.ENOMEM: "the system has no memory left for sockets",
}

_GOODBYE = 2.0
"""Seconds for a client to answer the end of TLS (close_notify); then its connection is cut. The loops' own 30 s would
be what each stop takes for a client that sleeps."""

_HANDSHAKES = 32
"""TLS handshakes of one client under way, each with its state. They take two round trips; another one waits at the
door, where it has none. So one address may begin 160 a second from 200 ms away."""

_TLS_RECEIVE_BUFFER = 131072
"""Bytes that the kernel holds of what a TLS connection sends, and no more: uvloop reads all of it at once, and what
OpenSSL makes of it costs up to 0.4 us a byte (key updates) before anybody else has a turn (issue 9). Of an upload so
much comes for each round trip: 20 Mbit/s from 50 ms away."""

_NO_ROOM = "no room"

_SHORTEST = 0.001
"""Seconds: asyncio has no timeout of nothing."""

_TLS_HANDSHAKE = 0x16
"""The first byte of a ClientHello (RFC 8446, section 5.1)."""

_HTTP = re.compile(rb"[A-Z]{3,10} ")
_WRONG_DOOR = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 39\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS: use https://.\r\n"
)


@dataclass(slots=True)
class _PendingConnection:
    """Somebody at the door. who: as far as it is known. slot: what it counts as. is_in: its protocol has it.

    protocol: made already; from then on the descriptor belongs to its transport.
    """

    sock: socket.socket
    who: str
    announced: Peer | None = None
    slot: Slot | None = None
    is_in: bool = False
    protocol: asyncio.Protocol | None = None


class Acceptor:
    """Takes in the connections of one listener.

    sockets: listening. welcome: makes the protocol of a connection.
    timeout: seconds for all that comes before a protocol has the connection: a PROXY header, the ClientHello, waiting
    for fewer of that client's handshakes to be under way, and the handshake.
    entrance: who may come in; None: everybody.
    certificate: for TLS; None: none is spoken.
    announcers: who may send a PROXY header, and must; None: none is read.

    Opens at once. ``pause`` and ``resume`` take a reason each: it is open while there is none.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        welcome: ProtocolFactory,
        *,
        timeout: float,
        entrance: ConnectionLimiter | None = None,
        certificate: Certificate | None = None,
        announcers: Trusted | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._welcome = welcome
        self._timeout = max(timeout, _SHORTEST)
        self._entrance = entrance
        self._certificate = certificate
        self._announcers = announcers
        self._reasons = {"closed"}
        self._arrivals: dict[asyncio.Task[None], _PendingConnection] = {}
        self.handshakes = PerClientConcurrency()
        """Those under way, by client."""
        self._timer: asyncio.TimerHandle | None = None
        self._log = LimitedLog(logger)
        if entrance is not None:
            entrance.connections.on_leave = self.look_again
        for listener in sockets:  # what is accepted inherits it, and all that is set below
            keep_alive(listener)
        if certificate is not None:
            for listener in sockets:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TLS_RECEIVE_BUFFER)
        self.resume("closed")

    def last_call(self) -> None:
        """Take in whoever waits in the kernel's queue, and nobody behind them: closing its socket would reset them."""
        for listener in self._sockets:
            for _ in range(_BACKLOG // _AT_ONCE):
                if not self._reasons:
                    self._accept(listener)
        self.pause("last call")

    def pause(self, reason: str) -> None:
        """Accept nobody until ``resume`` is called with this reason; who comes waits in the kernel's queue."""
        if not self._reasons:
            for listener in self._sockets:
                self._loop.remove_reader(listener)
        self._reasons.add(reason)

    def resume(self, reason: str) -> None:
        """Take a reason back; accept when it was the last one."""
        if self._reasons and self._reasons <= {reason}:
            for listener in self._sockets:
                self._loop.add_reader(listener, self._accept, listener)
        self._reasons.discard(reason)

    def reconfigure(self, *, timeout: float, announcers: Trusted | None) -> None:
        """Have other options for connections that come from here on, and accept as many as there may be now."""
        self._timeout = max(timeout, _SHORTEST)
        self._announcers = announcers
        self.look_again()

    def look_again(self) -> None:
        """Accept again if there is room now."""
        if _NO_ROOM in self._reasons and self._entrance is not None and not self._entrance.is_full:
            self.resume(_NO_ROOM)

    def close(self) -> None:
        """Accept nobody any more, and turn away whoever is not through yet. The sockets are the caller's to close."""
        self.pause("closed")
        if self._timer is not None:
            self._timer.cancel()
        for arrival in self._arrivals:
            arrival.cancel()

    async def wait_closed(self) -> None:
        """Wait behind ``close`` until nobody is at the door."""
        if self._arrivals:
            await asyncio.wait(self._arrivals)

    # -- inside

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            entrance = self._entrance
            if entrance is not None and entrance.is_full:
                taken = entrance.connections.total
                self._warn(_NO_ROOM, "no connection is accepted: %d are open; %s", taken, entrance.room)
                self.pause(_NO_ROOM)
                return
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # it left while it waited
                continue
            except OSError as error:
                # Whatever it is (accept(2) has a long list), the listener stays readable: to try at once would spin.
                self._rest(error)
                return
            sock.setblocking(False)
            arrival = _PendingConnection(sock, address[0] if isinstance(address, tuple) else "unix")
            if self._is_welcome(arrival):
                task = self._loop.create_task(self._admit(arrival), name="arrival")
                self._arrivals[task] = arrival
                task.add_done_callback(self._arrived)

    def _is_welcome(self, arrival: _PendingConnection) -> bool:
        """Count a connection in for whom it comes from, as far as is known; turn it away if that one has enough."""
        if self._entrance is None:
            return True
        if arrival.slot is not None:
            arrival.slot.release()
        verdict = self._entrance.admit(arrival.who, time.monotonic())
        if isinstance(verdict, Rejected):
            if verdict.notice:
                logger.warning("%s", verdict.notice)
            if self._certificate is None:
                _say_why(arrival.sock, verdict.error)
            arrival.sock.close()
            return False
        arrival.slot = verdict.slot
        return True

    def _arrived(self, task: asyncio.Task[None]) -> None:
        arrival = self._arrivals.pop(task)
        if task.cancelled() and arrival.protocol is None:  # also before its first step, where it could not do it itself
            arrival.sock.close()
        if not arrival.is_in and arrival.slot is not None:
            arrival.slot.release()

    def _rest(self, error: OSError) -> None:
        self._warn("out", "no connection is accepted: %s", accept_failure(error))
        self.pause("out of descriptors")
        self._timer = self._loop.call_later(PAUSE, self.resume, "out of descriptors")

    async def _admit(self, arrival: _PendingConnection) -> None:
        """Bring one connection to its protocol, or close it. Never raises, but when it is cancelled."""
        try:
            if self._announcers is None and self._certificate is None:
                await self._hand_in(arrival)
                return
            async with asyncio.timeout(self._timeout) as deadline:
                if self._announcers is not None:
                    arrival.announced = await self._announced(arrival.sock, arrival.who, self._announcers)
                    arrival.who = arrival.announced.address
                    if not self._is_welcome(arrival):
                        return
                if self._certificate is None:
                    deadline.reschedule(None)  # cancelled, it would lose the transport
                    await self._hand_in(arrival)
                    return
                await _whole_hello(arrival.sock)
                async with self._handshake(arrival.who):
                    left = (deadline.when() or 0.0) - self._loop.time()
                    deadline.reschedule(None)  # as above; TLS has its own
                    await self._hand_in(arrival, self._certificate.context, max(left, 0.001))
        except (OSError, HeaderError, HelloError) as error:  # TimeoutError is an OSError
            arrival.sock.close()  # its transport has, if it came to one
            self._turned_away(arrival.who, error)

    async def _hand_in(
        self, arrival: _PendingConnection, tls: ssl.SSLContext | None = None, timeout: float = 0.0
    ) -> None:
        def make() -> asyncio.Protocol:
            arrival.protocol = self._welcome(arrival.announced, arrival.slot)
            return arrival.protocol

        try:
            await self._loop.connect_accepted_socket(
                make,
                arrival.sock,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else timeout,
                ssl_shutdown_timeout=None if tls is None else _GOODBYE,
            )
        except asyncio.CancelledError:
            if getattr(arrival.protocol, "transport", None) is not None:
                # uvloop closes the transport of a connection that is cancelled here, and tells its protocol nothing.
                arrival.protocol.connection_lost(None)  # type: ignore[union-attr]
            raise
        arrival.is_in = True

    @asynccontextmanager
    async def _handshake(self, who: str) -> AsyncIterator[None]:
        """Be one of the few handshakes of a client for the length of a ``with`` block; wait to be one."""
        if self._entrance is None or self._entrance.is_free(who):
            yield
            return
        slot = await self.handshakes.acquire(client_key(who), _HANDSHAKES, None)
        try:
            yield
        finally:
            slot.release()

    async def _announced(self, sock: socket.socket, who: str, announcers: Trusted) -> Peer:
        if not is_trusted(who, announcers):
            raise HeaderError("only those in gateway.trusted_proxies may send a PROXY header")
        seen = b""
        while True:
            data = await _peek(sock, MAX_HEADER)
            announcement = parse(seen + data)
            if announcement is not None:
                break
            # All of it belongs to the header. Read, it no longer makes the socket readable.
            seen += sock.recv(len(data))
        sock.recv(announcement.size - len(seen))
        return Peer(who if announcement.address is None else announcement.address, announcement.scheme)

    def _turned_away(self, who: str, error: Exception) -> None:
        if isinstance(error, HelloError):
            self._warn("handshake", "a connection from %s was closed: %s", who, error)
        elif isinstance(error, HeaderError):
            self._warn("announcement", "a connection from %s was closed: %s", who, error)
        elif isinstance(error, ssl.SSLError):
            self._warn("handshake", "a connection from %s was closed: %s", who, why(error))
        else:
            logger.debug("a connection from %s ended at the door: %r", who, error)

    def _warn(self, kind: str, sentence: str, *arguments: object) -> None:
        self._log.say(kind, logging.WARNING, sentence, *arguments)


def accept_failure(error: OSError) -> str:
    """Return in words why accepting fails, and what to do."""
    what = _OUT_OF.get(error.errno or 0, f"accept fails ({error.strerror})")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    advice = "raise it (LimitNOFILE= in a systemd unit, ulimit -n in a shell), or lower gateway.limits.connections"
    return f"{what}, of {limit}; {advice}"


def _say_why(sock: socket.socket, error: TooMany) -> None:
    """Answer in one packet, without having read what is asked.

    A person who is turned away by mistake (an office, a proxy that is not
    named) then sees more than "connection reset".
    """
    with suppress(OSError):  # it is gone already
        sock.send(error_message(error)[0])


async def _peek(sock: socket.socket, size: int) -> bytes:
    """Wait for bytes and look at them; they stay where they are. Raises ConnectionError at the other side's end."""
    while True:
        try:
            data = sock.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(sock)
            continue
        if not data:
            raise ConnectionResetError("it left without a word")
        return data


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)


async def _whole_hello(sock: socket.socket) -> None:
    """Wait until a whole ClientHello is here, and leave it where it is; tell who speaks plain HTTP.

    Raises ConnectionError and HelloError.
    """
    data = await _peek(sock, 16)
    if data[0] != _TLS_HANDSHAKE:
        if _HTTP.match(data):
            with suppress(BlockingIOError):
                sock.recv(65536)  # unread bytes would make a reset of the close, which may overtake the answer
            sock.send(_WRONG_DOOR)
            sock.shutdown(socket.SHUT_WR)
        raise ConnectionResetError("it does not speak TLS")
    while len(data) < (size := needed(data)):
        data = await _peek_all(sock, size)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


async def _peek_all(sock: socket.socket, size: int) -> bytes:
    """Wait for so many bytes and look at them. Raises ConnectionError when they do not come.

    The kernel is told how many: it wakes us once, and not for each byte of somebody who sends them one by one.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    for has_waited in (False, True):
        data = sock.recv(size, socket.MSG_PEEK)
        if len(data) == size:
            return data
        del data  # the kernel has it: once is enough while somebody makes us wait
        if not has_waited:
            await _readable(sock)
    # The other side has ended, or the kernel has no memory for so few bytes. A unix socket wakes for anything; there a
    # message comes whole.
    raise ConnectionResetError("its ClientHello ends too early")
