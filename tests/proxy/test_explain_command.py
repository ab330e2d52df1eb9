"""Where a request would go: what ``explain`` prints, and what it asks Dash for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.config import Settings
from proxy.dash.facts import DashFacts
from proxy.dash.page_config import PageConfig
from tests.processes import completed, free_port

gateway = partial(completed, "-m", "proxy")
"""Runs the gateway's command line to its end."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository has a config.yaml, and what runs in this process would read it."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def explain(*args: str) -> str:
    """Run ``explain`` in this process, where the question is the answer and not the process."""
    result = CliRunner().invoke(main, ["explain", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


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

    monkeypatch.setattr("proxy.explain_command.ask_once", ask_once)
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
