"""``python -m dash_app``: the address it reads, what it says about mistakes, how it serves and stops."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dash_app.__main__ import ConfigError, find, read_listen, split_listen
from tests.processes import Process, free_port, python, running

READY = r"^dash ready on http://"


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("dash_app:\n  listen: 127.0.0.1:9000\n", "127.0.0.1:9000"),
        ("dash_app:\n  listen: '[::1]:9000'\n", "[::1]:9000"),
        ("dash_app:\n", "127.0.0.1:8050"),
        ("dash_app: {}\n", "127.0.0.1:8050"),
        ("gateway: {anything: at all}\n", "127.0.0.1:8050"),
        ("", "127.0.0.1:8050"),
    ],
)
def test_the_address_is_the_files_or_the_default(tmp_path: Path, text: str, listen: str) -> None:
    assert read_listen(write(tmp_path, text)) == listen


def test_the_config_of_the_working_directory_is_used_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(None) == (None, f"there is no config.yaml in {tmp_path}; running on the defaults")
    assert read_listen(None) == "127.0.0.1:8050"
    path = write(tmp_path, "dash_app: {listen: 127.0.0.1:9000}")
    assert find(None) == (Path("config.yaml"), f"using config.yaml in {tmp_path}")
    assert find(path) == (path, "")
    monkeypatch.setenv("DASH_WS_PROXY_CONFIG", "a.yaml")
    assert find(None) == (Path("a.yaml"), "using a.yaml, which DASH_WS_PROXY_CONFIG names")
    assert find(path) == (path, "")


def test_variables_are_those_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_PORT", "9000")
    monkeypatch.delenv("DASH_HOST", raising=False)
    assert read_listen(write(tmp_path, "dash_app: {listen: '${DASH_HOST:-::1}:${DASH_PORT}'}".replace("::1", "[::1]")))
    with pytest.raises(ConfigError, match=r"dash_app\.listen: ':9000' is not an address"):
        read_listen(write(tmp_path, "dash_app: {listen: '${DASH_HOST}:${DASH_PORT}'}"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dash_app:\n  lisen: 1\n", "dash_app.lisen: is not a setting; known here: listen"),
        ("dash_app:\n  listen: 8050\n", "dash_app.listen: 8050 is not an address; write host:port"),
        ("dash_app:\n  listen: a:b\n", "dash_app.listen: 'a:b' is not an address"),
        ("dash_app:\n  listen: ::1:80\n", "dash_app.listen: '::1:80' is not an address"),
        ("dash_app:\n  listen: a..b:80\n", "dash_app.listen: 'a..b' is not the name of a host"),
        ("dash_app:\n  listen:\n", "dash_app.listen: None is not an address"),
        (
            "dash_app:\n  listen: localhost:70000\n",
            "dash_app.listen: port 70000 is out of range (1 to 65535)",
        ),
        ("dash_app: yes please\n", "dash_app: expected settings (key: value), got 'yes please'"),
        ("- dash_app\n", "holds ['dash_app']; expected sections"),
        ("dash_app: {listen: [\n", ":2:1: is not valid YAML; dash-ws-proxy check --config "),
        ("dash_app: \0\n", "is not valid YAML"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_listen(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there_is_a_mistake_only_when_it_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read: No such file"):
        read_listen(tmp_path / "nothing.yaml")


def test_an_address_of_ipv6_loses_its_brackets() -> None:
    assert split_listen("[::1]:80") == ("::1", 80)


@pytest.mark.system
def test_it_serves_alone_with_its_socket_and_stops_at_once_while_browsers_are_connected(
    tmp_path: Path,
) -> None:
    write(tmp_path, "dash_app: {listen: '127.0.0.1:0'}")
    # PORT is what honcho sets for each of its processes; the file decides all the same.
    with running(*python("-m", "dash_app"), ready=READY, cwd=tmp_path, env={"PORT": str(free_port())}) as demo:
        port = int(demo.wait_for(r"^dash ready on http://127.0.0.1:(\d+)\n")[1])
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(url) as page, urllib.request.urlopen(f"{url}/assets/live.js") as script:
            assert b"<title>Pulse" in page.read()
            assert "javascript" in script.headers["Content-Type"]
        with connect(f"ws://127.0.0.1:{port}/live") as leaver:
            assert "hello" in json.loads(leaver.recv(10))
            leaver.socket.shutdown(socket.SHUT_RDWR)  # a browser that crashes says no goodbye
        with (
            socket.create_connection(("127.0.0.1", port)) as idle,
            connect(f"ws://127.0.0.1:{port}/live") as live,
        ):
            idle.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 200"
            assert {"n", "cpu"} <= [json.loads(live.recv(10)) for _ in range(3)][-1].keys()
            started = time.monotonic()
            demo.send(15)
            assert demo.wait(10) == 0
            assert time.monotonic() - started < 2
            with pytest.raises(ConnectionClosed):
                while True:
                    live.recv(10)
            assert live.close_code == 1012
        assert demo.output.splitlines() == [
            f"dash: using config.yaml in {tmp_path}",
            f"dash ready on http://127.0.0.1:{port}",
        ]


@pytest.mark.system
def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        path = write(tmp_path, f"dash_app: {{listen: '{listen}'}}")
        demo = Process(python("-m", "dash_app", "--config", path), cwd=tmp_path)
        assert demo.wait() == 1
        demo.stop()
    assert demo.output == f"dash: cannot listen on {listen}: Address already in use\n"


@pytest.mark.system
def test_a_mistake_in_the_file_ends_the_process_with_code_2(tmp_path: Path) -> None:
    path = write(tmp_path, "dash_app: {listen: nowhere}")
    demo = Process(python("-m", "dash_app"), cwd=tmp_path)
    assert demo.wait() == 2
    demo.stop()
    assert f"\n{path.name}: dash_app.listen: 'nowhere' is not an address" in demo.output
    assert "Traceback" not in demo.output
