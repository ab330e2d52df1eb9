"""Prometheus' own programs, and what the dashboard and the documents ask it."""

from __future__ import annotations

import subprocess
import tempfile
from typing import Any

import yaml

from tests.docs.blocks import blocks
from tests.programs import program


def promtool(*args: str, text: str) -> str:
    """Run promtool with a file of this text; return what it says. It must find nothing wrong."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        argv = [program("promtool", "prometheus"), *args, *(() if "metrics" in args else (file.name,))]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Return what a dashboard asks, with values for Grafana's variables."""
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    return [e.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$upstream", ".*") for e in asked]


def alerts() -> dict[str, str]:
    """Return the alerts of docs/metrics.md, by name."""
    groups = [group for block in blocks("docs/metrics.md", "yaml") for group in yaml.safe_load(block).get("groups", ())]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
