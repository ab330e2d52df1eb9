"""``examples/seed-script``: the script of plotly/dash#3636, unchanged, on the versions of the report."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.examples.example import EXAMPLES
from tests.processes import ROOT, python
from tests.system.seed import PINNED, seed_python
from tests.system.test_init import has_namespaces
from tests.system.test_seed import SCRIPT

__all__ = ["seed_python"]

pytestmark = [
    pytest.mark.timeout(600),  # the first run installs an environment
    pytest.mark.skipif(not has_namespaces(), reason="this user may not make a network namespace"),
]


def test_the_script_and_the_versions_are_those_of_the_report() -> None:
    assert (EXAMPLES / "seed-script" / "app.py").read_text("utf-8") == SCRIPT
    lines = (EXAMPLES / "seed-script" / "requirements.txt").read_text("utf-8").splitlines()
    wanted = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name.partition("[")[0]: version for name, version in wanted.items()} == PINNED


def programs(folder: Path, interpreter: Path) -> Path:
    """Make a folder with this project's programs and Python as an environment with the report's versions has them."""
    folder.mkdir()
    for name, words in {"python": "", "dash-ws-proxy": "-m proxy", "dash-ws-service": "-m ws_service"}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {interpreter} {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def test_its_websocket_says_hello_after_the_gateway(tmp_path: Path, seed_python: Path) -> None:
    found = programs(tmp_path / "bin", seed_python)
    argv = [shutil.which("unshare") or "", "--net", *python("-m", "tests.examples.own_network", tmp_path, found)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["gateway"] == {"messages": ['{"msg":"hello"}'], "code": 1000}
    assert told["page"] and json.loads(told["layout"])["props"]["children"] == "Hello"
