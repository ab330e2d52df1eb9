"""What the templates are filled with follows from the app; what cannot be known is said as a comment."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from proxy.init.files import render
from proxy.init.project import Project
from proxy.init.scripts import Script
from proxy.init.values import described, serve_command, values
from tests.proxy.init.test_project import FLASK, PROJECT


def of(project: Project, host: str | None = None) -> dict[str, str]:
    return values(project, host)


def test_defaults_are_left_out_and_what_differs_is_written() -> None:
    assert of(PROJECT)["gateway"] == ""
    other = replace(PROJECT, script=Script("app", port=8051), app=replace(FLASK, prefix="/app/", routes="/app/"))
    assert "    dash: http://127.0.0.1:8051 " in of(other)["gateway"]
    assert "  dash_prefix: /app/ " in of(other)["gateway"]


def test_a_prefix_that_the_proxy_in_front_removes_is_none_of_the_gateways() -> None:
    removed = replace(PROJECT, app=replace(FLASK, prefix="/app/", routes="/"))
    assert of(removed)["gateway"] == ""
    assert of(removed)["health_path"] == "/"


def test_the_name_of_the_site_is_a_comment_until_it_is_given() -> None:
    assert "init cannot know the name of your site" in of(PROJECT)["host_note"]
    assert (of(PROJECT, "a.example")["host"], of(PROJECT, "a.example")["host_note"]) == ("a.example", "")


def test_endpoints_are_named_or_a_comment_says_how() -> None:
    assert of(PROJECT)["app"].lstrip().startswith("# app: ")
    assert of(replace(PROJECT, live="live:app"))["app"].lstrip().startswith("app: live:app ")


def test_each_framework_has_its_server_on_loopback() -> None:
    assert serve_command(PROJECT)[:3] == ["gunicorn", "--bind", "127.0.0.1:8050"]
    assert of(PROJECT)["dash_type"].startswith("Type=notify")
    fast = replace(PROJECT, app=replace(FLASK, framework="fastapi"))
    assert serve_command(fast) == ["uvicorn", "--host", "127.0.0.1", "--port", "8050", "app:app.server"]
    assert (of(fast)["dash_type"], of(fast)["dash_reload"]) == ("Type=exec", "")
    assert json.loads(of(fast)["serve_list"]) == serve_command(fast)


def test_a_host_says_how_many_processes_fit_into_its_memory() -> None:
    assert "--workers ${WEB_CONCURRENCY:-2} " in of(PROJECT)["serve_shell"]


def test_development_runs_the_script_as_its_author_does() -> None:
    assert of(PROJECT)["develop"] == "python app.py"
    package = replace(PROJECT, module="site.app", script=Script("site.app", runs=True))
    assert of(package)["develop"] == "python -m site.app"
    none = of(replace(PROJECT, script=None))["develop"]
    assert none == "gunicorn --bind 127.0.0.1:8050 --threads 8 wsgi:server --reload --workers 1"


def test_requirements_are_the_versions_that_are_installed_or_the_lowest_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.init.values.installed_from", lambda: None)
    here = replace(PROJECT, folder=tmp_path, versions={"dash-ws-proxy": "0.1.0", "honcho": "2.0.0"})
    lines = of(here)["requirements"].splitlines()
    assert "dash==4.4.1" in lines
    assert lines[-3:] == ["dash-ws-proxy[redis]==0.1.0", "gunicorn>=23", "honcho==2.0.0"]
    (tmp_path / "requirements.txt").touch()
    assert "dash==4.4.1" not in of(here)["requirements"]
    assert of(here)["installed"] == "-r requirements.txt -r deploy/requirements.txt"


def test_an_app_in_a_home_can_be_read_by_its_units() -> None:
    assert of(replace(PROJECT, folder=Path("/home/a")))["protect_home"] == "read-only"


def test_what_was_found_is_one_line() -> None:
    assert described(PROJECT) == "app.py: Dash 4.4.1 on Flask"
    assert described(replace(PROJECT, app=replace(FLASK, framework=""))).endswith("on another server")


def test_a_package_that_came_from_a_folder_takes_its_wheel_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.init.values.installed_from", lambda: "file:///srv/clone")
    lines = of(replace(PROJECT, versions={"dash-ws-proxy": "0.1.0"}))["requirements"].splitlines()
    assert "# pip wheel --no-deps -w deploy/wheels /srv/clone" in lines
    assert "./deploy/wheels/dash_ws_proxy-0.1.0-py3-none-any.whl[redis]" in lines
    named = [line for line in lines if line.startswith("dash-ws-proxy")]
    assert not named, "an index may have another one of this name"


def test_a_path_with_spaces_is_one_word_of_a_unit() -> None:
    assert of(replace(PROJECT, folder=Path("/srv/50% of it")))["config_word"] == '"/srv/50%% of it/config.yaml"'
    assert of(replace(PROJECT, folder=Path("/srv/board")))["config_word"] == "/srv/board/config.yaml"


def test_each_server_is_told_which_proxies_there_are_in_its_own_way() -> None:
    assert "PROXY_HOPS" in of(PROJECT)["hops_on_a_host"]
    assert "FORWARDED_ALLOW_IPS" in of(replace(PROJECT, app=replace(FLASK, framework="fastapi")))["hops_on_a_host"]


@pytest.mark.system
def test_what_a_folder_is_called_commands_no_shell_and_no_unit(tmp_path: Path) -> None:
    """The environment's file is read by systemd, and by shells as they read a script."""
    folder = Path('/srv/$(touch x)`id`"; a\\b $HOME')
    found = of(replace(PROJECT, folder=folder))
    file = tmp_path / "env"
    file.write_text(render("systemd/environment", found))
    read = subprocess.run(
        ["/bin/sh", "-c", f'. {file}; printf %s "$DASH_WS_PROXY_CONFIG"'], cwd=tmp_path, capture_output=True, check=True
    )
    assert read.stdout.decode() == f"{folder}/config.yaml"
    assert [path.name for path in tmp_path.iterdir()] == ["env"]
    assert "$$HOME" in found["config_word"] and "$$HOME" not in found["folder_word"]


def test_a_prefix_is_the_same_for_yaml_and_is_not_taken_for_a_place_to_fill() -> None:
    for prefix in ("/a #b/", "/a: b/", '/"x"/', "/{{gateway}}/"):
        project = replace(PROJECT, app=replace(FLASK, prefix=prefix, routes=prefix))
        assert yaml.safe_load(of(project)["gateway"])["dash_prefix"] == prefix
        assert yaml.safe_load(render("render.yaml", of(project)))["services"][0]["healthCheckPath"] == prefix
