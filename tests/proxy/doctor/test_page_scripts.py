"""The area ``scripts``: URLs of WebSockets that work on one machine alone, and those that are meant."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from proxy.doctor.page_scripts import absolute_urls, fixed_schemes, probe, scripts_of
from proxy.doctor.probe import Skipped
from tests.proxy.doctor.site import HTML, JSON, Site, page, set_up

OWN = {"localhost", "dash.internal"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('new WebSocket("ws://localhost:8765/ws")', ["ws://localhost:8765"]),
        ('x = "wss://127.0.0.1/ws"', ["wss://127.0.0.1"]),
        ("'ws://[::1]:8000/'", ["ws://[::1]:8000"]),
        ('"ws://dash.internal:8050/a"', ["ws://dash.internal:8050"]),
        ('"wss://prices.example.com/v1"', []),  # another service
        ("// such as ws://localhost:8765", []),
        ("a = 1; // ws://localhost:1", []),
        ('"ws://" + location.host', []),
        ("(secure ? 'wss://' : 'ws://') + host", []),
    ],
)
def test_hosts_of_this_set_up_are_found_and_others_are_not(line: str, found: list[str]) -> None:
    assert [url for _, url in absolute_urls(line, OWN)] == found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('\nvar s = new WebSocket("ws://" + location.host + "/ws")', [2]),
        ("new WebSocket(`ws://${location.host}/ws`)", [1]),
        ('(location.protocol === "https:" ? "wss://" : "ws://") + location.host', []),
        ('s = "ws://" + host; t = "wss://" + host', []),
        ('// "ws://" + location.host', []),
    ],
)
def test_a_scheme_that_is_ws_on_every_page_is_found(text: str, lines: list[int]) -> None:
    assert list(fixed_schemes(text)) == lines


def test_scripts_of_a_page_are_its_own_files_and_what_is_in_it() -> None:
    names, inline = scripts_of(
        '<script src="/_dash-component-suites/dash/deps/polyfill.js"></script>'
        '<script src="/app/assets/a.js?m=1&amp;b=2"></script><SCRIPT defer src=assets/b.js></SCRIPT>'
        '<script src="https://cdn.example.com/c.js"></script><script>let x = 1</script><script> </script>',
        "/app/",
    )
    assert names == ["/app/assets/a.js?m=1&b=2", "/app/assets/b.js"]
    assert [script.text for script in inline] == ["let x = 1"]


@pytest.mark.parametrize(
    "source", ["x:@elsewhere.test/a.js", "data:text/javascript,1", "http://[a", "//elsewhere.test/b"]
)
def test_a_script_that_is_no_file_of_the_same_host_is_not_read(source: str) -> None:
    assert scripts_of(f'<script src="{source}"></script>', "/") == ([], [])


def test_the_comment_of_a_line_is_looked_for_once() -> None:
    """For each URL anew it takes 25 s here, in which neither the deadline of the area nor Ctrl-C is heard."""
    line = "x" * 400_000 + " // " + "ws://localhost " * 4000
    begin = time.monotonic()
    assert list(absolute_urls(line, OWN)) == []
    assert time.monotonic() - begin < 2
    assert [url for _, url in absolute_urls('"ws://localhost:1" // ws://localhost:2', OWN)] == ["ws://localhost:1"]


@pytest.mark.parametrize("piece", ["<script", "<script ", "<script src=", "<script>", "<script" + " " * 2041 + "<"])
@pytest.mark.parametrize("end", ["", ">"])
def test_a_page_of_tags_that_do_not_end_is_read_in_no_time(piece: str, end: str) -> None:
    """With one expression for all of a tag a megabyte takes 3 s here."""
    page = piece * ((1 << 20) // len(piece)) + end
    begin = time.process_time()
    scripts_of(page, "/")
    assert time.process_time() - begin < 0.5


def test_a_tag_that_is_too_long_hides_no_other_one() -> None:
    names, _ = scripts_of(f'<script {"x" * 3000}<script src="/a.js"></script>', "/")
    assert names == ["/a.js"]


async def test_files_the_page_and_the_layout_are_read(tmp_path: Path) -> None:
    html = '<script src="/assets/a.js"></script><script>\nnew WebSocket("ws://localhost:1/ws")</script>'
    layout = json.dumps({"props": {"url": "ws://127.0.0.1:8765/ws"}, "type": "WebSocket"})
    site = Site(
        {
            "/": (200, HTML, page(html=html)),
            "/assets/a.js": (200, "text/javascript", 'a = "ws://" + location.host'),
            "/_dash-layout": (200, JSON, layout),
        }
    )
    async with set_up(tmp_path, site) as target:
        outcome = await probe(target)
    assert [(finding.id, finding.seen) for finding in outcome.findings] == [
        ("DW045", "/, a script in the page:2 has ws://localhost:1"),
        ("DW046", "/assets/a.js:1 writes ws:// for every page"),
        ("DW045", "/_dash-layout:1 has ws://127.0.0.1:8765"),
    ]


async def test_a_page_without_such_urls_is_no_finding_and_one_behind_a_login_is_not_read(tmp_path: Path) -> None:
    async with set_up(tmp_path, Site({"/": (200, HTML, page())})) as target:
        assert (await probe(target)).findings == []
    async with set_up(tmp_path, Site({"/": (200, HTML, page())}), Site({"*": (401, HTML, "")})) as target:
        with pytest.raises(Skipped, match="it needs a login"):
            await probe(target)
