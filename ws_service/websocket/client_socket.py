"""One client's socket, as all kinds of WebSocket connections have it: reading, deadlines, and what they answer and log.

What is done with a message, and what is sent, is the kind's own: ``connection`` runs the user's app on uvicorn's
protocol, and the hub has one of its own.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, cast

from ws_service.logs.formatter import escaped, shortened
from ws_service.net.json_response import raw_error
from ws_service.net.keepalive import keep_alive
from ws_service.websocket.deadlines import Deadlines
from ws_service.websocket.frame_format import close_frame
from ws_service.websocket.input_buffer import InputBuffer
from ws_service.websocket.lent_transport import WRITE_MARK
from ws_service.websocket.resources import Resources

STOPPING = "The service stops; come back in a moment."

LONGEST_ANSWER = 1024
"""Characters of why a handshake is refused, for its client and for the log."""


class ClientSocket(asyncio.BufferedProtocol):
    """A client's socket.

    library: reads the client's frames; it has ``data_received``, and is one that ``websocket.library`` knows.
    connections: uvicorn's own set of what to close at a stop.
    handshake: seconds for the app to answer.
    send: seconds within which a client must take some of what waits for it, at ``MIN_RATE`` on average. None: another
    program, between this one and the client, cuts it.
    """

    __slots__ = (
        "__weakref__",
        "_connections",
        "_deadlines",
        "_path",
        "_resources",
        "_transport",
        "closed_with",
        "has_client_ended",
        "input",
        "is_lost",
        "status",
        "was_reset",
        "written",
    )

    def __init__(
        self, library: Any, connections: set[Any], resources: Resources, *, handshake: float, send: float | None
    ) -> None:
        self._path = "?"  # of the handshake, for the log: without the query, which may have a token
        self._connections = connections
        self._resources = resources
        self._transport: asyncio.Transport
        self.input = InputBuffer(self, library, resources)
        self._deadlines = Deadlines(self, handshake, send)
        self.written = 0
        """Bytes to the client."""
        self.is_lost = False
        self.status = 0
        """What the handshake was answered with; 0 before."""
        self.closed_with: int | None = None
        """The code of a close frame that this class wrote, and not the library."""
        self.has_client_ended = False
        self.was_reset = False

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=WRITE_MARK)
        keep_alive(transport.get_extra_info("socket"))
        self.input.start(transport)
        self._deadlines.start(transport, asyncio.get_running_loop().time())
        self._connections.add(self)
        self._resources.sockets[self] = None
        self._resources.sweep.add(self._deadlines)
        self.activate()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._resources.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.input.receive(bytes(self._resources.buffer[:nbytes]))

    def pause_writing(self) -> None:
        """Read nothing more of a client that does not read."""
        self.input.is_client_slow = True
        self.activate()

    def resume_writing(self) -> None:
        """Read on."""
        self.input.is_client_slow = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and give back what all connections have in common. What the client holds counts on."""
        self.is_lost = True
        self.was_reset = self.was_reset or exc is not None
        self.input.stop()
        self._resources.sweep.remove(self._deadlines)
        self._connections.discard(self)
        self._resources.sockets.pop(self, None)
        if self.status == 101:
            self._resources.closed[type(self)] += 1

    # -- called by the status page

    @property
    def path(self) -> str:
        """The path of the handshake, without the query; ``?`` before it is known."""
        return self._path

    @property
    def client(self) -> str:
        """What the client is counted as: an IPv4 address, an IPv6 /64; empty before the handshake is answered."""
        memory = self.input.memory
        return memory.account.client if memory is not None else ""

    @property
    def opened(self) -> float:
        """Seconds of the loop's clock at which the connection was made."""
        return self._deadlines.began

    @property
    def kernel_socket(self) -> socket.socket | None:
        """The socket, as its transport shows it, to ask the kernel about; None where there is none any more."""
        lent: socket.socket | None = self._transport.get_extra_info("socket")
        return lent

    # -- called by uvicorn

    def shutdown(self) -> None:
        """Close at a stop; a handshake that waits for its answer gets a 503. Raises nothing: others wait."""
        try:
            if self.is_unanswered:
                self.answer(503, STOPPING)
            else:
                self.close_at_stop()
        except Exception as error:
            self.failed("shutdown", error)

    def close_at_stop(self) -> None:
        """Close as this kind of connection does when the service stops."""
        raise NotImplementedError

    # -- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write to the client, unless the connection is closing."""
        if self._transport.is_closing():
            return
        self.written += len(data)
        self._transport.write(data)

    def finish(self) -> None:
        """Close after what is still on its way."""
        self._transport.close()
        self.activate()

    def abort(self) -> None:
        """Cut."""
        self._transport.abort()

    @property
    def is_gone(self) -> bool:
        """Whether the connection is lost, or closing."""
        return self.is_lost or self._transport.is_closing()

    def close_with(self, code: int, reason: str, *, may_wait: bool = True) -> None:
        """Close with a code of the service's own. What is written are whole frames, so another one fits after them.

        may_wait: False cuts where the close frame would have to wait for the client, and keep what it holds.
        """
        self.closed_with = code
        if not may_wait and self._transport.get_write_buffer_size():
            self.abort()
            return
        self.write(close_frame(code, reason, masked=False))
        self.finish()

    # -- the handshake

    @property
    def is_unanswered(self) -> bool:
        """Whether the handshake still waits for its answer."""
        return not self.written and not self.is_gone

    def note_path(self, head: bytes) -> None:
        """Note what the log calls this connection."""
        target = head.partition(b" ")[2].partition(b" ")[0]
        self._path = target.partition(b"?")[0].decode("latin-1")

    def refuse(self, status: int, why: str) -> None:
        """Answer a handshake with an error, and log it."""
        self.log_refused(status, why)
        self.answer(status, f"{why[0].upper()}{why[1:]}.")

    def answer(self, status: int, message: str) -> None:
        """Answer a handshake that nothing else answers, and close."""
        if self.written:  # in the middle of an answer
            self.status = self.status or status
            self.abort()
            return
        self.status = status
        self.write(raw_error(status, escaped(shortened(message, LONGEST_ANSWER))))
        self.finish()

    def log_refused(self, status: int, why: str) -> None:
        """Log that a handshake is refused."""
        self.say(str(status), "answered the handshake with %d: %s", status, why)

    # -- called by the input and the deadlines

    def activate(self) -> None:
        """Have the deadlines checked at the next sweep."""
        self._resources.sweep.activate(self._deadlines)

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
