"""The page's scripts without a browser: their rules in Node, the released file of npm, and the wheel that has them."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ws_service
from tests.processes import ROOT
from tests.system.hub.node import give_up
from ws_service.dash import SCRIPTS

FOLDER = ROOT / "ws_service" / "dash" / "js"

CENTRIFUGE = "5.8.0"


def node() -> str:
    path = shutil.which("node")
    if path is None:
        give_up("no node on PATH; on Debian: apt install nodejs")
    return path


def test_the_rules_of_the_page_hold() -> None:
    files = sorted(map(str, (ROOT / "tests" / "ws_service" / "dash" / "js").glob("*.test.js")))
    done = subprocess.run([node(), "--test", *files], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"^# pass [1-9]\d", done.stdout, re.MULTILINE), done.stdout[-500:]


def test_centrifuge_is_the_file_that_npm_has(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        give_up("no npm on PATH; on Debian: apt install npm")
    argv = [npm, "pack", "--silent", f"centrifuge@{CENTRIFUGE}"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        give_up(f"npm pack failed: {done.stderr[-500:]}")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as package:
        for member, name in (("dist/centrifuge.js", "centrifuge.js"), ("LICENSE", "centrifuge.LICENSE.txt")):
            released = package.extractfile(f"package/{member}")
            assert released is not None
            assert hashlib.sha256(released.read()).digest() == hashlib.sha256((FOLDER / name).read_bytes()).digest()


def test_the_wheel_has_all_that_a_page_needs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("proxy", "ws_service", "dash_app"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    if "No module named 'setuptools'" in done.stderr:
        pytest.skip("setuptools is not installed")
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(io.BytesIO(next(tmp_path.glob("*.whl")).read_bytes())) as wheel:
        names = set(wheel.namelist())
        assert (
            f"\nVersion: {ws_service.__version__}\n"
            in wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
        )
    assert {f"ws_service/dash/js/{name}.js" for name in SCRIPTS} <= names
    assert "ws_service/dash/js/centrifuge.LICENSE.txt" in names
    assert {path.stem for path in FOLDER.glob("*.js")} == set(SCRIPTS)


def test_the_scripts_are_of_a_language_that_every_browser_of_dash_has() -> None:
    """ES5, with the library of ES2015: what React 16 needs too."""
    code = "new (require('vm').Script)(require('fs').readFileSync(process.argv[1], 'utf8'))"
    modern = re.compile(r"(?<![\w.])(?:let|const|class|async|await|import|export)\s|=>|`|\?\?|\?\.\w|\.\.\.")
    for name in set(SCRIPTS) - {"centrifuge"}:
        text = (FOLDER / f"{name}.js").read_text("utf-8")
        subprocess.run([node(), "-e", code, str(FOLDER / f"{name}.js")], check=True, timeout=20)
        without = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"", "", text, flags=re.DOTALL)
        assert modern.findall(without) == [], name
        assert len(text.splitlines()) <= 400, name
