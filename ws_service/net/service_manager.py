"""What a process tells systemd about itself, by datagrams to the socket that ``NOTIFY_SOCKET`` names (sd_notify(3)).

Without the variable nothing is sent.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ws_service.logs.limited_log import LimitedLog

limited = LimitedLog(logging.getLogger(__name__))

_STDERR = 2


class ServiceManager:
    """systemd, as the process that it has started sees it. One is enough for a process: it knows what has been told.

    env: where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are looked up.

    ``watchdog``: seconds within which ``alive`` must be told again, or the process is killed and started anew
    (sd_watchdog_enabled(3)); None: there is no watchdog.
    """

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._address = env.get("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog(env) if self._address else None
        self._is_ready = False

    @property
    def is_there(self) -> bool:
        """Whether there is a service manager that wants to know."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Report that the process serves. status: a line that ``systemctl status`` shows."""
        self._is_ready = True
        self._send(f"READY=1\nSTATUS={status}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report that the configuration is read again in the ``with`` block, and after it that the process is ready.

        Nothing is reported before the process is ready: the second message would say that it is.
        """
        if not self._is_ready:
            yield
            return
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._send("READY=1")

    def stopping(self) -> None:
        """Report that the process is about to end, if it has been ready."""
        if self._is_ready:
            self._is_ready = False
            self._send("STOPPING=1\nSTATUS=stopping")

    def alive(self) -> None:
        """Report that the process does its work, for the watchdog."""
        self._send("WATCHDOG=1")

    async def feed_watchdog(self) -> None:
        """Report that the event loop runs, twice in each period of the watchdog, until this is cancelled.

        It is told from a task of the loop and from no thread, so that a loop that is blocked is not told to be alive.
        What has blocked it is then in the traceback that SIGABRT, the signal of the watchdog, leaves in the log.
        Returns at once where there is no watchdog.
        """
        if self.watchdog is not None:
            faulthandler.enable(file=_STDERR)
        while self.watchdog is not None:
            self.alive()
            await asyncio.sleep(self.watchdog / 2)

    # -- inside

    def _send(self, message: str) -> None:
        address = self._address
        if not address:
            return
        if address.startswith("@"):  # Linux's abstract names begin with a zero byte
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(message.encode(), address)
            except OSError as error:
                what = message.partition("\n")[0]
                limited.say(what, logging.WARNING, "systemd cannot be told %s through NOTIFY_SOCKET: %s", what, error)


def _watchdog(env: Mapping[str, str]) -> float | None:
    """Return the period of the watchdog in seconds; None where there is none, or where it is for another process."""
    period, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
    if not (period.isascii() and period.isdigit()) or int(period) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(period) / 1e6
