"""The pages of docs/reference/ are what the code says now: of each setting, each option and each module."""

from __future__ import annotations

import re

import pytest

from tests.docs.reference import COMMAND, FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text("utf-8") == PAGES[name](), f"the code has changed; run: {COMMAND}"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_left_unsaid(name: str) -> None:
    page = PAGES[name]()
    rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in re.findall(r"^\| \[?`.*$", page, re.MULTILINE)]
    assert [row[0] for row in rows if not row[-1].strip()] == []
    assert re.findall(r"^#+ (.*)\n+(?=#|\Z)", page, re.MULTILINE) == []


def test_every_setting_and_what_it_takes_is_there() -> None:
    page = PAGES["settings"]()
    for row in (
        "| `listen` | `127.0.0.1:8000` | address; *restart* |",
        "| `header` | `64KiB` | size, from 1KiB |",
        "| `connections_per_client` | `1000` | number, from 1, `null` |",
        "| `access_log` | `text` | `text`, `json`, `combined`, `common`, `off` |",
        "| `workers` | `1` | number, from 1 to 64 |",
        "| `ws_ping_interval` | `20s` | duration, `off` |",
        "| `ttl` | `5m` | duration, above 0s |",
        "| `to` | **required** | text |",
    ):
        assert f"\n{row}" in page, row


def test_a_page_has_each_command_and_each_name_that_programs_import() -> None:
    commands, python = PAGES["commands"](), PAGES["python"]()
    assert "\n### `dash-ws-proxy explain`\n" in commands and "\n### `dash-ws-service token`\n" in commands
    assert "\n### `ws_service.publish(topic, data, *, raise_errors=False, " in python
    assert "\n- `websockets`: what the service serves" in python
    assert "\n### `proxy.testing.RunningApp`\n" in python, "programs do not make one"
