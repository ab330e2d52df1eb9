"""``python -m dash_app``: the address it reads, what it says about mistakes, how it serves and stops."""

from __future__ import annotations

import socket
import time
import urllib.request
from pathlib import Path

import pytest

from tests.processes import Process, free_port, python, running

READY = r"dash ready on http://127\.0\.0\.1:(\d+)\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.system
@pytest.mark.parametrize("backend", ["flask", "fastapi"])
def test_it_serves_the_pages_and_stops_at_once_while_browsers_are_connected(tmp_path: Path, backend: str) -> None:
    write(tmp_path, "dash_app: {listen: '127.0.0.1:0'}")
    # PORT is what honcho sets for each of its processes; the file decides all the same.
    env = {"BACKEND": backend, "PORT": str(free_port())}
    with running(*python("-m", "dash_app"), ready=READY, cwd=tmp_path, env=env) as demo:
        port = int(demo.wait_for(READY)[1])
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/job") as page, urllib.request.urlopen(f"{url}/assets/live.js") as script:
            assert b'<html lang="en">' in page.read()
            assert "javascript" in script.headers["Content-Type"]
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
            assert idle.recv(8) == b"HTTP/1.1"[: len("HTTP/1.1")]
            started = time.monotonic()
            demo.send(15)
            assert demo.wait(10) == 0
            assert time.monotonic() - started < 2
        assert demo.output.splitlines() == [f"dash: using config.yaml in {tmp_path}", f"dash ready on {url}"]


@pytest.mark.system
def test_a_port_that_is_taken_and_a_mistake_in_the_file_are_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for listen, code, sentence in [
            (f"127.0.0.1:{taken.getsockname()[1]}", 3, "ddress already in use"),
            ("nowhere", 1, "\nconfig.yaml:1:12: dash_app.listen: 'nowhere' is not an address"),
        ]:
            write(tmp_path, f"dash_app: {{listen: '{listen}'}}")
            demo = Process(python("-m", "dash_app"), cwd=tmp_path)
            assert demo.wait() == code
            demo.stop()
            assert sentence in demo.output
            assert "Traceback" not in demo.output
