"""What systemd is told, and that it is told nothing where it has not asked."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ws_service.net.service_manager import ServiceManager


def listen(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.bind(address)
    return sock


class Told:
    """systemd, as a process sees it, and what it has been told."""

    def __init__(self, path: Path) -> None:
        self.env = {"NOTIFY_SOCKET": str(path)}
        self.sock = listen(str(path))

    def next(self) -> list[str]:
        return self.sock.recv(1000).decode().split("\n")

    def is_quiet(self) -> bool:
        self.sock.setblocking(False)
        with suppress(BlockingIOError):
            return not self.sock.recv(1000)
        return True


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path / "notify")
    with told.sock:
        yield told


def test_it_says_ready_with_a_line_for_the_status_and_stopping(systemd: Told) -> None:
    manager = ServiceManager(systemd.env)
    manager.ready("gateway ready on http://127.0.0.1:8000")
    manager.stopping()
    assert systemd.next() == ["READY=1", "STATUS=gateway ready on http://127.0.0.1:8000"]
    assert systemd.next() == ["STOPPING=1", "STATUS=stopping"]


def test_a_reload_carries_the_moment_by_which_systemd_orders_the_two_messages(systemd: Told) -> None:
    manager = ServiceManager(systemd.env)
    manager.ready("")
    systemd.next()
    before = time.monotonic_ns() // 1000
    with manager.reloading():
        first, second = systemd.next()
        assert first == "RELOADING=1"
        name, _, value = second.partition("=")
        assert name == "MONOTONIC_USEC"
        assert before <= int(value) <= time.monotonic_ns() // 1000
        assert systemd.is_quiet()
        systemd.sock.settimeout(5)
    assert systemd.next() == ["READY=1"]


def test_a_reload_before_the_start_has_ended_does_not_say_that_it_has(systemd: Told) -> None:
    with ServiceManager(systemd.env).reloading():
        pass
    assert systemd.is_quiet()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket_is_one_too(tmp_path: Path) -> None:
    name = f"dash-ws-proxy-test-{tmp_path.name}-{time.monotonic_ns()}"
    with listen("\0" + name) as sock:
        ServiceManager({"NOTIFY_SOCKET": "@" + name}).alive()
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("env", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_the_variable_nothing_is_said(env: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(env)
    assert not manager.is_there
    manager.ready("")
    assert caplog.records == []


def test_a_socket_that_is_not_there_is_one_line_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ws_service")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("")
    assert [record.getMessage() for record in caplog.records] == [
        "systemd cannot be told READY=1 through NOTIFY_SOCKET: [Errno 2] No such file or directory"
    ]


@pytest.mark.parametrize(
    ("variables", "period"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(
    systemd: Told, variables: dict[str, str], period: float | None
) -> None:
    assert ServiceManager(systemd.env | variables).watchdog == period


async def test_the_watchdog_is_fed_by_the_loop_and_not_while_it_is_blocked(systemd: Told) -> None:
    systemd.sock.setblocking(False)
    loop = asyncio.get_running_loop()
    manager = ServiceManager(systemd.env | {"WATCHDOG_USEC": "100000"})
    feeding = loop.create_task(manager.feed_watchdog())
    for _ in range(3):
        assert await loop.sock_recv(systemd.sock, 100) == b"WATCHDOG=1"
    time.sleep(0.3)  # noqa: ASYNC251 - what the watchdog is for
    assert systemd.is_quiet()
    assert await loop.sock_recv(systemd.sock, 100) == b"WATCHDOG=1"
    feeding.cancel()
    await asyncio.wait({feeding})


async def test_without_a_watchdog_nothing_is_fed(systemd: Told) -> None:
    await ServiceManager(systemd.env).feed_watchdog()
    assert systemd.is_quiet()
