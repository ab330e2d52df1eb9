"""The file of ``--report``: complete, for its owner alone, and without what is not for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy import config as gateway
from proxy.doctor.report_file import write_report
from ws_service.config import settings as service


def test_a_report_has_findings_settings_and_versions_and_no_secret(tmp_path: Path) -> None:
    settings = gateway.Settings.model_validate(
        {"upstreams": {"dash": "http://dash.corp:8050"}, "origins": ["https://app.corp"]}
    )
    hub = {"broker": "redis://:hunter2@cache.corp:6379/0", "api_key": "0123456789abcdef"}
    sections = {"gateway": settings, "ws_service": service.Settings.model_validate({"hub": hub})}
    path = tmp_path / "report.json"
    write_report(
        path, {"format": 1, "findings": [{"seen": "https://app.corp answers 502"}]}, sections, "https://app.corp"
    )
    text = path.read_text("utf-8")
    for secret in ("hunter2", "0123456789abcdef", ".corp"):
        assert secret not in text
    values = json.loads(text)
    assert values["format"] == 1
    pseudonym = values["findings"][0]["seen"].split()[0]
    assert values["settings"]["gateway"]["origins"] == [pseudonym]
    assert values["environment"]["packages"]["aiohttp"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_report(tmp_path / "none" / "report.json", {}, {}, None)


def test_what_no_encoding_can_write_is_written_and_an_older_file_is_closed_to_others(tmp_path: Path) -> None:
    """A field of an answer may have bytes that are no UTF-8; aiohttp hands them on as halves of pairs."""
    path = tmp_path / "report.json"
    path.touch(0o644)
    write_report(path, {"seen": "to /\udcff \x9b2J"}, {}, None)
    assert json.loads(path.read_text("ascii"))["seen"] == "to /\udcff \x9b2J"
    assert path.stat().st_mode & 0o777 == 0o600
