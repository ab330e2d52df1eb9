"""A rule holds however a path is written, and no client sets an identity header."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.auth_rules import HUB, AuthRules
from proxy.config import Auth
from proxy.errors import ClientError
from proxy.http1.headers import FORWARDING_HEADERS, HOP_BY_HOP, Head, folded
from ws_service.hub import paths

EVERYTHING = {"path": "/", "ask": "/auth"}
LOGIN = {"path": "/login", "ask": None}
ADMIN = {"path": "/admin", "ask": "/auth/admin"}


def auth_rules(*rules: dict[str, Any]) -> AuthRules:
    return AuthRules(Auth(**rule) for rule in rules)


def asked(target: str, *rules: dict[str, Any], host: bytes = b"app.example:8000") -> str | None:
    rule = auth_rules(*rules).rule_for(target, host)
    return rule and rule.ask


HUB_BELOW_THE_LOGIN = [
    "/login/connection/websocket",
    "/login/x/connection/uni_sse?channels=prices",
    "/login/%63onnection/websocket",
]


@pytest.mark.parametrize("target", HUB_BELOW_THE_LOGIN)
def test_an_open_path_opens_no_hub_that_answers_below_it(target: str) -> None:
    assert asked(target, EVERYTHING, LOGIN) == "/auth"
    assert asked(target, LOGIN) is None, "without a rule that asks, nothing is protected"
    assert asked("/login/connection/websockets", EVERYTHING, LOGIN) is None


@pytest.mark.parametrize("path", ["/connection", "/app/connection", "/app/connection/websocket"])
def test_a_rule_that_names_the_hub_opens_it(path: str) -> None:
    target = path.removesuffix("/websocket") + "/websocket"
    assert asked(target, EVERYTHING, {"path": path, "ask": None}) is None


def test_the_hubs_paths_are_those_of_the_service() -> None:
    assert (paths.WEBSOCKET, paths.EVENT_STREAM) == HUB


PLAIN = ["/", "/page", "/login", "/admin/x", "/?a=/login", "/a%20b", "/gr%C3%B6%C3%9Fe", "/a.b/..c", "/x...", "/~a"]

ADMIN_IN_DISGUISE = [
    "/%61dmin",
    "/%61%64%6D%69%6e",
    "/admin%2Fusers",
    "/admin%2fusers",
    "/admin?x=1",
    "/admin/",
    "//admin",
    "///admin",
    "/%2Fadmin",
    "/./admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/x/.%2E/admin",
    "/x/..%2fadmin",
    "/x%2f..%2fadmin",
    "/x/..;/admin",
    "/x/..%3B/admin",
    "/x\\..\\admin",
    "/x%5c..%5Cadmin",
    "/admin;x=1",
    "/;/admin",
    "/%2561dmin",
    "/%252e%252e/admin",
    "/admin%00",
    "/admin%3Fx",
    "/admin%23x",
    "//admin/../x",
    "//a/../admin",
    "/admin/.",
    "/x/%2e./admin",
    "/admin%0a",
    "/admin%ff",
    "*",
]


@pytest.mark.parametrize("target", ADMIN_IN_DISGUISE)
def test_a_rule_matches_its_path_however_it_is_written(target: str) -> None:
    assert asked(target, ADMIN) == "/auth/admin"


@pytest.mark.parametrize("target", PLAIN)
def test_other_paths_pass_where_a_rule_has_one_path(target: str) -> None:
    assert asked(target, ADMIN) == ("/auth/admin" if target.startswith("/admin") else None)


@pytest.mark.parametrize(
    "target",
    [
        "/login/../admin",
        "/login/..",
        "/login/%2e%2e/admin",
        "/login%2f..%2fadmin",
        "/login/..;/admin",
        "/login;/../admin",
        "/login\\..\\admin",
        "/login/%252e%252e/admin",
        "/login//../../admin",
        "//login/../admin",
        "/login%00/../admin",
        "/login?/../admin",
        "/loginx",
        "/LOGIN",
        "/admin/login",
        "/x/../login",
        "/login%2Fx",
    ],
)
def test_an_open_path_does_not_open_another_one(target: str) -> None:
    expected = None if target.startswith("/login?") else "/auth"
    assert asked(target, EVERYTHING, LOGIN) == expected


@pytest.mark.parametrize("target", ["/login", "/login/", "/login?next=/admin", "/login/forgotten", "/%6Cogin"])
def test_a_login_page_under_the_path_of_a_rule_is_open(target: str) -> None:
    assert asked(target, EVERYTHING, LOGIN) is None


@pytest.mark.parametrize("target", [*PLAIN, *ADMIN_IN_DISGUISE, "/_dash-update-component", "/assets/a.js", "/auth"])
def test_a_rule_for_everything_misses_nothing(target: str) -> None:
    assert asked(target, EVERYTHING) == "/auth"


@pytest.mark.parametrize("target", ["//admin", "/x/../admin", "/login/../x", "/a;b", "/%2561", "*"])
def test_a_path_that_can_be_read_in_two_ways_is_refused_where_two_might_be_asked(target: str) -> None:
    with pytest.raises(ClientError, match="read in more than one way") as caught:
        asked(target, EVERYTHING, ADMIN, LOGIN)
    assert caught.value.status == 400


def test_the_longest_path_wins_then_the_one_with_a_host() -> None:
    rules = ({"path": "/", "ask": "/1"}, {"path": "/", "host": "App.example", "ask": "/2"}, {"path": "/a", "ask": "/3"})
    assert asked("/", *rules, host=b"other") == "/1"
    for host in (b"app.example", b"APP.EXAMPLE:8000", b"app.example.", b"app.example.:8000"):
        assert asked("/", *rules, host=host) == "/2"
    assert asked("/a/b", *rules) == "/3"
    assert asked("/a/b", {"path": "/a/b", "ask": "/4"}, *rules) == "/4"


def test_without_rules_there_is_no_auth_request() -> None:
    assert asked("//x/../y") is None
    assert not AuthRules().apply_to("/", b"x", b"X-User: a\r\n")


# -- what a client says of itself

IDENTITY = auth_rules({**EVERYTHING, "copy_headers": ["X-User", "x_groups"]}, {**ADMIN, "copy_headers": ["X.Mail"]})
SPELLINGS = ["X-User", "x-user", "X_User", "X.USER", "x_USER", "X-Groups", "X_Groups", "X-Mail", "X_Mail", "x.mail"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_what_only_an_answer_may_say_is_removed_in_every_spelling(name: str) -> None:
    head = Head("GET", "/", (1, 1), ((b"Host", b"a"), (name.encode(), b"root"), (b"Cookie", b"b")))
    assert IDENTITY.without_identity(head).headers == ((b"Host", b"a"), (b"Cookie", b"b"))


@pytest.mark.parametrize("name", ["X-User-Agent", "X-Use", "XUser", "My-X-User", "X--User"])
def test_what_only_resembles_it_stays(name: str) -> None:
    head = Head("GET", "/", (1, 1), ((name.encode(), b"root"),))
    assert IDENTITY.without_identity(head).headers == head.headers
    assert not auth_rules(ADMIN | {"copy_headers": ["X-User"]}).apply_to("/", b"a", name.encode() + b": root\r\n")


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_simple_request_with_an_identity_header_is_not_forwarded_unchanged(name: str) -> None:
    fields = b"Host: a\r\n" + name.encode() + b": root\r\nAccept: */*\r\n"
    rules = auth_rules(ADMIN | {"copy_headers": ["X-User", "X-Groups", "X-Mail"]})
    assert rules.apply_to("/open", b"a", fields)
    assert not rules.apply_to("/open", b"a", b"Host: a\r\nAccept: X-User: root\r\n")


def test_a_simple_request_that_a_rule_asks_about_is_not_for_the_fast_path() -> None:
    rules = auth_rules(EVERYTHING, LOGIN, ADMIN)
    assert rules.apply_to("/", b"a", b"Host: a\r\n")
    assert rules.apply_to("//x", b"a", b"Host: a\r\n")
    assert not rules.apply_to("/login", b"a", b"Host: a\r\n")


def test_no_rule_copies_what_frames_a_message() -> None:
    others = (b"host", b"content-length", b"cookie", b"set-cookie", b"x-forwarded-for")
    for name in (*HOP_BY_HOP, *FORWARDING_HEADERS, *others):
        for spelling in (name, name.upper(), name.replace(b"-", b"_")):
            with pytest.raises(ValueError, match="cannot be copied to a request"):
                Auth(ask="/auth", copy_headers=(spelling.decode(),))


@given(st.binary(max_size=30))
def test_a_name_and_its_aliases_fold_into_one(name: bytes) -> None:
    assert folded(name.replace(b"-", b"_")) == folded(name.replace(b"_", b".").upper().lower()) == folded(name)


@given(st.text("/.%;\\2eEfF5cadmin?*", max_size=30))
def test_every_way_to_write_a_path_under_one_rule_for_everything_is_asked_about(rest: str) -> None:
    assert asked("/" + rest, EVERYTHING) == "/auth"
