"""Real processes for tests: started, waited for by event, stopped by pid, their output at hand."""

from __future__ import annotations

import fcntl
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import IO

from proxy.output_reader import OutputReader

ROOT = Path(__file__).resolve().parent.parent


BLOCK = 100
"""How many TCP ports one test process has for itself."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which no process listens and which no other test process takes."""
    port = next(ports := _ports())
    while not _is_free(port):
        port = next(ports)
    return port


def free_ports(count: int) -> list[int]:
    """Return several, all different."""
    return [free_port() for _ in range(count)]


@cache
def _ports() -> Iterator[int]:
    """Go round the ports of this process.

    They are not of the range in which the system finds ports for outgoing connections: such a connection could have
    one before the process that it is meant for listens on it.
    """
    first, last = 10_000, _first_of_the_system()
    starts = random.sample(range(first, last - BLOCK + 1, BLOCK), (last - first) // BLOCK)
    return cycle(range(start := next(filter(_claim, starts)), start + BLOCK))


_claims: list[IO[str]] = []
"""Files whose locks say which ports are taken; they are open as long as the process lives."""


def _claim(start: int) -> bool:
    """Take a block of ports, unless another test process of this host has it."""
    try:
        file = (Path(tempfile.gettempdir()) / f"dash-ws-proxy-tests-{start}.lock").open("w")
    except OSError:  # it is another user's
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _claims.append(file)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@cache
def _first_of_the_system() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except FileNotFoundError:  # not Linux; the range that IANA gives to such ports
        return 49152
    return first if first > 12_000 else 65_536  # a host that gives it nearly all of them leaves no others


@contextmanager
def network(*, changes: bool) -> Iterator[None]:
    """Use this host's network, or change it: Chromium ends its requests when an address comes or goes."""
    path = Path(tempfile.gettempdir()) / f"dash-ws-proxy-tests-network-{os.getuid()}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if changes else fcntl.LOCK_SH)
        yield


_WITHOUT_AUTHORITIES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""For the gateway: aiohttp reads the certificates of all authorities when it is imported, 60 ms at each of hundreds of
starts. No upstream here has a certificate of one of them."""


class Process:
    """A child process whose output is read by a thread, line by line."""

    def __init__(
        self,
        argv: list[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.argv = argv
        is_gateway = argv[1:3] == ["-m", "proxy"]
        ours = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **(_WITHOUT_AUTHORITIES if is_gateway else {})}
        environment = {**os.environ, **ours, **(env or {})}
        self._child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that a reloader's children end with it
            pass_fds=pass_fds,
        )
        assert self._child.stdout is not None
        self._output = OutputReader(self._child.stdout, argv[0])

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def output(self) -> str:
        """Everything the process has printed so far, both streams."""
        return self._output.text

    def wait_for(self, pattern: str, *, timeout: float = 60, after: int = 0) -> re.Match[str]:
        """Wait until the output behind character ``after`` matches; AssertionError with the output if not."""
        match = self._output.wait(lambda lines: re.search(pattern, "".join(lines)[after:], re.MULTILINE), timeout)
        if match is None:
            why = "ended" if self._output.has_ended else f"said nothing like it in {timeout} s"
            raise AssertionError(f"{self.argv} {why}; expected {pattern!r}:\n{self.output}")
        return match

    def wait_for_count(self, part: str, count: int, *, timeout: float = 60) -> None:
        """Wait until so many lines of the output hold ``part``; AssertionError with their number if not."""

        def found(lines: Sequence[str]) -> int:
            return sum(part in line for line in lines)

        if self._output.wait(lambda lines: found(lines) >= count or None, timeout) is None:
            why = "ended" if self._output.has_ended else f"did not say it more often in {timeout} s"
            times = found(self.output.splitlines())
            raise AssertionError(f"{self.argv} {why}; expected {part!r} {count} times, found it {times} times")

    def send(self, number: int) -> None:
        self._child.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """Wait for the end; return the exit code."""
        code = self._child.wait(timeout)
        self._output.join(timeout)
        return code

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20) -> int:
        """Ask the process and its children to end, then insist; return the exit code."""
        self._to_group(number)
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._to_group(signal.SIGKILL)
            self._child.wait(timeout)
            self._output.close(timeout)
            raise AssertionError(f"it did not stop within {timeout:g} s; its output:\n{self.output[-3000:]}") from None
        self._to_group(signal.SIGKILL)
        self._output.close(timeout)
        return code

    def _to_group(self, number: int) -> None:
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            pass


@contextmanager
def running(
    *argv: str | Path,
    ready: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    pass_fds: Sequence[int] = (),
) -> Iterator[Process]:
    """Run a process for the length of a ``with`` block; ``ready`` is the line that says it serves."""
    process = Process([str(a) for a in argv], cwd=cwd, env=env, pass_fds=pass_fds)
    try:
        if ready is not None:
            process.wait_for(ready, timeout=timeout)
        yield process
    finally:
        process.stop()


def completed(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end, a minute at most, with nothing to read. env: beside ours."""
    return subprocess.run(
        python(*args),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python(*args: str | Path) -> list[str]:
    """Return the argv of this interpreter."""
    return [sys.executable, *map(str, args)]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Take every descriptor of this process, for the length of a ``with`` block: whatever opens something fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(2))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
