"""Nothing ambiguous is forwarded: every hostile request of the corpus, in every position, against a strict origin.

Each request comes alone, behind another one on a kept connection, in one
packet with another one, and cut in pieces; and each has a request for
``/smuggled`` behind it, which must reach the origin only where every reading
of the stream says that it is a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, Origin, running_gateway
from tests.wire.connection import Wire
from tests.wire.hostile import H2C, HANDSHAKES, PASSED, REFUSED, Case, get, post, shake
from tests.wire.reading import Request, arrived, end_to_end, origin_form, read_public
from tests.wire.strict_origin import Origins, Seen, strict_origins

FIRST = get(line=b"GET /first HTTP/1.1")
SMUGGLED = get(line=b"GET /smuggled HTTP/1.1")
PING = get(line=b"GET /ping HTTP/1.1")

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


@dataclass
class Rig:
    """A gateway between a client and two strict origins, and a second client whose answers tell how far it has read."""

    gateway: Gateway
    origins: Origins
    pinging: Wire

    def settle(self) -> None:
        """Return when the gateway has read whatever was sent to it before, and the origins what it sent on.

        The gateway's loop takes in all that is there before it can answer a question that came later.
        """
        self.pinging.send(PING)
        assert self.pinging.read_message().status == 200

    @property
    def seen(self) -> list[Seen]:
        self.settle()
        self.origins.settle()
        return [seen for seen in self.origins.seen if seen.request.target != b"/ping"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with (
        strict_origins() as origins,
        running_gateway(tmp_path_factory.mktemp("gateway"), dash=origins.dash.url, ws=origins.ws.url) as gateway,
        Wire.to(gateway.port) as pinging,
    ):
        yield Rig(gateway, origins, pinging)


@pytest.fixture
def rig(running: Rig) -> Rig:
    running.origins.forget()
    return running


def is_refusal(status: int) -> bool:
    return 400 <= status < 500 or status in (501, 505)


def check_refused(rig: Rig, wire: Wire, before: int) -> None:
    """Check that behind ``before`` good answers comes one refusal, that it is the last, and that no origin saw it."""
    answers = [(int(m[1]), m[2].lower()) for m in STATUS.finditer(wire.read_to_end())]
    assert [status for status, _ in answers[:-1]] == [200] * before
    status, fields = answers[-1]
    assert is_refusal(status), status
    assert b"connection: close\r\n" in fields
    seen = rig.seen
    assert [s for s in seen if s.request.faults] == []
    assert [s.request.target for s in seen if s.request.is_whole] == [b"/first"] * before


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_could_be_read_in_two_ways_reaches_no_upstream(rig: Rig, case: Case) -> None:
    for behind in (b"", SMUGGLED):
        with Wire.to(rig.gateway.port) as wire:
            wire.send(case.raw + behind)
            check_refused(rig, wire, 0)
            rig.origins.forget()
        with Wire.to(rig.gateway.port) as wire:
            wire.send(FIRST)
            assert wire.read_message().status == 200
            rig.origins.forget()
            wire.send(case.raw + behind)
            check_refused(rig, wire, 0)
            rig.origins.forget()
    with Wire.to(rig.gateway.port) as wire:
        wire.send(FIRST + case.raw + SMUGGLED)
        check_refused(rig, wire, 1)


def cuts_of(raw: bytes) -> list[int]:
    """Return places where a reader could stumble: in and around the first and last line ends, and in the middle."""
    ends = [match.start() for match in re.finditer(rb"\r|\n", raw)]
    places = {1, len(raw) // 2, len(raw) - 1}
    for end in (*ends[:2], *ends[-6:]):
        places |= {end, end + 1}
    return sorted(place for place in places if 0 < place < len(raw))


def send_cut(rig: Rig, wire: Wire, data: bytes, cuts: list[int]) -> None:
    try:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            wire.send(data[start:end])
            rig.settle()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it was refused before its end


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_cut_in_pieces_it_reaches_no_upstream_either(rig: Rig, case: Case) -> None:
    """The origin may have begun to read a body that breaks off; a request it never was."""
    with Wire.to(rig.gateway.port) as wire:
        send_cut(rig, wire, case.raw, cuts_of(case.raw))
        data, _ = wire.read_to_cut()
        answers = [int(match[1]) for match in STATUS.finditer(data)]
        assert len(answers) == 1
        assert is_refusal(answers[0])
    seen = rig.seen
    assert [s for s in seen if s.request.faults or s.request.is_whole] == []


BODIES_CUT_SHORT = [case for case in REFUSED if b"\r\n\r\n3\r\nabc\r\n0" in case.raw and len(case.raw) < 1000]


@pytest.mark.parametrize("case", BODIES_CUT_SHORT, ids=lambda case: case.name)
def test_byte_by_byte_it_reaches_no_upstream_either(rig: Rig, case: Case) -> None:
    with Wire.to(rig.gateway.port) as wire:
        send_cut(rig, wire, case.raw, list(range(1, len(case.raw))))
        data, _ = wire.read_to_cut()
        assert [is_refusal(int(match[1])) for match in STATUS.finditer(data)] == [True]
    assert [s for s in rig.seen if s.request.faults or s.request.is_whole] == []


def reading_of(raw: bytes) -> Request:
    request = read_public(raw)
    assert request is not None
    assert request.is_whole
    assert request.faults == []
    return request


def check_the_same(seen: Seen, asked: Request) -> None:
    """Check that a request at the origin is the one that the client wrote, and nothing else."""
    got = seen.request
    assert got.faults == []
    assert got.is_whole
    assert (got.method, got.target, got.body) == (asked.method, origin_form(asked), asked.body)
    assert arrived(got) == end_to_end(asked)
    assert got.all(b"x-forwarded-for") == [b"127.0.0.1"]


@pytest.mark.parametrize("how", ["alone", "behind another", "pipelined", "cut"])
@pytest.mark.parametrize("case", PASSED, ids=lambda case: case.name)
def test_what_is_only_odd_arrives_as_one_request_that_all_programs_read_the_same(
    rig: Rig, case: Case, how: str
) -> None:
    asked = reading_of(case.raw)
    with Wire.to(rig.gateway.port) as wire:
        if how == "behind another":
            wire.send(FIRST)
            assert wire.read_message().status == 200
        if how == "cut":
            send_cut(rig, wire, case.raw + SMUGGLED, cuts_of(case.raw + SMUGGLED))
        else:
            wire.send((FIRST if how == "pipelined" else b"") + case.raw + SMUGGLED)
        count = (how == "pipelined") + 1 + (not case.closes)
        answers = [wire.read_message().status for _ in range(count)]
        assert answers == [200] * count
        if case.closes:
            assert wire.read_to_cut()[0] == b""
    seen = [s for s in rig.seen if s.request.target != b"/first"]
    check_the_same(seen[0], asked)
    assert [s.request.target for s in seen[1:]] == ([] if case.closes else [b"/smuggled"])
    assert arrived(seen[-1].request) == end_to_end(reading_of(SMUGGLED) if not case.closes else asked)


@pytest.mark.parametrize("how", ["alone", "behind another", "pipelined", "cut"])
@pytest.mark.parametrize("case", HANDSHAKES, ids=lambda case: case.name)
def test_a_good_handshake_is_the_last_request_of_its_connection(rig: Rig, case: Case, how: str) -> None:
    asked = reading_of(case.raw)
    with Wire.to(rig.gateway.port) as wire:
        if how == "behind another":
            wire.send(FIRST)
            wire.read_message()
        if how == "cut":
            send_cut(rig, wire, case.raw + SMUGGLED, cuts_of(case.raw + SMUGGLED))
        else:
            wire.send((FIRST if how == "pipelined" else b"") + case.raw + SMUGGLED)
        if how == "pipelined":
            wire.read_message()
        assert wire.read_message(has_body=False).status == 101
        assert wire.read(len(SMUGGLED)) == SMUGGLED, "the origin's echo: these are its bytes, not a request"
        (handshake,) = [s for s in rig.seen if s.request.target != b"/first"]
        check_the_same(handshake, asked)
        assert (handshake.upstream, handshake.is_tunnel, bytes(handshake.tunnel)) == ("ws", True, SMUGGLED)


@pytest.mark.parametrize("status", [b"403", b"426", b"401"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_behind_a_refused_handshake_every_request_is_one_of_its_own(rig: Rig, status: bytes, is_cut: bool) -> None:
    """Scenario 1 of websocket-smuggle: a front that tunnels on intent lets the rest through unread."""
    refused = shake(line=b"GET /refuse/%b HTTP/1.1" % status)
    ordinary = post(b"Content-Length: 3", line=b"POST /next HTTP/1.1")
    stream = refused + ordinary + refused + SMUGGLED
    with Wire.to(rig.gateway.port) as wire:
        send_cut(rig, wire, stream, list(range(1, len(stream), 7)) if is_cut else [])
        answers = [wire.read_message().status for _ in range(4)]
        assert answers == [int(status), 200, int(status), 200]
    seen = rig.seen
    assert [s.request.target for s in seen if s.upstream == "ws"] == [b"/refuse/" + status] * 2
    assert [s.request.target for s in seen if s.upstream == "dash"] == [b"/next", b"/smuggled"]
    assert [s for s in seen if s.request.faults] == []


@pytest.mark.parametrize("bad", [get(b"A: b\rc"), post(b"Content-Length: 3", b"Content-Length: 4"), get(b"Host: x")])
def test_behind_a_refused_handshake_what_is_ambiguous_is_refused_too(rig: Rig, bad: bytes) -> None:
    with Wire.to(rig.gateway.port) as wire:
        wire.send(shake(line=b"GET /refuse/403 HTTP/1.1") + bad + SMUGGLED)
        answers = [int(match[1]) for match in STATUS.finditer(wire.read_to_end())]
        assert answers == [403, 400]
    assert [s.request.target for s in rig.seen] == [b"/refuse/403"]


@pytest.mark.parametrize(
    "offer", [get(*H2C), post(*H2C, b"Content-Length: 3"), get(b"Upgrade:", b"Connection: Upgrade")]
)
def test_an_offer_to_upgrade_is_ignored_and_the_connection_goes_on(rig: Rig, offer: bytes) -> None:
    """Nobody may speak another protocol before the 101 (RFC 9110, section 7.8): what follows is a request."""
    with Wire.to(rig.gateway.port) as wire:
        wire.send(offer + SMUGGLED)
        assert [wire.read_message().all("connection") for _ in range(2)] == [[], []]
        wire.send(offer)
        assert wire.read_message().status == 200
    assert [s.request.target for s in rig.seen] == [b"/case", b"/smuggled", b"/case"]
    assert [s for s in rig.seen if s.request.faults] == []


def test_a_trailer_never_becomes_a_field_of_the_next_request(rig: Rig) -> None:
    """The parser keeps the last one for the head that follows; behind a shared proxy that is another user's request."""
    first = post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nCookie: evil\r\nX-Last: evil\r\n\r\n")
    with Wire.to(rig.gateway.port) as wire:
        wire.send(first + SMUGGLED)
        assert [wire.read_message().status for _ in range(2)] == [200, 200]
        wire.send(first)
        assert wire.read_message().status == 200
        wire.send(SMUGGLED)
        assert wire.read_message().status == 200
    for seen in rig.seen:
        assert b"evil" not in seen.request.raw


@pytest.fixture
def played(origin: Origin, make_gateway: MakeGateway) -> Gateway:
    return make_gateway(dash=origin.url)


BEGUN = post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n")


@pytest.mark.parametrize("bad", [b"X\r\n", b"3\r\nabcd", b"0\r\nHost: x\r\n\r\n", b"0\r\nA : b\r\n\r\n"])
def test_a_body_that_breaks_off_is_answered_at_once_and_its_upstream_dropped(
    played: Gateway, origin: Origin, bad: bytes
) -> None:
    """The parser tells nobody; the request would wait for the rest of its body until it is given up."""
    client = played.dial()
    client.send(BEGUN)
    upstream = origin.accept()
    upstream.read_until(b"3\r\nabc\r\n")
    client.send(bad + SMUGGLED)
    got = client.read_message()
    assert (got.status, got.all("connection")) == (400, ["close"])
    assert client.read_to_cut()[0] == b""
    assert upstream.read_to_cut()[0] in (b"", b"3\r\nabc\r\n"), "and never an end"
    assert not origin.has_visitor()


def test_a_body_that_breaks_off_under_an_answer_cuts_it(played: Gateway, origin: Origin) -> None:
    client = played.dial()
    client.send(BEGUN)
    upstream = origin.accept()
    upstream.read_until(b"3\r\nabc\r\n")
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")
    assert client.read_until(b"begun")
    client.send(b"X\r\n" + SMUGGLED)
    assert client.read_to_cut()[0] == b""
    assert upstream.read_to_cut()[0] == b""


def test_a_body_that_breaks_off_behind_its_answer_ends_the_connection(played: Gateway, origin: Origin) -> None:
    client = played.dial()
    client.send(BEGUN)
    upstream = origin.accept()
    upstream.read_until(b"3\r\nabc\r\n")
    upstream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    got = client.read_message()
    assert (got.status, got.all("connection")) == (413, ["close"])
    client.send(b"X\r\n" + SMUGGLED)
    assert client.read_to_cut()[0] == b""
    assert not origin.has_visitor()
