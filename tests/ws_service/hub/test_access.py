"""What is said of a client, and what a right carries, where nothing is said."""

from __future__ import annotations

from ws_service.hub.access import Grant, Identity


def test_what_is_not_said_is_no_user_and_no_end() -> None:
    assert (Identity().user, Identity().expires_at, Identity().topics) == ("", None, ())
    assert Grant().expires_at is None
