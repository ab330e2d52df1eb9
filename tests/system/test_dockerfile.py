"""The Dockerfile that ``init`` writes, replayed without Docker: its RUN line in a fresh environment, then its CMD."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import ROOT, Process, running
from tests.release.environment import UV, call, new_environment
from tests.system.deployed import FLASK, Deployed, deploy, environment
from tests.system.test_init import get

pytestmark = pytest.mark.system

KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return deploy(tmp_path_factory.mktemp("docker") / "board", FLASK)


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, in its order."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def the(word: str, found: list[tuple[str, str]]) -> str:
    [rest] = [rest for name, rest in found if name == word]
    return rest


def test_its_base_is_pinned_it_is_not_root_and_its_health_is_asked(site: Deployed) -> None:
    found = instructions(site.text("Dockerfile"))
    assert {word for word, _ in found} <= KNOWN
    version = ".".join(map(str, sys.version_info[:3]))
    assert the("FROM", found) == f"python:{version}-slim-bookworm"
    words = [word for word, _ in found]
    user = the("USER", found)
    assert user.isdecimal() and user != "0"
    assert words.index("USER") < words.index("CMD")
    account = next(rest for word, rest in found if word == "RUN" and "useradd" in rest)
    assert f"--uid {user} " in account
    subprocess.run(["sh", "-n", "-c", account], check=True)
    assert the("HEALTHCHECK", found).endswith('CMD ["dash-ws-proxy", "healthcheck", "--config", "config.yaml"]')


def build_wheel(site: Deployed, work: Path) -> None:
    """Put a wheel of this package as it is here where the Dockerfile looks for wheels."""
    for name in ("proxy", "ws_service", "dash_app"):
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, work)
    wheels = site.folder / "deploy" / "wheels"
    call(UV, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", wheels, cwd=work)


@contextmanager
def container(image: Path, site: Deployed, path: str) -> Iterator[tuple[Process, dict[str, str]]]:
    """Run CMD in the folder of an image."""
    found = instructions(site.text("Dockerfile"))
    env = environment(**dict(word.split("=") for word in the("ENV", found).split()))
    env |= {"PATH": path, "PYTHONPATH": "", "PORT": str(site.port), "DATABRICKS_APP_PORT": ""}
    del env["DATABRICKS_APP_PORT"]
    with running(*json.loads(the("CMD", found)), cwd=image, env=env, ready="gateway ready") as process:
        yield process, env


@pytest.mark.timeout(300)
def test_its_commands_do_in_a_fresh_environment_what_they_should(site: Deployed, tmp_path: Path) -> None:
    """The environment is a venv, as the image's is a Python without packages; COPY copies, and the ports are ours.

    pip reads the line, and finds what it names; uv, which takes the same words, installs it with what that needs.
    """
    build_wheel(site, tmp_path / "clone")
    found = instructions(site.text("Dockerfile"))
    assert [rest for word, rest in found if word == "COPY"] == ["deploy/ deploy/", ". ."]
    image = tmp_path / "app"
    shutil.copytree(site.folder, image)
    replace(site, folder=image).use_own_ports()
    python = tmp_path / "python"
    path = f"{new_environment(python)}:/usr/bin:/bin"
    install = next(rest for word, rest in found if word == "RUN" and rest.startswith("pip install "))
    for_pip = install.replace("pip", f"{sys.executable} -m pip", 1) + " --dry-run --no-deps --ignore-installed"
    for line in (for_pip, install):
        call("sh", "-c", line, cwd=image, PATH=path, UV_CONSTRAINT=str(ROOT / "constraints.txt"))
    assert list((tmp_path / "python").glob("lib/*/site-packages/proxy/init/templates/systemd/sandbox"))
    with container(image, site, path) as (process, env):
        process.wait_for("Listening at")
        status, page = get(site.port)
        assert (status, b"_dash-config" in page) == (200, True)
        health = json.loads(the("HEALTHCHECK", found).partition("CMD ")[2])
        subprocess.run(health, cwd=image, env={**os.environ, **env}, check=True, timeout=30, capture_output=True)
