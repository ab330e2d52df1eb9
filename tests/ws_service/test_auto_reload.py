"""What a child of ``--reload`` serves, and which folders are watched. The system tests run it."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.ws_service.live import modules
from tests.ws_service.test_app import ECHO
from ws_service import server
from ws_service.app import Service
from ws_service.auto_reload import Child, ReloadConfig, _no_app, _Parts, unwatched
from ws_service.config.settings import Settings
from ws_service.hosting.broken_app import BrokenApp

LISTEN = "127.0.0.1:1"


def child(folder: Path, written: object, problem: str = "") -> Child:
    """Return a child whose config file says something since the start, when it had the defaults and ``LISTEN``."""
    settings = Settings(listen=LISTEN, handoff="off")
    config = ReloadConfig(_no_app, **server.options(settings))
    config.path, config.settings, config.problem = folder / "config.yaml", settings, problem
    config.path.write_text(json.dumps({"ws_service": written}))
    arrived: Child = pickle.loads(pickle.dumps(Child(config)))
    return arrived


def made(child: Child) -> _Parts:
    parts = _Parts(child.config.settings, problem=child.config.problem)
    child._make(parts)
    return parts


def app_of(parts: _Parts) -> Any:
    assert isinstance(parts.app, Service)
    return parts.app._hosted


def test_the_app_that_the_file_names_now_is_served(tmp_path: Path) -> None:
    with modules(tmp_path, echoes=ECHO):
        parts = made(child(tmp_path, {"listen": LISTEN, "handoff": "off", "app": "echoes:app", "drain": "3s"}))
    assert app_of(parts).name == "echoes:app"
    assert not parts.problem and parts.settings.drain == 3


@pytest.mark.parametrize(
    ("written", "source", "problem"),
    [
        ({"app": "echoes:app"}, "import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ({"app": "echoes:app"}, "def broken(:", "SyntaxError"),
        ({"app": "echoes:other"}, ECHO, "has no other"),
    ],
)
def test_a_mistake_is_logged_and_served_in_the_place_of_the_app(
    tmp_path: Path, written: dict[str, str], source: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    with modules(tmp_path, echoes=source):
        parts = made(child(tmp_path, {"listen": LISTEN, "handoff": "off", **written}))
    assert isinstance(app_of(parts), BrokenApp)
    assert problem in parts.problem and problem in caplog.text
    assert app_of(parts).problem.endswith("Correct it and save: the service starts again by itself.")
    assert parts.hub is not None, "it is none of the author's mistakes"


@pytest.mark.parametrize(
    ("line", "logged"), [("ap: echoes:app", "did you mean app?"), ("hub: api_key:s3cretkeys3cretkey", "s3cretkey")]
)
def test_of_a_mistake_in_the_config_file_clients_hear_only_that_there_is_one(
    tmp_path: Path, line: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It quotes the line, and there may be a key in it."""
    one = child(tmp_path, {"listen": LISTEN, "handoff": "off"})
    (tmp_path / "config.yaml").write_text(f"ws_service:\n  {line}\n")
    parts = made(one)
    assert logged in caplog.text
    assert app_of(parts).problem == (
        "the config file has a mistake; the log of the service says where\n"
        "Correct it and save: the service starts again by itself."
    )
    assert parts.hub is None


def test_another_address_takes_a_restart_because_the_first_process_has_bound_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = made(child(tmp_path, {"listen": "127.0.0.1:2", "handoff": "off"}))
    assert parts.settings.listen == LISTEN
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == f"takes a restart: ws_service.listen; the service stays on {LISTEN}"


def test_an_app_that_has_ended_its_process_is_not_tried_again_until_a_change(tmp_path: Path) -> None:
    with modules(tmp_path, echoes="raise AssertionError"):
        parts = made(child(tmp_path, {"handoff": "off", "app": "echoes:app"}, "the process has ended"))
    assert app_of(parts).problem.startswith("the process has ended\n")


def test_files_that_are_not_the_authors_are_not_watched(tmp_path: Path) -> None:
    for name in ("pages/parts", "node_modules/a", ".git/b", "env/lib", "pages/__pycache__", "lib/site-packages/c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    found = sorted(path.relative_to(tmp_path).as_posix() for path in unwatched(tmp_path))
    assert found == [".git", "env", "lib/site-packages", "node_modules", "pages/__pycache__"]
