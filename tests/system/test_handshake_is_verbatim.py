"""A WebSocket handshake reaches the upstream as it was sent, and so does its answer; what is not one is stopped."""

from __future__ import annotations

import pytest

from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, open_tunnel
from tests.wire.connection import Wire
from tests.wire.frames import frame
from tests.wire.messages import KEY, Message, answer, chunks, handshake, request, switching

OURS = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Request-ID")


@pytest.fixture(scope="module")
def dash(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def ws(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, dash: Origin, ws: Origin) -> Gateway:
    return shared.gateway(dash=dash.url, ws=ws.url, timeouts={"hold": 0})


def shake(gateway: Gateway, origin: Origin, asked: bytes, answered: bytes) -> tuple[Message, Message, Wire, Wire]:
    """Carry a handshake; returns what the upstream got, what the client got, and both ends."""
    client = gateway.dial()
    client.send(asked)
    upstream = origin.accept()
    received = Message(upstream.read_head())
    upstream.send(answered)
    return received, client.read_message(), client, upstream


# -- as it was sent


def test_a_browsers_handshake_reaches_the_upstream_as_it_was_sent(gateway: Gateway, ws: Origin) -> None:
    sent = [
        ("Host", "dash.example:8443"),
        ("Connection", "Upgrade"),
        ("Pragma", "no-cache"),
        ("Cache-Control", "no-cache"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("Upgrade", "websocket"),
        ("Origin", "https://dash.example:8443"),
        ("Sec-WebSocket-Version", "13"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "en-GB,en;q=0.9"),
        ("Cookie", 'session="a.b-c=="; theme=dark'),
        ("Sec-WebSocket-Key", KEY.decode()),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("Sec-WebSocket-Protocol", "graphql-ws, bearer.abc"),
    ]
    head = "GET /live//x%2Fy?token=a%20b&& HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent) + "\r\n"
    received, got, _, _ = shake(gateway, ws, head.encode(), switching())
    assert received.line == "GET /live//x%2Fy?token=a%20b&& HTTP/1.1"
    assert received.fields[: -len(OURS)] == sent
    assert received.names[-len(OURS) :] == list(OURS)
    assert received.get("x-forwarded-for") == "127.0.0.1"
    assert received.get("x-forwarded-proto") == "http", "never ws: frameworks compare it with http and https"
    assert received.get("x-forwarded-host") == "dash.example:8443"
    assert received.get("x-forwarded-port") == "8443"
    assert got.status == 101


def test_odd_spelling_order_and_repetition_are_kept(gateway: Gateway, ws: Origin) -> None:
    sent = [
        ("sec-websocket-protocol", "one"),
        ("SEC-WEBSOCKET-KEY", KEY.decode()),
        ("X-Latin", "caf\xe9"),
        ("Sec-Websocket-Extensions", "permessage-deflate"),
        ("uPGRADE", "WebSocket"),
        ("hoST", "[::1]:8000"),
        ("Sec-WebSocket-PROTOCOL", "two;odd, three"),
        ("cOOKIE", "a=1"),
        ("sec-webSocket-Version", "13"),
        ("Cookie", "b=2"),
        ("Sec-WebSocket-Extensions", 'x-mine; q="a,b"'),
        ("Sec-WebSocket-Unheard-Of", "yes"),
        ("origin", "HTTP://[::1]:8000"),
        ("connection", "upgrade"),
        ("Authorization", "Bearer abc"),
    ]
    head = "GET / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent) + "\r\n"
    received, got, _, _ = shake(gateway, ws, head.encode("latin-1"), switching())
    assert received.fields[: -len(OURS)] == sent
    assert got.status == 101


def test_firefoxs_connection_field_does_not_lose_the_upgrade(gateway: Gateway, ws: Origin) -> None:
    asked = handshake().replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade, X-Mine\r\nX-Mine: 1")
    received, got, _, _ = shake(gateway, ws, asked, switching())
    assert received.get("connection").lower() == "upgrade"
    assert received.all("x-mine") == []
    assert got.status == 101


def test_a_client_cannot_speak_for_a_proxy_in_a_handshake(gateway: Gateway, ws: Origin) -> None:
    lies = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X_Forwarded_Host: evil", "X-Request-ID: theirs")
    received, _, _, _ = shake(gateway, ws, handshake("/live", *lies), switching())
    assert received.all("x-forwarded-for") == ["127.0.0.1"]
    assert received.all("x-forwarded-proto") == ["http"]
    assert received.all("x_forwarded_host") == []
    assert received.all("x-request-id") not in ([], ["theirs"])


def test_the_101_reaches_the_client_as_it_was_sent(gateway: Gateway, ws: Origin) -> None:
    accept = Message(switching()).get("sec-websocket-accept")
    sent = [
        ("date", "Tue, 24 Nov 2026 00:00:00 GMT"),
        ("SERVER", "uvicorn"),
        ("sec-webSocket-accept", accept),
        ("Set-Cookie", "a=1; Path=/; HttpOnly"),
        ("upgrade", "WebSocket"),
        ("set-cookie", "b=2"),
        ("connection", "keep-alive, Upgrade"),
        ("Set-Cookie", "a=3"),
        ("Sec-WebSocket-Protocol", "graphql-ws"),
        ("Sec-Websocket-Extensions", "permessage-deflate; server_max_window_bits=12"),
        ("X-Latin", "caf\xe9"),
    ]
    head = "HTTP/1.1 101 Let Us Talk\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent) + "\r\n"
    _, got, _, _ = shake(gateway, ws, handshake(), head.encode("latin-1"))
    assert got.line == "HTTP/1.1 101 Let Us Talk"
    assert got.fields == sent


def test_handshakes_go_to_ws_and_dashs_own_socket_goes_to_dash(gateway: Gateway, dash: Origin, ws: Origin) -> None:
    for target, origin in (("/live", ws), ("/app/_dash-ws-callback", dash), ("/app/_dash-ws-callback/x", ws)):
        received, got, _, _ = shake(gateway, origin, handshake(target), switching())
        assert (received.line, got.status) == (f"GET {target} HTTP/1.1", 101)


def test_nothing_is_promised_before_the_upstream_has_answered(gateway: Gateway, ws: Origin) -> None:
    client = gateway.dial()
    client.send(handshake())
    upstream = ws.accept()
    upstream.read_head()
    assert not client.has_something()
    upstream.send(switching())
    assert client.read_message().status == 101


def test_a_client_that_leaves_before_the_answer_takes_its_handshake_along(gateway: Gateway, ws: Origin) -> None:
    client = gateway.dial()
    client.send(handshake())
    upstream = ws.accept()
    upstream.read_head()
    client.close()
    assert upstream.read_to_cut()[0] == b""


# -- a refusal


@pytest.mark.parametrize(
    "refusal",
    [
        answer("403 Forbidden", "Content-Type: text/plain", "X-Why: origin", body=b"not from there"),
        answer("401 Unauthorized", 'WWW-Authenticate: Bearer realm="x"', "Set-Cookie: a=1", "Set-Cookie: b=2"),
        answer("503 Come Back Later", "Retry-After: 7", "Transfer-Encoding: chunked", body=None)
        + chunks(b"la", b"ter"),
        answer("302 Found", "Location: https://elsewhere.example/"),
        answer("200 OK", "Content-Type: text/html", body=b"<p>not a socket</p>"),
        answer("404 Not Found", "Content-Encoding: gzip", body=b"\x1f\x8b\x08not really"),
        answer("426 Upgrade Required", "Upgrade: websocket", "Sec-WebSocket-Version: 13, 8", body=b"old"),
    ],
    ids=lambda refusal: refusal[9:12].decode(),
)
def test_a_refusal_is_relayed_as_it_came(gateway: Gateway, ws: Origin, refusal: bytes) -> None:
    asked = Message(refusal.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    _, got, _, _ = shake(gateway, ws, handshake(), refusal)
    assert got.line == asked.line
    about_the_message = [f for f in got.fields if f[0] not in ("Connection", "Upgrade", "Transfer-Encoding")]
    assert about_the_message == [f for f in asked.fields if f[0] not in ("Connection", "Upgrade", "Transfer-Encoding")]
    body = refusal.partition(b"\r\n\r\n")[2]
    assert got.body == (b"later" if "chunked" in str(asked.fields) else body)


def test_a_request_pipelined_behind_a_refused_handshake_is_answered_as_its_own(
    gateway: Gateway, dash: Origin, ws: Origin
) -> None:
    """It must never reach the service that refused: so are rules tunnelled past (0ang3el, "websocket-smuggle")."""
    client = gateway.dial()
    client.send(handshake() + request("GET /next"))
    refusing = ws.accept()
    refusing.read_head()
    assert not dash.has_visitor()
    refusing.send(answer("403 Forbidden", body=b"no"))
    assert client.read_message().body == b"no"
    serving = dash.accept()
    assert serving.read_message().line == "GET /next HTTP/1.1"
    serving.send(answer("200 OK", body=b"next"))
    assert client.read_message().body == b"next"


def test_frames_behind_a_refused_handshake_never_reach_the_upstream(gateway: Gateway, ws: Origin) -> None:
    client = gateway.dial()
    client.send(handshake() + frame(1, b"GET /secret HTTP/1.1", mask=b"\0\0\0\0"))
    upstream = ws.accept()
    upstream.read_head()
    upstream.send(answer("403 Forbidden", "Connection: close", body=b"no"))
    assert client.read_message().status == 403
    assert client.read_message().status == 400, "a frame is not a request"
    assert upstream.read_to_cut()[0] == b""


def test_a_handshake_may_be_tried_again_on_the_same_connection(gateway: Gateway, ws: Origin) -> None:
    client = gateway.dial()
    client.send(handshake("/live?ticket=old"))
    first = ws.accept()
    first.read_head()
    first.send(answer("401 Unauthorized", body=b"try again"))
    assert client.read_message().body == b"try again"
    client.send(handshake("/live?ticket=new"))
    second = ws.accept()
    assert Message(second.read_head()).line == "GET /live?ticket=new HTTP/1.1"
    second.send(switching())
    assert client.read_message().status == 101
    client.send(frame(1, b"hello", mask=b"abcd"))
    assert second.read_frame().payload == b"hello"


# -- an answer that does not fit


GOOD = switching()
ACCEPT = b"Sec-WebSocket-Accept: " + Message(GOOD).get("sec-websocket-accept").encode()


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD.replace(ACCEPT, b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        GOOD.replace(ACCEPT + b"\r\n", b""),
        GOOD.replace(ACCEPT, ACCEPT + b"\r\n" + ACCEPT),
        GOOD.replace(ACCEPT, ACCEPT.lower()),
        GOOD.replace(b"Upgrade: websocket\r\n", b""),
        GOOD.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        GOOD.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        GOOD.replace(b"Connection: Upgrade\r\n", b""),
        GOOD.replace(b"Connection: Upgrade", b"Connection: close"),
        answer("101 Switching Protocols", body=None),
    ],
    ids=[
        "wrong accept",
        "no accept",
        "two accepts",
        "accept in lower case",
        "no upgrade",
        "another upgrade",
        "two upgrades",
        "no connection",
        "connection close",
        "nothing",
    ],
)
def test_a_101_that_does_not_answer_the_handshake_is_a_502(gateway: Gateway, ws: Origin, wrong: bytes) -> None:
    _, got, client, upstream = shake(gateway, ws, handshake(), wrong + frame(1, b"for nobody"))
    assert got.status == 502
    assert b"for nobody" not in got.body
    assert upstream.read_to_cut()[0] == b"", "its connection is not used again"
    client.send(handshake())
    fresh = ws.accept()
    fresh.read_head()
    fresh.send(switching())
    assert client.read_message().status == 101


@pytest.mark.parametrize("switched", [GOOD, answer("101 Odd", body=None)], ids=["as for a handshake", "bare"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_101_to_an_ordinary_request_is_a_502(gateway: Gateway, dash: Origin, switched: bytes, method: str) -> None:
    client = gateway.dial()
    client.send(request(f"{method} /page", "Content-Length: 2", f"Sec-WebSocket-Key: {KEY.decode()}", body=b"hi"))
    upstream = dash.accept()
    upstream.read_message()
    upstream.send(switched + answer("200 OK", body=b"poison"))
    got = client.read_message()
    assert got.status == 502
    assert b"poison" not in got.body
    assert upstream.read_to_cut()[0] == b"", "its connection is not used again"
    client.send(request("GET /next"))
    fresh = dash.accept()
    fresh.read_message()
    fresh.send(answer("200 OK", body=b"next"))
    assert client.read_message().body == b"next"


@pytest.mark.parametrize("partial_answer", [b"", b"HTTP/1.1 101 Switching", b"\x81\x05hello"])
def test_an_upstream_that_leaves_instead_of_answering_is_a_502(
    gateway: Gateway, ws: Origin, partial_answer: bytes
) -> None:
    client = gateway.dial()
    client.send(handshake())
    upstream = ws.accept()
    upstream.read_head()
    upstream.send(partial_answer)
    upstream.close()
    got = client.read_message()
    assert got.status == 502
    assert "ws" in got.json()["error"]


# -- what is not a handshake


def changed(old: bytes, new: bytes) -> bytes:
    good = handshake()
    assert old in good
    return good.replace(old, new)


VERSION = b"Sec-WebSocket-Version: 13"
KEY_FIELD = b"Sec-WebSocket-Key: " + KEY


@pytest.mark.parametrize(
    "version", [b"8", b"7", b"0", b"14", b"13, 8", b"13\r\nSec-WebSocket-Version: 13", b"1 3", b"", b"0x0d", b"013"]
)
def test_another_version_is_told_the_right_one(gateway: Gateway, dash: Origin, ws: Origin, version: bytes) -> None:
    got = gateway.ask(changed(VERSION, b"Sec-WebSocket-Version: " + version))
    assert got.status == 426
    assert got.all("sec-websocket-version") == ["13"]
    assert got.all("upgrade") == ["websocket"], "RFC 9110, section 15.5.22"
    assert not ws.has_visitor() and not dash.has_visitor()


@pytest.mark.parametrize(
    "wrong",
    [
        changed(KEY_FIELD + b"\r\n", b""),
        changed(KEY, b""),
        changed(KEY, b"c2hvcnQ="),
        changed(KEY, b"dGhlIHNhbXBsZSBub25jZXM="),
        changed(KEY, b"!GhlIHNhbXBsZSBub25jZQ=="),
        changed(KEY_FIELD, KEY_FIELD + b"\r\n" + KEY_FIELD),
        changed(b"GET", b"POST"),
        changed(b"GET", b"HEAD"),
        changed(b"GET", b"OPTIONS"),
        changed(b"HTTP/1.1", b"HTTP/1.0"),
        changed(b"Connection: Upgrade", b"Connection: close"),
        changed(b"Connection: Upgrade\r\n", b""),
        changed(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        changed(b"Upgrade: websocket", b"Upgrade: websocket\r\nUpgrade: h2c"),
        changed(VERSION, VERSION + b"\r\nContent-Length: 5") + b"hello",
        changed(VERSION, VERSION + b"\r\nTransfer-Encoding: chunked") + chunks(b"hello"),
        changed(b"Host: example.com\r\n", b""),
        changed(b"Host: example.com", b"Host: example.com\r\nHost: evil.test"),
        changed(b"Host: example.com", b"Host: example.com/@evil.test"),
        changed(b"GET /live", b"GET live"),
        changed(b"GET /live", b"GET @evil.test"),
        changed(b"GET /live", b"GET http://evil.test/live"),
        changed(VERSION, VERSION + b"\r\nX-Nul: a\0b"),
        changed(VERSION, VERSION + b"\r\nX Space: a"),
        changed(VERSION, VERSION + b"\r\nSpace : a"),
        changed(VERSION, VERSION + b"\r\n folded"),
    ],
    ids=[
        "no key",
        "empty key",
        "short key",
        "long key",
        "key not base64",
        "two keys",
        "POST",
        "HEAD",
        "OPTIONS",
        "HTTP 1.0",
        "connection close",
        "no connection",
        "two upgrades in one field",
        "two upgrades in two fields",
        "body with length",
        "chunked body",
        "no host",
        "two hosts",
        "host with path",
        "target without slash",
        "target with at",
        "target of another host",
        "nul in a value",
        "space in a name",
        "space before the colon",
        "folded line",
    ],
)
def test_a_bad_handshake_never_reaches_an_upstream(gateway: Gateway, dash: Origin, ws: Origin, wrong: bytes) -> None:
    smuggled = request("GET /smuggled")
    with gateway.dial() as client:
        client.send(wrong + smuggled)
        got = client.read_message(has_body=not wrong.startswith(b"HEAD"))
        assert got.status == 400
        assert got.all("connection") == ["close"]
        assert client.read_to_cut()[0] == b"", "and what is behind it is not answered"
    assert not ws.has_visitor() and not dash.has_visitor()


@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.0", "notwebsocket", "websocketx", "", "websocket"])
def test_an_offer_to_upgrade_is_ignored_and_what_follows_is_a_request(
    gateway: Gateway, dash: Origin, ws: Origin, protocol: str
) -> None:
    client = gateway.dial()
    upgrade = ("Upgrade: " + protocol, "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk")
    client.send(request("GET /page", *upgrade) + request("GET /next"))
    upstream = dash.accept()
    for page in ("page", "next"):
        received = upstream.read_message()
        assert received.line == f"GET /{page} HTTP/1.1"
        assert received.all("upgrade") == received.all("connection") == received.all("http2-settings") == []
        upstream.send(answer("200 OK", body=page.encode()))
        got = client.read_message()
        assert (got.status, got.body, got.all("connection")) == (200, page.encode(), [])
    assert not ws.has_visitor()


def test_a_tunnel_is_the_last_thing_on_its_connection(gateway: Gateway, dash: Origin, ws: Origin) -> None:
    """Behind the 101 nothing is HTTP any more, whatever it looks like."""
    client, upstream = open_tunnel(gateway, ws)
    plain = request("GET /secret")
    client.send(plain)
    assert upstream.read(len(plain)) == plain
    assert not dash.has_visitor()
