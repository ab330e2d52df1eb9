"""A road between a client and the gateway that can be closed: what a page sees when its network goes away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 65536
DEADLINE = 20.0


class Relay:
    """Carries TCP connections to a port of this host, until they are cut."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._is_open = True
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="relay", daemon=True)]
        self._threads[0].start()

    @property
    def connections(self) -> int:
        """How many connections are carried at this moment."""
        with self._lock:
            return len(self._ends) // 2

    def cut(self) -> None:
        """Break every connection, with a reset; new ones are carried."""
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _break(end)

    def close(self) -> None:
        """Break every connection, and each new one at once, until ``open``."""
        self._is_open = False
        self.cut()

    def open(self) -> None:
        """Carry connections again."""
        self._is_open = True

    def lead_to(self, port: int) -> None:
        """Carry new connections to another port, as an address that moves, and break those that there are."""
        self._target = ("127.0.0.1", port)
        self.cut()

    def end(self) -> None:
        """Close all for good."""
        self._is_open = False
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._ends |= {client, server}
            if not self._is_open:
                self.cut()
            for source, sink in ((client, server), (server, client)):
                thread = threading.Thread(target=self._carry, args=(source, sink), name="relay's half", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
            return
        with self._lock:
            self._ends -= {source, sink}
        for end in (source, sink):
            _break(end)


def _break(end: socket.socket) -> None:
    """Close a socket while another thread may wait on it."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def running_relay(port: int) -> Iterator[Relay]:
    """Run a relay to a port for the length of a ``with`` block."""
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.end()
