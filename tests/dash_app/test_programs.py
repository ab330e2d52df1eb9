"""What may restart the demo's programs, and what may not."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dash_app import programs

LOOPBACK = ["http://127.0.0.1:8000", "http://[::1]:8000"]
OWN = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}


@pytest.fixture(autouse=True)
def under_make_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_APP_RESTARTS", "1")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_the_demos_own_page_on_loopback_may(host: str) -> None:
    assert programs.refusal({"Host": host, "Origin": f"http://{host}"}, LOOPBACK) == ""
    assert programs.refusal({"host": host, "origin": f"http://{host}"}, LOOPBACK) == "", "as FastAPI writes them"


def test_a_demo_that_make_run_has_not_started_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASH_APP_RESTARTS")
    assert "make run" in programs.refusal(OWN, LOOPBACK)


@pytest.mark.parametrize(
    "listen",
    [
        ["http://0.0.0.0:8000"],
        ["http://[::]:8000"],
        ["https://10.0.0.7"],
        [*LOOPBACK, "http://10.0.0.7:8000"],
        ["unix:run/gateway.sock"],
        [],
    ],
)
def test_where_others_can_reach_the_gateway_or_dash_it_may_not(listen: list[str]) -> None:
    assert "loopback" in programs.refusal(OWN, listen)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8000", "Origin": "https://evil.example"},
        {"Host": "localhost:8000", "Origin": "http://localhost:3000"},
        {"Host": "localhost:8000", "Origin": "null"},
        {"Host": "localhost:8000"},
        {**OWN, "X-Forwarded-For": "203.0.113.9, 127.0.0.1"},  # through a proxy, and not by a browser
        {"Host": "evil.example", "Origin": "http://evil.example"},  # DNS rebinding
        {},
    ],
)
def test_another_site_may_not(headers: Mapping[str, str]) -> None:
    assert "own page" in programs.refusal(headers, LOOPBACK)


def test_a_restart_is_a_sigterm_to_the_named_program_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []

    class AtOnce:
        def __init__(self, _delay: float, call: Any, arguments: tuple[int, int]) -> None:
            assert call is os.kill
            self.start = lambda: sent.append(arguments)

    known: dict[str, Any] = {"listen": LOOPBACK, "pids": {"gateway": [7], "service": [8, 9]}}
    monkeypatch.setattr(programs, "Timer", AtOnce)
    monkeypatch.setattr(programs, "status", lambda: known)
    assert programs.restart("service", OWN) == "Stopping process 8, 9. It comes back by itself."
    programs.restart("dash", OWN)
    assert sent == [(8, signal.SIGTERM), (9, signal.SIGTERM), (os.getpid(), signal.SIGTERM)]
    assert "own page" in programs.restart("gateway", {**OWN, "Origin": "https://evil.example"})
    assert len(sent) == 3


@pytest.mark.parametrize("listen", ["0.0.0.0:8050", "'*:8050'", "'[::]:8050'", "192.0.2.1:8050"])
def test_where_others_can_reach_dash_itself_nothing_is_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str
) -> None:
    (tmp_path / "config.yaml").write_text(f"dash_app: {{listen: {listen}}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs, "status", lambda: {"listen": LOOPBACK, "pids": {}})
    monkeypatch.setattr(programs, "Timer", None)
    assert "loopback" in programs.restart("dash", OWN)


def test_without_a_gateway_nothing_is_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("gateway: {admin: '127.0.0.1:1'}\n")
    monkeypatch.chdir(tmp_path)
    assert programs.restart("gateway", OWN).startswith("Not now: ")
