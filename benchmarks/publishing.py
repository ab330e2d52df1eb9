"""What a publication costs: the callback that publishes, and the service. ``python -m benchmarks.publishing``.

``publish()`` and PyPI ``cent``, the client of Centrifugo's API, in turn. Each round is a process of its own, whose
first messages are not counted. CPU time is that of the processes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click
import psutil

from benchmarks.processes import ROOT, Child, free_port

MESSAGES = 3000
ROUNDS = 5
SIZE = 200
"""Bytes of a publication."""

KEY = "the-key-of-the-benchmark-which-is-no-secret"

WORKER = """
import json, sys, time
kind, count, data, url, key = sys.argv[1], int(sys.argv[2]), {"text": "x" * (int(sys.argv[3]) - 11)}, *sys.argv[4:]
if kind == "publish":
    from ws_service import publish
    def send(): publish("bench", data, raise_errors=True)
else:
    from cent import Client, PublishRequest
    client = Client(url + "/api", api_key=key)
    def send(): client.publish(PublishRequest(channel="bench", data=data))
for _ in range(100): send()
print("ready", flush=True)
sys.stdin.readline()
took = []
cpu = time.process_time()
for _ in range(count):
    began = time.perf_counter()
    send()
    took.append(time.perf_counter() - began)
cpu = time.process_time() - cpu
took.sort()
print(json.dumps([cpu / count * 1e6, took[count // 2] * 1e6, took[count * 99 // 100] * 1e6]), flush=True)
sys.stdin.readline()
"""


def main() -> None:
    """Measure, and print a table."""
    found: dict[str, list[list[float]]] = {"publish": [], "cent": []}
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "config.yaml").write_text(f"ws_service: {{listen: '127.0.0.1:{port}', handoff: 'off'}}\n", "utf-8")
        env = {"DASH_WS_HUB_URL": f"http://127.0.0.1:{port}", "DASH_WS_HUB_KEY": KEY}
        argv = [sys.executable, "-m", "ws_service", "--config", str(folder / "config.yaml")]
        service = Child("service", argv, folder=folder, cores=frozenset(psutil.Process().cpu_affinity()), env=env)
        try:
            asyncio.run(service.listening(port))
            for _ in range(ROUNDS):
                for kind, rounds in found.items():
                    rounds.append(_round(kind, psutil.Process(service.session), env))
        finally:
            service.stop()
    click.echo(
        "| | CPU of the caller, µs | wall, median, µs | p99, µs | CPU of the service, µs |\n|---|---|---|---|---|"
    )
    for kind, rounds in found.items():
        click.echo(f"| {kind} | {' | '.join(f'{median(column):.0f}' for column in zip(*rounds, strict=True))} |")


def _round(kind: str, service: psutil.Process, env: dict[str, str]) -> list[float]:
    key = hmac.digest(KEY.encode(), b"api", hashlib.sha256).hex()
    argv = [sys.executable, "-c", WORKER, kind, str(MESSAGES), str(SIZE), env["DASH_WS_HUB_URL"], key]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**psutil.Process().environ(), **env},
    ) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        if worker.stdout.readline() != "ready\n":
            raise SystemExit(f"{kind} does not publish")
        before = sum(service.cpu_times()[:2])
        worker.stdin.write("\n")
        worker.stdin.flush()
        figures: list[float] = json.loads(worker.stdout.readline())
        used = sum(service.cpu_times()[:2]) - before
        worker.stdin.close()
    return [*figures, used / MESSAGES * 1e6]


if __name__ == "__main__":
    main()
