"""Whether programs run: those that take a connection are reachable, the others are findings with what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.doctor.programs import probe
from tests.proxy.doctor.test_target import target_of


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        yield taken.getsockname()[1]


async def test_programs_that_take_connections_are_no_finding(tmp_path: Path, listening: int) -> None:
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "run" / "dash.sock"))
        server.listen()
        upstreams = {"dash": "unix:run/dash.sock", "ws": f"http://127.0.0.1:{listening}"}
        target = target_of(tmp_path, listen=f"127.0.0.1:{listening}", upstreams=upstreams)
        outcome = await probe(target)
    assert outcome.findings == []
    assert target.reachable == {target.gateway, target.dash, target.ws}
    assert outcome.seen.startswith(f"the gateway at http://127.0.0.1:{listening}, Dash at unix:")


async def test_each_program_that_takes_none_is_a_finding_with_its_setting(tmp_path: Path, refusing: int) -> None:
    upstreams = {"dash": "unix:none.sock", "ws": f"http://127.0.0.1:{refusing}"}
    target = target_of(tmp_path, listen=f"127.0.0.1:{refusing}", upstreams=upstreams)
    findings = (await probe(target)).findings
    assert [(finding.id, finding.place and finding.place.key) for finding in findings] == [
        ("DW020", "gateway.listen"),
        ("DW021", "gateway.upstreams.dash"),
        ("DW022", "gateway.upstreams.ws"),
    ]
    address = f"http://127.0.0.1:{refusing}"
    assert findings[0].seen == f"the gateway cannot be reached at {address}: connection refused"
    assert findings[0].fix == "start it: dash-ws-proxy"
    assert findings[1].seen.endswith("none.sock: no such file or directory")
    assert not target.reachable
