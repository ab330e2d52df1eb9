"""What systemd does for a service, without systemd: it holds sockets, passes them on, and hears what it is told."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes import Process, python, running
from tests.wire.connection import DEADLINE

_PASS = """
import fcntl, os, sys

descriptors, argv = [int(each) for each in sys.argv[1].split(",") if each], sys.argv[2:]
moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 100) for each in descriptors]
for number, each in enumerate(moved):
    os.dup2(each, 3 + number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(argv[0], argv)
"""
"""Descriptors from 3 on, LISTEN_PID, and exec: what systemd does in the child between fork and exec."""


class ServiceManager:
    """Holds listening sockets by name, and starts programs that get them.

    folder: where the programs run, and where it is told things.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sockets: list[tuple[str, socket.socket]] = []
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "notify"))
        self._told.settimeout(DEADLINE)

    def listen(self, name: str, *, everywhere: bool = False) -> int:
        """Listen on a free port; return it. Whatever it starts gets the socket, by this name.

        everywhere: as ``ListenStream=8000`` does: one socket for IPv6 and IPv4, where the host has both.
        """
        if everywhere and socket.has_dualstack_ipv6():
            sock = socket.create_server(("::", 0), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
        else:
            sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._sockets.append((name, sock))
        port: int = sock.getsockname()[1]
        return port

    def told(self) -> list[str]:
        """Return the next thing that it is told, line by line; what the watchdog is told is left out."""
        while (said := self._told.recv(1000).decode()) == "WATCHDOG=1":
            pass
        return said.split("\n")

    def is_told_alive(self, within: float) -> bool:
        """Tell whether it hears of the watchdog within so many seconds; the next thing that it hears must be that."""
        self._told.settimeout(within)
        try:
            assert self._told.recv(1000) == b"WATCHDOG=1"
        except TimeoutError:
            return False
        finally:
            self._told.settimeout(DEADLINE)
        return True

    def is_told_nothing(self, within: float) -> bool:
        """Tell whether there is nothing to hear for so many seconds."""
        self._told.settimeout(within)
        try:
            self._told.recv(1000)
        except (TimeoutError, BlockingIOError):
            return True
        finally:
            self._told.settimeout(DEADLINE)
        return False

    @contextmanager
    def started(
        self,
        module: str,
        section: str,
        settings: Mapping[str, object],
        *,
        env: Mapping[str, str] | None = None,
        interpreter: str = sys.executable,
    ) -> Iterator[Process]:
        """Run a program for the length of a ``with`` block; it need not be ready yet.

        module: to run. section: of its config file, with these settings. env: beside what systemd sets.
        """
        path = self._folder / f"{section}.yaml"
        path.write_text(json.dumps({section: dict(settings)}))
        with self.run(interpreter, "-m", module, "--config", str(path), cwd=self._folder, env=env) as process:
            yield process

    @contextmanager
    def run(self, *command: str, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Process]:
        """Run a command for the length of a ``with`` block. env: beside what systemd sets."""
        descriptors = [sock.fileno() for _, sock in self._sockets]
        variables = {"NOTIFY_SOCKET": str(self._folder / "notify"), **(env or {})}
        if descriptors:
            names = ":".join(name for name, _ in self._sockets)
            variables |= {"LISTEN_FDS": str(len(descriptors)), "LISTEN_FDNAMES": names}
        passed = ",".join(map(str, descriptors))
        argv = python("-c", _PASS, passed, *command)
        with running(*argv, cwd=cwd, env=variables, pass_fds=descriptors) as process:
            yield process

    def close(self) -> None:
        """Close every socket."""
        self._told.close()
        for _, sock in self._sockets:
            sock.close()


@contextmanager
def service_manager(folder: Path) -> Iterator[ServiceManager]:
    """Have a service manager for the length of a ``with`` block."""
    with ExitStack() as stack:
        manager = ServiceManager(folder)
        stack.callback(manager.close)
        yield manager
