"""The wheel and the sdist that ``make dist`` builds."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest

import ws_service
from tests.processes import ROOT, free_port, free_ports, running
from tests.release.environment import UV, call, clone, contents, make_dist, new_environment, tracked_files
from tests.test_repository import PACKAGES
from ws_service.dash import SCRIPTS

pytestmark = pytest.mark.timeout(180)

MADE_BY_SETUPTOOLS = {"PKG-INFO", "setup.cfg"}

THIRD_PARTY = {
    "ws_service/dash/js/centrifuge.js": (
        "ws_service/dash/js/centrifuge.LICENSE.txt",  # its own
        "ws_service/dash/js/events.LICENSE.txt",  # of npm's `events`, which it contains
    )
}
"""JavaScript of other authors, and the licences that go with it; all other JavaScript is of this project."""


APP = """\
import sys
from dash import Dash, dcc, html
from ws_service import publish
from ws_service.dash import Live

app = Dash(__name__)
app.layout = html.Div([Live("prices", into="prices"), dcc.Store(id="prices")])

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with what a folder collects: a module that is gone in an old build, and a file that git does not know."""
    folder = clone(tmp_path_factory.mktemp("repository"))
    for stray in ("build/lib/proxy/gone.py", "proxy/notes.py", "proxy/__pycache__/cli.cpython-311.pyc"):
        (folder / stray).parent.mkdir(parents=True, exist_ok=True)
        (folder / stray).write_text("")
    return folder


@pytest.fixture(scope="module")
def distributions(repository: Path) -> tuple[Path, Path]:
    return make_dist(repository)


@pytest.fixture(scope="module")
def wheel(distributions: tuple[Path, Path]) -> dict[str, bytes]:
    return contents(distributions[0])


def files_in(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    return BytesParser().parsebytes(next(text for name, text in wheel.items() if name.endswith(".dist-info/METADATA")))


def test_the_wheel_is_the_packages_and_nothing_else(wheel: dict[str, bytes]) -> None:
    of_us = {name for name in tracked_files() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    information = {name for name in wheel if name.partition("/")[0].endswith(".dist-info")}
    assert set(wheel) - information == of_us
    assert {f"ws_service/dash/js/{name}.js" for name in SCRIPTS} <= of_us
    assert {f"{package}/py.typed" for package in PACKAGES} <= of_us


def of_us(sdist: Path) -> set[str]:
    return {name for name in files_in(sdist) if not name.startswith("dash_ws_proxy.egg-info/")} - MADE_BY_SETUPTOOLS


def test_the_sdist_is_the_repository(distributions: tuple[Path, Path]) -> None:
    assert of_us(distributions[1]) == set(tracked_files())


def test_no_sdist_has_the_secrets_of_who_builds_it(repository: Path, tmp_path: Path) -> None:
    """Built in the folder, as every front end does it, after the demo and an example were run there."""
    folder = shutil.copytree(repository, tmp_path / "clone", ignore=shutil.ignore_patterns("build", "dist", ".git"))
    in_an_example = ("users.json", ".env", "run/hub.key", "run/hub.key.previous")
    secret = {".env", "cert.pem", "run/hub.key", *(f"examples/per-user/{each}" for each in in_an_example)}
    for name in secret:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("secret")
    call(UV, "build", "--quiet", "--sdist", "--out-dir", tmp_path, cwd=folder)
    [sdist] = tmp_path.glob("*.tar.gz")
    assert files_in(sdist) & secret == set()


def test_a_commit_has_the_same_contents_each_time_it_is_built(
    repository: Path, distributions: tuple[Path, Path]
) -> None:
    wheel, files = distributions[0].read_bytes(), files_in(distributions[1])
    again, source = make_dist(repository)
    assert again.read_bytes() == wheel
    assert files_in(source) == files


def test_the_metadata_are_true(metadata: Message) -> None:
    assert metadata["Version"] == ws_service.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True) == (ROOT / "README.md").read_bytes()
    assert metadata.get_all("Project-URL") is None, (
        "there is a public address: name it, and make the README's links whole"
    )
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_no_text_installs_the_package_by_its_name() -> None:
    """It is on no index yet, so what an index has under its name may be a program of an attacker."""
    by_name = re.compile(r"(?:\bpip3? install|\buvx|\bpipx|\buv (?:add|tool))\b[^\n]*[\s'\"]dash-ws-proxy\b")
    files = [path for top in ("docs", "examples", "proxy", "ws_service") for path in (ROOT / top).rglob("*.*")]
    texts = [path for path in [*ROOT.glob("*.md"), *files] if path.suffix in (".md", ".py", ".yaml", ".txt")]
    lines = [line for path in texts for line in path.read_text("utf-8").splitlines() if by_name.search(line)]
    assert [line for line in lines if "./dist/" not in line] == []


def test_each_script_of_another_author_comes_with_its_licences(wheel: dict[str, bytes], metadata: Message) -> None:
    told = set(metadata.get_all("License-File", []))
    licences = {licence for names in THIRD_PARTY.values() for licence in names}
    assert told == {"LICENSE", *licences}
    for name in licences:
        assert re.search(rb"Copyright .*Permission is hereby granted", wheel[name], re.DOTALL)
    for name in (name for name in wheel if name.endswith((".js", ".css")) and name not in THIRD_PARTY):
        text = wheel[name].decode()
        assert max(map(len, text.splitlines())) < 250, f"{name} is not written by hand: which licence has it?"
        assert not re.search(r"copyright|@license", text, re.IGNORECASE), f"{name}: which licence has it?"


def test_the_changelog_has_this_version_with_its_day() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## {re.escape(ws_service.__version__)} - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)


# -- the wheel where its users have it: installed, without the repository


@pytest.fixture(scope="module")
def programs(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and Dash."""
    return new_environment(tmp_path_factory.mktemp("installed") / "venv", distributions[0], "dash")


@pytest.fixture(scope="module")
def page(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP)
    port = free_port()
    with running(programs / "python", "app.py", str(port), cwd=folder, env={"PYTHONPATH": ""}, ready="Running on http"):
        yield f"http://127.0.0.1:{port}/"


def test_every_script_of_live_is_there(page: str) -> None:
    html = urlopen(page).read().decode()
    scripts = [urljoin(page, path) for path in re.findall(r'<script src="([^"]+)"', html)]
    answers = {re.sub(r"\.v[\w.]+?m\d+", "", url).partition("?")[0]: urlopen(url).read() for url in scripts}
    for name in SCRIPTS:
        assert answers[urljoin(page, f"/_dash-component-suites/ws_service/dash/js/{name}.js")]


def test_uvx_serves_the_wheel_without_an_environment(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    gateway, admin, dash, ws = free_ports(4)
    settings = {"listen": f"127.0.0.1:{gateway}", "admin": f"127.0.0.1:{admin}", "handoff": "off"}
    upstreams = {"dash": f"http://127.0.0.1:{dash}", "ws": f"http://127.0.0.1:{ws}"}
    (tmp_path / "config.yaml").write_text(json.dumps({"gateway": {**settings, "upstreams": upstreams}}))
    argv = (UV, "tool", "run", "--from", distributions[0], "dash-ws-proxy", "--config", "config.yaml")
    with running(*argv, cwd=tmp_path, env={"PYTHONPATH": ""}, ready=rf"{gateway}"):
        assert urlopen(f"http://127.0.0.1:{admin}/healthz").status == 200
