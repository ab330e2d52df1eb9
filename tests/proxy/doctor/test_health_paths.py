"""The area ``health``: paths that tell a healthy upstream from another one, and those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.doctor.health_paths import probe
from proxy.doctor.probe import Skipped
from tests.proxy.doctor.site import HTML, JSON, Site, page, set_up

ANY = {"*": (200, HTML, page("4.4.1"))}


async def test_paths_that_are_answered_for_themselves_are_no_finding(tmp_path: Path) -> None:
    site = Site({**ANY, "/health": (200, "text/plain", "OK"), "/healthz": (200, JSON, "{}")})
    async with set_up(tmp_path, site, health={"dash": "/health", "ws": "/healthz"}) as target:
        outcome = await probe(target)
    assert (outcome.seen, outcome.findings) == ("/health of dash, /healthz of ws", [])


@pytest.mark.parametrize(
    ("version", "advice"), [("4.4.1", "give dash.Dash health_endpoint='health'"), ("3.0.4", "write dash: /_dash-dep")]
)
async def test_a_page_that_any_path_gets_proves_nothing(tmp_path: Path, version: str, advice: str) -> None:
    site = Site({"*": (200, HTML, page(version))})
    async with set_up(tmp_path, site, health={"dash": "/health"}) as target:
        (finding,) = (await probe(target)).findings
    assert finding.id == "DW048"
    assert finding.fix.startswith(advice)
    async with set_up(tmp_path, site, health={"dash": "/"}) as target:
        assert (await probe(target)).findings == []  # the page itself is meant


async def test_a_path_that_is_not_answered(tmp_path: Path) -> None:
    site = Site({"/": (200, HTML, page())})
    async with set_up(tmp_path, site, health={"dash": "/up", "ws": "/up"}) as target:
        findings = (await probe(target)).findings
    assert [(finding.id, finding.place and finding.place.key) for finding in findings] == [
        ("DW047", "gateway.health.dash"),
        ("DW047", "gateway.health.ws"),
    ]


async def test_without_paths_there_is_nothing_to_ask(tmp_path: Path) -> None:
    async with set_up(tmp_path, Site(ANY)) as target:
        with pytest.raises(Skipped, match="no path is asked"):
            await probe(target)
