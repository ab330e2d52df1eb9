"""Findings: their places and the part of the documentation that says more."""

from __future__ import annotations

from proxy.doctor.catalogue import CATALOGUE
from proxy.doctor.finding import Place, of_mistake
from ws_service.errors import Mistake


def test_a_place_is_file_line_column_and_key_as_far_as_they_are_known() -> None:
    assert str(Place("config.yaml", 3, 5, "gateway.listen")) == "config.yaml:3:5: gateway.listen"
    assert str(Place("config.yaml")) == "config.yaml"
    assert str(Place("the defaults", key="gateway.listen")) == "the defaults: gateway.listen"


def test_a_mistake_in_a_file_becomes_a_finding_with_its_place() -> None:
    finding = of_mistake("DW003", CATALOGUE["DW003"], "a.yaml", Mistake("is odd", "gateway.listen", 2, 7))
    assert finding.seen == "is odd"
    assert str(finding.place) == "a.yaml:2:7: gateway.listen"
    assert finding.docs == "docs/checks.md#dw003"
