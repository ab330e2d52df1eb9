"""W3C Trace Context: ``traceparent`` and ``tracestate`` reach the upstream as they came, and the log has the trace."""

from __future__ import annotations

import pytest

from tests.system.conftest import MakeGateway
from tests.system.gateway import Origin
from tests.wire.messages import Message, answer, chunks, handshake, request, switching

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FIELDS = (f"Traceparent: 00-{TRACE}-00f067aa0ba902b7-01", "tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")


@pytest.mark.parametrize(
    "asked",
    [
        request("GET /", *FIELDS),
        request("POST /", *FIELDS, "Transfer-Encoding: chunked", body=chunks(b"{}")),
    ],
    ids=["fast path", "ordinary path"],
)
def test_the_fields_pass_through_http_and_the_line_has_the_trace(
    make_gateway: MakeGateway, origin: Origin, asked: bytes
) -> None:
    gateway = make_gateway(dash=origin.url)
    client = gateway.dial()
    client.send(request("GET /first"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK"))
    client.read_message()
    client.send(asked)  # on warm connections, which the fast path needs
    got = upstream.read_message()
    upstream.send(answer("200 OK"))
    client.read_message()
    assert {f"{name}: {value}" for name, value in got.fields} >= set(FIELDS)
    gateway.process.wait_for(rf" 200 -> dash .* trace={TRACE} id=")


def test_the_fields_pass_through_a_handshake_and_both_lines_have_the_trace(
    make_gateway: MakeGateway, origin: Origin
) -> None:
    gateway = make_gateway(dash=origin.url)
    client = gateway.dial()
    client.send(handshake("/live", *FIELDS))
    upstream = origin.accept()
    got = Message(upstream.read_head())
    upstream.send(switching())
    client.read_head()
    assert {f"{name}: {value}" for name, value in got.fields} >= set(FIELDS)
    client.close()
    upstream.close()
    gateway.process.wait_for(rf"tunnel open .* trace={TRACE} id=")
    gateway.process.wait_for(rf"tunnel closed .* trace={TRACE} id=")
