"""A small HTTP server in a thread that answers as the hub's API does, or fails as a test has it fail."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY = "a-key-of-the-tests-that-is-no-secret"
API_KEY = hmac.digest(KEY.encode(), b"api", hashlib.sha256).hex()


@dataclass
class Api:
    """What was asked, and what is answered. url: for ``DASH_WS_HUB_URL``.

    answer: gets the number of the request, from 1, and returns status and object; None: it is never answered.
    closes_after: requests after which a connection is closed without a word.
    """

    url: str = ""
    answer: Callable[[int], tuple[int, Any] | None] = lambda number: (200, {"result": {"offset": number, "epoch": "e"}})
    closes_after: int | None = None
    is_closing_before_the_answer: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    tls: ssl.SSLContext | None = None
    arrived: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def serve(self, accepted: socket.socket) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        tls = self.tls
        with (
            suppress(OSError, ValueError),
            accepted,
            tls.wrap_socket(accepted, server_side=True) if tls else accepted as sock,
            sock.makefile("rb") as file,
        ):
            served = 0
            while self._serve_one(sock, file):
                served += 1
                if served == self.closes_after:
                    break
        self.closed.set()

    def _serve_one(self, sock: socket.socket, file: Any) -> bool:
        head = b""
        while line := file.readline().rstrip():
            head += line + b"\n"
        if not head:
            return False
        self.heads.append(head)
        size = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        self.requests.append(json.loads(file.read(size)))
        self.arrived.set()
        if self.is_closing_before_the_answer:
            self.is_closing_before_the_answer = False
            return False
        answer = self.answer(len(self.requests))
        if answer is None:
            self.stopped.wait()
            return False
        body = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
        sock.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (answer[0], len(body), body))
        return True


@contextmanager
def running_api(path: Path | None = None) -> Iterator[Api]:
    """Run the server for the length of a ``with`` block. path: of a unix socket; None: TCP."""
    if path is None:
        listener = socket.create_server(("127.0.0.1", 0))
        api = Api(f"http://127.0.0.1:{listener.getsockname()[1]}")
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        api = Api(f"unix:{path}")
    open_ones: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            if api.stopped.is_set():
                sock.close()
                return
            open_ones.append(sock)
            threads.append(threading.Thread(target=api.serve, args=(sock,), name="connection to the api", daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, name="api", daemon=True)
    acceptor.start()
    try:
        yield api
    finally:
        api.stopped.set()
        with socket.socket(listener.family) as waking:
            waking.connect(listener.getsockname())
        acceptor.join(10)
        listener.close()
        for sock in open_ones:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
