"""Signing topics: with the key that the service uses, found as ``publish`` finds the hub."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from ws_service.dash import signing
from ws_service.dash.signing import LIFETIME, find_tokens, sign_topic
from ws_service.errors import KeyFileError
from ws_service.hub.keys import Keys, load_keys
from ws_service.hub.tokens import TokenExpired, Tokens

KEY = "a-key-of-the-tests-which-is-long-enough"


@pytest.fixture(autouse=True)
def _nothing_is_read(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(signing, "_read", None)


def test_the_key_of_the_environment_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", KEY)
    token = sign_topic("prices")
    assert Tokens(Keys(KEY)).read_subscription(token, time.time()).topic == "prices"


def test_a_child_that_is_forked_while_another_thread_reads_the_key_signs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", KEY)
    with signing._lock:
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)  # ends a child that waits for ever
            try:
                sign_topic("prices")
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_first_token_makes_the_key_that_the_service_will_find(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("ws_service: {hub: {key: keys/hub.key}}")
    token = sign_topic("prices", "ada")
    file = tmp_path / "keys" / "hub.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    read = Tokens(load_keys(file, {})).read_subscription(token, time.time())
    assert (read.topic, read.user) == ("prices", "ada")


def test_the_config_file_can_be_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "config.yaml").write_text("{}")
    find_tokens({"DASH_WS_PROXY_CONFIG": str(folder / "config.yaml")})
    assert (folder / "run" / "hub.key").exists()


def test_a_token_lets_a_page_begin_for_a_day_and_its_subscription_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", KEY)
    token, tokens, now = sign_topic("prices"), Tokens(Keys(KEY)), time.time()
    assert tokens.read_subscription(token, now + LIFETIME - 60).expires_at is None
    with pytest.raises(TokenExpired):
        tokens.read_subscription(token, now + LIFETIME + 60)


def test_a_key_that_cannot_be_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / "hub.key").write_text("short")
    (tmp_path / "run" / "hub.key").chmod(0o600)
    with pytest.raises(KeyFileError) as caught:
        sign_topic("prices")
    assert str(tmp_path / "run" / "hub.key") in str(caught.value)
    assert "DASH_WS_PROXY_CONFIG names another one" in str(caught.value)


def test_mistakes_in_the_config_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("ws_service: {hubb: {}}")
    with pytest.raises(KeyFileError, match="hubb"):
        sign_topic("prices")


def test_a_rotated_key_is_read_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    sign_topic("prices")
    file = tmp_path / "run" / "hub.key"
    file.write_text(KEY)
    with pytest.raises(Exception, match="another key"):
        Tokens(Keys(KEY)).read_subscription(sign_topic("prices"), time.time())
    clock[0] += signing.AGAIN
    assert Tokens(Keys(KEY)).read_subscription(sign_topic("prices"), time.time()).topic == "prices"
