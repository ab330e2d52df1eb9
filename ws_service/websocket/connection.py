"""One client's WebSocket connection to the user's app: it lends uvicorn's WebSocket protocol a transport.

The protocol is uvicorn's own, unmodified: one of the two that are made of the library ``websockets``, without which the
service does not run. What it does not do is done around it (issue 9): deadlines (``deadlines``), fair reading and a
limit for what a client makes the process keep (``input_buffer``), and that a fault of the library ends one connection
alone.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from ws_service.websocket import library as libraries
from ws_service.websocket.client_socket import LONGEST_ANSWER, ClientSocket
from ws_service.websocket.endpoint import Endpoint
from ws_service.websocket.lent_transport import LentTransport
from ws_service.websocket.resources import Resources

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class Connection(ClientSocket):
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
        super().__init__(library, connections, resources, handshake=handshake, send=send)
        self._library = library
        self._lent: LentTransport
        libraries.prepare(library)
        self._endpoint = library.app = Endpoint(library.app, self, self.input)
        self._has_ended = asyncio.Event()

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lend the library a transport."""
        super().connection_made(transport)
        self._lent = LentTransport(self, self._transport)
        self._call("connection_made", self._lent)

    def eof_received(self) -> bool | None:
        """Note that the client ended first."""
        self.has_client_ended = True
        keep = self._call("eof_received")
        return bool(keep)

    def pause_writing(self) -> None:
        """Read nothing more of a client that does not read."""
        super().pause_writing()
        self._call("pause_writing")

    def resume_writing(self) -> None:
        """Read on."""
        self._call("resume_writing")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the library's part; its errors are logged."""
        super().connection_lost(exc)
        if self.closed_with is not None:
            libraries.drop_unread(self._library)
        self._call("connection_lost", exc)
        self._has_ended.set()
        libraries.forget_tracebacks(self._library)
        self.input.close()

    # -- at a stop

    def close_at_stop(self) -> None:
        """Close with 1012."""
        self._library.shutdown()

    # -- called by the library, through its transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write for the library."""
        if self._transport.is_closing():
            return
        if not self.written:
            self._note_answer(bytes(data[:LONGEST_ANSWER]))
        elif self.status != 101 and data[:13] == b"HTTP/1.1 101 ":
            # The older protocol accepts a handshake that it has refused because the endpoint returned.
            self._transport.close()
            return
        super().write(data)

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
        self.finish()

    # -- called by the endpoint

    async def closed(self) -> None:
        """Wait until the connection is lost."""
        await self._has_ended.wait()

    # -- the handshake

    def feed_head(self, head: bytes) -> None:
        """Give the library the head of the handshake. Where it fails, the client gets an answer all the same."""
        self.note_path(head)
        refusal = libraries.read_head(self._library, head)
        if refusal is not None and not self._transport.is_closing():
            self.refuse(*refusal)

    def _note_answer(self, answer: bytes) -> None:
        """Note an answer of the library itself: the endpoint's, and those of this class, are noted before."""
        found = _STATUS.match(answer)
        if found is not None and self.status != int(found[1]):
            self.status = int(found[1])
            body = answer.partition(b"\r\n\r\n")[2].decode("latin-1").strip()
            self.log_refused(self.status, body or "the WebSocket library refused it")

    # -- inside

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._library, method)(*arguments)
        except Exception as error:
            self.failed(method, error)
            return None
