"""uvicorn's two WebSocket protocols on the library ``websockets``: what is made ready in them before they are used.

uvicorn chooses one of them: the older one up to 0.4x, the sans-I/O one today. What differs between the two, or must be
other than uvicorn has it, is in this module.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import uvicorn
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

MAX_HEAD = 1 << 20
"""Bytes of a handshake's head, or of a request's that is not complete; 431 above it. What the gateway passes on is
smaller by default (``gateway.limits``: 16 KiB and 64 KiB), and what it adds. Precedents: Go 1 MiB, uvicorn none."""

MAX_FIELDS = 4096
"""Fields of a handshake; 431 above it. Precedents: the gateway 128 by default, Apache 100, Go none."""

MAX_OFFERS = 1000
"""Elements of the lists that the library takes apart: extensions, their parameters, subprotocols; 431 above it. 64 KiB
of them take 30 ms of the loop, and of any other field less than 1. Browsers send two or three."""

_LISTS = (b"sec-websocket-", b"connection:")


def library_class(config: uvicorn.Config) -> type[Any]:
    """Return uvicorn's WebSocket protocol of a configuration, also where that names a class around it."""
    protocol: Any = config.ws_protocol_class
    assert protocol is not None, "uvicorn[standard] brings a WebSocket library"
    around = getattr(protocol, "library", None)
    kind: type[Any] = protocol if around is None else around()
    return kind


def lent_state(server_state: Any) -> Any:
    """Return a state for the library with a set of connections of its own: at a stop uvicorn asks ours, and ours it."""
    state = uvicorn.server.ServerState()
    state.tasks = server_state.tasks
    state.default_headers = server_state.default_headers
    return state


def prepare(library: Any) -> None:
    """Make a protocol ready that has had no transport yet."""
    if isinstance(getattr(library, "available_extensions", None), list) and library.available_extensions:
        library.available_extensions[:] = [_small_deflate()]
    if isinstance(getattr(library, "reader", None), asyncio.StreamReader):
        library.reader = _HeadReader(limit=library.read_limit // 2, loop=library.loop)
    if hasattr(library, "open_timeout"):
        library.open_timeout = None  # 10 s, after which it would close without an answer; the deadline is ours


def read_head(library: Any, head: bytes) -> tuple[int, str] | None:
    """Give a protocol a whole head; return status and reason of a refusal that the protocol does not answer itself."""
    why = why_too_large(head)
    if why is not None:
        return 431, why
    try:
        feed_head(library, head)
    except Exception as error:
        return 400, f"the WebSocket library failed to read this handshake ({type(error).__name__}: {error})"
    # uvicorn's sans-I/O protocol drops such a failure and answers nothing. The older one parses in a task of its own,
    # and answers.
    if getattr(library, "handshake_initiated", True) is False:
        return 400, "the WebSocket library cannot read this handshake"
    return None


def why_too_large(head: bytes) -> str | None:
    """Return why a head is larger than any that is taken, for people; None where it is not."""
    if len(head) > MAX_HEAD:
        return f"its head is larger than {MAX_HEAD >> 10} KiB"
    if head.count(b"\r\n") > MAX_FIELDS + 2:
        return f"it has more than {MAX_FIELDS} fields"
    lists = [line for line in head.split(b"\r\n") if line.lower().startswith(_LISTS)]
    if sum(line.count(b",") + line.count(b";") for line in lists) > MAX_OFFERS:
        return f"it offers more than {MAX_OFFERS} extensions, parameters and subprotocols"
    return None


def feed_head(library: Any, head: bytes) -> None:
    """Give a protocol a whole head. Raises whatever the library raises."""
    reader = getattr(library, "reader", None)
    if isinstance(reader, _HeadReader):
        reader.feed_head(head)
    else:
        library.data_received(head)


async def handshake_sent(library: Any) -> None:
    """Wait until a protocol that has been told to accept has written its 101."""
    completed = getattr(library, "handshake_completed_event", None)
    if completed is not None:  # the older implementation answers in a task of its own
        await completed.wait()


def extensions_of(library: Any) -> list[Extension]:
    """Return the list of the extensions that were negotiated; what is put there is used."""
    extensions: list[Extension] = getattr(library, "conn", library).extensions
    return extensions


def drop_unread(library: Any) -> None:
    """Empty a protocol's own buffers, of a client that sent too much: one would be copied into an exception."""
    fragments = getattr(library, "frames", None)
    if isinstance(fragments, list):
        fragments.clear()
    reader = getattr(getattr(library, "conn", library), "reader", None)
    buffer = getattr(reader, "buffer", None) or getattr(reader, "_buffer", None)
    if isinstance(buffer, bytearray):
        buffer.clear()


def forget_tracebacks(library: Any) -> None:
    """Let go of the frames of a parser that failed: the library keeps its exception, which keeps the message."""
    holder = getattr(library, "conn", library)
    for name in ("parser_exc", "transfer_data_exc"):
        error = getattr(holder, name, None)
        if isinstance(error, BaseException):
            error.__traceback__ = None


class _HeadReader(asyncio.StreamReader):
    """The older protocol's reader. Its limit is for messages; it would hold for the lines of a head too, at 32 KiB."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self._head: deque[bytes] = deque()

    def feed_head(self, head: bytes) -> None:
        """Have the lines of a head read before anything else. Before anything is read."""
        self._head.extend(head.splitlines(keepends=True))

    async def readline(self) -> bytes:
        """Read a line, of the head first."""
        return self._head.popleft() if self._head else await super().readline()


def _small_deflate() -> ServerPerMessageDeflateFactory:
    """Return the compression that uvicorn's newer implementation offers: 40 KB for each socket, and not 300."""
    return ServerPerMessageDeflateFactory(
        server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
    )
