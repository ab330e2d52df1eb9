"""An environment with exactly the versions of the report that this project began with."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.release.environment import call, new_environment

PINNED = {"dash": "4.1.0rc0", "fastapi": "0.135.1", "starlette": "1.0.0rc1", "uvicorn": "0.41.0"}
"""The versions of the report; they stay when our own constraints move on."""

OURS = ["aiohttp", "click", "httptools", "prometheus-client", "pydantic", "pyjwt", "pyyaml", "uvloop", "websockets"]
"""What the gateway and the service import besides."""


def requirements() -> tuple[str, str]:
    """Return what to install and the constraints for everything that the report does not pin."""
    pins = [f"{name}[fastapi]=={v}" if name == "dash" else f"{name}=={v}" for name, v in PINNED.items()]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    others = [line for line in lines if line.partition("==")[0] not in PINNED and line[:1].isalnum()]
    return "\n".join([*pins, *OURS]) + "\n", "\n".join(others) + "\n"


def install(folder: Path, wanted: str, others: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pip = new_environment(folder) / "pip"
    (folder / "requirements.txt").write_text(wanted)
    (folder / "constraints.txt").write_text(others)
    call(pip, "install", "--quiet", "-r", "requirements.txt", "-c", "constraints.txt", cwd=folder)
    (folder / "complete").touch()


@pytest.fixture(scope="session")
def seed_python() -> Path:
    """The interpreter of an environment with exactly the report's versions, made once and kept in .venv-seed."""
    wanted, others = requirements()
    key = hashlib.sha256(f"{sys.version}\n{wanted}\n{others}".encode()).hexdigest()[:16]
    home = ROOT / ".venv-seed"
    home.mkdir(exist_ok=True)
    (home / ".gitignore").write_text("*\n")  # git and the linters leave it alone
    folder = home / key
    with (home / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once share one installation
        if not (folder / "complete").exists():
            install(folder, wanted, others)
    return folder / "bin" / "python"
