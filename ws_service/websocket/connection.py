"""One client's WebSocket connection: it owns the socket, and lends uvicorn's WebSocket protocol a transport.

The protocol is uvicorn's own, unmodified: one of the two that are made of the library ``websockets``, without which the
service does not run. What it does not do is done around it (issue 9): deadlines (``deadlines``), fair reading and a
limit for what a client makes the process keep (``input_buffer``), and that a fault of the library ends one connection
alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, cast

from ws_service.logs.formatter import escaped, shortened
from ws_service.net.json_response import raw_error
from ws_service.net.keepalive import keep_alive
from ws_service.websocket import library as libraries
from ws_service.websocket.deadlines import Deadlines
from ws_service.websocket.endpoint import Endpoint
from ws_service.websocket.frame_format import close_frame
from ws_service.websocket.input_buffer import InputBuffer
from ws_service.websocket.lent_transport import WRITE_MARK, LentTransport
from ws_service.websocket.resources import Resources

_LONGEST_ANSWER = 1024
"""Characters of why a handshake is refused, for its client and for the log."""

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class Connection(asyncio.BufferedProtocol):
    """A WebSocket connection, from the moment in which its handshake's head is there.

    library: a WebSocket protocol of uvicorn, which has had no transport yet.
    connections: uvicorn's own set of what to close at a stop.
    handshake: seconds for the app to answer.
    send: seconds within which a client must take some of what waits for it, at ``MIN_RATE`` on average. None: another
    program, between this one and the client, cuts it.
    """

    def __init__(
        self,
        library: Any,
        connections: set[Any],
        resources: Resources,
        *,
        handshake: float,
        send: float | None,
    ) -> None:
        self._library = library
        self._path = "?"  # of the handshake, for the log: without the query, which may have a token
        self._connections = connections
        self._resources = resources
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._lent: LentTransport
        libraries.prepare(library)
        self.input = InputBuffer(self, library, resources)
        self._deadlines = Deadlines(self, handshake, send)
        self._endpoint = library.app = Endpoint(library.app, self, self.input)
        self.written = 0
        """Bytes to the client."""
        self.is_lost = False
        self._has_ended = asyncio.Event()
        self.status = 0
        """What the handshake was answered with; 0 before."""
        self.closed_with: int | None = None
        """The code of a close frame that this class wrote, and not the library."""
        self.has_client_ended = False
        self.was_reset = False

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lend the library a transport."""
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=WRITE_MARK)
        keep_alive(transport.get_extra_info("socket"))
        self.input.start(transport)
        self._deadlines.start(transport, self._loop.time())
        self._connections.add(self)
        self._resources.sweep.add(self._deadlines)
        self.activate()
        self._lent = LentTransport(self, transport)
        self._call("connection_made", self._lent)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._resources.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.input.receive(bytes(self._resources.buffer[:nbytes]))

    def eof_received(self) -> bool | None:
        """Note that the client ended first."""
        self.has_client_ended = True
        keep = self._call("eof_received")
        return bool(keep)

    def pause_writing(self) -> None:
        """Read nothing more of a client that does not read."""
        self.input.is_client_slow = True
        self.activate()
        self._call("pause_writing")

    def resume_writing(self) -> None:
        """Read on."""
        self._call("resume_writing")
        self.input.is_client_slow = False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the library's part; its errors are logged."""
        self.is_lost = True
        self.was_reset = self.was_reset or exc is not None
        self.input.stop()
        self._resources.sweep.remove(self._deadlines)
        self._connections.discard(self)
        if self.closed_with is not None:
            libraries.drop_unread(self._library)
        self._call("connection_lost", exc)
        self._has_ended.set()
        libraries.forget_tracebacks(self._library)
        self.input.close()

    # -- called by uvicorn

    def shutdown(self) -> None:
        """Close at a stop: 1012, or a 503 where the handshake waits for its answer. Raises nothing: others wait."""
        try:
            if self.is_unanswered:
                self.answer(503, "The service stops; come back in a moment.")
            else:
                self._library.shutdown()
        except Exception as error:
            self.failed("shutdown", error)

    # -- called by the library, through its transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write for the library."""
        if self._transport.is_closing():
            return
        if not self.written:
            self._note_answer(bytes(data[:_LONGEST_ANSWER]))
        elif self.status != 101 and data[:13] == b"HTTP/1.1 101 ":
            # The older protocol accepts a handshake that it has refused because the endpoint returned.
            self._transport.close()
            return
        self.written += len(data)
        self._deadlines.is_acknowledged = False
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Give the library nothing more until ``resume_reading``."""
        self.input.is_library_full = True

    def resume_reading(self) -> None:
        """Give it more."""
        self.input.is_library_full = False

    @property
    def is_reading(self) -> bool:
        """Whether the library takes more."""
        return not self.input.is_library_full

    def close(self) -> None:
        """Close for the library, after what is still on its way; but no handshake without an answer."""
        if self.is_unanswered:
            self.refuse(500, "neither the endpoint nor the WebSocket library answered this handshake")
            return
        self._transport.close()
        self.activate()

    def abort(self) -> None:
        """Cut."""
        self._transport.abort()

    # -- called by the endpoint

    @property
    def is_gone(self) -> bool:
        """Whether the connection is lost, or closing."""
        return self.is_lost or self._transport.is_closing()

    async def closed(self) -> None:
        """Wait until the connection is lost."""
        await self._has_ended.wait()

    # -- the handshake

    @property
    def is_unanswered(self) -> bool:
        """Whether the handshake still waits for its answer."""
        return not self.written and not self.is_gone

    def feed_head(self, head: bytes) -> None:
        """Give the library the head of the handshake. Where it fails, the client gets an answer all the same."""
        target = head.partition(b" ")[2].partition(b" ")[0]
        self._path = target.partition(b"?")[0].decode("latin-1")
        refusal = libraries.read_head(self._library, head)
        if refusal is not None and not self._transport.is_closing():
            self.refuse(*refusal)

    def refuse(self, status: int, why: str) -> None:
        """Answer a handshake with an error, and log it."""
        self._log_refused(status, why)
        self.answer(status, f"{why[0].upper()}{why[1:]}.")

    def answer(self, status: int, message: str) -> None:
        """Answer a handshake that the app, or the library, does not answer, and close."""
        if self.written:  # in the middle of an answer
            self.status = self.status or status
            self.abort()
            return
        self.status = status
        self.write(raw_error(status, escaped(shortened(message, _LONGEST_ANSWER))))
        self.close()

    def _note_answer(self, answer: bytes) -> None:
        """Note an answer of the library itself: the endpoint's, and those of this class, are noted before."""
        found = _STATUS.match(answer)
        if found is not None and self.status != int(found[1]):
            self.status = int(found[1])
            body = answer.partition(b"\r\n\r\n")[2].decode("latin-1").strip()
            self._log_refused(self.status, body or "the WebSocket library refused it")

    def _log_refused(self, status: int, why: str) -> None:
        self.say(str(status), "answered the handshake with %d: %s", status, why)

    # -- called by the input and the deadlines

    def activate(self) -> None:
        """Have the deadlines checked at the next sweep."""
        self._resources.sweep.activate(self._deadlines)

    def close_with(self, code: int, reason: str, *, may_wait: bool = True) -> None:
        """Close with a code of the service's own. Both libraries write whole frames, so another one fits after them.

        may_wait: False cuts where the close frame would have to wait for the client, and keep what it holds.
        """
        self.closed_with = code
        if not may_wait and self._transport.get_write_buffer_size():
            self.abort()
            return
        self.write(close_frame(code, reason, masked=False))
        self.close()

    def failed(self, method: str, error: Exception) -> None:
        """End this connection alone, with one line: the library has raised an error."""
        self.say(
            "failed",
            "the WebSocket library failed in %s (%s: %s); this socket is cut, others are not touched",
            method,
            type(error).__name__,
            error,
            level=logging.ERROR,
        )
        if self.written or self.is_gone:
            self._transport.abort()
        else:
            self.answer(500, "The WebSocket library failed.")

    def say(self, kind: str, sentence: str, *arguments: object, level: int = logging.WARNING) -> None:
        """Write a line about this connection, unless one of its kind was written lately: a client may have many."""
        self._resources.log.say(kind, level, f"%s: {sentence}", self._path, *arguments)

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._library, method)(*arguments)
        except Exception as error:
            self.failed(method, error)
            return None
