"""SIGHUP: what the log says of a file that is read again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ws_service.config.settings import load_settings
from ws_service.reload import Reload, ignore_signals

FILE = """\
gateway: {listen: 127.0.0.1:1}
ws_service:
  drain: 20s
  workers: 1
  ws_ping_interval: 20s
  trusted_proxies: [10.0.0.0/8, 127.0.0.1]
"""


@pytest.fixture
def path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    caplog.set_level("INFO", "ws_service")
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def handler_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_each_change_is_named_every_time(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reload = Reload(path, load_settings(path))
    reload.read()
    changed = FILE.replace("drain: 20s", "drain: 30s").replace("interval: 20s", "interval: off")
    path.write_text(changed.replace("127.0.0.1]", "'::1']"))
    reload.read()
    reload.read()
    lines = [
        "the configuration was read again; 3 take a restart",
        "takes a restart: ws_service.ws_ping_interval: 20s -> off",
        "takes a restart: ws_service.drain: 20s -> 30s",
        "takes a restart: ws_service.trusted_proxies: added '::1/128'; removed 127.0.0.1/32",
    ]
    assert caplog.messages == ["the configuration was read again; nothing changed", *lines, *lines]


def test_a_file_with_mistakes_is_named_with_all_of_them(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reload = Reload(path, load_settings(path))
    path.write_text(FILE.replace("drain: 20s", "drian: 20s").replace("workers: 1", "workers: 0"))
    reload.read()
    assert caplog.messages == [
        f"{path}:3:3: ws_service.drian: is not a setting; did you mean drain?",
        f"{path}:4:3: ws_service.workers: input should be greater than or equal to 1, got 0",
        "the configuration was read again and cannot be used; the one before stays in force",
    ]
    path.unlink()
    reload.read()
    assert "there is no such file" in caplog.messages[3]


def test_where_the_file_does_not_fit_the_gateways_section_is_said_as_at_the_start(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reload = Reload(path, load_settings(path))
    path.write_text(FILE.replace("127.0.0.1:1}", "127.0.0.1:1, handoff: run/other.sock}"))
    reload.read()
    first, second = caplog.messages
    assert first == "the configuration was read again; nothing changed"
    assert second.startswith(f"{path}:1:")
    assert "gateway.handoff: is run/other.sock, and ws_service.handoff is run/ws.sock" in second


def test_without_a_file_a_line_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Reload(None, load_settings(path)).read()
    assert caplog.messages == ["SIGHUP is ignored: there is no config file to read again"]


@pytest.mark.usefixtures("handler_restored")
async def test_a_signal_is_answered_in_the_loop_also_one_that_came_before(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reload = Reload(path, load_settings(path))
    reload.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    assert caplog.messages == []
    reload.serve()
    assert len(caplog.messages) == 1
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(10):
        while len(caplog.messages) < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGUSR1)
    async with asyncio.timeout(10):
        while len(caplog.messages) < 3:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert caplog.messages[2].startswith("SIGUSR1 is ignored: it replaces workers one by one, and there is one process")


@pytest.mark.usefixtures("handler_restored")
def test_a_worker_leaves_both_signals_to_its_supervisor(caplog: pytest.LogCaptureFixture) -> None:
    ignore_signals()
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert caplog.messages == []


@pytest.mark.usefixtures("handler_restored")
def test_a_signal_after_the_loop_has_ended_does_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reload = Reload(path, load_settings(path))
    reload.listen()

    async def serves() -> None:
        reload.serve()

    asyncio.run(serves())
    os.kill(os.getpid(), signal.SIGHUP)
    assert caplog.messages == []
