"""``python -m tests.system.own_network FOLDER PROCFILE``: what ``init`` has written there, on its own ports.

It has to run in a network namespace of its own (``unshare --net``), where no other program has these ports. It
starts the three processes of the Procfile, asks ``check --live --json``, and prints what that says.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

from tests.processes import running
from tests.system.deployed import environment

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
"""netdevice(7)."""


def raise_loopback() -> None:
    """Raise ``lo``, which is down in a new namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        name, flags = struct.unpack("16sH", fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))[:18])
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | _IFF_UP))


def main(folder: Path, procfile: str) -> int:
    raise_loopback()
    env = environment(PORT="8000")
    with running("honcho", "start", "-f", procfile, cwd=folder, env=env, ready="takes WebSockets over") as site:
        site.wait_for(r"INFO Dash [0-9]\S* at /")  # the gateway knows by then what Dash checks itself
        argv = ["dash-ws-proxy", "check", "--live", "--json", "--config", "config.yaml"]
        told = subprocess.run(argv, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False)
        print(told.stdout, end="")
        print(told.stderr, site.output, sep="\n", file=sys.stderr)
        return told.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
