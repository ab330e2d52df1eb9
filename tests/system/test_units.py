"""The three units that ``init`` writes, started as systemd starts them: they are ready, and work together."""

from __future__ import annotations

import shlex
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import Process
from tests.system.deployed import FASTAPI, FLASK, Deployed, deploy, environment
from tests.system.service_manager import ServiceManager, service_manager
from tests.system.test_init import get, page_prefix, unit
from tests.wire.connection import Wire
from tests.wire.messages import handshake

pytestmark = pytest.mark.system

READY = {"gateway": "gateway ready on", "ws": "ws service ready on", "dash": "Gunicorn arbiter booted"}
"""How the line for ``systemctl status`` begins; uvicorn has none."""


class Host:
    """Starts the programs of units, with the folders and the environment that systemd gives them."""

    def __init__(self, stack: ExitStack, systemd: ServiceManager, site: Deployed, folder: Path) -> None:
        self._stack, self._systemd, self._site = stack, systemd, site
        self.runtime, self.state = folder / "runtime", folder / "state"
        self.runtime.mkdir(0o750)
        self.state.mkdir(0o700)

    def start(self, name: str) -> Process:
        """Start a unit, and wait until systemd would say that it has started."""
        written = unit(self._site.text(f"deploy/systemd/{self._site.name}-{name}.service"))
        folders = {"RUNTIME_DIRECTORY": str(self.runtime), "STATE_DIRECTORY": str(self.state)}
        env = environment(**dict(line.split("=", 1) for line in written.get("Environment", [])), **folders)
        assert written["WorkingDirectory"] == [str(self._site.folder)]
        [command] = written["ExecStart"]
        argv = shlex.split(command.replace("8050", str(self._site.dash)))
        process = self._stack.enter_context(self._systemd.run(*argv, cwd=self._site.folder, env=env))
        if written["Type"] == ["notify"]:
            said = self._systemd.told()
            assert said[0] == "READY=1"
            assert said[1].startswith(f"STATUS={READY[name]}")
        else:
            process.wait_for("Uvicorn running")
        return process


@pytest.mark.parametrize("source", [pytest.param(FLASK, id="gunicorn"), pytest.param(FASTAPI, id="uvicorn")])
def test_the_three_units_are_ready_and_hand_sockets_over(tmp_path: Path, source: str) -> None:
    site = deploy(tmp_path / "my board", source)
    site.use_own_ports()
    with service_manager(tmp_path) as systemd, ExitStack() as stack:
        [name] = unit(site.text(f"deploy/systemd/{site.name}-gateway.socket"))["FileDescriptorName"]
        host = Host(stack, systemd, site, tmp_path)
        host.start("dash")
        host.start("ws")
        port = systemd.listen(name)
        gateway = host.start("gateway")
        gateway.wait_for("takes WebSockets over")
        status, page = get(port)
        assert (status, page_prefix(page)) == (200, "/")
        with Wire.to(port) as client:
            client.send(handshake("/connection/websocket", host=f"127.0.0.1:{port}"))
            assert client.read_head().startswith(b"HTTP/1.1 101 ")
            gateway.wait_for(r'"GET /connection/websocket" - handed off -> ws')
        assert (host.runtime / "ws.sock").is_socket()
        assert (host.state / "hub.key").stat().st_mode & 0o777 == 0o600
        assert not (site.folder / "run").exists()
        gateway.send(signal.SIGHUP)  # ExecReload
        assert [systemd.told()[0], systemd.told()[0]] == ["RELOADING=1", "READY=1"]
        gateway.wait_for("the configuration was read again; nothing changed")
