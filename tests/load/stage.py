"""The stage: a gateway, a service that adopts sockets, an origin in Dash's place; and what the kernel says of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import Child
from tests.load.clients import ask
from tests.processes import ROOT, free_ports, python

EVERYWHERE = frozenset(os.sched_getaffinity(0))

TUNNEL, HANDED = "/dash/echo", "/echo"
"""Where a WebSocket goes to the origin, through a tunnel, and where it is handed over to the service."""

ROUTES = [{"path": "/dash", "to": "dash"}, {"path": "/flood", "to": "dash"}]

OPEN = {"subscribe": "anyone", "publish": "anyone", "rate": 1000, "recovery": "stream", "history": 20}
"""A namespace of the hub in which a client may do everything."""

LIMITS = {
    "connections_per_client": None,
    "websockets_per_client": None,
    "handshakes_per_second": None,
    "uploads_per_client": None,
    "buffered_per_client": None,
}
"""No limits for one client: the load comes from few addresses, and what one may take is another test's question."""

FAULTS = re.compile(r"Traceback|Task exception|fault of the gateway|never awaited|Exception in|destroyed but it is")
"""What no log may hold."""


class Stage:
    """The processes, and how to reach them. settings: of the gateway, beside what the stage needs."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.port, self.admin_port, self.origin_port, self.service_port, self.sink_port = free_ports(5)
        self.book = folder / "book"
        folder.mkdir(exist_ok=True)
        self.book.touch()
        self._settings = settings
        self.app = "echo:app"
        self._children: dict[str, Child] = {}
        for app in ("tests/system/apps/echo.py", "tests/load/endpoints.py"):
            (folder / Path(app).name).write_text((ROOT / app).read_text())
        self.configure()

    @property
    def pid(self) -> int:
        """The gateway's."""
        return self.pid_of("gateway")

    def pid_of(self, name: str) -> int:
        """Return a process's number."""
        return self._children[name].session

    @property
    def config(self) -> Path:
        """The file of the gateway and the service."""
        return self.folder / "config.yaml"

    def configure(self, **settings: Any) -> None:
        """Write it, with ``settings`` in place of the gateway's own."""
        section = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin_port}",
            "upstreams": {
                "dash": f"http://127.0.0.1:{self.origin_port}",
                "ws": f"http://127.0.0.1:{self.service_port}",
            },
            "handoff": "run/ws.sock",
            "routes": ROUTES,
            "limits": LIMITS,
            **self._settings,
            **settings,
        }
        service = {
            "listen": f"127.0.0.1:{self.service_port}",
            "handoff": "run/ws.sock",
            "app": self.app,
            "drain": "2s",
            "hub": {"namespaces": {"open": OPEN}},
        }
        self.config.write_text(json.dumps({"gateway": section, "ws_service": service}, indent=1))  # JSON is YAML

    async def start(self, name: str) -> None:
        """Start ``gateway``, ``origin``, ``service`` or ``sink``, and wait until it listens."""
        port = {
            "gateway": self.port,
            "origin": self.origin_port,
            "service": self.service_port,
            "sink": self.sink_port,
        }[name]
        child = Child(name, self._argv(name), folder=self.folder, cores=EVERYWHERE, env={"PYTHONUNBUFFERED": "1"})
        self._children[name] = child
        await child.listening(port)

    def kill(self, name: str) -> None:
        """End a process with SIGKILL."""
        child = self._children.pop(name)
        os.killpg(child.session, signal.SIGKILL)
        child.stop()

    def stop(self, name: str) -> None:
        """End a process politely."""
        self._children.pop(name).stop()

    def reload(self) -> None:
        """Have the gateway read its file again."""
        os.kill(self.pid, signal.SIGHUP)

    def check(self) -> None:
        """Raise Failed when the gateway has ended."""
        self._children["gateway"].check()

    def log(self, name: str) -> str:
        """Return what a process, and those before it, have printed."""
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def faults(self, name: str) -> list[str]:
        """Return the lines of a log that nobody may write."""
        return [line for line in self.log(name).splitlines() if FAULTS.search(line)]

    async def ready(self) -> dict[str, Any]:
        """Return what the gateway says of itself."""
        said: dict[str, Any] = (await ask(self.admin_port, "GET /readyz")).json()
        return said

    async def sent(self) -> int:
        """Return how many bytes the origin has sent in bulk."""
        return int((await ask(self.origin_port, "GET /sent")).body)

    def descriptors(self) -> int:
        """Return how many files the gateway has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Return the gateway's private bytes: what others share with it changes with them."""
        return sum(_kib(self.pid, "Private_Clean", "Private_Dirty").values()) << 10

    def pss(self) -> int:
        """Return the gateway's proportional bytes."""
        return sum(_kib(self.pid, "Pss").values()) << 10

    def abandon(self) -> None:
        """End everything with SIGKILL: for processes that may be far too busy to hear."""
        for name in list(self._children):
            self.kill(name)

    def close(self) -> None:
        """End everything."""
        for name in ("gateway", "service", "origin", "sink"):
            if name in self._children:
                self.stop(name)

    def _argv(self, name: str) -> list[str]:
        if name == "origin":
            return python("-m", "tests.load.origin", str(self.origin_port), self.book)
        if name == "sink":
            return python("-m", "tests.load.sink", str(self.sink_port))
        return python("-m", {"gateway": "proxy", "service": "ws_service"}[name], "--config", self.config)


@asynccontextmanager
async def staged(folder: Path, *, has_service: bool = True, **settings: Any) -> AsyncIterator[Stage]:
    """Run everything for the length of a ``with`` block; ``settings`` are keys of ``gateway``."""
    stage = Stage(folder, settings)
    try:
        await asyncio.gather(*map(stage.start, ("origin", "service") if has_service else ("origin",)))
        await stage.start("gateway")
        yield stage
    finally:
        stage.close()


def _kib(pid: int, *names: str) -> dict[str, int]:
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in names:
            found[name] = int(rest.split()[0])
    return found
