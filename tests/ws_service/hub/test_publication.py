"""Positions and publications as values."""

from __future__ import annotations

from ws_service.hub.publication import ClientInfo, History, Position, Publication


def test_a_position_of_another_epoch_is_another_position() -> None:
    assert Position("a", 1) != Position("b", 1)
    assert Position("a", 1) == Position("a", 1)


def test_a_history_may_be_a_position_alone() -> None:
    assert History(Position("a", 7)).publications == ()


def test_a_publication_of_the_server_has_no_client() -> None:
    assert Publication(b"1").info is None
    assert Publication(b"1", info=ClientInfo("c", "ada")).info == ClientInfo("c", "ada")


def test_the_place_in_a_history_changes_nothing_else() -> None:
    one = Publication(b"1", info=ClientInfo("c"), tags={"a": "b"})
    assert one.with_offset(7) == Publication(b"1", 7, ClientInfo("c"), {"a": "b"})
