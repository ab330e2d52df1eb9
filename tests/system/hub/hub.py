"""A gateway, and a service with a hub behind it, as real processes; what a test needs to reach and to kill them."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import Process, free_port, python
from tests.system.gateway import Gateway, running_gateway
from tests.system.handoff import WAYS

KEY = "the-key-of-the-tests-which-signs-tokens-and-is-no-secret"
"""The hub's key, unless a test says otherwise; the processes get it by ``DASH_WS_HUB_KEY``."""

API_KEY = hmac.digest(KEY.encode(), b"api", hashlib.sha256).hex()
"""The key of the HTTP API that follows from ``KEY``."""

NAMESPACES: dict[str, dict[str, object]] = {
    "open": {"subscribe": "anyone", "publish": "anyone", "presence": True, "rate": 1000, "recovery": "stream"},
    "latest": {"subscribe": "anyone", "recovery": "cache"},
    "seen": {"subscribe": "anyone", "presence": True, "join_leave": True},
    "long": {"subscribe": "anyone", "recovery": "stream", "history": 1000},
    "short": {"subscribe": "anyone", "recovery": "stream", "history": 5},
    "read": {"subscribe": "anyone"},
    "closed": {"subscribe": "none"},
}
"""Namespaces that every hub of the tests has. A topic without a namespace has the defaults: a token is needed."""


class Hub:
    """A running hub. url: of its WebSocket, through the gateway. api: of its HTTP API, past the gateway."""

    def __init__(self, folder: Path, config: Mapping[str, object], port: int, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = port
        self.api = f"http://127.0.0.1:{port}/api"
        self.gateway: Gateway
        self.env = dict(env)
        self._file = folder / "config.yaml"
        self._file.write_text(json.dumps({"ws_service": config}, indent=1))  # JSON is YAML
        self.services: list[Process] = []
        self.start()

    @property
    def service(self) -> Process:
        """The process that serves, or served last."""
        return self.services[-1]

    @property
    def url(self) -> str:
        return f"ws://{self.gateway.authority}/connection/websocket"

    def start(self) -> None:
        """Start the service, and wait until it serves."""
        argv = python("-m", "ws_service", "--config", self._file)
        self.services.append(Process(argv, cwd=self.folder, env=self.env))
        self.service.wait_for("ws service ready on")

    def stop(self) -> None:
        """Ask the service to end, and wait for it."""
        self.service.stop()

    def kill(self) -> None:
        """End the service without a chance to say goodbye."""
        self.service.stop(signal.SIGKILL)

    def ask(self, method: str, given: object, key: str = API_KEY) -> Any:
        """Ask the HTTP API and return its answer. urllib.error.HTTPError where it refuses."""
        headers = {"Content-Type": "application/json", "X-API-Key": key}
        request = urllib.request.Request(f"{self.api}/{method}", json.dumps(given).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def publish(self, topic: str, data: object) -> Any:
        """Publish through the HTTP API; return its result."""
        return self.ask("publish", {"channel": topic, "data": data})["result"]


@contextmanager
def running_hub(
    folder: Path,
    *,
    way: str = WAYS[0],
    broker: str = "memory",
    dash: str = "http://127.0.0.1:9",
    gateway: Mapping[str, object] | None = None,
    service: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    has_key_file: bool = False,
    **settings: object,
) -> Iterator[Hub]:
    """Run a service with a hub, and a gateway in front of it, for the length of a ``with`` block.

    Neither must have failed in it. ``folder`` then has the service's ``config.yaml``: a program that is started in
    it, with ``hub.env``, finds the hub by itself.

    way: how sockets reach the service, one of ``WAYS``. dash: the URL of the Dash server.
    gateway, service: further keys of these sections. env: of the service, beside our own and the hub's key.
    has_key_file: whether the service makes a key of its own; else it is ``KEY``, and ``hub.publish`` works.
    settings: further keys of ``ws_service.hub``; ``namespaces`` are added to ``NAMESPACES``.
    """
    port = free_port()
    own = settings.pop("namespaces", {})
    assert isinstance(own, dict)
    hub_settings = {"broker": broker, "namespaces": {**NAMESPACES, **own}, **settings}
    config = {"listen": f"127.0.0.1:{port}", "hub": hub_settings, **(service or {})}
    hub = Hub(folder, config, port, {**({} if has_key_file else {"DASH_WS_HUB_KEY": KEY}), **(env or {})})
    try:
        options: dict[str, Any] = {"handoff": "run/ws.sock" if way == WAYS[0] else "off", **(gateway or {})}
        options["timeouts"] = {"hold": "5s", **options.get("timeouts", {})}  # a test starts a service within it
        with running_gateway(folder, dash=dash, ws=f"http://127.0.0.1:{port}", **options) as hub.gateway:
            if way == WAYS[0]:
                hub.gateway.process.wait_for("takes WebSockets over")
            yield hub
    finally:
        hub.stop()
    output = "".join(service.output for service in hub.services)
    fault = output.find("Traceback")
    assert fault < 0, f"the service failed:\n{output[max(0, fault - 500) : fault + 6000]}"
