"""Under CI a skip is a failure: in a pytest of its own, with a file that skips in each way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

CONFTEST = """
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport
"""

SKIPS = """
import pytest

@pytest.mark.skipif(True, reason="there is no nginx")
def test_marked(): ...

@pytest.fixture
def server():
    pytest.skip("there is no server")

def test_in_a_fixture(server): ...

def test_import():
    pytest.importorskip("no_such_module")

@pytest.mark.skipif(True, reason="only root can do it")
def test_permitted(): ...

@pytest.mark.xfail(strict=True)
def test_expected():
    raise ValueError
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_skips.py").write_text(SKIPS)
    return tmp_path


def outcome(folder: Path, ci: str) -> str:
    """Return the last line of a run of pytest."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:dash", "-c", os.devnull]
    env = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*argv, "--rootdir", folder, folder], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()[-1].partition(" in ")[0]


@pytest.mark.system
def test_under_ci_a_skip_is_a_failure_unless_its_reason_is_permitted(folder: Path) -> None:
    assert outcome(folder, "1") == "1 failed, 1 skipped, 1 xfailed, 2 errors"
    assert outcome(folder, "") == "4 skipped, 1 xfailed"


@pytest.mark.system
def test_under_ci_a_file_that_skips_as_a_whole_is_an_error(folder: Path) -> None:
    (folder / "test_skips.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    assert outcome(folder, "1") == "1 error"
    assert outcome(folder, "") == "1 skipped"


def test_ci_installs_every_program_that_a_test_asks_for() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    wanted = set()
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text("utf-8")
        calls = re.findall(r'\bprogram\("([\w-]+)"(?:, "([^"]+)")?\)', text)
        wanted |= {package or name for name, package in calls if not package.startswith("pip ")}
        wanted |= set(re.findall(r"(?<!`)\bapt(?:-get)? install ([\w-]+)", text))
    assert {"haproxy", "iproute2", "nginx"} <= wanted
    assert [each for each in sorted(wanted) if not re.search(rf"(?<![\w-]){each}(?![\w-])", script)] == []
