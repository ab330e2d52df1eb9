"""What the README says is done as it is written, in a new environment and a network of its own, on its ports."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, python
from tests.release.environment import call, clone, new_environment
from tests.release.readme import Chapter, chapters, serves
from tests.system.test_init import IN_A_NETWORK, has_namespaces
from ws_service.dash import SCRIPTS

CHAPTERS = chapters()

NOT_TYPED = {
    "make test": "this is one of its tests",
}
"""Commands of the README that are not run here, and why."""

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not has_namespaces(), reason="this user may not make a network namespace"),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose environment has uv as its pip, and nothing else yet."""
    folder = clone(tmp_path_factory.mktemp("clone") / "dash-ws-proxy")
    new_environment(folder / ".venv")
    return folder


@pytest.fixture(scope="module")
def programs(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of a user, with what the README has installed."""
    folder = tmp_path_factory.mktemp("user")
    programs = new_environment(folder / ".venv")
    for command in dict.fromkeys(command for chapter in CHAPTERS for command in chapter.commands):
        if command.startswith("pip install "):
            call(*installing(command, repository, programs), cwd=folder, UV_CONSTRAINT=str(ROOT / "constraints.txt"))
    return programs


def installing(command: str, repository: Path, programs: Path) -> list[str]:
    words = [re.sub(r"^/path/to/the/clone|^\.(?=$|\[)", str(repository), word) for word in shlex.split(command)]
    return [str(programs / words[0]), *words[1:]]


def follow(folder: Path, commands: list[str], programs: Path | None = None) -> dict[str, Any]:
    """Type commands that serve, each in a terminal; return what a visitor gets, and how they ended."""
    env = dict(os.environ)
    argv = [*IN_A_NETWORK, "env", f"PATH={programs}:{env['PATH']}" if programs else f"PATH={env['PATH']}"]
    argv += python("-m", "tests.release.follow", folder, *commands)
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    output = "\n".join(told["outputs"].values())
    assert not re.search(r"Traceback|\bERROR\b|\bCRITICAL\b", output), output
    assert set(told["scripts"].values()) == {200}
    assert told["status"] == 200
    return told


def test_make_run_shows_the_demo(repository: Path) -> None:
    call("make", ".venv/.demo", cwd=repository, MAKEFLAGS="")  # what `make run` does first, while there is a network
    told = follow(repository, ["make run"])
    print(f"make run: the page is there after {told['seconds']} s")
    assert "_dash-config" in told["page"]


@pytest.mark.parametrize(
    "chapter", [each for each in CHAPTERS if each.serving and each.files], ids=lambda chapter: chapter.title
)
def test_an_app_is_live_in_the_steps_of_a_chapter(chapter: Chapter, programs: Path, tmp_path: Path) -> None:
    for name, text in chapter.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    told = follow(tmp_path, chapter.serving, programs)
    print(f"{chapter.title}: live after {told['seconds']} s")
    source = "\n".join(chapter.files.values())
    if "ws_service.dash" in source:
        assert {f"/_dash-component-suites/ws_service/dash/js/{name}.js" for name in SCRIPTS} <= {
            re.sub(r"\.v[\w.]+?m\d+", "", path) for path in told["scripts"]
        }
    if sent := re.search(r'send_json\(\{"msg": "(\w+)"', source):
        assert json.loads(told["ws"]) == {"msg": sent[1]}


def test_every_command_is_typed_by_a_test() -> None:
    assert [chapter for chapter in CHAPTERS if chapter.serving and chapter.files]
    typed = {"make run"} | {command for chapter in CHAPTERS if chapter.files for command in chapter.serving}
    others = {command for chapter in CHAPTERS for command in chapter.commands} - typed - NOT_TYPED.keys()
    assert [command for command in others if not command.startswith("pip install ")] == []
    assert serves("make run")
