"""What a client of the hub sends on its WebSocket: frames in, messages out, by the library ``websockets`` (sans-I/O).

Text alone, without extensions: what a client sends never inflates.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from websockets.exceptions import InvalidState
from websockets.frames import CTRL_OPCODES, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

SUBPROTOCOL = Subprotocol("centrifuge-json")
"""What clients may name the protocol; most name none. Precedent: Centrifugo."""

_log = logging.getLogger(__name__)
_log.setLevel(logging.ERROR)  # the library writes a line for each connection


class Answer(NamedTuple):
    """The answer to a handshake. status: 101 for a WebSocket. response: whole, as it is written. why: of a refusal."""

    status: int
    response: bytes
    why: str
    request: Request | None


_NO_PROTOCOL = re.compile(rb"\r\nsec-websocket-protocol:[ \t]*(?=\r\n)", re.IGNORECASE)
"""A client that offers none says so in this way (centrifuge-python before 0.7); the library would answer with 400."""


def answer_handshake(head: bytes) -> Answer | None:
    """Answer the head of a handshake. None where it is no HTTP."""
    protocol = ServerProtocol(select_subprotocol=_chosen, logger=_log)
    protocol.receive_data(_NO_PROTOCOL.sub(b"", head))
    request = next((event for event in protocol.events_received() if isinstance(event, Request)), None)
    response: Response | None = None
    if request is not None:
        response = protocol.accept(request)
        protocol.send_response(response)
    written = b"".join(protocol.data_to_send())
    if not written:
        return None
    status = response.status_code if response is not None else int(written[9:12])
    body = (response.body or b"") if response is not None else written.partition(b"\r\n\r\n")[2]
    return Answer(status, written, bytes(body).decode("utf-8", "replace").strip(), request)


def _chosen(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


class IncomingOwner(Protocol):
    """The connection, as far as what its client sends is concerned."""

    def take(self, message: bytes) -> None:
        """Take a message."""

    def write(self, data: bytes) -> None:
        """Write to the client."""

    def finish(self) -> None:
        """Close the connection, after what is still on its way."""


class Incoming:
    """Reads the frames of one client.

    most: bytes of a message; 1009 above it.
    """

    __slots__ = ("_owner", "conn", "frames")

    def __init__(self, owner: IncomingOwner, most: int) -> None:
        self._owner = owner
        self.conn = ServerProtocol(state=State.OPEN, max_size=most, logger=_log)
        """The library's part; its name is one that ``websocket.library`` knows."""
        self.frames: list[bytes] = []
        """The message under way."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client; give the owner messages, and what has to be written, such as pongs."""
        conn = self.conn
        if conn.reader.eof:
            return
        conn.receive_data(data)
        for frame in conn.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode not in CTRL_OPCODES and not self._take(frame):
                break
        self._flush()

    def close(self, code: int, reason: str) -> bool:
        """Write a close frame; the owner finishes when the client has answered. False: one was written before."""
        try:
            self.conn.send_close(code, reason)
        except InvalidState:
            return False
        self._flush()
        return True

    # -- inside

    def _take(self, frame: Frame) -> bool:
        """Take a frame of data. Returns whether those that follow it mean anything (RFC 6455, section 7.1.7)."""
        if frame.opcode is Opcode.BINARY:
            return self._fail(CloseCode.UNSUPPORTED_DATA, "text only")
        self.frames.append(bytes(frame.data))
        if not frame.fin:
            return True
        message = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames.clear()
        try:
            message.decode()  # RFC 6455, section 8.1
        except UnicodeDecodeError:
            return self._fail(CloseCode.INVALID_DATA, "not UTF-8")
        self._owner.take(message)
        return True

    def _fail(self, code: CloseCode, reason: str) -> bool:
        self.frames.clear()
        self.conn.fail(code, reason)
        return False

    def _flush(self) -> None:
        for data in self.conn.data_to_send():
            if data:
                self._owner.write(data)
            else:
                self._owner.finish()
