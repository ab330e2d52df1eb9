"""The Grafana dashboard and the alerts ask for metrics and labels that there are; the dashboard shows every metric."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.processes import ROOT
from tests.prometheus import alerts, expressions

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text("utf-8"))

OF_PROMETHEUS = {"instance", "le", "worker"}
"""Labels that Prometheus adds, that histograms have, and that every metric of the service has."""

OF_THE_PROCESS = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}


def documented() -> dict[str, set[str]]:
    """Return the labels of each metric in docs/metrics.md, which tests compare with the code."""
    rows = re.findall(r"^\| `(dashws_\w+)` \|(.*?)\|(.*)$", (ROOT / "docs/metrics.md").read_text("utf-8"), re.MULTILINE)
    known: dict[str, set[str]] = {name: set() for name in OF_THE_PROCESS}
    for name, labels, text in rows:
        for suffix in ("_bucket", "_sum", "_count") if text.startswith(" histogram") else ("",):
            known.setdefault(name + suffix, set()).update(re.findall(r"`(\w+)`", labels))
    return known


def of(expression: str) -> dict[str, set[str]]:
    """Return the labels that each metric of an expression is asked for."""
    grouped = {word for group in re.findall(r"\bby \(([^)]*)\)", expression) for word in re.split(r",\s*", group)}
    asked: dict[str, set[str]] = {}
    for name, selector in re.findall(r"\b((?:dashws|process)_\w+)(?:\{([^}]*)\})?", expression):
        asked.setdefault(name, set()).update(re.findall(r"(\w+)\s*=~?", selector))
        asked[name] |= grouped
    return asked


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


@pytest.mark.parametrize("expression", [*expressions(DASHBOARD), *alerts().values()])
def test_an_expression_asks_for_metrics_and_labels_that_there_are(expression: str) -> None:
    known = documented()
    for name, labels in of(expression).items():
        assert name in known, f"{name} is not in docs/metrics.md"
        assert labels <= known[name] | OF_PROMETHEUS, f"{name} has no {labels - known[name]}"


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for expression in expressions(DASHBOARD) for name in of(expression)}
    left_out = {name for name in documented() if not name.endswith(("_sum", "_count"))} - shown
    assert left_out == set()


def test_every_label_in_a_legend_is_one_of_its_series() -> None:
    for panel in panels():
        for target in panel.get("targets", []):
            kept = set().union(*of(target["expr"]).values(), *(documented()[name] for name in of(target["expr"])))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept | OF_PROMETHEUS, panel["title"]


def test_rate_errors_and_duration_come_first() -> None:
    titles = [panel["title"] for panel in panels() if panel["type"] != "row"]
    assert titles[:3] == ["Requests", "Errors", "Time to first byte, p95"]
    assert {"Requests by code", "Errors by upstream and code", "Duration"} <= set(titles[7:11])


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    for one, other in combinations([panel["gridPos"] for panel in panels()], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels())
