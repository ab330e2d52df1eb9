"""What the browser asked: one reading of a trusted proxy's fields, and what is sent on never says anything else."""

from __future__ import annotations

import time
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.forwarded import ForwardedReader, OriginalRequest
from proxy.http1.headers import Head, is_forwarding_header
from proxy.net.peer import Peer, Trusted, is_trusted

PEER = Peer("10.1.2.3")
FRONT: Trusted = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), "unix")

Field = tuple[bytes, bytes]


def asked(
    *fields: Field, peer: Peer = PEER, trusted: Trusted = FRONT, host: bytes | None = b"dash.example"
) -> OriginalRequest:
    first = ((b"Host", host),) if host is not None else ()
    return ForwardedReader(trusted).read(Head("GET", "/", (1, 1), (*first, *fields)), peer)


def told(
    *fields: Field, peer: Peer = PEER, trusted: Trusted = FRONT, host: bytes | None = b"dash.example"
) -> dict[bytes, bytes]:
    it = asked(*fields, peer=peer, trusted=trusted, host=host)
    for upstream in ("ws", "dash"):
        written = it.fields_of("our-id", upstream)
        assert len({name.lower() for name, _ in written}) == len(written), "a field is written twice"
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in written)
        assert it.lines_of("our-id", upstream) == lines
    return dict(written)


def said(name: str, *values: str) -> list[Field]:
    return [(name.encode(), value.encode("latin-1")) for value in values]


# -- what the upstream is told


def test_the_upstream_learns_who_asked_for_what() -> None:
    assert told(trusted=(), host=b"dash.example:8000") == {
        b"X-Forwarded-For": b"10.1.2.3",
        b"X-Forwarded-Proto": b"http",
        b"X-Forwarded-Host": b"dash.example:8000",
        b"X-Forwarded-Port": b"8000",
        b"X-Request-ID": b"our-id",
    }


def test_what_is_not_known_is_not_claimed() -> None:
    """HTTP/1.0 may come without Host; an empty X-Forwarded-Host would be a host."""
    it = asked(host=None)
    assert (it.host, it.hosts) == ("", ())
    assert b"X-Forwarded-Host" not in told(host=None)


def test_a_host_that_would_be_two_is_not_repeated() -> None:
    """RFC 3986 lets a name hold a comma; ProxyFix and the like take the last member of the field."""
    assert b"X-Forwarded-Host" not in told(host=b"dash.example,evil.example")


CLAIMS: tuple[Field, ...] = (
    (b"X-Forwarded-For", b"192.0.2.66, 192.0.2.1:80, 10.0.0.9"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"public.example"),
    (b"X-Forwarded-Port", b"8443"),
    (b"X-Forwarded-Prefix", b"/app"),
    (b"X-Forwarded-Server", b"front"),
    (b"Forwarded", b"for=192.0.2.66;proto=http"),
    (b"X-Real-IP", b"10.0.0.9"),
    (b"X-Original-Host", b"other.example"),
    (b"X-Forwarded-Ssl", b"off"),
    (b"X-Forwarded-Protocol", b"http"),
    (b"X-Forwarded-Scheme", b"http"),
    (b"X-Scheme", b"http"),
    (b"X-Url-Scheme", b"http"),
    (b"Front-End-Https", b"off"),
    (b"X-Forwarded-HTTPS", b"off"),
    (b"X-Request-ID", b"their-id"),
)


def test_a_strangers_claims_are_not_repeated() -> None:
    assert told(*CLAIMS, trusted=()) == told(trusted=())
    assert asked(*CLAIMS, trusted=()) == asked(trusted=())


def test_whatever_a_trusted_proxy_says_comes_on_with_one_meaning() -> None:
    assert told(*CLAIMS) == {
        b"X-Forwarded-For": b"192.0.2.66, 192.0.2.1, 10.0.0.9, 10.1.2.3",
        b"X-Forwarded-Proto": b"https",
        b"X-Forwarded-Host": b"public.example",
        b"X-Forwarded-Port": b"8443",
        b"X-Forwarded-Prefix": b"/app",
        b"X-Forwarded-Server": b"front",
        b"Forwarded": b'for=192.0.2.1;host="public.example";proto=https',
        b"X-Real-IP": b"192.0.2.1",
        b"X-Original-Host": b"public.example",
        b"X-Forwarded-Ssl": b"on",
        b"X-Forwarded-Protocol": b"ssl",
        b"X-Forwarded-Scheme": b"https",
        b"X-Scheme": b"https",
        b"X-Url-Scheme": b"https",
        b"Front-End-Https": b"on",
        b"X-Forwarded-HTTPS": b"on",
        b"X-Request-ID": b"their-id",
    }


def test_a_field_that_comes_twice_is_sent_on_once() -> None:
    twice = (
        *CLAIMS,
        *((name.lower(), value) for name, value in CLAIMS if b"Prefix" not in name and b"Server" not in name),
    )
    chain = b"192.0.2.66, 192.0.2.1, 10.0.0.9"
    assert told(*twice) == told(*CLAIMS) | {b"X-Forwarded-For": chain + b", " + chain + b", 10.1.2.3"}


def test_every_name_that_is_read_is_one_that_only_a_proxy_may_write() -> None:
    assert all(is_forwarding_header(name.lower()) for name, _ in CLAIMS)


@pytest.mark.parametrize("identity", [b"", b"with space", b"x" * 129, b"a\xff", b"{}", b"id\t"])
def test_a_trusted_proxys_request_id_must_look_like_one(identity: bytes) -> None:
    assert told((b"X-Request-ID", identity))[b"X-Request-ID"] == b"our-id"


# -- the client's address


@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded", "client"),
    [
        ("203.0.113.9", FRONT, ["1.2.3.4"], "203.0.113.9"),  # a stranger's word
        ("10.0.0.1", (), ["1.2.3.4"], "10.0.0.1"),  # nobody is believed
        ("10.0.0.1", FRONT, [], "10.0.0.1"),
        ("10.0.0.1", FRONT, [" , ,"], "10.0.0.1"),
        ("10.0.0.1", FRONT, ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", FRONT, ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # the client wrote 6.6.6.6 itself
        ("10.0.0.1", FRONT, ["6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        ("10.0.0.1", FRONT, ["6.6.6.6, 1.2.3.4, , 10.0.0.2,"], "1.2.3.4"),
        ("10.0.0.1", FRONT, ["6.6.6.6", "1.2.3.4", "10.0.0.2"], "1.2.3.4"),
        ("10.0.0.1", FRONT, ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("unix", FRONT, ["2001:DB8::1"], "2001:db8::1"),
        ("unix", FRONT, [], "unix"),
        ("::ffff:10.0.0.1", FRONT, ["1.2.3.4"], "1.2.3.4"),
        ("::ffff:192.0.2.1", FRONT, ["1.2.3.4"], "192.0.2.1"),
        ("10.0.0.1", FRONT, ["203.0.113.7:51008"], "203.0.113.7"),
        ("10.0.0.1", FRONT, ["6.6.6.6, 203.0.113.7:51008, 10.0.0.4:40112"], "203.0.113.7"),
        ("10.0.0.1", FRONT, ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", FRONT, ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", FRONT, ['"[2001:db8::7]:4711"'], "2001:db8::7"),
        ("10.0.0.1", FRONT, ["1.2.3.4, [fd00::1]:80, [fd00::2%eth0]"], "1.2.3.4"),
        ("10.0.0.1", FRONT, ["[::ffff:203.0.113.7]:80"], "203.0.113.7"),
        ("10.0.0.1", FRONT, ["1.2.3.4, ::ffff:10.0.0.2"], "1.2.3.4"),
        ("10.0.0.1", FRONT, ["fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", FRONT, ["203.0.113.7:"], "203.0.113.7"),
        ("10.0.0.1", FRONT, ["203.0.113.7:_port"], "203.0.113.7"),
        ("10.0.0.1", FRONT, ["unknown"], "unknown"),
        ("10.0.0.1", FRONT, ["1.2.3.4, unknown"], "unknown"),  # whoever says so knows no other
        ("10.0.0.1", FRONT, ["_hidden, 10.0.0.2"], "unknown"),
        ("10.0.0.1", FRONT, ["unix"], "unknown"),  # a word of ours, not of a proxy's
        ("10.0.0.1", FRONT, ["client.example"], "unknown"),
        ("10.0.0.1", FRONT, ["203.0.113.7:80:90"], "unknown"),
        ("10.0.0.1", FRONT, ["1.2.3.4;x, " + "9" * 5000], "unknown"),
    ],
)
def test_the_client_is_the_last_one_for_whom_no_trusted_proxy_stands(
    peer: str, trusted: Trusted, forwarded: list[str], client: str
) -> None:
    fields = said("X-Forwarded-For", *forwarded)
    it = asked(*fields, peer=Peer(peer), trusted=trusted)
    assert it.client == client
    assert dict(it.fields_of("our-id", "ws"))[b"X-Forwarded-For"] == client.encode()


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        (said("X-Real-IP", "203.0.113.7"), "203.0.113.7"),
        (said("Forwarded", 'for=6.6.6.6, for="203.0.113.7:80";by=10.0.0.4, For=10.0.0.4'), "203.0.113.7"),
        (said("Forwarded", 'proto=https; for="[2001:DB8::7]:4711"'), "2001:db8::7"),
        (said("Forwarded", "for=6.6.6.6", "for=203.0.113.7"), "203.0.113.7"),
        (said("Forwarded", "for=_hidden"), "unknown"),
        (said("Forwarded", "proto=https"), "10.1.2.3"),
        (said("Forwarded", 'for="1.2.3.4, for=203.0.113.7'), "203.0.113.7"),  # a client's quote hides nobody
        (said("X-Real-IP", "1.1.1.1") + said("X-Forwarded-For", "203.0.113.7"), "203.0.113.7"),
        (said("X-Real-IP", "1.1.1.1") + said("X-Forwarded-For", ""), "1.1.1.1"),
        (said("Forwarded", "for=1.1.1.1") + said("X-Real-IP", "203.0.113.7"), "203.0.113.7"),
        (said("Forwarded", "for=1.1.1.1") + said("X-Forwarded-Proto", "https"), "10.1.2.3"),
    ],
)
def test_the_address_has_several_names_of_which_the_first_counts(fields: list[Field], client: str) -> None:
    assert asked(*fields).client == client


def test_of_a_long_chain_of_proxies_so_many_are_looked_at_as_there_could_be() -> None:
    near = ", ".join(["10.0.0.1"] * 63)
    for fields, client in (
        (said("X-Forwarded-For", "203.0.113.9, " + near), "203.0.113.9"),
        (said("X-Forwarded-For", "203.0.113.9, 10.0.0.1, " + near), "10.0.0.1"),
        (said("X-Forwarded-For", "203.0.113.9, 10.0.0.1", near), "10.0.0.1"),
    ):
        assert asked(*fields, peer=Peer("10.0.0.7")).client == client


@pytest.mark.parametrize(
    "field",
    [
        (b"X-Forwarded-For", b",".join([b"10.0.0.1"] * 7000)),
        (b"X-Forwarded-For", b"," * 60000),
        (b"X-Forwarded-Proto", b"x," * 30000),
        (b"X-Forwarded-Host", b"/," * 30000),
        (b"X-Forwarded-Host", b"\xc3\xbc" * 30000),
        (b"X-Forwarded-Host", b"\xc3\xbc" * 100 + b"," * 100),
        (b"Forwarded", b"for=10.0.0.1," * 4500),
        (b"Forwarded", b"a=b;" * 15000),
        (b"Forwarded", (b"a=b;" * 230 + b",") * 64),
        (b"X-Forwarded-For", b"[" * 60000),
    ],
)
def test_fields_of_thousands_of_members_cost_little(field: Field) -> None:
    began = time.process_time()
    for _ in range(100):
        asked(field)
    assert time.process_time() - began < 0.3  # 3 ms each; before, 20 to 26


# -- the scheme


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        (said("X-Forwarded-Proto", "https"), "https"),
        (said("X-Forwarded-Proto", "http"), "http"),
        (said("X-Forwarded-Proto", "HTTPS"), "https"),
        (said("X-Forwarded-Proto", "wss"), "https"),
        (said("X-Forwarded-Proto", "ws"), "http"),
        (said("X-Forwarded-Proto", "https,http"), "https"),
        (said("X-Forwarded-Proto", "https, https"), "https"),
        (said("X-Forwarded-Proto", "http, https"), "http"),
        (said("X-Forwarded-Proto", "https", "http"), "https"),
        (said("X-Forwarded-Proto", ' , "https" ,http'), "https"),
        (said("X-Forwarded-Proto", "rubbish, https"), "https"),
        (said("X-Forwarded-Proto", "rubbish") + said("X-Forwarded-Ssl", "on"), "https"),
        (said("X-Forwarded-Proto", "http") + said("X-Forwarded-Ssl", "on"), "http"),
        (said("X-Forwarded-Proto", "https") + said("X-Forwarded-Ssl", "off"), "https"),
        (said("X-Forwarded-Ssl", "on"), "https"),
        (said("X-Forwarded-Ssl", "ON"), "https"),
        (said("X-Forwarded-Ssl", "off"), "http"),
        (said("X-Forwarded-Protocol", "ssl"), "https"),
        (said("X-Forwarded-Protocol", "https"), "https"),
        (said("X-Forwarded-Scheme", "https"), "https"),
        (said("X-Scheme", "https"), "https"),
        (said("X-Url-Scheme", "https"), "https"),
        (said("Front-End-Https", "on"), "https"),
        (said("X-Forwarded-HTTPS", "1"), "https"),
        (said("Forwarded", "for=1.2.3.4;proto=https, for=10.0.0.4;proto=http"), "https"),
        (said("Forwarded", 'Proto="HTTPS"'), "https"),
        (said("Forwarded", "proto=https") + said("X-Forwarded-Proto", "http"), "http"),
    ],
)
def test_the_scheme_is_the_first_one_that_is_said(fields: list[Field], scheme: str) -> None:
    it = asked(*fields)
    assert (it.scheme, it.is_scheme_known, it.is_secure) == (scheme, True, scheme == "https")
    assert told(*fields)[b"X-Forwarded-Proto"] == scheme.encode()


@pytest.mark.parametrize("value", ["", "rubbish", "ftp", "\xe9", "httpss", "https http"])
@pytest.mark.parametrize("name", ["X-Forwarded-Proto", "X-Forwarded-Ssl", "Forwarded"])
def test_rubbish_is_as_good_as_nothing(name: str, value: str) -> None:
    for scheme in ("http", "https"):
        it = asked(*said(name, value), peer=Peer("10.1.2.3", scheme))
        assert (it.scheme, it.is_scheme_known) == (scheme, scheme == "https")


# -- host and port


@pytest.mark.parametrize(
    ("host", "scheme", "port"),
    [
        (b"dash.example", "http", 80),
        (b"dash.example", "https", 443),
        (b"dash.example:", "http", 80),
        (b"dash.example:8000", "https", 8000),
        (b"[::1]", "http", 80),
        (b"[::1]:8000", "http", 8000),
        (b"12345", "http", 80),  # a name of digits alone is a name
        (None, "http", 80),  # HTTP/1.0
    ],
)
def test_the_port_is_the_one_in_host_or_the_schemes_own(host: bytes | None, scheme: str, port: int) -> None:
    it = asked(peer=Peer("10.1.2.3", scheme), host=host)
    assert it.port == port
    assert told(peer=Peer("10.1.2.3", scheme), host=host)[b"X-Forwarded-Port"] == b"%d" % port


@pytest.mark.parametrize(
    ("fields", "hosts", "port"),
    [
        (said("X-Forwarded-Host", "a"), ("a",), 443),
        (said("X-Forwarded-Host", "a, inner:8000"), ("a",), 443),
        (said("X-Forwarded-Host", "a", "inner:8000"), ("a",), 443),
        (said("X-Forwarded-Host", "a:8443"), ("a:8443",), 8443),
        (said("X-Forwarded-Host", "a:8443") + said("X-Forwarded-Port", "443"), ("a:8443",), 8443),
        (said("X-Forwarded-Host", "a") + said("X-Forwarded-Port", "8443"), ("a", "a:8443"), 8443),
        (said("X-Forwarded-Host", "a") + said("X-Forwarded-Port", "8443, 80"), ("a", "a:8443"), 8443),
        (said("X-Forwarded-Host", "a") + said("X-Forwarded-Port", "80"), ("a",), 443),
        (said("X-Forwarded-Host", "a") + said("X-Forwarded-Port", "443"), ("a",), 443),
        (said("X-Forwarded-Host", "a") + said("X-Forwarded-Port", "99999"), ("a",), 443),
        (said("X-Forwarded-Host", "a") + said("X-Forwarded-Port", "x"), ("a",), 443),
        (said("X-Forwarded-Host", "[2001:db8::7]:8443"), ("[2001:db8::7]:8443",), 8443),
        (said("X-Forwarded-Host", "[::1]") + said("X-Forwarded-Port", "8443"), ("[::1]", "[::1]:8443"), 8443),
        (said("X-Forwarded-Host", "b\xc3\xbccher.example:81"), ("xn--bcher-kva.example:81",), 81),
        (said("X-Forwarded-Host", "\xff.example"), ("dash.example",), 443),
        (said("X-Forwarded-Host", "https://a/"), ("dash.example",), 443),
        (said("X-Forwarded-Host", ""), ("dash.example",), 443),
        (said("X-Forwarded-Host", "a:99999"), ("dash.example",), 443),
        (said("X-Forwarded-Host", "a:"), ("a:",), 443),
        (said("X-Original-Host", "a"), ("a",), 443),
        (said("X-Original-Host", "b") + said("X-Forwarded-Host", "a"), ("a",), 443),
        (said("Forwarded", 'proto=https;host="a:8443", host=inner'), ("a:8443",), 8443),
        (said("Forwarded", "proto=https;host=b") + said("X-Forwarded-Ssl", "on"), ("b",), 443),
        (said("Forwarded", "host=b") + said("X-Forwarded-Host", "a"), ("a",), 443),
        (said("Forwarded", "host=b") + said("X-Forwarded-For", "192.0.2.1"), ("dash.example",), 443),
    ],
)
def test_the_host_is_the_first_one_that_is_said_and_its_own_port_counts(
    fields: list[Field], hosts: tuple[str, ...], port: int
) -> None:
    fields = fields + said("X-Forwarded-Ssl", "on")
    it = asked(*fields)
    assert (it.host, it.hosts, it.port) == (hosts[0], hosts, port)
    written = told(*fields)
    assert (written[b"X-Forwarded-Host"], written[b"X-Forwarded-Port"]) == (hosts[0].encode(), b"%d" % port)


@pytest.mark.parametrize(
    ("client", "host", "element"),
    [
        ("203.0.113.7", b"a:8443", b'for=203.0.113.7;host="a:8443";proto=http'),
        ("2001:db8::7", b"[::1]", b'for="[2001:db8::7]";host="[::1]";proto=http'),
        ("_hidden", b"a", b'for=unknown;host="a";proto=http'),
        ("203.0.113.7", None, b"for=203.0.113.7;proto=http"),
    ],
)
def test_forwarded_is_written_anew(client: str, host: bytes | None, element: bytes) -> None:
    assert told(*said("Forwarded", f'for="{client}";by=_x'), host=host)[b"Forwarded"] == element


# -- whatever comes

NAMES = st.sampled_from([name for name, _ in CLAIMS])
VALUES = st.sampled_from(["https", "http", "on", "off", "a:1", "1.2.3.4:5", "[::1]:2", "10.0.0.1", "for=1.1.1.1", ""])
LISTS = st.lists(VALUES, max_size=4).map(lambda parts: ", ".join(parts).encode()) | st.binary(max_size=30)


@given(st.lists(st.tuples(NAMES, LISTS), max_size=6), st.sampled_from([PEER, Peer("unix", "https"), Peer("192.0.2.1")]))
def test_what_is_sent_on_reads_back_as_the_same(fields: list[Field], peer: Peer) -> None:
    """As a second gateway behind this one reads it, which trusts the first: nothing of it contradicts itself."""
    it = asked(*fields, peer=peer)
    words = it.fields_of("our-id", "dash")
    for kept in range(len(words)):  # whichever of them the upstream looks at
        again = asked(*words[kept : kept + 1], peer=Peer("10.9.9.9", it.scheme), host=it.host.encode("latin-1") or None)
        assert again.scheme == it.scheme
        if words[kept][0].lower() in (b"x-forwarded-for", b"x-real-ip", b"forwarded") and it.client != "unix":
            assert again.client == it.client
        assert again.host == it.host
    assert all(b"\r" not in value and b"\n" not in value for _, value in words) or any(
        b"\r" in value or b"\n" in value for _, value in fields
    )


def test_trust_in_the_client_is_trust_in_what_was_read() -> None:
    assert is_trusted(asked(*said("X-Forwarded-For", "10.0.0.5:80")).client, FRONT)
