"""What keeps the gateway from starting, as a real process: a sentence, and no traceback."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import completed, free_port


def gateway(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m proxy`` to its end."""
    return completed("-m", "proxy", *args, cwd=cwd, **env)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.system
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "config.yaml: there is no such file"),
        ("", "config.yaml: is empty"),
        ("gateway:\n  listen: [1, 2\n", "config.yaml:2:11: is not valid YAML"),
    ],
    ids=["missing", "empty", "invalid"],
)
def test_a_file_that_cannot_be_used_stops_the_gateway_before_it_listens(
    tmp_path: Path, config: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        config.write_text(text)
    done = gateway("--config", "config.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.system
@pytest.mark.parametrize("where", ["listen", "admin"])
def test_a_port_that_is_taken_is_one_sentence_and_no_traceback(tmp_path: Path, config: Path, where: str) -> None:
    other = "admin" if where == "listen" else "listen"
    with taken_port() as port:
        config.write_text(f"gateway:\n  {where}: 127.0.0.1:{port}\n  {other}: 127.0.0.1:{free_port()}\n")
        done = gateway("--config", config, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"dash-ws-proxy: 127.0.0.1:{port} is already in use; stop the program that listens there, "
        f"or change gateway.{where}\n"
    )


@pytest.mark.system
def test_a_socket_path_that_cannot_be_had_is_one_sentence(tmp_path: Path, config: Path) -> None:
    (tmp_path / "file").touch()
    config.write_text("gateway:\n  listen: unix:file/gateway.sock\n")
    done = gateway("--config", config, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"dash-ws-proxy: cannot listen on unix:{tmp_path}/file/gateway.sock: {tmp_path}/file is a file, and no "
        "folder; change gateway.listen\n"
    )


@pytest.mark.system
def test_a_start_says_which_file_has_the_mistake(tmp_path: Path, config: Path) -> None:
    config.write_text("gateway: {lisen: x}\n")
    done = gateway(cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"using config.yaml in {tmp_path}\nconfig.yaml:1:11: gateway.lisen: is not a setting; did you mean listen?\n"
    )
