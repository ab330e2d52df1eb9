"""A fuzzed client: it sends what it is told, and believes no answer that is not to its own question."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

from tests.fuzz.judge import Judge, Sent
from tests.wire.reading import origin_form

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [^\r\n]*\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n")
_OURS = frozenset((400, 413, 414, 426, 431, 501, 505))
"""What the gateway answers to what it refuses. 426 is also an origin's, to a handshake."""

TIMEOUT = 10.0
"""Seconds until a connection counts as hung."""


class FuzzClient(asyncio.Protocol):
    """One connection. ``on_end`` is called once, when nothing more is expected of it."""

    transport: asyncio.Transport

    def __init__(self, judge: Judge, sent: Sent, on_end: Callable[[FuzzClient], None], *, hands_off: bool) -> None:
        self._judge = judge
        self._sent = sent
        self._on_end = on_end
        self._hands_off = hands_off
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._answered = 0
        self._is_refused = False
        self._tunnel: int | None = None
        self._ended = False
        self._pieces = iter(sent.play.pieces)
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's do not derive from asyncio's
        self._deadline = self._loop.call_later(TIMEOUT, self._hang)
        self._send_next()

    def _send_next(self) -> None:
        if self._ended or self.transport.is_closing():
            return
        piece = next(self._pieces, None)
        if piece is not None:
            self.transport.write(piece)
            self._loop.call_soon(self._send_next)
        elif self._sent.play.end == "reset":
            self._leave(abort=True)
        elif self._sent.play.end == "half":
            self.transport.write_eof()
        else:
            self._is_all_sent = True
            self._leave_if_done()

    _is_all_sent = False

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._unread += data
        while not self._is_refused and self._tunnel is None and self._read_answer():
            pass
        if self._tunnel is not None:
            self._check_echo()
        self._leave_if_done()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ended:
            return
        may_end = (
            self._is_refused
            or self._tunnel is not None
            or self._sent.play.end != "wait"
            or self._answered >= len(self._sent.readings)
            or (self._answered > 0 and self._was_last(self._answered - 1))
            or exc is not None  # refused in the middle of what it sent: the answer may be lost in the reset
        )
        if not may_end:
            self._judge.fail("the gateway closed a connection and said nothing", self._sent, (self._answered, exc))
        self._end()

    # -- inside

    def _was_last(self, index: int) -> bool:
        reading = self._sent.readings[index]
        return reading.is_last or (self._hands_off and reading.is_handshake)

    def _read_answer(self) -> bool:
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._unread[: end + 4]
        line = _STATUS.match(head)
        if line is None:
            self._judge.fail("an answer that is none", self._sent, head)
            self._leave(abort=True)
            return False
        status = int(line[1])
        if status == 100:
            self._unread = self._unread[end + 4 :]
            return True
        good = self._answered < self._sent.good
        reading = self._sent.readings[self._answered] if good else None
        if status == 101:
            if reading is None or not reading.is_handshake:
                self._judge.fail("a 101 that nobody asked for", self._sent, head)
            self._unread = self._unread[end + 4 :]
            self._tunnel = self._sent.ends[self._answered]
            self._answered += 1
            self.answers += 1
            return False
        if status in _OURS and b"\r\nConnection: close\r\n" in head:
            if reading is not None:
                self._judge.fail("what everybody reads in one way is refused", self._sent, head)
            self.answers += 1
            self._is_refused = True  # the end follows, and nobody cares for the words before it
            return False
        length = _LENGTH.search(head)
        size = 0 if length is None or (reading is not None and reading.method == b"HEAD") else int(length[1])
        if len(self._unread) < end + 4 + size:
            return False
        body = self._unread[end + 4 : end + 4 + size]
        self._unread = self._unread[end + 4 + size :]
        self.answers += 1
        self._check(status, head, body)
        self._answered += 1
        return True

    def _check(self, status: int, head: bytes, body: bytes) -> None:
        reading = self._sent.readings[self._answered] if self._answered < self._sent.good else None
        if status == 200 and reading is not None:
            line = f"{reading.method.decode()} {origin_form(reading).decode()}"
            if (
                reading.method != b"HEAD"
                and (said := json.loads(body))
                and (said["line"] != line or said["client"] != self._sent.address)
            ):
                self._judge.fail("an answer to another question", self._sent, head + body)
        elif reading is not None and reading.is_handshake and body.startswith(b"refused /refuse/"):
            if body != b"refused " + origin_form(reading):
                self._judge.fail("a refusal of another handshake", self._sent, head + body)
        else:
            self._judge.fail("an answer that nobody expected", self._sent, head + body)

    def _check_echo(self) -> None:
        assert self._tunnel is not None
        if not self._sent.play.data[self._tunnel :].startswith(self._unread):
            self._judge.fail("a tunnel's echo is not what was sent into it", self._sent, self._unread)
            self._leave(abort=True)

    def _leave_if_done(self) -> None:
        """Leave when every answer is here that can be; where the gateway must close, wait for it."""
        if self._ended or not self._is_all_sent or self._is_refused:
            return
        if self._tunnel is not None:
            if self._tunnel + len(self._unread) >= len(self._sent.play.data):
                self._leave()
            return
        readings, good = self._sent.readings, self._sent.good
        if self._answered < good or (good and self._was_last(good - 1)):
            return
        # A head with a fault may be refused at its end only; without one, there is nothing to wait for.
        last = readings[-1] if good < len(readings) else None
        if last is None or not last.faults or b"\r\n\r\n" not in last.raw.lstrip(b"\r\n"):  # empty lines begin no head
            self._leave()

    def _leave(self, *, abort: bool = False) -> None:
        if abort:
            self.transport.abort()
        else:
            self.transport.close()
        self._end()

    def _hang(self) -> None:
        self._judge.fail("a connection hangs", self._sent, (self._answered, self._sent.readings, self._unread))
        self._leave(abort=True)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._deadline.cancel()
            self._on_end(self)
