"""The key to the service's API, found where the service finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.status.service import NoKey
from proxy.status.service_key import find_service_key
from ws_service.hub.keys import KEY_VARIABLE, load_keys


def config(folder: Path, text: str = "ws_service: {}") -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_it_is_the_key_of_the_file_that_the_service_has_made(tmp_path: Path) -> None:
    path = config(tmp_path, "ws_service: {hub: {key: secrets/hub.key}}")
    key = load_keys(tmp_path / "secrets" / "hub.key", {}).api_keys[0]
    assert find_service_key(path, {}) == key


def test_a_key_that_is_written_down_comes_first(tmp_path: Path) -> None:
    path = config(tmp_path, f"ws_service: {{hub: {{api_key: {'k' * 40}}}}}")
    assert find_service_key(path, {KEY_VARIABLE: "v" * 40}) == "k" * 40


def test_the_environment_has_it_where_the_service_is_on_another_host(tmp_path: Path) -> None:
    expected = load_keys(tmp_path / "none", {KEY_VARIABLE: "v" * 40}).api_keys[0]
    assert find_service_key(config(tmp_path), {KEY_VARIABLE: "v" * 40}) == expected


def test_no_key_is_made(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match=f"there is no key file .*hub.key: set {KEY_VARIABLE}"):
        find_service_key(config(tmp_path), {})
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_section_with_mistakes_and_a_key_that_is_none_are_said(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match=r"the config file has mistakes: .*wrokers"):
        find_service_key(config(tmp_path, "ws_service: {wrokers: 2}"), {})
    with pytest.raises(NoKey, match="holds 5 characters"):
        find_service_key(config(tmp_path), {KEY_VARIABLE: "short"})
