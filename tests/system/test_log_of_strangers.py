"""What strangers send, in the log of the process: no secret, no line of theirs, and not much of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.system.conftest import Shared
from tests.system.gateway import Gateway, serving
from tests.wire.connection import Wire
from tests.wire.messages import answer, handshake, request


def play(wire: Wire) -> None:
    while True:
        wire.read_message()
        wire.send(answer("200 OK", body=b"hi"))


@pytest.fixture(scope="module", params=["text", "json"])
def gateway(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with serving(play) as dash:
        yield shared.gateway(dash=dash, access_log=request.param)


def said_of(gateway: Gateway, data: bytes) -> str:
    """Send a request; return the line that the log has of it."""
    before = len(gateway.process.output)
    gateway.ask(data)
    gateway.process.wait_for(r"(?: id=|\"id\": )", after=before)
    (line,) = [line for line in gateway.process.output[before:].splitlines() if re.search(r"\bid=|\"id\": ", line)]
    return line


@pytest.mark.parametrize(
    "query",
    ["tok%65n=s3cr3t", "token%5B%5D=s3cr3t", "a=1;token=s3cr3t", "tok%2565n=s3cr3t", "token%3Ds3cr3t", "+token=s3cr3t"],
)
def test_a_secret_is_in_no_line_however_its_name_is_written(gateway: Gateway, query: str) -> None:
    assert "s3cr3t" not in said_of(gateway, request(f"GET /x?{query}"))
    assert "s3cr3t" not in said_of(gateway, request(f"GET http://me:s3cr3t@example.com/x?{query}"))
    assert "s3cr3t" not in said_of(gateway, handshake(f"/live?{query}"))


def test_a_long_target_is_a_short_line(gateway: Gateway) -> None:
    line = said_of(gateway, request("GET /" + "a&=" * 5000))
    assert len(line) < 2500
    assert "...(15001 characters)" in line


def test_a_target_ends_no_field_and_no_line(gateway: Gateway) -> None:
    line = said_of(gateway, request('GET /x"\\%0d%0a%1b[31m'))
    if line.startswith("{"):
        assert json.loads(line)["target"] == '/x"\\%0d%0a%1b[31m' or json.loads(line)["status"] == 400
    else:
        assert line.count('"') == 2
