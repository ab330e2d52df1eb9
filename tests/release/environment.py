"""New virtual environments in seconds: uv links what it has once downloaded, where pip unpacks it again each time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.processes import ROOT

UV = Path(sys.prefix) / "bin" / "uv"


def call(*argv: str | Path, cwd: Path, **env: str) -> str:
    """Run a program to its end, without the repository on Python's path; return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env={**environment, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout[-3000:]}"
    return done.stdout


PIP = """\
import os, sys
os.environ["VIRTUAL_ENV"] = sys.prefix
os.execv({uv!r}, [{uv!r}, "pip", *sys.argv[1:]])
"""
"""The module ``pip`` of a new environment: uv takes the same arguments."""


def new_environment(folder: Path, *wanted: str | Path) -> Path:
    """Make a virtual environment in which pip is uv, and install in it; return its folder of programs.

    wanted: arguments of ``pip install``, beside the constraints of this repository.
    """
    call(UV, "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
    programs = folder / "bin"
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "pip").mkdir()
    (packages / "pip" / "__main__.py").write_text(PIP.format(uv=str(UV)))
    (programs / "pip").write_text(f'#!/bin/sh\nexec "{programs}/python" -m pip "$@"\n')
    (programs / "pip").chmod(0o755)
    if wanted:
        constraints = ROOT / "constraints.txt"
        call(programs / "pip", "install", "--quiet", "--constraint", constraints, *wanted, cwd=folder.parent)
    return programs


def tracked_files() -> list[str]:
    """Return the files of the repository, as git knows them; without git there is nothing to compare with."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing is tracked")
    listed = call("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


def clone(folder: Path) -> Path:
    """Make a repository of the files as they are here, with one commit: what a clone of the next commit has."""
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    call("git", "init", "--quiet", cwd=folder)
    call("git", "add", "--all", "--force", cwd=folder)
    call("git", *author, "commit", "--quiet", "--no-gpg-sign", "-m", "The files as they are", cwd=folder)
    return folder


def make_dist(repository: Path) -> tuple[Path, Path]:
    """Run ``make dist`` with the environment of the tests; return the wheel and the sdist."""
    call("make", "dist", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.dev", cwd=repository, MAKEFLAGS="")
    [wheel], [sdist] = (repository / "dist").glob("*.whl"), (repository / "dist").glob("*.tar.gz")
    return wheel, sdist


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
