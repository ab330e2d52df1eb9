"""The command line, as a real process: what it prints, where, and with which exit code."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import ws_service.config.settings
from proxy.cli import main
from proxy.config import Settings, load_settings
from proxy.dash.facts import DashFacts
from proxy.dash.page_config import PageConfig
from tests.processes import completed, free_port


def gateway(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m proxy`` to its end."""
    return completed("-m", "proxy", *args, cwd=cwd, **env)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository has a config.yaml, and what runs in this process would read it."""
    monkeypatch.chdir(tmp_path)


def explain(*args: str) -> str:
    """Run ``explain`` in this process, where the question is the answer and not the process."""
    result = CliRunner().invoke(main, ["explain", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.mark.system
def test_help_names_every_command_and_option(tmp_path: Path) -> None:
    done = gateway("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("--config", "--print-config", "check", "explain"):
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


@pytest.mark.system
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "config.yaml: there is no such file"),
        ("", "config.yaml: is empty"),
        ("gateway:\n  listen: [1, 2\n", "config.yaml:2:11: is not valid YAML"),
    ],
    ids=["missing", "empty", "invalid"],
)
def test_a_file_that_cannot_be_used_stops_the_gateway_before_it_listens(
    tmp_path: Path, config: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        config.write_text(text)
    done = gateway("--config", "config.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1


def test_a_config_that_is_a_folder_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", "--config", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output == f"{tmp_path}: is a folder; name the file in it, such as {tmp_path}/config.yaml [DW001]\n"


@pytest.mark.system
@pytest.mark.parametrize("where", ["listen", "admin"])
def test_a_port_that_is_taken_is_one_sentence_and_no_traceback(tmp_path: Path, config: Path, where: str) -> None:
    other = "admin" if where == "listen" else "listen"
    with taken_port() as port:
        config.write_text(f"gateway:\n  {where}: 127.0.0.1:{port}\n  {other}: 127.0.0.1:{free_port()}\n")
        done = gateway("--config", config, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"dash-ws-proxy: 127.0.0.1:{port} is already in use; stop the program that listens there, "
        f"or change gateway.{where}\n"
    )


@pytest.mark.system
def test_a_socket_path_that_cannot_be_had_is_one_sentence(tmp_path: Path, config: Path) -> None:
    (tmp_path / "file").touch()
    config.write_text("gateway:\n  listen: unix:file/gateway.sock\n")
    done = gateway("--config", config, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"dash-ws-proxy: cannot listen on unix:{tmp_path}/file/gateway.sock: {tmp_path}/file is a file, and no "
        "folder; change gateway.listen\n"
    )


def test_explain_says_that_event_streams_of_the_hub_go_to_the_service_and_whose_pages_may_read_them() -> None:
    url = "http://localhost:8000/app/connection/uni_sse?channels=a"
    assert explain(url) == "forward to ws at http://127.0.0.1:8765, by the rule 'hub events'\n"
    assert explain(url, "-H", "Origin: http://localhost:8000") == explain(url)
    assert "refused with 403: Pages of http://evil.test may not read" in explain(url, "-H", "Origin: http://evil.test")


@pytest.mark.system
def test_explain_as_a_process_says_where_a_request_goes(tmp_path: Path, config: Path) -> None:
    config.write_text("gateway:\n  upstreams: {ws: 'http://live:1'}\n  routes: [{path: /sse, to: ws}]\n")
    done = gateway("explain", "GET", "http://localhost/sse/x", "--config", config, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, f"using {config}\n")
    assert done.stdout == "forward to ws at http://live:1, by the rule 'routes[0]'\n"


@pytest.mark.parametrize("url", ["ws://localhost/live", "/live", "live"])
def test_explain_takes_get_for_granted(url: str) -> None:
    assert explain(url) == explain("GET", url)


def test_explain_reads_a_host_and_a_port_without_a_scheme(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("gateway: {routes: [{path: /live, to: ws}]}\n")
    asked = [explain(url, "--config", str(config)) for url in ("http://localhost:8000/live", "localhost:8000/live")]
    assert asked[0] == asked[1]
    assert "'routes[0]'" in asked[0]


@pytest.mark.parametrize("words", [[], ["GET"], ["/live", "GET"], ["GET", "/live", "HTTP/1.1"]])
def test_explain_without_a_url_says_what_to_write(words: list[str]) -> None:
    result = CliRunner().invoke(main, ["explain", *words])
    assert result.exit_code == 2
    assert "write a URL, or a method and a URL: explain ws://localhost/live, explain POST /upload" in result.output


@pytest.mark.parametrize("command", ["explain", "check", "--print-config"])
def test_the_file_of_the_working_directory_is_used_and_a_line_says_so(
    tmp_path: Path, config: Path, command: str
) -> None:
    config.write_text("gateway: {upstreams: {dash: 'http://127.0.0.1:5'}}\n")
    result = CliRunner().invoke(main, [command, *(["/"] if command == "explain" else [])])
    assert (result.exit_code, result.stderr) == (0, f"using config.yaml in {tmp_path}\n")
    assert ("127.0.0.1:5" in result.stdout) is (command != "check")


@pytest.mark.system
def test_a_start_says_which_file_has_the_mistake(tmp_path: Path, config: Path) -> None:
    config.write_text("gateway: {lisen: x}\n")
    done = gateway(cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"using config.yaml in {tmp_path}\nconfig.yaml:1:11: gateway.lisen: is not a setting; did you mean listen?\n"
    )


HAND_OVER = "hand over to ws through run/ws.sock, or tunnel to ws at http://127.0.0.1:8765, by the rule 'websocket'"


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (["GET", "http://localhost:8000/page"], "forward to dash at http://127.0.0.1:8050, by the rule 'http'"),
        (["post", "/_dash-update-component"], "forward to dash at http://127.0.0.1:8050, by the rule 'http'"),
        (["GET", "page"], "forward to dash at http://127.0.0.1:8050, by the rule 'http'"),
        (["GET", "http://localhost"], "forward to dash at http://127.0.0.1:8050, by the rule 'http'"),
        (["GET", "ws://localhost:8000/live"], HAND_OVER),
        (["GET", "wss://dash.example/live?a=b"], HAND_OVER),
        (["GET", "/x", "-H", "Accept: a:b"], "forward to dash at http://127.0.0.1:8050, by the rule 'http'"),
    ],
)
def test_explain_prints_the_decision(args: list[str], answer: str) -> None:
    assert explain(*args) == answer + "\n"


EVIL = "Origin: https://evil.example"
DASH_SOCKET = "tunnel to dash at http://127.0.0.1:8050, by the rule 'dash socket'"
REFUSED = "refused with 403: Pages of https://evil.example may not open a WebSocket at localhost."
SHOWN = DashFacts(
    PageConfig("4.4.1", "/app/", has_dev_tools=False, has_hot_reload=False, websocket=None),
    page_path="/app/",
    checks_origin=frozenset(("/app/_dash-ws-callback",)),
)


@pytest.mark.parametrize(
    ("url", "facts", "answer"),
    [
        ("/app/_dash-ws-callback", SHOWN, f"{DASH_SOCKET}; Dash checks the origin"),
        ("/_dash-ws-callback", SHOWN, REFUSED),
        ("/app/room/_dash-ws-callback", SHOWN, REFUSED),
        ("/_dash-ws-callback", DashFacts(why="connection refused"), REFUSED),
    ],
)
def test_explain_asks_dash_where_the_decision_depends_on_it(
    monkeypatch: pytest.MonkeyPatch, url: str, facts: DashFacts, answer: str
) -> None:
    async def ask_once(settings: Settings, target: str) -> DashFacts:
        return facts

    monkeypatch.setattr("proxy.cli.ask_once", ask_once)
    line, known = explain(f"ws://localhost{url}", "-H", EVIL).splitlines()
    assert line == answer
    assert known.startswith("Dash 4.4.1 at /app/" if facts is SHOWN else "Dash's page is not known: connection refused")


def test_explain_says_that_dash_is_not_there(config: Path) -> None:
    config.write_text(f"gateway: {{upstreams: {{dash: 'http://127.0.0.1:{free_port()}'}}}}\n")
    assert explain("ws://localhost/_dash-ws-callback").splitlines()[1] == (
        "Dash's page is not known: The upstream dash cannot be reached: connection refused."
    )


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (
            ["GET", "ws://localhost/", "-H", "Sec-WebSocket-Version: 8"],
            "refused with 426: Only version 13 of the WebSocket protocol is spoken here.",
        ),
        (["POST", "ws://localhost/"], "refused with 400: A WebSocket handshake is a GET over HTTP/1.1."),
        (["CONNECT", "/"], "refused with 400: CONNECT is for forward proxies; this is a gateway."),
        (["GET", "/", "--header", "Host: a b"], "refused with 400: The Host field is not a host."),
        (["GET", "/café"], "refused with 400: The request target holds characters that a URL may not."),
    ],
)
def test_explain_prints_a_refusal_with_its_reason(args: list[str], answer: str) -> None:
    assert explain(*args) == answer + "\n"


def test_explain_tries_the_users_routes_with_the_header_fields_it_is_given(config: Path) -> None:
    config.write_text("gateway:\n  routes: [{host: live.example, to: ws}, {subprotocol: chat, to: dash}]\n")
    given = ["--config", str(config)]
    assert "'routes[0]'" in explain("GET", "/", "-H", "host: live.example", *given)
    assert "'routes[1]'" in explain("GET", "ws://x/", "-H", "Sec-WebSocket-Protocol: a, chat", *given)


def test_explain_says_whom_another_sites_page_cannot_reach(config: Path) -> None:
    config.write_text("gateway: {origins: [same, 'https://other.example']}\n")
    args = ["GET", "wss://app.example/live", "--config", str(config), "-H"]
    assert explain(*args, "Origin: https://app.example") == HAND_OVER + "\n"
    assert explain(*args, "Origin: https://other.example") == HAND_OVER + "\n"
    assert explain(*args, "Origin: https://evil.example") == (
        "refused with 403: Pages of https://evil.example may not open a WebSocket at app.example.\n"
    )


def test_explain_says_who_is_asked_first(config: Path) -> None:
    config.write_text(
        "gateway:\n  handoff: off\n  auth:\n    - {ask: /auth}\n    - {path: /login, ask: null}\n"
        "    - {path: /admin, ask: /auth/admin}\n"
    )
    args = ["--config", str(config)]
    dash = "forward to dash at http://127.0.0.1:8050, by the rule 'http'"
    assert explain("GET", "/page", *args) == f"{dash}, once /auth on dash answers 2xx (auth[0])\n"
    assert explain("GET", "/login", *args) == f"{dash}\n"
    assert "'websocket', once /auth/admin on dash answers 2xx (auth[2])" in explain("GET", "ws://x/admin", *args)
    assert explain("GET", "/x/../admin", *args).startswith("refused with 400: The request's path can be")


def test_a_path_may_hold_a_url_in_its_query() -> None:
    assert explain("GET", "/login?next=http://localhost/page").startswith("forward to dash ")


@pytest.mark.parametrize("url", ["http://[::1/", "http://[x]/"])
def test_a_url_that_is_none_is_a_sentence_and_no_traceback(url: str) -> None:
    result = CliRunner().invoke(main, ["explain", "GET", url])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert url in result.output or "refused" in result.output


def test_a_header_without_a_colon_is_a_mistake_in_the_command() -> None:
    result = CliRunner().invoke(main, ["explain", "GET", "/", "-H", "nonsense"])
    assert result.exit_code == 2
    assert "'nonsense' is not a header field; write Name: value" in result.output


@pytest.mark.parametrize("command", [["explain", "GET", "/"], ["check"]])
def test_the_config_may_stand_before_or_behind_the_command(config: Path, command: list[str]) -> None:
    config.write_text("gateway: {lisen: x}\n")
    for args in (["--config", str(config), *command], [*command, "--config", str(config)]):
        result = CliRunner().invoke(main, args)
        assert (result.exit_code, "gateway.lisen" in result.output) == (2, True)


def test_explain_names_each_address_and_how_a_socket_gets_there(config: Path) -> None:
    config.write_text(
        "gateway:\n  upstreams:\n    api: http://api:1\n    dash: [http://a:1, http://b:1]\n"
        "    ws: [http://127.0.0.1:1, {url: http://127.0.0.1:2, handoff: run/b.sock}, http://c:1]\n"
        "  routes: [{path: /api, to: api}]\n"
    )
    assert explain("/") == (
        "forward to dash at http://a:1 or http://b:1, whichever has the fewest under way, by the rule 'http'\n"
    )
    assert explain("/api/x") == "forward to api at http://api:1, by the rule 'routes[0]'\n"
    assert explain("ws://localhost/live") == (
        "hand over to ws through run/ws.sock for http://127.0.0.1:1, run/b.sock for http://127.0.0.1:2, or tunnel to "
        "ws at http://127.0.0.1:1 or http://127.0.0.1:2 or http://c:1, whichever has the fewest sockets, by the rule "
        "'websocket'\n"
    )
