"""A config file of one test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.ws_service.config.example import Example, Reader
from ws_service.config.file import load


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def read_text(text: str | bytes, env: Mapping[str, str] | None = None) -> Example:
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(path, "gateway", Example, env or {})

    return read_text
