"""Secrets in settings: written nowhere, and their change is seen."""

from __future__ import annotations

from ws_service.config.changes import differences
from ws_service.config.secret import password_of
from ws_service.config.settings import Settings


def _with(**hub: str) -> Settings:
    return Settings.model_validate({"hub": hub})


def test_a_secret_that_changes_is_told_and_not_shown() -> None:
    before, after = _with(api_key="a" * 20), _with(api_key="b" * 20)
    (change,) = differences(before, after)
    assert change.startswith("hub.api_key: (hidden ") and "aaa" not in change and "bbb" not in change
    assert differences(before, _with(api_key="a" * 20)) == []
    assert differences(Settings(), before)[0].startswith("hub.api_key: null -> (hidden ")


def test_a_password_in_a_url_that_changes_is_told_and_not_shown() -> None:
    (change,) = differences(_with(broker="redis://u:one@h/0"), _with(broker="redis://u:two@h/0"))
    assert change.startswith("hub.broker: redis://u:(hidden ") and "@h/0 -> redis://u:(hidden " in change
    assert "one" not in change and "two" not in change


def test_text_that_is_no_url_has_no_password() -> None:
    assert password_of("memory") is None
    assert password_of("redis://[") is None
    assert password_of("redis://h") is None
