"""SIGHUP to the service: nobody is dropped, the log says what takes a restart, with one process and several."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.system.handoff import code_of, echoes, gateway_for, open_socket, running_service

pytestmark = pytest.mark.timeout(600)  # the first run installs the environment of the report


@pytest.mark.parametrize("workers", [1, 3])
def test_sighup_drops_no_connection_and_says_what_takes_a_restart(
    interpreter: str, tmp_path: Path, workers: int
) -> None:
    with (
        running_service(tmp_path, workers=workers, interpreter=interpreter) as service,
        gateway_for(tmp_path, service) as gateway,
    ):
        gateway.process.wait_for_count("takes WebSockets over", workers)
        clients = [open_socket(gateway) for _ in range(6)]
        config = next(tmp_path.glob("service-*.yaml"))
        written = config.read_text()
        service.process.send(signal.SIGHUP)
        service.process.wait_for("INFO the configuration was read again; nothing changed")
        config.write_text(written.replace('"app"', '"drain": "3s", "app"'))
        service.process.send(signal.SIGHUP)
        service.process.wait_for("INFO the configuration was read again; 1 takes a restart$")
        service.process.wait_for("WARNING takes a restart: ws_service.drain: 20s -> 3s$")
        config.write_text(written.replace('"app"', '"darin": "3s", "app"'))
        os.killpg(service.process.pid, signal.SIGHUP)  # as a terminal does
        service.process.wait_for(r"ws_service.darin: is not a setting; did you mean drain\?$")
        service.process.wait_for("ERROR the configuration was read again and cannot be used; the one before stays")
        for client in clients:
            assert echoes(client, "still here")
        assert echoes(open_socket(gateway), "so am I")
        assert service.process.output.count("ws service ready") == workers, "nobody was replaced"
        service.process.send(signal.SIGTERM)
        for client in clients:
            assert code_of(client.read_frame()) == 1012
            client.close()
        gateway.hang_up()
        assert service.process.wait() == 0


def test_an_app_that_cannot_be_imported_any_more_replaces_no_worker_and_ends_none(tmp_path: Path) -> None:
    with running_service(tmp_path, workers=2) as service, gateway_for(tmp_path, service) as gateway:
        gateway.process.wait_for_count("takes WebSockets over", 2)
        clients = [open_socket(gateway) for _ in range(4)]
        (tmp_path / "live.py").write_text("import nowhere_to_be_found\n")
        service.process.send(signal.SIGUSR1)
        service.process.wait_for("No module named 'nowhere_to_be_found'")
        service.process.wait_for("keeping worker .* and aborting the restart")
        for client in clients:
            assert echoes(client, "still here")
            client.close()
        assert echoes(open_socket(gateway), "so am I")
