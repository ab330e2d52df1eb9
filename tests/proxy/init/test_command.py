"""``init`` says what it found, what it wrote and kept, and what is left to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.init.command import advice, found
from tests.proxy.init.test_project import FLASK, PROJECT
from tests.proxy.init.test_scripts import TUTORIAL


@pytest.mark.system
def test_it_writes_once_and_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(TUTORIAL)
    (tmp_path / "Procfile").write_text("web: mine\n")
    first = CliRunner().invoke(main, ["init", str(tmp_path), "--host", "a.example"])
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("app.py: Dash ")
    assert "  wrote config.yaml " in first.stdout
    assert "  kept  Procfile " in first.stdout
    assert (tmp_path / "Procfile").read_text() == "web: mine\n"
    assert "server_name a.example;" in (tmp_path / "deploy" / "nginx.conf").read_text()
    second = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert "  wrote " not in second.stdout
    assert "config.yaml was there already: the other files expect gateway.listen" in second.stdout


def test_where_there_is_no_app_nothing_is_written(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.endswith("FOLDER\nnothing was written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["https://a.example", "a b", "a;b"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, host: str) -> None:
    done = CliRunner().invoke(main, ["init", str(tmp_path), "--host", host])
    assert done.exit_code == 2
    assert "is not the name of a host; write it as dash.example.com" in done.stderr


def test_what_was_found_is_told() -> None:
    lines = found(replace(PROJECT, others=("sales",), live="live:app", app=replace(FLASK, prefix="/app/")))
    assert lines == [
        "app.py: Dash 4.4.1 on Flask, in the variable app; pages at /app/",
        "it serves at /, so a proxy in front has to remove the rest of /app/",
        "there are other Dash apps too; for one of them: --app sales",
        "gunicorn serves it: wsgi:server",
        "WebSocket endpoints: those of live:app",
    ]


def test_what_is_missing_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.init.command.owner", lambda folder: "ada")
    assert advice(PROJECT, [])[0] == "not installed here: honcho and gunicorn; pip install honcho gunicorn"
    everything = replace(PROJECT, versions={"honcho": "2", "gunicorn": "23"})
    assert [line.partition(":")[0] for line in advice(everything, [])] == ["next", "then open http"]
    assert "it needs ProxyFix" in advice(everything, ["wsgi.py"])[0]
    monkeypatch.setattr("proxy.init.command.owner", lambda folder: "www-data")
    assert advice(everything, [])[0].startswith("the folder belongs to root, so the units run as www-data")


def test_commands_to_try_next_work_in_the_folder_in_which_init_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my board"
    folder.mkdir()
    (folder / "app.py").touch()
    project = replace(PROJECT, folder=folder)
    monkeypatch.chdir(tmp_path)
    start, live = advice(project, [])[-2:]
    assert start == f"next: cd '{folder}'; honcho start -f Procfile.dev"
    assert live.endswith(f": cd '{folder}'; dash-ws-proxy check --live")
    monkeypatch.chdir(folder)
    assert advice(project, [])[-2:][0] == "next: honcho start -f Procfile.dev"


@pytest.mark.system
def test_a_folder_that_cannot_be_made_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(TUTORIAL)
    (tmp_path / "deploy").touch()
    done = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert (done.exit_code, type(done.exception)) == (2, SystemExit)
    assert "deploy cannot be written: file exists; what is above is there" in done.stderr
