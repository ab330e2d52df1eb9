"""The hand-off with the uvicorn of the report this project began with, and with today's."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.system.handoff import code_of, echoes, gateway_for, hear, open_socket, running_service
from tests.wire.frames import MASK, frame
from tests.wire.messages import handshake

pytestmark = pytest.mark.timeout(600)  # the first run installs the environment of the report


@pytest.mark.parametrize("workers", [1, 2])
def test_sockets_are_adopted_answered_and_closed(
    request: pytest.FixtureRequest, interpreter: str, tmp_path: Path, workers: int
) -> None:
    with (
        running_service(tmp_path, workers=workers, interpreter=interpreter) as service,
        gateway_for(tmp_path, service) as gateway,
    ):
        gateway.process.wait_for_count("takes WebSockets over", workers)
        clients = [open_socket(gateway, ahead=frame(1, b"early", mask=MASK)) for _ in range(4)]
        for client in clients:
            assert hear(client) == "early"
            assert echoes(client, "hello" * 10_000)
        refused = gateway.dial()
        refused.send(handshake("/refused"))
        answer = refused.read_message()
        assert (answer.status, answer.body) == (401, b"not you")
        assert refused.read_to_end() == b""
        leaving = open_socket(gateway)
        leaving.send(frame(8, b"\x0f\xa1", mask=MASK))
        assert code_of(leaving.read_frame()) == 4001
        leaving.close()
        gateway.process.wait_for("client closed by=client code=4001")
        service.process.send(signal.SIGTERM)
        for client in clients:
            assert code_of(client.read_frame()) == 1012
            client.close()
        assert service.process.wait() == 0
        gateway.process.wait_for_count("upstream closed by=upstream code=1012", 4)
        assert "Traceback" not in service.process.output
        assert "tunnel open" not in gateway.process.output


def test_an_app_that_cannot_start_in_a_worker_ends_the_service(interpreter: str, tmp_path: Path) -> None:
    """Before 0.5x uvicorn would start another worker for ever."""
    broken = "raise RuntimeError('no database')\n"
    with pytest.raises(AssertionError, match="RuntimeError: no database") as caught:
        with running_service(tmp_path, app=broken, workers=2, interpreter=interpreter):
            pass
    assert "ended; expected" in str(caught.value), "it has left by itself"
