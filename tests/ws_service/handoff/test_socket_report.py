"""What is reported of an adopted socket's end. Real connections are in test_adopted.py and test_adopted_hub.py."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.frames import Close

from ws_service.handoff.protocol import Ending, Socket
from ws_service.handoff.socket_report import SocketReport

ABOUT = Socket("x1", "10.0.0.7", "/", "example.com", "websocket", 1.0)


def connection(**values: Any) -> Any:
    return SimpleNamespace(
        **{"status": 101, "closed_with": None, "was_reset": False, "has_client_ended": False, **values}
    )


def library(received: int | None = None, sent: int | None = None, *, received_first: bool = False) -> Any:
    frames = [None if code is None else Close(code, "") for code in (received, sent)]
    return SimpleNamespace(close_rcvd=frames[0], close_sent=frames[1], close_rcvd_then_sent=received_first)


CASES = {
    "the client closes": (connection(), library(1001, 1001, received_first=True), None, 1001, Ending.CLIENT),
    "the service closes": (connection(), library(3001, 3001), None, 3001, Ending.SERVICE),
    "the service closes for a reason of its own": (connection(closed_with=1009), library(), None, 1009, Ending.SERVICE),
    "a reset": (connection(), library(), ConnectionResetError(), None, Ending.RESET),
    "a reset that poll has told": (connection(was_reset=True), library(), None, None, Ending.RESET),
    "the client ends without a close frame": (connection(has_client_ended=True), library(), None, None, Ending.CLIENT),
    "the service cuts": (connection(), library(), None, None, Ending.SERVICE),
}


@pytest.mark.parametrize(("ended", "kept", "error", "code", "ending"), CASES.values(), ids=CASES)
def test_the_first_close_frame_and_its_side_count(ended: Any, kept: Any, error: Any, code: Any, ending: Ending) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        report = SocketReport(ABOUT, ours)
        report.begin(0)
        found = report.end(ended, kept, error)
    assert (found.socket, found.status, found.close_code, found.ending) == (ABOUT, 101, code, ending)
    assert (found.received, found.sent) == (None, None), "a unix socket has no counts"


@pytest.mark.parametrize(
    ("ended", "status"), [(connection(status=0), 500), (connection(status=0, has_client_ended=True), 499)]
)
def test_a_handshake_without_an_answer_has_a_status_too(ended: Any, status: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert SocketReport(ABOUT, ours).end(ended, library(), None).status == status
