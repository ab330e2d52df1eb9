"""Notifications of systemd about the process (sd_notify(3)): datagrams to the socket that ``NOTIFY_SOCKET`` names.

Without the variable nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

logger = logging.getLogger("proxy")


def ready(env: Mapping[str, str] = os.environ) -> None:
    """Report that the process serves, after the start and after each reload."""
    _notify("READY=1", env)


def reloading(env: Mapping[str, str] = os.environ) -> None:
    """Say that the configuration is being read again; ``ready`` follows (``Type=notify-reload``)."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", env)


def stopping(env: Mapping[str, str] = os.environ) -> None:
    """Say that the process is about to end."""
    _notify("STOPPING=1", env)


def _notify(state: str, env: Mapping[str, str]) -> None:
    address = env.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names begin with a zero byte
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(state.encode(), address)
        except OSError as error:
            logger.warning("systemd cannot be told %s through NOTIFY_SOCKET: %s", state.partition("\n")[0], error)
