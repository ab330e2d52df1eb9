"""Work on an exchange comes to its end, whatever happens."""

from __future__ import annotations

import pytest

from proxy.errors import Outcome
from proxy.gateway.forward import OutgoingRequest
from tests.proxy.listening import listening

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_client_that_leaves_while_it_is_answered_is_no_error_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The write finds out before the loop tells anybody; it takes luck on a real socket, so the way out is a fake."""

    async def forward(request: OutgoingRequest, *_: object, **__: object) -> None:
        request.client.cut(reset=False)
        request.client.write(b"too late")

    monkeypatch.setattr("proxy.gateway.handler.forward", forward)
    async with listening() as gateway:
        assert await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        exchange = await gateway.ended()
        assert (exchange.status, exchange.outcome) == (499, Outcome.CLIENT_GONE)
    assert not caplog.records
