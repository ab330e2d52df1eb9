"""The version of the distribution, installed or not."""

from __future__ import annotations

import pytest

from ws_service import version


def test_it_is_that_of_the_package_and_a_folder_of_sources_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version.version()[0].isdigit()

    monkeypatch.setattr(version, "version_of", lambda _: None)
    assert version.version.__wrapped__() == "unknown"


def test_what_is_not_installed_has_no_version() -> None:
    assert version.version_of("no-distribution-has-this-name") is None
