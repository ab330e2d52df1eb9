"""The section's own rules: names of apps, networks, defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from ws_service.config.file import dump
from ws_service.config.settings import NAME, Settings, load_settings, parse_app
from ws_service.errors import ConfigError


def test_no_config_at_all_is_a_valid_config() -> None:
    settings = load_settings(None)
    assert settings == Settings()
    assert (settings.listen, settings.app, settings.drain) == ("127.0.0.1:8765", None, 20.0)


def test_a_message_of_16_mib_fits_the_default() -> None:
    assert Settings().max_message > 16 << 20


@pytest.mark.parametrize("name", ["app:app", "pages.live:router", "live:dash_app.server", "größe:app"])
def test_a_module_and_an_attribute_are_the_name_of_an_app(name: str) -> None:
    assert parse_app(name) == name


def test_null_is_no_app() -> None:
    assert parse_app(None) is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("app", "write module:attr, for example app:app"),
        ("app.py:app", "is a path; write the module's name: app:app"),
        ("./pages/live.py", "is a path; write the module's name: pages.live:app"),
        ("app:", "is not the name of an app"),
        (":app", "is not the name of an app"),
        ("app:create_app()", "is not the name of an app"),
        ("my-app:app", "is not the name of an app"),
        ("app:class", "is not the name of an app"),
        ("a:b:c", "is not the name of an app"),
        ("", "names no attribute"),
        (7, "7 is not the name of an app"),
    ],
)
def test_any_other_text_is_refused_with_what_to_write(name: object, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_app(name)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("written", "seconds", "printed"),
    [("45s", 45.0, "45s"), ("250ms", 0.25, "250ms"), ("off", None, "'off'"), ("null", None, "'off'")],
)
def test_pings_have_a_time_or_are_off(tmp_path: Path, written: str, seconds: float | None, printed: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"ws_service: {{ws_ping_interval: {written}, ws_ping_timeout: {written}}}\n")
    settings = load_settings(path)
    assert (settings.ws_ping_interval, settings.ws_ping_timeout) == (seconds, seconds)
    assert f"ws_ping_timeout: {printed}\n" in dump(NAME, settings)
    path.write_text(dump(NAME, settings))
    assert load_settings(path) == settings


@pytest.mark.parametrize(("written", "sentence"), [("0", "write off for no limit"), ("20", "is not a duration")])
def test_a_time_for_pings_that_is_none_is_refused(tmp_path: Path, written: str, sentence: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"ws_service: {{ws_ping_interval: {written}}}\n")
    with pytest.raises(ConfigError, match=sentence):
        load_settings(path)


def test_networks_are_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service: {trusted_proxies: [10.0.0.7, '10.1.0.9/8', '::1']}\n")
    settings = load_settings(path)
    assert [str(n) for n in settings.trusted_proxies] == ["10.0.0.7/32", "10.0.0.0/8", "::1/128"]
    path.write_text(dump(NAME, settings))
    assert load_settings(path) == settings


def test_a_network_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service:\n  trusted_proxies:\n    - 127.0.0.1\n    - gateway.local\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    (mistake,) = caught.value.mistakes
    assert (mistake.key, mistake.line) == ("ws_service.trusted_proxies[1]", 4)
    assert "10.0.0.0/8" in mistake.message


def test_a_message_limit_that_nothing_fits_into_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service: {max_message: 10B}\n")
    with pytest.raises(ConfigError, match="greater than or equal to 1024"):
        load_settings(path)


def test_what_is_printed_gives_the_same_settings_back(tmp_path: Path) -> None:
    settings = Settings(listen="unix:run/ws.sock", app="live:app", max_message="3MiB", drain="1.5s")  # type: ignore[arg-type]
    path = tmp_path / "config.yaml"
    path.write_text(dump(NAME, settings))
    assert load_settings(path) == settings


def test_the_example_of_an_address_is_the_services_own() -> None:
    with pytest.raises(ValueError, match=r"write host:port, for example 127\.0\.0\.1:8765"):
        Settings(listen="8765")
