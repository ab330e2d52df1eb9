"""The section of a Dash app that reads the config file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ws_service.config.dash_section import NAME, DashSection
from ws_service.config.file import load
from ws_service.errors import ConfigError


def read(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return load(path, NAME, DashSection).listen


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("dash_app:\n  listen: '[::1]:9000'\n", "[::1]:9000"),
        ("dash_app:\n", "127.0.0.1:8050"),
        ("gateway: {anything: at all}\n", "127.0.0.1:8050"),
    ],
)
def test_the_address_is_the_files_or_the_default(tmp_path: Path, text: str, listen: str) -> None:
    assert read(tmp_path, text) == listen


@pytest.mark.parametrize("listen", ["unix:run/dash.sock", "nowhere", "::1:80", "localhost:70000"])
def test_an_address_that_is_none_is_a_mistake(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ConfigError, match=r"dash_app\.listen"):
        read(tmp_path, f"dash_app: {{listen: '{listen}'}}\n")
