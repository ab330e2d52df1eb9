"""The area ``links``: the scheme and the host that the app was asked with."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.doctor.links import probe
from proxy.doctor.probe import Skipped
from tests.proxy.doctor.site import HTML, Site, page, set_up


def site(url: str) -> Site:
    meta = f'<meta property="twitter:url" content="{url}/">' if url else ""
    return Site({"/": (200, HTML, page(html=meta))})


async def test_an_app_that_writes_no_url_shows_nothing(tmp_path: Path) -> None:
    async with set_up(tmp_path, site("")) as target:
        with pytest.raises(Skipped, match="writes no URL of itself"):
            await probe(target)


async def test_the_host_of_the_gateway_and_another_one(tmp_path: Path) -> None:
    for is_own in (True, False):
        dash = site("http://elsewhere.test")
        async with set_up(tmp_path, dash) as target:
            if is_own:
                dash.answers["/"] = site(dash.url).answers["/"]
            outcome = await probe(target)
        assert [finding.id for finding in outcome.findings] == ([] if is_own else ["DW052"])


async def test_a_dash_that_ignores_the_scheme_concerns_set_ups_with_a_proxy_in_front(tmp_path: Path) -> None:
    for trusted, expected in (((), []), (("127.0.0.1",), ["DW050"])):
        dash = site("")
        async with set_up(tmp_path, dash, trusted_proxies=trusted) as target:
            dash.answers["/"] = site(dash.url).answers["/"]
            outcome = await probe(target)
        assert [finding.id for finding in outcome.findings] == expected
