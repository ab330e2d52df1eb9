"""The page's scripts without a browser: their rules in Node, and the released file of npm."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.programs import program
from ws_service.dash import SCRIPTS

FOLDER = ROOT / "ws_service" / "dash" / "js"

CENTRIFUGE = "5.8.0"


def test_the_rules_of_the_page_hold() -> None:
    files = sorted(map(str, (ROOT / "tests" / "ws_service" / "dash" / "js").glob("*.test.js")))
    done = subprocess.run(
        [program("node", "nodejs"), "--test", *files], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"^# pass [1-9]\d", done.stdout, re.MULTILINE), done.stdout[-500:]


def test_centrifuge_is_the_file_that_npm_has(tmp_path: Path) -> None:
    argv = [program("npm"), "pack", "--silent", f"centrifuge@{CENTRIFUGE}"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.skip(f"npm pack failed: {done.stderr[-500:]}")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as package:
        for member, name in (("dist/centrifuge.js", "centrifuge.js"), ("LICENSE", "centrifuge.LICENSE.txt")):
            released = package.extractfile(f"package/{member}")
            assert released is not None
            assert hashlib.sha256(released.read()).digest() == hashlib.sha256((FOLDER / name).read_bytes()).digest()


def test_every_script_is_loaded_by_a_page() -> None:
    assert {path.stem for path in FOLDER.glob("*.js")} == set(SCRIPTS)


def test_the_scripts_are_of_a_language_that_every_browser_of_dash_has() -> None:
    """ES5, with the library of ES2015: what React 16 needs too."""
    code = "new (require('vm').Script)(require('fs').readFileSync(process.argv[1], 'utf8'))"
    modern = re.compile(r"(?<![\w.])(?:let|const|class|async|await|import|export)\s|=>|`|\?\?|\?\.\w|\.\.\.")
    for name in set(SCRIPTS) - {"centrifuge"}:
        text = (FOLDER / f"{name}.js").read_text("utf-8")
        subprocess.run([program("node", "nodejs"), "-e", code, str(FOLDER / f"{name}.js")], check=True, timeout=20)
        without = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"", "", text, flags=re.DOTALL)
        assert modern.findall(without) == [], name
        assert len(text.splitlines()) <= 400, name
