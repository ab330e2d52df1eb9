"""What stands in the place of an app that cannot be served: the mistake, for handshakes and requests alike."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.ws_service.live import ask, serving
from ws_service.app import Service
from ws_service.hosting.broken_app import BrokenApp


def test_handshakes_and_requests_get_503_with_the_mistake() -> None:
    with serving(Service(BrokenApp("line 3 of app.py is wrong"))) as address:
        for path in ("/page", "/healthz"):
            status, answer = ask(address, "GET", path)
            assert (status, answer["message"]) == (503, "line 3 of app.py is wrong")
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{address}/live"):
            pass
        response = refused.value.response
        assert response.status_code == 503 and b"line 3 of app.py is wrong" in (response.body or b"")
