"""The acceptor: from a connection in the kernel's queue to its protocol, by way of a PROXY header and TLS.

The gateway accepts by itself, for three reasons. The event loops do not pause when descriptors run out
(``accept_loop``). A PROXY header must be read before TLS, which a transport cannot do (``first_bytes``). And a client
that has not sent a whole ClientHello costs a descriptor and what the kernel has for it, but no TLS state. It costs
about 30 us per connection over uvloop's own listener.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypedDict, Unpack

from proxy.errors import TooMany
from proxy.http1.error_pages import error_message
from proxy.listener.client_hello import HelloError
from proxy.listener.first_bytes import read_proxy_header, wait_for_client_hello
from proxy.listener.proxy_protocol import HeaderError
from proxy.net.client_limits import Rejected, Slot, client_key
from proxy.net.concurrency import PerClientConcurrency
from proxy.net.connection_limiter import ConnectionLimiter
from proxy.net.peer import Peer, Trusted, is_trusted
from proxy.net.tls import why
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.accept_loop import AcceptLoop
from ws_service.net.descriptors import accept_failure
from ws_service.net.keepalive import keep_alive

logger = logging.getLogger("proxy")

ProtocolFactory = Callable[[Peer | None, Slot | None], asyncio.Protocol]
"""Makes the protocol of a connection. peer: the client where a PROXY header names it; None: the transport knows. slot:
what the connection counts as, to be released at its end; None: it is not counted."""

_BATCH = 64
"""Connections accepted before other callbacks run."""

_TLS_SHUTDOWN = 2.0
"""Seconds for a client to answer the end of TLS (close_notify); then its connection is cut. The loops' own 30 s would
be what each stop takes for a client that sleeps."""

_TLS_HANDSHAKES = 32
"""TLS handshakes of one client under way, each with its state. They take two round trips; another one waits before it
has any state. So one address may begin 160 a second from 200 ms away."""

_TLS_RECEIVE_BUFFER = 131072
"""Bytes that the kernel has of what a TLS connection sends, and no more: uvloop reads all of it at once, and what
OpenSSL makes of it costs up to 0.4 us a byte (key updates) before other connections have a turn (issue 9). Of an upload
so much comes for each round trip: 20 Mbit/s from 50 ms away."""

_LIMIT_REACHED = "limit reached"

_SHORTEST = 0.001
"""Seconds: asyncio has no timeout of nothing."""


@dataclass(slots=True)
class _PendingConnection:
    """A connection that is accepted and has no transport yet.

    address: of the client, as far as it is known. peer: as a PROXY header names it. slot: what it counts as; its
    protocol's to release once ``is_established``. protocol: from when it is made the socket belongs to its transport.
    """

    sock: socket.socket
    address: str
    peer: Peer | None = None
    slot: Slot | None = None
    is_established: bool = False
    protocol: asyncio.Protocol | None = None


class AcceptorOptions(TypedDict):
    """What holds for connections from when they are accepted: what a reload may change.

    timeout: seconds for all that comes before a protocol has the connection: a PROXY header, the ClientHello, waiting
    for fewer of that client's handshakes to be under way, and the handshake.
    proxies: those that send a PROXY header, and must; all others are closed. None: no PROXY header is read.
    tls: the context of the connections; None: without TLS, which a reload does not change.
    """

    timeout: float
    proxies: Trusted | None
    tls: ssl.SSLContext | None


class Acceptor:
    """Accepts the connections of one listener, from now on.

    sockets: listening; the caller's to close. factory: makes the protocol of a connection.
    limiter: decides which connections are accepted.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: ProtocolFactory,
        limiter: ConnectionLimiter,
        **options: Unpack[AcceptorOptions],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._factory = factory
        self._limiter = limiter
        self._options = options
        self._pending: dict[asyncio.Task[None], _PendingConnection] = {}
        self.tls_handshakes = PerClientConcurrency()
        """TLS handshakes under way, by client."""
        self._log = LimitedLog(logger)
        limiter.connections.on_leave = self.resume
        for listener in sockets:  # what is accepted inherits all that is set here
            keep_alive(listener)
            _send_at_once(listener)
            if options["tls"] is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TLS_RECEIVE_BUFFER)
        self.accepting = AcceptLoop(
            sockets, self._accepted, self._accept_failed, batch=_BATCH, may_accept=self._may_accept
        )

    def __len__(self) -> int:
        """How many connections are pending."""
        return len(self._pending)

    def reconfigure(self, **options: Unpack[AcceptorOptions]) -> None:
        """Have other options for connections that come from here on, and accept as many as there may be now."""
        self._options = options
        self.resume()

    def resume(self) -> None:
        """Accept again if fewer connections are open now than there may be."""
        if not self._limiter.is_full:
            self.accepting.resume(_LIMIT_REACHED)

    def close(self) -> None:
        """Accept nothing any more, and close the connections that are pending."""
        self.accepting.close()
        for task in self._pending:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no connection is pending; after ``close``, that takes a turn of the loop or two."""
        if self._pending:
            await asyncio.wait(self._pending)

    # -- called by the accept loop

    def _may_accept(self) -> bool:
        limiter = self._limiter
        if not limiter.is_full:
            return True
        limiter.count_pause()
        taken = limiter.connections.total
        self._warn(_LIMIT_REACHED, "no connection is accepted: %d are open; %s", taken, limiter.capacity_notice)
        self.accepting.pause(_LIMIT_REACHED)
        return False

    def _accept_failed(self, error: OSError) -> None:
        advice = "or lower gateway.limits.connections"
        self._warn("accept", "no connection is accepted: %s, %s", accept_failure(error), advice)

    def _accepted(self, sock: socket.socket, address: object) -> None:
        pending = _PendingConnection(sock, address[0] if isinstance(address, tuple) else "unix")
        if self._admit(pending):
            task = self._loop.create_task(self._establish(pending), name="pending connection")
            self._pending[task] = pending
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        pending = self._pending.pop(task)
        if task.cancelled() and pending.protocol is None:  # also before its first step, where it could not close it
            pending.sock.close()
        if not pending.is_established and pending.slot is not None:
            pending.slot.release()

    # -- a pending connection

    def _admit(self, pending: _PendingConnection) -> bool:
        """Count a connection for its client, as far as that is known; close it if that one has enough."""
        if pending.slot is not None:
            pending.slot.release()
        verdict = self._limiter.admit(pending.address, time.monotonic())
        if isinstance(verdict, Rejected):
            if verdict.notice:
                logger.warning("%s", verdict.notice)
            if self._options["tls"] is None:
                _send_rejection(pending.sock, verdict.error)
            pending.sock.close()
            return False
        pending.slot = verdict.slot
        return True

    async def _establish(self, pending: _PendingConnection) -> None:
        """Bring one connection to its protocol, or close it. Raises nothing, unless it is cancelled."""
        options = self._options
        try:
            if options["proxies"] is None and options["tls"] is None:
                await self._connect(pending)
                return
            async with asyncio.timeout(max(options["timeout"], _SHORTEST)) as deadline:
                if options["proxies"] is not None:
                    pending.peer = await _named_by_proxy(pending, options["proxies"])
                    pending.address = pending.peer.address
                    if not self._admit(pending):
                        return
                if options["tls"] is None:
                    deadline.reschedule(None)  # cancelled, it would lose the transport
                    await self._connect(pending)
                    return
                await wait_for_client_hello(pending.sock)
                async with self._tls_handshake(pending.address):
                    left = (deadline.when() or 0.0) - self._loop.time()
                    deadline.reschedule(None)  # as above; TLS has its own
                    await self._connect(pending, options["tls"], max(left, _SHORTEST))
        except (OSError, HeaderError, HelloError) as error:  # TimeoutError is an OSError
            pending.sock.close()  # its transport has, if it came to one
            self._log_failure(pending.address, error)

    async def _connect(
        self, pending: _PendingConnection, tls: ssl.SSLContext | None = None, timeout: float = 0.0
    ) -> None:
        def make() -> asyncio.Protocol:
            pending.protocol = self._factory(pending.peer, pending.slot)
            return pending.protocol

        try:
            await self._loop.connect_accepted_socket(
                make,
                pending.sock,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else timeout,
                ssl_shutdown_timeout=None if tls is None else _TLS_SHUTDOWN,
            )
        except asyncio.CancelledError:
            if pending.protocol is not None:
                # uvloop closes the transport of a connection that is cancelled here, and does not tell its protocol.
                # The protocol ignores this where it has no transport yet.
                pending.protocol.connection_lost(None)
            raise
        pending.is_established = True

    @asynccontextmanager
    async def _tls_handshake(self, address: str) -> AsyncIterator[None]:
        """Be one of the few TLS handshakes of a client for the length of a ``with`` block; wait to be one."""
        if self._limiter.is_free(address):
            yield
            return
        slot = await self.tls_handshakes.acquire(client_key(address), _TLS_HANDSHAKES, None)
        try:
            yield
        finally:
            slot.release()

    def _log_failure(self, address: str, error: Exception) -> None:
        if isinstance(error, HelloError):
            self._warn("handshake", "a connection from %s was closed: %s", address, error)
        elif isinstance(error, HeaderError):
            self._warn("PROXY header", "a connection from %s was closed: %s", address, error)
        elif isinstance(error, ssl.SSLError):
            self._warn("handshake", "a connection from %s was closed: %s", address, why(error))
        else:
            logger.debug("a connection from %s ended before its first request: %r", address, error)

    def _warn(self, kind: str, sentence: str, *arguments: object) -> None:
        self._log.say(kind, logging.WARNING, sentence, *arguments)


async def _named_by_proxy(pending: _PendingConnection, proxies: Trusted) -> Peer:
    """Return the client that a PROXY header names; of a proxy that speaks for itself, the proxy."""
    if not is_trusted(pending.address, proxies):
        raise HeaderError("only those in gateway.trusted_proxies may send a PROXY header")
    header = await read_proxy_header(pending.sock)
    return Peer(pending.address if header.address is None else header.address, header.scheme)


def _send_rejection(sock: socket.socket, error: TooMany) -> None:
    """Answer in one packet, without having read what is asked.

    A person who is rejected by mistake (an office, a proxy that is not named) then sees more than "connection reset".
    """
    with suppress(OSError):  # it is gone already
        sock.send(error_message(error)[0])


def _send_at_once(listener: socket.socket) -> None:
    """Have connections send each piece at once (TCP_NODELAY); asyncio sets it only on sockets that it makes itself."""
    if listener.family != getattr(socket, "AF_UNIX", None):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
