"""The interface of what is pushed."""

from __future__ import annotations

from ws_service.hub.pushes import Pushes


def test_publications_joins_and_leaves_are_pushed() -> None:
    assert {name for name in vars(Pushes) if not name.startswith("_")} == {"publication", "join", "leave"}
