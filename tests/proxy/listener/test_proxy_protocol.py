"""Both versions of the PROXY header: what they say, where they end, and everything that is none."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.listener.proxy_protocol import MAX_HEADER, Announcement, HeaderError, parse
from proxy.net.peer import UNKNOWN_ADDRESS

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
V4, V6, UNIX = 0x11, 0x21, 0x31

ports = st.integers(0, 65535)


def binary(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(rest)) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + struct.pack("!H", len(value)) + value


def addresses(source: IPv4Address | IPv6Address, target: IPv4Address | IPv6Address, *both: int) -> bytes:
    return source.packed + target.packed + struct.pack("!HH", *both)


FOUR = addresses(IPv4Address("192.0.2.7"), IPv4Address("192.0.2.1"), 56324, 443)

EXAMPLES = [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", "192.0.2.7", "http"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "2001:db8::7", "http"),
    (b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "http"),
    (b"PROXY UNKNOWN\r\n", UNKNOWN_ADDRESS, "http"),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", UNKNOWN_ADDRESS, "http"),
    (binary(PROXY, V4, FOUR), "192.0.2.7", "http"),
    (binary(PROXY, 0x12, FOUR), "192.0.2.7", "http"),
    (binary(PROXY, V6, addresses(IPv6Address("::1"), IPv6Address("::2"), 1, 2)), "::1", "http"),
    (binary(PROXY, UNIX, b"/run/in".ljust(108, b"\0") * 2), UNKNOWN_ADDRESS, "http"),
    (binary(PROXY, 0x00, b""), UNKNOWN_ADDRESS, "http"),
    (binary(LOCAL, 0x00, b""), None, "http"),
    (binary(LOCAL, V4, FOUR), None, "http"),
    (binary(LOCAL, V4, b""), None, "http"),
    (binary(PROXY, V4, FOUR + tlv(0x03, b"\1\2\3\4") + tlv(0x04, b"")), "192.0.2.7", "http"),
    (binary(PROXY, V4, FOUR + tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))), "192.0.2.7", "https"),
    (binary(PROXY, V4, FOUR + tlv(0x20, b"\0\0\0\0\0")), "192.0.2.7", "http"),
    (binary(PROXY, V4, FOUR + tlv(0x20, b"\x01")), "192.0.2.7", "http"),
]  # fmt: skip

BROKEN = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00",
    b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\rGET",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
    b"PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 elsewhere 1 2\r\n",
    b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN \x00\r\n",
    b"PROXY UNKNOWN " + b"x" * 93,
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    binary(0x11, V4, FOUR),
    binary(0x22, V4, FOUR),
    binary(PROXY, 0x13, FOUR),
    binary(PROXY, 0x41, FOUR),
    binary(PROXY, V4, FOUR[:-1]),
    binary(PROXY, V6, FOUR),
    binary(PROXY, V4, FOUR + b"\x04"),
    binary(PROXY, V4, FOUR + b"\x04\x00\x05abcd"),
    binary(PROXY, V4, FOUR + tlv(0x04, bytes(MAX_HEADER - 16 - 12 - 3 + 1))),
    SIGNATURE + bytes((PROXY, V4, 0xFF, 0xFF)),
]


@pytest.mark.parametrize(("header", "address", "scheme"), EXAMPLES)
def test_it_says_who_the_client_is_and_where_it_ends(header: bytes, address: str | None, scheme: str) -> None:
    assert parse(header) == parse(header + b"GET / HTTP/1.1\r\n\r\n") == Announcement(len(header), address, scheme)


@pytest.mark.parametrize(("header", "address", "scheme"), EXAMPLES)
def test_it_may_come_in_any_pieces(header: bytes, address: str | None, scheme: str) -> None:
    for size in range(len(header)):
        assert parse(header[:size]) is None


@pytest.mark.parametrize("data", BROKEN)
def test_whatever_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(HeaderError):
        parse(data)


def test_the_longest_one_is_read() -> None:
    header = binary(PROXY, V4, FOUR + tlv(0x04, bytes(MAX_HEADER - 16 - 12 - 3)))
    assert parse(header) == Announcement(MAX_HEADER, "192.0.2.7")


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), ports, ports, st.binary(max_size=20))
def test_every_version_4_address_passes_in_both_versions(
    source: IPv4Address, target: IPv4Address, one: int, two: int, behind: bytes
) -> None:
    line = f"PROXY TCP4 {source} {target} {one} {two}\r\n".encode()
    assert parse(line + behind) == Announcement(len(line), str(source))
    header = binary(PROXY, V4, addresses(source, target, one, two))
    assert parse(header + behind) == Announcement(len(header), str(source))


@given(st.ip_addresses(v=6).filter(lambda a: not a.scope_id), st.ip_addresses(v=6), ports, ports)
def test_every_version_6_address_passes_in_both_versions(
    source: IPv6Address, target: IPv6Address, one: int, two: int
) -> None:
    # Not target.exploded: Python 3.13 writes some with an IPv4 address at the end, longer than a line may be.
    in_full = ":".join(f"{int.from_bytes(target.packed[at : at + 2]):04x}" for at in range(0, 16, 2))
    for target_form in (str(target), in_full):
        line = f"PROXY TCP6 {source} {target_form} {one} {two}\r\n".encode()
        assert parse(line) == Announcement(len(line), str(source))
    header = binary(PROXY, V6, addresses(source, target, one, two))
    assert parse(header) == Announcement(len(header), str(source))


starts = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + bytes((PROXY, V4))])


@given(starts, st.binary(max_size=700))
def test_whatever_comes_it_is_read_refused_or_waited_for_within_its_bound(start: bytes, rest: bytes) -> None:
    data = start + rest
    try:
        announcement = parse(data)
    except HeaderError:
        return
    if announcement is None:
        assert len(data) < MAX_HEADER
        return
    assert announcement.size <= min(MAX_HEADER, len(data))
    assert parse(data[: announcement.size]) == announcement
    assert announcement.address in (None, UNKNOWN_ADDRESS) or ip_address(announcement.address)
