"""Which way a request goes: the order of docs/decisions/011, every refusal, and no exception for any head."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.access.origin_check import OriginCheck
from proxy.config import Route, Settings
from proxy.dash.facts import DashFacts
from proxy.gateway.routing import Forward, Refuse, Table, Upgrade, decide, make_table
from proxy.http1.forwarded import ForwardedReader
from proxy.http1.headers import SINGLE, Fields, Head
from proxy.net.peer import Peer

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
HOST = (b"Host", b"dash.example:8000")
HANDSHAKE: Fields = (
    HOST,
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", KEY),
)
BUILT_IN = Table()


def get(target: str, *fields: tuple[bytes, bytes], method: str = "GET", version: tuple[int, int] = (1, 1)) -> Head:
    return Head(method, target, version, fields or (HOST,))


def websocket(target: str, *more: tuple[bytes, bytes]) -> Head:
    return Head("GET", target, (1, 1), HANDSHAKE + more)


def with_field(name: bytes, *values: bytes) -> Fields:
    """The handshake with one field's value replaced; several values are several fields, none leaves it out."""
    rest = tuple(field for field in HANDSHAKE if field[0] != name)
    return (*rest, *((name, value) for value in values))


def table(*routes: dict[str, Any]) -> Table:
    return Table(Route(**route) for route in routes)


def way(head: Head, to: Table = BUILT_IN) -> tuple[str, str]:
    decision = decide(head, to)
    assert not isinstance(decision, Refuse), decision.error.message
    return decision.upstream, decision.route


def refusal(head: Head, to: Table = BUILT_IN) -> tuple[int, str]:
    decision = decide(head, to)
    assert isinstance(decision, Refuse), decision
    return decision.error.status, decision.error.message


# -- the built-in rules


@pytest.mark.parametrize("path", ["/", "/page", "/_dash-update-component", "/assets/a.js?m=1", "/_dash-ws-callback"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_plain_http_goes_to_dash(path: str, method: str) -> None:
    assert decide(get(path, method=method), BUILT_IN) == Forward("dash", "http", path)


@pytest.mark.parametrize("path", ["/", "/live", "/ws?token=1", "/socket.io/?EIO=4&transport=websocket"])
def test_a_websocket_goes_to_the_websocket_service(path: str) -> None:
    assert decide(websocket(path), BUILT_IN) == Upgrade("ws", "websocket", path, KEY)


@pytest.mark.parametrize(
    "path",
    [
        "/_dash-ws-callback",
        "/_dash-ws-callback?renderer=1",
        "/app/_dash-ws-callback",
        "/a/very/deep/prefix/_dash-ws-callback",
        "/app/%5Fdash-ws-callback",
        "/app%2F_dash-ws-callback",
        "//_dash-ws-callback",
    ],
)
def test_dashs_own_websocket_goes_to_dash_under_any_prefix(path: str) -> None:
    assert decide(websocket(path), BUILT_IN) == Upgrade("dash", "dash socket", path, KEY)


@pytest.mark.parametrize(
    "path",
    [
        "/_dash-ws-callback/",
        "/_dash-ws-callback/more",
        "/my_dash-ws-callback",
        "/_dash-ws-callbacks",
        "/_DASH-WS-CALLBACK",
        "/live?next=/_dash-ws-callback",
        "/live%3F/_dash-ws-callback%20",
    ],
)
def test_what_only_resembles_dashs_websocket_is_anybodys(path: str) -> None:
    assert way(websocket(path)) == ("ws", "websocket")


@pytest.mark.parametrize(
    "path",
    [
        "/connection/uni_sse",
        "/app/connection/uni_sse?channels=a&raw=1",
        "/a/very/deep/prefix/connection/uni_sse",
        "/connection%2Funi_sse",
        "/connection/%75ni_sse",
        "//connection/uni_sse",
    ],
)
def test_event_streams_of_the_hub_go_to_the_websocket_service_under_any_prefix(path: str) -> None:
    assert decide(get(path), BUILT_IN) == Forward("ws", "hub events", path)
    mine = table({"path": "/elsewhere", "to": "dash"})
    assert decide(get(path), mine) == Forward("ws", "hub events", path)


@pytest.mark.parametrize(
    "path",
    [
        "/uni_sse",
        "/connection/uni_sse/",
        "/connection/uni_sse/more",
        "/xconnection/uni_sse",
        "/connection/uni_sse_",
        "/connection/UNI_SSE",
        "/page?next=/connection/uni_sse",
        "/page%3F/connection/uni_sse%20",
        "/connection/websocket",
        "/api/publish",
    ],
)
def test_what_only_resembles_them_is_dashs(path: str) -> None:
    assert way(get(path)) == ("dash", "http")


def test_event_streams_of_the_hub_are_for_pages_of_the_same_site() -> None:
    for path in ("/connection/uni_sse", "/app/connection/%75ni_sse?x"):
        assert way(get(path, HOST, (b"Origin", b"http://dash.example:8000")))[0] == "ws"
        status, message = refusal(get(path, HOST, (b"Origin", b"http://evil.example")))
        assert (status, "may not read events of the hub" in message) == (403, True)
        assert refusal(get(path, HOST, (b"Origin", b"null")))[0] == 403
    routed = table({"path": "/", "to": "ws"})
    assert refusal(get("/connection/uni_sse", HOST, (b"Origin", b"http://evil.example")), routed)[0] == 403
    assert way(get("/other", HOST, (b"Origin", b"http://evil.example")), routed) == ("ws", "routes[0]")
    assert way(get("/page", HOST, (b"Origin", b"http://evil.example"))) == ("dash", "http")


def test_an_upstream_of_the_operators_own_is_as_closed_to_other_sites_as_the_service() -> None:
    """It may be another service, or a Centrifugo."""
    mine = table({"path": "/chat", "to": "chat"})
    evil = (b"Origin", b"http://evil.example")
    assert way(get("/chat/connection/uni_sse"), mine) == ("chat", "routes[0]")
    assert refusal(get("/chat/connection/uni_sse", HOST, evil), mine)[0] == 403
    assert refusal(websocket("/chat/live", evil), mine)[0] == 403
    assert refusal(websocket("/chat/_dash-ws-callback", evil), mine)[0] == 403, "it is not Dash"


def test_the_users_routes_come_before_event_streams() -> None:
    mine = table({"path": "/app", "to": "dash"})
    assert way(get("/app/connection/uni_sse"), mine) == ("dash", "routes[0]")


# -- the user's routes


def test_a_users_route_comes_before_every_built_in_rule() -> None:
    mine = table(
        {"path": "/_dash-ws-callback", "to": "ws"}, {"path": "/live", "to": "dash"}, {"path": "/sse", "to": "ws"}
    )
    assert way(websocket("/_dash-ws-callback"), mine) == ("ws", "routes[0]")
    assert way(websocket("/live"), mine) == ("dash", "routes[1]")
    assert way(get("/sse"), mine) == ("ws", "routes[2]")
    assert way(get("/elsewhere"), mine) == ("dash", "http")


@pytest.mark.parametrize(
    ("prefix", "path", "matches"),
    [
        ("/live", "/live", True),
        ("/live", "/live/", True),
        ("/live", "/live/a/b", True),
        ("/live", "/live?x=1", True),
        ("/live", "/lively", False),
        ("/live", "/live-2", False),
        ("/live", "/liv", False),
        ("/live", "/app/live", False),
        ("/live", "/LIVE", False),
        ("/live", "//live", False),
        ("/live/", "/live/", True),
        ("/live/", "/live/a", True),
        ("/live/", "/live", False),
        ("/", "/anything", True),
        ("/live", "/%6Cive", True),
        ("/live", "/live%2Fa", True),
        ("/live", "/live%3Fa", False),  # a ? within the path is no query
        ("/größe", "/gr%C3%B6%C3%9Fe", True),
        ("/größe", "/gr%c3%b6%c3%9fe/x", True),
        ("/a b", "/a%20b", True),
    ],
)
def test_a_prefix_is_whole_segments_of_the_decoded_path(prefix: str, path: str, matches: bool) -> None:
    mine = table({"path": prefix, "to": "ws"})
    decision = decide(get(path), mine)
    assert decision == Forward("ws" if matches else "dash", "routes[0]" if matches else "http", path)


@pytest.mark.parametrize("turned", [False, True])
def test_the_longest_path_wins_whatever_the_order_in_the_file(turned: bool) -> None:
    routes = [{"path": "/a", "to": "dash"}, {"path": "/a/b", "to": "ws"}]
    mine = table(*(reversed(routes) if turned else routes))
    assert way(websocket("/a/x"), mine)[0] == "dash"
    assert way(websocket("/a/b/c"), mine)[0] == "ws"


def test_of_two_equal_paths_the_one_with_more_conditions_wins() -> None:
    mine = table(
        {"path": "/a", "to": "dash"},
        {"path": "/a", "host": "dash.example", "to": "ws"},
        {"path": "/a", "host": "dash.example", "subprotocol": "chat", "to": "dash"},
    )
    assert way(websocket("/a"), mine)[1] == "routes[1]"
    assert way(websocket("/a", (b"Sec-WebSocket-Protocol", b"chat")), mine)[1] == "routes[2]"
    assert way(get("/a", (b"Host", b"other")), mine)[1] == "routes[0]"


def test_of_two_equal_routes_the_first_wins() -> None:
    assert way(get("/a"), table({"path": "/a", "to": "ws"}, {"path": "/a", "to": "dash"})) == ("ws", "routes[0]")


def test_any_path_is_longer_than_none() -> None:
    mine = table({"host": "dash.example", "subprotocol": "chat", "to": "ws"}, {"path": "/", "to": "dash"})
    assert way(websocket("/", (b"Sec-WebSocket-Protocol", b"chat")), mine) == ("dash", "routes[1]")


@pytest.mark.parametrize(
    ("condition", "host", "matches"),
    [
        ("dash.example", b"dash.example", True),
        ("dash.example", b"dash.example:8000", True),
        ("Dash.Example", b"DASH.EXAMPLE:8000", True),
        ("dash.example", b"www.dash.example", False),
        ("dash.example", b"dash.example.org", False),
        ("[::1]", b"[::1]:8000", True),
        ("[::1]", b"[::1]", True),
    ],
)
def test_a_host_is_compared_without_port_and_case(condition: str, host: bytes, matches: bool) -> None:
    mine = table({"host": condition, "to": "ws"})
    assert way(get("/", (b"Host", host)), mine)[0] == ("ws" if matches else "dash")


@pytest.mark.parametrize(
    ("offered", "matches"),
    [
        ([b"chat"], True),
        ([b"superchat, chat"], True),
        ([b"superchat", b"chat"], True),
        ([b"superchat"], False),
        ([b"CHAT"], False),  # subprotocols are compared byte for byte
        ([], False),
    ],
)
def test_a_subprotocol_is_one_of_those_that_the_client_offers(offered: list[bytes], matches: bool) -> None:
    mine = table({"subprotocol": "chat", "to": "dash"})
    head = websocket("/", *((b"Sec-WebSocket-Protocol", value) for value in offered))
    assert way(head, mine)[0] == ("dash" if matches else "ws")


def test_plain_http_offers_no_subprotocol() -> None:
    mine = table({"subprotocol": "chat", "to": "ws"})
    assert way(get("/", HOST, (b"Sec-WebSocket-Protocol", b"chat")), mine) == ("dash", "http")


# -- what is sent on


@pytest.mark.parametrize(
    "target", ["/a//b/../c", "/%2e%2e/%2F", "/%", "/%zz?%", "/?", "/a?b?c", "/a;b=c", "/%ff%fe", "/\"'<>|{}"]
)
def test_the_target_is_passed_on_byte_for_byte(target: str) -> None:
    for head in (get(target), websocket(target)):
        decision = decide(head, BUILT_IN)
        assert not isinstance(decision, Refuse)
        assert decision.target == target


@pytest.mark.parametrize(
    ("target", "host", "origin"),
    [
        ("http://dash.example:8000/a?b", b"dash.example:8000", "/a?b"),
        ("HTTP://Dash.Example:8000/A", b"dash.example:8000", "/A"),
        ("https://dash.example/", b"Dash.Example", "/"),
        ("http://dash.example", b"dash.example", "/"),
        ("http://dash.example?a=/", b"dash.example", "/?a=/"),
        ("http://[::1]:80/x", b"[::1]:80", "/x"),
        ("http://dash.example:80/x", b"dash.example", "/x"),
        ("http://dash.example/x", b"dash.example:80", "/x"),
        ("HTTPS://dash.example:443/x", b"dash.example", "/x"),
        ("https://dash.example/x", b"dash.example:443", "/x"),
        ("http://dash.example:/x", b"dash.example", "/x"),
        ("http://[::1]/x", b"[::1]:80", "/x"),
    ],
)
def test_an_absolute_target_that_agrees_with_host_becomes_a_path(target: str, host: bytes, origin: str) -> None:
    assert decide(get(target, (b"Host", host)), BUILT_IN) == Forward("dash", "http", origin)


def test_an_absolute_target_is_routed_by_its_path() -> None:
    target = "http://dash.example:8000/app/_dash-ws-callback"
    assert decide(websocket(target), BUILT_IN) == Upgrade("dash", "dash socket", "/app/_dash-ws-callback", KEY)


@pytest.mark.parametrize(
    "target",
    [
        "http://other.example/",
        "http://dash.example/",  # the port differs
        "http://dash.example:8000@evil.example/",
        "http://user@dash.example:8000/",
        "http:///path",
        "http://",
        "https://dash.example:8001/",
        "http://dash.example.:8000/",
    ],
)
def test_an_absolute_target_that_disagrees_with_host_is_refused(target: str) -> None:
    assert refusal(get(target)) == (400, "The request target names another host than the Host field.")


@pytest.mark.parametrize(
    ("target", "host"), [("http://a:443/", b"a"), ("https://a:80/", b"a"), ("https://a/", b"a:80")]
)
def test_the_port_of_another_scheme_is_no_default(target: str, host: bytes) -> None:
    assert refusal(get(target, (b"Host", host))) == (400, "The request target names another host than the Host field.")


def test_an_absolute_target_without_any_host_is_refused() -> None:
    assert isinstance(decide(Head("GET", "http://dash.example/", (1, 0), ()), BUILT_IN), Refuse)


def test_options_may_ask_about_the_whole_server() -> None:
    assert decide(get("*", method="OPTIONS"), BUILT_IN) == Forward("dash", "http", "*")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "*"),
        ("GET", ""),
        ("GET", "page"),
        ("GET", "dash.example:8000"),
        ("GET", "ws://dash.example:8000/"),
        ("GET", "ftp://dash.example:8000/"),
        ("GET", "file:///etc/passwd"),
        ("OPTIONS", "**"),
        ("GET", "?a=b"),
    ],
)
def test_a_target_that_is_no_path_is_refused(method: str, target: str) -> None:
    assert refusal(get(target, method=method)) == (400, "The request target must be a path that begins with a slash.")


@pytest.mark.parametrize(
    "target",
    ["/a#b", "/#", "/a b", "/caf\xe9", "/\xff", "/a\tb", "/a\x00", "/a\x7f", "/a\r\nX: y", "/\x85", "http://x/#", "/ "],
)
def test_a_target_with_what_a_url_may_not_hold_is_refused(target: str) -> None:
    status, message = refusal(get(target))
    assert (status, message) == (400, "The request target holds characters that a URL may not.")


@pytest.mark.parametrize("target", ["dash.example:443", "/", "*", "http://dash.example:8000/"])
def test_connect_is_refused(target: str) -> None:
    assert refusal(get(target, method="CONNECT"))[1].startswith("CONNECT ")


# -- Host


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        (HOST, HOST),
        (HOST, (b"host", b"evil.example")),
    ],
)
def test_a_request_has_exactly_one_host(hosts: Fields) -> None:
    assert refusal(Head("GET", "/", (1, 1), hosts)) == (400, "A request needs exactly one Host field.")


@pytest.mark.parametrize("name", sorted(SINGLE - {b"host"}))
def test_of_two_that_may_be_one_some_read_the_first_and_some_the_last(name: bytes) -> None:
    for second in (name, name.upper()):
        for values in ((b"1", b"2"), (b"1", b"1")):
            head = get("/", HOST, *zip((name, second), values, strict=True))
            assert refusal(head)[1].startswith("A request may have one ")
    assert way(get("/", HOST, (name, b"1"))) == ("dash", "http")


def test_a_handshake_of_a_draft_is_refused_because_bytes_follow_its_head() -> None:
    assert refusal(websocket("/", (b"Sec-WebSocket-Key1", b"1 2"))) == (
        400,
        "Only version 13 of the WebSocket protocol is spoken here, and no draft of it.",
    )


@pytest.mark.parametrize("host", [b"", b"a b", b"a/b", b"user@a", b"a,b@c", b"\xe9.example", b"[::1", b"a:http"])
def test_a_host_that_is_none_is_refused(host: bytes) -> None:
    assert refusal(get("/", (b"Host", host)))[1] == "The Host field is not a host."


def test_an_old_client_may_leave_host_out_but_not_send_two() -> None:
    assert way(Head("GET", "/", (1, 0), ((b"Accept", b"*/*"),))) == ("dash", "http")
    assert isinstance(decide(Head("GET", "/", (1, 0), (HOST, HOST)), BUILT_IN), Refuse)


# -- handshakes


@pytest.mark.parametrize(
    "fields",
    [
        with_field(b"Upgrade", b"WebSocket"),
        with_field(b"Connection", b"keep-alive, Upgrade"),
        with_field(b"Connection", b"keep-alive", b"UPGRADE"),
        with_field(b"Connection", b",upgrade,"),
        tuple((name.upper(), value) for name, value in HANDSHAKE),
        tuple(reversed(HANDSHAKE)),
    ],
)
def test_a_handshake_may_be_spelt_in_many_ways(fields: Fields) -> None:
    assert decide(Head("GET", "/", (1, 1), fields), BUILT_IN) == Upgrade("ws", "websocket", "/", KEY)


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "get", "OPTIONS"])
def test_a_handshake_is_a_get(method: str) -> None:
    assert refusal(Head(method, "/", (1, 1), HANDSHAKE)) == (400, "A WebSocket handshake is a GET over HTTP/1.1.")


@pytest.mark.parametrize("version", [(1, 0), (0, 9), (2, 0), (1, 2)])
def test_a_handshake_is_http_1_1(version: tuple[int, int]) -> None:
    assert refusal(Head("GET", "/", version, HANDSHAKE)) == (400, "A WebSocket handshake is a GET over HTTP/1.1.")


def test_a_handshake_has_no_body() -> None:
    assert refusal(Head("GET", "/", (1, 1), HANDSHAKE, has_body=True)) == (400, "A WebSocket handshake has no body.")


@pytest.mark.parametrize(
    "fields",
    [
        with_field(b"Upgrade", b"websocket, h2c"),
        with_field(b"Upgrade", b"h2c", b"websocket"),
        with_field(b"Upgrade", b"websocket", b"websocket"),
        with_field(b"Connection"),
        with_field(b"Connection", b""),
        with_field(b"Connection", b"keep-alive"),
        with_field(b"Connection", b"close"),
        with_field(b"Connection", b"Upgrades"),
        with_field(b"Connection", b"x-upgrade"),
    ],
)
def test_a_handshake_asks_for_a_websocket_and_for_nothing_else(fields: Fields) -> None:
    status, message = refusal(Head("GET", "/", (1, 1), fields))
    assert status == 400
    assert message.startswith("A WebSocket handshake says Upgrade: websocket and Connection: Upgrade")


@pytest.mark.parametrize(
    "values", [[], [b""], [b"8"], [b"12"], [b"14"], [b"013"], [b"13.0"], [b"13, 8"], [b"13", b"13"], [b"13", b"8"]]
)
def test_another_version_is_told_which_one_is_spoken(values: list[bytes]) -> None:
    decision = decide(Head("GET", "/", (1, 1), with_field(b"Sec-WebSocket-Version", *values)), BUILT_IN)
    assert isinstance(decision, Refuse)
    assert decision.error.status == 426
    assert (b"Sec-WebSocket-Version", b"13") in decision.error.headers  # RFC 6455, 4.4
    assert (b"Upgrade", b"websocket") in decision.error.headers  # RFC 9110, 15.5.22


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"short"],
        [b"dGhlIHNhbXBsZSBub25jZQ"],  # its padding is missing
        [b"dGhlIHNhbXBsZSBub25jZQ==="],
        [b"dGhlIHNhbXBsZSBub25jZTE="],  # 17 bytes
        [b"dGhlIHNhbXBsZSBub25j"],  # 15 bytes
        [b"dGhlIHNhbXBsZSBub25jZ!=="],
        [b"dGhlIHNhbXBsZSBub25jZ-_="],
        [b"dGhlIHNhbXBsZSBub25j\xff\xff=="],
        [b" " * 24],
        [b"dGhlIHNhbXBsZSBub25jZQ== "],
        [KEY, KEY],
        [KEY + b", " + KEY],
    ],
)
def test_a_key_is_sixteen_bytes_in_base64_once(values: list[bytes]) -> None:
    status, message = refusal(Head("GET", "/", (1, 1), with_field(b"Sec-WebSocket-Key", *values)))
    assert (status, message) == (400, "A WebSocket handshake needs one Sec-WebSocket-Key of 16 bytes in base64.")


def test_connection_upgrade_alone_asks_for_nothing() -> None:
    head = Head("GET", "/", (1, 1), with_field(b"Upgrade"))
    assert decide(head, BUILT_IN) == Forward("dash", "http", "/")


@pytest.mark.parametrize("has_body", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "PURGE"])
@pytest.mark.parametrize("version", [(1, 1), (1, 0)])
@pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.0", b"websockets", b"", b", ,", b"h2c, foo/2", b"websocket"])
def test_an_offer_to_upgrade_is_ignored(protocol: bytes, version: tuple[int, int], method: str, has_body: bool) -> None:
    """RFC 9110, section 7.8. One of websocket that has nothing of a handshake is no more than that."""
    fields = (HOST, (b"Upgrade", protocol), (b"Connection", b"Upgrade, HTTP2-Settings"), (b"HTTP2-Settings", b"AAM"))
    head = Head(method, "/", version, fields, has_body=has_body)
    assert decide(head, BUILT_IN) == Forward("dash", "http", "/")


@pytest.mark.parametrize("field", [b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"])
@pytest.mark.parametrize(("method", "version"), [("POST", (1, 1)), ("get", (1, 1)), ("GET", (1, 0))])
def test_what_has_anything_of_a_handshake_is_held_to_all_of_it(
    field: bytes, method: str, version: tuple[int, int]
) -> None:
    """A front that takes it for a WebSocket, and an upstream that does not, would read what follows in two ways."""
    fields = tuple((name, value) for name, value in HANDSHAKE if not name.startswith(b"Sec-") or name == field)
    assert refusal(Head(method, "/", version, fields)) == (400, "A WebSocket handshake is a GET over HTTP/1.1.")


@pytest.mark.parametrize("upgrade", [[b"websocket", b""], [b"", b"WebSocket"], [b", websocket ,"]])
def test_empty_members_beside_websocket_are_nothing(upgrade: list[bytes]) -> None:
    """RFC 9110, section 5.6.1."""
    assert way(Head("GET", "/", (1, 1), with_field(b"Upgrade", *upgrade))) == ("ws", "websocket")


@pytest.mark.parametrize("method", ["head", "Head", "connect", "Connect"])
def test_a_method_that_is_head_or_connect_to_some_is_refused(method: str) -> None:
    status, message = refusal(get("/", method=method))
    assert (status, message.split()[0] in ("The", "CONNECT")) == (400, True)


@pytest.mark.parametrize("method", ["get", "Post", "PURGE", "M-SEARCH", "!#$%&'*+-.^_`|~09", "X" * 200])
def test_a_method_is_any_other_token(method: str) -> None:
    assert decide(get("/a", method=method), BUILT_IN) == Forward("dash", "http", "/a")


def test_a_refusal_has_a_sentence_for_the_client_and_is_the_clients_fault() -> None:
    decision = decide(get("nonsense"), BUILT_IN)
    assert isinstance(decision, Refuse)
    assert decision.error.message.endswith(".")


@pytest.mark.parametrize("name", [b"Connection", b"TE", b"Upgrade", b"Transfer-Encoding", b"Sec-WebSocket-Protocol"])
def test_fields_about_the_connection_have_no_more_members_than_could_mean_anything(name: bytes) -> None:
    few = get("/", HOST, (name, b"a" + b",a" * 99))
    assert not isinstance(decision := decide(few, BUILT_IN), Refuse) or "members" not in decision.error.message
    for fields in ([(name, b"a" + b",a" * 100)], [(name.lower(), b"a,a")] * 51, [(name, b"," * 30_000)]):
        status, message = refusal(get("/", HOST, *fields))
        assert (status, message[-36:]) == (400, "have more than 100 members together.")


def test_other_fields_may_have_any_number_of_members() -> None:
    assert way(get("/", HOST, (b"Accept", b"a," * 5000))) == ("dash", "http")


# -- anything at all

LATIN = st.text(st.characters(max_codepoint=255), max_size=30)
FIELD_NAMES = st.sampled_from([name for name, _ in HANDSHAKE]) | st.sampled_from(
    [b"host", b"UPGRADE", b"Sec-WebSocket-Protocol", b"X"]
)
FIELD_VALUES = st.sampled_from([value for _, value in HANDSHAKE]) | st.binary(max_size=30)
HEADS = st.builds(
    Head,
    st.sampled_from(["GET", "POST", "CONNECT", "OPTIONS"]) | LATIN,
    LATIN
    | LATIN.map(lambda text: "/" + text)
    | LATIN.map(lambda text: "http://" + text)
    | st.text("/%aF2\xe9?", max_size=12),
    st.tuples(st.integers(0, 3), st.integers(0, 3)) | st.just((1, 1)),
    st.lists(st.tuples(FIELD_NAMES, FIELD_VALUES), max_size=8).map(tuple)
    | st.lists(st.tuples(FIELD_NAMES, FIELD_VALUES), max_size=3).map(lambda more: HANDSHAKE + tuple(more)),
    st.booleans(),
)
ROUTES = st.lists(
    st.builds(
        Route,
        path=st.sampled_from(["/", "/a", "/a/", "/é"]),
        host=st.sampled_from([None, "dash.example", "[::1]"]),
        subprotocol=st.sampled_from([None, "chat", "é"]),
        to=st.sampled_from(["dash", "ws"]),
    ),
    max_size=3,
)


@given(HEADS, ROUTES)
@settings(max_examples=300)
def test_any_head_gets_a_decision_and_what_is_sent_on_is_safe_to_send(head: Head, routes: list[Route]) -> None:
    decision = decide(head, Table(routes))
    if isinstance(decision, Refuse):
        assert 400 <= decision.error.status < 500
        return
    assert decision.upstream in ("dash", "ws")
    assert decision.target == "*" or decision.target.startswith("/")
    assert not set(decision.target) & set(" #\r\n\t\0")
    assert decision.target.isascii()
    assert len(head.all(b"host")) <= 1
    if isinstance(decision, Upgrade):
        assert (head.method, head.version, head.has_body) == ("GET", (1, 1), False)
        assert head.all(b"sec-websocket-key") == [decision.key]


@given(HEADS, ROUTES)
def test_a_decision_is_a_function_of_the_head_and_the_table(head: Head, routes: list[Route]) -> None:
    first, second = decide(head, Table(routes)), decide(head, Table(routes))
    if isinstance(first, Refuse):
        assert isinstance(second, Refuse)
        assert (first.error.status, first.error.message) == (second.error.status, second.error.message)
    else:
        assert first == second


@given(st.text(st.sampled_from("/awéab.%_-dhsckl"), max_size=14), st.sets(st.integers(0, 30)), ROUTES, st.booleans())
@example("_dash-ws-callback", {0, 1, 5}, [], True)
def test_an_encoded_path_is_routed_as_what_the_upstream_decodes(
    text: str, encoded: set[int], routes: list[Route], upgrade: bool
) -> None:
    """Uvicorn hands the app the decoded path, whatever was encoded; nobody may reach another upstream by encoding."""
    octets = b"/" + text.encode()
    target = "".join(
        f"%{byte:02x}" if index in encoded or byte > 0x7E or byte == 0x25 else chr(byte)
        for index, byte in enumerate(octets, -1)
    )
    path = unquote(target)  # uvicorn/protocols/http/httptools_impl.py: unquote(raw_path.decode("ascii"))
    everything = "".join(f"%{byte:02x}" for byte in path.encode())
    table = Table(routes)
    here = table.match(target, b"x", [], upgrade=upgrade)
    assert here == table.match("/" + everything[3:], b"x", [], upgrade=upgrade)
    if not routes:
        is_dashs = path.split("/")[-1] == "_dash-ws-callback"
        assert here[0] == ("ws" if upgrade and not is_dashs else "dash")


# -- other sites

FOREIGN = (b"Origin", b"https://evil.example")


def test_another_sites_page_opens_no_websocket_to_the_service() -> None:
    assert refusal(websocket("/live", FOREIGN))[0] == 403
    assert way(websocket("/live", (b"Origin", b"http://dash.example:8000"))) == ("ws", "websocket")
    assert way(websocket("/live", FOREIGN), Table(origins=OriginCheck(("https://evil.example",)))) == (
        "ws",
        "websocket",
    )


def test_dashs_own_websocket_is_dashs_to_judge_behind_its_prefix_alone() -> None:
    root, below = (make_table(Settings(dash_prefix=prefix)) for prefix in ("/", "/team/app/"))
    assert way(websocket("/_dash-ws-callback", FOREIGN), root) == ("dash", "dash socket")
    assert way(websocket("/_dash-ws-callback?renderer=1", FOREIGN), root) == ("dash", "dash socket")
    assert way(websocket("/team/app/_dash-ws-callback", FOREIGN), below) == ("dash", "dash socket")
    for target, where in (("/team/app/_dash-ws-callback", root), ("/_dash-ws-callback", below)):
        assert refusal(websocket(target, FOREIGN), where)[0] == 403
        assert way(websocket(target, (b"Origin", b"http://dash.example:8000")), where) == ("dash", "dash socket")


def test_without_a_prefix_in_the_file_dash_judges_where_it_has_shown_that_it_does() -> None:
    shown = DashFacts(checks_origin=frozenset(("/app/_dash-ws-callback",)))
    where = make_table(Settings(), shown)
    assert way(websocket("/app/_dash-ws-callback?renderer=1", FOREIGN), where) == ("dash", "dash socket")
    for target in ("/_dash-ws-callback", "/app//_dash-ws-callback", "/app/room/_dash-ws-callback"):
        assert refusal(websocket(target, FOREIGN), where)[0] == 403
    assert refusal(websocket("/app/_dash-ws-callback", FOREIGN), make_table(Settings()))[0] == 403
    mine = make_table(Settings(routes=(Route(path="/app", to="ws"),)), shown)
    assert refusal(websocket("/app/_dash-ws-callback", FOREIGN), mine)[0] == 403, "it is for ws, which checks none"


@pytest.mark.parametrize("prefix", ["/", "/app/"])
@pytest.mark.parametrize(
    "spelling",
    [
        "room/_dash-ws-callback",
        "room%2F_dash-ws-callback",
        "/_dash-ws-callback",
        "./_dash-ws-callback",
        "room/../_dash-ws-callback",
        "%2e/_dash-ws-callback",
        "%5Fdash-ws-callback",
        "_dash-ws-callbac%6B",
        "_dash%252dws-callback/../_dash-ws-callback",
        ";a/_dash-ws-callback",
        ";/_dash-ws-callback?/_dash-ws-callback",
    ],
)
def test_no_other_spelling_of_dashs_path_is_left_to_dash(prefix: str, spelling: str) -> None:
    where = make_table(Settings(dash_prefix=prefix, routes=(Route(path="/", to="dash"),)))
    assert refusal(websocket(prefix + spelling, FOREIGN), where)[0] == 403


def test_a_socket_that_a_route_sends_to_dash_is_asked_for_its_origin() -> None:
    mine = table({"path": "/x", "to": "dash"}, {"path": "/_dash-ws-callback", "to": "ws"})
    assert refusal(websocket("/x", FOREIGN), mine)[0] == 403
    assert refusal(websocket("/_dash-ws-callback", FOREIGN), mine)[0] == 403
    assert way(websocket("/x", (b"Origin", b"http://dash.example:8000")), mine) == ("dash", "routes[0]")


@pytest.mark.parametrize(
    ("condition", "host"),
    [
        ("dash.example", b"dash.example."),
        ("dash.example.", b"DASH.example:8000"),
        ("[::1]", b"[0:0:0:0:0:0:0:1]:8000"),
        ("[2001:DB8:0::1]", b"[2001:db8::1]"),
    ],
)
def test_a_host_has_one_name_however_it_is_written(condition: str, host: bytes) -> None:
    assert table({"host": condition, "to": "ws"}).match("/", host, [], upgrade=False) == ("ws", "routes[0]")


def test_plain_http_may_come_from_any_page() -> None:
    """What a page of another site may read of an answer is CORS's matter."""
    assert way(get("/sse", HOST, FOREIGN), table({"path": "/sse", "to": "ws"})) == ("ws", "routes[0]")


def test_what_a_proxy_in_front_says_counts_if_the_settings_say_so() -> None:
    head = websocket("/live", FOREIGN, (b"X-Forwarded-Host", b"evil.example"))
    for said, kind in ((Settings(), Refuse), (Settings(trusted_proxies=("10.0.0.0/8",)), Upgrade)):
        asked = ForwardedReader(said.trusted_proxies).read(head, Peer("10.0.0.7"))
        assert isinstance(decide(head, make_table(said), asked), kind)
    assert isinstance(decide(head, make_table(Settings())), Refuse)
