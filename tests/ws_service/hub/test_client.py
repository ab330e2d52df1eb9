"""A client of the hub."""

from __future__ import annotations

from ws_service.hub.client import Client


def test_a_client_can_be_told_what_its_connection_and_the_hub_know() -> None:
    told = {name for name in vars(Client) if not name.startswith("_")}
    assert {"receive", "closed", "end", "end_subscription", "tick"} <= told
