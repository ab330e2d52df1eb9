"""The command line: what is printed where, and the exit codes."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

import proxy.check
import proxy.config
from tests.processes import ROOT, completed, python, running
from ws_service.__main__ import main
from ws_service.config.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository has a config.yaml, and what runs in this process would read it."""
    monkeypatch.chdir(tmp_path)


def run(*args: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in args])
    return result.exit_code, result.stdout, result.stderr


def test_every_setting_is_printed_in_a_form_that_is_a_config_file(tmp_path: Path) -> None:
    code, out, said = run("--print-config")
    assert (code, said) == (0, f"there is no config.yaml in {tmp_path}; running on the defaults\n")
    path = tmp_path / "printed.yaml"
    path.write_text(out)
    assert load_settings(path) == Settings()
    assert proxy.config.load_settings(path) == proxy.config.Settings()
    assert all(f"  {name}:" in out for name in Settings.model_fields)


def test_mistakes_in_the_file_are_listed_on_standard_error_with_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service:\n  lisen: 127.0.0.1:1\n  app: app.py\n")
    assert run("--config", path) == (
        2,
        "",
        f"{path}:2:3: ws_service.lisen: is not a setting; did you mean listen?\n"
        f"{path}:3:3: ws_service.app: 'app.py' is a path; write the module's name: app:app\n",
    )


def test_a_file_that_is_not_there_is_one_sentence_with_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert run("--config", path) == (2, "", f"{path}: there is no such file (looked in {tmp_path})\n")


@pytest.mark.system
def test_check_is_the_gateways_check(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("gateway: {handoff: run/a.sock, lisen: x}\nws_service: {app: nosuch:app}\n")
    code, out, said = run("check")
    report = proxy.check.inspect(Path("config.yaml"))
    assert (code, out) == (2, "")
    assert said == "".join(f"{line}\n" for line in (f"using config.yaml in {tmp_path}", *report.lines()))
    assert len(report.mistakes) == 3
    code, out, said = run("check", "--section", "dash_app", "--config", "config.yaml")
    assert (code, out, said) == (0, "config.yaml: no mistakes (there is no section dash_app)\n", "")


@pytest.mark.system
def test_the_file_of_the_working_directory_is_used_and_what_does_not_fit_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "gateway:\n  upstreams: {ws: http://127.0.0.1:9}\nws_service:\n  listen: unix:run/service.sock\n"
    )
    with running(*python("-m", "ws_service"), ready="ws service ready", cwd=tmp_path) as service:
        assert f"INFO using config.yaml in {tmp_path}\n" in service.output
        assert (
            "WARNING config.yaml:2:15: gateway.upstreams.ws: is http://127.0.0.1:9, and ws_service.listen is "
            "unix:run/service.sock: no program listens there; write unix:run/service.sock\n"
        ) in service.output


def test_a_taken_port_is_said_by_the_programs_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        (tmp_path / "config.yaml").write_text(f"ws_service: {{listen: '{address}'}}\n")
        code, _, said = run("--config", "config.yaml")
    assert code == 1
    assert said.endswith(
        f"dash-ws-service: {address} is already in use; stop the program that listens there, "
        "or change ws_service.listen\n"
    )


@pytest.mark.system
def test_a_service_that_serves_loads_nothing_of_the_gateway() -> None:
    script = "import sys, ws_service.__main__; sys.exit(any(m.partition('.')[0] == 'proxy' for m in sys.modules))"
    assert subprocess.run(python("-c", script), cwd=ROOT, check=False).returncode == 0


_NO_REDIS = """
import sys
from importlib.abc import MetaPathFinder


class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "redis":
            raise ModuleNotFoundError("No module named 'redis'", name=name)


sys.meta_path.insert(0, Missing())
"""

_SLOW_EXIT = """
import multiprocessing, signal

exit_now = sys.exit
sys.exit = lambda code: signal.pause() if multiprocessing.parent_process() else exit_now(code)
"""


@pytest.mark.system
@pytest.mark.parametrize(
    ("workers", "python_of_the_service"),
    [(1, _NO_REDIS), (2, _NO_REDIS), (2, _NO_REDIS + _SLOW_EXIT)],
    ids=["one process", "two workers", "two workers that a signal ends before they exit"],
)
def test_a_broker_whose_library_is_not_installed_is_one_sentence(
    tmp_path: Path, workers: int, python_of_the_service: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "ws_service:\n  listen: unix:ws.sock\n  handoff: off\n"
        f"  workers: {workers}\n  hub: {{broker: 'redis://127.0.0.1:1'}}\n"
    )
    (tmp_path / "sitecustomize.py").write_text(python_of_the_service)
    result = subprocess.run(
        [python()[0], "-m", "ws_service", "--config", config],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert 1 <= result.stderr.count("needs redis-py: pip install redis") <= workers
    assert "Traceback" not in result.stderr


@pytest.mark.system
def test_the_hub_alone_needs_no_fastapi(tmp_path: Path) -> None:
    """It is half of the time of a start, and of no use to a supervisor of workers and to a script that publishes."""
    (tmp_path / "config.yaml").write_text("ws_service: {hub: {key: hub.key}}\n")
    code = """
import sys
from pathlib import Path
import ws_service.__main__
from ws_service.app import create_app
from ws_service.config.settings import load_settings
create_app(load_settings(Path("config.yaml")))
sys.exit("fastapi" in sys.modules)
"""
    done = completed("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
