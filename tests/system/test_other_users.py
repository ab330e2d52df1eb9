"""Another user of the host, who has made the folder before us: the gateway does not start in it, and says why."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.processes import ROOT, free_port, python

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")


def start(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Start a gateway that is not to start."""
    config = {"listen": f"127.0.0.1:{free_port()}", "admin": f"127.0.0.1:{free_port()}", "handoff": "off", **settings}
    (folder / "config.yaml").write_text(json.dumps({"gateway": config}))
    return subprocess.run(
        python("-m", "proxy", "--config", folder / "config.yaml"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("setting", ["listen", "admin"])
def test_a_socket_is_not_made_where_another_user_could_replace_it(tmp_path: Path, setting: str) -> None:
    """issue 9, A17."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    ended = start(tmp_path, **{setting: f"unix:{theirs}/gateway.sock"})
    assert ended.returncode == 1
    assert f"the folder {theirs} belongs to user 65534" in ended.stderr
    assert ended.stderr.endswith(f"or change gateway.{setting}\n")
    assert len(ended.stderr.splitlines()) == 1
    assert not list(theirs.iterdir())


@pytest.mark.parametrize("setting", ["listen", "admin"])
def test_a_link_is_not_followed_to_a_socket_that_would_be_removed(tmp_path: Path, setting: str) -> None:
    """The socket of a service that is down for a moment; the link leads to it out of a folder such as /tmp."""
    with socket.socket(socket.AF_UNIX) as down:
        down.bind(str(tmp_path / "precious.sock"))
    (tmp_path / "gateway.sock").symlink_to(tmp_path / "precious.sock")
    ended = start(tmp_path, **{setting: f"unix:{tmp_path}/gateway.sock"})
    assert ended.returncode == 1
    assert "gateway.sock is a symbolic link; remove it" in ended.stderr
    assert (tmp_path / "gateway.sock").is_symlink()
