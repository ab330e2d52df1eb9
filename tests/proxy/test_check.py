"""The whole file at once: every section, what they must say alike, and everything that it takes a look to find."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import proxy.config
import ws_service.config.settings
from proxy.check import inspect, printed
from proxy.check_command import run_check
from proxy.config import ConfigError
from proxy.net import resolver
from ws_service.command_line import CheckOptions

GOOD = """
from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/ws")
async def ws(websocket: WebSocket):
    pass
"""

Look = Callable[..., list[str]]


@pytest.fixture
def ids() -> list[str]:
    """The ids of what ``look`` found last, in the order of its lines."""
    return []


@pytest.fixture
def look(tmp_path: Path, ids: list[str]) -> Look:
    def look(text: str, *, only: str | None = None, **env: str) -> list[str]:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        report = inspect(path, env, only)
        ids.clear()
        ids.extend(finding.id for finding in (*report.mistakes, *report.warnings))
        return [
            re.sub(r" \[DW\d{3}\]$", "", line.removeprefix(f"{path}:"), flags=re.MULTILINE) for line in report.lines()
        ]

    return look


@pytest.mark.system
def test_a_good_file_and_the_defaults_are_without_mistakes(look: Look, tmp_path: Path) -> None:
    (tmp_path / "check_good.py").write_text(GOOD)
    assert look("gateway: {}\nws_service: {app: 'check_good:app'}\ndash_app: {}\n") == []
    assert look("gateway:\n") == []
    assert inspect(None).mistakes == []
    assert os.listdir(tmp_path) == ["check_good.py", "config.yaml"] or sorted(os.listdir(tmp_path))[-1] == "config.yaml"


@pytest.mark.system
def test_every_mistake_of_every_section_is_told_in_one_go(look: Look, tmp_path: Path, ids: list[str]) -> None:
    found = look(
        "gateway:\n"
        "  lisen: x\n"
        "  admin: 0.0.0.0:8001\n"
        "  tls: {certificate: a.pem, key: b.pem}\n"
        "  upstreams: {ws: 'http://127.0.0.1:9999'}\n"
        "  handoff: run/a.sock\n"
        "ws_service:\n"
        "  handoff: run/b.sock\n"
        "  workers: none\n"
        "  app: check_nosuch:app\n"
        "dash_app:\n"
        "  listen: unix:run/dash.sock\n"
        "extra: 1\n"
    )
    assert [line.partition(": ")[0] + ": " + line.split(": ")[1] for line in found] == [
        "2:3: gateway.lisen",
        "3:3: gateway.admin",
        "4:9: gateway.tls.certificate",
        "4:29: gateway.tls.key",
        "5:15: gateway.upstreams.ws",
        "6:3: gateway.handoff",
        "9:3: ws_service.workers",
        "10:3: ws_service.app",
        "12:3: dash_app.listen",
        "13:1: extra",
    ]
    assert ids == ["DW003", "DW006", "DW005", "DW005", "DW007", "DW007", "DW003", "DW012", "DW003", "DW002"]
    assert found[7] == (
        f"10:3: ws_service.app: is check_nosuch:app, but there is no module check_nosuch in {tmp_path} or among the "
        "installed packages; write the name of your script without .py, and keep the config file beside it"
    )


def test_what_follows_from_another_mistake_is_not_told(look: Look) -> None:
    text = "gateway:\n  upstreams: {ws: 'http://127.0.0.1:9999'}\nws_service:\n  app: null\n  %s: 127.0.0.1:9999\n"
    text += "  hub: {enabled: false}\n"
    told = "is not named, so every WebSocket handshake is refused; write module:attribute"
    warning = f"4:3: ws_service.app: warning: {told}"
    assert look(text % "listne") == ["5:3: ws_service.listne: is not a setting; did you mean listen?", warning]
    assert look(text % "listen") == [warning]


def test_workers_without_a_broker_have_no_hub(look: Look, ids: list[str]) -> None:
    found = look("ws_service:\n  workers: 2\n")
    assert ids == ["DW015", "DW014"]
    assert found[1:] == [
        "2:3: ws_service.workers: warning: is above 1, so there is no hub; "
        "write hub: {broker: redis://host:6379/0}, or workers: 1"
    ]


@pytest.mark.parametrize("section", ["gateway", "ws_service"])
def test_one_section_alone_can_be_looked_at(look: Look, section: str) -> None:
    text = "gateway:\n  handoff: run/a.sock\n  lisen: a\nws_service:\n  app: ${NONE}\n"
    found = look(text, only=section)
    assert len(found) == 1
    assert section in found[0]
    assert len(look(text)) == 3


@pytest.mark.parametrize(
    ("section", "setting", "value", "sentence"),
    [
        ("gateway", "listen", "no-such-host.invalid:8000", "no-such-host.invalid cannot be looked up (Name or service"),
        ("gateway", "listen", "192.0.2.1:8000", "192.0.2.1 is no address of this host; use one that is, or 0.0.0.0"),
        ("ws_service", "listen", "192.0.2.1:8000", "192.0.2.1 is no address of this host"),
        ("dash_app", "listen", "192.0.2.1:8000", "192.0.2.1 is no address of this host"),
        ("gateway", "listen", "unix:file/a.sock", "file is a file, and no folder"),
        ("gateway", "admin", "unix:file/a.sock", "file is a file, and no folder"),
        ("ws_service", "listen", "unix:file/a.sock", "file is a file, and no folder"),
        ("ws_service", "handoff", "file/a.sock", "file is a file, and no folder"),
    ],
)
def test_addresses_and_folders_that_cannot_be_had_are_mistakes(
    look: Look, ids: list[str], tmp_path: Path, section: str, setting: str, value: str, sentence: str
) -> None:
    (tmp_path / "file").touch()
    (found,) = look(f"{section}:\n  {setting}: {value}\n", only=section)[:1]
    assert ids[0] == ("DW009" if setting == "handoff" else "DW004")
    assert found.startswith(f"2:3: {section}.{setting}: ")
    assert sentence in found
    assert "warning" not in found


def test_a_key_of_the_hub_that_cannot_be_had_is_a_mistake(look: Look, ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "open.key").write_text("k" * 64)
    (tmp_path / "open.key").chmod(0o644)
    (found,) = look("ws_service:\n  hub: {key: open.key}\n")
    assert found.startswith("2:9: ws_service.hub.key: the hub has no key") and "chmod 600" in found
    assert ids == ["DW010"]
    assert "open.key" not in str(look("ws_service:\n  hub: {key: open.key, enabled: false}\n"))
    assert look("ws_service:\n  hub: {key: new/hub.key}\n") == []
    assert not (tmp_path / "new").exists()


def test_a_broker_whose_library_is_not_installed_is_a_mistake(
    look: Look, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.check.find_spec", lambda name: None)
    (found,) = look("ws_service:\n  hub: {broker: 'redis://host'}\n")
    assert found.startswith("2:9: ws_service.hub.broker: needs redis-py") and "pip install redis" in found
    assert ids == ["DW011"]


def test_an_upstream_that_cannot_be_looked_up_is_a_warning(look: Look, ids: list[str]) -> None:
    assert look("gateway:\n  upstreams:\n    dash: http://no-such-host.invalid:80\n") == [
        "3:5: gateway.upstreams.dash: warning: no-such-host.invalid cannot be looked up (Name or service not known); "
        "until it can, requests wait and then fail"
    ]
    assert ids == ["DW013"]


def test_a_resolver_that_hangs_does_not_hang_the_check(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "TIMEOUT", 0.05)
    go_on = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        go_on.wait(10)
        return []

    monkeypatch.setattr("socket.getaddrinfo", hang)
    found = look("gateway:\n  upstreams:\n    dash: http://slow.test:80\n  admin: unix:a\n  listen: unix:b\n")
    assert (
        "3:5: gateway.upstreams.dash: warning: slow.test cannot be looked up (no answer within 0.05 s); until it"
        in found[1]
    )
    go_on.set()


@pytest.mark.system
def test_what_may_be_meant_is_a_warning_and_the_exit_code_is_0(look: Look, ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "check_good.py").write_text(GOOD)
    text = "gateway:\n  handoff: run/ws.sock\nws_service: {app: 'check_good:app', handoff: off}\n"
    (found,) = look(text)
    assert found.startswith("2:3: gateway.handoff: warning: is run/ws.sock, and ws_service.handoff is off")
    assert ids == ["DW008"]
    assert run_check(tmp_path / "config.yaml", CheckOptions()) == 0


@pytest.mark.system
def test_a_section_for_a_gateway_that_runs_elsewhere_is_no_mistake(look: Look, tmp_path: Path) -> None:
    (tmp_path / "check_good.py").write_text(GOOD)
    (found,) = look("ws_service: {app: 'check_good:app', listen: '127.0.0.1:9000'}\n")
    assert found.startswith(": gateway.upstreams.ws: warning: is http://127.0.0.1:8765") or "warning: is http" in found
    assert found.endswith("where the gateway runs by this file")
    assert look("gateway: {upstreams: {ws: 'http://10.0.0.7:9000'}}\n") == []


def test_variables_of_every_section_are_looked_up(look: Look) -> None:
    text = "gateway: {access_log: '${LOG}'}\nws_service: {drain: '${DRAIN}', app: null}\n"
    assert len([line for line in look(text) if "is not set" in line]) == 2
    assert not [line for line in look(text, LOG="json", DRAIN="1s") if "is not set" in line]


# -- printing


def test_both_sections_are_printed_and_the_demos_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service: {drain: 90s}\n")
    document = yaml.safe_load(printed(path, {}))
    assert list(document) == ["gateway", "ws_service"]
    assert document["ws_service"]["drain"] == "90s"
    path.write_text("dash_app: {listen: '127.0.0.1:1'}\n")
    text = printed(path, {})
    assert yaml.safe_load(text)["dash_app"] == {"listen": "127.0.0.1:1"}
    path.write_text(text)
    assert proxy.config.load_settings(path, {}) == proxy.config.Settings()
    assert ws_service.config.settings.load_settings(path, {}) == ws_service.config.settings.Settings()
    assert printed(path, {}) == text


def test_mistakes_of_any_section_are_printed_instead(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("gateway: {lisen: a}\nws_service: {workers: none}\n")
    with pytest.raises(ConfigError) as caught:
        printed(path, {})
    assert [mistake.key for mistake in caught.value.mistakes] == ["gateway.lisen", "ws_service.workers"]


def test_a_second_address_on_this_host_without_a_hand_off_is_a_warning(look: Look, ids: list[str]) -> None:
    here, there = "http://127.0.0.1:8765", "http://127.0.0.1:8766"
    (found,) = look(f"gateway:\n  upstreams: {{ws: ['{here}', '{there}']}}\n")
    assert found.startswith(f"2:45: gateway.upstreams.ws[1]: warning: {there} is on this host and has no handoff")
    assert ids == ["DW016"]
    for second in ("'http://10.0.0.7:8765'", f"{{url: '{there}', handoff: off}}", f"{{url: '{there}', handoff: b}}"):
        assert look(f"gateway:\n  upstreams: {{ws: ['{here}', {second}]}}\n") == []


def test_the_addresses_of_an_upstream_are_compared_with_the_sections_of_the_file(look: Look) -> None:
    service = "ws_service: {app: null, listen: 127.0.0.1:9001, handoff: run/b.sock, hub: {broker: 'redis://a'}}\n"
    good = "{url: 'http://127.0.0.1:9001', handoff: run/b.sock}"
    assert look(f"gateway:\n  upstreams: {{ws: ['http://127.0.0.1:9000', {good}]}}\n{service}") == []
    (found,) = look(
        "gateway:\n  upstreams: {ws: ['http://127.0.0.1:9000', 'http://10.0.0.7:9000']}\n"
        + service.replace("run/b", "run/ws")
    )
    assert found.startswith("2:15: gateway.upstreams.ws: warning: has no address that is ws_service.listen")
    (found,) = look("gateway:\n  upstreams: {dash: ['http://127.0.0.1:1', 'http://127.0.0.1:8000']}\n")
    assert found.startswith("2:44: gateway.upstreams.dash[1]: is http://127.0.0.1:8000, and that is gateway.listen")


def test_services_at_several_addresses_without_a_broker_are_several_hubs(look: Look, ids: list[str]) -> None:
    addresses = "['http://127.0.0.1:8765', 'http://10.0.0.7:8765']"
    text = f"gateway:\n  upstreams: {{ws: {addresses}}}\nws_service: {{app: null, hub: %s}}\n"
    (found,) = look(text % "{}")
    assert found.startswith("2:15: gateway.upstreams.ws: warning: has several addresses, and ws_service.hub.broker is")
    assert ids == ["DW008"]
    assert look(text % "{broker: 'redis://a'}") == []
