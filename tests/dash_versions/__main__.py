"""``python -m tests.dash_versions [VERSION ...] [-- arguments of pytest]``: live pages on several versions of Dash,
and known faults of two.

Each version has an environment of its own in ``.venv-dash``; only the Dash server runs in it. ``pre`` is the newest
release, also of those that are not final.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

VERSIONS = ("2.18.2", "3.0.4", "3.4.0", "4.4.1", "pre")

TESTS = ("tests/system/test_live_page.py", "tests/system/test_live_set_up.py")

FAULTY = ("4.1.0rc0", "4.2.0")
"""Versions with faults that ``check --live`` knows; its test alone runs with them."""

DOCTOR = ("tests/system/test_doctor.py", "-k", "known_faults")

HOME = ROOT / ".venv-dash"

BESIDE = ("gunicorn", "dash-ag-grid", "click", "pydantic", "pyjwt", "pyyaml")
"""What the app, ``ws_service.dash`` and its reading of the config file import besides."""


def python_of(version: str) -> Path:
    """Return the interpreter with a version of Dash; installs it when it is not there, and ``pre`` each time."""
    folder = HOME / version
    python = folder / "bin" / "python"
    if version == "pre" or not (folder / "complete").exists():
        HOME.mkdir(exist_ok=True)
        (HOME / ".gitignore").write_text("*\n")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        wanted = ["--pre", "--upgrade", "dash"] if version == "pre" else [f"dash=={version}"]
        if version in FAULTY:
            wanted = [f"dash[fastapi]=={version}", "uvicorn[standard]"]
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True)
        subprocess.run([*pip, *BESIDE], check=True)
        (folder / "complete").touch()
    return python


def main(arguments: list[str]) -> int:
    """Run the tests with each version; returns 1 when any failed."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    results = {}
    for version in arguments[:split] or (*VERSIONS, *FAULTY):
        python = python_of(version)
        code = "import dash; print(dash.__version__)"
        exact = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        tests = DOCTOR if version in FAULTY else TESTS
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *arguments[split + 1 :]]
        done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "DASH_PYTHON": str(python)})
        results[exact] = "passed" if done.returncode == 0 else "failed"
        print(f"Dash {exact}: {results[exact]}", flush=True)
    print(", ".join(f"{version} {result}" for version, result in results.items()))
    return int("failed" in results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
