"""``dash-ws-service publish``: what is published, what is printed, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.processes import free_port
from tests.ws_service.publisher.api_server import KEY, Api, running_api
from ws_service.__main__ import main
from ws_service.hub.keys import KEY_VARIABLE
from ws_service.publisher.hub_address import URL_VARIABLE

pytestmark = pytest.mark.usefixtures("folder")


def run(*words: str, lines: str | None = None) -> Result:
    return CliRunner().invoke(main, ["publish", *words], input=lines)


def test_a_message_is_published_and_its_position_printed(api: Api) -> None:
    result = run("prices", '{"AAPL": 189.2}')
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"offset": 1, "epoch": "e"})
    assert api.requests == [{"channel": "prices", "data": {"AAPL": 189.2}}]


def test_each_line_of_standard_input_is_a_message(api: Api) -> None:
    result = run("log", "-", lines='1\n\n"two"\n{"three": 3}\n')
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "published 3\n")
    assert [each["data"] for each in api.requests] == [1, "two", {"three": 3}]
    assert api.connections == 1


def test_what_is_not_json_is_told_with_what_to_write(api: Api) -> None:
    result = run("all", "hello")
    assert result.exit_code == 2
    assert result.stderr == ("'hello' is not JSON (Expecting value at character 1); a text needs quotes: '\"text\"'\n")
    assert api.requests == []


def test_a_line_that_is_not_json_is_named(api: Api) -> None:
    result = run("all", "-", lines="1\nhello\n2\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("line 2 (the 1 before it are published): 'hello' is not JSON")
    assert len(api.requests) == 1


def test_what_is_no_topic_is_a_mistake(api: Api) -> None:
    result = run("x" * 256, "1")
    assert (result.exit_code, "is not the name of a topic" in result.stderr) == (2, True)


def test_a_hub_that_is_down_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    result = run("a", "1")
    assert result.exit_code == 1
    assert "Connection refused" in result.stderr
    assert "Traceback" not in result.output


def test_what_the_hub_refuses_is_told(api: Api) -> None:
    api.answer = lambda number: (200, {"error": {"code": 102, "message": "unknown channel"}})
    result = run("a", "1")
    assert (result.exit_code, result.stderr) == (1, "the hub refuses: unknown channel (102)\n")


def test_without_a_config_file_it_is_said_what_to_set() -> None:
    result = run("a", "1")
    assert result.exit_code == 1
    assert "set DASH_WS_PROXY_CONFIG" in result.stderr


@pytest.mark.parametrize("is_before", [True, False])
def test_the_config_file_can_be_named(folder: Path, monkeypatch: pytest.MonkeyPatch, is_before: bool) -> None:
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:1")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    (folder / "app").mkdir()
    with running_api() as api:
        (folder / "app" / "c.yaml").write_text(f"ws_service: {{listen: '{api.url[7:]}'}}")
        option = ["--config", "app/c.yaml"]
        words = [*option, "publish", "a", "1"] if is_before else ["publish", *option, "a", "1"]
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, result.stderr) == (0, "")
        assert len(api.requests) == 1


def test_the_command_is_in_the_help() -> None:
    assert "publish" in CliRunner().invoke(main, ["--help"]).stdout
