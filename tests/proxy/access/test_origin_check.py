"""Whose pages may open a WebSocket: same site by default, compared as RFC 6454 asks, right behind proxies too."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.origin_check import SAME_ORIGIN, OriginCheck
from proxy.http1.forwarded import ForwardedReader
from proxy.http1.headers import Head
from proxy.net.peer import UNKNOWN_PEER, Peer

FRONT = Peer("10.0.0.7")
READER = ForwardedReader((ip_network("10.0.0.0/8"),))


def head(origin: str | None, host: str = "app.example", **more: str) -> Head:
    fields = [(b"Host", host.encode())]
    if origin is not None:
        fields.append((b"Origin", origin.encode("latin-1")))
    fields += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return Head("GET", "/live", (1, 1), tuple(fields))


def passes(head: Head, origins: OriginCheck = SAME_ORIGIN, peer: Peer = UNKNOWN_PEER) -> bool:
    refusal = origins.refusal(head, READER.read(head, peer))
    assert refusal is None or refusal.status == 403
    return refusal is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://app.example", "app.example"),
        ("http://app.example", "app.example:80"),
        ("http://app.example:80", "app.example"),
        ("https://app.example", "app.example"),  # TLS ends in front of us, at somebody of whom we know nothing
        ("https://app.example", "app.example:443"),
        ("https://app.example:8443", "app.example:8443"),
        ("HTTPS://App.Example", "aPP.eXAMPLE"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[2001:DB8::1]", "[2001:db8::1]"),
        ("http://xn--grsse-kva.example", "xn--grsse-kva.example"),
    ],
)
def test_a_page_of_the_same_site_may_open_a_websocket(origin: str, host: str) -> None:
    assert passes(head(origin, host))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "app.example"),
        ("http://localhost:8000", "127.0.0.1:8000"),
        ("http://127.0.0.1:8050", "127.0.0.1:8000"),  # Dash's own port is another site for a browser
        ("http://app.example", "app.example:8000"),
        ("http://app.example:8000", "app.example"),
        ("http://app.example", "app.example:443"),
        ("https://app.example", "app.example:80"),
        ("http://app.example.evil.example", "app.example"),
        ("http://evilapp.example", "app.example"),
        ("http://app.example.", "app.example"),
        ("chrome-extension://app.example", "app.example"),
        ("http://[::1]:8000", "[::2]:8000"),
    ],
)
def test_a_page_of_another_site_may_not(origin: str, host: str) -> None:
    assert not passes(head(origin, host))


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "app.example",
        "http://app.example/",
        "http://app.example?x",
        "http://user@app.example",
        "http://app.example http://app.example",
        "http://app.example, http://app.example",
        "//app.example",
        "http:app.example",
        "http://",
        "http://app.example:",
        "http://app.example:x",
        "http://app.example:999999",
        "http://[::1",
        "http://app.example\x85",
        "http://äpp.example",
        "http://" + "a" * 300,
        "nullnull",
        "file:///",
        "file://:1",
        "capacitor:localhost",
        "https://",
    ],
)
def test_what_is_no_origin_is_nobodys(origin: str) -> None:
    every_word = OriginCheck(("same", "null", "regex:.*"))
    assert not passes(head(origin), every_word)


def test_a_client_without_an_origin_is_allowed() -> None:
    assert passes(head(None))
    assert passes(head(None), OriginCheck(("https://app.example",)))


def test_two_origins_are_two_readings_of_one_request() -> None:
    twice = Head("GET", "/", (1, 1), ((b"Host", b"a"), (b"Origin", b"http://a"), (b"origin", b"http://evil")))
    refusal = SAME_ORIGIN.refusal(twice, READER.read(twice, UNKNOWN_PEER))
    assert refusal is not None and refusal.status == 400


# -- behind a proxy


@pytest.mark.parametrize(
    ("origin", "fields", "allowed"),
    [
        ("https://app.example", {"X_Forwarded_Proto": "https"}, True),
        ("https://app.example", {"X_Forwarded_Proto": "wss"}, True),
        ("http://app.example", {"X_Forwarded_Proto": "https"}, False),  # a page that an eavesdropper may have written
        ("https://app.example", {"X_Forwarded_Host": "app.example"}, True),
        ("https://app.example", {"X_Forwarded_Host": "app.example, inner"}, True),
        ("https://app.example:8443", {"X_Forwarded_Host": "app.example:8443"}, True),
        ("https://inner:8000", {"X_Forwarded_Host": "app.example"}, False),
        ("https://app.example", {"X_Forwarded_Proto": "https,http"}, True),
        ("https://app.example", {"X_Forwarded_Proto": "https, https"}, True),
        ("http://app.example", {"X_Forwarded_Proto": "https, http"}, False),
        ("https://app.example", {"X_Forwarded_Ssl": "on"}, True),
        ("http://app.example", {"X_Forwarded_Ssl": "on"}, False),
        ("https://app.example", {"X_Forwarded_Proto": "rubbish"}, True),  # as if it said nothing
        ("https://app.example:8443", {"X_Forwarded_Host": "app.example:8443", "X_Forwarded_Port": "443"}, True),
        ("https://app.example:8443", {"X_Forwarded_Proto": "https", "X_Forwarded_Port": "8443"}, True),
        (
            "https://app.example",
            {"X_Forwarded_Proto": "https", "X_Forwarded_Port": "8443"},
            True,
        ),  # may be an inner one
        ("https://app.example:9443", {"X_Forwarded_Proto": "https", "X_Forwarded_Port": "8443"}, False),
        ("https://app.example", {"X_Forwarded_Proto": "https", "X_Forwarded_Port": "80"}, True),
        ("https://app.example", {"Forwarded": "for=192.0.2.1;host=app.example;proto=https"}, True),
        ("https://inner:8000", {}, True),
    ],
)
def test_a_trusted_proxy_says_which_host_the_browser_asked_for(
    origin: str, fields: dict[str, str], allowed: bool
) -> None:
    is_renamed = "X_Forwarded_Host" in fields or "Forwarded" in fields
    host = "inner:8000" if is_renamed or "inner" in origin else "app.example"
    assert passes(head(origin, host, **fields), peer=FRONT) is allowed


def test_forwarding_headers_of_other_peers_are_ignored() -> None:
    claims = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
    stranger = Peer("192.0.2.1")
    assert not passes(head("https://evil.example", **claims), peer=stranger)
    assert passes(head("http://app.example", **claims), peer=stranger)


def test_where_tls_ends_here_the_scheme_counts() -> None:
    assert passes(head("https://app.example"), peer=Peer("192.0.2.1", "https"))
    assert not passes(head("http://app.example"), peer=Peer("192.0.2.1", "https"))
    assert not passes(head("http://app.example:443", "app.example:443"), peer=Peer("192.0.2.1", "https"))


# -- the operator's list


@pytest.mark.parametrize(
    ("allowed", "origin", "passed"),
    [
        ("https://other.example", "https://other.example", True),
        ("https://other.example", "HTTPS://Other.Example:443", True),
        ("https://other.example:443", "https://other.example", True),
        ("https://other.example", "http://other.example", False),
        ("https://other.example", "https://other.example:8443", False),
        ("https://other.example", "https://app.example", False),  # the list is the whole list: same is not in it
        ("null", "null", True),
        ("null", "http://null", False),
        ("same", "null", False),
        ("regex:https://[a-z]+[.]example", "https://other.example", True),
        ("regex:https://[a-z]+[.]example", "https://other.example.evil", False),
        ("regex:https://[a-z]+[.]example", "x-https://other.example", False),
        ("regex:vscode-webview://.*", "vscode-webview://0a1b", True),
        ("any", "https://evil.example", True),
        ("any", "null", True),
        ("any", "file://", True),
        ("file://", "file://", True),
        ("regex:file://.*", "file://", True),
        ("same", "file://", False),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("capacitor://localhost", "ionic://localhost", False),
        ("chrome-extension://abc", "chrome-extension://abc", True),
        ("chrome-extension://abc", "chrome-extension://abd", False),
        ("regex:moz-extension://[0-9A-F-]+", "moz-extension://0A1B-2C", True),
        ("safari-web-extension://0A1B", "safari-web-extension://0A1B", True),
        ("app://.", "app://.", True),  # Electron
        ("regex:https://Other[.]example", "https://other.example:443", True),  # canonical: small, without the port
        ("regex:https://other[.]example:443", "https://other.example:443", False),
        ("http://[::1]:3000", "http://[0:0::1]:3000", True),
    ],
)
def test_the_operator_says_whose_pages_may(allowed: str, origin: str, passed: bool) -> None:
    assert passes(head(origin), OriginCheck((allowed,))) is passed


def test_several_words_add_up() -> None:
    origins = OriginCheck(("same", "https://other.example", "null"))
    for origin in ("http://app.example", "https://other.example", "null"):
        assert passes(head(origin), origins)
    assert not passes(head("https://evil.example"), origins)


def test_a_refusal_says_what_to_set() -> None:
    asking = head("http://127.0.0.1:8050", "127.0.0.1:8000")
    refusal = SAME_ORIGIN.refusal(asking, READER.read(asking, UNKNOWN_PEER))
    assert refusal is not None
    assert refusal.message == "Pages of http://127.0.0.1:8050 may not open a WebSocket at 127.0.0.1:8000."
    assert "add http://127.0.0.1:8050 to gateway.origins in the configuration." in refusal.advice


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_bytes_are_an_exception(origin: bytes, host: bytes) -> None:
    given_ = Head("GET", "/", (1, 1), ((b"Host", host), (b"Origin", origin)))
    for peer in (UNKNOWN_PEER, FRONT, Peer("unix", "https")):
        SAME_ORIGIN.refusal(given_, READER.read(given_, peer))
