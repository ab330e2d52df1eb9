"""Notifications of systemd, and none where it has not asked for them."""

from __future__ import annotations

import logging
import socket
import sys
import time
from pathlib import Path

import pytest

from proxy.server import systemd as notify


def listen(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.bind(address)
    return sock


def test_it_says_ready_and_stopping(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with listen(path) as systemd:
        notify.ready({"NOTIFY_SOCKET": path})
        notify.stopping({"NOTIFY_SOCKET": path})
        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_a_reload_carries_the_moment_by_which_systemd_orders_the_two_messages(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with listen(path) as systemd:
        before = time.monotonic_ns() // 1000
        notify.reloading({"NOTIFY_SOCKET": path})
        first, second = systemd.recv(100).split(b"\n")
        assert first == b"RELOADING=1"
        name, _, value = second.partition(b"=")
        assert name == b"MONOTONIC_USEC"
        assert before <= int(value) <= time.monotonic_ns() // 1000


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket_is_one_too(tmp_path: Path) -> None:
    name = f"dash-ws-proxy-test-{tmp_path.name}-{time.monotonic_ns()}"
    with listen("\0" + name) as systemd:
        notify.ready({"NOTIFY_SOCKET": "@" + name})
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.parametrize("env", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_the_variable_nothing_is_said(env: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    notify.ready(env)
    assert caplog.records == []


def test_a_socket_that_is_not_there_is_one_line_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "proxy")
    notify.reloading({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert [record.getMessage() for record in caplog.records] == [
        "systemd cannot be told RELOADING=1 through NOTIFY_SOCKET: [Errno 2] No such file or directory"
    ]
