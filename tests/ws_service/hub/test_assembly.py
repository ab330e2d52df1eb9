from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ws_service.config.hub_settings import HubSettings
from ws_service.config.settings import Settings
from ws_service.errors import ExtraError, KeyFileError
from ws_service.hub.access import Grant
from ws_service.hub.api import Api
from ws_service.hub.assembly import assemble
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.keys import Keys
from ws_service.hub.tokens import Tokens


@pytest.fixture(autouse=True)
def no_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASH_WS_HUB_KEY", raising=False)


def test_the_default_is_a_hub_in_memory_with_a_key_of_its_own(tmp_path: Path) -> None:
    made = assemble(Settings(), tmp_path)
    assert made is not None
    assert isinstance(made.hub.broker, MemoryBroker)
    assert (tmp_path / "run" / "hub.key").read_text().strip()


def test_what_the_settings_say_is_what_the_hub_does(tmp_path: Path) -> None:
    said = {"namespaces": {"a": {"history": 7}}, "queue": "1MiB", "ping": "9s", "pong": "3s"}
    settings = HubSettings.model_validate(said)
    made = assemble(Settings(hub=settings), tmp_path)
    assert made is not None
    assert made.hub.namespaces.of("a:1").keep.size == 7
    assert (made.hub.limits.queue, made.hub.limits.ping) == (1 << 20, 9.0)


@pytest.mark.parametrize("settings", [Settings(hub=HubSettings(enabled=False)), Settings(workers=2)])
def test_there_is_none_where_the_settings_say_so(settings: Settings, tmp_path: Path) -> None:
    assert assemble(settings, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_key_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(KeyFileError):
        assemble(Settings(hub=HubSettings()), tmp_path)


def test_where_the_hub_is_not_written_the_service_runs_without_it_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("no folder")
    assert assemble(Settings(), tmp_path) is None
    assert "there is no hub" in caplog.text and "DASH_WS_HUB_KEY" in caplog.text


def test_a_page_of_a_dash_with_another_key_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = assemble(Settings(), tmp_path)
    assert made is not None
    token = Tokens(Keys("f" * 64)).sign_subscription("prices", expires_at=None)
    assert not isinstance(made.hub.access.may_subscribe("prices", "", token, 0.0), Grant)
    assert "refused a token for the topic 'prices': it is signed with another key" in caplog.text


def test_a_broker_whose_client_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def import_nothing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'redis'", name="redis")

    monkeypatch.setattr("ws_service.hub.assembly.import_module", import_nothing)
    with pytest.raises(ExtraError, match="pip install redis"):
        assemble(Settings(hub=HubSettings(broker="redis://127.0.0.1:1")), tmp_path)


async def test_while_a_key_is_rotated_both_keys_of_the_api_and_tokens_of_both_are_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Keys("o" * 64), Keys("n" * 64, "o" * 64)
    monkeypatch.setenv("DASH_WS_HUB_KEY", new.current)
    monkeypatch.setenv("DASH_WS_HUB_PREVIOUS_KEY", old.current)
    made = assemble(Settings(), tmp_path)
    assert made is not None
    await made.hub.start()
    for keys in (old, new):
        token = Tokens(keys).sign_subscription("a", expires_at=None)
        assert isinstance(made.hub.access.may_subscribe("a", "", token, 0.0), Grant)
        assert await _status(made.api, keys.api_keys[0]) == 200
    assert await _status(made.api, Keys("f" * 64).api_keys[0]) == 401
    await made.hub.close()


async def _status(api: Api, key: str) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-api-key", key.encode())]
    await api({"type": "http", "method": "POST", "path": "/api/info", "headers": headers}, receive, send)
    return int(sent[0]["status"])
