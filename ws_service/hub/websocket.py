"""A client's WebSocket connection to the hub: an asyncio protocol of its own, for many clients that mostly wait.

uvicorn's protocol would have an ASGI app, a task and queues for each. Here are a transport, a reader of frames, and a
queue while the client does not read.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from websockets.http11 import Request

from ws_service.hub.codes import SERVER_ERROR, SHUTDOWN, SLOW
from ws_service.hub.encoded import Encoded
from ws_service.hub.handshake import ConnectionHub, Handshake, Receiver
from ws_service.hub.incoming import Incoming, answer_handshake
from ws_service.hub.outbox import MOST, Outbox
from ws_service.hub.raw import RawClient, is_raw
from ws_service.hub.topics import SlowPolicy
from ws_service.websocket.client_socket import STOPPING, ClientSocket
from ws_service.websocket.frame_format import MAX_REASON, text_frame
from ws_service.websocket.library import forget_tracebacks, why_too_large
from ws_service.websocket.resources import Resources

CLOSE_WAIT = 2.0
"""Seconds for a client to answer a close frame once it has taken it. Precedents: websockets 10, uvicorn and Centrifugo
0."""

MOST_TOO_LATE = 256
"""Messages of a client that has been sent a close frame; with more it is not waited for. A flood would take two seconds
of CPU while its answer is waited for."""

_PING = b"\x89\x00"


class HubSocket(ClientSocket):
    """A connection to the hub; it is a ``ClientConnection``.

    connections: uvicorn's own set of what to close at a stop.
    send: seconds within which a client must take some of what waits for it. None: another program, between this one
    and the client, cuts it.
    """

    __slots__ = (
        "_client",
        "_closing",
        "_counted",
        "_hub",
        "_incoming",
        "_is_open",
        "_is_slow",
        "_outbox",
        "_own",
        "_too_late",
        "is_raw",
    )

    def __init__(
        self, hub: ConnectionHub, connections: set[Any], resources: Resources, *, send: float | None = None
    ) -> None:
        self._incoming = Incoming(self, hub.limits.message)
        super().__init__(self._incoming, connections, resources, handshake=0, send=send)
        self._hub = hub
        self._client: Receiver | None = None
        self._outbox: Outbox | None = None  # while something waits
        self._closing: asyncio.TimerHandle | None = None
        self._is_open = False  # from the 101 to the close frame
        self._is_slow = False  # whether the transport has as much as it takes
        self._own = 0  # bytes of that which are for this client alone
        self._counted = 0  # bytes that waited at the last look
        self._too_late = 0  # messages after the close frame
        self.is_raw = False
        """Whether a publication is sent as its data alone."""

    @property
    def receiver(self) -> Receiver | None:
        """The client of the hub; None before it is made and after its end."""
        return self._client

    # -- the handshake

    def begin(self, head: bytes, address: str) -> None:
        """Answer the handshake, and have a client made. address: of the client."""
        self.note_path(head)
        too_large = why_too_large(head)
        if too_large is not None:
            self.refuse(431, too_large)
            return
        if self._hub.is_closing:
            self.answer(503, STOPPING)
            return
        answer = answer_handshake(head)
        if answer is None:
            self.refuse(400, "this is no HTTP")
            return
        self.status = answer.status
        self.write(answer.response)
        if answer.status != 101 or answer.request is None:
            self.log_refused(answer.status, answer.why)
            self.finish()
            return
        self._is_open = True
        handshake = _handshake(answer.request, address)
        try:
            self.is_raw = is_raw(handshake.query)
            self._client = RawClient(self._hub, self, handshake) if self.is_raw else self._hub.connect(self, handshake)
        except Exception as error:
            self._client_failed(error)
        self.input.accept(address)

    # -- for the client of the hub

    def send(self, message: bytes) -> None:
        """Send a message that is for this client alone."""
        if not self._is_open:
            return
        if not self._is_slow:
            self.write(text_frame(message))
            if self._is_slow:
                self._own = len(message)
                self._count()
        elif not self._waiting().add(message):
            self._end_slow()
        else:
            self._count()

    def deliver(self, message: Encoded) -> None:
        """Send a publication, or queue it as its topic's policy says."""
        if not self._is_open:
            return
        if not self._is_slow:
            self.write(message.raw_frame if self.is_raw else message.frame)
            return
        content = message.data if self.is_raw else message.push
        if not self._waiting().publish(message.topic, content, message.policy):
            self._hub.counts.drop(message.topic, SlowPolicy.DISCONNECT)
            self._end_slow()
        else:
            self._count()

    def close(self, code: int, reason: str) -> None:
        """Send what waits and a close frame, and wait for the client's answer."""
        if not self._is_open:
            return
        self._hub.counts.disconnect(code)
        self._send_waiting(is_last=True)
        self._is_open = False
        if self._incoming.close(code, reason.encode()[:MAX_REASON].decode("utf-8", "ignore")):
            self._wait_for_answer()
            self.input.is_library_full = False  # the answer has to be read

    def ping(self) -> None:
        """Send a ping of WebSocket, unless the client has other bytes to take."""
        if self._is_open and not self._is_slow:
            self.write(_PING)

    def pause_reading(self) -> None:
        """Take nothing more from the client, until ``resume_reading``."""
        self.input.is_library_full = self._is_open

    def resume_reading(self) -> None:
        """Take messages again."""
        self.input.is_library_full = False

    # -- called by the reader of frames

    def take(self, message: bytes) -> None:
        """Give the client a message. A fault of it ends this connection alone."""
        if self.input.memory is not None:
            self.input.memory.taken()
        if not self._is_open or self._client is None:
            self._too_late += 1
            if self._too_late > MOST_TOO_LATE:
                self.abort()
            return
        try:
            self._client.receive(message)
        except Exception as error:
            self._client_failed(error)

    def finish(self) -> None:
        """Close after what is still on its way."""
        self._is_open = False
        super().finish()

    # -- called by the transport

    def eof_received(self) -> None:
        """Note that the client ended first. The transport closes itself."""
        self.has_client_ended = True

    def pause_writing(self) -> None:
        """Queue what comes, and read nothing more."""
        self._is_slow = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """Send what waits; read on when all of it is sent."""
        self._is_slow, self._own = False, 0
        self._send_waiting()
        if not self._is_slow:
            super().resume_writing()
        self._count()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        self._is_open = False
        super().connection_lost(exc)
        if self._closing is not None:
            self._closing.cancel()
        client, self._client = self._client, None
        self._outbox = None
        self._incoming.frames.clear()
        forget_tracebacks(self._incoming)
        self.input.close()
        if client is not None:
            client.closed()

    # -- at a stop

    def close_at_stop(self) -> None:
        """Close with 3001: the client comes back."""
        self.close(SHUTDOWN.code, SHUTDOWN.reason)

    # -- inside

    def _wait_for_answer(self) -> None:
        self._closing = asyncio.get_running_loop().call_later(CLOSE_WAIT, self._stop_waiting)

    def _stop_waiting(self) -> None:
        """Cut; but while the client has not taken all yet, it is as for any other that takes nothing."""
        if self._transport.get_write_buffer_size():
            self._wait_for_answer()
        else:
            self.abort()

    def _client_failed(self, error: Exception) -> None:
        sentence = "the hub failed (%s: %s); this socket is closed, others are not touched"
        self.say("failed", sentence, type(error).__name__, error, level=logging.ERROR)
        self.close(SERVER_ERROR.code, SERVER_ERROR.reason)

    def _waiting(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(self._hub.limits.queue, self._hub.counts.drop)
        return self._outbox

    def _send_waiting(self, *, is_last: bool = False) -> None:
        """Send what waits, as many messages to a frame as may be. is_last: all of it, for a close follows."""
        outbox, most = self._outbox, 1 if self.is_raw else MOST
        while outbox and (is_last or not self._is_slow):
            self.write(text_frame(b"\n".join(outbox.take(most))))
        if not outbox:
            self._outbox = None

    def _count(self) -> None:
        """Count what waits for this client with what its other sockets hold; the one with most of too much is cut.

        A publication that the transport has is one copy for all: two hundred clients of one address would hold 1 MiB
        each for the moment in which it is written to them.
        """
        memory = self.input.memory
        if memory is None or self._transport.is_closing():
            return
        waits = self._own + (self._outbox.size if self._outbox is not None else 0)
        added, self._counted = waits - self._counted, waits
        if not memory.add(added):
            sentence = "client %s reads too little on %d sockets, and more than %d KiB wait for it; this one is cut"
            account = memory.account
            self.say("cut", sentence, account.client, len(account.sockets), account.limit >> 10, level=logging.INFO)
            self.abort()

    def _end_slow(self) -> None:
        """Give up on a client that does not read; it comes back, and recovers."""
        self._outbox = None
        sentence = "the client does not read, and more than %d KiB wait for it; closed with 3008"
        self.say("too slow", sentence, self._hub.limits.queue >> 10, level=logging.INFO)
        self.close(SLOW.code, SLOW.reason)
        if self._client is not None:
            self._client.closed()


def _handshake(request: Request, address: str) -> Handshake:
    path, _, query = request.path.partition("?")
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.raw_items()]
    return Handshake(address, path, query, tuple(fields))
