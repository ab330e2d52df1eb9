"""The wall clock jumps a year ahead, and two years back: it is for time stamps, and nothing else notices.

A real clock cannot be set in a test. With libfaketime the process's own
clock is moved, under every library that it uses; without it ``time.time``
is replaced in the process, which is a mock, and covers what is Python.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, Origin, open_tunnel
from tests.wire.frames import frame
from tests.wire.messages import answer, request

YEAR = 366 * 86400

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)

MOCK = """
import os, time

_real, _file = time.time, os.environ["CLOCK_FILE"]
time.time = lambda: _real() + float(open(_file).read())
"""


class Clock:
    """The wall clock of processes that have ``env`` in their environment."""

    def __init__(self, file: Path, form: str, env: dict[str, str]) -> None:
        self._file, self._form, self.env = file, form, env
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Set it so many seconds ahead of ours."""
        new = self._file.with_suffix(".new")
        new.write_text(self._form.format(seconds))
        os.replace(new, self._file)  # never half of it


@pytest.fixture(params=["libfaketime", "mock"])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> Clock:
    file = tmp_path / "clock"
    if request.param == "mock":
        (tmp_path / "sitecustomize.py").write_text(MOCK)
        return Clock(file, "{}", {"CLOCK_FILE": str(file), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    library = next((path for path in LIBRARIES if path.exists()), None)
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: apt-get install libfaketime)")
    env = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return Clock(file, "{:+d}s", env)


@pytest.fixture
def gateway(make_gateway: MakeGateway, clock: Clock, origin: Origin) -> Gateway:
    timeouts = {"response": "2s", "keepalive": "30s", "upstream_idle": "30s", "tunnel_idle": "60s", "drain": "500ms"}
    return make_gateway(dash=origin.url, env=clock.env, timeouts=timeouts)


def year(seconds_ahead: int) -> int:
    return datetime.fromtimestamp(time.time() + seconds_ahead, UTC).year


def test_a_jump_ends_nothing_and_delays_nothing(gateway: Gateway, clock: Clock, origin: Origin) -> None:
    tunnel, behind = open_tunnel(gateway, origin)
    client = gateway.dial()
    upstream = None
    for number, seconds in enumerate((YEAR, -YEAR, 0)):
        client.send(request(f"GET /{number}"))
        upstream = upstream or origin.accept()
        assert upstream.read_head().startswith(b"GET /%d " % number), "the idle connections are still used"
        clock.jump(seconds)
        upstream.send(answer("200 OK"))
        assert client.read_message().status == 200
        tunnel.send(frame(1, b"still here", mask=b"abcd"))
        assert behind.read_frame().payload == b"still here"
        gateway.process.wait_for(f'"GET /{number}" 200')
    durations = [float(found) for found in re.findall(r" ([-\d.]+)ms ", gateway.process.output)]
    assert len(durations) == 3
    assert all(0 <= duration < 10_000 for duration in durations)


def test_a_time_limit_is_as_long_as_ever_and_the_time_stamps_follow_the_clock(
    gateway: Gateway, clock: Clock, origin: Origin
) -> None:
    for seconds in (YEAR, -YEAR):
        client = gateway.dial()
        clock.jump(0)
        client.send(request("GET /warm"))
        upstream = origin.accept()
        upstream.read_head()
        clock.jump(seconds)
        upstream.send(answer("200 OK", "Connection: close"))
        client.read_message()
        began = time.monotonic()
        client.send(request("GET /silence"))
        origin.accept().read_head()
        clock.jump(0)
        told = client.read_message()
        assert told.status == 504
        assert 1.9 <= time.monotonic() - began < 8
        assert f" {year(0)} " in told.get("date"), "it is the moment of the answer, and not of the request"
        # That of the request, which proves that the clock has jumped.
        gateway.process.wait_for(rf'^{year(seconds)}-.* "GET /silence" 504 ')
