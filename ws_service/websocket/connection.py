"""One client's WebSocket connection: it owns the socket, and lends uvicorn's WebSocket protocol a transport.

The protocol is uvicorn's own, unmodified: one of the two that are made of the
library ``websockets``, without which the service does not run. What it does
not do is done around it: deadlines, bounded work per turn of the loop,
a bound on what a client makes us hold, and that whatever fails in one
connection ends this one alone (issue 9).

What has been read and cannot be fed at the moment is kept, and reading
pauses while anything is kept: at most one read of each connection, and before
the accept ``MAX_EARLY`` besides.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import traceback
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from websockets.extensions.base import Extension

from ws_service.logs.formatter import escaped, shortened
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.keepalive import keep_alive
from ws_service.net.unacknowledged import MIN_RATE, waiting
from ws_service.websocket import library as libraries
from ws_service.websocket.feeding import SLICE, Feeder
from ws_service.websocket.frame_format import CloseCode, close_frame
from ws_service.websocket.frames import FrameSplitter
from ws_service.websocket.memory import ClientMemory, CountedFrames, SocketMemory
from ws_service.websocket.sweep import Sweep

log = logging.getLogger(__name__)

READ_SIZE = 32768
"""Bytes of one read. uvloop's own 250 KB, kept for each of a thousand sockets, would be 250 MB."""

WRITE_MARK = 32768
"""Bytes that wait for a client before nothing more is read from it. Precedents: asyncio 64 KiB, nginx 32 KiB."""

MAX_EARLY = 16384
"""Bytes kept of what a client sends before its handshake is accepted."""

UNFINISHED = 60.0
"""Seconds within which a message that has begun must end, or go on at ``MIN_RATE``. Precedent: nginx
client_body_timeout 60s."""


class Resources:
    """What the connections of one process share.

    memory_limit: bytes that the sockets of one client may make the process hold, as in the settings.
    """

    def __init__(self, memory_limit: int) -> None:
        self.sweep = Sweep()
        self.feeder = Feeder()
        self.log = LimitedLog(log)
        """For whatever a client can cause."""
        self.memory = ClientMemory(memory_limit)
        self.buffer = memoryview(bytearray(READ_SIZE))
        """Whatever is read is read into it, and copied before anything else is read."""


class Connection(asyncio.BufferedProtocol):
    """A WebSocket connection, from the moment in which its handshake's head is there.

    library: a WebSocket protocol of uvicorn, which has had no transport yet.
    connections: uvicorn's own set of what to close at a stop.
    handshake: seconds for the app to answer.
    send: seconds within which a client must take some of what waits for it,
        at ``MIN_RATE`` on average. None: whoever stands in between cuts it.
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
        self._path = "?"  # of the handshake, for the log: without the query, which may hold a token
        self._connections = connections
        self._resources = resources
        self._handshake, self._send = handshake, send
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._lent: LentTransport
        libraries.prepare(library)
        self._app = library.app
        library.app = self._run
        self._memory: SocketMemory | None = None
        self._splitter = FrameSplitter()
        self._pending = b""  # read, and not fed
        self._is_accepted = False
        self._is_library_full = False
        self._is_client_slow = False
        self._is_paused = False
        self._is_lost = False
        self._has_ended = asyncio.Event()
        self._has_heard_the_end = False  # the endpoint has
        self._written = 0
        self.is_acknowledged = True
        self._fed = 0
        self._began = 0.0
        self._slow: tuple[float, int] | None = None  # since when something waits, and what was taken then
        self._unfinished: tuple[float, int, int] | None = None  # since when, and what had come then
        self._ended: tuple[float, int] | None = None  # since when the client has ended, and what was fed then
        self.status = 0
        """What the handshake was answered with; 0 before."""
        self.closed_with: int | None = None
        """The code of a close frame that this class wrote, and not the library."""
        self.has_client_ended = False
        self.was_reset = False

    # -- told by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lend the library a transport."""
        self._transport = transport = cast(asyncio.Transport, transport)
        self._began = self._loop.time()
        transport.set_write_buffer_limits(high=WRITE_MARK)
        keep_alive(transport.get_extra_info("socket"))
        self._connections.add(self)
        self._resources.sweep.add(self)
        self._resources.sweep.activate(self)
        self._lent = LentTransport(self, transport)
        self._call("connection_made", self._lent)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._resources.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._receive(bytes(self._resources.buffer[:nbytes]))

    def eof_received(self) -> bool | None:
        """Note who ended first."""
        self.has_client_ended = True
        keep = self._call("eof_received")
        return bool(keep)

    def pause_writing(self) -> None:
        """Read nothing more of a client that does not read: pings would become pongs without end."""
        self._is_client_slow = True
        self._resources.sweep.activate(self)
        self._call("pause_writing")

    def resume_writing(self) -> None:
        """Go on."""
        self._is_client_slow = False
        self._call("resume_writing")
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the library's part, whatever it makes of it."""
        self._is_lost = True
        self.was_reset = self.was_reset or exc is not None
        self._pending = b""
        self._resources.sweep.remove(self)
        if self._memory is not None:
            self._resources.feeder.leave(self._memory.account, self)
        self._connections.discard(self)
        if self.closed_with is not None:
            self._drop_unread()
        self._call("connection_lost", exc)
        self._has_ended.set()
        self._forget_traces()
        if self._memory is not None:
            self._memory.close()

    # -- told by uvicorn

    def shutdown(self) -> None:
        """Close at a stop: 1012, or a 503 where the handshake waits for its answer. Raises nothing: others wait."""
        try:
            if self._is_unanswered:
                self._answer(503, "The service stops; come back in a moment.")
            else:
                self._library.shutdown()
        except Exception as error:
            self._failed("shutdown", error)

    # -- told by the library, through its transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write for the library."""
        if self._transport.is_closing():
            return
        if not self._written:
            self._note_answer(bytes(data[:_LONGEST_ANSWER]))
        elif self.status != 101 and data[:13] == b"HTTP/1.1 101 ":
            # The older protocol accepts a handshake that it has refused because the endpoint returned.
            self._transport.close()
            return
        self._written += len(data)
        self.is_acknowledged = False
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Feed the library nothing more until it says so."""
        self._is_library_full = True

    def resume_reading(self) -> None:
        """Feed it again."""
        self._is_library_full = False
        self._go_on()

    def close(self) -> None:
        """Close for the library, after what is still on its way; but no handshake without an answer."""
        if self._is_unanswered:
            self._refuse(500, "neither the endpoint nor the WebSocket library answered this handshake")
            return
        self._transport.close()
        self._resources.sweep.activate(self)

    def abort(self) -> None:
        """Cut."""
        self._transport.abort()

    @property
    def is_reading(self) -> bool:
        """Whether the library wants to be fed."""
        return not self._is_library_full

    # -- told by the sweep

    def check(self, now: float) -> bool:
        """Act on what is late."""
        if self._is_lost:
            return False
        is_waiting = self._is_unanswered  # an answer that was begun and never comes is none
        if is_waiting and now - self._began > self._handshake:
            self._refuse(504, f"the endpoint did not answer the handshake within {self._handshake:g} s")
        is_unsent = self._check_sending(now)
        is_unfinished = self._check_unfinished(now)
        return is_waiting or is_unsent or is_unfinished or self._is_paused

    def paused_descriptor(self) -> int | None:
        """Return the descriptor while nothing is read from it."""
        if not self._is_paused or self._transport.is_closing():
            return None
        return int(self._transport.get_extra_info("socket").fileno())

    def peer_ended(self, is_reset: bool, now: float) -> None:
        """End what nobody is behind any more: at once, or when nothing is fed of what the client left."""
        if is_reset or not self._is_accepted:
            self.was_reset, self.has_client_ended = is_reset, not is_reset
            self.abort()
            return
        if self._ended is None or self._ended[1] != self._fed:
            self._ended = now, self._fed
        elif now - self._ended[0] > (UNFINISHED if self._send is None else self._send):
            self.has_client_ended = True
            self.abort()

    @property
    def wire(self) -> asyncio.Transport | None:
        """Return the transport; None when it is gone."""
        return None if self._is_lost else self._transport

    def vanish(self) -> None:
        """Cut a client that does not answer any more."""
        self.was_reset = True
        self._say("vanished", "the client does not answer any more; it is cut", level=logging.INFO)
        self.abort()

    def has_unsent(self) -> bool:
        """Tell whether something waits in this process to be taken."""
        return not self._is_lost and self._transport.get_write_buffer_size() > 0

    # -- the app

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app; note what the handshake is answered with, and what the app takes."""

        def watched(message: Any) -> Any:
            if self.status:
                return send(message)
            self.status = _ANSWERS.get(message["type"]) or message.get("status", 500)
            return self._accept(scope, send(message)) if self.status == 101 else send(message)

        async def taken() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive" and self._memory is not None:
                self._memory.taken()
            elif message["type"] == "websocket.disconnect":
                self._has_heard_the_end = True
            return message

        try:
            await self._app(scope, taken, watched)
            if self.status not in (0, 101) and self._transport.is_closing():
                # uvicorn's sans-I/O protocol takes whoever returns earlier for one that has not answered, and says so.
                await self._has_ended.wait()
        except Exception as error:
            if not ((self._is_gone or self._has_heard_the_end) and is_about_the_end(error)):
                raise
            self._say(
                "parting",
                "the endpoint went on when its client had gone (%s)",
                type(error).__name__,
                level=logging.INFO,
            )
        finally:
            self.status = self.status or 500

    async def _accept(self, scope: Any, sending: Any) -> None:
        """Accept, then read what was held, as if the client had waited for the 101."""
        await sending
        completed = getattr(self._library, "handshake_completed_event", None)
        if completed is not None:  # the older implementation answers in a task of its own
            await completed.wait()
        if self._is_lost or self._transport.is_closing():
            return
        early, self._pending = self._pending, b""
        if self._memory is None:
            client = scope.get("client")
            self.count_for(client[0] if client else "unix")
        else:
            self._memory.add(-len(early))
        assert self._memory is not None
        extensions: list[Extension] = getattr(self._library, "conn", self._library).extensions
        extensions[:] = [CountedFrames(list(extensions), self._memory)]
        self._is_accepted = True
        self._resume()
        if early:
            self._receive(early)

    def count_for(self, address: str) -> None:
        """Say which client's memory it takes. Once."""
        self._memory = SocketMemory(self._resources.memory.account(address), self._watch, self._holds_too_much)

    # -- feeding

    def feed_head(self, head: bytes) -> None:
        """Give the library the head of the handshake. What the library makes of it, the client gets an answer."""
        target = head.partition(b" ")[2].partition(b" ")[0]
        self._path = target.partition(b"?")[0].decode("latin-1")
        why = libraries.why_too_large(head)
        if why is not None:
            self._refuse(431, why)
            return
        try:
            libraries.feed_head(self._library, head)
        except Exception as error:
            self._refuse(400, f"the WebSocket library failed to read this handshake ({type(error).__name__}: {error})")
            return
        if libraries.has_refused(self._library) and not self._transport.is_closing():
            self._refuse(400, "the WebSocket library cannot read this handshake")

    def keep(self, data: bytes) -> None:
        """Keep what comes before the handshake is accepted.

        Of a handshake that is refused it is nothing that a WebSocket library
        should read: a request that is pipelined behind would be a broken
        frame, and spoil the answer.
        """
        self._pending += data
        if self._memory is not None and not self._memory.add(len(data)):
            self._pending = b""
            self._say_too_much("answered with 429")
            self._answer(429, "This client holds too much in messages that are not finished or not read.")
        elif len(self._pending) > MAX_EARLY:
            self._pause()

    def _receive(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        memory = self._memory
        if not self._is_accepted:
            self.keep(data)
            return
        assert memory is not None
        if not memory.add(len(data)):
            self._holds_too_much()
        elif self._pending or not self._may_feed or self._resources.feeder.left <= 0 or memory.account.delay() > 0:
            self._pending += data
            self._pause()
            self._go_on()
        elif self._splitter.is_one(data):
            self._resources.feeder.spend(1)
            self._give(data)
        else:
            self._pending = data
            self._resources.feeder.spend(self.feed())

    def feed(self) -> int:
        """Feed a slice of what waits, if it may be fed; return what it counts. Told by the feeder."""
        data, left = self._pending, SLICE
        if data and self._may_feed:
            end, left = self._splitter.split(data, SLICE)
            self._pending = data[end:]
            self._give(data[:end])
        if self._transport.is_closing():
            self._pending = b""
        elif self._pending:
            self._pause()
            self._go_on()
        else:
            self._resume()
        if not self._splitter.at_boundary:
            self._watch()
        return max(1, SLICE - left)

    def _give(self, data: bytes) -> None:
        self._fed += len(data)
        try:
            self._library.data_received(data)
        except Exception as error:
            self._failed("data_received", error)
        memory = self._memory
        if memory is not None and memory.is_too_much:
            memory.is_too_much = False
            self._say_too_much()
            self._forget_traces()

    def _drop_unread(self) -> None:
        """Empty the library's own buffers of a client that held too much: one would be copied into an exception."""
        fragments = getattr(self._library, "frames", None)
        if isinstance(fragments, list):
            fragments.clear()
        reader = getattr(getattr(self._library, "conn", self._library), "reader", None)
        buffer = getattr(reader, "buffer", None) or getattr(reader, "_buffer", None)
        if isinstance(buffer, bytearray):
            buffer.clear()

    def _forget_traces(self) -> None:
        """Let go of the frames of a parser that failed: the library keeps its exception, which keeps the message."""
        holder = getattr(self._library, "conn", self._library)
        for name in ("parser_exc", "transfer_data_exc"):
            error = getattr(holder, name, None)
            if isinstance(error, BaseException):
                error.__traceback__ = None

    @property
    def _may_feed(self) -> bool:
        return not (self._is_library_full or self._is_client_slow or self._transport.is_closing())

    @property
    def _is_unanswered(self) -> bool:
        return not self._written and not self._is_gone

    @property
    def _is_gone(self) -> bool:
        return self._is_lost or self._transport.is_closing()

    def _go_on(self) -> None:
        """Have the feeder feed when it is our turn, if there is anything to feed. Safe to call while we wait for it."""
        if self._pending and self._is_accepted and self._may_feed:
            assert self._memory is not None
            self._resources.feeder.enter(self._memory.account, self)

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
            self._watch()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _watch(self) -> None:
        self._resources.sweep.activate(self)

    # -- what is too much, or too late

    def _check_sending(self, now: float) -> bool:
        left = waiting(self._transport)
        if left is None:
            self._slow = None
            return False
        taken = self._written - left
        if self._slow is None:
            self._slow = now, taken
        elif self._send is not None and now - self._slow[0] >= self._send:
            since, before = self._slow
            if taken - before < MIN_RATE * (now - since):
                self._say(
                    "slow",
                    "the client took %d bytes in %g s; it is cut",
                    taken - before,
                    now - since,
                    level=logging.INFO,
                )
                self.abort()
            self._slow = now, taken
        return True

    def _check_unfinished(self, now: float) -> bool:
        memory = self._memory
        if memory is None or self._transport.is_closing() or not self._is_accepted:
            return False
        if self._splitter.at_boundary and not memory.is_unfinished:
            self._unfinished = None
            return False
        finished = memory.finished
        if self._unfinished is None or self._unfinished[2] != finished or self._pending or not self._may_feed:
            self._unfinished = now, self._fed, finished
        elif now - self._unfinished[0] >= UNFINISHED:
            since, before, _ = self._unfinished
            if self._fed - before < MIN_RATE * (now - since):
                self._say(
                    "unfinished",
                    "the client began a message and did not finish it; closed with 1008",
                    level=logging.INFO,
                )
                self._close(CloseCode.POLICY_VIOLATION, "unfinished message")
            self._unfinished = now, self._fed, finished
        return True

    def _holds_too_much(self) -> None:
        self._pending = b""
        self._say_too_much()
        self._drop_unread()  # now: what is closed ends a turn later, and a turn may read megabytes
        if self._transport.get_write_buffer_size():  # a close would wait for the client, and hold on
            self.closed_with = CloseCode.MESSAGE_TOO_BIG
            self.abort()
        else:
            self._close(CloseCode.MESSAGE_TOO_BIG, "too much held for this client")

    def _say_too_much(self, end: str = "closed with 1009") -> None:
        assert self._memory is not None
        account = self._memory.account
        self._say(
            end,
            "client %s would hold more than %d KiB in unfinished and unread messages on %d sockets; this socket, "
            "with %d KiB, is %s. ws_service.memory_per_client sets it",
            account.client,
            account.limit >> 10,
            len(account.sockets),
            self._memory.held >> 10,
            end,
        )

    def _say(self, kind: str, sentence: str, *arguments: object, level: int = logging.WARNING) -> None:
        """Write a line about this socket, unless one of its kind was written lately: a client may have thousands."""
        self._resources.log.say(kind, level, f"%s: {sentence}", self._path, *arguments)

    def _close(self, code: int, reason: str) -> None:
        """Close on our own account. Both libraries write whole frames, so a frame of ours fits behind them."""
        self.closed_with = code
        self.write(close_frame(code, reason, masked=False))
        self.close()

    def _note_answer(self, answer: bytes) -> None:
        """Note an answer that the library gives for itself: the endpoint's, or one of this class, is noted before."""
        found = _STATUS.match(answer)
        if found is None or self.status == int(found[1]):
            return
        self.status = int(found[1])
        body = answer.partition(b"\r\n\r\n")[2].decode("latin-1").strip()
        self._say_refused(self.status, body or "the WebSocket library refused it")

    def _refuse(self, status: int, why: str) -> None:
        """Answer a handshake with an error, and say so in the log."""
        self._say_refused(status, why)
        self._answer(status, f"{why[0].upper()}{why[1:]}.")

    def _say_refused(self, status: int, why: str) -> None:
        self._say(str(status), "answered the handshake with %d: %s", status, why)

    def _answer(self, status: int, message: str) -> None:
        """Answer a handshake that the app, or the library, does not answer, and close."""
        if self._written:  # in the middle of an answer
            self.status = self.status or status
            self.abort()
            return
        self.status = status
        message = escaped(shortened(message, _LONGEST_ANSWER))
        body = json.dumps({"error": HTTPStatus(status).phrase.lower(), "message": message}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self.write(head.encode() + body)
        self.close()

    def _call(self, method: str, *arguments: Any) -> Any:
        """Call the library. Whatever it raises ends this connection alone, with one line."""
        try:
            return getattr(self._library, method)(*arguments)
        except Exception as error:
            self._failed(method, error)
            return None

    def _failed(self, method: str, error: Exception) -> None:
        self._say(
            "failed",
            "the WebSocket library failed in %s (%s: %s); this socket is cut, others are not touched",
            method,
            type(error).__name__,
            error,
            level=logging.ERROR,
        )
        if self._written or self._is_gone:
            self._transport.abort()
        else:
            self._answer(500, "The WebSocket library failed.")


class LentTransport(asyncio.Transport):
    """What the library writes to, closes and pauses: the client's transport, as far as its connection lets it."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection
        self._transport = transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the client's transport knows."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Tell whether the client's connection is closed, or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close behind what is still on its way."""
        self._connection.close()

    def abort(self) -> None:
        """Cut."""
        self._connection.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Refuse: the socket belongs to its connection. Raises RuntimeError."""
        raise RuntimeError("the socket belongs to its connection")

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the connection."""
        return self._connection

    def is_reading(self) -> bool:
        """Tell whether the library wants to be fed."""
        return self._connection.is_reading

    def pause_reading(self) -> None:
        """Feed the library nothing more."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Feed it again."""
        self._connection.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set marks in bytes, but none above ``WRITE_MARK``."""
        high = WRITE_MARK if high is None else min(high, WRITE_MARK)
        self._transport.set_write_buffer_limits(high=high, low=None if low is None else min(low, high))

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the marks in bytes, low and high."""
        return self._transport.get_write_buffer_limits()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, and count."""
        self._connection.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write all."""
        self._connection.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """End this direction."""
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        """Tell whether one direction can end alone."""
        return self._transport.can_write_eof()


_ANSWERS = {"websocket.accept": 101, "websocket.close": 403}


_LONGEST_ANSWER = 1024
"""Characters of why a handshake is refused, for its client and for the log."""

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")

_LIBRARIES = ("starlette", "uvicorn", "websockets")


def is_about_the_end(error: BaseException) -> bool:
    """Tell whether an exception says no more than that the client has gone: raised by a library, not by the app."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_about_the_end, error.exceptions))
    if type(error).__name__ in ("WebSocketDisconnect", "ClientDisconnect", "ClientDisconnected", "ConnectionClosedOK"):
        return True
    if not isinstance(error, RuntimeError):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] in _LIBRARIES
