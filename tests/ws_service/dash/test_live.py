"""``Live`` in Python: what it gives to the page, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dash import ALL, Dash, html

import ws_service
from tests.processes import completed
from ws_service.dash import SCRIPTS, Live
from ws_service.hub.keys import Keys
from ws_service.hub.tokens import SubscriptionToken, Tokens

KEY = "a-key-of-the-tests-which-is-long-enough"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DASH_WS_HUB_KEY", KEY)
    monkeypatch.setattr("ws_service.dash.signing._read", None)
    yield
    monkeypatch.setattr("ws_service.dash.signing._read", None)


def props(live: Live) -> dict[str, Any]:
    rendered: dict[str, Any] = live.to_plotly_json()["props"]
    return rendered


def token(live: Live) -> SubscriptionToken:
    return Tokens(Keys(KEY)).read_subscription(props(live)["token"], time.time())


def test_the_short_form_sets_the_newest_message_as_data() -> None:
    given = props(Live("prices", into="prices"))
    assert {name: given[name] for name in ("topic", "into", "prop", "mode", "history", "state")} == {
        "topic": "prices",
        "into": "prices",
        "prop": "data",
        "mode": "latest",
        "history": 1,
        "state": "connecting",
    }


@pytest.mark.parametrize(
    ("given", "prop", "mode"),
    [
        ({"prop": "extendData"}, "extendData", "extendData"),
        ({"mode": "extendData"}, "extendData", "extendData"),
        ({"mode": "rowTransaction"}, "rowTransaction", "rowTransaction"),
        ({"mode": "append"}, "children", "append"),
        ({"mode": "append", "prop": "value"}, "value", "append"),
        ({"mode": "list"}, "data", "list"),
        ({"prop": "figure"}, "figure", "latest"),
    ],
)
def test_property_and_mode_follow_from_each_other(given: dict[str, str], prop: str, mode: str) -> None:
    rendered = props(Live("t", "x", **given))  # type: ignore[arg-type]
    assert (rendered["prop"], rendered["mode"]) == (prop, mode)


def test_increments_begin_with_all_history_that_is_kept() -> None:
    assert props(Live("t", "x", mode="list", queue=50))["history"] == 50
    assert props(Live("t", "x", mode="list", history=0))["history"] == 0


def test_the_target_can_be_of_pattern_matching() -> None:
    assert props(Live("t", {"type": "price", "index": "AAPL"}))["into"] == {"type": "price", "index": "AAPL"}


def test_a_path_is_written_with_dots_or_as_a_list() -> None:
    assert props(Live("t", "x", path="a.b"))["path"] == ["a", "b"]
    assert props(Live("t", "x", path=["a.b", 0]))["path"] == ["a.b", 0]
    assert "path" not in props(Live("t", "x"))


@pytest.mark.parametrize(
    "given",
    [
        {"topic": ""},
        {"topic": "a\nb"},
        {"topic": "t" * 256},
        {"topic": "t", "mode": "newest"},
        {"topic": "t", "prop": "figure", "mode": "extendData"},
        {"topic": "t", "prop": "rowTransaction", "mode": "latest"},
        {"topic": "t", "queue": 0},
        {"topic": "t", "jitter": -1},
        {"topic": "t", "into": {"type": "price", "index": ALL}},
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Live"):
        Live(**given)


def test_the_topic_is_signed_when_it_is_rendered_each_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live("prices", into="prices")
    assert token(live) == SubscriptionToken("prices")
    first = props(live)
    monkeypatch.setattr(time, "time", lambda then=time.time(): then + 3600)  # noqa: B008
    second = props(live)
    assert first["token"] != second["token"]
    assert first["rendered"] != second["rendered"]


def test_a_topic_of_one_user_is_for_that_user() -> None:
    assert token(Live("user:#ada")).user == "ada"
    assert token(Live("chat:#ada,bob")).user == ""
    assert token(Live("chat:#ada,bob", user="bob")).user == "bob"
    assert "user" not in props(Live("user:#ada"))


def test_callbacks_can_name_its_state() -> None:
    live = Live("t", id="live")
    assert {"state", "gaps", "present"} <= set(live.available_properties)


def test_a_fresh_app_serves_each_script_that_its_page_names() -> None:
    app = Dash(__name__)
    app.layout = html.Div([Live("prices")])
    client = app.server.test_client()
    page = client.get("/").text
    for name in SCRIPTS:
        start = page.index(f"/_dash-component-suites/ws_service/dash/js/{name}.")
        answer = client.get(page[start : page.index('"', start)])
        assert answer.status_code == 200, name
        assert "javascript" in answer.headers["Content-Type"]
    order = [page.index(f"/ws_service/dash/js/{name}.") for name in SCRIPTS]
    assert order == sorted(order)
    layout = json.loads(client.get("/_dash-layout").text)
    assert layout["props"]["children"][0]["namespace"] == ws_service.__name__


@pytest.mark.system
def test_an_app_that_does_not_import_it_serves_nothing_of_it() -> None:
    code = (
        "from dash import Dash, html; from ws_service import publish;"
        "app = Dash(__name__); app.layout = html.Div(); print(app.server.test_client().get('/').text)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "_dash-component-suites" in done.stdout
    assert "ws_service" not in done.stdout


@pytest.mark.system
def test_importing_it_costs_dash_and_no_more(tmp_path: Any) -> None:
    code = (
        "import sys, dash; before = set(sys.modules); from ws_service.dash import Live;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = completed("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    new = set(done.stdout.split())
    heavy = {"aiohttp", "fastapi", "uvicorn", "websockets", "starlette", "redis", "jwt", "pydantic", "yaml", "proxy"}
    assert not new & heavy, new
