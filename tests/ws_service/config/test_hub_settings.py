"""The settings of the hub: what is written, what is refused and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from ws_service.config.file import dump
from ws_service.config.hub_settings import HubSettings, parse_api_key, parse_broker
from ws_service.config.settings import NAME, Settings, load_settings
from ws_service.errors import ConfigError


def _mistakes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return str(caught.value).splitlines()


def test_the_hub_is_there_without_a_word() -> None:
    settings = Settings()
    assert settings.has_hub
    assert (settings.hub.broker, settings.hub.key, settings.hub.api_key) == ("memory", "run/hub.key", None)


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    settings = Settings.model_validate({"hub": {"namespaces": {"prices": {"history": 500}}, "user_header": "X-User"}})
    path = tmp_path / "config.yaml"
    path.write_text(dump(NAME, settings))
    assert load_settings(path) == settings


@pytest.mark.parametrize(
    "url",
    [
        "memory",
        "redis://127.0.0.1:6379/0",
        "rediss://ada:secret@valkey.lan",
        "unix:///run/valkey.sock?db=1",
        "valkey://host",
        "valkeys://host:6380/1?ssl_ca_certs=/etc/ca.pem",
    ],
)
def test_a_broker_is_in_the_process_or_has_a_url(url: str) -> None:
    assert parse_broker(url) == url


@pytest.mark.parametrize("url", ["redis", "http://host", "redis://", "redis://h:x/0", "redis://u:(hidden)@h", None, 7])
def test_any_other_broker_is_refused_with_what_to_write(url: object) -> None:
    with pytest.raises(ValueError, match=r"redis://host|REDIS_PASSWORD"):
        parse_broker(url)


@pytest.mark.parametrize("url", ["redis://h/one", "redis://h?db=one", "redis://h?ssl_none=1", "redis://h?dbs=1"])
def test_options_that_the_client_of_redis_would_not_understand_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no number|is not an option"):
        parse_broker(url)


@pytest.mark.parametrize(
    "url",
    [
        "nats://ada:hush@h:1",
        "redis://ada:hush@:1",
        "redis://ada:hush@h:none",
        "redis://h?password=hush",
        "redis://h?ssl_password=hush",
        "redis:/ada:hush@h",
        {"url": "redis://ada:hush@h"},
        "redis://ada:hush#more@h/0",
        "redis://ada:123#hush@h/0",
        "redis://ada:123/hush@h/0",
        "redis://ada:123?hush@h/0",
        "redis://:hush/more@h/0",
    ],
)
def test_the_refusal_of_a_broker_does_not_show_its_password(url: object) -> None:
    with pytest.raises(ValueError) as caught:
        parse_broker(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("key", ["short", "with a space in it ...", "größer als sechzehn", "(hidden)", 7, True])
def test_a_key_of_the_api_that_can_be_guessed_or_sent_in_no_header_is_refused_and_not_shown(key: object) -> None:
    with pytest.raises(ValueError) as caught:
        parse_api_key(key)
    assert str(key) not in str(caught.value).replace("hidden", "")


def test_secrets_are_not_printed() -> None:
    hub = {"api_key": "x" * 20, "broker": "redis://ada:hush@host:1/2"}
    settings = Settings.model_validate({"hub": hub})
    printed = dump(NAME, settings)
    for text in (printed, repr(settings)):
        assert "xxx" not in text and "hush" not in text
    assert "api_key: (hidden)" in printed and "redis://ada:(hidden)@host:1/2" in printed


def test_several_processes_have_no_hub_in_memory(tmp_path: Path) -> None:
    assert not Settings(workers=2).has_hub
    assert Settings.model_validate({"workers": 2, "hub": {"broker": "redis://h"}}).has_hub
    assert not Settings.model_validate({"workers": 2, "hub": {"enabled": False}}).has_hub
    (mistake,) = _mistakes(tmp_path, "ws_service:\n  workers: 2\n  hub: {user_header: X-User}\n")
    assert "each process would have a hub of its own" in mistake and "config.yaml:2:" in mistake


def test_all_mistakes_are_told_at_once_with_their_place_and_the_key_that_was_meant(tmp_path: Path) -> None:
    text = """\
ws_service:
  hub:
    brokr: memory
    pong: 30s
    default: {recovery: streams}
    namespaces:
      prices: {histroy: 500, ttl: 60}
      news: {rate: 0}
"""
    lines = _mistakes(tmp_path, text)
    assert len(lines) == 6
    for number, words in [
        (3, "broker"),
        (4, "less than ping"),
        (5, "'cache' or 'stream'"),
        (7, "did you mean history"),
        (7, "a number with its unit"),
        (8, "greater than 0"),
    ]:
        assert any(f"config.yaml:{number}:" in line and words in line for line in lines), (number, words, lines)


@pytest.mark.parametrize("name", ["'prices:'", "'a b'", "''", "größe", "'a\\nb'"])
def test_a_namespace_has_a_plain_name(tmp_path: Path, name: str) -> None:
    (mistake,) = _mistakes(tmp_path, f"ws_service:\n  hub:\n    namespaces: {{{name}: {{history: 1}}}}\n")
    assert "is not the name of a namespace" in mistake
    assert ("without the colon" in mistake) == (":'" in name)


def test_a_mapping_of_namespaces_is_wanted(tmp_path: Path) -> None:
    (mistake,) = _mistakes(tmp_path, "ws_service:\n  hub:\n    namespaces: [prices]\n")
    assert "settings (key: value)" in mistake


def test_a_namespace_says_all_or_nothing() -> None:
    hub = HubSettings.model_validate({"default": {"rate": 3}, "namespaces": {"a": {}, "b": {"rate": 10}}})
    assert (hub.namespaces["a"].rate, hub.namespaces["b"].rate) == (3.0, 10.0)
