"""The repository itself: tests mirror the source, documents are true, no file is too large or names a machine."""

from __future__ import annotations

import ast
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

import proxy.config
import ws_service.config.settings
from tests.processes import ROOT
from ws_service.config.dash_section import DashSection
from ws_service.config.file import load
from ws_service.config.hub_settings import HubSettings

PACKAGES = ("proxy", "ws_service", "dash_app")

NEEDS_NO_TEST = {
    "proxy/__main__.py": "an import and a call; tests/proxy/test_cli.py runs it as `python -m proxy`",
    "ws_service/hub/client_connection.py": "a Protocol alone: mypy compares it with the classes that implement it",
    "ws_service/hub/client_hub.py": "a Protocol alone, too",
    "dash_app/pages/connections.py": "tests/system/test_demo_page.py opens each page in a browser",
    "dash_app/pages/table.py": "the same",
    "dash_app/pages/telemetry.py": "the same",
    "dash_app/pages/work.py": "the same",
}

DEFAULTS = """
gateway:
  listen: 127.0.0.1:8000
  admin: 127.0.0.1:8001
  upstreams:
    dash: http://127.0.0.1:8050
    ws: http://127.0.0.1:8765
  handoff: run/ws.sock
  routes: []
  trusted_proxies: []
ws_service:
  listen: 127.0.0.1:8765
  handoff: run/ws.sock
  workers: 1
  app: null
dash_app:
  listen: 127.0.0.1:8050
"""
"""What the programs do without a file. It is written here a second time on purpose: a default that changes breaks
set-ups, and must not change by accident."""


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py")


def mirror(module: Path) -> Path:
    """Return where the tests of a module belong: ``proxy/a.py`` has ``tests/proxy/test_a.py``."""
    inside = module.relative_to(ROOT)
    return ROOT / "tests" / inside.parent / f"test_{inside.stem.strip('_')}.py"


ALL_MODULES = [module for package in PACKAGES for module in modules(package)]


def named(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("module", ALL_MODULES, ids=named(ALL_MODULES))
def test_every_module_has_its_tests(module: Path) -> None:
    name = module.relative_to(ROOT).as_posix()
    if name in NEEDS_NO_TEST:
        assert not mirror(module).exists(), f"{name} has tests; take it off the list of those that need none"
    else:
        assert mirror(module).exists(), f"{name} has no tests: write {mirror(module).relative_to(ROOT)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_test_file_has_its_module(package: str) -> None:
    mirrored = {mirror(module) for module in modules(package)}
    strays = sorted(set((ROOT / "tests" / package).rglob("test_*.py")) - mirrored)
    assert not strays, f"tests of modules that are not there: {named(strays)}"


def test_nothing_is_excused_that_is_not_there() -> None:
    assert set(NEEDS_NO_TEST) <= set(named(ALL_MODULES))


# -- documents


def test_the_makefile_has_the_two_commands_that_the_readme_opens_with() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    opening = readme.partition("\n## ")[0]
    lines = re.findall(r"^([a-z][a-z -]*):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    targets = " ".join(lines).split()
    commands = re.findall(r"^make ([a-z-]+)", opening, re.MULTILINE)
    assert commands[:2] == ["run", "test"]
    assert set(re.findall(r"\bmake ([a-z-]+)", "\n".join(re.findall(r"`+[^`]+`+", readme)))) <= set(targets)


@pytest.mark.system
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_refuses_a_python_that_is_not_the_one_of_its_environment(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    there = tmp_path / ".venv" / "bin" / "python"
    there.parent.mkdir(parents=True)
    there.write_text("#!/bin/sh\necho Python 3.99.1\n")
    there.chmod(0o755)

    def make(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], **env}
        return subprocess.run(
            ["make", "-n", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    own = f"PYTHON={sys.executable}"
    version = f"Python {platform.python_version()}"
    for refused in (make("test", own), make("test", PYTHON=sys.executable)):
        assert refused.returncode == 2
        assert f".venv is Python 3.99.1, and {own} is {version}. Another one beside it: make test" in refused.stderr
    assert "No rule to make target 'pyproject.toml'" in make("test").stderr  # it goes on
    assert "No rule to make target 'pyproject.toml'" in make("test", f"PYTHON={there}").stderr
    assert make("clean", own).returncode == 0


def test_each_test_that_the_threat_model_names_is_there() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    named = {
        name for pair in re.findall(r"`(?:[\w/.]*/)?(test_\w+)(?:\.py)?(?:::(\w+))?`", page) for name in pair if name
    }
    files = list((ROOT / "tests").rglob("*.py"))
    there = {path.stem for path in files}
    there |= {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
    assert len(named) > 80, "the page is read as it is written"
    assert named - there == set()


def test_the_index_of_the_decisions_has_each_with_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "index.md").read_text("utf-8")
    titles = {path.name: path.read_text("utf-8").partition("\n")[0][2:] for path in folder.glob("0*.md")}
    assert {name: title for title, name in re.findall(r"^- \[(.*)\]\((.*)\)$", index, re.MULTILINE)} == titles


@pytest.mark.system
def test_no_tracked_file_holds_a_path_of_a_machine() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing is tracked")
    places = [place for place in (ROOT, Path.home()) if is_telling(place)]
    places.append(Path(pwd.getpwuid(0).pw_dir))  # the administrator's
    homes = [
        r"/(?:home|Users)/[A-Za-z0-9._-]+/",  # Linux, macOS
        r"[A-Za-z]:\\+Users\\+",  # Windows
        *(re.escape(str(place)) + r"(?![\w-])" for place in places),
    ]
    pattern = re.compile("|".join(homes).encode())
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    found = []
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file():
            found += [f"{name}: {match[0].decode('utf-8', 'replace')}" for match in pattern.finditer(path.read_bytes())]
    assert not found, "\n".join(found)


def is_telling(place: Path) -> bool:
    """Tell whether a path identifies a machine: ``/`` and ``/src`` occur in any text."""
    return len(place.parts) > 2


# -- defaults


def promised(section: str) -> dict[str, object]:
    settings: dict[str, object] = yaml.safe_load(DEFAULTS)[section]
    return settings


@pytest.mark.parametrize(
    ("section", "settings"),
    [("gateway", proxy.config.Settings()), ("ws_service", ws_service.config.settings.Settings())],
)
def test_every_promised_default_is_the_codes_default(
    section: str, settings: proxy.config.Settings | ws_service.config.settings.Settings
) -> None:
    actual = settings.model_dump(mode="json")
    for key, value in promised(section).items():
        assert actual[key] == value, f"{section}.{key}"


def test_the_demos_default_is_the_gateways_upstream() -> None:
    assert promised("dash_app") == {"listen": DashSection().listen}
    assert proxy.config.Settings().upstreams.dash[0].url == f"http://{DashSection().listen}"


def test_the_services_default_is_the_gateways_upstream() -> None:
    assert proxy.config.Settings().upstreams.ws[0].url == f"http://{ws_service.config.settings.Settings().listen}"


def test_both_programs_use_one_socket_file() -> None:
    assert proxy.config.Settings().handoff == ws_service.config.settings.Settings().handoff


def test_the_defaults_are_a_file_that_every_program_reads(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(DEFAULTS, "utf-8")
    assert proxy.config.load_settings(path, {}) == proxy.config.Settings()
    assert ws_service.config.settings.load_settings(path, {}) == ws_service.config.settings.Settings()
    assert load(path, "dash_app", DashSection) == DashSection()


def test_the_config_in_the_repository_is_the_defaults_and_the_demos_app_and_topics() -> None:
    path = ROOT / "config.yaml"
    assert proxy.config.load_settings(path, {}) == proxy.config.Settings()
    service = ws_service.config.settings.load_settings(path, {})
    hub = HubSettings(namespaces=service.hub.namespaces if service.hub else {})
    assert service == ws_service.config.settings.Settings(app="dash_app.live:router", hub=hub)
    assert load(path, "dash_app", DashSection) == DashSection()


# -- sizes

FILE, CLASS, FUNCTION = 400, 250, 10
"""Lines of a file and of a class, at most, and of a function on average."""

REFERENCE = {"proxy/config.py", "ws_service/config/settings.py"}
"""Files that are read like a manual: every setting with its default, unit and danger."""

CODE = [module for package in ("proxy", "ws_service") for module in modules(package)]


def parts(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, int]]:
    """Yield every class or function, nested ones too: the file with the name, and its lines."""
    for module, name in zip(CODE, named(CODE), strict=True):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, kind):
                yield f"{name} {node.name}", node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]


def too_large(sizes: Iterable[tuple[str, int]], most: int) -> list[str]:
    return [f"{name}: {size} lines" for name, size in sizes if size > most]


def test_no_file_is_larger_than_one_responsibility_needs() -> None:
    sizes = ((name, len(path.read_text("utf-8").splitlines())) for path, name in zip(CODE, named(CODE), strict=True))
    assert too_large((each for each in sizes if each[0] not in REFERENCE), FILE) == []


def test_no_class_is_a_cluster_of_concerns() -> None:
    assert too_large(parts(ast.ClassDef), CLASS) == []


def test_functions_are_short() -> None:
    sizes = [size for _, size in parts((ast.FunctionDef, ast.AsyncFunctionDef))]
    assert sum(sizes) / len(sizes) <= FUNCTION
