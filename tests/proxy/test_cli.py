"""The command line, as a real process: what it prints, where, and with which exit code."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import ws_service.config.settings
from proxy.cli import main
from proxy.config import Settings, load_settings
from tests.processes import completed

gateway = partial(completed, "-m", "proxy")
"""Runs the gateway's command line to its end."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository has a config.yaml, and what runs in this process would read it."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.mark.system
def test_help_names_every_command_and_option(tmp_path: Path) -> None:
    done = gateway("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("--config", "--print-config", "check", "explain", "healthcheck", "init"):
        assert word in done.stdout
    assert done.stderr == ""


@pytest.mark.system
def test_print_config_prints_a_config_that_gives_the_same_settings(tmp_path: Path, config: Path) -> None:
    done = gateway("--print-config", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, f"there is no config.yaml in {tmp_path}; running on the defaults\n")
    config.write_text(done.stdout)
    assert load_settings(config, {}) == Settings()
    assert ws_service.config.settings.load_settings(config, {}) == ws_service.config.settings.Settings()
    done = gateway("--print-config", cwd=tmp_path)
    assert (done.stdout, done.stderr) == (config.read_text(), f"using config.yaml in {tmp_path}\n")


@pytest.mark.system
def test_print_config_shows_the_values_of_the_file_and_of_the_environment(tmp_path: Path, config: Path) -> None:
    config.write_text("gateway:\n  listen: 127.0.0.1:${PORT}\n  timeouts: {drain: 90s}\n")
    done = gateway("--config", config, "--print-config", cwd=tmp_path, PORT="9123")
    assert done.returncode == 0, done.stderr
    printed = yaml.safe_load(done.stdout)["gateway"]
    assert printed["listen"] == "127.0.0.1:9123"
    assert printed["timeouts"]["drain"] == "90s"
    assert printed["admin"] == Settings().admin


@pytest.mark.system
def test_check_has_nothing_to_say_about_a_good_file(tmp_path: Path, config: Path) -> None:
    config.write_text("gateway:\n  listen: 127.0.0.1:9000\n")
    done = gateway("check", "--config", "config.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "config.yaml: no mistakes (gateway)\n"


@pytest.mark.system
def test_check_names_every_mistake_with_file_line_column_and_key(tmp_path: Path, config: Path) -> None:
    config.write_text("gateway:\n  lisen: x\n  upstreams:\n    ws: ftp://a\n  admin: 127.0.0.1:70000\n")
    done = gateway("check", "--config", "config.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    starts = [
        "config.yaml:2:3: gateway.lisen: is not a setting; did you mean listen?",
        "config.yaml:4:5: gateway.upstreams.ws: 'ftp://a' does not begin with http://",
        "config.yaml:5:3: gateway.admin: port 70000 is out of range (1 to 65535)",
    ]
    lines = done.stderr.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)


def test_a_config_that_is_a_folder_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", "--config", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output == f"{tmp_path}: is a folder; name the file in it, such as {tmp_path}/config.yaml [DW001]\n"


@pytest.mark.system
def test_a_health_check_imports_no_gateway(tmp_path: Path) -> None:
    """It is started every few seconds, beside what it asks; with all of the gateway it took half a second of CPU."""
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from proxy.cli import main; main()"
    done = completed("-c", code, "healthcheck", cwd=tmp_path)
    asked, modules = done.stdout.splitlines()
    assert (done.returncode, "cannot be asked" in asked or "alive" in asked) in ((1, True), (0, True))
    heavy = {"aiohttp", "asyncio", "fastapi", "prometheus_client", "proxy.gateway", "proxy.server", "uvicorn", "uvloop"}
    assert not heavy & set(modules.split(" "))


@pytest.mark.parametrize("command", ["explain", "check", "--print-config"])
def test_the_file_of_the_working_directory_is_used_and_a_line_says_so(
    tmp_path: Path, config: Path, command: str
) -> None:
    config.write_text("gateway: {upstreams: {dash: 'http://127.0.0.1:5'}}\n")
    result = CliRunner().invoke(main, [command, *(["/"] if command == "explain" else [])])
    assert (result.exit_code, result.stderr) == (0, f"using config.yaml in {tmp_path}\n")
    assert ("127.0.0.1:5" in result.stdout) is (command != "check")


@pytest.mark.parametrize("command", [["explain", "GET", "/"], ["check"]])
def test_the_config_may_stand_before_or_behind_the_command(config: Path, command: list[str]) -> None:
    config.write_text("gateway: {lisen: x}\n")
    for args in (["--config", str(config), *command], [*command, "--config", str(config)]):
        result = CliRunner().invoke(main, args)
        assert (result.exit_code, "gateway.lisen" in result.output) == (2, True)
