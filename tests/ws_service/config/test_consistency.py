"""Which settings of two sections do not fit, and which might be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ws_service.config.consistency import disagreements, refuse_dangers, warnings
from ws_service.config.file import ConfigFile
from ws_service.errors import ConfigError

FOLDER = Path("/etc/app")


def compared(gateway: dict[str, Any], service: dict[str, Any]) -> list[tuple[str, bool]]:
    found = disagreements({"gateway": gateway, "ws_service": service}, FOLDER)
    return [(one.message, one.is_certain) for one in found]


@pytest.mark.parametrize(
    ("ws", "listen"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://localhost:8765", "127.0.0.1:8765"),
        ("http://127.0.0.1:8765", "localhost:8765"),
        ("http://[::1]:8765", "[::1]:8765"),
        ("http://127.0.0.1:8765", "0.0.0.0:8765"),
        ("http://service:8765", "0.0.0.0:8765"),  # a container, by its name
        ("http://service:80", "0.0.0.0:8765"),  # and a port that is mapped
        ("http://ws.internal:8765", "ws.internal:8765"),
        ("https://ws.internal", "127.0.0.1:8765"),  # somebody ends TLS in front of it
        ("unix:run/service.sock", "unix:run/service.sock"),
        ("unix:/etc/app/run/service.sock", "unix:./run/service.sock"),
        ("http://ws.internal:80", "unix:run/service.sock"),
        (7, "127.0.0.1:8765"),  # what is not well-formed is said elsewhere
        ("http://127.0.0.1:x", "127.0.0.1:8765"),
    ],
)
def test_addresses_that_fit_or_may_fit_are_no_disagreement(ws: object, listen: object) -> None:
    assert compared({"upstreams": {"ws": ws}}, {"listen": listen}) == []


@pytest.mark.parametrize(
    ("ws", "listen", "right", "is_certain"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:9000", "http://127.0.0.1:9000", True),
        ("http://localhost:8765", "0.0.0.0:9000", "http://127.0.0.1:9000", True),
        ("http://127.0.0.1:8765", "unix:run/service.sock", "unix:run/service.sock", True),
        ("unix:run/a.sock", "unix:run/b.sock", "unix:run/b.sock", True),
        ("unix:run/a.sock", "127.0.0.1:8765", "http://127.0.0.1:8765", True),
        ("http://127.0.0.1:8765", "10.0.0.5:8765", "http://10.0.0.5:8765", True),
        ("http://10.0.0.6:8765", "10.0.0.5:8765", "http://10.0.0.5:8765", False),
        ("http://10.0.0.5:8765", "127.0.0.1:8765", "http://127.0.0.1:8765", False),
        ("http://10.0.0.5:80", "10.0.0.5:8765", "http://10.0.0.5:8765", True),
    ],
)
def test_addresses_that_do_not_fit_are_told_with_what_to_write(
    ws: str, listen: str, right: str, is_certain: bool
) -> None:
    message = f"is {ws}, and ws_service.listen is {listen}: no program listens there; write {right}"
    assert compared({"upstreams": {"ws": ws}}, {"listen": listen}) == [(message, is_certain)]


@pytest.mark.parametrize(
    ("gateway", "service"),
    [
        ({"listen": "127.0.0.1:8765"}, {}),
        ({"admin": "127.0.0.1:8765"}, {}),
        ({"listen": "0.0.0.0:9000"}, {"listen": "127.0.0.1:9000"}),
        ({"listen": "*:9000"}, {"listen": "[::1]:9000"}),
        ({"listen": "[::]:9000"}, {"listen": "[::1]:9000"}),
        ({"listen": "unix:run/a"}, {"listen": "unix:/etc/app/run/a"}),
    ],
)
def test_two_programs_at_one_address_are_told(gateway: dict[str, Any], service: dict[str, Any]) -> None:
    found = [message for message, is_certain in compared(gateway, service) if "only one program" in message]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("gateway", "service"),
    [
        ({"listen": "127.0.0.2:8765"}, {}),
        ({"listen": "0.0.0.0:9000"}, {"listen": "[::1]:9000"}),
        ({"listen": "[::]:9000"}, {"listen": "127.0.0.1:9000"}),
        ({"listen": "unix:run/a"}, {"listen": "unix:run/b"}),
        ({"listen": "gateway.internal:9000"}, {"listen": "127.0.0.1:9000"}),
        ({"listen": "x"}, {"listen": "x"}),
    ],
)
def test_addresses_that_differ_or_may_are_no_collision(gateway: dict[str, Any], service: dict[str, Any]) -> None:
    assert not [message for message, _ in compared(gateway, service) if "only one program" in message]


@pytest.mark.parametrize(
    ("listen", "dash", "is_loop"),
    [
        ("127.0.0.1:8050", "http://127.0.0.1:8050", True),
        ("0.0.0.0:8050", "http://127.0.0.1:8050", True),
        ("127.0.0.1:8050", "http://localhost:8050/", True),
        ("unix:run/a", "unix:./run/a", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8001", True),  # the admin listener
        ("127.0.0.1:8000", "http://127.0.0.1:8050", False),
        ("0.0.0.0:8050", "http://dash:8050", False),  # a container of that name
        ("127.0.0.1:8050", "http://10.0.0.5:8050", False),
        ("gateway.internal:8050", "http://127.0.0.1:8050", False),
        ("127.0.0.1:80", "http://127.0.0.1", True),  # 80 is the port of http
        ("127.0.0.1:8050", 7, False),
    ],
)
def test_a_gateway_that_would_ask_itself_is_told(listen: str, dash: object, is_loop: bool) -> None:
    found = list(disagreements({"gateway": {"listen": listen, "upstreams": {"dash": dash}}}, FOLDER))
    assert ["would ask itself" in one.message for one in found] == [True] * is_loop


def test_tls_to_a_program_that_speaks_none_is_told() -> None:
    assert compared({"upstreams": {"ws": "https://localhost:8765"}}, {}) == [
        ("is https://localhost:8765, and ws_service speaks plain HTTP at 127.0.0.1:8765; write http://", True)
    ]


def test_the_defaults_count_where_a_section_is_silent() -> None:
    assert compared({}, {}) == []
    assert len(compared({}, {"listen": "127.0.0.1:9000"})) == 1
    assert len(compared({"upstreams": {"ws": "http://127.0.0.1:9000"}}, {})) == 1


@pytest.mark.parametrize(
    ("gateway", "service", "found"),
    [
        ("run/ws.sock", "./run/ws.sock", []),
        ("/etc/app/run/ws.sock", "run/ws.sock", []),
        ("off", "run/ws.sock", []),
        ("off", "off", []),
        (
            "run/a",
            "run/b",
            [("is run/a, and ws_service.handoff is run/b: no program listens there; write the same path", True)],
        ),
        (
            "run/a",
            "off",
            [("is run/a, and ws_service.handoff is off: each WebSocket is tunnelled; write off here too", False)],
        ),
    ],
)
def test_the_socket_file_is_one(gateway: str, service: str, found: list[tuple[str, bool]]) -> None:
    assert compared({"handoff": gateway}, {"handoff": service}) == found


def test_the_demo_is_compared_too() -> None:
    (found,) = disagreements({"gateway": {}, "dash_app": {"listen": "127.0.0.1:8051"}}, FOLDER)
    assert (found.path, found.other) == (("gateway", "upstreams", "dash"), ("dash_app", "listen"))


def test_a_program_is_told_what_concerns_it_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service:\n  listen: ${WHERE}:9000\n")
    env = {"WHERE": "127.0.0.1"}
    sentence = (
        "is http://127.0.0.1:8765 by default, and ws_service.listen is 127.0.0.1:9000: no program listens there; "
    )
    file = ConfigFile(path, {})
    assert warnings(file, "gateway", env) == [f"{path}: gateway.upstreams.ws: {sentence}write http://127.0.0.1:9000"]
    assert warnings(file, "ws_service", env) == []  # the gateway may run by another file
    path.write_text("gateway: {}\ndash_app: {listen: '127.0.0.1:9000'}\n")
    file = ConfigFile(path, {})
    assert warnings(file, "ws_service", env) == []
    assert len(warnings(file, "gateway", env)) == 1
    assert warnings(None, "gateway", env) == []


RULE = {"path": "/", "ask": "/auth", "copy_headers": ["X-User"]}


def _told(gateway: dict[str, Any] | None, field: object = "X-User") -> list[tuple[str, bool]]:
    sections: dict[str, dict[str, Any]] = {"ws_service": {"hub": {"user_header": field}}}
    if gateway is not None:
        sections["gateway"] = gateway
    return [(one.message, one.is_certain) for one in disagreements(sections, FOLDER) if "hub" in one.path]


@pytest.mark.parametrize(
    "auth",
    [
        [RULE],
        [{**RULE, "path": "/connection"}],
        [{**RULE, "copy_headers": ["X-Role", "x_user"]}],
        [{"path": "/login", "ask": None}, RULE],
    ],
)
def test_a_field_with_the_users_name_is_set_by_a_rule_of_the_gateway(auth: list[Any]) -> None:
    assert _told({"auth": auth}) == []
    assert _told({"auth": [{**RULE, "path": "/app"}], "dash_prefix": "/app/"}) == []


@pytest.mark.parametrize(
    "gateway",
    [
        {},
        {"auth": []},
        {"auth": None},
        {"auth": ["/"]},
        {"auth": [{**RULE, "ask": None}]},
        {"auth": [{**RULE, "copy_headers": []}]},
        {"auth": [{**RULE, "copy_headers": ["X-User-Id", 7]}]},
    ],
)
def test_a_field_that_every_client_could_write_is_a_mistake(gateway: dict[str, Any]) -> None:
    ((message, is_certain),) = _told(gateway)
    assert is_certain and "each client could write the name of another user" in message


def test_a_rule_for_other_paths_and_a_gateway_elsewhere_are_told() -> None:
    for rule in ({**RULE, "path": "/live"}, {**RULE, "path": "/connections"}, {**RULE, "host": "a.example"}):
        ((message, is_certain),) = _told({"auth": [rule]})
        assert not is_certain and "its clients have no user" in message
    ((message, is_certain),) = _told(None)
    assert not is_certain and "must set it" in message


@pytest.mark.parametrize("field", [None, 7, ["X-User"]])
def test_what_is_no_field_is_passed_over(field: object) -> None:
    assert _told({}, field) == []


def test_a_service_does_not_run_where_every_client_could_name_itself(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("gateway: {}\nws_service:\n  hub: {user_header: X-User}\n")
    with pytest.raises(ConfigError, match=r"config.yaml:3:9: ws_service.hub.user_header: is X-User, and no rule"):
        refuse_dangers(ConfigFile(path, {}), "ws_service", {})
    refuse_dangers(ConfigFile(path, {}), "gateway", {})
    refuse_dangers(None, "ws_service", {})
    path.write_text("ws_service:\n  hub: {user_header: X-User}\n")  # the gateway runs by another file
    refuse_dangers(ConfigFile(path, {}), "ws_service", {})


def test_a_port_that_is_free_is_known_at_the_start_alone_so_a_url_to_it_may_be_wrong() -> None:
    ws = "http://127.0.0.1:8765"
    message = f"is {ws}, and ws_service.listen is 127.0.0.1:0, which is another port after each start; write a port"
    assert compared({"upstreams": {"ws": ws}}, {"listen": "127.0.0.1:0"}) == [(message, False)]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "systemd", "systemd:8765"])
def test_what_only_the_start_knows_is_no_collision(listen: str) -> None:
    assert compared({"listen": listen, "admin": listen}, {"listen": "127.0.0.1:8765"}) == []
