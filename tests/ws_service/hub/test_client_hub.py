"""The interface of the hub to its clients."""

from __future__ import annotations

from ws_service.hub.client_hub import ClientHub


def test_what_is_given_back_waits_for_nothing() -> None:
    asked = {name for name in vars(ClientHub) if not name.startswith("_")}
    assert asked == {"add", "remove", "now", "subscribe", "unsubscribe", "leave"}
