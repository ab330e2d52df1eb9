"""What workers report to their supervisor, as a process reports to systemd: that they serve, that they are alive.

systemd listens to the main process alone (``NotifyAccess=main``), which is the supervisor.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from ws_service.net.service_manager import ServiceManager

_LONGEST = 64
"""Bytes of a report."""

_READY, _ALIVE, _STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"


class WorkerReports(ServiceManager):
    """The supervisor, as one of its workers sees it. It is sent to each of them by pickle.

    sock: of datagrams, connected to the supervisor. watchdog: seconds within which a worker is to be alive; None: there
    is no watchdog.
    """

    def __init__(self, sock: socket.socket, watchdog: float | None) -> None:
        super().__init__({})
        self._sock = sock
        self.watchdog = watchdog

    def _send(self, message: str) -> None:
        with suppress(OSError):  # the supervisor has ended, or reads nothing at the moment
            self._sock.send(f"{os.getpid()} {message.partition(chr(10))[0]}".encode())


class WorkerWatch:
    """Tells systemd about a supervisor and its workers: ready when all of them serve, alive while it runs itself.

    A worker whose event loop does not run for the time of the watchdog is ended alone; uvicorn replaces it.

    manager: systemd. status: what it is told with READY.
    pids: returns the processes of the workers that are to serve, at the moment.
    end: ends a worker that is stuck, by its process id.

    ``reports``: for the workers.
    """

    def __init__(
        self,
        manager: ServiceManager,
        status: str,
        pids: Callable[[], Iterable[int]],
        end: Callable[[int], None],
    ) -> None:
        self._manager, self._period = manager, manager.watchdog
        self._status = status
        self._pids = pids
        self._end = end
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)
        self.reports = WorkerReports(self._sender, manager.watchdog)
        self._alive: dict[int, float] = {}
        """When a worker that serves was last known to be alive, in monotonic seconds, by its process id."""
        self._told = -math.inf  # when systemd was told that this is alive, in monotonic seconds
        self._looked = math.inf
        self._is_ready = self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="reports of the workers", daemon=True)

    def start(self) -> None:
        """Begin to read what the workers report."""
        self._thread.start()

    def stop(self) -> None:
        """Report that the service stops; the watchdog is fed on until ``close``."""
        self._is_ready = True  # and what workers report now does not make it so again
        self._manager.stopping()

    def close(self) -> None:
        """Read no more. The workers have ended."""
        if self._thread.is_alive():
            self._is_closed = True
            with suppress(OSError):
                self._receiver.shutdown(socket.SHUT_RD)  # wakes the thread
            self._thread.join()
        self._receiver.close()
        self._sender.close()

    # -- inside

    def _run(self) -> None:
        self._receiver.settimeout(self._period / 4 if self._period else None)
        while not self._is_closed:
            with suppress(TimeoutError):
                self._read(self._receiver.recv(_LONGEST).decode("ascii", "replace"))
            self.look(time.monotonic())

    def _read(self, report: str) -> None:
        text, _, message = report.partition(" ")
        if not message or not (text.isascii() and text.isdigit()):
            return  # the end, or no report: the user's code may send what it likes
        pid = int(text)
        if message == _STOPPING:
            self._alive.pop(pid, None)
        elif message == _READY or pid in self._alive:
            self._alive[pid] = time.monotonic()

    def look(self, now: float) -> None:
        """Tell systemd what it wants to know, and end a worker that is stuck. now: in monotonic seconds."""
        pids = set(self._pids())
        if not self._is_ready and pids and pids <= self._alive.keys():
            self._is_ready = True
            self._manager.ready(self._status)
        if self._period is None:
            return
        if now - self._looked > self._period / 2:  # this process did not run either: reports of that time are unread
            self._alive = dict.fromkeys(self._alive, now)
        self._looked = now
        if now - self._told >= self._period / 4:
            self._told = now
            self._manager.alive()
        for pid in [pid for pid, moment in self._alive.items() if now - moment > self._period]:
            del self._alive[pid]
            if pid in pids:
                self._end(pid)
