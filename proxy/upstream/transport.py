"""The socket side of a connection to an upstream: writing, pausing, what the kernel knows of it, and its end."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from typing import cast

from proxy.net import tls
from proxy.net.read_after_reset import ReadAfterReset, read_after_reset
from ws_service.net.keepalive import keep_alive


class UpstreamTransport(asyncio.Protocol):
    """A transport to an upstream; what is received is for a derived class.

    buffer: bytes that may wait to be sent before ``drain`` waits.
    """

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self._is_paused = False
        self._is_full = False  # what was received waits to be taken: a second reason to pause
        self._is_given_up = False
        self.has_tls = False
        self.is_acknowledged = False
        """For the search for dead peers (``DeadPeers``)."""
        self.has_sent = False
        """Whether any byte of the exchange may have left: then it is unknown what the upstream has read. For a method
        that may be sent again in any case it is of no interest, and true from the beginning."""

    # -- writing

    def write(self, data: bytes) -> None:
        """Send bytes; on a connection that is gone they go nowhere."""
        if self._transport is None or self._transport.is_closing():
            return
        self.is_acknowledged = False
        if not self.has_sent:
            data = self._send_at_once(self._transport, data)
        if data:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the upstream takes more bytes, or is gone."""
        if self._writable is not None:
            await self._writable

    def pause_writing(self) -> None:
        """Make ``drain`` wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let ``drain`` go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- reading

    def pause_reading(self) -> None:
        """Read nothing more until ``resume_reading``, which makes the upstream wait."""
        self._is_paused = True
        if not self.is_closing:
            cast(asyncio.Transport, self._transport).pause_reading()

    def resume_reading(self) -> None:
        """Read on. Safe to call twice."""
        self._is_paused = False
        self._read_on()

    # -- what is known of it

    @property
    def is_closing(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._transport is None or self._transport.is_closing()

    @property
    def is_reset(self) -> bool:
        """Whether nothing more can be sent, and only what had come before a reset is still read."""
        return isinstance(self._transport, ReadAfterReset)

    @property
    def transport(self) -> asyncio.Transport | None:
        """Return the transport; None after its end."""
        return self._transport

    def has_gone_stale(self) -> bool:
        """Ask the kernel whether the upstream has closed, or sent something that was not read yet.

        For every request, also for those that could be sent again: what an upstream sent unasked would be read as
        the response. Costs one system call, less than 1 us. Over TLS what waits may be no more than a ticket for the
        next session; that cannot be told without reading it, and to give up a good connection is cheap.
        """
        return self.is_closing or bool(self._poll.poll(0))

    def has_ended(self) -> bool:
        """Ask the kernel whether the upstream has closed a new connection at once. Over TLS it cannot tell."""
        if self.is_closing or self.has_tls or not self._poll.poll(0):
            return self.is_closing
        assert self._transport is not None
        lent = self._transport.get_extra_info("socket")
        sock = socket.socket(lent.family, lent.type, lent.proto, fileno=lent.fileno())
        try:
            return not sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            sock.detach()

    # -- its beginning and its end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._buffer)
        self.has_tls = transport.get_extra_info("sslcontext") is not None
        if self.has_tls:
            tls.bound(transport, self._buffer)
        lent = transport.get_extra_info("socket")
        keep_alive(lent)
        self._descriptor: int = lent.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def vanish(self) -> None:
        """Give the connection up at once, as that of an upstream that does not acknowledge any more."""
        self._is_given_up = True
        if self._transport is not None:
            self._transport.abort()

    # -- inside

    def _read_on(self) -> None:
        if not (self._is_paused or self._is_full or self.is_closing):
            cast(asyncio.Transport, self._transport).resume_reading()

    def _send_at_once(self, transport: asyncio.Transport, data: bytes) -> bytes:
        """Give the first bytes of an exchange to the kernel now; return those that it does not take.

        A transport may keep them until the end of this turn of the loop, and the upstream's end may come before. Then
        it would be unknown whether they left, and a request that must not be sent twice would fail.
        """
        if self.has_tls or transport.get_write_buffer_size():
            self.has_sent = True
            return data
        try:
            count = os.write(self._descriptor, data)
        except BlockingIOError:
            count = 0
        except OSError:  # nothing has left: ``retry`` may send it again
            transport.abort()
            return b""
        self.has_sent = True
        return data[count:]

    def _reads_after_reset(self, exc: Exception | None) -> bool:
        """Go on reading what had come before a reset, if there is anything; tell whether.

        An upstream that refuses an upload answers (413, say) and closes with the rest unread, which resets the
        connection. The write that meets the reset must not lose the response that came before it.
        Not where the exchange has been given up since: nothing would read it to its end, and close its descriptor.
        """
        if self._is_given_up:
            return False
        rest = read_after_reset(self._transport, self, exc, is_paused=self._is_paused or self._is_full)
        if rest is None:
            return False
        self._transport = rest
        self.resume_writing()
        return True
