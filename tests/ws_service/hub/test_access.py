"""The interface of rights."""

from __future__ import annotations

from ws_service.hub.access import Access, Grant, Identity


def test_rights_are_asked_for_in_three_questions() -> None:
    asked = {name for name in vars(Access) if not name.startswith("_")}
    assert asked == {"identify", "may_subscribe", "may_publish"}


def test_what_is_not_said_is_no_user_and_no_end() -> None:
    assert (Identity().user, Identity().expires_at, Identity().topics) == ("", None, ())
    assert Grant().expires_at is None
