"""A gateway as a real process, and raw bytes at both of its ends.

The tests of this folder that look at bytes are plays: the test is the
client and the upstream at once, says what each of them sends, and reads what
the other one got. Nothing runs behind its back, so nothing has to be slept
for; every wait has an end (``DEADLINE``).

::

    client = gateway.dial()
    client.send(b"GET / HTTP/1.1\\r\\nHost: example.com\\r\\n\\r\\n")
    upstream = origin.accept()
    assert upstream.read_message().line == "GET / HTTP/1.1"
    upstream.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    assert client.read_message().body == b"hi"

Where a play would be long (hundreds of connections, a body larger than what
the kernel holds), ``serving`` answers in threads.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.processes import Process, free_ports, python, running

DEADLINE = 10.0
"""Seconds that any single wait may last. Generous, because only a failure waits that long."""

PER_CLIENT = (
    "connections_per_client",
    "websockets_per_client",
    "handshakes_per_second",
    "uploads_per_client",
    "buffered_per_client",
)
"""The limits of one client, off for every play that does not set its own."""

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
"""The Sec-WebSocket-Key of RFC 6455's own example."""


class Wire:
    """One TCP connection, read and written as bytes. Reads past what was asked for stay for the next one."""

    def __init__(self, sock: socket.socket, *, deadline: float = DEADLINE) -> None:
        self.sock = sock
        self.deadline = deadline
        self._held = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def to(cls, port: int) -> Wire:
        """Connect to a port of this machine."""
        return cls(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))

    def send(self, data: bytes) -> None:
        """Send all of it. In one system call, so that as little as a few kilobytes arrive as one segment."""
        self.sock.settimeout(self.deadline)
        self.sock.sendall(data)

    def send_later(self, data: bytes) -> threading.Thread:
        """Send more than the kernel holds, from a thread; join it, or the end of the test does."""
        thread = threading.Thread(target=self._send_quietly, args=(data,), name="sender", daemon=True)
        thread.start()
        return thread

    def read_some(self) -> bytes:
        """Wait for bytes and return what there is; nothing means the other side's end."""
        with suppress(_Ended):
            self._fill(lambda: bool(self._held))
        return self._take(len(self._held))

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes; AssertionError when the connection ends before."""
        self._fill(lambda: len(self._held) >= size)
        return self._take(size)

    def read_until(self, mark: bytes) -> bytes:
        """Return everything up to and with ``mark``; AssertionError when the connection ends before."""
        self._fill(lambda: mark in self._held)
        return self._take(self._held.index(mark) + len(mark))

    def read_to_end(self) -> bytes:
        """Return everything up to the other side's end. A reset raises ConnectionResetError."""
        with suppress(_Ended):
            self._fill(lambda: False)
        return self._take(len(self._held))

    def read_to_cut(self) -> tuple[bytes, str]:
        """Return everything up to the end, and how it came: ``end`` (FIN) or ``reset``."""
        how = "end"
        try:
            self._fill(lambda: False)
        except _Ended:
            pass
        except ConnectionResetError:
            how = "reset"
        return self._take(len(self._held)), how

    def read_head(self) -> bytes:
        """Return a head, with the empty line behind it."""
        return self.read_until(b"\r\n\r\n")

    def read_message(self, *, has_body: bool = True) -> Message:
        """Return one HTTP message, its body decoded from the transfer coding.

        has_body: False for the answer to a HEAD, whose fields describe a body that does not come.
        """
        message = Message(self.read_head())
        if has_body:
            message.body = self._body(message)
        return message

    def read_chunk(self) -> bytes:
        """Return the data of one chunk of a chunked body; nothing for the last one, whose trailers are dropped."""
        size = int(self.read_until(b"\r\n").partition(b";")[0], 16)
        if not size:
            while self.read_until(b"\r\n") != b"\r\n":
                pass
            return b""
        data = self.read(size)
        assert self.read(2) == b"\r\n"
        return data

    def read_frame(self) -> Frame:
        """Return one WebSocket frame, with the bytes it was made of."""
        raw = self.read(2)
        size = raw[1] & 0x7F
        if size >= 126:
            raw += self.read(2 if size == 126 else 8)
            size = int.from_bytes(raw[2:], "big")
        mask = self.read(4) if raw[1] & 0x80 else b""
        payload = self.read(size)
        plain = xor(payload, mask) if mask else payload
        return Frame(raw[0] & 0x0F, plain, bool(raw[0] & 0x80), raw[0] >> 4 & 7, raw + mask + payload)

    def has_something(self) -> bool:
        """Tell whether bytes, or an end, are here at this moment. To be asked behind an event that comes later."""
        return bool(self._held) or bool(select.select([self.sock], [], [], 0)[0])

    def end(self) -> None:
        """Send no more (FIN); the other direction stays open."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close both directions. Safe to call twice."""
        self.sock.close()

    def reset(self) -> None:
        """Vanish with a TCP reset, as a process that crashes with unread bytes does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send_quietly(self, data: bytes) -> None:
        with suppress(OSError):
            self.send(data)

    def _body(self, message: Message) -> bytes:
        status = message.status
        if message.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self.read_chunk, b""))
        length = message.get("content-length")
        if length is not None and status not in (204, 304):
            return self.read(int(length))
        if status is None or status < 200 or status in (204, 304):
            return b""
        return self.read_to_end()

    def _take(self, size: int) -> bytes:
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def _fill(self, is_enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.deadline
        while not is_enough():
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"nothing more came within {self.deadline:g} s, behind {self._shown()}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 18)
            except TimeoutError:
                continue
            if not data:
                raise _Ended(f"the connection ended behind {self._shown()}")
            self._held += data

    def _shown(self) -> str:
        return f"{bytes(self._held[-200:])!r} ({len(self._held)} bytes)"


class _Ended(AssertionError):
    """The other side ended its direction before what was asked for."""


class Message:
    """One HTTP message: its start line, its fields in the order and spelling in which they came, its body."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.line, *lines = head[:-4].decode("latin-1").split("\r\n")
        self.fields = [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]
        self.body = b""

    @property
    def status(self) -> int | None:
        """An answer's status; None for a request."""
        return int(self.line.split(" ")[1]) if self.line.startswith("HTTP/") else None

    def all(self, name: str) -> list[str]:
        """Return every value of a field, whatever its spelling."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the first value of a field."""
        return next(iter(self.all(name)), default)

    @property
    def names(self) -> list[str]:
        """The names of the fields, as they are spelled."""
        return [name for name, _ in self.fields]

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.line!r} {self.fields} {len(self.body)} bytes of body>"


class Frame:
    """One WebSocket frame: opcode, payload (unmasked), FIN, the three RSV bits as a number, and its own bytes."""

    def __init__(self, opcode: int, payload: bytes, fin: bool, rsv: int, raw: bytes) -> None:
        self.opcode, self.payload, self.fin, self.rsv, self.raw = opcode, payload, fin, rsv, raw

    def __repr__(self) -> str:
        return f"<frame {self.opcode:#x} fin={self.fin} rsv={self.rsv} {self.payload[:40]!r} ({len(self.payload)})>"


class Origin:
    """An upstream that does nothing by itself: the test accepts, reads and answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._wires: list[Wire] = []

    def accept(self) -> Wire:
        """Return the next connection that the gateway opens."""
        self._listener.settimeout(DEADLINE)
        wire = Wire(self._listener.accept()[0])
        self._wires.append(wire)
        return wire

    def accept_unless(self, client: Wire) -> Wire | None:
        """Return the next connection; None when the client gets something before there is one."""
        if not client.has_something():
            ready, _, _ = select.select([self._listener, client.sock], [], [], DEADLINE)
            assert ready, f"nothing happened within {DEADLINE:g} s"
        return self.accept() if self.has_visitor() else None

    def has_visitor(self) -> bool:
        """Tell whether somebody waits to be accepted at this moment. To be asked behind an event that comes later."""
        return bool(select.select([self._listener], [], [], 0)[0])

    def hang_up(self) -> None:
        """Close every connection, also the ones that nobody has accepted yet."""
        while self.has_visitor():
            self.accept()
        while self._wires:
            self._wires.pop().close()

    def close(self) -> None:
        """Close everything."""
        self.hang_up()
        self._listener.close()

    def __enter__(self) -> Origin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def serving(play: Callable[[Wire], None]) -> Iterator[str]:
    """Run an upstream in threads, one for each connection; yields its URL.

    play: called with each connection, which is closed behind it. When the
    other side leaves in the middle, the play is over; any other exception
    fails the ``with`` block.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    wires: list[Wire] = []
    threads: list[threading.Thread] = []
    faults: list[BaseException] = []
    stopped = threading.Event()

    def run(wire: Wire) -> None:
        try:
            with wire:
                play(wire)
        except (OSError, _Ended):
            pass
        except BaseException as fault:
            if not stopped.is_set():
                faults.append(fault)

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            if stopped.is_set():
                sock.close()
                return
            wires.append(Wire(sock))
            threads.append(threading.Thread(target=run, args=(wires[-1],), name="upstream's play", daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, name="upstream", daemon=True)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        socket.create_connection(listener.getsockname()).close()  # wakes the acceptor
        acceptor.join(DEADLINE)
        listener.close()
        for wire in wires:
            with suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(DEADLINE)
    if faults:
        raise faults[0]


class Gateway:
    """A gateway process: where it listens, how to reach it, what it says."""

    def __init__(self, process: Process, port: int, admin_port: int) -> None:
        self.process = process
        self.port = port
        self.admin_port = admin_port
        self.authority = f"127.0.0.1:{port}"
        self.url = f"http://{self.authority}"
        self._wires: list[Wire] = []

    def dial(self, *, receive_buffer: int | None = None) -> Wire:
        """Open a connection as a client; ``hang_up`` closes it at the latest.

        receive_buffer: bytes that the kernel takes for a client that does not read; None: its own choice.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(DEADLINE)
        sock.connect(("127.0.0.1", self.port))
        self._wires.append(Wire(sock))
        return self._wires[-1]

    def ask(self, request: bytes, *, has_body: bool = True) -> Message:
        """Send one request on a connection of its own and return the answer. For upstreams that ``serving`` runs."""
        with self.dial() as wire:
            wire.send(request)
            return wire.read_message(has_body=has_body)

    def hang_up(self) -> None:
        """Close every connection."""
        while self._wires:
            self._wires.pop().close()

    def pause(self) -> None:
        """Stop the process (SIGSTOP), so that several things can happen between two of its breaths."""
        self.process.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # the signal is only on its way: what follows must not win

    def resume(self) -> None:
        """Let the process go on."""
        self.process.send(signal.SIGCONT)


@contextmanager
def running_gateway(
    folder: Path,
    *,
    dash: str,
    ws: str | None = None,
    descriptors: int | None = None,
    env: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[Gateway]:
    """Run the gateway on free ports for the length of a ``with`` block. It must not have failed anywhere in it.

    folder: for its config file. dash, ws: URLs of the upstreams; None: both are the same.
    descriptors: how many files it may open; None: as many as this process.
    env: of the process, beside our own.
    settings: further keys of ``gateway``, for example ``timeouts={"response": "1s"}``.
    """
    port, admin_port = free_ports(2)
    timeouts = settings.pop("timeouts", {})
    limits = settings.pop("limits", {})
    assert isinstance(timeouts, dict)
    assert isinstance(limits, dict)
    config = {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin_port}",
        "upstreams": {"dash": dash, "ws": ws or dash},
        "handoff": "off",  # most plays hold both ends of a tunnel
        "limits": {
            **dict.fromkeys(PER_CLIENT),
            **limits,
        },  # all of them come from one address, many and as fast as they can
        "timeouts": {"drain_window": 0, **timeouts},
        "health": {"interval": 0},  # a probe would be taken for the next visitor
        **settings,
    }
    path = folder / f"gateway-{port}.yaml"
    path.write_text(json.dumps({"gateway": config}, indent=1))  # JSON is YAML
    argv = python("-m", "proxy", "--config", path)
    if descriptors is not None:
        argv = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *argv]
    with running(*argv, ready=r"gateway ready on \S+", cwd=folder, env=env) as process:
        gateway = Gateway(process, port, admin_port)
        try:
            yield gateway
        finally:
            gateway.hang_up()
        fault = re.search(r"^.*(?:fault of the gateway|Traceback)(?s:.*)", process.output, re.MULTILINE)
        assert fault is None, f"the gateway failed: {fault[0][:6000]}"


def request(line: str, *fields: str, host: str = "example.com", body: bytes = b"") -> bytes:
    """Return the bytes of a request. ``Host`` comes first; nothing else is added: ``fields`` are whole lines."""
    return "\r\n".join((f"{line} HTTP/1.1", f"Host: {host}", *fields, "", "")).encode("latin-1") + body


def answer(status: str, *fields: str, body: bytes | None = b"") -> bytes:
    """Return the bytes of an answer, with the Content-Length of ``body``; None leaves both to ``fields``."""
    length = () if body is None else (f"Content-Length: {len(body)}",)
    return "\r\n".join((f"HTTP/1.1 {status}", *fields, *length, "", "")).encode("latin-1") + (body or b"")


def chunks(*pieces: bytes) -> bytes:
    """Return a whole chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def handshake(target: str = "/live", *fields: str, host: str = "example.com", key: bytes = KEY) -> bytes:
    """Return the bytes of a WebSocket handshake."""
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key.decode()}")
    return request(f"GET {target}", *upgrade, "Sec-WebSocket-Version: 13", *fields, host=host)


def switching(*fields: str, key: bytes = KEY) -> bytes:
    """Return the bytes of the 101 that accepts a handshake."""
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}"
    return answer("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", accept, *fields, body=None)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"") -> bytes:
    """Return the bytes of a WebSocket frame; ``mask``: the four bytes that a client's frame must have."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit, size = 0x80 if mask else 0, len(payload)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + (xor(payload, mask) if mask else payload)


def xor(data: bytes, mask: bytes) -> bytes:
    """Mask a payload, or unmask it."""
    key = mask * (len(data) // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(key[: len(data)], "big")).to_bytes(len(data), "big")


def open_tunnel(gateway: Gateway, origin: Origin, *fields: str, ahead: bytes = b"") -> tuple[Wire, Wire]:
    """Carry a handshake through; returns both ends, with nothing left to read.

    ahead: what the client sends behind its handshake, in the same packet; it is left to read at the upstream.
    """
    client = gateway.dial()
    client.send(handshake("/live", *fields) + ahead)
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(switching())
    head = client.read_head()
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client, upstream
