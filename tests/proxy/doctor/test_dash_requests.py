"""What a page asks for: its links, its first callback, and what a browser asks again."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.doctor.dash_requests import Request, conditional, first_callback, requests_of_page

LAYOUT = {"props": {"children": [{"props": {"id": "name", "value": "Ada"}}, {"props": {"id": "shown"}}]}}
CALLBACK: dict[str, Any] = {
    "output": "shown.children",
    "inputs": [{"id": "name", "property": "value"}],
    "state": [{"id": "shown", "property": "title"}],
}


def test_a_page_is_asked_for_as_a_browser_does() -> None:
    html = '<link href="/app/assets/a.css?m=1&amp;n=2"><script src="/app/_dash-component-suites/dash/d.js"></script>'
    requests = list(requests_of_page("/app/", html, LAYOUT, [CALLBACK]))
    asked = {request.about: request for request in requests}
    assert asked["index"].path == "/app/"
    assert asked["HEAD of the index"].method == "HEAD"
    assert asked["asset"].path == "/app/assets/a.css?m=1&n=2"
    assert str(asked["asset"]) == "GET /app/assets/a.css (asset)"
    assert asked["range of the component suite"].headers == {"Range": "bytes=10-99"}
    assert asked["callback"].method == "POST" and asked["callback"].data is not None
    assert [request.about for request in requests_of_page("/", "", None, None)].count("callback") == 0


def test_the_first_callback_is_the_one_that_each_page_runs_as_it_opens() -> None:
    late = {**CALLBACK, "prevent_initial_call": True}
    assert first_callback(LAYOUT, [late, CALLBACK]) == {
        "output": "shown.children",
        "outputs": {"id": "shown", "property": "children"},
        "inputs": [{"id": "name", "property": "value", "value": "Ada"}],
        "state": [{"id": "shown", "property": "title"}],
        "changedPropIds": [],
    }
    several = first_callback(LAYOUT, [{**CALLBACK, "output": "..a.x...b.y@9.."}])
    assert several is not None
    assert several["outputs"] == [{"id": "a", "property": "x"}, {"id": "b", "property": "y"}]


@pytest.mark.parametrize(
    "change",
    [
        {"clientside_function": {"namespace": "a"}},
        {"background": {"interval": 1000}},
        {"output": '{"type":"a"}.x'},
        {"inputs": [{"id": "elsewhere", "property": "value"}]},
        {"inputs": []},
    ],
)
def test_other_callbacks_are_not_run(change: dict[str, Any]) -> None:
    assert first_callback(LAYOUT, [{**CALLBACK, "state": [], **change}]) is None
    assert first_callback(LAYOUT, "none") is None


def test_what_has_a_mark_of_its_version_is_asked_for_again() -> None:
    request = Request("asset", "/assets/a.css")
    again = conditional(request, {"ETag": '"1"', "Last-Modified": "Thu"})
    assert again is not None
    assert again.headers == {"If-None-Match": '"1"', "If-Modified-Since": "Thu"}
    assert conditional(request, {}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": 1},
        {"state": None},
        {"output": None},
        {"output": ["a.b"]},
        {"inputs": [{"id": ["name"], "property": "value"}]},
        {"inputs": [{"id": "name"}]},
        {"inputs": [1]},
    ],
)
def test_what_dash_would_not_write_is_no_callback(wrong: dict[str, Any]) -> None:
    assert first_callback(LAYOUT, [{**CALLBACK, **wrong}, 1]) is None


@pytest.mark.parametrize("tag", ["\udcff", "a\x1bb"])
def test_a_tag_that_aiohttp_reads_and_does_not_send_is_not_sent_back(tag: str) -> None:
    assert conditional(Request("asset", "/a"), {"ETag": tag}) is None
