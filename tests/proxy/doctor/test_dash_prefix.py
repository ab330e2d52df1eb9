"""The area ``prefix``: what pages ask for, where browsers connect and without the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.doctor.dash_prefix import _suffixes, probe, served_prefix
from proxy.doctor.probe import Skipped
from tests.proxy.doctor.site import HTML, JSON, Site, page, set_up


def dash(prefix: str, served: str) -> Site:
    """A Dash on FastAPI: it answers every path that it does not know with its page."""
    return Site({"*": (200, HTML, page(prefix=prefix)), f"{served}_dash-dependencies": (200, JSON, "[]")})


@pytest.mark.parametrize("prefix", ["/", "/app/", "/x/app/"])
async def test_pages_that_get_what_they_ask_for_are_no_finding(tmp_path: Path, prefix: str) -> None:
    async with set_up(tmp_path, dash(prefix, prefix)) as target:
        outcome = await probe(target)
    assert (outcome.seen, outcome.findings) == (f"pages get what they ask for below {prefix}", [])


async def test_a_prefix_that_dash_does_not_answer_at_all(tmp_path: Path) -> None:
    async with set_up(tmp_path, dash("/app/", "/other/")) as target:
        (finding,) = (await probe(target)).findings
    assert finding.id == "DW035"
    assert finding.seen == "pages ask for /app/_dash-dependencies, and get 200 text/html"


async def test_a_prefix_that_a_proxy_would_have_to_make_right(tmp_path: Path) -> None:
    async with set_up(tmp_path, dash("/x/app/", "/app/")) as target:
        (finding,) = (await probe(target)).findings
        assert await served_prefix(target, "/x/app/") == "/app/"
    assert finding.id == "DW036"
    assert finding.seen.endswith("and get 200 text/html; Dash answers below /app/")
    assert "url_base_pathname='/x/app/'" in finding.fix
    assert finding.fix.endswith("check with --url")


async def test_the_public_address_tells_whether_there_is_such_a_proxy(tmp_path: Path) -> None:
    async with set_up(tmp_path, dash("/x/app/", "/app/"), dash("/x/app/", "/x/app/"), is_public=True) as target:
        assert (await probe(target)).findings == []
    async with set_up(tmp_path, dash("/x/app/", "/app/"), dash("/x/app/", "/app/"), is_public=True) as target:
        (finding,) = (await probe(target)).findings
    assert finding.id == "DW035"


@pytest.mark.parametrize(("written", "expected"), [("/app/", []), ("/other/", ["DW037"]), ("/", ["DW037"])])
async def test_a_written_prefix_is_compared_with_the_page(tmp_path: Path, written: str, expected: list[str]) -> None:
    async with set_up(tmp_path, dash("/app/", "/app/"), dash_prefix=written) as target:
        findings = (await probe(target)).findings
    assert [finding.id for finding in findings] == expected
    assert all(finding.fix == "write /app/" for finding in findings)


async def test_a_page_that_needs_a_login_is_not_judged(tmp_path: Path) -> None:
    gateway = Site({"*": (401, HTML, "")})
    async with set_up(tmp_path, dash("/", "/"), gateway) as target:
        with pytest.raises(Skipped, match="answers 401: it needs a login"):
            await probe(target)


async def test_a_prefix_of_a_thousand_segments_is_not_a_thousand_requests(tmp_path: Path) -> None:
    prefix = "/" + "a/" * 1000
    site = Site({"*": (404, HTML, "")})
    async with set_up(tmp_path, site) as target:
        assert _suffixes(prefix) == [prefix]
        assert await served_prefix(target, prefix) is None
