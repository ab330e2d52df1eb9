"""nginx in front of a gateway, with the site that a test has for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import Process, running
from tests.wire.connection import DEADLINE

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

needs_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx; on Debian: apt install nginx")


@contextmanager
def running_nginx(folder: Path, site: str) -> Iterator[Process]:
    """Run nginx with a site in ``http {}``, which it takes without a warning, for the length of a ``with`` block."""
    (folder / "site.conf").write_text(site)
    user = "user root; " if os.geteuid() == 0 else ""  # its own would not get into the folder
    (folder / "nginx.conf").write_text(
        f"{user}worker_processes 1; pid {folder}/nginx.pid; error_log stderr notice; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f"include {folder}/site.conf; }}\n"
    )
    argv = [NGINX or "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    tested = subprocess.run([*argv, "-t"], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (tested.returncode, "[warn]" in tested.stderr) == (0, False), tested.stderr
    with running(*argv, "-g", "daemon off;", ready="start worker process") as process:
        yield process
