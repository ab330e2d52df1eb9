"""One line per exchange: complete, with no secrets in it, and nothing in it that a stranger could break it with."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Outcome
from proxy.exchange.access_log import LINES, AccessLog, combined_line, common_line, json_line, text_line, trace_id
from proxy.exchange.record import Exchange

WHEN = 1_700_000_000.0
AT_THE_BEGINNING, AT_THE_END = "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.250Z"


def exchange(**fields: Any) -> Exchange:
    record = Exchange(id="e1", when=WHEN, began=100.0)
    values = {
        "client": "203.0.113.9",
        "method": "GET",
        "target": "/page",
        "host": "dash.example",
        "status": 200,
        "upstream": "dash",
        "route": "http",
        "received": 0,
        "sent": 512,
        "outcome": Outcome.SERVED,
        "ended": 100.25,
    }
    for name, value in (values | fields).items():
        setattr(record, name, value)
    return record


def tunnel(**fields: Any) -> Exchange:
    values = {"target": "/live", "status": 101, "upstream": "ws", "route": "websocket", "is_tunnel": True}
    return exchange(**(values | fields))


CLOSED: dict[str, Any] = {
    "outcome": Outcome.CLIENT_CLOSED,
    "closed_by": "client",
    "close_code": 1001,
    "received": 42,
    "sent": 4096,
}


def test_a_line_for_people_tells_what_was_asked_and_what_became_of_it() -> None:
    assert text_line(exchange()) == (
        f'{AT_THE_END} 203.0.113.9 "GET /page" 200 -> dash (http) 250.0ms in=0 out=512 served id=e1'
    )


def test_a_line_for_machines_is_one_json_object() -> None:
    line = json_line(exchange())
    assert "\n" not in line
    assert json.loads(line) == {
        "time": AT_THE_END,
        "id": "e1",
        "event": "request",
        "client": "203.0.113.9",
        "method": "GET",
        "target": "/page",
        "host": "dash.example",
        "status": 200,
        "upstream": "dash",
        "route": "http",
        "outcome": "served",
        "duration": 0.25,
        "received": 0,
        "sent": 512,
    }


def test_where_an_upstream_has_several_addresses_the_line_names_the_one() -> None:
    record = exchange(address="http://127.0.0.1:8051")
    assert " 200 -> dash at http://127.0.0.1:8051 (http) 250.0ms " in text_line(record)
    assert json.loads(json_line(record))["address"] == "http://127.0.0.1:8051"


def test_a_request_that_had_to_wait_for_its_upstream_says_how_long() -> None:
    assert " 250.0ms held=200.0ms in=0 " in text_line(exchange(held=0.2))
    assert json.loads(json_line(exchange(held=0.2)))["held"] == 0.2


def test_a_line_for_machines_has_the_first_byte_and_the_limit_where_there_is_one() -> None:
    told = json.loads(json_line(exchange(responded=100.125, limit="in_flight")))
    assert (told["first_byte"], told["limit"]) == (0.125, "in_flight")


def test_a_tunnel_has_a_line_when_it_opens() -> None:
    record = tunnel(ended=None, outcome=Outcome.BUG)
    assert text_line(record) == (f'{AT_THE_BEGINNING} 203.0.113.9 "GET /live" 101 tunnel open -> ws (websocket) id=e1')
    told = json.loads(json_line(record))
    assert told["event"] == "tunnel open"
    assert told["time"] == AT_THE_BEGINNING
    assert not {"outcome", "duration", "received", "sent", "closed_by", "close_code"} & set(told)


def test_the_line_of_a_handshake_that_had_to_wait_has_the_time_at_which_it_opened() -> None:
    """Its head began a quarter of a second earlier."""
    record = tunnel(ended=None, opened=100.25, outcome=Outcome.BUG)
    assert text_line(record).startswith(f"{AT_THE_END} ")
    assert json.loads(json_line(record))["time"] == AT_THE_END


def test_a_tunnel_has_a_line_when_it_closes_that_says_who_ended_it() -> None:
    record = tunnel(**CLOSED)
    assert text_line(record) == (
        f'{AT_THE_END} 203.0.113.9 "GET /live" 101 tunnel closed -> ws (websocket) 250.0ms in=42 out=4096 '
        "client closed by=client code=1001 id=e1"
    )
    told = json.loads(json_line(record))
    assert (told["event"], told["outcome"]) == ("tunnel closed", "client closed")
    assert (told["closed_by"], told["close_code"]) == ("client", 1001)
    assert (told["received"], told["sent"], told["duration"]) == (42, 4096, 0.25)


def test_a_tunnel_that_was_cut_has_no_close_code() -> None:
    record = tunnel(**CLOSED | {"outcome": Outcome.RESET, "close_code": None, "closed_by": "upstream"})
    assert "reset by=upstream code=- id=" in text_line(record)
    assert "close_code" not in json.loads(json_line(record))


def test_a_refused_request_names_no_upstream() -> None:
    record = exchange(status=400, upstream="", route="", outcome=Outcome.REFUSED, detail="No such thing.", sent=90)
    assert text_line(record).endswith('"GET /page" 400 250.0ms in=0 out=90 refused [No such thing.] id=e1')
    told = json.loads(json_line(record))
    assert not {"upstream", "route"} & set(told)
    assert told["detail"] == "No such thing."


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_word_in_both_kinds_of_line(outcome: Outcome) -> None:
    for record in (exchange(outcome=outcome), tunnel(**CLOSED | {"outcome": outcome})):
        assert f" {outcome.value} " in text_line(record)
        assert json.loads(json_line(record))["outcome"] == outcome.value


def test_the_kinds_of_line_have_the_names_that_the_configuration_uses() -> None:
    assert LINES == {"text": text_line, "json": json_line, "combined": combined_line, "common": common_line}


# -- the forms of Apache


FIELDS = {b"referer": [b"https://dash.example/a?token=s3cr3t"], b"user-agent": [b'Mozilla/5.0 "x"']}


def test_a_common_line_is_what_tools_for_apache_read() -> None:
    assert common_line(exchange()) == ('203.0.113.9 - - [14/Nov/2023:22:13:20 +0000] "GET /page HTTP/1.1" 200 512')
    assert common_line(exchange(sent=0, version=(1, 0), status=304)).endswith('"GET /page HTTP/1.0" 304 -')
    assert common_line(exchange(method="-", target="-", status=400, sent=90)).endswith('"-" 400 90')


def test_a_combined_line_has_referer_and_user_agent_too_and_no_secret() -> None:
    assert combined_line(exchange(target="/page?token=s3cr3t", fields=FIELDS)) == (
        '203.0.113.9 - - [14/Nov/2023:22:13:20 +0000] "GET /page?token=*** HTTP/1.1" 200 512 '
        '"https://dash.example/a?token=***" "Mozilla/5.0 \\x22x\\x22"'
    )
    assert combined_line(exchange()).endswith(' 200 512 "-" "-"')


@pytest.mark.parametrize("form", ["common", "combined"])
async def test_in_the_forms_of_apache_a_websocket_has_one_line_at_its_end(form: str) -> None:
    sink = Sink()
    log = AccessLog(form, sink.write)
    log(tunnel(ended=None, outcome=Outcome.BUG))
    log(tunnel(**CLOSED))
    log.flush()
    (line,) = b"".join(sink.pieces).splitlines()
    assert b'"GET /live HTTP/1.1" 101 4096' in line


# -- traces


TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_id_of_a_trace_is_in_the_lines_for_people_and_for_machines() -> None:
    traced = exchange(fields={b"traceparent": [TRACE]})
    assert text_line(traced).endswith(" served trace=4bf92f3577b34da6a3ce929d0e0e4736 id=e1")
    assert json.loads(json_line(traced))["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert "trace" not in text_line(exchange()) + json_line(exchange())


@pytest.mark.parametrize(
    "values",
    [
        [TRACE, TRACE],
        [TRACE + b"x"],
        [TRACE.upper()],
        [TRACE.replace(b"00-4", b"ff-4")],
        [b"00-" + b"0" * 32 + TRACE[35:]],
        [TRACE.replace(b"00f067aa0ba902b7", b"0" * 16)],
        [b"a" * 10_000],
        [b""],
    ],
)
def test_a_traceparent_that_is_none_is_not_written(values: list[bytes]) -> None:
    assert trace_id(exchange(fields={b"traceparent": values})) == ""


def test_a_later_version_of_traceparent_is_read_as_far_as_it_is_known() -> None:
    assert trace_id(exchange(fields={b"traceparent": [b"cc" + TRACE[2:] + b"-what-comes"]})) == TRACE[3:35].decode()


# -- secrets


def test_a_secret_in_a_target_is_in_no_line() -> None:
    record = exchange(target="/live?room=1&token=s3cr3t&x=2")
    for write in LINES.values():
        assert "/live?room=1&token=***&x=2" in write(record)


def test_of_what_is_long_the_beginning_is_written() -> None:
    fields = {b"referer": [b"/" + b"r" * 9000], b"user-agent": [b"u" * 9000]}
    record = exchange(target="/" + "a" * 16_000, method="M" * 9000, detail="d" * 9000, fields=fields)
    for write in LINES.values():
        assert len(write(record)) < 5000


def test_no_client_can_forge_the_rest_of_a_line() -> None:
    line = text_line(exchange(target='/a"\\ 200 -> ws (x) served id=e0'))
    assert line.count('"') == 2
    assert '"GET /a\\x22\\x5c 200 -> ws' in line


# -- what a stranger can write

STRANGE = ["/a\nFAKE", "/a\r\n", "/\x1b[2Jx", "/\x00", "/\x7f", "/\x85next", "/\xa0", "/\xff", "/\u2028line", "/\ud800"]


@pytest.mark.parametrize("target", STRANGE)
def test_a_target_cannot_break_the_line(target: str) -> None:
    line = text_line(exchange(target=target))
    assert line.isascii() and line.isprintable()
    assert len(line.splitlines()) == 1
    assert len(json_line(exchange(target=target)).splitlines()) == 1


@given(
    st.fixed_dictionaries(
        {name: st.text(st.characters(max_codepoint=255)) for name in ("client", "method", "target", "host", "detail")}
    ),
    st.booleans(),
)
def test_nothing_that_comes_from_outside_can_break_the_line(strange: dict[str, str], is_tunnel: bool) -> None:
    """``target`` and ``host`` are what a client wrote, ``detail`` may quote what an upstream sent."""
    for write in LINES.values():
        fields = {name: [strange["detail"].encode("latin-1")] for name in (b"referer", b"user-agent", b"traceparent")}
        line = write(exchange(**strange, is_tunnel=is_tunnel, fields=fields))
        assert line.isascii() and line.isprintable()
        assert len(line.splitlines()) == 1


@given(st.text(st.characters(max_codepoint=255)))
def test_a_machine_reads_what_was_there(text: str) -> None:
    assert json.loads(json_line(exchange(host=text or "x")))["host"] == (text or "x")


# -- handed over


def handed_over(**fields: Any) -> Exchange:
    values = {"target": "/live?token=x", "upstream": "ws", "route": "websocket", "is_handed_off": True}
    return exchange(**(values | fields))


def test_a_socket_that_is_handed_over_has_a_line_when_it_goes_and_one_when_it_ends() -> None:
    went = handed_over(status=0, ended=None, outcome=Outcome.HANDED_OFF)
    assert text_line(went) == (
        f'{AT_THE_BEGINNING} 203.0.113.9 "GET /live?token=***" - handed off -> ws (websocket) id=e1'
    )
    ended = handed_over(status=101, **CLOSED)
    assert text_line(ended) == (
        f'{AT_THE_END} 203.0.113.9 "GET /live?token=***" 101 hand-off closed -> ws (websocket) '
        "250.0ms in=42 out=4096 client closed by=client code=1001 id=e1"
    )
    assert json.loads(json_line(went))["event"] == "handed off"
    assert "status" not in json.loads(json_line(went)), "the service has not said it yet"
    told = json.loads(json_line(ended))
    assert (told["event"], told["status"], told["close_code"]) == ("hand-off closed", 101, 1001)


# -- writing


class Sink:
    """What the log writes, and in how many pieces."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.written = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        self.written.set()


def ids(lines: bytes) -> list[bytes]:
    return [line.rpartition(b"id=")[2] for line in lines.splitlines()]


async def test_lines_are_written_together_and_soon() -> None:
    sink = Sink()
    log = AccessLog("text", sink.write)
    log(exchange(id="a"))
    log(exchange(id="b"))
    assert sink.pieces == []
    async with asyncio.timeout(5):
        await sink.written.wait()
    assert [ids(piece) for piece in sink.pieces] == [[b"a", b"b"]]


async def test_many_lines_do_not_wait() -> None:
    sink = Sink()
    log = AccessLog("text", sink.write)
    for _ in range(5000):
        log(exchange())
    log.flush()
    assert 5 <= len(sink.pieces) <= 50
    assert b"".join(sink.pieces).count(b"\n") == 5000


async def test_the_form_can_change_while_lines_are_held() -> None:
    sink = Sink()
    log = AccessLog("text", sink.write)
    log(exchange(id="a"))
    log.reconfigure("json")
    log(exchange(id="b"))
    log.reconfigure("off")
    log(exchange(id="c"))
    log.flush()
    first, second = b"".join(sink.pieces).splitlines()
    assert ids(first) == [b"a"]
    assert json.loads(second)["id"] == "b"


async def test_a_log_that_is_off_writes_nothing() -> None:
    sink = Sink()
    log = AccessLog("off", sink.write)
    log(exchange())
    log.flush()
    assert sink.pieces == []
