"""The transport that a connection lends to the WebSocket library: the client's, as far as the connection lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

WRITE_MARK = 32768
"""Bytes that wait for a client before nothing more is read from it. Precedents: asyncio 64 KiB, nginx 32 KiB."""


class Lender(Protocol):
    """The connection that owns the client's socket, as far as the library may use it."""

    @property
    def is_reading(self) -> bool:
        """Whether the library takes more."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write to the client."""

    def close(self) -> None:
        """Close after what is still on its way."""

    def abort(self) -> None:
        """Cut."""

    def pause_reading(self) -> None:
        """Give the library nothing more until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Give it more."""


class LentTransport(asyncio.Transport):
    """What the library writes to, closes and pauses. connection: an asyncio protocol that is a ``Lender`` too."""

    def __init__(self, connection: Lender, transport: asyncio.Transport) -> None:
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
        """Close after what is still on its way."""
        self._connection.close()

    def abort(self) -> None:
        """Cut."""
        self._connection.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Refuse: the socket belongs to its connection. Raises RuntimeError."""
        raise RuntimeError("the socket belongs to its connection")

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the connection."""
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        """Tell whether the library takes more."""
        return self._connection.is_reading

    def pause_reading(self) -> None:
        """Give the library nothing more."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Give it more."""
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
