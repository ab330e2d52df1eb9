"""``dash-ws-service token``: what is printed, with which key, and every refusal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ws_service.__main__ import main
from ws_service.config.file import CONFIG_VARIABLE
from ws_service.hub.keys import KEY_VARIABLE, Keys, load_keys
from ws_service.hub.tokens import ConnectionToken, SubscriptionToken, Tokens

KEY = "k" * 64


pytestmark = pytest.mark.usefixtures("folder")


def run(*words: str, before: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, [*before, "token", *words])


def test_the_token_alone_is_printed_signed_with_the_key_of_the_service(folder: Path) -> None:
    (folder / "config.yaml").write_text("ws_service: {hub: {key: secrets/key}}\n")
    result = run("prices")
    assert result.exit_code == 0 and result.stderr == "" and result.stdout.count("\n") == 1
    read = Tokens(load_keys(folder / "secrets" / "key", {})).read_subscription(result.stdout.strip(), time.time())
    assert read.topic == "prices" and read.user == "" and read.expires_at is not None
    assert 3590 < read.expires_at - time.time() < 3610


def test_the_config_file_is_named_before_or_after_the_command_or_in_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "app").mkdir()
    (folder / "app" / "other.yaml").write_text("ws_service:\n")
    monkeypatch.setenv(CONFIG_VARIABLE, "app/other.yaml")
    for result in (run("a"), run("a", "--config", "app/other.yaml"), run("a", before=("--config", "app/other.yaml"))):
        keys = load_keys(folder / "app" / "run" / "hub.key", {})
        assert Tokens(keys).read_subscription(result.stdout.strip(), time.time()).topic == "a"


def test_a_token_names_a_user_alone_or_with_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    tokens = Tokens(Keys(KEY))
    named = run("--user", "ada", "--ttl", "never").stdout.strip()
    assert tokens.read_connection(named, time.time()) == ConnectionToken("ada")
    both = run("user:#ada", "--user", "ada", "--ttl", "never").stdout.strip()
    assert tokens.read_subscription(both, time.time()) == SubscriptionToken("user:#ada", "ada")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "write a topic, or --user"),
        (["a\nb"], "is not the name of a topic"),
        (["a" * 10_240], "is not the name of a topic"),
        (["--user", "a\nb"], "is not the name of a user"),
        (["a", "--ttl", "60"], "is not a duration"),
        (["a", "--ttl", "0s"], "good for no time"),
        (["user:#ada"], "is for ada alone: give that name with --user"),
        (["user:#ada", "--user", "eve"], "is for ada alone"),
        (["x#", "--user", "eve"], "is for no user alone"),
    ],
)
def test_a_token_that_would_be_of_no_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    result = run(*words)
    assert result.exit_code == 2 and sentence in result.stderr and result.stdout == ""


def test_a_topic_that_no_client_may_read_gets_no_token(folder: Path) -> None:
    (folder / "config.yaml").write_text("ws_service: {hub: {namespaces: {secret: {subscribe: none}}}}\n")
    result = run("secret:x")
    assert result.exit_code == 2 and "no client may subscribe" in result.stderr


def test_without_a_config_file_no_key_is_made_for_a_service_that_is_elsewhere(folder: Path) -> None:
    result = run("prices")
    assert result.exit_code == 2 and "--config" in result.stderr and KEY_VARIABLE in result.stderr
    assert not (folder / "run").exists()
    load_keys(folder / "run" / "hub.key", {})  # a service without a config file has run here
    assert run("prices").exit_code == 0


def test_a_config_file_with_mistakes_and_a_key_that_is_none_are_told(folder: Path) -> None:
    (folder / "config.yaml").write_text("ws_service: {hub: {kye: x}}\n")
    result = run("prices")
    assert result.exit_code == 2 and "did you mean key" in result.stderr
    (folder / "config.yaml").write_text("ws_service:\n")
    (folder / "run").mkdir()
    (folder / "run" / "hub.key").write_text("short")
    (folder / "run" / "hub.key").chmod(0o600)
    result = run("prices")
    assert result.exit_code == 2 and "holds 5 characters" in result.stderr
