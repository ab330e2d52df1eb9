"""Child processes: where they run, when they are ready, and that none of them is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

READY = 20.0
"""Seconds for a process to listen. Traefik and Envoy take about one; a busy machine takes longer."""

STOP_TIMEOUT = 2.0
"""Seconds for a process to end after SIGTERM; then it is killed. Nothing is under way by then."""

ROOT = Path(__file__).resolve().parent.parent
"""Where children find this package."""

Cores = frozenset[int]


class Failed(Exception):
    """Something that was to be measured does not run, or answers wrongly. The text says what, for the report."""


class Child:
    """A process in a session of its own.

    name: for its log file and for messages. folder: where the log goes.
    cores: where it may run. env: added to ours.
    """

    def __init__(
        self, name: str, argv: list[str], *, folder: Path, cores: Cores, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        # Children inherit the affinity; set behind the start, it would miss the threads that exist by then.
        with running_on(cores), self._log.open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def session(self) -> int:
        """The session's number, for accounting."""
        return self._process.pid

    async def listening(self, port: int) -> None:
        """Wait until somebody listens on the port; Failed with the end of the log when nobody will."""
        deadline = time.monotonic() + READY
        while True:
            self.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} does not listen after {READY:g} s: {self._end_of_log()}")
            await asyncio.sleep(0.02)

    async def said(self, text: str) -> None:
        """Wait until the log has a text; Failed with the end of the log when it does not come."""
        deadline = time.monotonic() + READY
        while text.encode() not in self._log.read_bytes():
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} has not said {text!r} after {READY:g} s: {self._end_of_log()}")
            await asyncio.sleep(0.02)

    def check(self) -> None:
        """Raise Failed if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise Failed(f"{self.name} has ended with code {code}: {self._end_of_log()}")

    def stop(self) -> None:
        """End the whole session: SIGTERM, a while, SIGKILL."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)  # also for children that outlive their parent
            self._process.wait(STOP_TIMEOUT)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass

    def _end_of_log(self) -> str:
        lines = self._log.read_text("utf-8", "replace").split("\n")
        return " / ".join(line.strip() for line in lines[-4:] if line.strip()) or "it said nothing"


@asynccontextmanager
async def started(
    name: str, argv: list[str], port: int, *, folder: Path, cores: Cores, env: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run a process for the length of a ``with`` block, which begins once it listens on ``port``."""
    child = Child(name, argv, folder=folder, cores=cores, env=env)
    try:
        await child.listening(port)
        yield child
    finally:
        child.stop()


@contextmanager
def running_on(cores: Cores) -> Iterator[None]:
    """Run this thread, and what it starts meanwhile, on some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
