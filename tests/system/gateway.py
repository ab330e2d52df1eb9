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

import json
import os
import re
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.processes import Process, free_ports, python, running
from tests.wire.connection import DEADLINE, Ended, Wire
from tests.wire.messages import Message, handshake, switching

PER_CLIENT = (
    "connections_per_client",
    "websockets_per_client",
    "handshakes_per_second",
    "uploads_per_client",
    "buffered_per_client",
)
"""The limits of one client, off for every play that does not set its own."""


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
def serving(play: Callable[[Wire], None], *, port: int = 0) -> Iterator[str]:
    """Run an upstream in threads, one for each connection; yields its URL.

    play: called with each connection, which is closed behind it. When the
    other side leaves in the middle, the play is over; any other exception
    fails the ``with`` block. port: where it listens; 0: a free one.
    """
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    wires: list[Wire] = []
    threads: list[threading.Thread] = []
    faults: list[BaseException] = []
    stopped = threading.Event()

    def run(wire: Wire) -> None:
        try:
            with wire:
                play(wire)
        except (OSError, Ended):
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
