"""Every mistake in the gateway's section is named with its line, all of them at once; every default has its value."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.config import (
    Auth,
    ConfigError,
    Route,
    Settings,
    Timeouts,
    Upstreams,
    dump,
    load_settings,
    split_listen,
    split_url,
)

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def mistakes(path: Path, env: dict[str, str] | None = None) -> list[tuple[int | None, int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, env or {})
    return [(m.line, m.column, m.key, m.message) for m in caught.value.mistakes]


def only_mistake(path: Path, key: str, *words: str, line: int | None = None) -> None:
    """Check that there is one mistake, at ``key``, and that its sentence holds ``words``."""
    found = mistakes(path)
    assert [m[2] for m in found] == [key], found
    for word in words:
        assert word in found[0][3]
    if line is not None:
        assert found[0][0] == line


# -- defaults


def test_no_config_is_a_config() -> None:
    assert load_settings(None) == Settings()


@pytest.mark.parametrize("text", ["gateway:\n", "gateway: {}\n", "ws_service:\n  listen: 127.0.0.1:1\n"])
def test_what_is_left_out_has_its_default(write: Write, text: str) -> None:
    assert load_settings(write(text)) == Settings()


def test_the_defaults_are_the_ones_that_are_written_down() -> None:
    assert Settings().model_dump() == {
        "listen": "127.0.0.1:8000",
        "tls": None,
        "reuse_port": False,
        "proxy_protocol": False,
        "admin": "127.0.0.1:8001",
        "admin_public": False,
        "admin_hosts": (),
        "upstreams": {"dash": "http://127.0.0.1:8050", "ws": "http://127.0.0.1:8765"},
        "upstream_ca": None,
        "handoff": "run/ws.sock",
        "routes": (),
        "trusted_proxies": (),
        "origins": ("same",),
        "dash_prefix": "auto",
        "auth": (),
        "access_log": "text",
        "limits": {
            "request_line": "16KiB",
            "header": "64KiB",
            "fields": 128,
            "body": None,
            "connections": None,
            "connections_per_client": 1000,
            "websockets_per_client": 1000,
            "handshakes_per_second": 100,
            "uploads_per_client": 3,
            "buffered_per_client": "64MiB",
            "in_flight": 1024,
            "waiting": 4096,
        },
        "timeouts": {
            "head": "15s",
            "body": "1m",
            "send": "1m",
            "keepalive": "75s",
            "connect": "5s",
            "handshake": "15s",
            "response": "10m",
            "auth": "5s",
            "hold": "15s",
            "queue": "15s",
            "upstream_idle": "1.5s",
            "tunnel_idle": "1h",
            "drain_notice": "0s",
            "drain_window": "5s",
            "drain": "20s",
        },
        "health": {
            "interval": "5s",
            "timeout": "2s",
            "fails": 2,
            "passes": 1,
            "dash": None,
            "ws": None,
        },
        "buffer": "16KiB",
    }


@pytest.mark.parametrize("word", ["off", "false", "'off'"])
def test_off_hands_nothing_over(write: Write, word: str) -> None:
    settings = load_settings(write(f"gateway: {{handoff: {word}}}\n"))
    assert [one.handoff for one in settings.addresses_of("ws")] == [None]


def test_the_only_address_of_ws_has_the_socket_file_and_dash_has_none() -> None:
    settings = Settings(handoff="/run/app.sock", upstreams={"ws": "http://10.0.0.7:8765"})
    assert [one.handoff for one in settings.addresses_of("ws")] == ["/run/app.sock"]
    assert [one.handoff for one in settings.addresses_of("dash")] == [None]


HERE, THERE, ELSEWHERE = "http://127.0.0.1:8765", "unix:/run/b.sock", "http://10.0.0.7:8765"


@pytest.mark.parametrize(
    ("ws", "files"),
    [
        ([ELSEWHERE, HERE], [None, "run/ws.sock"]),
        ([HERE, THERE], ["run/ws.sock", None]),
        ([HERE, {"url": THERE, "handoff": "run/b.sock"}], ["run/ws.sock", "run/b.sock"]),
        ([{"url": HERE, "handoff": "run/ws.sock"}, THERE], ["run/ws.sock", None]),
        ([{"url": HERE, "handoff": "off"}, THERE], [None, "run/ws.sock"]),
        ([ELSEWHERE, "http://ws:8765"], [None, None]),
        ({"url": ELSEWHERE, "handoff": "run/a.sock"}, ["run/a.sock"]),
    ],
    ids=str,
)
def test_of_several_addresses_the_first_on_this_host_that_names_none_has_the_socket_file(
    ws: object, files: list[str | None]
) -> None:
    settings = Settings.model_validate({"upstreams": {"ws": ws}})
    assert [one.handoff for one in settings.addresses_of("ws")] == files
    again = Settings.model_validate(settings.model_dump(mode="json"))
    assert again == settings, "and it is written as it can be read"


@pytest.mark.parametrize("value", ["true", "''", "7", "[]", "null"])
def test_a_socket_file_is_named_by_its_path(write: Write, value: str) -> None:
    only_mistake(
        write(f"gateway: {{handoff: {value}}}\n"),
        "gateway.handoff",
        "is not the path of a socket file; write run/ws.sock",
    )


def test_a_tunnel_may_be_silent_for_much_longer_than_dashs_heartbeat() -> None:
    assert Timeouts().tunnel_idle > 10 * 30


def test_an_unused_upstream_connection_is_dropped_before_gunicorn_drops_it() -> None:
    assert Timeouts().upstream_idle < 2


def test_settings_cannot_be_changed_while_the_gateway_runs() -> None:
    settings = Settings()
    for holder, name in ((settings, "listen"), (settings.timeouts, "head"), (settings.upstreams, "ws")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(holder, name, "x")


def test_every_setting_can_be_written(write: Write, tmp_path: Path) -> None:
    settings = load_settings(
        write("""
            gateway:
              listen: "[::1]:8000"
              admin: unix:run/admin.sock
              upstreams: {dash: "http://dash.example", ws: unix:run/ws.sock}
              routes:
                - {path: /socket.io/, to: ws}
                - {host: live.example, to: ws}
                - {subprotocol: chat, path: /x, to: dash}
              trusted_proxies: [10.0.0.0/8, "fd00::1", unix]
              access_log: off
              timeouts: {head: 500ms, tunnel_idle: 2h, drain: 0}
              buffer: 1MiB
            """)
    )
    assert settings.listen == "[::1]:8000"
    assert split_listen(settings.listen) == ("::1", 8000)
    assert split_listen(settings.admin) == f"{tmp_path}/run/admin.sock"
    assert settings.upstreams == Upstreams(dash="http://dash.example", ws=f"unix:{tmp_path}/run/ws.sock")
    assert settings.routes == (
        Route(path="/socket.io/", to="ws"),
        Route(host="live.example", to="ws"),
        Route(subprotocol="chat", path="/x", to="dash"),
    )
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::1"), "unix")
    assert settings.access_log == "off"
    assert (settings.timeouts.head, settings.timeouts.tunnel_idle, settings.timeouts.drain) == (0.5, 7200, 0)
    assert settings.timeouts.body == Timeouts().body
    assert settings.buffer == 1 << 20


def test_the_path_of_a_socket_is_relative_to_the_file(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the program is started, and whatever way leads to the file."""
    write("gateway:\n  listen: unix:a.sock\n  upstreams: {dash: 'unix:/run/b.sock'}\n")
    monkeypatch.chdir(tmp_path.parent)
    settings = load_settings(Path(tmp_path.name) / "config.yaml", {})
    assert settings.listen == f"unix:{tmp_path}/a.sock"
    assert settings.upstreams.dash[0].url == "unix:/run/b.sock"


# -- the file as a whole


def test_a_file_that_is_not_there_is_said_to_be_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    [(line, _, key, message)] = mistakes(path)
    assert (line, key) == (None, "")
    assert "there is no such file" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a remark\n", "---\n"])
def test_an_empty_file_is_a_mistake(write: Write, text: str) -> None:
    only_mistake(write(text), "", "is empty", "gateway, ws_service, dash_app")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("gateway:\n  listen: [1, 2\n", 2, 11),
        ("gateway:\n\tlisten: x\n", 2, 1),
        ("gateway:\n  listen: a: b\n", 2, 12),
        ('gateway:\n  listen: "open\n', 2, 11),
        ("gateway: @x\n", 1, 10),
        ("gateway: {}\n---\ngateway: {}\n", 2, 1),
    ],
)
def test_yaml_that_is_none_is_located(write: Write, text: str, line: int, column: int) -> None:
    [found] = mistakes(write(text))
    assert found[:3] == (line, column, "")
    assert found[3].startswith("is not valid YAML: ")


def test_a_misspelt_section_is_found_although_no_program_would_miss_it(write: Write) -> None:
    only_mistake(write("gatway:\n  listen: 127.0.0.1:1\n"), "gatway", "did you mean gateway?", line=1)


def test_another_programs_mistakes_are_that_programs(write: Write) -> None:
    assert load_settings(write("ws_service:\n  nonsense: 1\n")) == Settings()


def test_a_setting_that_is_written_twice_is_a_mistake(write: Write) -> None:
    path = write("gateway:\n  listen: 127.0.0.1:1\n  admin: 127.0.0.1:2\n  listen: 127.0.0.1:3\n")
    only_mistake(path, "gateway.listen", "twice", "line 2", line=4)


# -- one key


@pytest.mark.parametrize(
    ("text", "key", "suggestion"),
    [
        ("gateway:\n  lisen: 127.0.0.1:1\n", "gateway.lisen", "listen"),
        ("gateway:\n  upstream: {}\n", "gateway.upstream", "upstreams"),
        ("gateway:\n  trusted-proxies: []\n", "gateway.trusted-proxies", "trusted_proxies"),
        ("gateway:\n  acces_log: off\n", "gateway.acces_log", "access_log"),
        ("gateway:\n  upstreams: {Dash: 'http://a'}\n", "gateway.upstreams.Dash", "dash"),
        ("gateway:\n  timeouts: {tunel_idle: 1h}\n", "gateway.timeouts.tunel_idle", "tunnel_idle"),
        ("gateway:\n  routes: [{pth: /a, to: ws}]\n", "gateway.routes[0].pth", "path"),
        ("gateway:\n  auth: [{ask: /a, copy_header: [X-User]}]\n", "gateway.auth[0].copy_header", "copy_headers"),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(
    write: Write, text: str, key: str, suggestion: str
) -> None:
    only_mistake(write(text), key, "is not a setting", f"did you mean {suggestion}?")


def test_an_unknown_key_that_resembles_none_gets_the_list(write: Write) -> None:
    only_mistake(
        write("gateway:\n  zzz: 1\n"), "gateway.zzz", "known here: listen, reuse_port, tls, proxy_protocol, admin"
    )


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        ("gateway: 8000\n", "gateway", "expected settings (key: value), got the number 8000"),
        ("gateway: [a]\n", "gateway", "expected settings (key: value), got a list"),
        ("gateway:\n  upstreams: http://a\n", "gateway.upstreams", "expected settings (key: value), got the text"),
        ("gateway:\n  timeouts: 30s\n", "gateway.timeouts", "expected settings (key: value), got the text '30s'"),
        ("gateway:\n  routes: {path: /a, to: ws}\n", "gateway.routes", "expected a list, got settings (key: value)"),
        ("gateway:\n  routes: [/a]\n", "gateway.routes[0]", "expected settings (key: value), got the text '/a'"),
        ("gateway:\n  routes: [{path: 1, to: ws}]\n", "gateway.routes[0].path", "expected text, got the number 1"),
        ("gateway:\n  trusted_proxies: 10.0.0.1\n", "gateway.trusted_proxies", "expected a list, got the text"),
        ("gateway:\n  access_log: xml\n", "gateway.access_log", "'common' or 'off', got 'xml'"),
        ("gateway:\n  access_log: 1\n", "gateway.access_log", "'common' or 'off', got 1"),
        ("gateway:\n  listen: 8000\n", "gateway.listen", "8000 is not an address; write host:port"),
        ("gateway:\n  listen:\n", "gateway.listen", "is not an address"),
        ("gateway:\n  timeouts: {head: 5}\n", "gateway.timeouts.head", "5 is not a duration"),
        ("gateway:\n  timeouts: {head: -5s}\n", "gateway.timeouts.head", "'-5s' is not a duration"),
        ("gateway:\n  timeouts: {head: 5 seconds}\n", "gateway.timeouts.head", "is not a duration"),
        ("gateway:\n  health: {dash: healthz}\n", "gateway.health.dash", "'healthz' is no path; write one that begins"),
        ("gateway:\n  health: {ws: /a b}\n", "gateway.health.ws", "'/a b' is no path"),
        ("gateway:\n  buffer: 65536\n", "gateway.buffer", "65536 is not a size"),
        ("gateway:\n  buffer: 1KiB\n", "gateway.buffer", "greater than or equal to 4096"),
        ("gateway:\n  1: 2\n", "gateway.1", "is not a setting"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_was_expected(
    write: Write, text: str, key: str, sentence: str
) -> None:
    only_mistake(write(text), key, sentence)


@pytest.mark.parametrize("key", ["listen", "admin"])
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("127.0.0.1:65536", "port 65536 is out of range (1 to 65535)"),
        ("127.0.0.1:99999999999999", "is not a number"),
        ("127.0.0.1:http", "port 'http' is not a number"),
        ("127.0.0.1:-1", "is not a number"),
        ("127.0.0.1", "is not an address; write host:port"),
        (":8000", "is not an address"),
        ("'127.0.0.1:'", "port '' is not a number"),
        ("'::1:8000'", "an IPv6 address needs brackets: [::1]:8000"),
        ("'unix:'", "the path after unix: is missing"),
    ],
)
def test_an_address_to_listen_on_is_checked(write: Write, key: str, value: str, sentence: str) -> None:
    only_mistake(write(f"gateway:\n  {key}: {value}\n"), f"gateway.{key}", sentence, line=2)


# -- URLs


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8050", ("127.0.0.1", 8050)),
        ("http://127.0.0.1:8050/", ("127.0.0.1", 8050)),
        ("http://dash", ("dash", 80)),
        ("http://my_dash.internal:65535", ("my_dash.internal", 65535)),
        ("http://[::1]:8050", ("::1", 8050)),
        ("http://[::1]", ("::1", 80)),
        ("HTTP://dash:1", ("dash", 1)),
    ],
)
def test_an_upstream_is_a_host_and_a_port_that_can_be_dialled(url: str, address: tuple[str, int]) -> None:
    assert split_url(Upstreams(dash=url).dash[0].url) == address


def test_an_upstream_may_be_a_unix_socket() -> None:
    assert Upstreams(ws="unix:/run/ws.sock").ws[0].url == "unix:/run/ws.sock"


BAD_URLS = {
    "127.0.0.1:8050": "does not begin with http://",
    "localhost": "does not begin with http://",
    "": "does not begin with http://",
    "//dash:8050": "does not begin with http://",
    "ftp://dash:8050": "does not begin with http://",
    "ws://dash:8050": "does not begin with http://",
    "ftp://dash": "does not begin with http://",
    "http:/dash": "more than a host and a port",
    "http:8050": "more than a host and a port",
    "http://": "names no host",
    "http://:8050": "names no host",
    "http://da sh:8050": "names no host",
    "http://dásh:8050": "names no host",
    "http://da,sh": "names no host",
    "http://dash:8050/app": "more than a host and a port",
    "http://dash:8050//": "more than a host and a port",
    "http://dash:8050?a=b": "more than a host and a port",
    "http://dash:8050/#top": "more than a host and a port",
    "http://me@dash:8050": "more than a host and a port",
    "http://me:secret@dash:8050": "more than a host and a port",
    "http://dash:": "port '' is not a number",
    "http://dash:http": "port 'http' is not a number",
    "http://dash:8050:1": "is not a number",
    "http://dash:+80": "is not a number",
    "http://dash:\uff18\uff10": "is not a number",
    "http://dash:0": "port 0 is out of range",
    "http://dash:65536": "port 65536 is out of range (1 to 65535)",
    "http://[::1": "is not a URL",
    "http://::1:8050": "names no host|is not a number",
    "http://[::1]8050": "names no host|is not a URL",
    "unix:": "the path after unix: is missing",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_named_with_what_is_wrong_with_it(write: Write, url: str) -> None:
    [(line, column, key, message)] = mistakes(write(f"gateway:\n  upstreams:\n    ws: '{url}'\n"))
    assert (line, column, key) == (3, 5, "gateway.upstreams.ws")
    assert any(words in message for words in BAD_URLS[url].split("|")), message


@pytest.mark.parametrize(
    "url",
    [
        "http://dash:8050?",
        "http://dash:8050#",
        "http://dash:8050/?",
        " http://dash:8050",
        "http://dash:80\\n50",
        "http://da\\tsh:8050",
        "ht\\ntp://dash:8050",
    ],
)
def test_what_urlsplit_quietly_drops_is_a_mistake_too(write: Write, url: str) -> None:
    """An empty query, an empty fragment, and spaces: ``urlsplit`` does not show them, but whoever dials meets them."""
    only_mistake(write(f'gateway:\n  upstreams:\n    ws: "{url}"\n'), "gateway.upstreams.ws")


HOSTS = st.sampled_from(["dash", "[::1]", "1.2.3.4", "", "a b", "é", "me@dash", "[::1", "a:b"])
PORTS = st.sampled_from(["", ":", ":80", ":080", ":0", ":65536", ":8x"])
TAILS = st.sampled_from(["", "/", "?", "#", "/?", "/#", "//", "/a", " ", "\n", "%", "?a", "\\"])


@given(st.tuples(st.sampled_from(["http://", "HTTP://", " http://", "http:\n//"]), HOSTS, PORTS, TAILS).map("".join))
@settings(max_examples=300)
def test_whatever_url_is_accepted_can_be_dialled(url: str) -> None:
    try:
        accepted = Upstreams(dash=url).dash[0].url
    except ValidationError:
        return
    host, port = split_url(accepted)
    assert host
    assert 1 <= port <= 65535


# -- routes and networks


@pytest.mark.parametrize(
    ("route", "key", "sentence"),
    [
        ("{to: ws}", "gateway.routes[0]", "matches everything"),
        ("{path: null, to: ws}", "gateway.routes[0]", "matches everything"),
        ("{path: live, to: ws}", "gateway.routes[0]", "must begin with /"),
        ("{path: '', to: ws}", "gateway.routes[0]", "must begin with /"),
        ("{path: 'http://a/b', to: ws}", "gateway.routes[0]", "must begin with /"),
        ("{path: /a}", "gateway.routes[0].to", "is missing"),
        ("{path: /a, to: redis}", "gateway.routes[0].to", "'redis' is no upstream; gateway.upstreams has dash, ws"),
        ("{path: /a, to: ''}", "gateway.routes[0].to", "'' is no upstream; gateway.upstreams has dash, ws"),
        ("{path: [/a], to: ws}", "gateway.routes[0].path", "expected text, got a list"),
    ],
)
def test_a_bad_route_is_named(write: Write, route: str, key: str, sentence: str) -> None:
    only_mistake(write(f"gateway:\n  routes:\n    - {route}\n"), key, sentence, line=3)


@pytest.mark.parametrize("condition", ["host", "subprotocol"])
def test_an_empty_condition_is_no_condition(write: Write, condition: str) -> None:
    """``host: ${HOST:-}`` must not become a rule that takes every request."""
    only_mistake(write(f"gateway:\n  routes:\n    - {{{condition}: '', to: ws}}\n"), "gateway.routes[0]", line=3)


def test_a_route_that_is_the_third_is_called_the_third(write: Write) -> None:
    path = write("gateway:\n  routes:\n    - {path: /a, to: ws}\n    - {path: /b, to: ws}\n    - {path: c, to: ws}\n")
    only_mistake(path, "gateway.routes[2]", "'c'", line=5)


@pytest.mark.parametrize("value", ["10.0.0.0/8", "10.0.0.7", "10.0.0.7/8", "::1", "fd00::/8", "unix"])
def test_a_trusted_proxy_is_an_address_a_network_or_unix(write: Write, value: str) -> None:
    [network] = load_settings(write(f"gateway:\n  trusted_proxies: ['{value}']\n")).trusted_proxies
    assert str(network) in (value, f"{value}/32", f"{value}/128", "10.0.0.0/8")


@pytest.mark.parametrize(
    "value", ["10.0.0.0/33", "10.0.0", "dash.example", "'*'", "''", "7", "null", "true", "unix:/x", "10.0.0.1:80", "{}"]
)
def test_a_bad_network_is_named(write: Write, value: str) -> None:
    path = write(f"gateway:\n  trusted_proxies:\n    - 10.0.0.1\n    - {value}\n")
    only_mistake(path, "gateway.trusted_proxies[1]", "is not a network; write 10.0.0.7", line=4)


# -- all at once


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(write: Write) -> None:
    path = write(
        "gatewai: {}\n"
        "gateway:\n"
        "  lisen: 127.0.0.1:8000\n"
        "  admin: 127.0.0.1:70000\n"
        "  upstreams:\n"
        "    dash: ftp://a\n"
        "  routes:\n"
        "    - {to: ws}\n"
        "    - {path: /a, to: 7}\n"
        "  trusted_proxies: [everybody]\n"
        "  buffer: ${NO_SUCH_VARIABLE}\n"
    )
    assert [(line, key) for line, _, key, _ in mistakes(path)] == [
        (1, "gatewai"),
        (3, "gateway.lisen"),
        (4, "gateway.admin"),
        (6, "gateway.upstreams.dash"),
        (8, "gateway.routes[0]"),
        (9, "gateway.routes[1].to"),
        (10, "gateway.trusted_proxies[0]"),
        (11, "gateway.buffer"),
    ]


def test_a_mistake_reads_file_line_column_key_sentence(write: Write) -> None:
    path = write("gateway:\n  listen: nowhere\n  bufer: 1MiB\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}:2:3: gateway.listen: 'nowhere' is not an address")
    assert second == f"{path}:3:3: gateway.bufer: is not a setting; did you mean buffer?"


# -- variables


def test_a_variable_is_replaced_by_its_value(write: Write) -> None:
    path = write("gateway:\n  listen: ${ADDRESS}:${PORT}\n  buffer: ${SIZE:-1MiB}\n  trusted_proxies: ['${FRONT}']\n")
    settings = load_settings(path, {"ADDRESS": "0.0.0.0", "PORT": "9000", "FRONT": "10.0.0.0/8"})
    assert settings.listen == "0.0.0.0:9000"
    assert settings.buffer == 1 << 20
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"),)


def test_a_default_serves_when_the_variable_is_unset_or_empty(write: Write) -> None:
    path = write("gateway:\n  upstreams: {dash: 'http://${DASH:-127.0.0.1:9050}'}\n")
    assert load_settings(path, {}).upstreams.dash[0].url == "http://127.0.0.1:9050"
    assert load_settings(path, {"DASH": ""}).upstreams.dash[0].url == "http://127.0.0.1:9050"
    assert load_settings(path, {"DASH": "dash:80"}).upstreams.dash[0].url == "http://dash:80"


def test_a_variable_that_is_not_set_is_the_only_mistake_of_its_key(write: Write) -> None:
    path = write("gateway:\n  listen: 127.0.0.1:${NO_SUCH_PORT}\n")
    only_mistake(path, "gateway.listen", "NO_SUCH_PORT is not set", "${NO_SUCH_PORT:-value}", line=2)


def test_a_variables_value_is_checked_like_any_other(write: Write) -> None:
    path = write("gateway:\n  listen: 127.0.0.1:${PORT}\n")
    assert [m[3] for m in mistakes(path, {"PORT": "70000"})] == ["port 70000 is out of range (1 to 65535)"]


# -- printing


def round_trip(settings: Settings, path: Path) -> Settings:
    path.write_text(dump("gateway", settings), "utf-8")
    return load_settings(path, {})


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    assert round_trip(Settings(), tmp_path / "defaults.yaml") == Settings()


def test_every_setting_is_printed() -> None:
    printed = dump("gateway", Settings())
    for model in (Settings, Upstreams, Timeouts):
        for name in model.model_fields:
            assert f"{name}:" in printed


SECONDS = st.one_of(st.just(0.0), st.integers(1, 10**6).map(lambda ms: ms / 1000), st.integers(1, 10**6).map(float))


@given(
    st.builds(
        Settings.model_construct,
        listen=st.sampled_from(["0.0.0.0:80", "[::]:65535", "unix:/run/gateway.sock", "localhost:1"]),
        upstreams=st.builds(Upstreams, ws=st.sampled_from(["http://[::1]:1", "unix:/a b", "http://ws"])),
        routes=st.lists(
            st.builds(
                Route,
                path=st.sampled_from(["/", "/a b", "/größe", "/off", "/~", "/: #"]),
                host=st.sampled_from([None, "on", "null", "1.5", "0x10"]),
                subprotocol=st.sampled_from([None, "yes", "12"]),
                to=st.sampled_from(["dash", "ws"]),
            ),
            max_size=3,
        ).map(tuple),
        trusted_proxies=st.lists(st.one_of(st.just("unix"), st.ip_addresses().map(ip_network)), max_size=3).map(tuple),
        access_log=st.sampled_from(["text", "json", "combined", "common", "off"]),
        timeouts=st.builds(Timeouts.model_construct, head=SECONDS, response=SECONDS, drain=SECONDS),
        buffer=st.integers(4096, 1 << 31),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_settings_that_are_printed_are_the_ones_that_are_read(tmp_path: Path, chosen: Settings) -> None:
    assert round_trip(chosen, tmp_path / "printed.yaml") == chosen


@pytest.mark.parametrize(
    ("route", "why"),
    [
        ({"path": "/a?b=c", "to": "ws"}, "without the query"),
        ({"path": "/a%20b", "to": "ws"}, "compared decoded"),
        ({"host": "dash.test:8000", "to": "ws"}, "without the port"),
    ],
)
def test_a_route_that_can_match_nothing_is_a_mistake(route: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=f"can match nothing: .*{why}"):
        Route.model_validate(route)


def test_one_address_for_both_listeners_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match=r"listen and admin are both 127\.0\.0\.1:1"):
        Settings.model_validate({"listen": "127.0.0.1:1", "admin": "127.0.0.1:1"})


# -- who is asking


def test_origins_and_auth_can_be_written(write: Write, tmp_path: Path) -> None:
    settings = load_settings(
        write("""
            gateway:
              origins: [same, https://App.example, "http://[::1]:8000", null, 'regex:https://.*[.]example',
                https://app.example:443, file://, capacitor://localhost, chrome-extension://abc]
              auth:
                - {ask: /auth, copy_headers: [X-User, Remote_Groups], cache: 30s}
                - {path: /login, ask: null}
                - {path: /admin, host: admin.example, ask: '/auth?role=admin'}
            """)
    )
    assert round_trip(settings, tmp_path / "printed.yaml") == settings
    assert settings.origins == (
        "same",
        "https://app.example",
        "http://[::1]:8000",
        "null",
        "regex:https://.*[.]example",
        "https://app.example",
        "file://",
        "capacitor://localhost",
        "chrome-extension://abc",
    )
    assert settings.auth == (
        Auth(ask="/auth", copy_headers=("X-User", "Remote_Groups"), cache="30s"),
        Auth(path="/login", ask=None),
        Auth(path="/admin", host="admin.example", ask="/auth?role=admin"),
    )


@pytest.mark.parametrize(
    "value",
    ["app", "/app", "app/", "", "//", "/a//b/", "/../", "/a/./", "/a;b/", "/a?b/", "/a%20b/", "/a b/", "/é/", "5"],
)
def test_a_prefix_of_dash_is_written_as_dash_has_it(write: Write, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(f"gateway:\n  dash_prefix: '{value}'\n"))
    assert f"gateway.dash_prefix: {value!r} is not a path prefix; write auto, or " in str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("app.example", "is not an origin; write https://app.example, "),
        (
            "https://app.example/",
            "is not an origin; it is the page's scheme, host and port alone, as a browser writes them: "
            "https://app.example",
        ),
        ("https://*.example", "is not an origin"),
        ("'*'", "is not an origin"),
        ("ws://app.example", "is not an origin"),
        ("'regex:('", "is not a regular expression"),
        ("7", "expected an origin such as https://app.example.com, got 7"),
    ],
)
def test_an_origin_is_checked(write: Write, value: str, sentence: str) -> None:
    only_mistake(write(f"gateway:\n  origins:\n    - same\n    - {value}\n"), "gateway.origins[1]", sentence, line=4)


@pytest.mark.parametrize(
    ("rule", "key", "sentence"),
    [
        ("{path: /a}", ".ask", "is missing"),
        ("{path: a, ask: /auth}", "", "path 'a' must begin with / and not end with it"),
        ("{path: /a/, ask: /auth}", "", "path '/a/' must begin with / and not end with it"),
        ("{path: /a//b, ask: /auth}", "", "path '/a//b' must be simple"),
        ("{path: /a/../b, ask: /auth}", "", "must be simple"),
        ("{path: /a;b, ask: /auth}", "", "must be simple"),
        ("{path: '/a?b', ask: /auth}", "", "must be simple"),
        ("{path: /%61, ask: /auth}", "", "compared decoded and without the query"),
        ("{host: 'a:80', ask: /auth}", "", "compared without the port"),
        ("{host: '', ask: /auth}", "", "can match nothing"),
        ("{ask: auth}", "", "ask 'auth' must be a path on Dash, such as /auth"),
        ("{ask: 'http://dash/auth'}", "", "must be a path on Dash"),
        ("{ask: '/auth x'}", "", "must be a path on Dash"),
        ("{ask: '/auth#x'}", "", "must be a path on Dash"),
        ('{ask: "/auth\\r\\nX-User: root"}', "", "must be a path on Dash"),
        ("{ask: null, host: a}", "", "allows every request with this host, and any client can"),
        ("{ask: null, cache: 5s}", "", "does not ask"),
        ("{ask: null, copy_headers: [X-User]}", "", "does not ask"),
        ("{ask: /auth, cache: 5}", ".cache", "5 is not a duration"),
        ("{ask: /auth, copy_headers: X-User}", ".copy_headers", "expected a list"),
        ("{ask: /auth, copy_headers: [X User]}", ".copy_headers[0]", "is not the name of a header field"),
        ('{ask: /auth, copy_headers: ["X-User: a"]}', ".copy_headers[0]", "is not the name of a header field"),
        ("{ask: /auth, copy_headers: ['']}", ".copy_headers[0]", "is not the name of a header field"),
        ("{ask: /auth, copy_headers: [X-User, Host]}", ".copy_headers[1]", "Host cannot be copied to a request"),
        ("{ask: /auth, copy_headers: [Set-Cookie]}", ".copy_headers[0]", "cannot be copied to a request"),
        ("{ask: /auth, copy_headers: [Content_Length]}", ".copy_headers[0]", "cannot be copied to a request"),
        ("{ask: /auth, copy_headers: [X-Forwarded-For]}", ".copy_headers[0]", "cannot be copied to a request"),
        ("{ask: /auth, copy_headers: [Sec-WebSocket-Key]}", ".copy_headers[0]", "cannot be copied to a request"),
    ],
)
def test_a_rule_of_auth_is_checked(write: Write, rule: str, key: str, sentence: str) -> None:
    only_mistake(write(f"gateway:\n  auth:\n    - {rule}\n"), f"gateway.auth[0]{key}", sentence, line=3)


def test_two_rules_for_one_place_are_a_mistake(write: Write) -> None:
    text = "gateway:\n  auth:\n    - {path: /a, host: X, ask: /1}\n    - {path: /a, ask: /2}\n"
    load_settings(write(text), {})
    only_mistake(write(text + "    - {path: /a, host: x, ask: /3}\n"), "gateway.auth", "two rules for the path /a")


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        ("unix:run/gateway.sock", "a unix socket has one owner; write host:port"),
        ("systemd", "systemd has opened this one, so write ReusePort=yes in its socket unit"),
        ("systemd:web", "systemd has opened this one"),
    ],
)
def test_what_has_one_owner_is_not_shared(write: Write, listen: str, sentence: str) -> None:
    only_mistake(write(f"gateway:\n  listen: {listen}\n  reuse_port: true\n"), "gateway", sentence, line=2)


@pytest.mark.parametrize(
    ("key", "value", "known"),
    [
        ("listen", "systemd", "systemd"),
        ("listen", "systemd:the web", "systemd:the web"),
        ("listen", "'127.0.0.1:0'", "127.0.0.1:0"),
        ("admin", "systemd", "systemd"),
        ("admin", "off", "off"),
        ("admin", "'off'", "off"),
    ],
)
def test_words_and_port_0_are_known_in_the_place_of_an_address(write: Write, key: str, value: str, known: str) -> None:
    assert getattr(load_settings(write(f"gateway:\n  {key}: {value}\n"), {}), key) == known


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("'systemd:'", "'systemd:' names no socket; write systemd, or systemd: and a FileDescriptorName="),
        ("systemd:a:b", "'systemd:a:b' names no socket"),
        ("off", "is not an address"),
    ],
)
def test_a_socket_of_systemd_without_a_name_and_no_public_listener_are_mistakes(
    write: Write, value: str, sentence: str
) -> None:
    only_mistake(write(f"gateway:\n  listen: {value}\n"), "gateway.listen", sentence, line=2)


def test_two_sockets_of_systemd_differ_by_their_names(write: Write) -> None:
    load_settings(write("gateway:\n  listen: systemd\n  admin: systemd\n"), {})
    only_mistake(
        write("gateway:\n  listen: systemd:web\n  admin: systemd:web\n"), "gateway", "both systemd:web", line=2
    )
