"""The version of the distribution, installed or not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from ws_service import version


def test_it_is_that_of_the_package_and_a_folder_of_sources_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version.version()[0].isdigit()

    def not_found(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version, "version_of", not_found)
    assert version.version.__wrapped__() == "unknown"
