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

All big-endian. ``docs/handoff.md`` draws the messages. The gateway imports this module too, so it is the standard
library alone, and touches no socket.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

VERSION = 2

MAX_HEAD = 65536
"""Bytes of a request's head and leftover that travel with a socket; more goes through the tunnel. Precedents for a
head: nginx 8 KiB (32 KiB with large buffers), Node 16 KiB, uvicorn 64 KiB."""

MAX_MESSAGE = 131072
"""Bytes of any message. The kernel's own limit is the send buffer, 208 KiB by default."""

MAX_WORKERS = 64
"""Processes of one service, each with a socket file of its own; during a rolling restart each has two."""

_UNKNOWN = (1 << 64) - 1
_LATEST = 1e11
"""Seconds since 1970 of about the year 5138: a later time is a mistake, and dates break before it becomes one."""


def socket_path(path: Path, number: int) -> Path:
    """Return where worker ``number`` of a service is found: the first at ``path`` itself, then ``path.1`` and so on."""
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


class WireError(Exception):
    """These bytes are no message, or this message cannot be made bytes; says why in a few words."""


class Ending(Enum):
    """How an adopted socket ended: which side began to close, or a reset."""

    CLIENT = 1
    SERVICE = 2
    RESET = 3


class _Codec(NamedTuple):
    """How one field is written, and read again.

    read: takes a message and where the field begins in it; returns the value and where the field ends. Where the
    message is too short for that, it raises ``IndexError`` or ``struct.error``, or returns an end outside of it.
    """

    write: Callable[[Any], bytes]
    read: Callable[[bytes, int], tuple[Any, int]]


_CODE, _LENGTH, _NUMBER, _SECONDS = (struct.Struct(layout) for layout in (">H", ">I", ">Q", ">d"))


def _of(layout: struct.Struct) -> _Codec:
    """Return the codec of a number of a fixed size."""

    def read(data: bytes, at: int) -> tuple[Any, int]:
        return layout.unpack_from(data, at)[0], at + layout.size

    return _Codec(layout.pack, read)


def _write_text(value: str) -> bytes:
    data = value.encode()
    if len(data) > 0xFFFF:
        raise WireError("a field is longer than 64 KiB")
    return _CODE.pack(len(data)) + data


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + (data[at] << 8 | data[at + 1])
    return data[at + 2 : end].decode(), end


def _write_octets(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _read_octets(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + _LENGTH.unpack_from(data, at)[0]
    return data[at + 4 : end], end


def _read_seconds(data: bytes, at: int) -> tuple[float, int]:
    value: float = _SECONDS.unpack_from(data, at)[0]
    if not (math.isfinite(value) and 0 <= value < _LATEST):
        raise WireError("a time is none")
    return value, at + 8


def _read_count(data: bytes, at: int) -> tuple[int | None, int]:
    value: int = _NUMBER.unpack_from(data, at)[0]
    return None if value == _UNKNOWN else value, at + 8


def _read_close_code(data: bytes, at: int) -> tuple[int | None, int]:
    return _CODE.unpack_from(data, at)[0] or None, at + 2


def _read_flag(data: bytes, at: int) -> tuple[bool, int]:
    if data[at] > 1:
        raise WireError("a flag is neither 0 nor 1")
    return data[at] == 1, at + 1


def _read_ending(data: bytes, at: int) -> tuple[Ending, int]:
    ending = _ENDINGS.get(data[at])
    if ending is None:
        raise WireError("an ending is none that is known")
    return ending, at + 1


_ENDINGS = {ending.value: ending for ending in Ending}

TEXT = _Codec(_write_text, _read_text)
OCTETS = _Codec(_write_octets, _read_octets)
NUMBER = _of(_NUMBER)
COUNT = _Codec(lambda value: _NUMBER.pack(_UNKNOWN if value is None else value), _read_count)
SECONDS = _Codec(_SECONDS.pack, _read_seconds)
CODE = _of(_CODE)
CLOSE_CODE = _Codec(lambda value: _CODE.pack(value or 0), _read_close_code)
FLAG = _Codec(lambda value: bytes((value,)), _read_flag)
ENDING = _Codec(lambda value: bytes((value.value,)), _read_ending)


@dataclass(frozen=True, slots=True)
class Socket:
    """What the gateway's log and limits must know of a socket, kept by the service: the gateway keeps numbers alone.

    id: of the exchange. client: its address as the gateway decided it.
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
    return b"".join([codec.write(getattr(value, name)) for name, codec in _fields(value.__class__)])


def _read_fields(kind: type[Any], data: bytes, at: int) -> tuple[Any, int]:
    values = []
    for codec in kind.layout:
        value, at = codec.read(data, at)
        values.append(value)
    return kind(*values), at


@cache
def _fields(kind: type[Any]) -> tuple[tuple[str, _Codec], ...]:
    """Return the names of a message's fields, with their codecs, in order."""
    return tuple(zip((field.name for field in fields(kind)), kind.layout, strict=True))


SOCKET = _Codec(_write_fields, lambda data, at: _read_fields(Socket, data, at))


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
    that were read after it. handshake: seconds for the app to answer. send:
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
    received, sent: bytes from and to the client after the handshake, its
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
    try:
        if data[0] != VERSION:
            raise WireError(f"it is in version {data[0]} of the protocol, and this is version {VERSION}")
        if data[1] not in KINDS:
            raise WireError(f"there is no kind {data[1]}")
        message, end = _read_fields(KINDS[data[1]], data, 2)
    except UnicodeDecodeError:
        raise WireError("a text is not UTF-8") from None
    except (IndexError, struct.error):
        raise WireError("it ends too early") from None
    if end > len(data):
        raise WireError("it ends too early")
    if end < len(data):
        raise WireError("something follows its end")
    decoded: Message = message
    return decoded
