"""The one place where an error becomes an answer."""

from __future__ import annotations

import json
from typing import Any

from proxy.errors import Outcome
from tests.processes import free_port
from tests.proxy.listening import listening

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AT_ONCE: dict[str, Any] = {"timeouts": {"hold": 0}}
NAVIGATION = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html,*/*\r\nSec-Fetch-Mode: navigate\r\n\r\n"
CALLBACK = (
    b"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def test_a_navigation_gets_a_page_that_names_the_upstream_and_tries_again() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(NAVIGATION)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in answer
        assert b"Retry-After: " in answer
        assert b"The upstream dash cannot be reached: connection refused." in body_of(answer)
        assert b"gateway.upstreams.dash" in body_of(answer)
        assert b'http-equiv="refresh"' in body_of(answer)
        assert b"<h1>Dash is starting</h1>" in body_of(answer)


async def test_everything_else_gets_json() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(CALLBACK)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nContent-Type: application/json\r\n" in answer
        assert json.loads(body_of(answer))["error"] == ["The upstream dash cannot be reached: connection refused."]
        exchange = await gateway.ended()
        assert exchange.outcome is Outcome.UPSTREAM_UNREACHABLE
        assert exchange.first_byte is not None
        assert "http://127.0.0.1:" in exchange.detail, "the log names the address, the answer does not"
        assert b"127.0.0.1" not in answer


async def test_a_fetch_that_would_take_html_is_no_navigation() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(NAVIGATION.replace(b"navigate", b"cors"))
        assert b"Content-Type: application/json" in answer


async def test_an_error_to_head_has_no_body() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503")
        assert body_of(answer) == b""


async def test_the_connection_survives_an_upstream_that_does_not() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        async with gateway.client() as client:
            for _ in range(2):
                await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await client.read_head()
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                assert head.startswith(b"HTTP/1.1 503")
                await client.read(length)
