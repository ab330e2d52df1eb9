"""The configuration in Dash's page: what Dash writes is read, and whatever else is there does no harm."""

from __future__ import annotations

import json
import time
from typing import Any

import dash
import pytest
from dash import html

from proxy.dash.page_config import PageConfig, PageSocket, read_page

NOTHING = PageConfig(None, None, has_dev_tools=False, has_hot_reload=False, websocket=None)


def page(config: object, tag: str = '<script id="_dash-config" type="application/json">') -> str:
    text = config if isinstance(config, str) else json.dumps(config)
    return f"<!DOCTYPE html><html><body><footer>{tag}{text}</script><script src=x.js></script></footer></body></html>"


def page_of(**options: Any) -> str:
    """Return a page as the installed Dash writes it."""
    app = dash.Dash(__name__, **options)
    app.layout = html.Div("</script>")
    return str(app.index())


def test_the_page_of_todays_dash_on_flask() -> None:
    read = read_page(page_of())
    assert read == PageConfig(dash.__version__, "/", has_dev_tools=False, has_hot_reload=False, websocket=None)


def test_prefixes_come_as_they_were_given() -> None:
    read = read_page(page_of(requests_pathname_prefix="/team/app/"))
    assert read is not None
    assert read.requests_pathname_prefix == "/team/app/"
    read = read_page(page_of(url_base_pathname="/app/"))
    assert read is not None
    assert read.requests_pathname_prefix == "/app/"


def test_the_websocket_of_dash_on_fastapi_with_its_times_in_seconds() -> None:
    app = dash.Dash(
        __name__,
        backend="fastapi",
        requests_pathname_prefix="/app/",
        websocket_heartbeat_interval=45_000,
    )
    read = read_page(app._generate_config_html())
    assert read is not None
    assert read.websocket == PageSocket(False, "/app/_dash-ws-callback", 45.0)


def test_debug_mode_says_that_the_page_reloads() -> None:
    read = read_page(page({"ui": True, "hot_reload": {"interval": 500, "max_retry": 3}}))
    assert read is not None
    assert read.has_dev_tools
    assert read.has_hot_reload


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>no Dash here</html>",
        "_dash-config",
        '<p id="_dash-config">{}</p>',
        '<script src="_dash-config">{}</script>',
        '<script id="_dash-config-of-another">{}</script>',
        '<script id="_dash-config">{"dash_version": "4.4.1"}',
        page(""),
        page("not JSON"),
        page([]),
        page(None),
        page("[" * 100_000),
        page('{"dash_version": ' + "1" * 5000 + "}"),
        '<script><p id="_dash-config">{}</script>',
    ],
)
def test_what_is_no_page_of_dash_is_none(text: str) -> None:
    assert read_page(text) is None


@pytest.mark.parametrize(
    "tag",
    [
        "<script id=_dash-config>",
        "<script type='application/json' id='_dash-config'>",
        '<script\n  nonce="a"\n  id = "_dash-config"\n>',
    ],
)
def test_the_tag_may_be_written_otherwise(tag: str) -> None:
    assert read_page(page({"dash_version": "4.4.1"}, tag)) == PageConfig(
        "4.4.1", None, has_dev_tools=False, has_hot_reload=False, websocket=None
    )


def test_a_mention_of_the_id_before_the_script_is_passed_over() -> None:
    text = "<style>#_dash-config { display: none }</style>" + page({"requests_pathname_prefix": "/a/"})
    read = read_page(text)
    assert read is not None
    assert read.requests_pathname_prefix == "/a/"


@pytest.mark.parametrize("value", [1, True, [], {}, "a" * 2049, "line\nend", "nul\x00", "\u202eevil"])
def test_a_string_that_dash_would_not_write_is_none(value: object) -> None:
    names = ("dash_version", "requests_pathname_prefix")
    assert read_page(page(dict.fromkeys(names, value))) == NOTHING


@pytest.mark.parametrize("value", ["30000", True, None, 0, -1, 1e300, float("inf"), float("nan"), 1 << 70, []])
def test_a_time_that_no_timer_could_have_is_none(value: object) -> None:
    read = read_page(page({"websocket": {"heartbeat_interval": value}}))
    assert read is not None
    assert read.websocket == PageSocket(False, None, None)


@pytest.mark.parametrize("piece", ["_dash-config", "<script ", "<script id=_dash-config", '<script id="_dash-config">'])
def test_a_page_made_to_be_slow_takes_no_longer_than_its_length(piece: str) -> None:
    text = piece * (2_000_000 // len(piece))
    began = time.process_time()
    assert read_page(text) is None
    assert time.process_time() - began < 2


def test_a_page_that_has_the_id_at_every_place_but_its_own_costs_no_more_than_another() -> None:
    unit = "<script" + " id=" + " " * 200 + "x" + "_dash-config " * 20 + " id=" + " " * 240 + ">"
    began = time.process_time()
    assert read_page(unit * (1_000_000 // len(unit))) is None
    assert time.process_time() - began < 0.1, "it took 0.3 s"
