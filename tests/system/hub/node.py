"""The packages of npm that the tests use, as they are published: the newest ones, installed once for all tests."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.programs import program

PACKAGES = ("axe-core", "centrifuge", "ws")

FOLDER = Path(sys.prefix) / "node"
"""Inside the virtual environment, so that one command removes both."""


@cache
def node_modules() -> Path:
    """Install the newest of ``PACKAGES``; return where Node finds them (``NODE_PATH``).

    Without npm, or without its registry and nothing installed, the test skips.
    """
    _, npm = program("node", "nodejs"), program("npm")
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of pytest-xdist share the folder
        wanted = [f"{name}@latest" for name in PACKAGES]
        argv = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(FOLDER), *wanted]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    modules = FOLDER / "node_modules"
    if done.returncode and not all((modules / name).is_dir() for name in PACKAGES):
        pytest.skip(f"npm install failed: {done.stderr[-500:]}")
    print("from npm:", ", ".join(f"{name} {_version(modules / name)}" for name in PACKAGES))
    return modules


def _version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text("utf-8"))["version"])
