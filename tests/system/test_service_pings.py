"""A client that answers no ping: closed with 1011 after a time that can be set, or never; on both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.handoff import WAYS, code_of, gateway_by, open_socket, running_service

pytestmark = pytest.mark.timeout(600)  # the first run installs the environment of the report

PING = 0x9


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("timeout", ["200ms", "off"])
def test_who_answers_no_ping_is_closed_when_the_settings_say_so(
    interpreter: str, tmp_path: Path, way: str, timeout: str
) -> None:
    pings = {"ws_ping_interval": "100ms", "ws_ping_timeout": timeout}
    with (
        running_service(tmp_path, **pings, interpreter=interpreter) as service,
        gateway_by(way, tmp_path, service) as gateway,
    ):  # type: ignore[arg-type]
        client = open_socket(gateway)
        heard = [client.read_frame() for _ in range(10 if timeout == "off" else 2)]
        assert heard[0].opcode == PING
        if timeout == "off":
            assert {frame.opcode for frame in heard} == {PING}
        else:
            assert code_of(heard[-1]) == 1011
