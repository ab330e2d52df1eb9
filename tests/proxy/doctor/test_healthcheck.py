"""Whether the gateway is well, asked of its admin listener over TCP and a unix socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy import config as gateway
from proxy.doctor import healthcheck
from proxy.doctor.healthcheck import ask_health


@contextmanager
def answering(server: socket.socket, status: int, body: str) -> Iterator[list[bytes]]:
    """Answer one request; yields a list that gets its head."""
    asked: list[bytes] = []

    def answer() -> None:
        connection = server.accept()[0]
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    thread = threading.Thread(target=answer, name="admin", daemon=True)
    thread.start()
    yield asked
    thread.join(5)


def settings_with(admin: str) -> gateway.Settings:
    return gateway.Settings.model_construct(admin=admin)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize(
    ("status", "body", "is_readiness", "expected"),
    [
        (200, {"status": "alive", "state": "draining"}, False, (True, "alive (draining)")),
        (200, {"status": "ready", "state": "ready"}, True, (True, "ready")),
        (503, {"status": "not ready", "state": "draining"}, True, (False, "not ready (draining)")),
    ],
)
def test_it_is_well_or_says_in_which_state_it_is(
    tmp_path: Path, kind: str, status: int, body: object, is_readiness: bool, expected: tuple[bool, str]
) -> None:
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as server:
        path = str(tmp_path / "admin.sock")
        server.bind(path if kind == "unix" else ("127.0.0.1", 0))
        server.listen()
        admin = f"unix:{path}" if kind == "unix" else f"127.0.0.1:{server.getsockname()[1]}"
        with answering(server, status, json.dumps(body)) as asked:
            assert ask_health(settings_with(admin), is_readiness=is_readiness) == expected
    target = b"/readyz" if is_readiness else b"/healthz"
    assert asked[0].startswith(b"GET " + target)
    assert b"\r\nHost: localhost\r\n" in asked[0]  # a name that is always answered


def test_what_does_not_answer_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_well, message = ask_health(settings_with(f"unix:{tmp_path / 'none.sock'}"), is_readiness=False)
    assert not is_well
    assert message.endswith("none.sock cannot be asked: no such file or directory")
    monkeypatch.setattr(healthcheck, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert ask_health(settings_with(address), is_readiness=False) == (
            False,
            f"http://{address} has not answered within 0.05 s",
        )


def test_another_program_is_not_taken_for_the_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with answering(server, 200, "<html>"):
            answer = ask_health(settings_with(address), is_readiness=False)
    assert answer == (False, f"http://{address} answers 200, and not as a gateway does")


@pytest.mark.parametrize("admin", ["off", "systemd"])
def test_without_an_address_it_says_what_to_write(admin: str) -> None:
    is_well, message = ask_health(settings_with(admin), is_readiness=False)
    assert not is_well
    assert message == f"gateway.admin is {admin}, so health cannot be asked; write admin: 127.0.0.1:8001"
