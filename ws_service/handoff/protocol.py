"""The messages between the gateway and the service that adopts its sockets: bytes in, a message out, and back.

Each is one datagram of a SOCK_SEQPACKET connection, so there is no framing::

    +---------+------+---------------------------+
    | version | kind | fields, in order          |
    | 1 byte  | 1    |                           |
    +---------+------+---------------------------+

    text     2 bytes length, UTF-8
    octets   4 bytes length, bytes
    number   8 bytes, unsigned
    seconds  8 bytes, IEEE 754 double
    code     2 bytes, unsigned
    flag     1 byte

All big-endian. ``docs/handoff.md`` draws the conversation; this room knows
its letters. It is the one module of the service that the gateway imports
beside the reader of the configuration, so it is the standard library alone,
and it touches no socket.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, ClassVar

VERSION = 2

MAX_HEAD = 65536
"""Bytes of a request's head and leftover that travel with a socket; more goes through the tunnel. Precedents for a
head: nginx 8 KiB (32 KiB with large buffers), Node 16 KiB, uvicorn 64 KiB."""

MAX_MESSAGE = 131072
"""Bytes of any message. The kernel's own limit is the send buffer, 208 KiB where nobody has changed it."""

_UNKNOWN = (1 << 64) - 1
_LATEST = 1e11
"""Seconds since 1970 of about the year 5138: a time behind it is a fault, and dates break before it becomes one."""


class WireError(Exception):
    """These bytes are no message, or this message cannot be made bytes; says why in a few words."""


class Ending(Enum):
    """How an adopted socket ended: who said so first, or a reset."""

    CLIENT = 1
    SERVICE = 2
    RESET = 3


class _Bytes:
    """What is left to read of a message."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._position : self._position + size]
        if len(piece) < size:
            raise WireError("it ends too early")
        self._position += size
        return piece

    def unpack(self, layout: struct.Struct) -> Any:
        return layout.unpack(self.take(layout.size))[0]

    @property
    def is_empty(self) -> bool:
        return self._position == len(self._data)


_CODE, _LENGTH, _NUMBER, _SECONDS = (struct.Struct(layout) for layout in (">H", ">I", ">Q", ">d"))


@dataclass(frozen=True, slots=True)
class _Codec:
    """How one field is written, and read again."""

    write: Callable[[Any], bytes]
    read: Callable[[_Bytes], Any]


def _write_text(value: str) -> bytes:
    data = value.encode()
    if len(data) > 0xFFFF:
        raise WireError("a field is longer than 64 KiB")
    return _CODE.pack(len(data)) + data


def _read_text(data: _Bytes) -> str:
    try:
        return data.take(data.unpack(_CODE)).decode()
    except UnicodeDecodeError:
        raise WireError("a text is not UTF-8") from None


def _write_octets(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _read_octets(data: _Bytes) -> bytes:
    return data.take(data.unpack(_LENGTH))


def _read_seconds(data: _Bytes) -> float:
    value: float = data.unpack(_SECONDS)
    if not (math.isfinite(value) and 0 <= value < _LATEST):
        raise WireError("a time is none")
    return value


def _read_known(data: _Bytes) -> int | None:
    value: int = data.unpack(_NUMBER)
    return None if value == _UNKNOWN else value


def _read_flag(data: _Bytes) -> bool:
    value = data.take(1)[0]
    if value > 1:
        raise WireError("a flag is neither 0 nor 1")
    return bool(value)


def _read_ending(data: _Bytes) -> Ending:
    try:
        return Ending(data.take(1)[0])
    except ValueError:
        raise WireError("an ending is none that is known") from None


TEXT = _Codec(_write_text, _read_text)
OCTETS = _Codec(_write_octets, _read_octets)
NUMBER = _Codec(_NUMBER.pack, lambda data: data.unpack(_NUMBER))
COUNT = _Codec(lambda value: _NUMBER.pack(_UNKNOWN if value is None else value), _read_known)
SECONDS = _Codec(_SECONDS.pack, _read_seconds)
CODE = _Codec(_CODE.pack, lambda data: data.unpack(_CODE))
CLOSE_CODE = _Codec(lambda value: _CODE.pack(value or 0), lambda data: data.unpack(_CODE) or None)
FLAG = _Codec(lambda value: bytes((value,)), _read_flag)
ENDING = _Codec(lambda value: bytes((value.value,)), _read_ending)


@dataclass(frozen=True, slots=True)
class Socket:
    """What the gateway's log and limits must know of a socket, kept by the service: the gateway keeps numbers alone.

    id: the exchange's. client: its address as the gateway decided it.
    target, host: of the handshake. route: the rule that sent it here.
    opened: seconds of the wall clock at which the socket was handed over.
    """

    layout: ClassVar = (TEXT, TEXT, TEXT, TEXT, TEXT, SECONDS)

    id: str
    client: str
    target: str
    host: str
    route: str
    opened: float


def _write_fields(value: Any) -> bytes:
    return b"".join(
        codec.write(getattr(value, field.name)) for field, codec in zip(fields(value), value.layout, strict=True)
    )


def _read_fields(kind: type[Any], data: _Bytes) -> Any:
    return kind(*[codec.read(data) for codec in kind.layout])


SOCKET = _Codec(_write_fields, lambda data: _read_fields(Socket, data))


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of either side.

    live: from the service, how many ``Live`` follow; from the gateway 0.
    """

    layout: ClassVar = (NUMBER,)

    live: int = 0


@dataclass(frozen=True, slots=True)
class Live:
    """A socket that was adopted before, whose end will be reported to you from now on. Service to gateway."""

    layout: ClassVar = (SOCKET,)

    socket: Socket


@dataclass(frozen=True, slots=True)
class Open:
    """Adopt the socket that comes with this message. Gateway to service.

    is_secure: the client's scheme is https as far as the gateway knows.
    head: the handshake, as an upstream would get it. leftover: the bytes
    that were read behind it. handshake: seconds for the app to answer. send:
    seconds within which the client must take some of what waits for it.
    """

    layout: ClassVar = (SOCKET, FLAG, OCTETS, OCTETS, SECONDS, SECONDS)

    socket: Socket
    is_secure: bool
    head: bytes
    leftover: bytes
    handshake: float
    send: float


@dataclass(frozen=True, slots=True)
class Adopted:
    """The socket is the service's: close your copy. Service to gateway."""

    layout: ClassVar = (TEXT,)

    id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The socket is not adopted, and nothing was read from it or written to it. Service to gateway."""

    layout: ClassVar = (TEXT, TEXT)

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An adopted socket has ended. Service to gateway.

    duration: seconds since it was adopted.
    status: what the handshake was answered with; 499 when the client left before, 500 when the app did not answer.
    received, sent: bytes from and to the client behind the handshake, its
        answer included; None where the system does not tell.
    close_code: of the close frame that began the end; None where there was none.
    """

    layout: ClassVar = (SOCKET, SECONDS, CODE, COUNT, COUNT, CLOSE_CODE, ENDING)

    socket: Socket
    duration: float
    status: int
    received: int | None
    sent: int | None
    close_code: int | None
    ending: Ending


@dataclass(frozen=True, slots=True)
class Closing:
    """The service stops and adopts no more; ends are still reported. Service to gateway."""

    layout: ClassVar = ()


Message = Hello | Live | Open | Adopted | Refused | Ended | Closing

KINDS: dict[int, type[Message]] = {1: Hello, 2: Live, 3: Open, 4: Adopted, 5: Refused, 6: Ended, 7: Closing}
"""The number of each kind of message."""

_NUMBERS = {kind: number for number, kind in KINDS.items()}


def encode(message: Message) -> bytes:
    """Return the bytes of a message. Raises WireError when it is too large to be sent."""
    data = bytes((VERSION, _NUMBERS[type(message)])) + _write_fields(message)
    if len(data) > MAX_MESSAGE:
        raise WireError(f"a message of {len(data)} bytes is too large")
    return data


def decode(data: bytes) -> Message:
    """Return the message of these bytes. Raises WireError for anything else, whatever it is."""
    if len(data) > MAX_MESSAGE:
        raise WireError("it is too large")
    left = _Bytes(data)
    version = left.take(1)[0]
    if version != VERSION:
        raise WireError(f"it is in version {version} of the protocol, and this is version {VERSION}")
    number = left.take(1)[0]
    if number not in KINDS:
        raise WireError(f"there is no kind {number}")
    message: Message = _read_fields(KINDS[number], left)
    if not left.is_empty:
        raise WireError("something follows its end")
    return message
