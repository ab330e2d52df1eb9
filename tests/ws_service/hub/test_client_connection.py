"""The interface of a client's connection."""

from __future__ import annotations

from ws_service.hub.client_connection import ClientConnection


def test_a_client_can_be_sent_to_closed_and_slowed() -> None:
    asked = {name for name in vars(ClientConnection) if not name.startswith("_")}
    assert asked == {"send", "deliver", "close", "pause_reading", "resume_reading"}
